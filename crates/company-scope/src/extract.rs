//! What handlers are given: the scope and the key of their request.

#[cfg(feature = "axum")]
use axum_core::extract::FromRequestParts;
use countersign_core::{
    AccessContext, CompanyId, Denial, Environment, KeyId, KeyPrefix, Reason, ScopeSet,
};
#[cfg(feature = "axum")]
use http::request::Parts;

use crate::CompanyScope;
#[cfg(feature = "axum")]
use crate::route;

/// The request's company scope. Where no [`CompanyScopeLayer`](crate::CompanyScopeLayer) stands
/// around the handler, the request fails with `misconfigured_stack`; so it does where the router
/// took it to another route than the endpoint that the contract found for it.
#[cfg(feature = "axum")]
impl<S: Sync> FromRequestParts<S> for CompanyScope {
    type Rejection = Denial;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denial> {
        let found = parts.extensions.get();
        let scope = scope(found)?;
        on_its_route(parts, found)?;
        Ok(scope)
    }
}

#[cfg(feature = "tonic")]
impl CompanyScope {
    /// The company scope of a tonic handler's request.
    ///
    /// # Errors
    /// `misconfigured_stack` where no [`CompanyScopeLayer`](crate::CompanyScopeLayer) stands around
    /// the handler.
    pub fn of_call<T>(request: &tonic::Request<T>) -> Result<Self, Denial> {
        scope(request.extensions().get())
    }
}

fn scope(found: Option<&AccessContext>) -> Result<CompanyScope, Denial> {
    found
        .and_then(CompanyScope::from_context)
        .ok_or_else(|| missing(found, "company: a company-scope layer around this handler"))
}

/// The API key that was verified for a request, as far as a handler may know it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VerifiedKey {
    /// The key's record.
    pub id: KeyId,
    /// The key's public part.
    pub prefix: KeyPrefix,
    /// The company that owns the key.
    pub company: CompanyId,
    /// Production or sandbox.
    pub environment: Environment,
    /// What the key may do.
    pub scopes: ScopeSet,
}

impl VerifiedKey {
    /// The key that was verified for the request that `context` records; `None` when no caller
    /// was verified, or one without an API key.
    #[must_use]
    pub fn from_context(context: &AccessContext) -> Option<Self> {
        let identity = context.identity()?;
        Some(Self {
            id: identity.key_id()?,
            prefix: *identity.key_prefix()?,
            company: *identity.company(),
            environment: identity.environment(),
            scopes: identity.scopes().clone(),
        })
    }
}

/// The verified key. Where no layer verified one, or the router took the request to another route
/// than the endpoint that the contract found for it, the request fails with `misconfigured_stack`.
#[cfg(feature = "axum")]
impl<S: Sync> FromRequestParts<S> for VerifiedKey {
    type Rejection = Denial;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denial> {
        let found = parts.extensions.get();
        let key = key(found)?;
        on_its_route(parts, found)?;
        Ok(key)
    }
}

/// Nobody is let into a handler that the contract did not decide on.
#[cfg(feature = "axum")]
fn on_its_route(parts: &Parts, context: Option<&AccessContext>) -> Result<(), Denial> {
    match context {
        Some(found) if !route::agrees(&parts.extensions, found) => {
            let what = "route: the endpoint of the contract that the request was let through for";
            Err(missing(context, what))
        }
        _ => Ok(()),
    }
}

#[cfg(feature = "tonic")]
impl VerifiedKey {
    /// The verified key of a tonic handler's request.
    ///
    /// # Errors
    /// `misconfigured_stack` where no layer verified one.
    pub fn of_call<T>(request: &tonic::Request<T>) -> Result<Self, Denial> {
        key(request.extensions().get())
    }
}

fn key(found: Option<&AccessContext>) -> Result<VerifiedKey, Denial> {
    found
        .and_then(VerifiedKey::from_context)
        .ok_or_else(|| missing(found, "key: a key-verify layer around this handler"))
}

fn missing(context: Option<&AccessContext>, what: &'static str) -> Denial {
    const LAYER: &str = "handler";
    let Some(context) = context else {
        tracing::error!(target: "countersign", layer = LAYER, missing = what, "misconfigured stack");
        return Denial::new(Reason::MisconfiguredStack);
    };
    context.misconfigured(LAYER, what)
}
