//! From a document to its operations: where each stands, its whole template, its parameters.

use http::Method;

use super::error::{Faults, child};
use super::node::Node;
use super::overlaps;
use super::refs::follow;
use crate::target::MAX_TARGET;
use crate::template;

/// An operation of a document.
#[derive(Debug, Clone)]
pub(super) struct Operation<'d> {
    /// Its path as the document has it, and its method in the document's lower case.
    pub(super) path: &'d str,
    pub(super) key: &'d str,
    pub(super) at: String,
    pub(super) method: Method,
    /// The path with that of the servers before it.
    pub(super) template: String,
    pub(super) node: &'d Node,
    pub(super) parameters: Vec<Parameter<'d>>,
}

/// A parameter of an operation, its own or of all operations of the path.
#[derive(Debug, Clone)]
pub(super) struct Parameter<'d> {
    pub(super) place: &'d str,
    pub(super) name: &'d str,
    pub(super) node: &'d Node,
}

impl Parameter<'_> {
    pub(super) fn is_required(&self) -> bool {
        self.place == "path" || self.node.get("required") == Some(&Node::Bool(true))
    }
}

/// Every operation of the document whose template can be taken.
pub(super) fn operations<'d>(root: &'d Node, faults: &mut Faults) -> Vec<Operation<'d>> {
    let mut reader = Reader {
        root,
        faults,
        found: Vec::new(),
    };
    match root.get("paths").and_then(Node::as_map) {
        Some(paths) => {
            for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
                reader.item(path, item);
            }
            if reader.found.is_empty() && reader.faults.is_empty() {
                let advice = "there is no operation: a contract needs an endpoint";
                reader.faults.add::<()>("#/paths", advice);
            }
        }
        None => {
            let advice = "there are no paths: a contract needs an endpoint";
            reader.faults.add::<()>("#/paths", advice);
        }
    }
    let found = reader.found;
    overlaps::check(&found, faults);
    found
}

struct Reader<'d, 'f> {
    root: &'d Node,
    faults: &'f mut Faults,
    found: Vec<Operation<'d>>,
}

