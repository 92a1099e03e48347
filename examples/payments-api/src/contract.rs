//! Which endpoints outside companies may call, with which scope, and how often.

use countersign::{
    ConfigError, Contract, Dimension, Endpoint, OperationType, ParseError, Policies, Policy, Quota,
};

/// Everything that is not listed here is refused.
pub(crate) fn contract() -> Result<Contract, Box<dyn std::error::Error>> {
    let webhooks = |endpoint: Endpoint| endpoint.with_operation(OperationType::Webhook);
    let endpoints = [
        (Endpoint::get("/external/v1/banks"), "banks:read"),
        (Endpoint::get("/external/v1/accounts"), "accounts:read"),
        (
            Endpoint::post("/external/v1/payments").sensitive(),
            "payments:create",
        ),
        (
            Endpoint::get("/external/v1/payments/{payment_id}"),
            "payments:read",
        ),
        (
            Endpoint::get("/external/v1/payment-status/{payment_id}"),
            "payment-status:read",
        ),
        (
            Endpoint::get("/external/v1/notifications"),
            "notifications:read",
        ),
        (
            webhooks(Endpoint::post("/external/v1/webhooks")),
            "webhooks:manage",
        ),
        (
            webhooks(Endpoint::delete("/external/v1/webhooks/{webhook_id}")),
            "webhooks:manage",
        ),
        (
            Endpoint::post("/external/v1/tokens/{token_id}/revoke")
                .with_operation(OperationType::Administration),
            "tokens:manage",
        ),
    ];
    let endpoints = endpoints
        .into_iter()
        .map(|(endpoint, scope)| Ok(endpoint.scope(scope.parse()?)))
        .collect::<Result<Vec<_>, ParseError>>()?;
    Ok(Contract::builder().endpoints(endpoints).build()?)
}

/// Reads: 200 at once and 50 a second for a key. Everything that changes something: 20 at once
/// and 5 a second. A company may do twice that with all of its keys together.
pub(crate) fn policies() -> Result<Policies, ConfigError> {
    let policy = |name, dimension, times: u32| {
        let writes = Quota::per_second(20 * times, 5 * times)?;
        let reads = Quota::per_second(200 * times, 50 * times)?;
        Ok(Policy::new(name, dimension, reads)
            .for_operation(OperationType::Write, writes)
            .for_operation(OperationType::Webhook, writes)
            .for_operation(OperationType::Administration, writes))
    };
    Policies::new([
        policy("key", Dimension::Key, 1)?,
        policy("company", Dimension::Company, 2)?,
    ])
}
