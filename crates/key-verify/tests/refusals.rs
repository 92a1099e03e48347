//! Every reason of the refusal table: what the caller is told, what the audit is told, and that
//! the inner service is never called. Each is tried on a cold and on a warm cache.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use countersign_core::source::TrustedProxies;
use countersign_core::testing::ReadinessProbe;
use countersign_core::{CompanyId, Edge, Environment, Identity, ScopeSet};
use countersign_key_verify::{
    IssuedKey, KeyVerifierBuilder, KeyVerifyLayer, RawKey, RevocationReason,
};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use support::{DAY, Seen, World, from, request, with_key, wrong_secret};
use tower::{Layer, ServiceExt};

fn defaults(builder: KeyVerifierBuilder) -> KeyVerifierBuilder {
    builder
}

/// Checks one refusal.
#[track_caller]
fn refused(seen: &Seen, reason: &str, status: u16, error: &str) {
    assert_eq!(seen.reason(), Some(reason));
    assert_eq!(seen.status(), status, "{reason}");
    assert_eq!(seen.context.denial().unwrap().error().as_str(), error);
    assert!(!seen.passed, "{reason}: the inner service was called");
    assert!(seen.context.identity().is_none(), "{reason}");
    assert!(seen.response.headers().contains_key("x-request-id"));
    let challenged = seen.response.headers().contains_key("www-authenticate");
    assert_eq!(challenged, status == 401, "{reason}");
}

/// Sends the key twice through one layer: the first answer is the store's, the second the cache's.
async fn cold_and_warm(
    world: &World,
    layer: &KeyVerifyLayer,
    request: impl Fn() -> Request<Full<Bytes>>,
    expected: (&str, u16, &str),
) {
    for _ in 0..2 {
        let seen = world.send(layer, request()).await;
        let (reason, status, error) = expected;
        refused(&seen, reason, status, error);
    }
}

/// The prefix is in the record either way, the owner only where the secret was right.
async fn names_owner(world: &World, layer: &KeyVerifyLayer, issued: &IssuedKey) {
    let right = world.send(layer, with_key(issued)).await.context;
    assert_eq!(right.owner(), Some(world.company));
    let (id, prefix) = (issued.record.id, issued.record.prefix);
    assert_eq!(right.key(), (Some(id), Some(prefix)));
    let wrong = request(&[("x-api-key", &wrong_secret(issued))]);
    let wrong = world.send(layer, wrong).await;
    refused(&wrong, "invalid_api_key", 401, "authentication_failed");
    assert_eq!(wrong.context.owner(), None);
    assert_eq!(wrong.context.key(), (None, Some(prefix)));
}

const FAILED: &str = "authentication_failed";

#[tokio::test]
async fn a_good_key_passes_and_is_identified() {
    let world = World::new().await;
    let issued = world.key().await;
    let layer = world.layer(defaults);
    let raw = issued.key.expose();
    let bearer = format!("bEARER  {}", *raw);
    for fields in [
        vec![("x-api-key", raw.as_str())],
        vec![("authorization", bearer.as_str())],
        vec![("x-api-key", raw.as_str()), ("x-api-key", raw.as_str())],
        vec![
            ("x-api-key", raw.as_str()),
            ("authorization", bearer.as_str()),
        ],
        vec![("x-api-key", raw.as_str()), ("authorization", "Basic YTpi")],
    ] {
        let seen = world.send(&layer, request(&fields)).await;
        assert_eq!((seen.status(), seen.reason()), (200, None));
        let identity = seen.context.identity().unwrap();
        assert_eq!(identity.key_id(), Some(issued.record.id));
        assert_eq!(identity.key_prefix(), Some(&issued.record.prefix));
        assert_eq!(*identity.company(), world.company);
        assert_eq!(identity.environment(), Environment::Live);
        assert_eq!(identity.scopes().names(), ["accounts:read"]);
        assert!(
            seen.context.company().is_none(),
            "binding it is a later layer's"
        );
    }
}

#[tokio::test]
async fn no_credential_is_a_missing_one() {
    let world = World::new().await;
    let layer = world.layer(defaults);
    for fields in [
        &[][..],
        &[("authorization", "Basic YTpi")],
        &[("authorization", "")],
    ] {
        let seen = world.send(&layer, request(fields)).await;
        refused(&seen, "missing_api_key", 401, FAILED);
        assert_eq!(seen.response.headers()["www-authenticate"], "Bearer");
    }
    let issued = world.key().await;
    let bearer = format!("Bearer {}", *issued.key.expose());
    let off = world.layer(|builder| builder.bearer(false));
    let seen = world
        .send(&off, request(&[("authorization", &bearer)]))
        .await;
    refused(&seen, "missing_api_key", 401, FAILED);
}

