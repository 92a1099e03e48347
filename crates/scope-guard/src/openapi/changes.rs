//! What changed between two documents, and whether callers of the old one break.

use std::fmt;

use countersign_core::Endpoint;

use super::error::{DocumentError, Faults};
use super::node::Node;
use super::read::{Operation, Parameter};
use super::refs::follow;
use super::same::Pairs;
use super::schema::{Direction, Schemas};
use super::style::Style;
use super::{OpenApi, endpoints, schema};

/// One difference between two documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    endpoint: String,
    is_breaking: bool,
    text: String,
}

impl Change {
    /// The endpoint, such as `GET /v1/accounts`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Whether a caller that did what the old document said may meet what it did not expect.
    #[must_use]
    pub const fn is_breaking(&self) -> bool {
        self.is_breaking
    }

    /// What changed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_breaking { "breaking" } else { "ok" };
        write!(f, "{kind}: {}: {}", self.endpoint, self.text)
    }
}

impl OpenApi {
    /// What changed since `old`, endpoint by endpoint in the old document's order, then what is
    /// new. What is not open to callers in a document is not there for them.
    ///
    /// Breaking are: an endpoint or a member that is gone or has another type, a scope, cost or
    /// limit that lets less through, an answer that is gone or says what it did not say before, a
    /// parameter or member that has become required, a value that is not taken any more, a parameter
    /// that is written in another way, a sunset that comes earlier or is the first one of what was
    /// deprecated already. Where it can't be told, a change counts as breaking: of a schema's keywords
    /// that are not understood here, every one.
    ///
    /// # Errors
    /// As [`OpenApi::contract`], of either document.
    pub fn changes_since(&self, old: &Self) -> Result<Vec<Change>, DocumentError> {
        let (before, after) = (old.open()?, self.open()?);
        let mut changes = Changes::default();
        for (operation, endpoint) in &before {
            changes.endpoint = format!("{} {}", endpoint.method(), endpoint.template());
            let same = |(_, other): &&(_, Endpoint)| is_same_place(endpoint, other);
            let Some((new_operation, new)) = after.iter().find(same) else {
                changes.breaking("the endpoint is not open any more");
                continue;
            };
            endpoints::compare(endpoint, new, &mut changes);
            Comparison {
                old: &old.root,
                new: &self.root,
                changes: &mut changes,
            }
            .operations(operation, new_operation);
        }
        for (_, endpoint) in &after {
            if !before.iter().any(|(_, old)| is_same_place(old, endpoint)) {
                changes.endpoint = format!("{} {}", endpoint.method(), endpoint.template());
                changes.harmless(format!("a new endpoint ({})", endpoint.stage()));
            }
        }
        Ok(changes.found)
    }

    fn open(&self) -> Result<Vec<(Operation<'_>, Endpoint)>, DocumentError> {
        let mut faults = Faults::default();
        let mut all = self.operations(&mut faults);
        faults.into_result(&self.name)?;
        all.retain(|(_, endpoint)| endpoint.stage().is_open());
        Ok(all)
    }
}

/// Whether both are one endpoint for callers, who don't see the names of parameters.
fn is_same_place(a: &Endpoint, b: &Endpoint) -> bool {
    let shape = |segment: &str| {
        if segment.starts_with('{') {
            "{}".to_owned()
        } else {
            segment.to_owned()
        }
    };
    let shapes = |e: &Endpoint| e.template().split('/').map(shape).collect::<Vec<_>>();
    a.method() == b.method() && (a.template() == b.template() || shapes(a) == shapes(b))
}

/// Collects the changes of one endpoint after the other.
#[derive(Debug, Default)]
pub(super) struct Changes {
    endpoint: String,
    found: Vec<Change>,
}

impl Changes {
    pub(super) fn breaking(&mut self, text: impl Into<String>) {
        self.add(true, text.into());
    }

    pub(super) fn harmless(&mut self, text: impl Into<String>) {
        self.add(false, text.into());
    }

    fn add(&mut self, is_breaking: bool, text: String) {
        self.found.push(Change {
            endpoint: self.endpoint.clone(),
            is_breaking,
            text,
        });
    }
}

struct Comparison<'d, 'c> {
    old: &'d Node,
    new: &'d Node,
    changes: &'c mut Changes,
}

