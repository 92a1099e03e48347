//! The end of a call that its handler refused once the answer had begun.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::AccessContext;
use crate::grpc::BINARY;
use crate::respond::Format;
use crate::respond::grpc::{GRPC_STATUS_DETAILS, TRAILERS, finish_details, web_frame};

impl AccessContext {
    /// Finishes the trailers of a gRPC call that its handler ended with a denial: takes the reason
    /// down, and puts the request's id and the platform's domain into the details. True where it did.
    ///
    /// A denial is known by the details that it has as a `tonic::Status`, and its reason by its error.
    /// One whose error has several reasons is left as it is.
    pub fn finish_trailers(&self, trailers: &mut HeaderMap) -> bool {
        let Some((details, denial)) = self.denial_in(trailers) else {
            return false;
        };
        // Proof: base64 holds only visible ASCII.
        if let Ok(details) = HeaderValue::try_from(STANDARD_NO_PAD.encode(details)) {
            trailers.insert(GRPC_STATUS_DETAILS, details);
        }
        self.deny(denial);
        true
    }

    /// What takes the place of a piece of a gRPC-Web answer that holds such trailers and nothing else;
    /// `form` is the answer's.
    #[must_use]
    pub fn finish_web_trailers(&self, piece: &[u8], form: Format) -> Option<Bytes> {
        let frame = match form {
            Format::GrpcWeb => Cow::Borrowed(piece),
            Format::GrpcWebText => {
                // Most pieces are messages, of which this is enough to see.
                let begin = STANDARD.decode(piece.get(..4)?).ok()?;
                is_trailers(&begin).then_some(())?;
                Cow::Owned(STANDARD.decode(piece).ok()?)
            }
            _ => return None,
        };
        let mut trailers = web_fields(&frame)?;
        if !self.finish_trailers(&mut trailers) {
            return None;
        }
        let frame = web_frame(&trailers).freeze();
        Some(match form {
            Format::GrpcWebText => STANDARD.encode(frame).into(),
            _ => frame,
        })
    }

    fn denial_in(&self, trailers: &HeaderMap) -> Option<(Vec<u8>, crate::Denial)> {
        if self.denial().is_some() {
            return None;
        }
        let details = BINARY.decode(trailers.get(GRPC_STATUS_DETAILS)?).ok()?;
        let domain = &self.edge().style().grpc_domain;
        finish_details(&details, self.request_id(), domain)
    }
}

fn is_trailers(frame: &[u8]) -> bool {
    frame.first().is_some_and(|flags| flags & TRAILERS != 0)
}

/// The fields in a frame of trailers.
fn web_fields(frame: &[u8]) -> Option<HeaderMap> {
    let (head, fields) = frame.split_at_checked(5).filter(|_| is_trailers(frame))?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?);
    if usize::try_from(length) != Ok(fields.len()) {
        return None;
    }
    let lines = fields.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut map = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(line[..colon].trim_ascii()).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        map.append(name, value);
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::respond::DenialStyle;
    use crate::respond::grpc::details;
    use crate::{Denial, Edge, Reason, RequestId};

    fn context() -> AccessContext {
        let mut request = Request::new(());
        let entered = Edge::default().enter(&mut request);
        entered.context(&request).clone()
    }

    /// As a handler's status becomes.
    fn trailers(denial: &Denial, id: Option<&RequestId>) -> HeaderMap {
        let details = details(denial, id, &DenialStyle::default().grpc_domain);
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from(denial.error().grpc_code()));
        trailers.insert("x-note", HeaderValue::from_static("of the handler"));
        let details = STANDARD_NO_PAD.encode(details);
        trailers.insert(GRPC_STATUS_DETAILS, details.parse().unwrap());
        trailers
    }

    #[test]
    fn a_handlers_denial_is_taken_down_and_finished_in_every_form() {
        let denial = Denial::not_found();
        let (mut plain, context_of_plain) = (trailers(&denial, None), context());
        assert!(context_of_plain.finish_trailers(&mut plain));
        assert_eq!(context_of_plain.denial(), Some(&denial));
        let finished = details(&denial, Some(context_of_plain.request_id()), "countersign");
        let sent = &plain[GRPC_STATUS_DETAILS];
        assert_eq!(BINARY.decode(sent).unwrap(), finished);
        for form in [Format::GrpcWeb, Format::GrpcWebText] {
            let context = context();
            let mut piece = web_frame(&trailers(&denial, None)).to_vec();
            if form == Format::GrpcWebText {
                piece = STANDARD.encode(piece).into_bytes();
            }
            let mut ending = context.finish_web_trailers(&piece, form).unwrap().to_vec();
            if form == Format::GrpcWebText {
                ending = STANDARD.decode(ending).unwrap();
            }
            let fields = web_fields(&ending).unwrap();
            assert_eq!(fields["grpc-status"], "5");
            assert_eq!(fields["x-note"], "of the handler");
            let sent = BINARY.decode(&fields[GRPC_STATUS_DETAILS]).unwrap();
            let finished = details(&denial, Some(context.request_id()), "countersign");
            assert_eq!(sent, finished);
            assert_eq!(context.denial(), Some(&denial));
        }
    }

    #[test]
    fn the_place_of_a_claim_is_kept() {
        let (context, claim) = (context(), Denial::new(Reason::CompanyMismatch));
        let claim = claim.with_claim(crate::ClaimPlace::Body);
        assert!(context.finish_trailers(&mut trailers(&claim, None)));
        assert_eq!(context.denial(), Some(&claim));
    }

    /// What another service refused is no refusal of this request, and no guess is made at a reason.
    #[test]
    fn every_other_end_goes_on_as_it_is() {
        let elsewhere = RequestId::generate(Default::default());
        let foreign = trailers(&Denial::not_found(), Some(&elsewhere));
        let several = trailers(&Denial::new(Reason::InvalidApiKey), None);
        let mut junk = several.clone();
        junk.insert(GRPC_STATUS_DETAILS, HeaderValue::from_static("!!"));
        for mut other in [foreign, several, junk, HeaderMap::new()] {
            let (context, before) = (context(), other.clone());
            let piece = web_frame(&other);
            assert!(!context.finish_trailers(&mut other));
            assert_eq!(other, before);
            assert_eq!(context.finish_web_trailers(&piece, Format::GrpcWeb), None);
            assert_eq!(context.denial(), None);
        }
        for piece in [&b""[..], b"\x80", b"\x80\0\0\0\x09", b"\0\0\0\0\0", b"gAAA"] {
            for form in [Format::GrpcWeb, Format::GrpcWebText, Format::Grpc] {
                assert_eq!(context().finish_web_trailers(piece, form), None);
            }
        }
    }

    #[test]
    fn the_first_reason_stays() {
        let context = context();
        context.deny(Reason::LimitKey.into());
        assert!(!context.finish_trailers(&mut trailers(&Denial::not_found(), None)));
        assert_eq!(context.denial().unwrap().reason(), Reason::LimitKey);
    }
}
