//! How parameters and fields are written.

use super::node::Node;

/// How a parameter or a field is written.
#[derive(Debug, PartialEq)]
pub(super) struct Style<'d> {
    name: &'d str,
    is_exploded: bool,
    is_reserved_allowed: bool,
    is_empty_allowed: bool,
    /// As a media type says, and not a style.
    has_content: bool,
}

impl<'d> Style<'d> {
    /// What is not said is as `OpenAPI` has it.
    pub(super) fn of(place: &str, node: &'d Node) -> Self {
        let usual = match place {
            "query" | "cookie" => "form",
            _ => "simple",
        };
        let name = node.get("style").and_then(Node::as_text).unwrap_or(usual);
        let is = |member: &str, usual: bool| match node.get(member) {
            Some(Node::Bool(given)) => *given,
            _ => usual,
        };
        Self {
            name,
            is_exploded: is("explode", name == "form"),
            is_reserved_allowed: is("allowReserved", false),
            is_empty_allowed: is("allowEmptyValue", false),
            has_content: node.get("content").is_some(),
        }
    }
}
