use countersign_core::{Edge, Endpoint, Environment, Identity, MatchedEndpoint, ScopeSet};
use http_body_util::Full;
use proptest::prelude::*;

use super::*;

type Body = Full<bytes::Bytes>;

fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings {
        claims: Claims::default(),
        body_limit: 100,
        patience: Patience::default(),
        over_limit: OverLimit::Refuse,
    };
    change(&mut settings);
    settings
}

fn every_claim() -> Settings {
    settings(|s| {
        s.claims.path.push("company".into());
        s.claims.query.push("company_id".into());
        s.claims.headers.push("x-company-id".parse().unwrap());
        s.claims.json.insert("/company_id".parse().unwrap());
    })
}

/// A request of company_34, whose target the contract matched.
fn known(
    target: &str,
    headers: &[(&str, &[u8])],
    body: &'static str,
) -> (Request<Body>, AccessContext) {
    let mut request = http::Request::post(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Full::from(body)).unwrap();
    let entered = Edge::default().enter(&mut request);
    let context = entered.context(&request).clone();
    let company = "company_34".parse().unwrap();
    let identity = Identity::new(company, Environment::Live, ScopeSet::new());
    context.identify(identity).unwrap();
    let matched = MatchedEndpoint {
        endpoint: Endpoint::post("/c/{company}").kept(),
        target: request.uri().path_and_query().unwrap().clone(),
    };
    context.match_endpoint(matched).unwrap();
    (request, context)
}

fn ask(settings: &Settings, target: &str, headers: &[(&str, &[u8])]) -> Result<bool, Denial> {
    let (request, context) = known(target, headers, "");
    let placed = place(settings, &request, &context);
    let binding = context.company().unwrap();
    assert_eq!(binding.effective.as_str(), "company_34");
    assert_eq!(binding.owner.as_str(), "company_34");
    placed.map(|placed| placed.chosen.is_some())
}

fn refused_at(answer: Result<bool, Denial>) -> ClaimPlaceName {
    let denial = answer.unwrap_err();
    assert_eq!(denial.reason(), Reason::CompanyMismatch);
    denial.claim().unwrap().as_str()
}

type ClaimPlaceName = &'static str;

#[test]
fn claims_that_name_the_owner_pass() {
    let own: &[(&str, &[u8])] = &[("x-company-id", b"company_34")];
    let claims = every_claim();
    assert_eq!(ask(&claims, "/c/company_34", &[]), Ok(true));
    assert_eq!(
        ask(&claims, "/c/company_34?company_id=company_34", own),
        Ok(true)
    );
    assert_eq!(ask(&claims, "/c/company%5F34", &[]), Ok(true));
    let without_path = settings(|s| s.claims.query.push("company_id".into()));
    assert_eq!(ask(&without_path, "/c/company_12", &[]), Ok(false));
}

#[test]
fn each_place_is_checked_and_named() {
    let claims = every_claim();
    assert_eq!(refused_at(ask(&claims, "/c/company_12", &[])), "path");
    let query = ask(&claims, "/c/company_34?company_id=company_12", &[]);
    assert_eq!(refused_at(query), "query");
    let header = ask(&claims, "/c/company_34", &[("x-company-id", b"company_12")]);
    assert_eq!(refused_at(header), "header");
}

#[test]
fn every_repetition_must_match() {
    let claims = every_claim();
    for query in [
        "company_id=company_34&company_id=company_12",
        "company_id=company_12&company_id=company_34",
        "company_id=company_34&company%5Fid=company_12",
        "company_id=company_34&company_id",
        "company_id=company_34;company_id=company_12",
    ] {
        let target = format!("/c/company_34?{query}");
        assert_eq!(refused_at(ask(&claims, &target, &[])), "query", "{query}");
    }
    for second in [&b"company_12"[..], b"", b"company_34,company_34", b"\xff"] {
        let lines: &[(&str, &[u8])] = &[("x-company-id", b"company_34"), ("x-company-id", second)];
        assert_eq!(refused_at(ask(&claims, "/c/company_34", lines)), "header");
    }
}

#[test]
fn what_cannot_be_decoded_is_no_match() {
    let claims = every_claim();
    for query in ["company_id=%FF", "company_id=%", "company_id=company_34%00"] {
        let target = format!("/c/company_34?{query}");
        assert_eq!(refused_at(ask(&claims, &target, &[])), "query", "{query}");
    }
    assert_eq!(refused_at(ask(&claims, "/c/%FF", &[])), "path");
}

