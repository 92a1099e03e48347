//! What several tests need.
#![allow(dead_code, reason = "each test uses a part")]

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use countersign_company_scope::CompanyScopeLayer;
use countersign_core::{
    AccessContext, Edge, Endpoint, Environment, Identity, MatchedEndpoint, Reason, ScopeSet,
};
use http::Request;
use http_body::{Body, Frame};

/// A layer that expects claims in every place.
pub(crate) fn every_claim() -> CompanyScopeLayer {
    CompanyScopeLayer::new()
        .claim_path("company")
        .claim_query("company_id")
        .claim_header("x-company-id".parse().unwrap())
        .claim_json("/company_id".parse().unwrap())
}

/// Enters the request as the layers outside would: company_34 calls `/c/{company}`.
pub(crate) fn enter<B>(request: &mut Request<B>) -> AccessContext {
    let target = request.uri().path_and_query().unwrap().clone();
    let entered = Edge::default().enter(request);
    let context = entered.context(request);
    let company = "company_34".parse().unwrap();
    let identity = Identity::new(company, Environment::Live, ScopeSet::new());
    context.identify(identity).unwrap();
    let matched = MatchedEndpoint {
        endpoint: Endpoint::post("/c/{company}").kept(),
        target,
    };
    context.match_endpoint(matched).unwrap();
    context.clone()
}

pub(crate) fn post<B>(target: &str, content_type: Option<&str>, body: B) -> Request<B> {
    let mut request = Request::post(target);
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    request.body(body).unwrap()
}

pub(crate) fn reason(context: &AccessContext) -> Option<Reason> {
    context.denial().map(countersign_core::Denial::reason)
}

/// A body of these frames, each after a wait; its length is not announced.
#[derive(Debug)]
pub(crate) struct Frames {
    frames: VecDeque<Result<Frame<Bytes>, std::io::Error>>,
    waited: bool,
}

impl Frames {
    pub(crate) fn of(frames: impl IntoIterator<Item = Frame<Bytes>>) -> Self {
        Self {
            frames: frames.into_iter().map(Ok).collect(),
            waited: false,
        }
    }

    pub(crate) fn split(parts: &[&[u8]]) -> Self {
        let data = |part: &&[u8]| Frame::data(Bytes::copy_from_slice(part));
        Self::of(parts.iter().map(data))
    }

    pub(crate) fn then_broken(mut self) -> Self {
        self.frames.push_back(Err(std::io::Error::other("reset")));
        self
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.waited = !self.waited;
        if self.waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.frames.pop_front())
    }
}
