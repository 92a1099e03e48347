//! The record of a request.

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http::uri::PathAndQuery;

use super::*;
use crate::{Environment, ScopeSet};

fn enter() -> (Request<()>, AccessContext) {
    let mut request = Request::new(());
    let entered = Edge::default().enter(&mut request);
    assert!(entered.is_first());
    let context = entered.context(&request).clone();
    (request, context)
}

#[test]
fn the_second_layer_finds_the_first_ones_record() {
    let (mut request, context) = enter();
    let second = Edge::default().enter(&mut request);
    assert!(!second.is_first());
    assert_eq!(second.context(&request).request_id(), context.request_id());
}

#[test]
fn a_part_is_filled_in_once() {
    let (_, context) = enter();
    let identity =
        |company: &str| Identity::new(company.parse().unwrap(), Environment::Live, ScopeSet::new());
    assert_eq!(context.identify(identity("company_12")), Ok(()));
    assert_eq!(context.identify(identity("company_34")), Err(AlreadySet));
    assert_eq!(
        context.identify_as(&identity("company_34")),
        Err(AlreadySet)
    );
    assert_eq!(context.owner().unwrap().as_str(), "company_12");
}

#[test]
fn whose_data_it_is_is_decided_once() {
    let company = |text: &str| text.parse::<CompanyId>().unwrap();
    let parent = Identity::new(company("parent"), Environment::Live, ScopeSet::new());
    let child = CompanyBinding {
        owner: company("parent"),
        effective: company("child"),
    };
    for owners_first in [true, false] {
        let (_, context) = enter();
        context.identify_as(&parent).unwrap();
        assert_eq!(context.company(), None);
        let decide = |owners: bool| match owners {
            true => context.bind_owner(),
            false => context.bind_company(child),
        };
        assert_eq!(decide(owners_first), Ok(()));
        assert_eq!(decide(true), Err(AlreadySet));
        assert_eq!(decide(false), Err(AlreadySet));
        let effective = if owners_first { "parent" } else { "child" };
        assert_eq!(context.effective_company().unwrap().as_str(), effective);
        assert_eq!(context.company().unwrap().effective.as_str(), effective);
    }
}

#[test]
fn the_first_reason_stays() {
    let (_, context) = enter();
    context.deny(Reason::ScopeMissing.into());
    context.deny(Reason::MisconfiguredStack.into());
    assert_eq!(context.denial().unwrap().reason(), Reason::ScopeMissing);
}

#[test]
fn debug_output_holds_no_target() {
    let (_, context) = enter();
    let matched = MatchedEndpoint {
        endpoint: Endpoint::get("/a/{id}").kept(),
        target: PathAndQuery::from_static("/a/secret-path?q=secret-query"),
    };
    let shown = format!("{matched:?}");
    assert!(shown.contains("/a/{id}") && !shown.contains("secret"));
    context.match_endpoint(matched).unwrap();
    assert!(!format!("{context:?}").contains("secret"));
}

#[test]
fn a_call_keeps_what_it_holds_until_its_answer_is_over() {
    for (head, is_over) in [(None, false), (Some("0"), true)] {
        let mut request = Request::new(());
        let grpc = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert(CONTENT_TYPE, grpc);
        let entered = Edge::default().enter(&mut request);
        let context = entered.context(&request);
        let place = Arc::new(());
        context.hold(Arc::clone(&place));
        let mut response = Response::new(());
        if let Some(status) = head {
            let status = HeaderValue::from_static(status);
            response.headers_mut().insert("grpc-status", status);
        }
        context.finish(&mut response);
        assert_eq!(Arc::strong_count(&place) == 1, is_over);
        context.let_go();
        assert_eq!(Arc::strong_count(&place), 1);
    }
}

/// Whether the record was locked when this was dropped.
struct Kept(AccessContext, Arc<OnceLock<bool>>);

impl Drop for Kept {
    fn drop(&mut self) {
        let is_locked = self.0.0.answer.try_lock().is_err();
        self.1.set(is_locked).expect("nothing is dropped twice");
    }
}

#[test]
fn what_was_held_may_use_the_record_when_it_is_dropped() {
    for ask in [AccessContext::let_go, |context: &AccessContext| {
        context.finish(&mut Response::new(()));
    }] {
        let (_, context) = enter();
        let was_locked = Arc::new(OnceLock::new());
        context.hold(Kept(context.clone(), Arc::clone(&was_locked)));
        assert_eq!(was_locked.get(), None);
        ask(&context);
        assert_eq!(was_locked.get(), Some(&false));
    }
}

#[test]
fn notes_are_taken_once() {
    let (_, context) = enter();
    assert_eq!(context.take_notes(), None);
    context.note(|_| ());
    assert_eq!(context.take_notes(), None, "nothing was noted");
    let resource = || crate::Resource::new("payment", "17");
    context.note(|notes| notes.resource = Some(resource()));
    let taken = context.take_notes().unwrap();
    assert_eq!(taken.resource, Some(resource()));
    assert_eq!(context.take_notes(), None);
}

#[test]
fn the_fields_of_limits_go_onto_one_answer_in_place_of_others() {
    let (_, context) = enter();
    let value = HeaderValue::from_static;
    let fields = |classic: Option<[&'static str; 3]>| RateLimitFields {
        policy: value("p"),
        limit: value("l"),
        classic: classic.map(|texts| Box::new(texts.map(value))),
    };
    let shown = |response: &Response<()>| {
        let names = [
            "ratelimit-policy",
            "ratelimit",
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
        ];
        let text = |name| {
            let values = response.headers().get_all(name).iter();
            values
                .map(|value| value.to_str().unwrap())
                .collect::<String>()
        };
        names.map(text)
    };
    context.show_limits(fields(None));
    context.show_limits(fields(Some(["1", "2", "3"])));
    let mut response = Response::new(());
    for name in ["ratelimit", "x-ratelimit-limit"] {
        response.headers_mut().insert(name, value("handler's"));
    }
    context.finish(&mut response);
    assert_eq!(shown(&response), ["p", "l", "1", "2", "3"]);
    let mut next = Response::new(());
    context.finish(&mut next);
    assert!(next.headers().is_empty());
    context.show_limits(fields(None));
    context.finish(&mut next);
    assert_eq!(shown(&next), ["p", "l", "", "", ""]);
}

#[cfg(feature = "axum")]
#[test]
fn a_handlers_refusal_takes_the_place_of_its_answer() {
    use axum_core::response::IntoResponse;
    use http::header::CONTENT_LENGTH;

    let (_, context) = enter();
    let mut response = Denial::new(Reason::ResourceOutsideCompany).into_response();
    assert_eq!(response.status(), 404, "whatever stands around it");
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert("x-own", HeaderValue::from_static("kept"));
    *response.status_mut() = http::StatusCode::OK;
    context.settle(&mut response);
    assert_eq!(response.status(), 404);
    let headers = response.headers();
    assert_eq!(headers.get(CONTENT_LENGTH), None);
    assert_eq!(headers.get_all(CONTENT_TYPE).iter().count(), 1);
    assert_eq!(headers[CONTENT_TYPE], "application/json");
    assert_eq!(headers["x-own"], "kept");
    assert_eq!(headers["x-request-id"], context.request_id().header_value());
    assert_ne!(http_body::Body::size_hint(response.body()).lower(), 0);
    let reason = context.denial().unwrap().reason();
    assert_eq!(reason, Reason::ResourceOutsideCompany);
}
