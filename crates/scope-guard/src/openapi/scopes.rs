//! Which scopes an operation asks for: `security`, `x-countersign-scope`, and the document's list
//! of scopes.

use countersign_core::{RequiredScopes, Scope};

use super::Version;
use super::error::{Faults, child};
use super::node::{Node, map};
use super::refs::follow;
use crate::ScopeRegistry;

pub(super) struct Scopes<'d> {
    root: &'d Node,
    version: Version,
    registry: Option<ScopeRegistry>,
}

impl<'d> Scopes<'d> {
    pub(super) fn read(root: &'d Node, version: Version, faults: &mut Faults) -> Self {
        let registry = registry(root, faults);
        Self {
            root,
            version,
            registry,
        }
    }

    pub(super) fn into_registry(self) -> Option<ScopeRegistry> {
        self.registry
    }

    /// What `operation` asks for. Where it says so twice, both must say the same.
    pub(super) fn of(
        &self,
        operation: &Node,
        at: &str,
        faults: &mut Faults,
    ) -> Option<RequiredScopes> {
        let (security, place) = match operation.get("security") {
            Some(security) => (Some(security), child(at, "security")),
            None => (self.root.get("security"), "#/security".to_owned()),
        };
        let declared = match security {
            Some(security) => self.security(security, &place, faults)?,
            None => None,
        };
        let extended = match operation.get(SCOPE) {
            Some(node) => Some(extension(node, &child(at, SCOPE), faults)?),
            None => None,
        };
        let rule = match (declared, extended) {
            (None, None) => return faults.add(at, NO_SCOPE),
            (Some(declared), Some(extended)) if !is_same(&declared, &extended) => {
                let advice = format!(
                    "it says {extended}, and `security` says {declared}: say it once, or the same"
                );
                return faults.add(&child(at, SCOPE), advice);
            }
            (Some(rule), _) | (None, Some(rule)) => rule,
        };
        self.known(rule, at, faults)
    }

    fn known(&self, rule: RequiredScopes, at: &str, faults: &mut Faults) -> Option<RequiredScopes> {
        let unknown = self.registry.as_ref().and_then(|registry| {
            let mut scopes = rule.scopes();
            scopes.find(|scope| !registry.contains(*scope))
        });
        match unknown {
            None => Some(rule),
            Some(scope) => faults.add(
                at,
                format!(
                    "the scope {scope} is not in the document's list: describe it under \
                     #/{REGISTRY}, or correct it"
                ),
            ),
        }
    }

    /// `None` where something is wrong, `Some(None)` where credentials are asked for and no scope.
    #[expect(clippy::option_option, reason = "a fault, no scope, scopes")]
    fn security(
        &self,
        security: &Node,
        at: &str,
        faults: &mut Faults,
    ) -> Option<Option<RequiredScopes>> {
        let Some(alternatives) = security.as_list() else {
            return faults.add(at, "security is a list of alternatives");
        };
        if alternatives.is_empty() {
            return faults.add(at, format!("an empty list lets everybody in; {NO_SCOPE}"));
        }
        let mut rule: Vec<Vec<Scope>> = Vec::new();
        for (index, alternative) in alternatives.iter().enumerate() {
            let at = format!("{at}/{index}");
            if alternative.as_map().is_none_or(|map| map.is_empty()) {
                return faults.add(
                    &at,
                    "an alternative that asks for nothing lets everybody in: leave it out",
                );
            }
            rule.push(self.alternative(alternative, &at, faults)?);
        }
        if rule.iter().all(Vec::is_empty) {
            return Some(None);
        }
        let rule = RequiredScopes::any(rule);
        if rule.is_none() {
            faults.add::<()>(
                at,
                "one alternative names a scope and another one none, so everybody with a key would \
                 pass: name scopes in each",
            );
        }
        rule.map(Some)
    }

    fn alternative(&self, node: &Node, at: &str, faults: &mut Faults) -> Option<Vec<Scope>> {
        let mut scopes = Vec::new();
        for (name, asked) in node.members() {
            let at = child(at, name);
            let takes_scopes = self.scheme(name, &at, faults)?;
            let Some(asked) = asked.as_list() else {
                return faults.add(&at, "a list of scopes, `[]` where there are none");
            };
            if !takes_scopes && !asked.is_empty() {
                return faults.add(
                    &at,
                    "OpenAPI 3.0 has scopes only for oauth2 and openIdConnect: write `[]` here and \
                     x-countersign-scope at the operation, or make the document one of 3.1",
                );
            }
            for scope in asked {
                scopes.push(parse(scope, &at, faults)?);
            }
        }
        Some(scopes)
    }

    /// Whether a scheme of this name may be given scopes. Those by which no key ever gets here are
    /// faults: who reads the document would be refused.
    fn scheme(&self, name: &str, at: &str, faults: &mut Faults) -> Option<bool> {
        let place = child("#/components/securitySchemes", name);
        let components = self.root.get("components");
        let schemes = components.and_then(|all| all.get("securitySchemes"));
        let Some(scheme) = schemes.and_then(|all| all.get(name)) else {
            return faults.add(
                at,
                format!("there is no such scheme: describe it at {place}"),
            );
        };
        let (scheme, place) = follow(self.root, scheme, &place);
        let text = |member: &str| scheme.get(member).and_then(Node::as_text);
        let is = |member: &str, wanted: &str| {
            text(member).is_some_and(|given| given.eq_ignore_ascii_case(wanted))
        };
        let read = match text("type") {
            Some("apiKey") => is("in", "header") && is("name", "x-api-key"),
            Some("http") => is("scheme", "bearer"),
            Some("oauth2" | "openIdConnect" | "mutualTLS") => true,
            _ => false,
        };
        if !read {
            let advice = "keys are read from `X-Api-Key` (type: apiKey, in: header, name: \
                          X-Api-Key) and `Authorization: Bearer` (type: http, scheme: bearer), \
                          never from a query or a cookie";
            return faults.add(&place, advice);
        }
        let has_scopes = matches!(text("type"), Some("oauth2" | "openIdConnect"));
        Some(has_scopes || self.version == Version::V31)
    }
}

