//! The Merkle tree of RFC 6962 §2.1 over the lines of a log, on `tlog_tiles`, which is named
//! nowhere else.

use std::collections::BTreeMap;

use tlog_tiles::HashReader;
use tlog_tiles::tlog::Error;

pub(crate) use tlog_tiles::Hash;

/// The hash of a leaf: of a line's exact bytes, without its newline.
pub(crate) fn leaf_hash(line: &[u8]) -> Hash {
    tlog_tiles::record_hash(line)
}

/// The complete subtrees that cover a range of leaves, from the left to the right. A range that
/// begins at 0 is a tree, and this is its edge: all that appending needs.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Edge {
    first: u64,
    end: u64,
    /// Each with its level: it has 2^level leaves.
    roots: Vec<(u8, Hash)>,
}

impl Edge {
    /// The empty range before leaf `first`.
    pub(crate) const fn at(first: u64) -> Self {
        Self {
            first,
            end: first,
            roots: Vec::new(),
        }
    }

    /// The range from `first` up to and without `end`, whose subtrees have these roots; `None`
    /// when that range has another number of them.
    pub(crate) fn of(first: u64, end: u64, roots: impl IntoIterator<Item = Hash>) -> Option<Self> {
        let mut edge = Self::at(first);
        for root in roots {
            let left = end.checked_sub(edge.end).filter(|left| *left > 0)?;
            let level = left.ilog2().min(edge.end.trailing_zeros()) as u8;
            edge.roots.push((level, root));
            edge.end += 1 << level;
        }
        (edge.end == end).then_some(edge)
    }

    /// The first leaf.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    /// The leaf after the last one. For a tree, how many leaves it has.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// The roots of the subtrees.
    pub(crate) fn roots(&self) -> impl Iterator<Item = Hash> {
        self.roots.iter().map(|(_, hash)| *hash)
    }

    /// Appends a leaf.
    pub(crate) fn push(&mut self, leaf: Hash) {
        self.push_subtree(0, leaf);
    }

    /// Appends the range that begins where this one ends.
    pub(crate) fn extend(&mut self, next: &Self) {
        debug_assert_eq!(self.end, next.first, "ranges that touch");
        for (level, root) in &next.roots {
            self.push_subtree(*level, *root);
        }
    }

    /// The root of the tree, for a range that is one.
    pub(crate) fn root(&self) -> Hash {
        let mut smallest_first = self.roots().collect::<Vec<_>>().into_iter().rev();
        let Some(smallest) = smallest_first.next() else {
            return tlog_tiles::EMPTY_HASH;
        };
        smallest_first.fold(smallest, |right, left| tlog_tiles::node_hash(left, right))
    }

    fn push_subtree(&mut self, mut level: u8, mut root: Hash) {
        self.end += 1 << level;
        // Two of a size make one of the next, where that one ends at a multiple of its own size.
        while let Some((left_level, left)) = self.roots.last().copied()
            && left_level == level
            && self.end.trailing_zeros() > u32::from(level)
        {
            self.roots.pop();
            root = tlog_tiles::node_hash(left, root);
            level += 1;
        }
        self.roots.push((level, root));
    }
}

/// Roots of complete subtrees. A root that was not put in is made of those below it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Nodes(BTreeMap<u64, Hash>);

/// A proof needs a subtree that was not put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash that the proof needs is not known")]
pub(crate) struct Missing;

impl Nodes {
    /// Puts in the subtrees of a range.
    pub(crate) fn insert_edge(&mut self, edge: &Edge) {
        let mut at = edge.first;
        for (level, root) in &edge.roots {
            self.insert(*level, at >> level, *root);
            at += 1 << level;
        }
    }

    /// Puts in the leaves from number `first` on.
    pub(crate) fn insert_leaves(&mut self, first: u64, leaves: &[Hash]) {
        for (number, leaf) in (first..).zip(leaves) {
            self.insert(0, number, *leaf);
        }
    }

    /// Puts in the root of subtree `number` of `level`.
    pub(crate) fn insert(&mut self, level: u8, number: u64, hash: Hash) {
        self.0
            .insert(tlog_tiles::stored_hash_index(level, number), hash);
    }

    /// The root of the tree of `size` leaves.
    #[allow(dead_code, reason = "the verifier's")]
    pub(crate) fn root(&self, size: u64) -> Result<Hash, Missing> {
        tlog_tiles::tree_hash(size, self).map_err(|_| Missing)
    }

    /// The path of RFC 6962 §2.1.1 from leaf `index` to the root of the tree of `size` leaves, the
    /// leaf's sibling first.
    pub(crate) fn prove_inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, Missing> {
        tlog_tiles::prove_record(size, index, self).map_err(|_| Missing)
    }

    /// The proof of RFC 6962 §2.1.2 that the tree of `new` leaves begins with that of `old`.
    #[allow(dead_code, reason = "the verifier's")]
    pub(crate) fn prove_consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, Missing> {
        if old == 0 {
            return Ok(Vec::new());
        }
        tlog_tiles::prove_tree(new, old, self).map_err(|_| Missing)
    }

