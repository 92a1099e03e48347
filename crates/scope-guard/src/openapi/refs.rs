//! References: each must lead to a place of the same document, and to an end.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use percent_encoding::percent_decode_str;

use super::error::{Faults, child};
use super::node::Node;

/// Notes every `$ref` that leads out of the document, nowhere, or back to itself.
pub(super) fn check(root: &Node, faults: &mut Faults) {
    let mut walk = Walk {
        root,
        faults,
        seen: HashMap::new(),
        operations: None,
    };
    walk.object(root, "#");
}

/// As [`check`], and notes every link to an operation that the document does not have.
pub(super) fn check_published(root: &Node, faults: &mut Faults) {
    let mut operations = HashSet::new();
    operation_ids(root, &mut operations);
    let mut walk = Walk {
        root,
        faults,
        seen: HashMap::new(),
        operations: Some(operations),
    };
    walk.object(root, "#");
}

/// The ids of all operations; links name some as well, and data may look like anything.
fn operation_ids<'d>(node: &'d Node, ids: &mut HashSet<&'d str>) {
    for item in node.as_list().unwrap_or_default() {
        operation_ids(item, ids);
    }
    for (name, value) in node.members() {
        match (name, value.as_text()) {
            ("operationId", Some(id)) => {
                ids.insert(id);
            }
            ("links" | "example" | "examples" | "default" | "enum" | "const", _) => {}
            _ if name.starts_with("x-") => {}
            _ => operation_ids(value, ids),
        }
    }
}

/// What a reference stands for, followed to its end, and where that is. The document's references
/// were checked before.
pub(super) fn follow<'d>(root: &'d Node, mut node: &'d Node, at: &str) -> (&'d Node, String) {
    let mut place = at.to_owned();
    for _ in 0..MAX_STEPS {
        let Some(target) = node.get("$ref").and_then(Node::as_text) else {
            break;
        };
        let Some(found) = target_of(root, target) else {
            break;
        };
        (node, place) = (found, target.to_owned());
    }
    (node, place)
}

fn target_of<'d>(root: &'d Node, target: &str) -> Option<&'d Node> {
    let pointer = target.strip_prefix("#/")?;
    let steps: Option<Vec<_>> = pointer.split('/').map(step).collect();
    root.at(steps?.iter().map(|step| &**step))
}

fn step(text: &str) -> Option<Cow<'_, str>> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    if text.contains('~') {
        return Some(text.replace("~1", "/").replace("~0", "~").into());
    }
    Some(text)
}

struct Walk<'d, 'f> {
    root: &'d Node,
    faults: &'f mut Faults,
    /// Values that references pass through, by their address: whether all behind them is known.
    seen: HashMap<*const Node, bool>,
    /// The ids of the operations that links may lead to, where links are looked at.
    operations: Option<HashSet<&'d str>>,
}

