//! What a request costs, by policy and by endpoint.

use super::*;

fn costs(policies: &Policies, endpoint: Endpoint) -> Vec<(String, u32)> {
    let context = Caller::new().asks(endpoint, noon());
    let request = policies.request(&context).unwrap();
    let tell = |limit: Limit<'_>| (limit.policy().to_owned(), limit.cost());
    request.limits().map(tell).collect()
}

#[test]
fn a_cost_that_is_none_is_refused() {
    let export = || Endpoint::post("/exports");
    let cases = [
        policy("a").cost_of(export(), 2).cost_of(export(), 3),
        policy("a").cost_of(export(), 11),
        policy("a").cost(2).cost_by(|_| 1),
        policy("a").cost_of(export(), 2).cost_by(|_| 1),
        policy("a")
            .cost_of(export(), 5)
            .for_operation(OperationType::Write, Quota::per_second(4, 1).unwrap()),
    ];
    for policy in cases {
        assert_eq!(subject_of_error([policy]), "policy a");
    }
    // Too dear for writes, and it is a read.
    let cheap = policy("a")
        .cost_of(Endpoint::get("/exports"), 5)
        .for_operation(OperationType::Write, Quota::per_second(4, 1).unwrap());
    assert!(Policies::new([cheap]).is_ok());
}

#[test]
fn an_endpoint_has_its_own_cost_in_every_quota_of_the_policy() {
    let sustained = Quota::per_minute(100, 100).unwrap();
    let policies = Policies::new([
        policy("key")
            .cost(2)
            .cost_of(
                Endpoint::post("/exports").with_operation(OperationType::Administration),
                7,
            )
            .cost_of(Endpoint::get("/health"), 0)
            .and("day", sustained),
        policy("plain"),
    ])
    .unwrap();
    let expected = |units| {
        let own = |name: &str| (name.to_owned(), units);
        vec![own("key"), own("key-day"), ("plain".to_owned(), 1)]
    };
    let export = Endpoint::post("/exports").with_operation(OperationType::Administration);
    assert_eq!(costs(&policies, export), expected(7));
    assert_eq!(costs(&policies, Endpoint::get("/exports")), expected(2));
    assert_eq!(costs(&policies, Endpoint::get("/health")), expected(0));
}

#[test]
fn a_function_is_asked_once_for_all_quotas_of_its_policy() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let asked = Arc::new(AtomicU32::new(0));
    let counting = Arc::clone(&asked);
    let policies = Policies::new([
        policy("plain"),
        policy("batch")
            .and("day", Quota::per_minute(100, 100).unwrap())
            .cost_by(move |call| {
                counting.fetch_add(1, Ordering::Relaxed);
                call.headers().len() as u32
            }),
    ])
    .unwrap();
    let context = Caller::new().reads(noon());
    let denial = policies.request(&context).unwrap_err();
    assert_eq!(
        denial.reason(),
        countersign_core::Reason::MisconfiguredStack
    );
    let mut request = Request::new(());
    for name in ["a", "b", "c"] {
        let value = http::HeaderValue::from_static("x");
        request
            .headers_mut()
            .insert(http::HeaderName::from_static(name), value);
    }
    let costs = policies.costs(&request, &context).unwrap();
    let limits = policies.request_costing(&context, &costs).unwrap();
    let units: Vec<u32> = limits.limits().map(|limit| limit.cost()).collect();
    assert_eq!((units, asked.load(Ordering::Relaxed)), (vec![1, 3, 3], 1));
    assert!(
        Policies::new([policy("a")])
            .unwrap()
            .costs(&request, &context)
            .is_none()
    );
}

#[test]
fn a_cost_for_an_endpoint_that_the_contract_lacks_is_a_mistake() {
    let export = Endpoint::post("/exports");
    let policies = Policies::new([policy("a").cost_of(export.clone(), 5)]).unwrap();
    let contract = [Endpoint::get("/exports"), export];
    assert!(policies.check_all(&contract).is_ok());
    let error = policies.check_all(&contract[..1]).unwrap_err();
    assert_eq!(error.subject(), "policy a");
    let dear = Endpoint::get("/dear").cost(11.try_into().unwrap());
    let error = policies
        .check_all(contract.iter().chain([&dear]))
        .unwrap_err();
    assert_eq!(error.subject(), "GET /dear");
}

#[test]
fn messages_that_could_never_pass_are_a_mistake() {
    let subject = |policies: &Policies, contract: &[Endpoint]| {
        let checked = policies.check_messages(contract);
        checked.map_err(|error| error.subject().to_owned())
    };
    let (method, http) = (Endpoint::grpc("/a.B/C"), Endpoint::post("/exports"));
    let plain = Policies::new([policy("a")]).unwrap();
    let dear = |endpoint: &Endpoint| endpoint.clone().cost(11.try_into().unwrap());
    let refused = Err("POST /a.B/C".to_owned());
    assert_eq!(subject(&plain, &[dear(&method)]), refused);
    assert_eq!(subject(&plain, &[method.clone(), dear(&http)]), Ok(()));
    // The calls' policies are those that must know it.
    let limited = method.clone().limit(quota());
    assert_eq!(subject(&plain, &[limited]), Ok(()));
    let named = Policies::new([policy("a").cost_of(method.clone(), 5)]).unwrap();
    assert_eq!(subject(&named, &[dear(&method)]), Ok(()));
    let mistyped = [Endpoint::grpc("/a.B/Typo"), Endpoint::post("/a.B/C")];
    assert_eq!(subject(&named, &mistyped), Err("policy a".to_owned()));
}

#[test]
fn an_endpoints_own_cost_multiplies_what_a_policy_doesnt_name() {
    let export = || Endpoint::post("/exports").cost(3.try_into().unwrap());
    let policies = Policies::new([
        policy("plain").cost(2),
        policy("named").cost_of(export(), 5),
    ])
    .unwrap();
    let told = |name: &str, units| (name.to_owned(), units);
    assert_eq!(
        costs(&policies, export()),
        [told("plain", 6), told("named", 5)]
    );
}
