//! The schemas that describe one value together.

use std::collections::HashSet;

use super::node::Node;
use super::refs::follow;

/// Names of types, `None` where a value may have any.
pub(super) type Types<'d> = Option<HashSet<&'d str>>;

/// The schemas and everything that their `allOf` puts together.
pub(super) fn parts<'d>(root: &'d Node, schemas: &[&'d Node]) -> Vec<&'d Node> {
    let schemas = schemas.iter().map(|schema| follow(root, schema, "#").0);
    let mut parts: Vec<&Node> = schemas.collect();
    let mut next = 0;
    while next < parts.len() && parts.len() < MAX_PARTS {
        let all = parts[next].get("allOf").and_then(Node::as_list);
        let all = all.unwrap_or_default().iter();
        parts.extend(all.map(|part| follow(root, part, "#").0));
        next += 1;
    }
    parts
}

/// A member of the first schema that has it.
pub(super) fn text<'d>(parts: &[&'d Node], member: &str) -> Option<&'d str> {
    parts.iter().find_map(|part| part.get(member)?.as_text())
}

/// The types of the value, `None` where it may have any.
pub(super) fn types<'d>(parts: &[&'d Node]) -> Types<'d> {
    let mut types: Types<'d> = None;
    for part in parts {
        let own: HashSet<&str> = match part.get("type") {
            Some(Node::Text(one)) => HashSet::from([one.as_str()]),
            Some(Node::List(some)) => some.iter().filter_map(Node::as_text).collect(),
            _ => continue,
        };
        types = Some(match types {
            None => own,
            Some(known) => known.intersection(&own).copied().collect(),
        });
    }
    let nullable = |part: &&Node| part.get("nullable") == Some(&Node::Bool(true));
    if parts.iter().any(nullable)
        && let Some(types) = &mut types
    {
        types.insert("null");
    }
    types
}

/// The values that alone are meant, `None` where all are.
pub(super) fn values<'d>(parts: &[&'d Node]) -> Option<Vec<&'d Node>> {
    let mut values: Option<Vec<&Node>> = None;
    for part in parts {
        let own: Vec<&Node> = match (part.get("enum"), part.get("const")) {
            (Some(Node::List(some)), _) => some.iter().collect(),
            (_, Some(one)) => vec![one],
            _ => continue,
        };
        values = Some(match values {
            None => own,
            Some(known) => known.into_iter().filter(|it| own.contains(it)).collect(),
        });
    }
    values
}

/// The names of all properties, each once.
pub(super) fn properties<'d>(parts: &[&'d Node]) -> Vec<&'d str> {
    let all = parts.iter().filter_map(|part| part.get("properties"));
    let mut names = Vec::new();
    for (name, _) in all.flat_map(Node::members) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The names of the members that must be there.
pub(super) fn required<'d>(parts: &[&'d Node]) -> Vec<&'d str> {
    let all = parts
        .iter()
        .filter_map(|part| part.get("required")?.as_list());
    let mut names = Vec::new();
    for name in all.flatten().filter_map(Node::as_text) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

pub(super) fn is_required(parts: &[&Node], member: &str) -> bool {
    required(parts).contains(&member)
}

const MAX_PARTS: usize = 200;
