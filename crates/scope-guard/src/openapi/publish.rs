//! The document that outside callers get: the open endpoints, and every answer that they can meet.

use std::collections::HashSet;

use countersign_core::{Endpoint, Stage};

use super::error::{DocumentError, Faults};
use super::node::{Map, Node, map};
use super::read::Operation;
use super::refs::{self, follow};
use super::refusals::{self, REFUSALS};
use super::{OpenApi, Version, closed, describe};

impl OpenApi {
    /// The document to publish: without endpoints that are drafts or retired and what only they
    /// use, without scopes that no other endpoint asks for, with the answers of the layers (refusals, their header fields and those of allowed
    /// requests), with `deprecated` and `security` where only extensions said so. Its contract is
    /// the open part of this one's. Publishing twice changes nothing more.
    ///
    /// # Errors
    /// As [`OpenApi::contract`], when what is left refers to what was closed (a link too, by
    /// `operationRef` or `operationId`), and when no endpoint is open.
    pub fn published(&self) -> Result<Self, DocumentError> {
        self.contract()?;
        let mut faults = Faults::default();
        let all = self.operations(&mut faults);
        let mut root = self.root.clone();
        let members = root.as_map_mut().expect("a document is a map");
        members.insert("paths".to_owned(), Node::Map(self.open_paths(&all)));
        closed::leave_out(members, &all);
        add_components(members);
        prune(&mut root);
        if !all.iter().any(|(_, endpoint)| endpoint.stage().is_open()) {
            let advice = "no endpoint is open: there is nothing to publish";
            faults.add::<()>("#/paths", advice);
        }
        refs::check_published(&root, &mut faults);
        faults.into_result(&self.name)?;
        Ok(Self {
            name: self.name.clone(),
            version: self.version,
            root,
        })
    }

