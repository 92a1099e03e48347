//! The external contract: a list of endpoints, checked once and compiled into a router.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use countersign_core::{ConfigError, Endpoint, RequiredScopes, ScopeSet};
use http::Method;

use crate::{ScopeRegistry, descriptor, template};

/// The endpoints that outside callers may use. Everything else is the internal API. Cloning is
/// cheap.
///
/// ```
/// use countersign_core::Endpoint;
/// use countersign_scope_guard::Contract;
/// use http::Method;
///
/// let contract = Contract::builder()
///     .endpoint(Endpoint::get("/external/v1/accounts/{id}").scope("accounts:read".parse()?))
///     .endpoint(Endpoint::post("/external/v1/payments").scope("payments:create".parse()?))
///     .build()?;
/// let found = contract.find(&Method::HEAD, "/external/v1/accounts/7");
/// assert_eq!(found.map(Endpoint::template), Some("/external/v1/accounts/{id}"));
/// assert!(contract.find(&Method::DELETE, "/external/v1/accounts/7").is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Contract(Arc<Compiled>);

struct Compiled {
    endpoints: Box<[&'static Endpoint]>,
    /// Templates without a parameter, found without walking the router. Their paths passed the
    /// target rules when the contract was built.
    exact: hashbrown::HashMap<&'static str, Methods>,
    /// All templates.
    router: matchit::Router<Methods>,
    registry: Option<ScopeRegistry>,
}

/// The few endpoints of one template.
#[derive(Clone, Default)]
pub(crate) struct Methods(Vec<&'static Endpoint>);

impl Contract {
    /// Begins with no endpoint, and with endpoints without a scope as a mistake.
    pub fn builder() -> ContractBuilder {
        ContractBuilder::default()
    }

    /// The endpoint of a request for `path`, a path that passed the target rules
    /// ([`crate::target`]). `HEAD` is served by its `GET`'s entry, unless it has its own.
    #[must_use]
    pub fn find(&self, method: &Method, path: &str) -> Option<&'static Endpoint> {
        match self.exact(path) {
            Some(methods) => methods.of(method),
            None => self.find_routed(method, path),
        }
    }

    /// The endpoints of the template without parameters that `path` is: then it is in normal form.
    pub(crate) fn exact(&self, path: &str) -> Option<&Methods> {
        self.0.exact.get(path)
    }

    /// The endpoint of a path that is not itself a template.
    pub(crate) fn find_routed(&self, method: &Method, path: &str) -> Option<&'static Endpoint> {
        self.0.router.at(path).ok()?.value.of(method)
    }

    /// The endpoint with exactly this template, by the same rule for `HEAD`.
    #[must_use]
    pub fn find_template(&self, method: &Method, template: &str) -> Option<&'static Endpoint> {
        let same = |method| {
            let mut all = self.endpoints();
            all.find(|e| e.method() == method && e.template() == template)
        };
        same(method).or_else(|| (method == Method::HEAD).then(|| same(&Method::GET))?)
    }

    /// Every endpoint, in the order in which they were added.
    pub fn endpoints(&self) -> impl Iterator<Item = &'static Endpoint> {
        self.0.endpoints.iter().copied()
    }

    /// The scopes that its endpoints ask for: what a key manager may grant.
    #[must_use]
    pub fn scopes(&self) -> ScopeSet {
        self.endpoints()
            .filter_map(|endpoint| endpoint.required_scopes())
            .flat_map(RequiredScopes::scopes)
            .collect()
    }

    /// The platform's scopes and what each allows, where the contract was given a registry.
    #[must_use]
    pub fn registry(&self) -> Option<&ScopeRegistry> {
        self.0.registry.as_ref()
    }
}

impl fmt::Debug for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.endpoints()).finish()
    }
}

/// Puts a [`Contract`] together.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ContractBuilder {
    endpoints: Vec<Endpoint>,
    denies_unscoped: bool,
    registry: Option<ScopeRegistry>,
}

impl ContractBuilder {
    /// Adds an endpoint.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Adds endpoints.
    pub fn endpoints(mut self, endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        self.endpoints.extend(endpoints);
        self
    }

    /// Keeps endpoints without a scope in the contract. They can be listed, and every call of one
    /// is refused with `endpoint_without_scope`.
    pub fn deny_unscoped(mut self) -> Self {
        self.denies_unscoped = true;
        self
    }