impl<'d> Comparison<'d, '_> {
    fn operations(&mut self, old: &Operation<'d>, new: &Operation<'d>) {
        self.parameters(old, new);
        self.bodies(old.node.get("requestBody"), new.node.get("requestBody"));
        self.responses(old.node.get("responses"), new.node.get("responses"));
    }

    fn parameters(&mut self, old: &Operation<'d>, new: &Operation<'d>) {
        let outside_path = |it: &&Parameter<'d>| it.place != "path";
        let same = |a: &Parameter<'_>, b: &Parameter<'_>| {
            let names = match a.place {
                "header" => a.name.eq_ignore_ascii_case(b.name),
                _ => a.name == b.name,
            };
            a.place == b.place && names
        };
        for was in old.parameters.iter().filter(outside_path) {
            let name = format!("{} parameter `{}`", was.place, was.name);
            match new.parameters.iter().find(|it| same(was, it)) {
                None => self.changes.breaking(format!("the {name} is gone")),
                Some(is) => {
                    if is.is_required() && !was.is_required() {
                        let text = format!("the {name} has become required");
                        self.changes.breaking(text);
                    }
                    self.parameter(was, is, &name);
                }
            }
        }
        for is in new.parameters.iter().filter(outside_path) {
            if old.parameters.iter().any(|was| same(was, is)) {
                continue;
            }
            let name = format!("{} parameter `{}`", is.place, is.name);
            if is.is_required() {
                self.changes.breaking(format!("a new required {name}"));
            } else {
                self.changes.harmless(format!("a new {name}"));
            }
        }
        // Callers don't see the names of what stands in the path, only their order.
        let in_path = |all: &Operation<'d>| {
            let names = all.template.split('/');
            let names = names.filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'));
            let find = |name| {
                let mut all = all.parameters.iter();
                all.find(|it| it.place == "path" && it.name == name)
            };
            names.filter_map(find).cloned().collect::<Vec<_>>()
        };
        for (was, is) in in_path(old).iter().zip(&in_path(new)) {
            self.parameter(was, is, "path parameter");
        }
    }

    fn parameter(&mut self, old: &Parameter<'d>, new: &Parameter<'d>, name: &str) {
        if Style::of(old.place, old.node) != Style::of(new.place, new.node) {
            let text = format!("{name}: it is written in another way");
            self.changes.breaking(text);
        }
        self.contents(old.node, new.node, Direction::Request, name);
        self.schemas(old.node, new.node, Direction::Request, name);
    }

    fn bodies(&mut self, old: Option<&'d Node>, new: Option<&'d Node>) {
        let is_required = |body: &Node| body.get("required") == Some(&Node::Bool(true));
        let old = old.map(|node| follow(self.old, node, "#").0);
        let new = new.map(|node| follow(self.new, node, "#").0);
        match (old, new) {
            (None, None) => {}
            (Some(_), None) => self.changes.breaking("no body is taken any more"),
            (None, Some(new)) if is_required(new) => {
                self.changes.breaking("a body has become required");
            }
            (None, Some(_)) => self.changes.harmless("a body may be sent"),
            (Some(old), Some(new)) => {
                if is_required(new) && !is_required(old) {
                    self.changes.breaking("a body has become required");
                }
                self.contents(old, new, Direction::Request, "the request's body");
            }
        }
    }

    fn responses(&mut self, old: Option<&'d Node>, new: Option<&'d Node>) {
        let find = |all: Option<&'d Node>, status: &str| {
            let range = format!("{}XX", &status[..1.min(status.len())]);
            let all = all?;
            let found = all.get(status).or_else(|| all.get(&range));
            found.or_else(|| all.get("default"))
        };
        for (status, was) in old.into_iter().flat_map(Node::members) {
            let kind = match status.as_bytes().first() {
                Some(b'4' | b'5') => "error",
                _ => "answer",
            };
            let name = format!("the {kind} {status}");
            match find(new, status) {
                None => self
                    .changes
                    .breaking(format!("{name} is gone or another one")),
                Some(is) => {
                    let was = follow(self.old, was, "#").0;
                    let is = follow(self.new, is, "#").0;
                    self.fields(was, is, &name);
                    self.contents(was, is, Direction::Response, &name);
                }
            }
        }
        for (status, _) in new.into_iter().flat_map(Node::members) {
            if find(old, status).is_none() {
                self.changes.harmless(format!("a new answer {status}"));
            }
        }
    }

    fn fields(&mut self, old: &'d Node, new: &'d Node, name: &str) {
        let fields = |node: &'d Node| node.get("headers").into_iter().flat_map(Node::members);
        for (field, was) in fields(old) {
            let mut all = fields(new);
            let is = all.find(|(other, _)| other.eq_ignore_ascii_case(field));
            match is {
                None => {
                    let text = format!("{name}: the header field {field} is gone");
                    self.changes.breaking(text);
                }
                Some((_, is)) => {
                    let was = follow(self.old, was, "#").0;
                    let is = follow(self.new, is, "#").0;
                    self.field(was, is, &format!("{name}: the header field {field}"));
                }
            }
        }
    }

    fn field(&mut self, old: &'d Node, new: &'d Node, name: &str) {
        let is_required = |field: &Node| field.get("required") == Some(&Node::Bool(true));
        if is_required(old) && !is_required(new) {
            self.changes.breaking(format!("{name} may be absent"));
        }
        if Style::of("header", old) != Style::of("header", new) {
            let text = format!("{name} is written in another way");
            self.changes.breaking(text);
        }
        self.contents(old, new, Direction::Response, name);
        self.schemas(old, new, Direction::Response, name);
    }

    fn contents(&mut self, old: &'d Node, new: &'d Node, direction: Direction, name: &str) {
        let new = new.get("content");
        for (media, was) in old.get("content").into_iter().flat_map(Node::members) {
            match new.and_then(|all| all.get(media)) {
                None => {
                    let text = format!("{name}: {media} is gone");
                    self.changes.breaking(text);
                }
                Some(is) => {
                    self.schemas(was, is, direction, name);
                    let [was, is] = [was, is].map(|it| it.get("encoding").unwrap_or(&Node::Null));
                    if !Pairs::new(self.old, self.new).are_same(was, is) {
                        let text = format!("{name}: the encoding of {media} is another one");
                        self.changes.breaking(text);
                    }
                }
            }
        }
    }

    fn schemas(&mut self, old: &'d Node, new: &'d Node, direction: Direction, name: &str) {
        let any = &schema::ANYTHING;
        let (old, new) = (
            old.get("schema").unwrap_or(any),
            new.get("schema").unwrap_or(any),
        );
        Schemas::new(self.old, self.new, direction, self.changes).compare(old, new, name);
    }
}
