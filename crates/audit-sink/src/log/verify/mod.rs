//! Verifying a log offline, with nothing but its directory and perhaps a checkpoint that was kept
//! elsewhere.
//!
//! | answer | exit code |
//! |---|---|
//! | `ok`, `ok, unsigned tail of N events` | 0 |
//! | `leaf changed at N`, `line missing at N`, `line inserted at N`, `line too long at N (…)`, `order changed at N`, `root differs at size N`, `checkpoint …`, `inconsistent with the given checkpoint` | 1 |
//! | it could not be checked | 2 |
//! | `torn tail …`: the writer was interrupted, and cuts it when it starts | 3 |
//! | `truncated: checkpoint says N, log has M` | 4 |
//! | `bad signature …` | 5 |
//! | `unsigned for too long …`, `removal not told …` | 6 |

mod events;
mod finding;
mod notes;
mod proof;
mod tail;
pub(super) mod told;
mod walk;
mod wrong;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Clock, SystemClock};

pub use self::events::{LogEvents, LoggedEvent};
pub use self::finding::{CannotVerify, Finding, LogReport};
use self::notes::Notes;
pub use self::proof::{ProofFault, ProvenEvent, check_proof};
use self::walk::{After, Walk};
use super::disk::read_small;
use super::note::Identity;

/// Verifies the log in a directory: every line, the tree over them, and every checkpoint that was
/// ever signed. Reads and writes nothing else, and takes no lock: a log that is being written can
/// be verified, up to what was written when it was read.
///
/// In a log that verifies nothing that its newest checkpoint signs was changed by anybody who lacks
/// the signing key. Two things only a checkpoint shows that was kept where they can't reach
/// ([`LogVerifier::against`]): who has the key can write a new log and sign that, and who can write
/// the directory, without any key, can put an older checkpoint and the lines up to it in the place
/// of the newest ones, and other lines behind it, which the writer signs when it opens the log.
///
/// The time that stands beside a checkpoint in `checkpoints.jsonl` is not signed, and an earlier
/// checkpoint that was taken out of that file is not missed: those that are there still prove that
/// nothing before them was changed.
#[derive(Debug, Clone)]
#[must_use]
pub struct LogVerifier {
    directory: PathBuf,
    vkey: Option<String>,
    against: Vec<String>,
    unsigned_for: Duration,
    clock: Arc<dyn Clock>,
}

impl LogVerifier {
    /// A verifier of the log in `directory`, with the key that stands in its file `vkey`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            vkey: None,
            against: Vec::new(),
            unsigned_for: UNSIGNED_FOR,
            clock: Arc::new(SystemClock),
        }
    }

    /// Believes this verifier key, `<origin>+<key id>+<key>`, and not the one in the directory.
    pub fn with_vkey(mut self, vkey: impl Into<String>) -> Self {
        self.vkey = Some(vkey.into());
        self
    }

    /// Compares the log with a checkpoint that was kept elsewhere, a signed note.
    pub fn against(mut self, note: impl Into<String>) -> Self {
        self.against.push(note.into());
        self
    }

    /// For how long the last lines may be without a checkpoint, by their own times: from the first of
    /// them to the newest, and from there until now. Two minutes unless set, which is what a log in
    /// PostgreSQL can have while nobody signs, and a minute. Set it to more than the
    /// [`checkpoint_interval`](crate::FileLogOptions::checkpoint_interval) where that is longer, and,
    /// where several processes write the log, than their clocks differ: a line has its writer's time.
    pub const fn unsigned_for(mut self, limit: Duration) -> Self {
        self.unsigned_for = limit;
        self
    }

    /// Asks `clock` what time it is, instead of the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Reads the log from its first line to its last.
    ///
    /// # Errors
    /// When there is no log to check, no key to check it with, or no checkpoint in it. Whatever is wrong with the log
    /// itself is the report's [`Finding`].
    pub fn verify(&self) -> Result<LogReport, CannotVerify> {
        let identity = self.identity()?;
        let notes = match Notes::read(&self.directory, &identity, &self.against)? {
            Ok(notes) => notes,
            Err(finding) => return Ok(LogReport::without_events(&identity.origin, finding)),
        };
        let walk = Walk::over(&self.directory, &identity.origin, &notes)?;
        let after = After {
            goes_on: notes.is_outdated(&self.directory, &identity),
            now: self.clock.now().wall,
            unsigned_for: self.unsigned_for,
        };
        let report = walk.report(&identity.origin, &notes, &after);
        // What nothing signs may have been written by anybody.
        if notes.heads.is_empty() && matches!(report.finding.exit_code(), 0 | 3 | 6) {
            return Err(CannotVerify::at(&self.directory, "it has no checkpoint"));
        }
        Ok(report)
    }

    fn identity(&self) -> Result<Identity, CannotVerify> {
        let own = read_text(&self.directory.join("vkey"));
        let Some(given) = &self.vkey else {
            return parse(&own?);
        };
        let given = parse(given)?;
        match own.and_then(|own| parse(&own)) {
            Ok(own) if own.origin != given.origin => Err(CannotVerify::new(format!(
                "the given key is for the log {}, and this is {}",
                given.origin, own.origin
            ))),
            // Whatever else stands in the log's own file, it is the given one that is believed.
            Ok(_) | Err(_) => Ok(given),
        }
    }
}

fn parse(vkey: &str) -> Result<Identity, CannotVerify> {
    let identity = Identity::parse(vkey.trim_end_matches('\n'));
    identity.ok_or_else(|| CannotVerify::new("the verifier key is not an Ed25519 key"))
}

fn read_text(path: &Path) -> Result<String, CannotVerify> {
    let bytes = read_small(path).map_err(|error| CannotVerify::reading(path, error))?;
    String::from_utf8(bytes).map_err(|_| CannotVerify::at(path, "it is not UTF-8"))
}

const UNSIGNED_FOR: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests;
