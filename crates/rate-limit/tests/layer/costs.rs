//! What a request costs, by its function or its endpoint.

use super::*;

fn batch(size: &'static str) -> Request<Body> {
    let mut request = request(1);
    request
        .headers_mut()
        .insert("x-batch-size", size.parse().unwrap());
    request
}

fn by_batch() -> Policies {
    let size = |headers: &http::HeaderMap| headers.get("x-batch-size")?.to_str().ok()?.parse().ok();
    Policies::new([
        Policy::new("calls", Dimension::Key, hourly(100)),
        Policy::new("batch", Dimension::Company, hourly(5))
            .cost_by(move |call| size(call.headers()).unwrap_or(1)),
    ])
    .unwrap()
}

#[tokio::test]
async fn a_function_says_what_a_request_costs() {
    let local: Arc<dyn LimitStore> = Arc::new(LocalLimits::new());
    let remote: Arc<dyn LimitStore> = Arc::new(Remote::default());
    for store in [local, remote] {
        let mut service = RateLimitLayer::new(by_batch(), store).layer(ReadinessProbe::default());
        let (response, _) = call(&mut service, batch("3")).await;
        assert_eq!(
            response.headers()["ratelimit"],
            "\"calls\";r=99;t=3600, \"batch\";r=2;t=10800"
        );
        let (response, context) = call(&mut service, batch("3")).await;
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "3600");
        assert_eq!(context.limit().unwrap().policy.as_deref(), Some("batch"));
        assert_eq!(json(response).await["details"]["policy"], "batch");
        assert_eq!(call(&mut service, batch("2")).await.0.status(), 200);
        assert_eq!(call(&mut service, batch("0")).await.0.status(), 200);
    }
}

#[tokio::test]
async fn what_can_never_fit_is_told_so_and_not_to_wait() {
    let probe = ReadinessProbe::default();
    let mut service = RateLimitLayer::new(by_batch(), LocalLimits::new()).layer(probe.clone());
    let (response, context) = call(&mut service, batch("6")).await;
    assert_eq!(response.status(), 400);
    assert!(!response.headers().contains_key("retry-after"));
    let fields = response.headers()["ratelimit"].to_str().unwrap();
    assert!(fields.starts_with("\"calls\";r=100;t=0"), "{fields}");
    assert_eq!(context.denial().unwrap().reason(), Reason::MalformedRequest);
    assert_eq!(context.limit().unwrap().policy.as_deref(), Some("batch"));
    let body = json(response).await;
    assert_eq!(
        (&body["error"], &body["details"]["policy"]),
        (&"invalid_request".into(), &"batch".into())
    );
    assert!(body.get("retryAfterSeconds").is_none());
    assert_eq!(probe.calls(), 0);
    // Nothing was taken from anybody.
    assert_eq!(call(&mut service, batch("5")).await.0.status(), 200);
}

fn request_at(endpoint: Endpoint, key: u128) -> Request<Body> {
    let request = entered(&Edge::builder().clock(ManualClock::default()).build());
    let context = AccessContext::of(&request).unwrap();
    context.identify(identity(key)).unwrap();
    let matched = MatchedEndpoint {
        endpoint: endpoint.kept(),
        target: http::uri::PathAndQuery::from_static("/exports"),
    };
    context.match_endpoint(matched).unwrap();
    request
}

#[tokio::test]
async fn an_endpoint_costs_what_it_says_and_has_the_quota_that_it_says() {
    let policies = Policies::new([
        Policy::new("key", Dimension::Key, hourly(10)),
        Policy::new("endpoint", Dimension::Endpoint, hourly(10)),
    ])
    .unwrap();
    let export = Endpoint::get("/exports")
        .cost(4.try_into().unwrap())
        .limit(hourly(6));
    policies.check(&export).unwrap();
    let layer = RateLimitLayer::new(policies, Arc::new(LocalLimits::default()));
    let mut service = layer.layer(ReadinessProbe::default());
    let (first, _) = call(&mut service, request_at(export.clone(), 1)).await;
    assert_eq!(first.status(), 200);
    assert_eq!(
        first.headers()["ratelimit-policy"],
        "\"key\";q=10;w=36000, \"endpoint\";q=6;w=21600"
    );
    let left = first.headers()["ratelimit"].to_str().unwrap().to_owned();
    assert!(left.starts_with("\"key\";r=6;"), "{left}");
    assert!(left.contains("\"endpoint\";r=2;"), "{left}");
    // Its own quota has 2 left, the policy's would have had 6.
    let (second, context) = call(&mut service, request_at(export, 1)).await;
    assert_eq!(second.status(), 429);
    let reason = context.denial().unwrap().reason();
    assert_eq!(reason, Reason::LimitEndpoint);
}

#[test]
fn an_endpoint_that_limits_can_not_count_is_a_mistake() {
    let key = || Policy::new("key", Dimension::Key, hourly(10));
    let by_key = Policies::new([key()]).unwrap();
    let endpoint = Endpoint::get("/exports");
    assert!(by_key.check(&endpoint).is_ok());
    let dear = endpoint.clone().cost(11.try_into().unwrap());
    assert!(
        by_key
            .check(&dear)
            .unwrap_err()
            .to_string()
            .contains("policy key")
    );
    let own = endpoint.limit(hourly(5));
    assert!(by_key.check(&own).is_err(), "nobody would apply it");
    let both = Policies::new([
        key(),
        Policy::new("endpoint", Dimension::Endpoint, hourly(10)),
    ]);
    assert!(both.unwrap().check(&own).is_ok());
}