    fn open_paths(&self, all: &[(Operation<'_>, Endpoint)]) -> Map {
        let mut paths = Map::new();
        for (operation, endpoint) in all.iter().filter(|(_, e)| e.stage().is_open()) {
            let item = paths
                .entry(operation.path.to_owned())
                .or_insert_with(|| self.item_without_operations(operation.path));
            let node = self.published_operation(operation, endpoint);
            item.as_map_mut()
                .expect("an item with an operation is a map")
                .insert(operation.key.to_owned(), node);
        }
        paths
    }

    fn item_without_operations(&self, path: &str) -> Node {
        let paths = self.root.get("paths");
        let item = paths.and_then(|paths| paths.get(path));
        let item = item.map(|item| follow(&self.root, item, "#").0);
        let members = item.into_iter().flat_map(Node::members);
        let shared = members.filter(|(name, _)| {
            matches!(*name, "summary" | "description" | "servers" | "parameters")
                || name.starts_with("x-")
        });
        map(shared.map(|(name, node)| (name, node.clone())))
    }

    fn published_operation(&self, operation: &Operation<'_>, endpoint: &Endpoint) -> Node {
        let mut node = operation.node.clone();
        let members = node.as_map_mut().expect("an operation is a map");
        if endpoint.stage() == Stage::Deprecated {
            members.insert("deprecated".to_owned(), true.into());
        }
        let says_security = members.contains_key("security");
        if let Some(rule) = endpoint.required_scopes()
            && !says_security
            && self.root.get("security").is_none()
        {
            let security = match self.version {
                Version::V31 => describe::security(rule),
                // Scopes of these schemes can't be said in 3.0: the extension says them.
                Version::V30 => SCHEMES
                    .iter()
                    .map(|scheme| map([(*scheme, Node::List(Vec::new()))]))
                    .collect(),
            };
            members.insert("security".to_owned(), security);
        }
        let responses = members.shift_remove("responses");
        let responses = self.responses(responses.as_ref(), endpoint);
        members.insert("responses".to_owned(), responses);
        node
    }

    fn responses(&self, own: Option<&Node>, endpoint: &Endpoint) -> Node {
        let mut all = Map::new();
        for (status, response) in own.into_iter().flat_map(Node::members) {
            // What was published before stays as it is.
            if REFUSALS
                .iter()
                .any(|(_, name, ..)| *response == answer(name))
            {
                continue;
            }
            let (response, _) = follow(&self.root, response, "#");
            let mut response = response.clone();
            if let Some(members) = response.as_map_mut() {
                let fields = members.entry("headers".to_owned());
                let fields = fields.or_insert_with(|| Node::Map(Map::new()));
                add_fields(fields, endpoint.stage() == Stage::Deprecated);
            }
            all.insert(status.to_owned(), response);
        }
        for (status, name, ..) in REFUSALS {
            all.entry(status.to_owned()).or_insert_with(|| answer(name));
        }
        Node::Map(all)
    }
}

fn answer(name: &str) -> Node {
    refusals::reference("responses", name)
}

fn add_fields(fields: &mut Node, is_deprecated: bool) {
    let Some(fields) = fields.as_map_mut() else {
        return;
    };
    for (name, field) in refusals::fields(is_deprecated) {
        // Field names have no case (RFC 9110, section 5.1).
        if !fields.keys().any(|known| known.eq_ignore_ascii_case(name)) {
            fields.insert(name.to_owned(), field);
        }
    }
}

fn add_components(root: &mut Map) {
    let components = root.entry("components".to_owned());
    let components = components.or_insert_with(|| Node::Map(Map::new()));
    let Some(components) = components.as_map_mut() else {
        return;
    };
    let Node::Map(schemes) = schemes() else {
        return;
    };
    let shared = refusals::components().into_iter();
    for (group, members) in shared.chain([("securitySchemes", schemes)]) {
        let group = components.entry(group.to_owned());
        let group = group.or_insert_with(|| Node::Map(Map::new()));
        if let Some(group) = group.as_map_mut() {
            group.extend(members);
        }
    }
}

/// Leaves out components that nothing refers to: they may tell of endpoints that are closed.
fn prune(root: &mut Node) {
    let mut used = HashSet::new();
    for (name, node) in root.members() {
        if name != "components" {
            collect(node, &mut used);
        }
    }
    loop {
        let mut more = HashSet::new();
        for (group, members) in root.get("components").into_iter().flat_map(Node::members) {
            for (name, node) in members.members() {
                if used.contains(&place(group, name)) {
                    collect(node, &mut more);
                }
            }
        }
        let before = used.len();
        used.extend(more);
        if used.len() == before {
            break;
        }
    }
    let components = root.as_map_mut().and_then(|all| all.get_mut("components"));
    let Some(components) = components.and_then(Node::as_map_mut) else {
        return;
    };
    for (group, members) in components.iter_mut() {
        if let Some(members) = members.as_map_mut() {
            members.retain(|name, _| used.contains(&place(group, name)));
        }
    }
    components.retain(|_, group| group.as_map().is_none_or(|group| !group.is_empty()));
}

/// Every place among the components that something names: references, the schemes of `security`,
/// and the mappings of discriminators, which may be bare names.
fn collect(node: &Node, used: &mut HashSet<String>) {
    match node {
        Node::Text(text) => {
            if let Some(rest) = text.strip_prefix("#/components/") {
                let steps: Vec<_> = rest.splitn(3, '/').take(2).collect();
                used.insert(steps.join("/"));
            }
        }
        Node::List(list) => list.iter().for_each(|node| collect(node, used)),
        Node::Map(members) => {
            for (name, node) in members {
                if name == "security" {
                    let asked = node.as_list().unwrap_or_default().iter();
                    let names = asked.flat_map(Node::members).map(|(name, _)| name);
                    used.extend(names.map(|name| place("securitySchemes", name)));
                }
                if name == "mapping" {
                    let names = node.members().filter_map(|(_, name)| name.as_text());
                    used.extend(names.map(|name| place("schemas", name)));
                }
                collect(node, used);
            }
        }
        Node::Null | Node::Bool(_) | Node::Number(_) => {}
    }
}

fn place(group: &str, name: &str) -> String {
    format!("{group}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The schemes by which the layers read a key.
pub(super) fn schemes() -> Node {
    let [key, bearer] = SCHEMES;
    let text = |members: &[(&'static str, &'static str)]| {
        map(members
            .iter()
            .map(|(name, text)| (*name, Node::from(*text))))
    };
    map([
        (
            key,
            text(&[("type", "apiKey"), ("in", "header"), ("name", "X-Api-Key")]),
        ),
        (bearer, text(&[("type", "http"), ("scheme", "bearer")])),
    ])
}

pub(super) const SCHEMES: [&str; 2] = ["countersignKey", "countersignBearer"];
