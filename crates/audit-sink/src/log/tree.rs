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

/// The right edge of a tree: the roots of its complete subtrees, the largest first. It is all that
/// appending needs.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Edge {
    size: u64,
    roots: Vec<Hash>,
}

impl Edge {
    /// The edge of a tree of `size` leaves; `None` when that tree has another number of complete
    /// subtrees.
    pub(crate) fn of(size: u64, roots: Vec<Hash>) -> Option<Self> {
        (roots.len() == size.count_ones() as usize).then_some(Self { size, roots })
    }

    /// How many leaves the tree has.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, the largest first.
    pub(crate) fn roots(&self) -> &[Hash] {
        &self.roots
    }

    /// Appends a leaf. `seen` is told of every complete subtree that this makes: its level and its
    /// number in that level.
    pub(crate) fn push_seen(&mut self, leaf: Hash, mut seen: impl FnMut(u8, u64, Hash)) {
        let mut hash = leaf;
        seen(0, self.size, hash);
        for level in 0..self.size.trailing_ones() as u8 {
            let Some(left) = self.roots.pop() else { break };
            hash = tlog_tiles::node_hash(left, hash);
            seen(level + 1, self.size >> (level + 1), hash);
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// Appends a leaf.
    pub(crate) fn push(&mut self, leaf: Hash) {
        self.push_seen(leaf, |_, _, _| {});
    }

    /// The root of the tree.
    pub(crate) fn root(&self) -> Hash {
        let join = |right, left: &Hash| tlog_tiles::node_hash(*left, right);
        let mut smallest_first = self.roots.iter().rev();
        let Some(smallest) = smallest_first.next() else {
            return tlog_tiles::EMPTY_HASH;
        };
        smallest_first.fold(*smallest, join)
    }
}

/// Roots of complete subtrees, as many as a proof needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Nodes(BTreeMap<u64, Hash>);

/// A proof needs a subtree that was not put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash that the proof needs is not known")]
pub(crate) struct Missing;

impl Nodes {
    /// Puts in the root of subtree `number` of `level`.
    pub(crate) fn insert(&mut self, level: u8, number: u64, hash: Hash) {
        self.0
            .insert(tlog_tiles::stored_hash_index(level, number), hash);
    }

    /// The root of the tree of `size` leaves.
    pub(crate) fn root(&self, size: u64) -> Result<Hash, Missing> {
        tlog_tiles::tree_hash(size, self).map_err(|_| Missing)
    }

    /// The path of RFC 6962 §2.1.1 from leaf `index` to the root of the tree of `size` leaves, the
    /// leaf's sibling first.
    pub(crate) fn prove_inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, Missing> {
        tlog_tiles::prove_record(size, index, self).map_err(|_| Missing)
    }

    /// The proof of RFC 6962 §2.1.2 that the tree of `new` leaves begins with that of `old`.
    pub(crate) fn prove_consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, Missing> {
        if old == 0 {
            return Ok(Vec::new());
        }
        tlog_tiles::prove_tree(new, old, self).map_err(|_| Missing)
    }
}

impl HashReader for Nodes {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let find = |index| self.0.get(index).copied();
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
        let (mut edge, mut nodes) = (Edge::default(), Nodes::default());
        let mut roots = vec![edge.root()];
        for leaf in LEAVES {
            let leaf = leaf_hash(&hex(leaf));
            edge.push_seen(leaf, |level, number, hash| {
                nodes.insert(level, number, hash);
            });
            roots.push(edge.root());
        }
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
    fn an_edge_is_known_by_its_subtrees() {
        let mut edge = Edge::default();
        for line in 0..11_u8 {
            edge.push(leaf_hash(&[line]));
            let again = Edge::of(edge.size(), edge.roots().to_vec());
            assert_eq!(again.as_ref(), Some(&edge));
        }
        assert_eq!(Edge::of(10, edge.roots().to_vec()), None);
    }
}
