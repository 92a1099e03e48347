"""Calls the service with Google's own gRPC library and asserts what it is told.

usage: clients.py PRODUCTION SANDBOX KEYS_FILE DESCRIPTOR_SET

Needs grpcio and grpcio-status. Prints one line of JSON for each call, with what its audit event must
say; the test that runs this compares.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_status import rpc_status

PRODUCTION, SANDBOX, KEYS_FILE, DESCRIPTOR_SET = sys.argv[1:]
SERVICE = "payments.v1.Payments"

with open(KEYS_FILE, encoding="utf-8") as file:
    KEYS = json.load(file)
POOL = descriptor_pool.DescriptorPool()
with open(DESCRIPTOR_SET, "rb") as file:
    for part in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
        POOL.AddSerializedFile(part.SerializeToString())
METHODS = POOL.FindServiceByName(SERVICE).methods_by_name


def message(name, **fields):
    descriptor = POOL.FindMessageTypeByName(f"payments.v1.{name}")
    return message_factory.GetMessageClass(descriptor)(**fields)


def order(account, **changes):
    fields = {"source_account_id": account, "reference": "Invoice 7"}
    fields["amount"] = {"currency": "GBP", "value": "25.00"}
    return message("CreatePaymentRequest", **{**fields, **changes})


def stub(channel, name):
    method = METHODS[name]
    kinds = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    answer = message_factory.GetMessageClass(method.output_type)
    return kinds[method.client_streaming, method.server_streaming](
        f"/{SERVICE}/{name}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=answer.FromString,
    )


def key(company, kind):
    return (("x-api-key", KEYS[company][kind]),)


def metadata_of(call):
    return {**dict(call.initial_metadata()), **dict(call.trailing_metadata())}


def tell(call, **event):
    request_id = metadata_of(call)["x-request-id"]
    assert request_id.startswith("req_"), request_id
    print(json.dumps({"request_id": request_id, **event}), flush=True)


def is_refused(call, code, error, reason, details=None, **fields):
    """The call fails with this code, and with details that Google's own types can read."""
    try:
        call()
        raise SystemExit(f"{error}: the call was allowed")
    except grpc.RpcError as refusal:
        assert refusal.code() == code, (error, refusal)
        status = rpc_status.from_call(refusal)
        assert status.code == code.value[0] and status.message == refusal.details(), status
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        assert status.details[0].Unpack(info), status
        assert (info.reason, info.domain) == (error, "countersign"), info
        metadata = metadata_of(refusal)
        assert info.metadata["requestId"] == metadata["x-request-id"], (info, metadata)
        for name, value in (details or {}).items():
            assert info.metadata[name] == value, (error, info)
        if code == grpc.StatusCode.RESOURCE_EXHAUSTED:
            assert status.details[1].Unpack(retry) and retry.retry_delay.seconds >= 1, status
            assert int(metadata["retry-after"]) == retry.retry_delay.seconds, metadata
        else:
            assert len(status.details) == 1, status
        tell(refusal, reason=reason, **fields)


