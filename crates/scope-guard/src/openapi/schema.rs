//! What changed between two schemas of one value.

use std::collections::HashSet;

use super::changes::Changes;
use super::node::Node;
use super::parts::{Types, is_required, parts, properties, text, types, values};

/// Who writes the value that a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Callers do: what was taken must be taken still.
    Request,
    /// The service does: what it answers must be what was promised.
    Response,
}

/// A schema that takes every value.
pub(super) static ANYTHING: Node = Node::Bool(true);

pub(super) struct Schemas<'d, 'c> {
    pub(super) old: &'d Node,
    pub(super) new: &'d Node,
    pub(super) direction: Direction,
    pub(super) changes: &'c mut Changes,
    /// Pairs that are being compared or have been: a schema may contain itself.
    seen: HashSet<[Vec<*const Node>; 2]>,
}

impl<'d, 'c> Schemas<'d, 'c> {
    pub(super) fn new(
        old: &'d Node,
        new: &'d Node,
        direction: Direction,
        changes: &'c mut Changes,
    ) -> Self {
        Self {
            old,
            new,
            direction,
            changes,
            seen: HashSet::new(),
        }
    }

    pub(super) fn compare(&mut self, old: &'d Node, new: &'d Node, name: &str) {
        self.compare_all(&[old], &[new], name);
    }

    /// Compares values that several schemas describe at once.
    fn compare_all(&mut self, old: &[&'d Node], new: &[&'d Node], name: &str) {
        let (old_parts, new_parts) = (parts(self.old, old), parts(self.new, new));
        let pair = [&old_parts, &new_parts].map(|parts| {
            let places = parts.iter().map(|part| std::ptr::from_ref(*part));
            places.collect()
        });
        if !self.seen.insert(pair) {
            return;
        }
        self.nothing(&old_parts, &new_parts, name);
        self.types(&old_parts, &new_parts, name);
        self.values(&old_parts, &new_parts, name);
        self.bounds(&old_parts, &new_parts, name);
        self.others(&old_parts, &new_parts, name);
        self.members(&old_parts, &new_parts, name);
        self.alternatives(&old_parts, &new_parts, name);
        let items = |parts: &[&'d Node]| {
            let all = parts.iter().filter_map(|part| part.get("items"));
            all.collect::<Vec<_>>()
        };
        self.compare_all(&items(&old_parts), &items(&new_parts), &format!("{name}[]"));
    }

    /// A schema that no value fits.
    fn nothing(&mut self, old: &[&'d Node], new: &[&'d Node], name: &str) {
        let [was, is] = [old, new].map(|parts| parts.contains(&&Node::Bool(false)));
        match (self.direction, was, is) {
            (Direction::Request, false, true) => {
                let text = format!("{name}: nothing is taken there any more");
                self.changes.breaking(text);
            }
            (Direction::Response, true, false) => {
                let text = format!("{name} may be there, which it never was");
                self.changes.breaking(text);
            }
            _ => {}
        }
    }

