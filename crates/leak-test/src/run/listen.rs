//! What comes back of a call with something foreign in it.

use std::error::Error;

use bytes::Bytes;
use countersign_core::Endpoint;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::{Run, Sides, reads};
use crate::answer::{Answer, Call};
use crate::report::Kind;
use crate::secrets::Secrets;

/// A call with something foreign, the same with something of nobody, and what was sent in both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial<'a> {
    pub(super) call: (&'a Call, &'a [String]),
    pub(super) twin: (&'a Call, &'a [String]),
    /// There are messages of the caller's own before it.
    pub(super) is_mixed: bool,
}

impl<S, R> Run<'_, S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    R: Body,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// A call with something foreign in it must fail, and as one with something of nobody does. A gRPC
    /// method that reads may answer both with the same nothing.
    pub(super) async fn compare(
        &mut self,
        sides: Sides,
        endpoint: &'static Endpoint,
        trial: Trial<'_>,
        secrets: &Secrets,
    ) {
        let ((call, sent), (twin, others)) = (trial.call, trial.twin);
        let answer = self
            .hears_nothing(sides, endpoint, call, sent, secrets)
            .await;
        let Some(answer) = answer else { return };
        let is_query = call.codec.is_some() && reads(endpoint);
        let named = sent.iter().filter(|value| !value.is_empty());
        let named = named.map(String::as_str).collect::<Vec<_>>().join(", ");
        let access = format!(
            "{} with {named} was answered {}",
            call.name(),
            answer.told()
        );
        if answer.is_success() && !is_query {
            self.find(Kind::ForeignAccess, sides.caller, endpoint, access);
            return;
        }
        let Some(other) = self.call(sides.caller, endpoint, twin).await else {
            return;
        };
        // What was made before the foreign message has another id each time.
        let has_own = trial.is_mixed && !reads(endpoint);
        let outline = |answer: &Answer, sent: &[String]| match has_own {
            true => answer.head(sent),
            false => answer.outline(sent),
        };
        let (mut one, mut two) = (outline(&answer, sent), outline(&other, others));
        let length = |sent: &[String]| sent.iter().map(String::len).sum::<usize>();
        if length(sent) != length(others) {
            (one, two) = (without_length(&one), without_length(&two));
        }
        if one == two {
            return;
        }
        if answer.is_success() {
            self.find(Kind::ForeignAccess, sides.caller, endpoint, access);
            return;
        }
        let line = one.lines().zip(two.lines()).find(|(a, b)| a != b);
        let (a, b) = line.unwrap_or(("", ""));
        let name = call.name();
        let detail = format!("{name} with {named}: `{a}`, with ids of nobody: `{b}`");
        self.find(Kind::Distinguishable, sides.caller, endpoint, detail);
    }

    /// No answer holds what only the owner was shown.
    pub(super) async fn hears_nothing(
        &mut self,
        sides: Sides,
        endpoint: &'static Endpoint,
        call: &Call,
        sent: &[String],
        secrets: &Secrets,
    ) -> Option<Answer> {
        let answer = self.call(sides.caller, endpoint, call).await?;
        if let Some(fact) = secrets.found(&answer, sent) {
            let owner = self.company(sides.owner).id;
            let (name, status) = (call.name(), answer.told());
            let detail = format!("{name} was answered {status} and {fact:?} of {owner}");
            self.find(Kind::ForeignData, sides.caller, endpoint, detail);
        }
        Some(answer)
    }
}

/// An outline without the length of its body: one that repeats a longer id is longer.
fn without_length(outline: &str) -> String {
    let lines = outline.lines();
    let lines = lines.filter(|line| !line.starts_with("content-length: "));
    lines.collect::<Vec<_>>().join("\n")
}
