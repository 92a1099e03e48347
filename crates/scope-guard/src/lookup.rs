//! Which entry of the contract a request is for.

use countersign_core::{AccessContext, Denial, Endpoint, MatchedEndpoint, Reason, Stage, grpc};
use http::{Request, Uri};

use crate::{Contract, target};

/// Checks the request's target, finds its endpoint and fills it into the record.
///
/// # Errors
/// The refusal: `ambiguous_target`, `malformed_request`, `endpoint_unknown`, or
/// `misconfigured_stack`.
pub(crate) fn look_up<B>(
    contract: &Contract,
    request: &Request<B>,
    context: &AccessContext,
) -> Result<(), Denial> {
    let misplaced = |missing| context.misconfigured("contract", missing);
    if context.is_counted_blindly() {
        return Err(misplaced("its place outside the layer that limits"));
    }
    let uri = routed_uri(request).map_err(misplaced)?;
    let target = uri.path_and_query().ok_or(Reason::AmbiguousTarget)?;
    let mut exact = None;
    // Templates passed the target rules when the contract was built.
    let normal = |path: &str| {
        exact = contract.exact(path);
        exact.is_some() || target::is_normal_path(path)
    };
    target::check_with(
        normal,
        request.method(),
        uri,
        request.headers(),
        request.version(),
    )?;
    let found = match exact {
        Some(exact) => exact.of(request.method()),
        None => contract.find_routed(request.method(), target.path()),
    };
    let endpoint = agreed(contract, request, found).map_err(misplaced)?;
    let endpoint = endpoint.ok_or(Reason::EndpointUnknown)?;
    let matched = MatchedEndpoint {
        endpoint,
        target: target.clone(),
    };
    context
        .match_endpoint(matched)
        .map_err(|_| misplaced("a request that no other contract matched before"))?;
    match endpoint.stage() {
        Stage::Ga => {}
        stage => at_stage(stage, endpoint, context)?,
    }
    if endpoint.is_grpc() {
        grpc::check_head(request.version(), request.headers())?;
    }
    Ok(())
}

/// What an endpoint's stage has to say, where it is not the usual one. The audit reads the stage
/// from the entry, which is filled in for a closed endpoint too.
#[cold]
fn at_stage(
    stage: Stage,
    endpoint: &'static Endpoint,
    context: &AccessContext,
) -> Result<(), Denial> {
    if !stage.is_open() {
        // No different from an endpoint that never was: a draft is nobody's business yet.
        return Err(Reason::EndpointUnknown.into());
    }
    if let Some(deprecation) = endpoint.deprecation() {
        context.show_deprecation(deprecation);
    }
    Ok(())
}

/// The target that the caller sent: inside `nest`, axum shows a layer only the end of it.
#[cfg(feature = "axum")]
fn routed_uri<B>(request: &Request<B>) -> Result<&Uri, &'static str> {
    let Some(original) = request.extensions().get::<axum::extract::OriginalUri>() else {
        return Ok(request.uri());
    };
    let (whole, seen) = (original.0.path(), request.uri().path());
    // A router strips a prefix and does nothing else. If somebody rewrote the target after it
    // entered a router, the contract would decide on one path and the handler run on another.
    let untouched = std::ptr::eq(whole, seen);
    if untouched || whole.ends_with(seen) || seen == "/" {
        Ok(&original.0)
    } else {
        Err("a target that nobody rewrote inside the router")
    }
}

#[cfg(not(feature = "axum"))]
#[expect(clippy::unnecessary_wraps, reason = "with axum it can fail")]
fn routed_uri<B>(request: &Request<B>) -> Result<&Uri, &'static str> {
    Ok(request.uri())
}

/// The entry, if the router that the request came through agrees: a route of the router that is
/// not in the contract is internal, whatever template of the contract the path matches.
#[cfg(feature = "axum")]
fn agreed<B>(
    contract: &Contract,
    request: &Request<B>,
    found: Option<&'static Endpoint>,
) -> Result<Option<&'static Endpoint>, &'static str> {
    let Some(route) = request.extensions().get::<axum::extract::MatchedPath>() else {
        return unrouted(request, found);
    };
    if found.is_some_and(|endpoint| is_routed(endpoint, route.as_str())) {
        return Ok(found);
    }
    match contract.find_template(request.method(), route.as_str()) {
        None => Ok(None),
        Some(_) => Err("agreement of the router and the contract on the request's template"),
    }
}

/// The entry, where no router has said its route. A router that the request has entered does not
/// know what runs behind its fallback or a nested service, and so nobody can agree there.
#[cfg(feature = "axum")]
fn unrouted<B>(
    request: &Request<B>,
    found: Option<&'static Endpoint>,
) -> Result<Option<&'static Endpoint>, &'static str> {
    let entered = request.extensions().get::<axum::extract::OriginalUri>();
    if entered.is_some() && found.is_some() {
        return Err(
            "the route: a router does not name it for its fallback or a nested service; add the \
             layer to the nested router itself, or put it around the outermost one",
        );
    }
    Ok(found)
}

/// Whether `route` is the endpoint's. A gRPC method's is that of its whole service, which then
/// takes the method's name from the same path: `/package.Service/{*rest}`.
#[cfg(feature = "axum")]
fn is_routed(endpoint: &Endpoint, route: &str) -> bool {
    let template = endpoint.template();
    let service = || {
        let (service, rest) = route.split_once("/{*")?;
        let is_last = rest.find('}') == Some(rest.len() - 1);
        (is_last && template.rsplit_once('/')?.0 == service).then_some(())
    };
    template == route || (endpoint.is_grpc() && service().is_some())
}

#[cfg(not(feature = "axum"))]
#[expect(clippy::unnecessary_wraps, reason = "with axum it can fail")]
fn agreed<B>(
    _: &Contract,
    _: &Request<B>,
    found: Option<&'static Endpoint>,
) -> Result<Option<&'static Endpoint>, &'static str> {
    Ok(found)
}