#[test]
fn the_claim_that_differs_is_the_one_that_is_recorded() {
    let (request, context) = known("/c/company_34?company_id=company_12", &[], "");
    assert!(place(&every_claim(), &request, &context).is_err());
    assert_eq!(context.claimed_company().unwrap().as_str(), "company_12");
    let (request, context) = known("/c/not%20a%20company", &[], "");
    assert!(place(&every_claim(), &request, &context).is_err());
    assert_eq!(context.claimed_company(), None);
}

/// Company_34's key, which was granted company_56.
fn parent(target: &str) -> (Request<Body>, AccessContext) {
    let (request, _) = known(target, &[], "");
    let (mut parts, body) = request.into_parts();
    parts.extensions.clear();
    let mut request = Request::from_parts(parts, body);
    let entered = Edge::default().enter(&mut request);
    let context = entered.context(&request).clone();
    let granted = ["company_56".parse().unwrap()].into_iter().collect();
    let company = "company_34".parse().unwrap();
    let identity = Identity::new(company, Environment::Live, ScopeSet::new());
    context
        .identify(identity.with_subsidiaries(granted))
        .unwrap();
    let matched = MatchedEndpoint {
        endpoint: Endpoint::post("/c/{company}").kept(),
        target: request.uri().path_and_query().unwrap().clone(),
    };
    context.match_endpoint(matched).unwrap();
    (request, context)
}

#[test]
fn a_parents_key_works_for_the_company_that_all_claims_choose() {
    for (target, effective) in [
        ("/c/company_56", "company_56"),
        ("/c/company_56?company_id=company_56", "company_56"),
        ("/c/company_34", "company_34"),
    ] {
        let (request, context) = parent(target);
        let placed = place(&every_claim(), &request, &context).unwrap();
        settle(&context, placed.chosen).unwrap();
        let binding = context.company().unwrap();
        assert_eq!(binding.owner.as_str(), "company_34", "{target}");
        assert_eq!(binding.effective.as_str(), effective, "{target}");
        assert_eq!(context.claimed_company(), Some(&binding.effective));
    }
    // Nobody said for which company it is: then it is for the owner.
    let (request, context) = parent("/c/company_56");
    let placed = place(&settings(|_| {}), &request, &context).unwrap();
    settle(&context, placed.chosen).unwrap();
    assert_eq!(context.company().unwrap().effective.as_str(), "company_34");
    assert_eq!(context.claimed_company(), None);
}

#[test]
fn a_parents_key_works_for_nobody_outside_its_group() {
    for (target, place_name, claimed) in [
        ("/c/company_12", "path", "company_12"),
        ("/c/company_56?company_id=company_34", "query", "company_34"),
        ("/c/company_34?company_id=company_56", "query", "company_56"),
        ("/c/company_56?company_id=company_12", "query", "company_12"),
    ] {
        let (request, context) = parent(target);
        let denial = place(&every_claim(), &request, &context).unwrap_err();
        assert_eq!(denial.claim().unwrap().as_str(), place_name, "{target}");
        assert_eq!(context.claimed_company().unwrap().as_str(), claimed);
        let binding = context.company().expect("the audit knows whose key it was");
        assert_eq!(binding.effective.as_str(), "company_34");
    }
}

#[test]
fn a_missing_part_fails_closed() {
    let mut request = Request::new(Body::default());
    let entered = Edge::default().enter(&mut request);
    let context = entered.context(&request);
    let why = |answer: Result<Placed<'_>, Denial>| answer.unwrap_err().reason();
    let nobody = place(&settings(|_| {}), &request, context);
    assert_eq!(why(nobody), Reason::MisconfiguredStack);
    assert_eq!(context.company(), None);

    let company = "company_34".parse().unwrap();
    let identity = Identity::new(company, Environment::Live, ScopeSet::new());
    context.identify(identity).unwrap();
    let without_endpoint = place(&every_claim(), &request, context);
    assert_eq!(why(without_endpoint), Reason::MisconfiguredStack);
    let twice = place(&settings(|_| {}), &request, context);
    assert_eq!(why(twice), Reason::MisconfiguredStack);
}