#[tokio::test]
async fn what_is_not_a_key_is_malformed_and_the_store_is_not_asked() {
    let world = World::new().await;
    let issued = world.key().await;
    world.store.set_available(false);
    let layer = world.layer(defaults);
    let raw = issued.key.expose();
    let mut garbled = raw.to_string();
    let last = garbled.pop().unwrap();
    garbled.push(if last == '0' { '1' } else { '0' });
    let bearer = format!("Bearer {}, Bearer {}", *raw, *raw);
    let list = format!("{}, {}", *raw, *raw);
    let huge = "a".repeat(64 * 1024);
    for field in [
        ("x-api-key", garbled.as_str()),
        ("x-api-key", ""),
        ("x-api-key", "   "),
        ("x-api-key", &raw[1..]),
        ("x-api-key", &list),
        ("x-api-key", &huge),
        ("authorization", "Bearer"),
        ("authorization", "Bearer "),
        ("authorization", &bearer),
    ] {
        let seen = world.send(&layer, request(&[field])).await;
        refused(&seen, "malformed_api_key", 401, FAILED);
        let header = &seen.response.headers()["www-authenticate"];
        assert_eq!(header, "Bearer error=\"invalid_token\"");
    }
    let mut binary = request(&[]);
    let value = HeaderValue::from_bytes(&[0xff; 74]).unwrap();
    binary.headers_mut().insert("x-api-key", value);
    refused(
        &world.send(&layer, binary).await,
        "malformed_api_key",
        401,
        FAILED,
    );
}

#[tokio::test]
async fn two_keys_are_ambiguous_even_if_both_are_good() {
    let world = World::new().await;
    let (one, two) = (world.key().await, world.key().await);
    let layer = world.layer(defaults);
    let (one, two) = (one.key.expose(), two.key.expose());
    let bearer = format!("Bearer {}", *two);
    for fields in [
        [("x-api-key", one.as_str()), ("x-api-key", two.as_str())],
        [
            ("x-api-key", one.as_str()),
            ("authorization", bearer.as_str()),
        ],
        [("x-api-key", ""), ("authorization", bearer.as_str())],
    ] {
        let seen = world.send(&layer, request(&fields)).await;
        refused(&seen, "ambiguous_credentials", 401, FAILED);
    }
}

#[tokio::test]
async fn a_key_in_the_query_is_refused_beside_a_good_one() {
    let world = World::new().await;
    let issued = world.key().await;
    let layer = world.layer(defaults);
    let raw = issued.key.expose();
    let prefix = Some(*issued.key.prefix());
    for (query, shown) in [
        (format!("key={}", *raw), prefix),
        (raw.replace('_', "%5f"), prefix),
        ("Access_Token=x".to_owned(), None),
    ] {
        let mut request = with_key(&issued);
        *request.uri_mut() = format!("/accounts?{query}").parse().unwrap();
        let seen = world.send(&layer, request).await;
        refused(&seen, "key_in_query", 401, FAILED);
        // The query was not verified: the log says which key it shows, and not whose it is.
        assert_eq!(seen.context.key(), (None, shown), "{query}");
    }
    let mut harmless = with_key(&issued);
    *harmless.uri_mut() = "/accounts?page=2&prefix=acme_live_pBakQVyk6bW4"
        .parse()
        .unwrap();
    assert!(world.send(&layer, harmless).await.passed);
}

#[tokio::test]
async fn unknown_and_wrong_get_the_same_answer() {
    let world = World::new().await;
    let issued = world.key().await;
    let layer = world.layer(defaults);
    let unknown = RawKey::generate("acme", Environment::Live).unwrap();
    let unknown = || request(&[("x-api-key", &unknown.expose())]);
    let wrong = || request(&[("x-api-key", &wrong_secret(&issued))]);
    cold_and_warm(&world, &layer, unknown, ("unknown_api_key", 401, FAILED)).await;
    cold_and_warm(&world, &layer, wrong, ("invalid_api_key", 401, FAILED)).await;
    let (a, b) = (
        world.send(&layer, unknown()).await,
        world.send(&layer, wrong()).await,
    );
    assert_eq!(answer(a).await, answer(b).await);
    // Both are remembered: neither asks the store again.
    world.store.set_available(false);
    let seen = world.send(&layer, unknown()).await;
    refused(&seen, "unknown_api_key", 401, FAILED);
    let seen = world.send(&layer, wrong()).await;
    refused(&seen, "invalid_api_key", 401, FAILED);
}

/// Everything a caller sees, the request's own id aside.
async fn answer(seen: Seen) -> String {
    let id = seen.context.request_id().to_string();
    let (parts, body) = seen.response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = format!("{:?} {:?} {body:?}", parts.status, parts.headers);
    text.replace(&id, "ID")
}