    /// The platform's scopes: an endpoint that asks for another one is a mistake.
    pub fn registry(mut self, registry: ScopeRegistry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Adds the gRPC methods of an encoded `google.protobuf.FileDescriptorSet`, as protocol buffer
    /// compilers write it, under the conditions that their `(countersign.v1.access)` options state
    /// ([`ACCESS_PROTO`](crate::ACCESS_PROTO)). A service none of whose methods has the option is
    /// not external and is left out; in any other each method needs a scope, as every endpoint does.
    ///
    /// # Errors
    /// Names the file and the method whose option is broken; or the set, when it is none. Nothing is
    /// read but `encoded`.
    pub fn descriptor_set(self, encoded: &[u8]) -> Result<Self, ConfigError> {
        Ok(self.endpoints(descriptor::endpoints(encoded)?))
    }

    /// The finished contract.
    ///
    /// # Errors
    /// Names the method and template of the first endpoint that has no scope (unless
    /// [`ContractBuilder::deny_unscoped`] was chosen) or one that is not in the registry, has a
    /// template that no permitted target can match, has a method that is always refused
    /// (`CONNECT`, `TRACE`), is declared twice, or overlaps another template so that one path would
    /// match both.
    pub fn build(self) -> Result<Contract, ConfigError> {
        for endpoint in &self.endpoints {
            self.check(endpoint)
                .map_err(|problem| ConfigError::new(name(endpoint), problem))?;
            self.check_registry(endpoint)?;
        }
        let endpoints: Box<[_]> = self.endpoints.into_iter().map(Endpoint::kept).collect();
        Ok(Contract(Arc::new(compile(endpoints, self.registry)?)))
    }

    fn check_registry(&self, endpoint: &Endpoint) -> Result<(), ConfigError> {
        let asked = endpoint.required_scopes().into_iter();
        let unknown = self.registry.as_ref().and_then(|registry| {
            asked
                .flat_map(RequiredScopes::scopes)
                .find(|scope| !registry.contains(*scope))
        });
        match unknown {
            None => Ok(()),
            Some(scope) => Err(ConfigError::new(
                name(endpoint),
                format!("the scope {scope} is not in the registry: describe it there"),
            )),
        }
    }

    fn check(&self, endpoint: &Endpoint) -> Result<(), &'static str> {
        if matches!(*endpoint.method(), Method::CONNECT | Method::TRACE) {
            return Err("this method is refused for every target");
        }
        if endpoint.required_scopes().is_none() && !self.denies_unscoped {
            return Err("it declares no scope: give it one, or choose `deny_unscoped`");
        }
        template::check(endpoint.template())?;
        if endpoint.is_grpc() && !template::is_grpc_path(endpoint.template()) {
            return Err("the path of a gRPC method is `/package.Service/Method`");
        }
        Ok(())
    }
}

fn compile(
    endpoints: Box<[&'static Endpoint]>,
    registry: Option<ScopeRegistry>,
) -> Result<Compiled, ConfigError> {
    let mut by_template: HashMap<&str, Methods> = HashMap::new();
    let mut templates = Vec::new();
    for &endpoint in &endpoints {
        let Methods(same) = by_template.entry(endpoint.template()).or_insert_with(|| {
            templates.push(endpoint);
            Methods::default()
        });
        if same.iter().any(|e| e.method() == endpoint.method()) {
            return Err(ConfigError::new(name(endpoint), "it is declared twice"));
        }
        same.push(endpoint);
    }
    let mut exact = hashbrown::HashMap::new();
    let mut router = matchit::Router::new();
    // In the order of declaration, so that the endpoint at fault is always the same one.
    for endpoint in templates {
        let template = endpoint.template();
        let same = by_template.remove(template).unwrap_or_default();
        if !template.contains('{') {
            exact.insert(template, same.clone());
        }
        router
            .insert(template, same)
            .map_err(|error| ConfigError::new(name(endpoint), problem(&error)))?;
    }
    Ok(Compiled {
        endpoints,
        exact,
        router,
        registry,
    })
}

impl Methods {
    /// The endpoint of `method`. `HEAD` is served by its `GET`'s entry, unless it has its own.
    pub(crate) fn of(&self, method: &Method) -> Option<&'static Endpoint> {
        let declared = |method| self.0.iter().copied().find(|e| e.method() == method);
        declared(method).or_else(|| (method == Method::HEAD).then(|| declared(&Method::GET))?)
    }
}

fn name(endpoint: &Endpoint) -> String {
    format!("{} {}", endpoint.method(), endpoint.template())
}

