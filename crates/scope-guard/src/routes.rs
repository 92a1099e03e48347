//! For tests: whether an axum router and the contract know the same endpoints.
//!
//! ```
//! use axum::routing::{Router, get};
//! use countersign_core::Endpoint;
//! use countersign_scope_guard::{Contract, routes};
//!
//! let contract = Contract::builder()
//!     .endpoint(Endpoint::get("/v1/accounts").scope("accounts:read".parse()?))
//!     .build()?;
//! let router: Router = Router::new().route("/v1/accounts", get(async || "all"));
//! routes::assert_same(&router, &contract);
//!
//! let more = router.route("/v1/debug", get(async || "oops"));
//! let found = routes::differences(&more, &contract)?;
//! assert_eq!(found[0].to_string(), "GET /v1/debug: the router has it, and not the contract");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! tonic puts one route for a whole gRPC service into the router. Which methods the service has stands
//! in the descriptor set of its build, which [`assert_same_with_services`] takes:
//!
//! ```ignore
//! let routes = Routes::new(PaymentsServer::new(payments)).into_axum_router();
//! routes::assert_same_with_services(&http.merge(routes), &contract, DESCRIPTOR_SET);
//! ```

use std::fmt;

use axum::Router;
use countersign_core::ConfigError;
use http::Method;

use crate::{Contract, descriptor};

/// An endpoint that only one of both knows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// The contract opens it, and no route answers it: callers get 404 or 405 from behind the
    /// stack.
    NoRoute {
        /// The endpoint's method.
        method: Method,
        /// Its template.
        template: String,
    },
    /// The router has a route that the contract does not know: callers are refused, and nobody
    /// reviewed what would be open if they were not.
    NotInContract {
        /// The route's method, `None` where it takes every method (`any`, a nested service, a
        /// fallback of the route's own).
        method: Option<Method>,
        /// The route's path in the router.
        template: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute { method, template } => {
                write!(
                    f,
                    "{method} {template}: the contract has it, and not the router"
                )
            }
            Self::NotInContract { method, template } => {
                let method = method.as_ref().map_or("any method", Method::as_str);
                write!(
                    f,
                    "{method} {template}: the router has it, and not the contract"
                )
            }
        }
    }
}

/// Every endpoint that only one of both knows. Drafts and retired endpoints may have a route and
/// need none. A router's fallback is no route: give the router of the external API alone. A gRPC
/// service is a route that takes everything, and so never in the contract: compare it with
/// [`differences_with_services`].
///
/// # Errors
/// When the router can't be read. axum has no list of routes but in what `Debug` prints, so a
/// version that prints another form is an error here, and never an agreement.
pub fn differences<S>(
    router: &Router<S>,
    contract: &Contract,
) -> Result<Vec<Difference>, ConfigError> {
    Ok(compare(read(router)?, contract))
}

/// As [`differences`], for a router that gRPC services were merged into (tonic's
/// `Routes::into_axum_router`). `descriptor_set` is what the compiler made of the files that the
/// server was generated from, in the same build: it says which methods stand behind the route of a
/// service. Services in it that the router does not have count for nothing; a service of the router
/// that is not in it is a difference as a whole.
///
/// # Errors
/// When the router or the descriptor set can't be read.
pub fn differences_with_services<S>(
    router: &Router<S>,
    contract: &Contract,
    descriptor_set: &[u8],
) -> Result<Vec<Difference>, ConfigError> {
    let services = descriptor::services(descriptor_set)?;
    let mut routes = Vec::new();
    for route in read(router)? {
        match services.iter().find(|service| route.is_of(&service.path)) {
            Some(service) => routes.extend(service.methods.iter().map(|method| Route {
                template: format!("{}/{method}", service.path),
                methods: vec![Some(Method::POST)],
            })),
            None => routes.push(route),
        }
    }
    Ok(compare(routes, contract))
}

/// Fails a test where router and contract differ in either direction, and says where.
///
/// # Panics
/// When they differ, or the router can't be read.
pub fn assert_same<S>(router: &Router<S>, contract: &Contract) {
    assert_none(differences(router, contract));
}

/// As [`assert_same`], for a router with gRPC services in it: see [`differences_with_services`].
///
/// # Panics
/// When they differ, or the router or the descriptor set can't be read.
pub fn assert_same_with_services<S>(
    router: &Router<S>,
    contract: &Contract,
    descriptor_set: &[u8],
) {
    assert_none(differences_with_services(router, contract, descriptor_set));
}

