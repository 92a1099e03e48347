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
