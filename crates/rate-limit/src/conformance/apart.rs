//! What counts by itself.

use std::sync::Arc;

use countersign_core::{AccessContext, Endpoint, OperationType, Quota};

use super::case::{Case, DAY, FITS, INTERVAL, run_name};
use crate::samples::{Caller, after};
use crate::{Dimension, LimitStore, Policies, Policy};

/// Keys, companies, endpoints, scopes and operation types don't share counters.
pub async fn counters_are_apart(store: &Arc<dyn LimitStore>) {
    let run = run_name();
    let case = |caller: &Caller, endpoint: Endpoint, scope: &str| {
        let dimensions = [
            Dimension::Key,
            Dimension::Company,
            Dimension::Endpoint,
            Dimension::Scope,
            Dimension::Operation,
        ];
        let endpoint = endpoint.scope(scope.parse().expect("a scope"));
        Case::of_all(&run, dimensions, 4, caller.asks(endpoint, after(DAY)))
    };
    let (own, read) = (Caller::new(), "accounts:read");
    let first = case(&own, Endpoint::get("/a"), read);
    assert!(first.ask(store).await.is_allowed());
    let others = [
        (case(&own, Endpoint::get("/a"), read), [3, 3, 3, 3, 3]),
        (case(&own, Endpoint::get("/b"), read), [3, 3, 4, 3, 3]),
        (case(&own, Endpoint::get("/c"), "a:b"), [3, 3, 4, 4, 3]),
        (case(&own, Endpoint::post("/a"), read), [3, 3, 4, 3, 4]),
        (
            case(&own.colleague(), Endpoint::get("/a"), read),
            [4, 3, 4, 4, 4],
        ),
        (
            case(&Caller::new(), Endpoint::get("/a"), read),
            [4, 4, 4, 4, 4],
        ),
    ];
    for (n, (other, left)) in others.iter().enumerate() {
        let what = "of keys, companies, endpoints, scopes and operation types, each has its own";
        assert_eq!(other.remaining(store).await, left, "{what}: request {n}");
    }
}

/// A source counts whoever calls from it, and the platform everybody together.
pub async fn sources_and_the_platform_too(store: &Arc<dyn LimitStore>) {
    let run = run_name();
    let case = |caller: &Caller, source| {
        let dimensions = [Dimension::Company, Dimension::Source, Dimension::Platform];
        let context = caller.asks_from(source, Endpoint::get("/a"), after(DAY));
        Case::of_all(&run, dimensions, 4, context)
    };
    let own = Caller::new();
    let first = case(&own, "192.0.2.7");
    assert!(first.ask(store).await.is_allowed());
    let others = [
        (case(&own, "192.0.2.7"), [3, 3, 3]),
        (case(&own, "192.0.2.8"), [3, 4, 3]),
        (case(&Caller::new(), "192.0.2.7"), [4, 3, 3]),
        (case(&Caller::new(), "2001:db8::1"), [4, 4, 3]),
    ];
    for (n, (other, left)) in others.iter().enumerate() {
        let what = "sources and the platform count whichever company calls";
        assert_eq!(other.remaining(store).await, left, "{what}: request {n}");
    }
}

/// An operation type that a policy counts apart
/// ([`Policy::for_operation`](crate::Policy::for_operation)) takes nothing from the rest.
pub async fn operations_are_apart_where_a_policy_says_so(store: &Arc<dyn LimitStore>) {
    let quota = |burst| Quota::new(burst, INTERVAL).expect("a burst of at least 1");
    let policies = [Dimension::Key, Dimension::Company].map(|dimension| {
        let policy = Policy::new(dimension.as_str(), dimension, quota(4));
        policy.for_operation(OperationType::Write, quota(2))
    });
    let policies = Policies::new(policies).expect(FITS);
    let caller = Caller::new();
    let case = |context: AccessContext| Case {
        policies: policies.clone(),
        context,
    };
    let reads = case(caller.asks(Endpoint::get("/a"), after(DAY)));
    let writes = case(caller.asks(Endpoint::post("/a"), after(DAY)));
    assert!(reads.ask(store).await.is_allowed());
    let left = writes.remaining(store).await;
    assert_eq!(left, [2, 2], "a read took from the writes' counter");
    for allowed in [true, true, false] {
        assert_eq!(writes.ask(store).await.is_allowed(), allowed);
    }
    let left = reads.remaining(store).await;
    assert_eq!(left, [3, 3], "a write took from the reads' counter");
}
