//! What a request's record holds for its answer.

use std::sync::{MutexGuard, PoisonError};

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Response};

use super::{AccessContext, Held, RateLimitFields};
use crate::body::DenialBody;
use crate::respond::X_REQUEST_ID;
#[cfg(feature = "axum")]
use crate::respond::{DenialStyle, Format, render};
#[cfg(feature = "axum")]
use crate::{Clock, RequestId, SystemClock};
use crate::{Denial, Deprecation, Notes, grpc};

/// What waits for the answer, and is taken when it goes out.
#[derive(Debug, Default)]
pub(super) struct ForAnswer {
    fields: Option<RateLimitFields>,
    deprecation: Option<&'static Deprecation>,
    held: Held,
}

impl AccessContext {
    /// Gives the answer these fields, in place of any that were given before.
    pub fn show_limits(&self, fields: RateLimitFields) {
        self.lock_answer().fields = Some(fields);
    }

    /// Gives the answer the fields that say until when the endpoint answers.
    pub fn show_deprecation(&self, deprecation: &'static Deprecation) {
        self.lock_answer().deprecation = Some(deprecation);
    }

    /// Keeps `what` until the request is over, and drops it then: when the service behind the layer
    /// that decided has answered, failed or panicked, or when nobody waits for the answer any more. A
    /// body that is still being sent keeps nothing, but for that of a gRPC call: it keeps everything
    /// until the call is over.
    pub fn hold(&self, what: impl Send + 'static) {
        self.lock_answer().held.0.push(Box::new(what));
    }

    /// Drops what was kept for the time of the request: for the layer that sees its end.
    pub fn let_go(&self) {
        // Dropped when the lock is not held any more.
        let held = std::mem::take(&mut self.lock_answer().held);
        drop(held);
    }

    /// What the handler noted for the audit so far; the notes start over.
    #[must_use]
    pub fn take_notes(&self) -> Option<Notes> {
        // Nearly no request has any, and then nothing is locked.
        let notes = self.0.notes.get()?;
        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        Some(std::mem::take(&mut *notes)).filter(|notes| *notes != Notes::default())
    }

    /// Adds to the notes for the audit.
    pub fn note<T>(&self, change: impl FnOnce(&mut Notes) -> T) -> T {
        let notes = self.0.notes.get_or_init(Box::default);
        change(&mut notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finishes an answer on its way out, see [`Entered::settle`](crate::Entered::settle): for the
    /// layer that made the record, and for no other.
    pub fn settle<B: DenialBody>(&self, response: &mut Response<B>) {
        if let Some(denial) = handler_denial(response).or_else(|| self.broken_off(response)) {
            let rendered = self.refuse::<B>(denial);
            let (parts, body) = rendered.into_parts();
            *response.status_mut() = parts.status;
            *response.body_mut() = body;
            let headers = response.headers_mut();
            headers.remove(CONTENT_LENGTH);
            headers.remove(CONTENT_TYPE);
            // A layer in between may have compressed the body that is replaced.
            headers.remove(CONTENT_ENCODING);
            headers.extend(parts.headers);
        }
        self.show_request_id(response.headers_mut());
    }

    fn show_request_id(&self, headers: &mut HeaderMap) {
        let id = &self.0.request_id;
        // A refusal was made with it.
        if self.denial().is_some() {
            let mut shown = headers.get_all(X_REQUEST_ID).iter();
            let is_shown = shown.next().is_some_and(|shown| shown == id.ascii());
            if is_shown && shown.next().is_none() {
                return;
            }
        }
        headers.insert(X_REQUEST_ID, id.header_value());
    }

    /// Why the request was broken off, where its answer tells something else.
    fn broken_off<B>(&self, response: &Response<B>) -> Option<Denial> {
        let denial = self.denial()?;
        if !self.0.format.is_grpc() {
            return self.is_broken_off().then(|| denial.clone());
        }
        let told = grpc::status(response.headers())?;
        (i32::from(told) != denial.error().grpc_code()).then(|| denial.clone())
    }

    /// Whether the request is a gRPC call that this head does not end: what is kept for it stays
    /// until its answer is over, and goes at the latest with the record.
    fn goes_on<B>(&self, response: &Response<B>) -> bool {
        self.0.format.is_grpc()
            && self.denial().is_none()
            && grpc::status(response.headers()).is_none()
    }

    /// Gives an answer the fields that wait for it, and drops what was kept until then: for a service
    /// around a [`Course`](crate::Course), each time it has an answer.
    pub fn finish<B>(&self, response: &mut Response<B>) {
        let mut answer = self.lock_answer();
        let held = if answer.held.0.is_empty() || self.goes_on(response) {
            Held::default()
        } else {
            std::mem::take(&mut answer.held)
        };
        if let Some(fields) = answer.fields.take() {
            fields.write(response.headers_mut());
        }
        if let Some(deprecation) = answer.deprecation.take() {
            deprecation.write(response.headers_mut());
        }
        drop(answer);
        drop(held);
    }

    fn lock_answer(&self) -> MutexGuard<'_, ForAnswer> {
        self.0.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handler's denial, on its way to the layer that puts it into the caller's form.
#[derive(Debug, Clone)]
struct HandlerDenial(Denial);

fn handler_denial<B>(response: &mut Response<B>) -> Option<Denial> {
    let extensions = response.extensions_mut();
    let denial = extensions.remove().map(|HandlerDenial(denial)| denial);
    #[cfg(feature = "tonic")]
    let denial = denial.or_else(|| crate::status::denial_of(extensions.get()?));
    denial
}

/// A handler's error: plain JSON by itself, with an id of its own that no audit knows; and in the
/// caller's form, with the request's id and its audit event, behind any layer of the stack.
#[cfg(feature = "axum")]
impl axum_core::response::IntoResponse for Denial {
    fn into_response(self) -> axum_core::response::Response {
        let id = RequestId::generate(SystemClock.now().wall);
        let style = DenialStyle::default();
        let mut response: axum_core::response::Response = render(&self, &id, Format::Json, &style);
        response.extensions_mut().insert(HandlerDenial(self));
        response
    }
}
