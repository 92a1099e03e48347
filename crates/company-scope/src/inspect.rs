//! Claims in a body: read, compared, and handed on as it came.

use std::future::poll_fn;
use std::sync::Arc;

use countersign_core::body::ReplayBody;
use countersign_core::{AccessContext, CompanyId, Denial, Reason};
use http::Request;

use crate::chosen::Choice;
use crate::place::{BodyPlan, OverLimit, Placed, Settings, bind_refused, settle};
use crate::read::{End, Reading};

/// Reads the request's body up to the bound and compares its claims; the request comes back with
/// the body as it was.
///
/// # Errors
/// The refusal: `company_mismatch`, or `malformed_request` for a body that is broken or too long.
pub(crate) async fn inspect<B: ReplayBody + Unpin>(
    settings: Arc<Settings>,
    context: AccessContext,
    placed: Placed,
    request: Request<B>,
) -> Result<Request<B>, Denial> {
    let (parts, body) = request.into_parts();
    let guesses = placed.body == BodyPlan::Guess;
    let mut reading = Reading::new(body, settings.body_limit, guesses);
    let end = poll_fn(|cx| reading.poll_end(cx)).await;
    let chosen = judge(&settings, &context, &placed, &reading, end);
    let chosen = chosen.inspect_err(|_| bind_refused(&context))?;
    settle(&context, chosen)?;
    Ok(Request::from_parts(parts, reading.into_body()))
}

fn judge<B: ReplayBody + Unpin>(
    settings: &Settings,
    context: &AccessContext,
    placed: &Placed,
    reading: &Reading<B>,
    end: End,
) -> Result<Option<CompanyId>, Denial> {
    match (end, settings.over_limit) {
        (End::NoJson, _) | (End::OverLimit, OverLimit::Pass) => Ok(placed.chosen),
        (End::Broken, _) | (End::OverLimit, OverLimit::Refuse) => {
            Err(Reason::MalformedRequest.into())
        }
        (End::Complete, _) => {
            let document = reading.document();
            let identity = context
                .identity()
                .ok_or_else(|| context.misconfigured("company-scope", "identity"))?;
            let mut choice = Choice::new(identity, placed.chosen);
            if !document.is_empty() {
                let claims = &settings.claims;
                claims.check_document(&document, context, &mut choice)?;
            }
            Ok(choice.chosen())
        }
    }
}
