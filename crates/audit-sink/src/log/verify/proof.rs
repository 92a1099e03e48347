//! The proof that one event stands in a log (`c2sp.org/tlog-proof@v1`).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::Record;
use crate::log::note::{Identity, NoteFault};
use crate::log::tree::{Hash, check_inclusion, leaf_hash};

/// An event that is proved to stand in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProvenEvent {
    /// The log's name.
    pub origin: String,
    /// The event's place in it.
    pub index: u64,
    /// The size of the tree that the checkpoint in the proof signs.
    pub size: u64,
}

/// Why an event is not proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofFault {
    /// The key can't be read.
    #[error("the verifier key is not `<origin>+<key id>+<key>` of an Ed25519 key")]
    Key,
    /// The event is longer than a line can be, or more than one line.
    #[error("the event is not one line of a log")]
    Event,
    /// The proof can't be read.
    #[error("the proof is not a c2sp.org/tlog-proof@v1 of this log")]
    Malformed,
    /// The checkpoint in the proof is not signed with the key.
    #[error("bad signature")]
    BadSignature,
    /// The proof is for another event, or one of the two was changed.
    #[error("the proof does not lead from this event to the signed root")]
    OtherEvent,
}

impl ProofFault {
    /// 1 tampered or another event, 2 could not check, 5 bad signature.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Key | Self::Event | Self::Malformed => 2,
            Self::BadSignature => 5,
            Self::OtherEvent => 1,
        }
    }
}

/// Checks that `event`, the exact bytes of its line, stands in the log whose verifier key is
/// `vkey`, as `proof` says. One newline at the end of the event is not part of it.
///
/// ```
/// use countersign_audit_sink::check_proof;
///
/// let vkey = include_str!("../../../tests/vectors/audit/good/vkey");
/// let event = include_bytes!("../../../tests/vectors/audit/event-2.jsonl");
/// let proof = include_str!("../../../tests/vectors/audit/event-2.tlog-proof");
/// let proven = check_proof(vkey, event, proof)?;
/// assert_eq!((proven.index, proven.size), (2, 7));
/// # Ok::<(), countersign_audit_sink::ProofFault>(())
/// ```
///
/// # Errors
/// The first thing that is wrong.
pub fn check_proof(vkey: &str, event: &[u8], proof: &str) -> Result<ProvenEvent, ProofFault> {
    let identity = Identity::parse(vkey.trim_end_matches('\n')).ok_or(ProofFault::Key)?;
    let line = event.strip_suffix(b"\n").unwrap_or(event);
    if line.is_empty() || line.len() > Record::MAX_LINE || line.contains(&b'\n') {
        return Err(ProofFault::Event);
    }
    let (index, path, note) = parse(proof).ok_or(ProofFault::Malformed)?;
    let head = identity.open(note).map_err(|fault| match fault {
        NoteFault::Malformed => ProofFault::Malformed,
        NoteFault::BadSignature | NoteFault::Unsigned => ProofFault::BadSignature,
    })?;
    if !check_inclusion(&path, index, leaf_hash(line), head.size, head.root) {
        return Err(ProofFault::OtherEvent);
    }
    Ok(ProvenEvent {
        origin: identity.origin.to_string(),
        index,
        size: head.size,
    })
}

/// The index, the hashes from the leaf's sibling up, and the checkpoint.
fn parse(proof: &str) -> Option<(u64, Vec<Hash>, &str)> {
    let (head, note) = proof.split_once("\n\n")?;
    let mut lines = head.split('\n');
    if lines.next() != Some(VERSION) {
        return None;
    }
    let mut line = lines.next()?;
    if let Some(extra) = line.strip_prefix("extra ") {
        // What an application adds is not looked at.
        BASE64_STANDARD.decode(extra).ok()?;
        line = lines.next()?;
    }
    let digits = line.strip_prefix("index ")?;
    let index: u64 = digits.parse().ok()?;
    let path: Result<Vec<Hash>, _> = lines.take(LONGEST_PATH + 1).map(Hash::parse_hash).collect();
    let path = path.ok().filter(|path| path.len() <= LONGEST_PATH)?;
    (index.to_string() == digits).then_some((index, path, note))
}

const VERSION: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^63 leaves is no higher.
const LONGEST_PATH: usize = 63;