fn problem(error: &matchit::InsertError) -> String {
    match error {
        matchit::InsertError::Conflict { with } => {
            format!("a path could match both it and `{with}`: use one template for both")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(template: &str) -> Endpoint {
        Endpoint::get(template).scope("accounts:read".parse().unwrap())
    }

    fn build(endpoints: impl IntoIterator<Item = Endpoint>) -> Result<Contract, ConfigError> {
        Contract::builder().endpoints(endpoints).build()
    }

    #[test]
    fn an_endpoint_without_a_scope_is_a_mistake_that_names_it() {
        let error = build([get("/a"), Endpoint::post("/b/{id}")]).unwrap_err();
        assert_eq!(error.subject(), "POST /b/{id}");
        let kept = Contract::builder()
            .endpoint(Endpoint::post("/b/{id}"))
            .deny_unscoped()
            .build()
            .unwrap();
        let found = kept.find(&Method::POST, "/b/7").unwrap();
        assert_eq!(found.required_scope(), None);
    }

    #[test]
    fn two_entries_for_one_path_are_a_mistake() {
        for (first, second) in [
            ("/a", "/a"),
            ("/a/{id}", "/a/{id}"),
            ("/a/{id}", "/a/{name}"),
            ("/a/{id}", "/a/{*rest}"),
        ] {
            let error = build([get(first), get(second)]).unwrap_err();
            assert_eq!(error.subject(), format!("GET {second}"));
        }
    }

    #[test]
    fn a_static_segment_beside_a_parameter_is_two_endpoints() {
        let contract = build([get("/a/{id}"), get("/a/me")]).unwrap();
        let found = |path| contract.find(&Method::GET, path).unwrap().template();
        assert_eq!(found("/a/me"), "/a/me");
        assert_eq!(found("/a/you"), "/a/{id}");
    }

    #[test]
    fn methods_are_told_apart_and_head_is_its_get() {
        let post = Endpoint::post("/a").scope("accounts:write".parse().unwrap());
        let head = Endpoint::new(Method::HEAD, "/b").scope("accounts:head".parse().unwrap());
        let contract = build([get("/a"), post, get("/b"), head]).unwrap();
        let method = |asked: Method, path| {
            contract
                .find(&asked, path)
                .map(|endpoint| endpoint.method().as_str())
        };
        assert_eq!(method(Method::GET, "/a"), Some("GET"));
        assert_eq!(method(Method::POST, "/a"), Some("POST"));
        assert_eq!(method(Method::HEAD, "/a"), Some("GET"));
        assert_eq!(method(Method::HEAD, "/b"), Some("HEAD"));
        assert_eq!(method(Method::OPTIONS, "/a"), None);
        assert_eq!(method(Method::from_bytes(b"Get").unwrap(), "/a"), None);
        assert_eq!(method(Method::GET, "/a/"), None);
        assert_eq!(method(Method::GET, "/A"), None);
        assert_eq!(contract.endpoints().count(), 4);
    }

    #[test]
    fn a_template_is_found_by_its_text_alone() {
        let contract = build([get("/a/{id}")]).unwrap();
        let found = |method, text| contract.find_template(&method, text).is_some();
        assert!(found(Method::GET, "/a/{id}"));
        assert!(found(Method::HEAD, "/a/{id}"));
        assert!(!found(Method::GET, "/a/{other}"));
        assert!(!found(Method::GET, "/a/7"));
        assert!(!found(Method::POST, "/a/{id}"));
    }

    #[test]
    fn methods_that_are_always_refused_and_bad_templates_name_the_endpoint() {
        let grpc = |path: &str| Endpoint::grpc(path).scope("accounts:read".parse().unwrap());
        assert!(build([grpc("/a.v1.B/C")]).is_ok());
        for bad in ["/a", "/a/b/c", "/a.B/{method}", "/a.B/"] {
            assert!(build([grpc(bad)]).is_err(), "{bad}");
        }
        let trace = Endpoint::new(Method::TRACE, "/a").scope("accounts:read".parse().unwrap());
        assert_eq!(build([trace]).unwrap_err().subject(), "TRACE /a");
        assert_eq!(build([get("/a//b")]).unwrap_err().subject(), "GET /a//b");
    }

    #[test]
    fn a_scope_that_nobody_described_is_a_mistake() {
        let registry = |names: &[&str]| {
            ScopeRegistry::new(names.iter().map(|name| (name.parse().unwrap(), "")))
        };
        let contract = |names| {
            Contract::builder()
                .endpoint(get("/a"))
                .registry(registry(names))
        };
        let built = contract(&["accounts:read"]).build().unwrap();
        assert!(built.registry().is_some());
        assert_eq!(format!("{built:?}").matches("/a").count(), 1);
        let error = contract(&["accounts:raed"]).build().unwrap_err();
        assert_eq!(error.subject(), "GET /a");
    }
}
