//! Request bodies, with refusals in the form of the library.

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::{Json, http::StatusCode};
use countersign::{Denial, Reason};
use serde::de::DeserializeOwned;

/// A JSON body of the right shape; anything else is refused in the library's envelope.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Denial;

    async fn from_request(request: Request, state: &S) -> Result<Self, Denial> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(refusal(&rejection)),
        }
    }
}

fn refusal(rejection: &JsonRejection) -> Denial {
    match rejection {
        JsonRejection::JsonDataError(_) => {
            Denial::validation("The body lacks a member, or a member has the wrong type.")
        }
        JsonRejection::MissingJsonContentType(_) => {
            Denial::validation("The body must be sent as application/json.")
        }
        other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Denial::validation("The body is too large.")
        }
        _ => Denial::new(Reason::MalformedRequest),
    }
}
