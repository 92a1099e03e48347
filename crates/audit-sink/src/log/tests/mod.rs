//! The log against files that are torn, changed or fail, and against a reading of it that shares
//! no code with it.

mod damage;
#[cfg(unix)]
mod displaced;
#[cfg(unix)]
mod displaced_often;
#[cfg(unix)]
mod displaced_place;
mod failing;
mod history;
mod keeping;
mod oracle;
mod reads;
mod removed;
mod resuming;
mod shipping;
mod unreadable;

use std::fs;
use std::path::PathBuf;

use countersign_core::{ActorType, EventId, LifecycleEvent, LifecycleKind, ManualClock, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::{AuditEvent, LogVerifier, Stamp};

const FIRST: &str = "segments/00000000000000000000.jsonl";
const ORIGIN: &str = "example.com/log";

/// A directory for a log.
pub(super) struct Place {
    root: TempDir,
    pub(super) clock: ManualClock,
}

impl Place {
    pub(super) fn new() -> Self {
        // In memory where there is such a place: these tests are not about the speed of a disk.
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() {
            TempDir::new_in(memory)
        } else {
            TempDir::new()
        };
        Self {
            root: root.unwrap(),
            clock: ManualClock::default(),
        }
    }

    /// A log with batches of these sizes in it.
    pub(super) async fn with(batches: &[u64]) -> Self {
        let place = Self::new();
        let mut log = place.open().unwrap();
        append_all(&mut log, batches).await;
        place
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.path().join("log")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.log().join(name)
    }

    pub(super) fn options(&self) -> FileLogOptions {
        let options = FileLog::options(self.log()).origin(ORIGIN);
        let options = options.checkpoint_interval(std::time::Duration::ZERO);
        options.clock(self.clock.clone())
    }

    pub(super) fn open(&self) -> Result<FileLog, StoreError> {
        self.options().open()
    }

    /// A log of which nothing after the first batch is signed.
    pub(super) fn rarely_signed(&self) -> FileLogOptions {
        let hour = std::time::Duration::from_secs(3600);
        self.options().checkpoint_interval(hour)
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(super) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// The names in `segments`, without directories.
    pub(super) fn segments(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("segments")).unwrap();
        let mut all: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        all.sort();
        all
    }

    /// A verifier, to whom it is when the records were made.
    pub(super) fn verifier(&self) -> LogVerifier {
        LogVerifier::new(self.log()).clock(ManualClock::new(made()))
    }

    /// The log as somebody without our code reads it; panics when anything is wrong with it.
    pub(super) fn verify(&self) -> Vec<String> {
        oracle::verify(&self.log())
    }
}

/// Tries to append one record.
pub(super) async fn attempt(log: &mut FileLog) -> Result<(), StoreErrorKind> {
    let next = log.next_seq();
    let appended = log.append(&records(next..next + 1)).await;
    appended.map_err(|error| error.kind())
}

pub(super) async fn append_all(log: &mut FileLog, batches: &[u64]) {
    for size in batches {
        let next = log.next_seq();
        log.append(&records(next..next + size)).await.unwrap();
    }
}

pub(super) fn records(range: std::ops::Range<u64>) -> Vec<Record> {
    range.map(record).collect()
}

pub(super) fn record(seq: u64) -> Record {
    let time = made();
    let id = serde_json::json!(format!("01KDVDNA00{seq:016}"));
    let event = LifecycleEvent {
        id: serde_json::from_value::<EventId>(id).unwrap(),
        time,
        kind: LifecycleKind::TokenRevoked,
        actor_type: ActorType::Operator,
        actor: "alice@example.com".to_owned(),
        company: "company_12".parse().unwrap(),
        environment: None,
        key_id: None,
        key_prefix: None,
        reason: Some("suspected_leakage".to_owned()),
        linked_key: None,
        subsidiaries: Vec::new(),
        scopes: Vec::new(),
        ends_at: None,
        changed: None,
    };
    Record::stamped(seq, AuditEvent::from(event), &STAMP)
}

/// Appends what the log has to tell of itself, as its writer would.
pub(super) async fn tell_notices(log: &mut FileLog) -> Vec<Notice> {
    let notices = log.take_notices();
    let told = (log.next_seq()..).zip(&notices);
    let told = told.map(|(seq, notice)| {
        let event = AuditEvent::notice(notice.clone(), made());
        Record::stamped(seq, event, &STAMP)
    });
    log.append(&told.collect::<Vec<_>>()).await.unwrap();
    notices
}

/// When the records were made.
fn made() -> Timestamp {
    Timestamp::from_micros(1_767_225_600_000_000)
}

/// One stamp for all, so that a record is the same whenever it is made.
static STAMP: std::sync::LazyLock<Stamp> = std::sync::LazyLock::new(|| Stamp::new(ORIGIN.into()));

/// The line of record `seq`, with its newline.
pub(super) fn line(seq: u64) -> Vec<u8> {
    let mut line = record(seq).line().to_vec();
    line.push(b'\n');
    line
}

pub(super) fn lines(range: std::ops::Range<u64>) -> Vec<u8> {
    range.flat_map(line).collect()
}

pub(super) fn expected(range: std::ops::Range<u64>) -> Vec<String> {
    let text = |seq| String::from_utf8(record(seq).line().to_vec()).unwrap();
    range.map(text).collect()
}

pub(super) fn place_of(error: &StoreError) -> String {
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error:?}");
    std::error::Error::source(error).unwrap().to_string()
}
