//! Whose data a request may touch: the decision, without services.

use countersign_core::{AccessContext, CompanyBinding, CompanyId, Denial, Endpoint, Reason};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Request};
use http_body::Body;

use crate::chosen::Choice;
use crate::claims::Claims;
use crate::waiting::Patience;

/// What is done with a body that is longer than the layer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverLimit {
    /// It is refused as `malformed_request`.
    #[default]
    Refuse,
    /// It goes on to the handler with its claims unchecked. The company scope is the owner's all
    /// the same: a handler that takes it from there is not deceived.
    Pass,
}

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) claims: Claims,
    pub(crate) body_limit: usize,
    pub(crate) over_limit: OverLimit,
    pub(crate) patience: Patience,
}

/// What is known when everything but the body was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed<'a> {
    /// The company that the claims outside the body chose, if there were any.
    pub(crate) chosen: Option<&'a CompanyId>,
    /// What has to be done with the body.
    pub(crate) body: BodyPlan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyPlan {
    /// Leave it alone.
    Skip,
    /// It is declared as JSON: read it.
    Json,
    /// It declares no type: read it if it begins like JSON.
    Guess,
}

/// Compares the claims outside the body with the companies that the verified caller may act for.
/// Where there is only its owner, which is nearly always, the request is bound to it at once.
///
/// # Errors
/// The refusal: `company_mismatch`, `malformed_request` where the body can't be inspected, or
/// `misconfigured_stack`.
pub(crate) fn place<'a, B: Body>(
    settings: &Settings,
    request: &Request<B>,
    context: &'a AccessContext,
) -> Result<Placed<'a>, Denial> {
    let misplaced = |missing| context.misconfigured("company-scope", missing);
    let identity = context
        .identity()
        .ok_or_else(|| misplaced("identity: a layer outside this one that verifies the caller"))?;
    if context.effective_company().is_some() {
        return Err(misplaced(PLACED_BEFORE));
    }
    // Bound before anything is compared, so that the audit knows the company of a refused caller.
    if identity.subsidiaries().is_empty() {
        bind_owner(context)?;
    }
    let mut choice = Choice::new(identity, None);
    let checked = settings.claims.check_head(request, context, &mut choice);
    match checked.and_then(|()| plan(settings, request, context)) {
        Ok(body) => Ok(Placed {
            chosen: choice.chosen(),
            body,
        }),
        Err(denial) => {
            bind_refused(context);
            Err(denial)
        }
    }
}

/// Makes the company that all claims chose, or the owner where there was none, the effective one.
///
/// # Errors
/// `misconfigured_stack` when another layer placed the request meanwhile.
pub(crate) fn settle(context: &AccessContext, chosen: Option<&CompanyId>) -> Result<(), Denial> {
    if let Some(company) = chosen {
        context.claim_company(*company);
    }
    match (context.effective_company(), context.identity(), chosen) {
        // Bound at once: the choice was the owner or nothing.
        (Some(_), ..) => Ok(()),
        (None, Some(_), Some(company)) => bind(context, *company),
        (None, Some(_), None) => bind_owner(context),
        (None, None, _) => Err(context.misconfigured("company-scope", "identity")),
    }
}

/// The audit knows whose key it was that was refused, too. No company was chosen then.
pub(crate) fn bind_refused(context: &AccessContext) {
    if context.effective_company().is_none() && context.identity().is_some() {
        // A refused request stays refused, whoever bound it.
        let _ = context.bind_owner();
    }
}

fn bind_owner(context: &AccessContext) -> Result<(), Denial> {
    context
        .bind_owner()
        .map_err(|_| context.misconfigured("company-scope", PLACED_BEFORE))
}

fn bind(context: &AccessContext, effective: CompanyId) -> Result<(), Denial> {
    let owner = context.owner().unwrap_or(effective);
    context
        .bind_company(CompanyBinding { owner, effective })
        .map_err(|_| context.misconfigured("company-scope", PLACED_BEFORE))
}

/// The method plays no part: a handler may read the body of a `GET` or a `DELETE` too.
fn plan<B: Body>(
    settings: &Settings,
    request: &Request<B>,
    context: &AccessContext,
) -> Result<BodyPlan, Denial> {
    let body = request.body();
    if settings.claims.json.is_empty() || body.is_end_stream() || calls_grpc(context) {
        return Ok(BodyPlan::Skip);
    }
    let plan = by_content_type(request.headers())?;
    let announced = announced_length(request.headers()).max(body.size_hint().lower());
    if plan == BodyPlan::Skip || announced <= settings.body_limit as u64 {
        return Ok(plan);
    }
    match settings.over_limit {
        OverLimit::Refuse => Err(Reason::MalformedRequest.into()),
        OverLimit::Pass => Ok(BodyPlan::Skip),
    }
}

/// Whether a gRPC method is called: its messages are framed and may be a stream without an end,
/// whatever its content type says of them (`application/grpc+json`). The content type alone does
/// not tell: to a handler of HTTP that one is JSON.
fn calls_grpc(context: &AccessContext) -> bool {
    context.endpoint().is_some_and(Endpoint::is_grpc)
}

fn by_content_type(headers: &HeaderMap) -> Result<BodyPlan, Denial> {
    let mut declared = headers.get_all(CONTENT_TYPE).iter();
    let (first, second) = (declared.next(), declared.next());
    if second.is_some() {
        // One reader takes the first field and another the last one.
        return Err(Reason::MalformedRequest.into());
    }
    let Some(value) = first else {
        return Ok(BodyPlan::Guess);
    };
    let essence = value.as_bytes().split(|b| *b == b';').next();
    let essence = essence.unwrap_or_default();
    Ok(if !essence.contains(&b'/') {
        BodyPlan::Guess
    } else if is_json(essence) {
        BodyPlan::Json
    } else {
        BodyPlan::Skip
    })
}

/// Whether some reader may take this type for JSON's: for one the suffix is what follows the last
/// `+`, for another the first, and what stands before it (`json+x`) is the subtype to both.
fn is_json(essence: &[u8]) -> bool {
    let parts = essence.split(|b| matches!(b, b'/' | b'+'));
    let mut parts = parts.skip(1).map(<[u8]>::trim_ascii);
    parts.any(|part| part.eq_ignore_ascii_case(b"json"))
}

fn announced_length(headers: &HeaderMap) -> u64 {
    let length = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    length.and_then(|text| text.parse().ok()).unwrap_or(0)
}

const PLACED_BEFORE: &str = "a request that no other layer placed before";

#[cfg(test)]
mod tests;
