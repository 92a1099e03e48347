//! Whether the caller has the scope that the endpoint demands.

use countersign_core::{AccessContext, Denial, Reason};

/// Compares the endpoint's scope with those of the verified caller.
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
    let scope = endpoint
        .required_scope()
        .ok_or(Reason::EndpointWithoutScope)?;
    if identity.scopes().contains(scope) {
        Ok(())
    } else {
        Err(Denial::new(Reason::ScopeMissing).with_required_scope(scope))
    }
}
