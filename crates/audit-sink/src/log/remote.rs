//! The tree of a log whose lines are kept somewhere else than in a directory of its own.

use std::fmt;
use std::sync::Arc;

use countersign_core::StoreError;

use super::note::{Head, Identity, NoteFault};
use super::signer::{CheckpointSigner, check_name};
use super::tree::{Edge, Hash, leaf_hash};
use super::unavailable;

/// The Merkle tree over a log's lines and the checkpoints that sign it, for a backend that keeps the
/// lines elsewhere, a database for one. What is signed is the same as in a
/// [`FileLog`](crate::FileLog): a copy of the lines and checkpoints in its layout is verified by the
/// same tools.
///
/// ```
/// use std::sync::Arc;
/// use countersign_audit_sink::{FileSigner, LogTree};
///
/// # let directory = tempfile::tempdir()?;
/// let signer = FileSigner::create(directory.path().join("key"), "example.com/log")?;
/// let mut tree = LogTree::new("example.com/log", Arc::new(signer))?;
/// tree.push(br#"{"seq":0,"log":"example.com/log"}"#);
/// let checkpoint = tree.sign()?;
/// assert!(checkpoint.starts_with("example.com/log\n1\n"));
/// assert_eq!(tree.size_signed_by(&checkpoint)?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct LogTree {
    identity: Identity,
    signer: Arc<dyn CheckpointSigner>,
    edge: Edge,
}

impl LogTree {
    /// The empty tree of the log called `origin`. Asks the signer for its key, so it may block.
    ///
    /// # Errors
    /// `Conflict` when a note can't be signed under this name, `Unavailable` when the signer has no
    /// Ed25519 key or can't be asked.
    pub fn new(origin: &str, signer: Arc<dyn CheckpointSigner>) -> Result<Self, StoreError> {
        check_name(origin)?;
        let key = signer.public_key()?;
        let identity = Identity::new(origin, &key);
        let identity = identity.ok_or_else(|| unavailable("the signer has no Ed25519 key"))?;
        Ok(Self {
            identity,
            signer,
            edge: Edge::default(),
        })
    }

    /// The verifier key, in the one line that a log keeps as `vkey`.
    #[must_use]
    pub fn verifier_key(&self) -> String {
        self.identity.to_string()
    }

    /// How many lines the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.edge.end()
    }

    /// Appends a line, its exact bytes without a newline.
    pub fn push(&mut self, line: &[u8]) {
        self.edge.push(leaf_hash(line));
    }

    /// Appends a line of which only its hash is left, SHA-256 over a zero byte and the line.
    pub fn push_hash(&mut self, hash: [u8; 32]) {
        self.edge.push(Hash(hash));
    }

    /// The checkpoint of the tree as it is: a signed note. May block.
    ///
    /// # Errors
    /// The signer's.
    pub fn sign(&self) -> Result<String, StoreError> {
        let text = self.head().text(&self.identity.origin);
        let signature = self.signer.sign(text.as_bytes())?;
        Ok(self.identity.note(&text, &signature))
    }

    /// How many lines `checkpoint` signs, whatever stands in this tree.
    ///
    /// # Errors
    /// `Corrupt` when it is no checkpoint of this log, or its signature is not by this key.
    pub fn size_signed_by(&self, checkpoint: &str) -> Result<u64, StoreError> {
        self.open(checkpoint).map(|head| head.size)
    }

    /// Whether `checkpoint` signs exactly this tree.
    ///
    /// # Errors
    /// As [`LogTree::size_signed_by`].
    pub fn is_signed_by(&self, checkpoint: &str) -> Result<bool, StoreError> {
        Ok(self.open(checkpoint)? == self.head())
    }

    /// What must be kept beside a checkpoint to go on from it without reading the lines again: the
    /// roots of the complete subtrees, 32 bytes each, the largest first. Nothing needs to be
    /// believed of it: [`LogTree::resume`] checks it against the checkpoint.
    #[must_use]
    pub fn edge(&self) -> Vec<u8> {
        self.edge.roots().flat_map(|root| root.0).collect()
    }

    /// Goes on from a checkpoint with the edge that was kept beside it; false, and nothing is
    /// changed, when the edge does not make the tree that the checkpoint signs. The lines must be
    /// read again then.
    ///
    /// # Errors
    /// As [`LogTree::size_signed_by`].
    pub fn resume(&mut self, checkpoint: &str, edge: &[u8]) -> Result<bool, StoreError> {
        let head = self.open(checkpoint)?;
        let (roots, rest) = edge.as_chunks::<32>();
        let edge = Edge::of(0, head.size, roots.iter().map(|root| Hash(*root)));
        let Some(edge) = edge.filter(|edge| rest.is_empty() && edge.root() == head.root) else {
            return Ok(false);
        };
        self.edge = edge;
        Ok(true)
    }

    fn head(&self) -> Head {
        Head {
            size: self.edge.end(),
            root: self.edge.root(),
        }
    }

    fn open(&self, checkpoint: &str) -> Result<Head, StoreError> {
        self.identity.open(checkpoint).map_err(|fault| {
            let problem = match fault {
                NoteFault::Malformed => "the checkpoint is none of this log",
                NoteFault::BadSignature => "the checkpoint's signature is wrong",
                NoteFault::Unsigned => "the checkpoint is not signed with this key",
            };
            StoreError::with_source(countersign_core::StoreErrorKind::Corrupt, problem)
        })
    }
}

impl fmt::Debug for LogTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogTree")
            .field("key", &self.verifier_key())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileSigner;

    fn tree(directory: &std::path::Path, name: &str) -> LogTree {
        let path = directory.join(name);
        let signer = FileSigner::create(path, "example.com/log").unwrap();
        LogTree::new("example.com/log", Arc::new(signer)).unwrap()
    }

    #[test]
    fn a_tree_goes_on_from_its_checkpoint_and_from_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let mut whole = tree(directory.path(), "key");
        let empty = whole.clone();
        for size in 0..40_u8 {
            let (note, edge) = (whole.sign().unwrap(), whole.edge());
            assert!(whole.is_signed_by(&note).unwrap());
            let mut resumed = empty.clone();
            assert!(resumed.resume(&note, &edge).unwrap());
            assert_eq!(resumed.size(), u64::from(size));
            resumed.push(b"other");
            whole.push(&[size]);
            assert!(!whole.is_signed_by(&note).unwrap());
            assert_ne!(resumed.sign().unwrap(), whole.sign().unwrap());
            let mut wrong = edge.clone();
            if let Some(byte) = wrong.last_mut() {
                *byte ^= 1;
                assert!(!resumed.resume(&note, &wrong).unwrap());
            }
            wrong.push(0);
            assert!(!resumed.resume(&note, &wrong).unwrap());
            assert_eq!(resumed.size(), u64::from(size) + 1, "nothing was changed");
        }
        let stranger = tree(directory.path(), "other");
        assert!(whole.size_signed_by(&stranger.sign().unwrap()).is_err());
        assert!(whole.size_signed_by("").is_err());
    }
}