    fn types(&mut self, old: &[&'d Node], new: &[&'d Node], name: &str) {
        let (was, is) = (types(old), types(new));
        let within = |some: &Types<'_>, all: &Types<'_>| match (some, all) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(some), Some(all)) => some
                .iter()
                .all(|it| all.contains(it) || (*it == "integer" && all.contains("number"))),
        };
        let fits = match self.direction {
            Direction::Request => within(&was, &is),
            Direction::Response => within(&is, &was),
        };
        if !fits {
            let text = |types: Types<'_>| {
                types.map_or_else(
                    || "anything".to_owned(),
                    |types| {
                        let mut names: Vec<_> = types.into_iter().collect();
                        names.sort_unstable();
                        names.join(" or ")
                    },
                )
            };
            let change = format!("{name}: its type was {} and is {}", text(was), text(is));
            self.changes.breaking(change);
        }
        let (was, is) = (text(old, "format"), text(new, "format"));
        if was != is && (self.direction == Direction::Request || was.is_some()) {
            let text = |format: Option<&str>| format.unwrap_or("none").to_owned();
            let change = format!("{name}: its format was {} and is {}", text(was), text(is));
            match (self.direction, is) {
                (Direction::Request, None) => self.changes.harmless(change),
                _ => self.changes.breaking(change),
            }
        }
    }

    fn values(&mut self, old: &[&'d Node], new: &[&'d Node], name: &str) {
        let (was, is) = (values(old), values(new));
        let lacks = |some: &[&'d Node], all: Option<&[&'d Node]>| {
            let missing = some
                .iter()
                .find(|value| !all.is_none_or(|all| all.contains(value)));
            missing.map(|value| serde_json::to_string(value).unwrap_or_default())
        };
        match (self.direction, was, is) {
            (Direction::Request, None, Some(_)) => {
                let text = format!("{name}: only some values are taken any more");
                self.changes.breaking(text);
            }
            (Direction::Request, Some(was), is) => {
                if let Some(value) = lacks(&was, is.as_deref()) {
                    let text = format!("{name}: the value {value} is not taken any more");
                    self.changes.breaking(text);
                }
            }
            (Direction::Response, Some(_), None) => {
                let text = format!("{name}: it may have other values than before");
                self.changes.breaking(text);
            }
            (Direction::Response, was, Some(is)) => {
                if let Some(value) = lacks(&is, was.as_deref()) {
                    let text = format!("{name}: it may be {value}, which it never was");
                    self.changes.breaking(text);
                }
            }
            (_, None, None) => {}
        }
    }

    /// Lengths and sizes: what callers send must be taken still, and what they get must be within what
    /// was promised.
    fn bounds(&mut self, old: &[&'d Node], new: &[&'d Node], name: &str) {
        for (bound, is_upper) in BOUNDS {
            let (was, is) = (number(old, bound, is_upper), number(new, bound, is_upper));
            let (whole, part) = match self.direction {
                Direction::Request => (was, is),
                Direction::Response => (is, was),
            };
            let is_tighter = match (whole, part) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(whole), Some(part)) if is_upper => part < whole,
                (Some(whole), Some(part)) => part > whole,
            };
            if is_tighter {
                let text = match self.direction {
                    Direction::Request => format!("{name}: its {bound} takes less than before"),
                    Direction::Response => format!("{name}: its {bound} promises less than before"),
                };
                self.changes.breaking(text);
            }
        }
    }

    fn members(&mut self, old: &[&'d Node], new: &[&'d Node], name: &str) {
        let find = |parts: &[&'d Node], member: &str| {
            let all = parts.iter().filter_map(|part| part.get("properties"));
            let found = all.filter_map(|properties| properties.get(member));
            found.collect::<Vec<_>>()
        };
        for member in properties(old) {
            let inner = format!("{name}.{member}");
            let (was, is) = (find(old, member), find(new, member));
            if is.is_empty() {
                self.changes.breaking(format!("{inner} is gone"));
                continue;
            }
            match (
                is_required(old, member),
                is_required(new, member),
                self.direction,
            ) {
                (false, true, Direction::Request) => {
                    self.changes
                        .breaking(format!("{inner} has become required"));
                }
                (true, false, Direction::Response) => {
                    self.changes.breaking(format!("{inner} may be absent"));
                }
                _ => {}
            }
            self.compare_all(&was, &is, &inner);
        }
        for member in properties(new) {
            if !find(old, member).is_empty() {
                continue;
            }
            if self.direction == Direction::Request && is_required(new, member) {
                let text = format!("{name}.{member} is new and required");
                self.changes.breaking(text);
            } else {
                self.changes.harmless(format!("{name}.{member} is new"));
            }
        }
        self.unlisted(old, new, name);
    }

    /// Alternatives are compared in their order.
    fn alternatives(&mut self, old: &[&'d Node], new: &[&'d Node], name: &str) {
        for keyword in ["oneOf", "anyOf"] {
            let list = |parts: &[&'d Node]| {
                let mut all = parts.iter();
                all.find_map(|part| part.get(keyword)?.as_list())
            };
            let (was, is) = (list(old), list(new));
            let lost = match (was, is, self.direction) {
                (None, None, _) => false,
                (Some(was), Some(is), Direction::Request) => is.len() < was.len(),
                (Some(was), Some(is), Direction::Response) => is.len() > was.len(),
                (None, Some(_), Direction::Request) | (Some(_), None, Direction::Response) => true,
                _ => false,
            };
            if lost {
                let text = format!("{name}: the alternatives are others");
                self.changes.breaking(text);
            }
            for (was, is) in was.into_iter().flatten().zip(is.into_iter().flatten()) {
                self.compare(was, is, name);
            }
        }
    }
}

/// The tightest of the bounds that hold at once.
fn number(parts: &[&Node], bound: &str, is_upper: bool) -> Option<f64> {
    let given = parts.iter().filter_map(|part| match part.get(bound) {
        Some(Node::Number(number)) => number.as_f64(),
        _ => None,
    });
    given.reduce(if is_upper { f64::min } else { f64::max })
}

/// Keyword, and whether it is an upper bound.
const BOUNDS: [(&str, bool); 10] = [
    ("maxLength", true),
    ("maxItems", true),
    ("maxProperties", true),
    ("maximum", true),
    ("exclusiveMaximum", true),
    ("minLength", false),
    ("minItems", false),
    ("minProperties", false),
    ("minimum", false),
    ("exclusiveMinimum", false),
];