#[tokio::test]
async fn a_sandbox_key_is_not_for_production_nor_the_reverse() {
    let world = World::new().await;
    let sandbox = world.issue(world.draft(Environment::Test)).await;
    let live = world.key().await;
    let production = world.layer(defaults);
    let mismatch = ("environment_mismatch", 401, FAILED);
    cold_and_warm(&world, &production, || with_key(&sandbox), mismatch).await;
    names_owner(&world, &production, &sandbox).await;
    let tests = world.layer(|builder| builder.environment(Environment::Test));
    cold_and_warm(&world, &tests, || with_key(&live), mismatch).await;
    assert!(world.send(&tests, with_key(&sandbox)).await.passed);
}

#[tokio::test]
async fn each_state_that_is_not_in_use_has_its_answer() {
    let world = World::new().await;
    let (by, m) = (&world.operator, &world.manager);
    let pending = world.draft(Environment::Live).activate_now(false);
    let pending = world.issue(pending).await;
    let suspended = world.key().await;
    m.suspend(by, &world.company, suspended.record.id)
        .await
        .unwrap();
    let revoked = world.key().await;
    let why = RevocationReason::SuspectedLeakage;
    m.revoke(by, &world.company, revoked.record.id, why)
        .await
        .unwrap();
    let rotated = world.key().await;
    m.rotate(by, &world.company, rotated.record.id, Duration::ZERO)
        .await
        .unwrap();
    let layer = world.layer(defaults);
    for (issued, expected) in [
        (&pending, ("pending_api_key", 401, "token_not_active")),
        (&suspended, ("suspended_api_key", 401, "token_not_active")),
        (&revoked, ("revoked_api_key", 401, "token_revoked")),
        (&rotated, ("rotated_api_key", 401, "token_not_active")),
    ] {
        cold_and_warm(&world, &layer, || with_key(issued), expected).await;
        names_owner(&world, &layer, issued).await;
    }
}

#[tokio::test]
async fn an_expired_key_and_then_a_revoked_one() {
    let world = World::new().await;
    let issued = world.key().await;
    let layer = world.layer(defaults);
    assert!(world.send(&layer, with_key(&issued)).await.passed);
    world.clock.set_wall(issued.record.expires_at);
    let expired = ("expired_api_key", 401, "token_expired");
    cold_and_warm(&world, &layer, || with_key(&issued), expired).await;
    names_owner(&world, &layer, &issued).await;
    let why = RevocationReason::ScheduledHygiene;
    let id = issued.record.id;
    world
        .manager
        .revoke(&world.operator, &world.company, id, why)
        .await
        .unwrap();
    let fresh = world.layer(defaults);
    let revoked = ("revoked_api_key", 401, "token_revoked");
    cold_and_warm(&world, &fresh, || with_key(&issued), revoked).await;
}

