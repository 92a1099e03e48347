//! Claims in a body: read, compared, and handed on as it came.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use countersign_core::body::ReplayBody;
use countersign_core::{AccessContext, CompanyId, Denial, Reason};
use http::Request;
use tokio::time::timeout;

use crate::chosen::Choice;
use crate::place::{OverLimit, Settings, bind_refused, settle};
use crate::read::{End, Reading};
use crate::waiting::Patience;

/// Reads the request's body up to the bound and compares its claims; the request comes back with
/// the body as it was. `chosen` is the company that the claims outside the body chose; where it
/// `guesses`, only a body that begins like JSON is read.
///
/// # Errors
/// The refusal: `company_mismatch`, `malformed_request` for a body that is broken, too long or too late,
/// `limit_company` where too many are waited for, and what a new request would get where the caller fell
/// while the body came in.
pub(crate) async fn inspect<B: ReplayBody + Unpin>(
    settings: Arc<Settings>,
    context: AccessContext,
    chosen: Option<CompanyId>,
    guesses: bool,
    request: Request<B>,
) -> Result<Request<B>, Denial> {
    let (parts, body) = request.into_parts();
    let mut reading = Reading::new(body, settings.body_limit, guesses);
    let end = read(&settings, &context, &mut reading).await;
    let chosen = end.and_then(|end| judge(&settings, &context, chosen.as_ref(), &reading, end));
    let chosen = chosen.inspect_err(|_| bind_refused(&context))?;
    settle(&context, chosen)?;
    Ok(Request::from_parts(parts, reading.into_body()))
}

/// Reads the body to its end, and looks after its caller again if that took long.
async fn read<B: ReplayBody + Unpin>(
    settings: &Settings,
    context: &AccessContext,
    reading: &mut Reading<B>,
) -> Result<End, Denial> {
    let end = match poll_fn(|cx| Poll::Ready(reading.poll_end(cx))).await {
        Poll::Ready(end) => end,
        Poll::Pending => wait(&settings.patience, context, reading).await?,
    };
    // Whoever watches the body has a better reason for its end.
    if let Some(denial) = context.denial() {
        return Err(denial.clone());
    }
    context.look_again().await?;
    Ok(end)
}

async fn wait<B: ReplayBody + Unpin>(
    patience: &Patience,
    context: &AccessContext,
    reading: &mut Reading<B>,
) -> Result<End, Denial> {
    let owner = context.owner();
    let owner = owner.ok_or_else(|| context.misconfigured("company-scope", "identity"))?;
    let full = || Denial::new(Reason::LimitCompany).with_retry_after(RETRY_AFTER);
    let _place = patience.place(owner).ok_or_else(full)?;
    let end = timeout(patience.time, poll_fn(|cx| reading.poll_end(cx))).await;
    end.map_err(|_| Reason::MalformedRequest.into())
}

fn judge<'a, B: ReplayBody + Unpin>(
    settings: &Settings,
    context: &'a AccessContext,
    chosen: Option<&'a CompanyId>,
    reading: &Reading<B>,
    end: End,
) -> Result<Option<&'a CompanyId>, Denial> {
    match (end, settings.over_limit) {
        (End::NoJson, _) | (End::OverLimit, OverLimit::Pass) => Ok(chosen),
        (End::Broken, _) | (End::OverLimit, OverLimit::Refuse) => {
            Err(Reason::MalformedRequest.into())
        }
        (End::Complete, _) => {
            let document = reading.document();
            let identity = context
                .identity()
                .ok_or_else(|| context.misconfigured("company-scope", "identity"))?;
            let mut choice = Choice::new(identity, chosen);
            if !document.is_empty() {
                let claims = &settings.claims;
                claims.check_document(&document, context, &mut choice)?;
            }
            Ok(choice.chosen())
        }
    }
}

/// When a place may be free.
const RETRY_AFTER: Duration = Duration::from_secs(1);
