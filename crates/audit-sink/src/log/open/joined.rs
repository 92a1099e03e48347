//! The tree of a log that is being opened, put together from its segments.

use std::path::Path;

use countersign_core::StoreError;

use super::{Edge, Head, corrupt};

/// The tree as it is put together, and what must be true of it.
pub(super) struct Tree<'a> {
    pub(super) edge: Edge,
    heads: Vec<&'a Head>,
    directory: &'a Path,
}

impl<'a> Tree<'a> {
    pub(super) fn new(heads: &'a [Head], directory: &'a Path) -> Self {
        Self {
            edge: Edge::default(),
            heads: heads.iter().collect(),
            directory,
        }
    }

    /// Adds a segment, of which also the hashes up to each of `marked` are known.
    pub(super) fn add(&mut self, segment: &Edge, marked: &[Edge]) -> Result<(), StoreError> {
        if segment.first() != self.edge.end() {
            let missing = self.edge.end();
            return Err(corrupt(
                self.directory,
                &format!("line {missing} is missing"),
            ));
        }
        for part in marked {
            let mut tree = self.edge.clone();
            tree.extend(part);
            self.check(&tree)?;
        }
        self.edge.extend(segment);
        self.check(&self.edge.clone())
    }

    /// Every head must have been met.
    pub(super) fn finish(&mut self) -> Result<(), StoreError> {
        self.check(&self.edge.clone())?;
        let Some(head) = self.heads.first() else {
            return Ok(());
        };
        let problem = format!(
            "truncated: a checkpoint says {}, the log has {}",
            head.size,
            self.edge.end()
        );
        Err(corrupt(self.directory, &problem))
    }

    fn check(&mut self, tree: &Edge) -> Result<(), StoreError> {
        let (met, rest): (Vec<&Head>, Vec<&Head>) = std::mem::take(&mut self.heads)
            .into_iter()
            .partition(|head| head.size == tree.end());
        self.heads = rest;
        let root = tree.root();
        if met.iter().all(|head| head.root == root) {
            return Ok(());
        }
        let problem = format!("root differs at size {}", tree.end());
        Err(corrupt(self.directory, &problem))
    }
}