def refusals(channel):
    unauthenticated = grpc.StatusCode.UNAUTHENTICATED
    denied = grpc.StatusCode.PERMISSION_DENIED
    full = key("company_12", "full")
    accounts = stub(channel, "ListAccounts")
    ask = lambda metadata: lambda: accounts(message("ListAccountsRequest"), metadata=metadata)
    wrong = full[0][1][:-1] + ("A" if full[0][1][-1] != "A" else "B")
    failed = "AUTHENTICATION_FAILED"
    is_refused(ask(()), unauthenticated, failed, "missing_api_key")
    is_refused(ask((("x-api-key", "junk"),)), unauthenticated, failed, "malformed_api_key")
    is_refused(ask((("x-api-key", wrong),)), unauthenticated, failed, "malformed_api_key")
    two = full + (("authorization", f"Bearer {KEYS['company_34']['full']}"),)
    is_refused(ask(two), unauthenticated, failed, "ambiguous_credentials")
    for kind, error in [
        ("expired", "TOKEN_EXPIRED"),
        ("revoked", "TOKEN_REVOKED"),
        ("suspended", "TOKEN_NOT_ACTIVE"),
        ("pending", "TOKEN_NOT_ACTIVE"),
    ]:
        reason = f"{kind}_api_key"
        is_refused(ask(key("company_12", kind)), unauthenticated, error, reason)
    foreign = full + (("x-company-id", "company_34"),)
    is_refused(
        ask(foreign),
        denied,
        "COMPANY_BOUNDARY_VIOLATION",
        "company_mismatch",
        {"where": "header"},
    )
    is_refused(
        lambda: stub(channel, "CreatePayment")(
            order("acct_1201"), metadata=key("company_12", "read_only")
        ),
        denied,
        "INSUFFICIENT_SCOPE",
        "scope_missing",
        {"requiredScope": "payments:create"},
    )
    unknown = channel.unary_unary(f"/{SERVICE}/DropPayments")
    is_refused(
        lambda: unknown(b"", metadata=full), denied, "ENDPOINT_NOT_ALLOWED", "endpoint_unknown"
    )
    is_refused(
        lambda: stub(channel, "GetPayment")(
            message("GetPaymentRequest", payment_id="pay_1201"),
            metadata=key("company_34", "full"),
        ),
        grpc.StatusCode.NOT_FOUND,
        "RESOURCE_NOT_FOUND",
        "resource_outside_company",
    )
    is_refused(
        lambda: stub(channel, "CreatePayment")(order("acct_1201", reference=""), metadata=full),
        grpc.StatusCode.INVALID_ARGUMENT,
        "VALIDATION_FAILED",
        "validation_failed",
        {"field": "reference"},
    )


def allowed(channel):
    full = key("company_12", "full")
    answer, call = stub(channel, "ListAccounts").with_call(
        message("ListAccountsRequest"), metadata=full
    )
    assert [account.id for account in answer.accounts] == ["acct_1201"], answer
    assert "ratelimit" in metadata_of(call), metadata_of(call)
    tell(call, messages_received=1, messages_sent=1)

    bearer = (("authorization", f"bearer {full[0][1]}"),)
    stub(channel, "ListAccounts")(message("ListAccountsRequest"), metadata=bearer)

    orders = iter([order("acct_1201"), order("acct_1201")])
    answer, call = stub(channel, "CreatePayments").with_call(orders, metadata=full)
    assert len(answer.payment_ids) == 2, answer
    tell(call, messages_received=2, messages_sent=1)

    call = stub(channel, "ListNotifications")(
        message("ListNotificationsRequest"), metadata=full
    )
    received = len(list(call))
    tell(call, messages_received=1, messages_sent=received)

    questions = [message("GetPaymentRequest", payment_id="pay_1201")] * 3
    call = stub(channel, "PaymentStatuses")(iter(questions), metadata=full)
    assert [answer.status for answer in call] == ["settled"] * 3
    tell(call, messages_received=3, messages_sent=3)


def environments(production, sandbox):
    test, live = key("sandbox", "full"), key("company_12", "full")
    ask = lambda channel, metadata: stub(channel, "ListAccounts")(
        message("ListAccountsRequest"), metadata=metadata
    )
    answer = ask(sandbox, test)
    assert [account.id for account in answer.accounts] == ["acct_9901"], answer
    for channel, metadata in [(sandbox, live), (production, test)]:
        is_refused(
            lambda: ask(channel, metadata),
            grpc.StatusCode.UNAUTHENTICATED,
            "AUTHENTICATION_FAILED",
            "environment_mismatch",
        )


def limits(channel):
    create, metadata = stub(channel, "CreatePayment"), key("company_34", "full")

    def spend():
        for _ in range(100):
            create(order("acct_3401"), metadata=metadata)

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    is_refused(spend, code, "RATE_LIMIT_EXCEEDED", "limit_key")


with grpc.insecure_channel(PRODUCTION) as one_port, grpc.insecure_channel(SANDBOX) as trial:
    allowed(one_port)
    refusals(one_port)
    environments(one_port, trial)
    limits(one_port)
