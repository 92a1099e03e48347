//! What of two schemas is compared by no meaning of its own.

use super::node::Node;
use super::parts::{is_required, properties, required};
use super::same::Pairs;
use super::schema::{Direction, Schemas};

impl<'d> Schemas<'d, '_> {
    /// Keywords that are not understood here: whatever they say, it must be what they said, or be gone
    /// where they only held callers back.
    pub(super) fn others(&mut self, old: &[&'d Node], new: &[&'d Node], name: &str) {
        for keyword in unread(old, new) {
            let given = |parts: &[&'d Node]| {
                let all = parts.iter().filter_map(|part| part.get(keyword));
                all.collect::<Vec<_>>()
            };
            let (was, is) = (given(old), given(new));
            if self.is_same(&was, &is) {
                continue;
            }
            let is_wider = match self.direction {
                Direction::Request => is.is_empty(),
                Direction::Response => was.is_empty(),
            };
            // What was left out meant something before as well: a default that is told now is no other.
            let is_told = keyword == "default" && was.is_empty();
            let text = format!("{name}: its {keyword} is another one");
            match is_told || (is_wider && LIMITS.contains(&keyword)) {
                true => self.changes.harmless(text),
                false => self.changes.breaking(text),
            }
        }
    }

    /// Whether both say the same, whatever their references lead to.
    fn is_same(&self, old: &[&'d Node], new: &[&'d Node]) -> bool {
        let mut pairs = Pairs::new(self.old, self.new);
        old.len() == new.len()
            && old
                .iter()
                .zip(new)
                .all(|(old, new)| pairs.are_same(old, new))
    }

    /// Members that are no properties: those that are required all the same, and all others.
    pub(super) fn unlisted(&mut self, old: &[&'d Node], new: &[&'d Node], name: &str) {
        let (listed_before, listed) = (properties(old), properties(new));
        let is_listed = |member: &str| listed.contains(&member) || listed_before.contains(&member);
        let (whole, part) = match self.direction {
            Direction::Request => (old, new),
            Direction::Response => (new, old),
        };
        for member in required(part) {
            if !is_listed(member) && !is_required(whole, member) {
                let text = match self.direction {
                    Direction::Request => format!("{name}.{member} has become required"),
                    Direction::Response => format!("{name}.{member} may be absent"),
                };
                self.changes.breaking(text);
            }
        }
        self.additional(whole, part, name);
    }

    fn additional(&mut self, whole: &[&'d Node], part: &[&'d Node], name: &str) {
        let others = |parts: &[&'d Node]| {
            let all = parts.iter();
            let all = all.filter_map(|part| part.get("additionalProperties"));
            all.filter(|it| **it != Node::Bool(true))
                .collect::<Vec<_>>()
        };
        let (whole, part) = (others(whole), others(part));
        let is_closed = |all: &[&Node]| all.contains(&&Node::Bool(false));
        let is_same = match self.direction {
            Direction::Request => self.is_same(&whole, &part),
            Direction::Response => self.is_same(&part, &whole),
        };
        if part.is_empty() || is_closed(&whole) || is_same {
            return;
        }
        match (self.direction, is_closed(&part)) {
            // An answer may always get members that it did not have.
            (Direction::Response, true) => {}
            (Direction::Request, true) => {
                let text = format!("{name}: other members are not taken any more");
                self.changes.breaking(text);
            }
            (_, false) => {
                let text = format!("{name}: what its other members may be is another thing");
                self.changes.breaking(text);
            }
        }
    }
}

/// The keywords of either that are not compared by what they mean, each once.
fn unread<'d>(old: &[&'d Node], new: &[&'d Node]) -> Vec<&'d str> {
    let mut keywords = Vec::new();
    for (keyword, value) in old.iter().chain(new).flat_map(|part| part.members()) {
        // In OpenAPI 3.0 these are true or false, and say how `maximum` and `minimum` are meant.
        let is_flag = keyword.starts_with("exclusive") && matches!(value, Node::Bool(_));
        let is_read = !is_flag && (READ.contains(&keyword) || TOLD.contains(&keyword));
        if !is_read && !keyword.starts_with("x-") && !keywords.contains(&keyword) {
            keywords.push(keyword);
        }
    }
    keywords
}

/// Keywords that are compared by what they mean.
const READ: [&str; 23] = [
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "nullable",
    "oneOf",
    "properties",
    "required",
    "type",
];

/// Keywords that say something to readers alone.
const TOLD: [&str; 12] = [
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "definitions",
    "deprecated",
    "description",
    "example",
    "examples",
    "externalDocs",
    "title",
];

/// Keywords without which more is taken.
const LIMITS: [&str; 7] = [
    "dependentRequired",
    "dependentSchemas",
    "multipleOf",
    "not",
    "pattern",
    "propertyNames",
    "uniqueItems",
];