impl<'d> Reader<'d, '_> {
    fn item(&mut self, path: &'d str, item: &'d Node) {
        let at = child("#/paths", path);
        if item.get("$ref").is_some() && item.as_map().is_some_and(|map| map.len() > 1) {
            let advice = "what stands beside `$ref` would be passed over: move it to where the \
                          reference leads";
            self.faults.add::<()>(&at, advice);
            return;
        }
        let (item, at) = follow(self.root, item, &at);
        if item.as_map().is_none() {
            self.faults
                .add::<()>(&at, "a map from methods to operations");
            return;
        }
        for (key, node) in item.members() {
            let place = child(&at, key);
            match key {
                "get" | "put" | "post" | "delete" | "options" | "head" | "patch" => {
                    self.operation(path, key, item, node, place);
                }
                "trace" => {
                    let advice = "this method is refused for every target: leave it out";
                    self.faults.add::<()>(&place, advice);
                }
                "summary" | "description" | "servers" | "parameters" => {}
                _ if key.starts_with("x-countersign-") => {
                    let advice = "it belongs to an operation: put it into each of them";
                    self.faults.add::<()>(&place, advice);
                }
                _ if key.starts_with("x-") => {}
                _ => {
                    let advice = "there is no such member of a path: methods are written in lower \
                                  case, and other methods than those of OpenAPI can't be described";
                    self.faults.add::<()>(&place, advice);
                }
            }
        }
    }

    fn operation(
        &mut self,
        path: &'d str,
        key: &'d str,
        item: &'d Node,
        node: &'d Node,
        at: String,
    ) {
        if node.as_map().is_none() {
            self.faults.add::<()>(&at, "an operation is a map");
            return;
        }
        let Some(base) = self.base(item, node, &at) else {
            return;
        };
        let template = format!("{base}{path}");
        if let Err(problem) = template::check(&template) {
            self.faults.add::<()>(&at, format!("{template}: {problem}"));
            return;
        }
        if template.len() > MAX_TARGET {
            let advice = format!("no target of more than {MAX_TARGET} bytes is let in");
            self.faults.add::<()>(&at, advice);
            return;
        }
        if template.contains("{*") {
            let advice = format!("{template}: a document can't describe the rest of a path");
            self.faults.add::<()>(&at, advice);
            return;
        }
        if self.found.len() >= MAX_OPERATIONS {
            let advice = format!("a contract has {MAX_OPERATIONS} endpoints at most: divide it");
            self.faults.add::<()>(&at, advice);
            return;
        }
        let parameters = self.parameters(item, node, &at, &template);
        let method = Method::from_bytes(key.to_ascii_uppercase().as_bytes());
        self.found.push(Operation {
            path,
            key,
            method: method.expect("the seven names are methods"),
            template,
            node,
            parameters,
            at,
        });
    }

    /// The path that the servers have in common: what stands before every template.
    fn base(&mut self, item: &'d Node, operation: &'d Node, at: &str) -> Option<String> {
        let servers = [(operation, at), (item, at), (self.root, "#")]
            .into_iter()
            .find_map(|(node, at)| Some((node.get("servers")?.as_list()?, at)));
        let Some((servers, at)) = servers else {
            return Some(String::new());
        };
        let place = child(at, "servers");
        let mut base = None;
        for server in servers {
            let url = server.get("url").and_then(Node::as_text).unwrap_or("/");
            let Some(path) = path_of(url) else {
                let advice = "a server's address is `https://host/path` or `/path`, without \
                              variables in its path, a query or a fragment";
                return self.faults.add(&place, format!("`{url}`: {advice}"));
            };
            if base.is_some_and(|base| base != path) {
                let advice = "the servers have different paths, so an endpoint would have several \
                              templates: give all of them one path";
                return self.faults.add(&place, advice);
            }
            base = Some(path);
        }
        Some(base.unwrap_or_default().to_owned())
    }

    fn parameters(
        &mut self,
        item: &'d Node,
        operation: &'d Node,
        at: &str,
        template: &str,
    ) -> Vec<Parameter<'d>> {
        let mut all: Vec<Parameter<'d>> = Vec::new();
        for (node, own) in [(item, false), (operation, true)] {
            let list = node.get("parameters").and_then(Node::as_list);
            let before = all.len();
            for (index, node) in list.unwrap_or_default().iter().enumerate() {
                let place = if own {
                    format!("{at}/parameters/{index}")
                } else {
                    format!("{}/parameters/{index}", parent(at))
                };
                let Some(parameter) = self.parameter(node, &place) else {
                    continue;
                };
                let same =
                    |it: &Parameter<'_>| it.place == parameter.place && it.name == parameter.name;
                match all.iter().position(same) {
                    // An operation may replace what its path says.
                    Some(index) if own && index < before => all[index] = parameter,
                    Some(_) => {
                        self.faults
                            .add::<()>(&place, "this parameter stands here twice");
                    }
                    None => all.push(parameter),
                }
            }
        }
        self.check_names(&all, at, template);
        all
    }

    fn parameter(&mut self, node: &'d Node, at: &str) -> Option<Parameter<'d>> {
        let (node, at) = follow(self.root, node, at);
        let text = |name: &str| node.get(name).and_then(Node::as_text);
        match (text("in"), text("name")) {
            (Some(place @ ("path" | "query" | "header" | "cookie")), Some(name)) => {
                Some(Parameter { place, name, node })
            }
            _ => self.faults.add(
                &at,
                "a parameter has a `name` and is `in: path`, query, header or cookie",
            ),
        }
    }

    /// Placeholders and path parameters are the same names: a handler would wait for one that no
    /// template has.
    fn check_names(&mut self, parameters: &[Parameter<'_>], at: &str, template: &str) {
        let names: Vec<_> = template
            .split('/')
            .filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        let in_path = || parameters.iter().filter(|it| it.place == "path");
        for name in &names {
            if !in_path().any(|it| it.name == *name) {
                let advice = format!("the path has {{{name}}}: describe it among the parameters");
                self.faults.add::<()>(at, advice);
            }
        }
        for parameter in in_path().filter(|it| !names.contains(&it.name)) {
            let advice = format!(
                "the path has no {{{}}}: leave the parameter out, or correct its name",
                parameter.name
            );
            self.faults.add::<()>(at, advice);
        }
    }
}

pub(super) fn parent(at: &str) -> &str {
    at.rsplit_once('/').map_or(at, |(parent, _)| parent)
}

/// The path of a server's address, without a trailing slash.
fn path_of(url: &str) -> Option<&str> {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |start| &rest[start..]),
        None if url.starts_with('/') => url,
        None => return None,
    };
    let clear = !path.contains(['{', '}', '?', '#']) && !path.starts_with("//");
    clear.then(|| path.trim_end_matches('/'))
}

/// More than any platform opens to outside callers.
const MAX_OPERATIONS: usize = 10_000;
