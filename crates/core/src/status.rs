//! A denial as the status of a tonic handler.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use tonic::{Code, Status};

use crate::respond::DenialStyle;
use crate::respond::grpc::details;
use crate::{AccessContext, Denial, Reason};

/// A handler's refusal: its code, its sentence, and `google.rpc.ErrorInfo` and `RetryInfo` in its
/// details. Where the call ends with it, the outermost layer of the stack finishes it: the reason goes
/// into the audit, the request's id and the platform's domain into the details. Once the answer has
/// begun, as every stream's has, see [`AccessContext::finish_trailers`].
impl From<Denial> for Status {
    fn from(denial: Denial) -> Self {
        let domain = DenialStyle::default().grpc_domain;
        let code = Code::from_i32(denial.error().grpc_code());
        let details = details(&denial, None, &domain);
        let mut status = Self::with_details(code, denial.message(), details.into());
        status.set_source(Arc::new(Refused(denial)));
        status
    }
}

impl AccessContext {
    /// The record of a tonic handler's request, for example to add [`Notes`](crate::Notes) for the
    /// audit.
    ///
    /// # Errors
    /// `misconfigured_stack` where no layer of the stack stands around the handler.
    pub fn of_call<T>(request: &tonic::Request<T>) -> Result<&Self, Denial> {
        request.extensions().get().ok_or_else(|| {
            tracing::error!(
                target: "countersign",
                layer = "handler",
                missing = "record: a layer of the stack around this handler",
                "misconfigured stack"
            );
            Denial::new(Reason::MisconfiguredStack)
        })
    }
}

impl AccessContext {
    /// The status that tells of `denial` within this call.
    #[must_use]
    pub fn status(&self, denial: &Denial) -> Status {
        let domain = &self.edge().style().grpc_domain;
        let code = Code::from_i32(denial.error().grpc_code());
        let details = details(denial, Some(self.request_id()), domain);
        let mut status = Status::with_details(code, denial.message(), details.into());
        status.set_source(Arc::new(Refused(denial.clone())));
        status
    }
}

/// The denial that `status` was made from, if it was made from one.
pub(crate) fn denial_of(status: &Status) -> Option<Denial> {
    let refused = status.source()?.downcast_ref::<Refused>()?;
    Some(refused.0.clone())
}

#[derive(Debug)]
struct Refused(Denial);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.reason().as_str())
    }
}

impl Error for Refused {}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use http_body_util::Full;
    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;
    use crate::{Edge, Reason};

    #[test]
    fn a_denial_becomes_a_status_with_details() {
        let status = Status::from(Denial::validation("No.").with_detail("field", "amount"));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "No.");
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.reason, "VALIDATION_FAILED");
        assert_eq!(info.metadata["field"], "amount");
        let wait = Status::from(Denial::new(Reason::LimitKey));
        assert!(wait.get_details_retry_info().is_some());
    }

    #[test]
    fn the_outermost_layer_finishes_a_handlers_status() {
        let mut request = Request::new(());
        let grpc = "application/grpc".parse().unwrap();
        request.headers_mut().insert("content-type", grpc);
        let entered = Edge::default().enter(&mut request);
        let context = entered.context(&request).clone();
        let status = Status::from(Denial::not_found());
        let mut response: Response<Full<bytes::Bytes>> = status.into_http();
        entered.settle(&mut response);
        assert_eq!(
            context.denial().unwrap().reason(),
            Reason::ResourceOutsideCompany
        );
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::NotFound);
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.metadata["requestId"], context.request_id().to_string());
    }

    /// A handler that sees its request break off may answer anything; the refusal is what counts.
    #[test]
    fn a_call_that_was_broken_off_is_answered_with_its_refusal() {
        let mut request = Request::new(());
        let grpc = "application/grpc".parse().unwrap();
        request.headers_mut().insert("content-type", grpc);
        let entered = Edge::default().enter(&mut request);
        let context = entered.context(&request).clone();
        let broken = context.status(&Denial::new(Reason::LimitKey));
        let id = context.request_id().to_string();
        let info = broken.get_details_error_info().unwrap();
        assert_eq!(info.metadata["requestId"], id);
        context.deny(Denial::new(Reason::LimitKey));
        let mut response: Response<Full<bytes::Bytes>> = Status::internal("what?").into_http();
        entered.settle(&mut response);
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.get_details_retry_info().is_some());
    }

    #[test]
    fn another_status_is_left_alone() {
        assert_eq!(denial_of(&Status::internal("x")), None);
    }
}