impl<'d> Walk<'d, '_> {
    /// A value whose members have the names that `OpenAPI` gives them.
    fn object(&mut self, node: &'d Node, at: &str) {
        if let Some(list) = node.as_list() {
            for (index, item) in list.iter().enumerate() {
                self.object(item, &format!("{at}/{index}"));
            }
            return;
        }
        self.reference(node, at);
        for (name, value) in node.members() {
            let place = || child(at, name);
            match name {
                "$id" | "$anchor" | "$dynamicRef" | "$dynamicAnchor" | "$recursiveRef" => {
                    let advice = "only `$ref` with a place in this document is followed: use that";
                    self.faults.add::<()>(&place(), advice);
                }
                // Data, which may look like anything.
                "example" | "default" | "enum" | "const" => {}
                "examples" => {
                    for (name, example) in value.members() {
                        self.reference(example, &child(&place(), name));
                    }
                }
                _ if name.starts_with("x-") => {
                    if name.starts_with("x-countersign-") && !KNOWN.contains(&name) {
                        let advice = format!("there is no such extension; those are {KNOWN:?}");
                        self.faults.add::<()>(&place(), advice);
                    }
                }
                _ if NAMED.contains(&name) && value.as_map().is_some() => {
                    for (inner, item) in value.members() {
                        let place = child(&place(), inner);
                        if name == "links" {
                            self.link(item, &place);
                        }
                        self.object(item, &place);
                    }
                }
                _ => self.object(value, &place()),
            }
        }
    }

    /// A link may lead to another document; to this one only where there is an operation.
    fn link(&mut self, node: &'d Node, at: &str) {
        let Some(operations) = &self.operations else {
            return;
        };
        let text = |member: &str| node.get(member).and_then(Node::as_text);
        let lost_id = text("operationId").filter(|id| !operations.contains(id));
        let target = text("operationRef").filter(|target| target.starts_with('#'));
        let lost_target = target.filter(|target| target_of(self.root, target).is_none());
        for (member, lost) in [("operationId", lost_id), ("operationRef", lost_target)] {
            if let Some(lost) = lost {
                let advice = format!("`{lost}` is no operation that is open: leave the link out");
                self.faults.add::<()>(&child(at, member), advice);
            }
        }
    }

    fn reference(&mut self, node: &'d Node, at: &str) {
        let Some(target) = node.get("$ref") else {
            return;
        };
        let place = child(at, "$ref");
        let Some(target) = target.as_text() else {
            self.faults.add::<()>(&place, "a reference is a text");
            return;
        };
        if !target.starts_with("#/") {
            let advice = format!(
                "`{target}` leads out of this document, and nothing is ever fetched: put what it \
                 stands for under #/components and refer to that"
            );
            self.faults.add::<()>(&place, advice);
        } else if target_of(self.root, target).is_none() {
            self.faults
                .add::<()>(&place, format!("there is nothing at `{target}`"));
        } else if !self.ends(node, 0) {
            let advice = format!("`{target}` leads back here, or through too many others");
            self.faults.add::<()>(&place, advice);
        }
    }

    /// Whether following references, and schemas that stand for their parts, comes to an end. A
    /// schema may contain itself in a member; it may not *be* itself.
    fn ends(&mut self, node: &'d Node, steps: usize) -> bool {
        let address = std::ptr::from_ref(node);
        match self.seen.get(&address) {
            Some(known) => return *known,
            None if steps > MAX_STEPS => return false,
            None => self.seen.insert(address, false),
        };
        let target = node.get("$ref").and_then(Node::as_text);
        let target = target.and_then(|target| target_of(self.root, target));
        let parts = node.members().filter(|(name, _)| PARTS.contains(name));
        let parts = parts.flat_map(|(_, part)| match part {
            Node::List(list) => list.iter().collect(),
            part => vec![part],
        });
        let next: Vec<&Node> = target.into_iter().chain(parts).collect();
        let ends = next.into_iter().all(|node| self.ends(node, steps + 1));
        self.seen.insert(address, ends);
        ends
    }
}

const MAX_STEPS: usize = 100;

/// Keywords whose schemas apply to the very value that the schema describes.
const PARTS: &[&str] = &["allOf", "anyOf", "oneOf", "not", "if", "then", "else"];

/// Members that are maps from names of the author's own choice.
const NAMED: &[&str] = &[
    "$defs",
    "callbacks",
    "content",
    "definitions",
    "dependentSchemas",
    "encoding",
    "headers",
    "links",
    "mapping",
    "parameters",
    "pathItems",
    "paths",
    "patternProperties",
    "properties",
    "requestBodies",
    "responses",
    "schemas",
    "scopes",
    "securitySchemes",
    "variables",
    "webhooks",
];

/// Every extension that means something here.
pub(super) const KNOWN: &[&str] = &[
    "x-countersign-cost",
    "x-countersign-deprecation",
    "x-countersign-limit",
    "x-countersign-operation",
    "x-countersign-scope",
    "x-countersign-scopes",
    "x-countersign-sensitivity",
    "x-countersign-stage",
    "x-countersign-wildcards",
];
