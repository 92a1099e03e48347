//! From a contract in code to a document.

use countersign_core::{ConfigError, Endpoint, RequiredScopes, Stage};

use super::node::{Map, Node, map};
use super::{OpenApi, Version, extension, publish, scopes};
use crate::Contract;

impl OpenApi {
    /// Describes a contract that was made in code. Bodies and answers are not known to it: they are
    /// the handlers' business, and may be added to the document. Reading the document gives the
    /// same contract.
    ///
    /// # Errors
    /// When an endpoint can't be described: it declares no scope, its template ends in the rest of
    /// a path, it is a gRPC method, its method is none of those of `OpenAPI`, or its limit is no rate that people write.
    pub fn describe(contract: &Contract, title: &str, version: &str) -> Result<Self, ConfigError> {
        let mut paths = Map::new();
        for endpoint in contract.endpoints() {
            let key = endpoint.method().as_str().to_ascii_lowercase();
            let operation = operation(endpoint).map_err(|problem| {
                let subject = format!("{} {}", endpoint.method(), endpoint.template());
                ConfigError::new(subject, problem)
            })?;
            let path = paths.entry(endpoint.template().to_owned());
            let item = path.or_insert_with(|| Node::Map(Map::new()));
            item.as_map_mut()
                .expect("paths hold nothing but maps")
                .insert(key, operation);
        }
        let info = map([("title", title.into()), ("version", version.into())]);
        let mut members = vec![("openapi", Node::from("3.1.0")), ("info", info)];
        if let Some(registry) = contract.registry() {
            members.push((scopes::REGISTRY, scopes::describe_registry(registry)));
            if registry.allows_wildcards() {
                members.push((scopes::WILDCARDS, true.into()));
            }
        }
        let components = map([("securitySchemes", publish::schemes())]);
        members.extend([("components", components), ("paths", Node::Map(paths))]);
        Ok(Self {
            name: title.into(),
            version: Version::V31,
            root: map(members),
        })
    }
}

fn operation(endpoint: &Endpoint) -> Result<Node, &'static str> {
    let method = endpoint.method().as_str();
    if !["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH"].contains(&method) {
        return Err("OpenAPI has no such method");
    }
    if endpoint.is_grpc() {
        return Err("a gRPC method is described by its protocol buffers, not by OpenAPI");
    }
    if endpoint.template().contains("{*") {
        return Err("a document can't describe the rest of a path");
    }
    let rule = endpoint
        .required_scopes()
        .ok_or("it declares no scope, and a document must say one")?;
    let parameters = endpoint
        .template()
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            map([
                ("name", name.into()),
                ("in", "path".into()),
                ("required", true.into()),
                ("schema", map([("type", "string".into())])),
            ])
        });
    let parameters: Vec<Node> = parameters.collect();
    let mut members = Vec::new();
    if !parameters.is_empty() {
        members.push(("parameters", Node::List(parameters)));
    }
    if endpoint.stage() == Stage::Deprecated {
        members.push(("deprecated", true.into()));
    }
    members.push(("security", security(rule)));
    members.extend(extension::describe(endpoint)?);
    let done = map([("description", "Done".into())]);
    members.push(("responses", map([("2XX", done)])));
    Ok(map(members))
}

/// The rule as `OpenAPI` 3.1 says it: a key in either of its places.
pub(super) fn security(rule: &RequiredScopes) -> Node {
    let alternatives = rule.alternatives().flat_map(|scopes| {
        publish::SCHEMES.map(|scheme| {
            let scopes: Node = scopes.iter().map(|scope| scope.as_str()).collect();
            map([(scheme, scopes)])
        })
    });
    Node::List(alternatives.collect())
}
