//! Whether a handler stands on the route that the contract decided on.

use axum::extract::MatchedPath;
use countersign_core::AccessContext;
use http::Extensions;

/// Whether the router took the request to the endpoint that the contract found for it.
///
/// A stack around a router, or around a nested service, decides before the route is known: a route
/// of the router that the contract does not name may overlap a template of it. Nothing is known,
/// and so nothing contradicted, without a contract, outside a router, and on a fallback.
pub(crate) fn agrees(extensions: &Extensions, context: &AccessContext) -> bool {
    let route = extensions.get::<MatchedPath>();
    let Some((endpoint, route)) = context.endpoint().zip(route) else {
        return true;
    };
    is_same(endpoint.template(), route.as_str())
}

/// Whether a request for `template` may run on `route`: the same segments, whatever the names of
/// the parameters, or the beginning of them and then a wildcard.
fn is_same(template: &str, route: &str) -> bool {
    // axum names the root of a nested router with the slash that its path does not have.
    if template == route || route.strip_suffix('/') == Some(template) {
        return true;
    }
    let mut route = route.split('/');
    for segment in template.split('/') {
        match route.next() {
            Some(wildcard) if wildcard.starts_with("{*") => return true,
            Some(taken) if taken == segment => {}
            Some(taken) if is_parameter(taken) && is_parameter(segment) => {}
            _ => return false,
        }
    }
    route.next().is_none()
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{') && !segment.starts_with("{*")
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn a_route_is_that_of_a_template_or_it_is_not() {
        for (template, route) in [
            ("/", "/"),
            ("/v1", "/v1/"),
            ("/v1/accounts/{id}", "/v1/accounts/{id}"),
            ("/v1/accounts/{id}", "/v1/accounts/{account_id}"),
            ("/v1/files/{*rest}", "/v1/files/{*path}"),
            ("/pkg.Service/Create", "/pkg.Service/{*rest}"),
        ] {
            assert!(is_same(template, route), "{template} on {route}");
        }
        for (template, route) in [
            ("/v1/accounts/{id}", "/v1/accounts/all"),
            ("/v1/accounts/all", "/v1/accounts/{id}"),
            ("/v1/accounts/{id}", "/v1/accounts"),
            ("/v1/accounts", "/v1/accounts/{id}"),
            ("/v1/accounts/{id}", "/v1/{kind}/{id}"),
            ("/v1/{*rest}", "/v1/{id}"),
            ("/v1", "/v2/"),
            ("/pkg.Service/Create", "/pkg.Admin/{*rest}"),
        ] {
            assert!(!is_same(template, route), "{template} on {route}");
        }
    }
}