fn assert_none(found: Result<Vec<Difference>, ConfigError>) {
    let found = found.unwrap_or_else(|error| panic!("{error}"));
    let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

fn read<S>(router: &Router<S>) -> Result<Vec<Route>, ConfigError> {
    routes(&format!("{router:?}")).ok_or_else(|| {
        let advice = "its routes can't be read: this version of axum prints them in another form";
        ConfigError::new("router", advice)
    })
}

fn compare(routes: Vec<Route>, contract: &Contract) -> Vec<Difference> {
    let mut found = Vec::new();
    for endpoint in contract.endpoints().filter(|it| it.stage().is_open()) {
        let answered = routes
            .iter()
            .any(|route| route.template == endpoint.template() && route.answers(endpoint.method()));
        if !answered {
            found.push(Difference::NoRoute {
                method: endpoint.method().clone(),
                template: endpoint.template().to_owned(),
            });
        }
    }
    for route in routes {
        let unknown = route.methods.into_iter().filter(|method| {
            let known = |method| contract.find_template(method, &route.template).is_some();
            !method.as_ref().is_some_and(known)
        });
        found.extend(unknown.map(|method| Difference::NotInContract {
            method,
            template: route.template.clone(),
        }));
    }
    found
}

/// A route and its methods; `None` stands for all.
#[derive(Debug, PartialEq, Eq)]
struct Route {
    template: String,
    methods: Vec<Option<Method>>,
}

impl Route {
    fn answers(&self, method: &Method) -> bool {
        let has = |wanted: &Method| self.methods.iter().flatten().any(|it| it == wanted);
        // axum lets `get` answer HEAD.
        self.methods.contains(&None) || has(method) || (method == Method::HEAD && has(&Method::GET))
    }

    /// Whether it is the route of this gRPC service, as tonic makes it.
    fn is_of(&self, service: &str) -> bool {
        let rest = self.template.strip_prefix(service);
        rest == Some("/{*rest}") && self.methods == [None]
    }
}

/// The routes in what `Router` prints. Every part must be there, and every route have its path.
fn routes(text: &str) -> Option<Vec<Route>> {
    let text = text.strip_prefix("Router { path_router: PathRouter { routes: {")?;
    let (text, _) = text.split_once(" }, fallback_router: PathRouter { ")?;
    let (routes, paths) = text.split_once("}, node: Node { paths: {")?;
    let paths = paths.strip_suffix("} }")?;
    let paths = entries(paths, ", RouteId(")?;
    let routes = entries(routes, ", RouteId(")?;
    if paths.len() != routes.len() {
        return None;
    }
    let mut found = Vec::new();
    for (id, path) in paths {
        let template = path.strip_prefix('"')?.strip_suffix('"')?;
        let (_, route) = routes.iter().find(|(other, _)| *other == id)?;
        if template.contains(['\\', '"']) {
            return None;
        }
        found.push(Route {
            template: template.to_owned(),
            methods: methods(route)?,
        });
    }
    found.sort_by(|a, b| a.template.cmp(&b.template));
    Some(found)
}

/// `RouteId(1): …, RouteId(2): …` by their numbers.
fn entries<'t>(text: &'t str, separator: &str) -> Option<Vec<(&'t str, &'t str)>> {
    let Some(text) = text.strip_prefix("RouteId(") else {
        return text.is_empty().then(Vec::new);
    };
    let entries = text.split(separator);
    entries.map(|entry| entry.split_once("): ")).collect()
}

fn methods(route: &str) -> Option<Vec<Option<Method>>> {
    if route == "Route(Route)" {
        return Some(vec![None]);
    }
    let members = route.strip_prefix("MethodRouter(MethodRouter { ")?;
    let mut methods = Vec::new();
    let mut rest = members;
    for (name, method) in METHODS {
        let value = rest.strip_prefix(name)?.strip_prefix(": ")?;
        let (value, after) = value.split_once(", ")?;
        match value {
            "None" => {}
            "Route" | "BoxedHandler" => methods.push(Some(method.clone())),
            _ => return None,
        }
        rest = after;
    }
    let fallback = rest.strip_prefix("fallback: ")?;
    if fallback.starts_with("BoxedHandler,") || fallback.starts_with("Service(Route),") {
        methods.push(None);
    } else if !fallback.starts_with("Default(Route),") {
        return None;
    }
    Some(methods)
}

const METHODS: [(&str, &Method); 9] = [
    ("get", &Method::GET),
    ("head", &Method::HEAD),
    ("delete", &Method::DELETE),
    ("options", &Method::OPTIONS),
    ("patch", &Method::PATCH),
    ("post", &Method::POST),
    ("put", &Method::PUT),
    ("trace", &Method::TRACE),
    ("connect", &Method::CONNECT),
];

#[cfg(test)]
mod tests {
    use axum::routing::{any, delete, get, post};
    use countersign_core::Endpoint;

    use super::*;
    use crate::descriptor::tests::api;

    fn contract(endpoints: impl IntoIterator<Item = Endpoint>) -> Contract {
        let scope = "a:read".parse().unwrap();
        let endpoints = endpoints.into_iter().map(|it| it.scope(scope));
        Contract::builder().endpoints(endpoints).build().unwrap()
    }