/// What is done with a body of these content types.
fn plan(types: &[&str]) -> Result<BodyPlan, Denial> {
    let lines: Vec<(&str, &[u8])> = types
        .iter()
        .map(|t| ("content-type", t.as_bytes()))
        .collect();
    let (request, context) = known("/c/company_34", &lines, "{}");
    place(&every_claim(), &request, &context).map(|placed| placed.body)
}

#[test]
fn the_content_type_says_whether_a_body_is_looked_at() {
    for json in [
        "application/json",
        "APPLICATION/JSON; charset=utf-8",
        "application/merge-patch+json",
        "application/vnd.x+JSON;v=1",
        "text/json",
        "application/json+x",
        "application/x+json+y",
        "application/json+",
        "application/grpc+json",
    ] {
        assert_eq!(plan(&[json]), Ok(BodyPlan::Json), "{json}");
    }
    for other in [
        "text/plain",
        "application/grpc",
        "application/jsonp",
        "application/+x",
        "multipart/form-data; x",
    ] {
        assert_eq!(plan(&[other]), Ok(BodyPlan::Skip), "{other}");
    }
    assert_eq!(plan(&[]), Ok(BodyPlan::Guess));
    assert_eq!(plan(&["json"]), Ok(BodyPlan::Guess));
    assert_eq!(plan(&[""]), Ok(BodyPlan::Guess));
    let two = plan(&["text/plain", "application/json"]).unwrap_err();
    assert_eq!(two.reason(), Reason::MalformedRequest);
}

/// As axum's `Json` decides which content types it takes.
fn axum_takes(content_type: &str) -> bool {
    let Ok(mime) = content_type.parse::<mime::Mime>() else {
        return false;
    };
    let is_suffix = mime.suffix().is_some_and(|name| name == "json");
    mime.type_() == "application" && (mime.subtype() == "json" || is_suffix)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_axum_takes_for_json_is_never_skipped(
        content_type in "[aA]pplication/(json|JSON|Json|x|[+;. a-z]){1,5}(; ?(charset|q)=(utf-8|\"a;b\"|json))?",
    ) {
        if axum_takes(&content_type) {
            prop_assert_eq!(plan(&[&content_type]), Ok(BodyPlan::Json));
        }
    }
}

/// Its messages are no document, and a stream of them would be waited for to its end.
#[test]
fn the_messages_of_a_grpc_method_are_not_read() {
    let json: &[(&str, &[u8])] = &[("content-type", b"application/grpc+json")];
    let (mut request, _) = known("/pay.v1.Payments/Create", json, "{}");
    request.extensions_mut().clear();
    let entered = Edge::default().enter(&mut request);
    let context = entered.context(&request);
    let company = "company_34".parse().unwrap();
    let identity = Identity::new(company, Environment::Live, ScopeSet::new());
    context.identify(identity).unwrap();
    let matched = MatchedEndpoint {
        endpoint: Endpoint::grpc("/pay.v1.Payments/Create").kept(),
        target: request.uri().path_and_query().unwrap().clone(),
    };
    context.match_endpoint(matched).unwrap();
    let placed = place(&every_claim(), &request, context).unwrap();
    assert_eq!(placed.body, BodyPlan::Skip);
}

#[test]
fn only_a_body_with_claims_in_it_is_looked_at() {
    let json: &[(&str, &[u8])] = &[("content-type", b"application/json")];
    let (request, context) = known("/c/company_34", json, "");
    let placed = place(&every_claim(), &request, &context).unwrap();
    assert_eq!(placed.body, BodyPlan::Skip);
    let (request, context) = known("/c/company_34", json, "{}");
    let placed = place(&settings(|_| {}), &request, &context).unwrap();
    assert_eq!(placed.body, BodyPlan::Skip);
}

#[test]
fn a_body_that_is_announced_too_long_is_not_read() {
    let long: &'static str = Box::leak("x".repeat(101).into_boxed_str());
    let announced: &[(&str, &[u8])] = &[("content-length", b"101")];
    for (headers, body) in [(&[][..], long), (announced, "{}")] {
        let (request, context) = known("/c/company_34", headers, body);
        let denial = place(&every_claim(), &request, &context).unwrap_err();
        assert_eq!(denial.reason(), Reason::MalformedRequest);
        let passing = Settings {
            over_limit: OverLimit::Pass,
            ..every_claim()
        };
        let (request, context) = known("/c/company_34", headers, body);
        let placed = place(&passing, &request, &context).unwrap();
        assert_eq!(placed.body, BodyPlan::Skip);
    }
}
