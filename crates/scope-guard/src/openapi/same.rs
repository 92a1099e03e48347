//! Whether parts of two documents say the same.

use std::collections::HashSet;

use super::node::Node;
use super::refs::follow;

/// Compares what references stand for, and not how they are written.
pub(super) struct Pairs<'d> {
    old: &'d Node,
    new: &'d Node,
    /// Pairs that are being compared or have been: a schema may contain itself.
    seen: HashSet<[*const Node; 2]>,
}

impl<'d> Pairs<'d> {
    pub(super) fn new(old: &'d Node, new: &'d Node) -> Self {
        Self {
            old,
            new,
            seen: HashSet::new(),
        }
    }

    pub(super) fn are_same(&mut self, old: &'d Node, new: &'d Node) -> bool {
        let (old, new) = (follow(self.old, old, "#").0, follow(self.new, new, "#").0);
        let pair = [old, new].map(std::ptr::from_ref);
        if !self.seen.insert(pair) {
            return true;
        }
        match (old, new) {
            (Node::List(old), Node::List(new)) => {
                let mut both = old.iter().zip(new);
                old.len() == new.len() && both.all(|(old, new)| self.are_same(old, new))
            }
            (Node::Map(old), Node::Map(new)) => {
                let mut all = old.iter();
                let is_in_both = |(name, old): (&String, &'d Node)| {
                    let new = new.get(name);
                    new.is_some_and(|new| self.are_same(old, new))
                };
                old.len() == new.len() && all.all(is_in_both)
            }
            _ => old == new,
        }
    }
}
