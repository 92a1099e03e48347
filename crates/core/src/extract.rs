//! The request's record and its id, as arguments of axum handlers.

use axum_core::extract::FromRequestParts;
use http::request::Parts;

use crate::{AccessContext, Denial, Reason, RequestId};

/// The request's record, for example to add [`Notes`](crate::Notes) for the audit. Where no layer
/// of the stack stands around the handler, the request fails with `misconfigured_stack`.
impl<S: Sync> FromRequestParts<S> for AccessContext {
    type Rejection = Denial;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denial> {
        find(parts).cloned()
    }
}

/// The request's id. Where no layer of the stack stands around the handler, the request fails
/// with `misconfigured_stack`.
impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Denial;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denial> {
        find(parts).map(|context| context.request_id().clone())
    }
}

fn find(parts: &Parts) -> Result<&AccessContext, Denial> {
    parts.extensions.get().ok_or_else(|| {
        tracing::error!(
            target: "countersign",
            layer = "handler",
            missing = "record: a layer of the stack around this handler",
            "misconfigured stack"
        );
        Denial::new(Reason::MisconfiguredStack)
    })
}