    fn told<S>(router: &Router<S>, contract: &Contract) -> Vec<String> {
        let found = differences(router, contract).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_router_of_every_kind_agrees_with_its_contract() {
        let inner: Router<u8> = Router::new().route("/{id}", get(async || "").delete(async || ""));
        let router = Router::new()
            .route("/a", get(async || "").post(async || ""))
            .nest("/b", inner)
            .merge(Router::new().route("/c", axum::routing::head(async || "")))
            .fallback(async || "")
            .layer(axum::middleware::from_fn(
                async |request: axum::extract::Request, next: axum::middleware::Next| {
                    next.run(request).await
                },
            ))
            .with_state::<()>(7);
        let mut endpoints = vec![
            Endpoint::get("/a"),
            Endpoint::post("/a"),
            Endpoint::get("/b/{id}"),
            Endpoint::delete("/b/{id}"),
            Endpoint::new(Method::HEAD, "/c"),
            Endpoint::get("/draft").draft(),
            Endpoint::get("/gone").retired(),
        ];
        assert_same(&router, &contract(endpoints.clone()));
        // `get` answers HEAD too.
        endpoints.push(Endpoint::new(Method::HEAD, "/a"));
        assert_same(&router, &contract(endpoints));
    }

    #[test]
    fn a_difference_in_either_direction_is_told() {
        let router: Router = Router::new()
            .route("/a/{id}", get(async || ""))
            .route("/b", post(async || ""))
            .route("/c", delete(async || ""));
        let contract = contract([
            Endpoint::get("/a/{name}"),
            Endpoint::post("/b"),
            Endpoint::put("/b"),
        ]);
        assert_eq!(
            told(&router, &contract),
            [
                "GET /a/{name}: the contract has it, and not the router",
                "PUT /b: the contract has it, and not the router",
                "GET /a/{id}: the router has it, and not the contract",
                "DELETE /c: the router has it, and not the contract",
            ]
        );
    }

    #[test]
    fn what_takes_every_method_is_never_in_a_contract() {
        let router: Router = Router::new()
            .route("/a", any(async || ""))
            .route("/b", get(async || "").fallback(async || ""))
            .nest_service("/s", get(async || ""));
        let found = told(
            &router,
            &contract([Endpoint::get("/a"), Endpoint::get("/b")]),
        );
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found.iter().all(|line| line.starts_with("any method /")));
    }

    #[test]
    fn the_methods_of_a_grpc_service_are_those_of_its_descriptors() {
        let set = api(r#"
            service Pay {
              rpc Make(M) returns (M) { option (countersign.v1.access) = { scope: "a:read" }; }
              rpc Show(M) returns (M) { option (countersign.v1.access) = { scope: "a:read" }; }
            }
            service Internal { rpc Reset(M) returns (M); }
            service Elsewhere { rpc Ask(M) returns (M); }
        "#);
        let told = |router: &Router, contract: &Contract| {
            let found = differences_with_services(router, contract, &set).unwrap();
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let http: Router = Router::new().route("/a", get(async || ""));
        let served = |service: &str| {
            let path = format!("/pay.v1.{service}/{{*rest}}");
            http.clone().route_service(&path, get(async || ""))
        };
        let both = [Endpoint::grpc("/pay.v1.Pay/Make"), Endpoint::get("/a")];
        let whole = both
            .clone()
            .into_iter()
            .chain([Endpoint::grpc("/pay.v1.Pay/Show")]);
        let whole = contract(whole);
        assert_same_with_services(&served("Pay"), &whole, &set);
        assert_eq!(
            told(&served("Pay"), &contract(both)),
            ["POST /pay.v1.Pay/Show: the router has it, and not the contract"]
        );
        assert_eq!(
            told(&http, &whole),
            [
                "POST /pay.v1.Pay/Make: the contract has it, and not the router",
                "POST /pay.v1.Pay/Show: the contract has it, and not the router",
            ]
        );
        let reset = "POST /pay.v1.Internal/Reset: the router has it, and not the contract";
        assert!(told(&served("Internal"), &whole).contains(&reset.to_owned()));
        let other = "any method /pay.v1.Other/{*rest}: the router has it, and not the contract";
        assert!(told(&served("Other"), &whole).contains(&other.to_owned()));
        // Without its descriptors nothing says what a service has.
        assert_eq!(differences(&served("Pay"), &whole).unwrap().len(), 3);
        assert!(differences_with_services(&http, &whole, b"\xff").is_err());
    }

    #[test]
    fn an_empty_router_and_one_that_can_t_be_read() {
        let found = told(&Router::<()>::new(), &contract([Endpoint::get("/a")]));
        assert_eq!(found.len(), 1);
        for text in [
            "",
            "Router { }",
            "Router { path_router: PathRouter { routes: {RouteId(1): Route(Route)}, node: Node { paths: {} } }, fallback_router: PathRouter { ",
        ] {
            assert_eq!(routes(text), None, "{text}");
        }
    }
}