/// `accounts:read`, `{allOf: […]}` or `{anyOf: [accounts:admin, {allOf: […]}]}`.
fn extension(node: &Node, at: &str, faults: &mut Faults) -> Option<RequiredScopes> {
    let alternatives = match node.get("anyOf").and_then(Node::as_list) {
        Some(any) if has_one_member(node) => any,
        _ => std::slice::from_ref(node),
    };
    let mut rule = Vec::new();
    for alternative in alternatives {
        let scopes = match alternative.get("allOf").and_then(Node::as_list) {
            Some(all) if has_one_member(alternative) => all,
            _ => std::slice::from_ref(alternative),
        };
        let scopes = scopes.iter().map(|scope| parse(scope, at, faults));
        rule.push(scopes.collect::<Option<Vec<_>>>()?);
    }
    let advice = "there must be a scope in it, and in each of several alternatives";
    RequiredScopes::any(rule).or_else(|| faults.add(at, advice))
}

fn has_one_member(node: &Node) -> bool {
    node.as_map().is_some_and(|map| map.len() == 1)
}

fn parse(node: &Node, at: &str, faults: &mut Faults) -> Option<Scope> {
    let Some(text) = node.as_text() else {
        let advice = "a scope, `{allOf: […]}` of scopes, or `{anyOf: […]}` of either";
        return faults.add(at, advice);
    };
    text.parse::<Scope>()
        .map_err(|error| faults.add::<()>(at, format!("`{text}` is {error}")))
        .ok()
}

fn is_same(a: &RequiredScopes, b: &RequiredScopes) -> bool {
    let within = |a: &RequiredScopes, b: &RequiredScopes| {
        a.alternatives().all(|one| {
            b.alternatives()
                .any(|other| one.len() == other.len() && one.iter().all(|s| other.contains(s)))
        })
    };
    within(a, b) && within(b, a)
}

/// The scopes that the document describes: in its own list, and in the flows of `OAuth`.
fn registry(root: &Node, faults: &mut Faults) -> Option<ScopeRegistry> {
    let mut described = Vec::new();
    let components = root.get("components");
    let schemes = components.and_then(|all| all.get("securitySchemes"));
    for (name, scheme) in schemes.into_iter().flat_map(Node::members) {
        let place = child("#/components/securitySchemes", name);
        let (scheme, place) = follow(root, scheme, &place);
        for (flow, node) in scheme.get("flows").into_iter().flat_map(Node::members) {
            let place = child(&child(&place, "flows"), flow);
            if let Some(scopes) = node.get("scopes") {
                describe(scopes, &child(&place, "scopes"), &mut described, faults);
            }
        }
    }
    let own = root.get(REGISTRY);
    if let Some(scopes) = own {
        describe(scopes, &child("#", REGISTRY), &mut described, faults);
    }
    let wildcards = match root.get(WILDCARDS) {
        None | Some(Node::Bool(false)) => false,
        Some(Node::Bool(true)) => true,
        Some(_) => {
            faults.add::<()>(&child("#", WILDCARDS), "it is true or false");
            false
        }
    };
    if own.is_none() && described.is_empty() {
        if wildcards {
            let advice =
                format!("wildcards stand for scopes of a list: describe them at #/{REGISTRY}");
            faults.add::<()>(&child("#", WILDCARDS), advice);
        }
        return None;
    }
    let registry = ScopeRegistry::new(described);
    Some(if wildcards {
        registry.with_wildcards()
    } else {
        registry
    })
}

fn describe(scopes: &Node, at: &str, described: &mut Vec<(Scope, String)>, faults: &mut Faults) {
    if scopes.as_map().is_none() {
        faults.add::<()>(at, "a map from scopes to what each of them allows");
    }
    for (name, text) in scopes.members() {
        let at = child(at, name);
        let scope = parse(&name.into(), &at, faults);
        let text = text.as_text().filter(|text| !text.trim().is_empty());
        match (scope, text) {
            (Some(scope), Some(text)) => described.push((scope, text.to_owned())),
            (Some(_), None) => {
                faults.add::<()>(&at, "say in a sentence what the scope allows");
            }
            (None, _) => {}
        }
    }
}

/// The registry as the document's own list says it.
pub(super) fn describe_registry(registry: &ScopeRegistry) -> Node {
    let scopes = registry.iter();
    map(scopes.map(|(scope, text)| (scope.as_str(), text.into())))
}

pub(super) const SCOPE: &str = "x-countersign-scope";
pub(super) const REGISTRY: &str = "x-countersign-scopes";
pub(super) const WILDCARDS: &str = "x-countersign-wildcards";

const NO_SCOPE: &str =
    "it asks for no scope: give it `security` with scopes, or x-countersign-scope";
