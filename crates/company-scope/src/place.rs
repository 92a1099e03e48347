//! Whose data a request may touch: the decision, without services.

use countersign_core::{AccessContext, CompanyBinding, CompanyId, Denial, Reason};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Request};
use http_body::Body;

use crate::claims::Claims;

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
}

/// What is known when everything but the body was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) owner: CompanyId,
    /// The caller named its own company somewhere.
    pub(crate) claimed: bool,
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

/// Makes the owner of the verified credential the effective company, and compares the claims
/// outside the body with it.
///
/// # Errors
/// The refusal: `company_mismatch`, `malformed_request` where the body can't be inspected, or
/// `misconfigured_stack`.
pub(crate) fn place<B: Body>(
    settings: &Settings,
    request: &Request<B>,
    context: &AccessContext,
) -> Result<Placed, Denial> {
    let misplaced = |missing| context.misconfigured("company-scope", missing);
    let identity = context
        .identity()
        .ok_or_else(|| misplaced("identity: a layer outside this one that verifies the caller"))?;
    let owner = *identity.company();
    // Bound before anything is compared, so that the audit knows the company of a refused caller.
    let binding = CompanyBinding {
        owner,
        effective: owner,
    };
    context
        .bind_company(binding)
        .map_err(|_| misplaced("a request that no other layer placed before"))?;
    Ok(Placed {
        owner,
        claimed: settings.claims.check_head(request, context, &owner)?,
        body: plan(settings, request)?,
    })
}

/// Takes down that the caller named its own company, when all of its claims were compared.
pub(crate) fn note_claim(context: &AccessContext, owner: CompanyId, claimed: bool) {
    if claimed {
        context.claim_company(owner);
    }
}

/// The method plays no part: a handler may read the body of a `GET` or a `DELETE` too.
fn plan<B: Body>(settings: &Settings, request: &Request<B>) -> Result<BodyPlan, Denial> {
    let body = request.body();
    if settings.claims.json.is_empty() || body.is_end_stream() {
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
    let essence = essence.unwrap_or_default().trim_ascii();
    Ok(if !essence.contains(&b'/') {
        BodyPlan::Guess
    } else if ends_with(essence, b"/json") || ends_with(essence, b"+json") {
        BodyPlan::Json
    } else {
        BodyPlan::Skip
    })
}

fn ends_with(text: &[u8], end: &[u8]) -> bool {
    text.len()
        .checked_sub(end.len())
        .is_some_and(|start| text[start..].eq_ignore_ascii_case(end))
}

fn announced_length(headers: &HeaderMap) -> u64 {
    let length = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    length.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
