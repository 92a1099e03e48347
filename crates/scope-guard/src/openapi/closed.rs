//! What a document tells of endpoints that are closed, outside of them.

use countersign_core::Endpoint;

use super::node::{Map, Node};
use super::read::Operation;
use super::scopes::REGISTRY;

/// Leaves out scopes that no open endpoint asks for, tags that closed ones alone have, and the
/// document's `security` where each open endpoint has its own.
pub(super) fn leave_out(root: &mut Map, all: &[(Operation<'_>, Endpoint)]) {
    let (open, closed): (Vec<_>, Vec<_>) = all.iter().partition(|(_, e)| e.stage().is_open());
    if open
        .iter()
        .all(|(operation, _)| operation.node.get("security").is_some())
    {
        root.shift_remove("security");
    }
    let rules = || {
        open.iter()
            .filter_map(|(_, endpoint)| endpoint.required_scopes())
    };
    let is_asked = |name: &str| {
        let mut scopes = rules().flat_map(|rule| rule.scopes());
        scopes.any(|scope| scope.as_str() == name)
    };
    if let Some(scopes) = root.get_mut(REGISTRY).and_then(Node::as_map_mut) {
        scopes.retain(|name, _| is_asked(name));
    }
    for scopes in flows(root) {
        scopes.retain(|name, _| is_asked(name));
    }
    if let Some(Node::List(tags)) = root.get_mut("tags") {
        tags.retain(|tag| {
            let name = tag.get("name");
            has_tag(&open, name) || !has_tag(&closed, name)
        });
    }
}

fn has_tag(all: &[&(Operation<'_>, Endpoint)], name: Option<&Node>) -> bool {
    let lists = all
        .iter()
        .filter_map(|(operation, _)| operation.node.get("tags")?.as_list());
    let mut tags = lists.flatten();
    tags.any(|tag| Some(tag) == name)
}

/// The scopes that flows of `OAuth` describe.
fn flows(root: &mut Map) -> impl Iterator<Item = &mut Map> {
    fn inside<'n>(node: Option<&'n mut Node>, name: &str) -> Option<&'n mut Map> {
        node?.as_map_mut()?.get_mut(name)?.as_map_mut()
    }
    let schemes = inside(root.get_mut("components"), "securitySchemes");
    let schemes = schemes.into_iter().flat_map(Map::values_mut);
    let flows = schemes.filter_map(|scheme| inside(Some(scheme), "flows"));
    let flows = flows.flat_map(Map::values_mut);
    flows.filter_map(|flow| inside(Some(flow), "scopes"))
}
