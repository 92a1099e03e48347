//! Whether the caller has the scope that the endpoint demands.

use countersign_core::{AccessContext, Denial, Reason};

/// Compares the endpoint's scopes with those of the verified caller.
///
/// # Errors
/// The refusal: `scope_missing`, `endpoint_without_scope`, or `misconfigured_stack` when no layer
/// found the endpoint or verified the caller before.
pub(crate) fn permit(context: &AccessContext) -> Result<(), Denial> {
    let missing = |what| context.misconfigured("scope-guard", what);
    let endpoint = context
        .endpoint()
        .ok_or_else(|| missing("endpoint: a contract layer outside this one"))?;
    let identity = context
        .identity()
        .ok_or_else(|| missing("identity: a layer outside this one that verifies the caller"))?;
    let required = endpoint
        .required_scopes()
        .ok_or(Reason::EndpointWithoutScope)?;
    if required.is_met_by(identity.scopes()) {
        return Ok(());
    }
    let nearest = required.nearest(identity.scopes());
    Err(Denial::new(Reason::ScopeMissing).with_required_scopes(nearest))
}
