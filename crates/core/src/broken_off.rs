//! The end of a gRPC-Web call that was broken off in its request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body::Frame;

use crate::grpc::Messages;
use crate::respond::Format;
use crate::respond::grpc::{trailers, web_trailers};
use crate::{AccessContext, Denial};

impl AccessContext {
    /// What takes the place of a piece of a gRPC-Web answer, where the call was broken off and the
    /// piece ends it with an internal error.
    ///
    /// Whoever takes gRPC-Web apart for a handler (tonic-web does) makes an internal error of every
    /// failure of a request's body, so that the handler can't pass the refusal on, as it does over
    /// gRPC. `piece` must begin where no message is under way; `form` is the answer's.
    #[must_use]
    pub fn web_ending(&self, piece: &[u8], form: Format) -> Option<Bytes> {
        let denial = self.denial()?;
        let decoded = match form {
            Format::GrpcWeb => None,
            Format::GrpcWebText => Some(STANDARD.decode(piece).ok()?),
            _ => return None,
        };
        let frame = decoded.as_deref().unwrap_or(piece);
        let mut read = Messages::new(Format::GrpcWeb);
        let is_ending = read.read(frame) == Ok(0) && read.web_status() == Some(INTERNAL);
        if !is_ending || denial.error().grpc_code() == i32::from(INTERNAL) {
            return None;
        }
        self.ending(denial, form).into_data().ok()
    }

    /// The last frame of an answer in this form that ends its call with `denial`: trailers, which
    /// gRPC-Web sends as data.
    #[must_use]
    pub fn ending(&self, denial: &Denial, form: Format) -> Frame<Bytes> {
        let (id, style) = (self.request_id(), self.edge().style());
        match form {
            Format::GrpcWebText => {
                let frame = STANDARD.encode(web_trailers(denial, id, style));
                Frame::data(frame.into())
            }
            Format::GrpcWeb => Frame::data(web_trailers(denial, id, style).freeze()),
            _ => Frame::trailers(trailers(denial, id, style)),
        }
    }
}

const INTERNAL: u8 = 13;

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::{Denial, Edge, Reason};

    fn context() -> AccessContext {
        let mut request = Request::new(());
        let grpc = "application/grpc-web".parse().unwrap();
        request.headers_mut().insert("content-type", grpc);
        let entered = Edge::default().enter(&mut request);
        entered.context(&request).clone()
    }

    fn trailers(text: &str) -> Vec<u8> {
        let mut frame = vec![0x80, 0, 0, 0, u8::try_from(text.len()).unwrap()];
        frame.extend(text.as_bytes());
        frame
    }

    #[test]
    fn an_internal_error_gives_way_to_the_refusal_in_both_forms() {
        let context = context();
        let failed = trailers("grpc-status:13\r\ngrpc-message:tonic-web\r\n");
        assert_eq!(context.web_ending(&failed, Format::GrpcWeb), None);
        context.deny(Denial::new(Reason::LimitKey));
        let binary = context.web_ending(&failed, Format::GrpcWeb).unwrap();
        let text = STANDARD.encode(failed);
        let text = context.web_ending(text.as_bytes(), Format::GrpcWebText);
        assert_eq!(STANDARD.decode(text.unwrap()).unwrap(), binary);
        let mut read = Messages::new(Format::GrpcWeb);
        assert_eq!(read.read(&binary), Ok(0));
        assert!(read.is_between(), "its length is right");
        assert_eq!(read.web_status(), Some(8));
    }

    #[test]
    fn everything_else_goes_on_as_it_is() {
        let context = context();
        context.deny(Denial::new(Reason::LimitKey));
        let message = [&[0, 0, 0, 0, 16][..], b"grpc-status:13\r\n"].concat();
        for piece in [
            &message[..],
            &trailers("grpc-status:0\r\n"),
            &trailers("grpc-status:5\r\n"),
            &trailers("grpc-status:13\r\n")[..9],
            b"\x80",
            b"",
        ] {
            assert_eq!(context.web_ending(piece, Format::GrpcWeb), None);
        }
        let failed = trailers("grpc-status:13\r\n");
        assert_eq!(context.web_ending(&failed, Format::Grpc), None);
        assert_eq!(context.web_ending(b"!!!!", Format::GrpcWebText), None);
    }
}
