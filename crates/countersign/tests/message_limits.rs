//! Limits on messages that could not be kept, or that nothing could pass, are no part of a stack.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign::{
    AuditSink, Concurrency, ConfigError, Contract, Countersign, Dimension, Endpoint, MemoryBackend,
    MemoryKeyStore, Policies, Policy, Quota,
};

const METHOD: &str = "/pay.v1.Payments/Create";

fn method() -> Endpoint {
    Endpoint::grpc(METHOD).scope("payments:create".parse().unwrap())
}

fn policy(name: &'static str, burst: u32) -> Policy {
    Policy::new(name, Dimension::Key, Quota::per_second(burst, 10))
}

/// Why there is no stack whose only method is `method`.
fn refused(method: Endpoint, messages: Policies) -> Option<ConfigError> {
    let (sink, _writer) = AuditSink::builder(MemoryBackend::new().0).spawn().unwrap();
    let stack = Countersign::builder()
        .contract(Contract::builder().endpoint(method).build().unwrap())
        .key_store(MemoryKeyStore::default())
        .limits(Policies::new([policy("calls", 1000)]).unwrap())
        .audit(sink)
        .limit_messages(messages);
    stack.build().err()
}

fn subject(method: Endpoint, messages: Policies) -> Option<String> {
    refused(method, messages).map(|error| error.subject().to_owned())
}

fn messages(policy: Policy) -> Policies {
    Policies::new([policy]).unwrap()
}

#[tokio::test]
async fn what_is_not_for_messages_is_refused() {
    let at_once = Concurrency::new("streams", Dimension::Key, 1);
    let places = messages(policy("messages", 10)).with_concurrency([at_once]);
    let refused = subject(method(), places.unwrap());
    assert_eq!(refused.as_deref(), Some("policy streams"));
    let function = messages(policy("messages", 10).cost_by(|_| 1));
    let refused = subject(method(), function);
    assert_eq!(refused.as_deref(), Some("policy messages"));
    let calls = messages(policy("calls", 10));
    assert_eq!(subject(method(), calls).as_deref(), Some("policy calls"));
    assert_eq!(subject(method(), messages(policy("messages", 10))), None);
}

#[tokio::test]
async fn costs_that_the_contract_contradicts_are_refused() {
    let named = |endpoint| messages(policy("messages", 10).cost_of(endpoint, 5));
    let mistyped = named(Endpoint::grpc("/pay.v1.Payments/Typo"));
    let refused = subject(method(), mistyped);
    assert_eq!(refused.as_deref(), Some("policy messages"));
    assert_eq!(subject(method(), named(method())), None);
    let dear = || method().cost(100.try_into().unwrap());
    let refused = subject(dear(), messages(policy("messages", 10)));
    assert_eq!(refused, Some(format!("POST {METHOD}")));
    assert_eq!(subject(dear(), messages(policy("messages", 100))), None);
}