    /// The root of a subtree, as it was put in or made of those below it.
    fn find(&self, level: u8, number: u64) -> Option<Hash> {
        let known = self.0.get(&tlog_tiles::stored_hash_index(level, number));
        known.copied().or_else(|| {
            let below = level.checked_sub(1)?;
            let left = self.find(below, 2 * number)?;
            Some(tlog_tiles::node_hash(
                left,
                self.find(below, 2 * number + 1)?,
            ))
        })
    }
}

impl HashReader for Nodes {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let find = |index: &u64| {
            let (level, number) = tlog_tiles::split_stored_hash_index(*index);
            self.find(level, number)
        };
        let found: Option<Vec<Hash>> = indexes.iter().map(find).collect();
        found.ok_or_else(|| Error::InvalidInput("unknown subtree".to_owned()))
    }
}

/// Whether `path` leads from `leaf`, number `index`, to `root`, the root of a tree of `size`.
pub(crate) fn check_inclusion(
    path: &Vec<Hash>,
    index: u64,
    leaf: Hash,
    size: u64,
    root: Hash,
) -> bool {
    tlog_tiles::check_record(path, size, root, index, leaf).is_ok()
}

/// Whether `proof` shows that the tree of `new` leaves with `new_root` begins with the one of
/// `old` leaves with `old_root`.
#[allow(dead_code, reason = "the verifier's")]
pub(crate) fn check_consistency(
    proof: &Vec<Hash>,
    (old, old_root): (u64, Hash),
    (new, new_root): (u64, Hash),
) -> bool {
    if old == 0 {
        return proof.is_empty() && old_root == tlog_tiles::EMPTY_HASH;
    }
    tlog_tiles::check_tree(proof, new, new_root, old, old_root).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digit).collect()
    }

    fn hash(text: &str) -> Hash {
        Hash(hex(text).try_into().unwrap())
    }

    /// The leaves that the Certificate Transparency project publishes with their roots.
    const LEAVES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];

    fn published() -> (Vec<Hash>, Nodes) {
        let mut edge = Edge::default();
        let mut roots = vec![edge.root()];
        let leaves = LEAVES.map(|leaf| leaf_hash(&hex(leaf)));
        for leaf in leaves {
            edge.push(leaf);
            roots.push(edge.root());
        }
        let mut nodes = Nodes::default();
        nodes.insert_leaves(0, &leaves);
        (roots, nodes)
    }

    #[test]
    fn gives_the_published_roots() {
        let (roots, nodes) = published();
        let expected = [
            (
                0,
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                1,
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            ),
            (
                7,
                "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            ),
            (
                8,
                "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
            ),
        ];
        for (size, root) in expected {
            assert_eq!(roots[size], hash(root), "{size}");
            assert_eq!(nodes.root(size as u64), Ok(hash(root)), "{size}");
        }
    }

    #[test]
    fn gives_the_published_proof() {
        let (roots, nodes) = published();
        let path = nodes.prove_inclusion(5, 8).unwrap();
        let expected = [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        assert_eq!(path, expected.map(hash));
        let leaf = leaf_hash(&hex(LEAVES[5]));
        assert!(check_inclusion(&path, 5, leaf, 8, roots[8]));
        assert!(!check_inclusion(&path, 4, leaf, 8, roots[8]));
    }

    #[test]
    fn every_tree_is_proved_to_begin_with_every_earlier_one() {
        let (roots, nodes) = published();
        for new in 0..=8 {
            for old in 0..=new {
                let proof = nodes.prove_consistency(old, new).unwrap();
                let root = |size| (size, roots[size as usize]);
                assert!(check_consistency(&proof, root(old), root(new)));
                let wrong = (old, roots[(old as usize + 1) % 9]);
                assert!(!check_consistency(&proof, wrong, root(new)));
            }
        }
    }

    #[test]
    fn ranges_make_the_tree_however_they_are_cut() {
        let leaves: Vec<Hash> = (0..23_u8).map(|line| leaf_hash(&[line])).collect();
        let range = |first: usize, end: usize| {
            let mut edge = Edge::at(first as u64);
            leaves[first..end].iter().for_each(|leaf| edge.push(*leaf));
            edge
        };
        let whole = range(0, 23);
        for middle in 0..=23 {
            for first in 0..=middle {
                let cut = [range(0, first), range(first, middle), range(middle, 23)];
                let mut joined = Edge::default();
                let mut nodes = Nodes::default();
                for part in &cut {
                    let again = Edge::of(part.first(), part.end(), part.roots());
                    assert_eq!(again.as_ref(), Some(part));
                    joined.extend(part);
                    nodes.insert_edge(part);
                }
                assert_eq!(joined, whole);
                nodes.insert_leaves(first as u64, &leaves[first..middle]);
                let cut = leaves.iter().enumerate().take(middle).skip(first);
                for (index, leaf) in cut {
                    let path = nodes.prove_inclusion(index as u64, 23).unwrap();
                    assert!(check_inclusion(
                        &path,
                        index as u64,
                        *leaf,
                        23,
                        whole.root()
                    ));
                }
            }
        }
        assert_eq!(Edge::of(0, 22, whole.roots()), None);
        assert_eq!(Edge::of(0, 24, whole.roots()), None);
    }
}