/// What a caller sees of an expired key is the same before and after somebody stored it as expired,
/// from the cache and from the store, with the right secret and with another.
#[tokio::test]
async fn it_makes_no_difference_whether_an_end_was_stored() {
    let world = World::new().await;
    let issued = world.key().await;
    let end = issued.record.expires_at;
    let warm = world.layer(defaults);
    assert!(world.send(&warm, with_key(&issued)).await.passed);
    world.clock.set_wall(end);
    let wrong = wrong_secret(&issued);
    let mut answers = Vec::new();
    for stored in [false, true] {
        if stored {
            let swept = world.manager.expire_due(&world.operator, end, 10).await;
            assert_eq!(swept.unwrap().expired, 1);
        }
        for layer in [&warm, &world.layer(defaults)] {
            let right = world.send(layer, with_key(&issued)).await;
            refused(&right, "expired_api_key", 401, "token_expired");
            let other = world.send(layer, request(&[("x-api-key", &wrong)])).await;
            refused(&other, "invalid_api_key", 401, FAILED);
            answers.push([told(right).await, told(other).await]);
        }
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

/// Everything of an answer but its request's id.
async fn told(seen: Seen) -> (Vec<(String, Vec<u8>)>, String) {
    let id = seen.response.headers()["x-request-id"].clone();
    let (parts, body) = seen.response.into_parts();
    let mut headers: Vec<_> = parts.headers.iter().filter(|it| it.1 != id).collect();
    headers.sort_by_key(|(name, _)| name.as_str());
    let headers = headers.into_iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (headers.collect(), body.replace(id.to_str().unwrap(), ""))
}

#[tokio::test]
async fn the_overlap_of_a_rotated_key_ends_without_the_cache() {
    let world = World::new().await;
    let issued = world.key().await;
    let id = issued.record.id;
    world
        .manager
        .rotate(&world.operator, &world.company, id, DAY / 2)
        .await
        .unwrap();
    let layer = world.layer(defaults);
    assert!(world.send(&layer, with_key(&issued)).await.passed);
    // Only the calendar moves on: the entry in the cache stays as young as it was.
    let end = issued.record.created_at.saturating_add(DAY / 2);
    world.clock.set_wall(end);
    let seen = world.send(&layer, with_key(&issued)).await;
    refused(&seen, "rotated_api_key", 401, "token_not_active");
}

#[tokio::test]
async fn the_company_comes_after_the_key() {
    let world = World::new().await;
    let issued = world.key().await;
    let (by, m) = (&world.operator, &world.manager);
    m.suspend_company(by, world.company).await.unwrap();
    let inactive = ("company_inactive", 401, "token_not_active");
    let layer = world.layer(defaults);
    cold_and_warm(&world, &layer, || with_key(&issued), inactive).await;
    names_owner(&world, &layer, &issued).await;
    m.suspend(by, &world.company, issued.record.id)
        .await
        .unwrap();
    let seen = world.send(&world.layer(defaults), with_key(&issued)).await;
    refused(&seen, "suspended_api_key", 401, "token_not_active");
}

#[tokio::test]
async fn a_key_that_is_bound_to_networks_works_from_there_alone() {
    let world = World::new().await;
    let networks = vec![
        "203.0.113.0/24".parse().unwrap(),
        "2001:db8::/32".parse().unwrap(),
    ];
    let issued = world.draft(Environment::Live).networks(networks);
    let issued = world.issue(issued).await;
    let layer = world.layer(defaults);
    for inside in ["203.0.113.9:1", "[2001:db8::1]:1", "[::ffff:203.0.113.9]:1"] {
        let seen = world.send(&layer, from(with_key(&issued), inside)).await;
        assert!(seen.passed, "{inside}");
    }
    let elsewhere = ("source_not_allowed", 401, FAILED);
    for outside in ["203.0.114.1:1", "[2001:db9::1]:1", "[::ffff:10.0.0.1]:1"] {
        let request = || from(with_key(&issued), outside);
        cold_and_warm(&world, &layer, request, elsewhere).await;
    }
    cold_and_warm(&world, &layer, || with_key(&issued), elsewhere).await;
    names_owner(&world, &layer, &issued).await;
}

#[tokio::test]
async fn a_source_that_a_proxy_garbled_is_no_source() {
    let world = World::new().await;
    let networks = vec!["10.0.0.0/8".parse().unwrap()];
    let issued = world
        .issue(world.draft(Environment::Live).networks(networks))
        .await;
    let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
    let edge = Edge::builder().clock(world.clock.clone());
    let edge = edge.trusted_proxies(proxies).build();
    let service = world.layer(defaults).layer(ReadinessProbe::default());
    for (forwarded, status) in [("10.1.1.1", 200), ("unknown", 401), ("6.6.6.6", 401)] {
        let mut request = from(with_key(&issued), "10.0.0.1:1");
        let value = HeaderValue::from_static(forwarded);
        request.headers_mut().insert("x-forwarded-for", value);
        let _entered = edge.enter(&mut request);
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{forwarded}");
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_503_and_says_when_to_come_back() {
    let world = World::new().await;
    let issued = world.key().await;
    let layer = world.layer(defaults);
    world.store.set_available(false);
    let down = ("key_store_unavailable", 503, "service_unavailable");
    cold_and_warm(&world, &layer, || with_key(&issued), down).await;
    let seen = world.send(&layer, with_key(&issued)).await;
    assert_eq!(seen.response.headers()["retry-after"], "1");
    assert_eq!(seen.context.key(), (None, Some(issued.record.prefix)));
    world.store.set_available(true);
    assert!(world.send(&layer, with_key(&issued)).await.passed);
}

#[tokio::test]
async fn a_request_that_somebody_else_identified_is_refused() {
    let world = World::new().await;
    let issued = world.key().await;
    let layer = world.layer(defaults);
    // From the store, and then from the cache.
    for _ in 0..2 {
        let mut request = with_key(&issued);
        let entered = world.edge().enter(&mut request);
        let context = entered.context(&request).clone();
        let other: CompanyId = "company_34".parse().unwrap();
        let other = Identity::new(other, Environment::Live, ScopeSet::new());
        context.identify(other).unwrap();
        let seen = world.send(&layer, request).await;
        assert_eq!(seen.status(), 500);
        assert!(!seen.passed);
        let reason = context.denial().unwrap().reason().as_str();
        assert_eq!(reason, "misconfigured_stack");
    }
}
