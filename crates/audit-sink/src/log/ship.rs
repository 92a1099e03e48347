//! Bringing a log's events to a message broker, beside the writer and behind it.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use countersign_core::{StoreError, StoreErrorKind};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::checkpoints::NEWEST;
use super::disk::Disk;
use super::note::Identity;
use super::open::VKEY;
use super::verify::LogEvents;
use super::{corrupt, unavailable};

/// A broker that events are shipped to.
#[async_trait]
pub trait EventBroker: fmt::Debug + Send + 'static {
    /// Publishes `events`, in order. `Ok` means that the broker keeps every one of them: for a
    /// stream that it acknowledged each, for a partition that all replicas that count have it.
    ///
    /// After an error the same events come again, alone or with more behind, and so they do after a
    /// crash. Give [`ShippedEvent::id`] to a broker that leaves repetitions out.
    ///
    /// # Errors
    /// When it can't be said of each that the broker keeps it.
    async fn publish(&mut self, events: &[ShippedEvent]) -> Result<(), StoreError>;
}

/// An event on its way to a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShippedEvent {
    /// The event's place in the log.
    pub seq: u64,
    /// `<origin>/<seq>`: the same whenever this event is shipped, and no other's.
    pub id: String,
    /// The exact bytes of its line: whoever has them and a proof needs to trust neither the broker
    /// nor its consumers.
    pub line: Vec<u8>,
}

/// Ships the events of a log in a directory to a broker: each at least once, in the log's order, from
/// a position that is kept in a file.
///
/// It reads what the writer wrote, in the same process or another one, and never makes it wait: a
/// broker that is slow or down delays what it is told, and no request. Only events that the newest
/// checkpoint signs are shipped, so that the broker never knows more than the log does after a
/// crash. The position moves on when the broker has acknowledged; a process that is killed before
/// ships a batch again.
///
/// A line is shipped as it stands, also one that can't be read as an event.
///
/// Events whose lines were deleted before they were shipped are passed over and counted: keep lines
/// for longer than a broker can be away. One process ships a log.
///
/// ```
/// use countersign_audit_sink::{EventBroker, LogShipper, ShippedEvent};
/// use countersign_core::StoreError;
///
/// #[derive(Debug)]
/// struct Printer;
///
/// #[async_trait::async_trait]
/// impl EventBroker for Printer {
///     async fn publish(&mut self, events: &[ShippedEvent]) -> Result<(), StoreError> {
///         for event in events {
///             println!("{}: {}", event.id, String::from_utf8_lossy(&event.line));
///         }
///         Ok(())
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// # let temporary = tempfile::tempdir()?;
/// # let position = temporary.path().join("position");
/// # let log = "tests/vectors/audit/good";
/// let mut shipper = LogShipper::open(log, &position, Printer)?;
/// assert_eq!(shipper.ship().await?, 7);
/// assert_eq!(shipper.ship().await?, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LogShipper<B> {
    directory: PathBuf,
    position: PathBuf,
    broker: B,
    batch: usize,
    identity: Identity,
    next: u64,
    missed: u64,
}

impl<B: EventBroker> LogShipper<B> {
    /// Goes on where the file `position` says, or begins with the first event where there is none.
    /// A position in another log of the same directory, one that was damaged and began anew, counts
    /// as none. This blocks; call it while starting.
    ///
    /// # Errors
    /// `NotFound` when there is no log, `Corrupt` when `position` can't be read as one,
    /// `Unavailable` for all that the file system refuses.
    pub fn open(
        directory: impl AsRef<Path>,
        position: impl AsRef<Path>,
        broker: B,
    ) -> Result<Self, StoreError> {
        let (directory, position) = (directory.as_ref(), position.as_ref());
        let identity = identity(directory)?;
        let next = match fs::read(position) {
            Ok(text) => {
                let kept: Position = serde_json::from_slice(&text)
                    .map_err(|_| corrupt(position, "it is no position in a log"))?;
                let same = kept.log == *identity.origin;
                if same { kept.next } else { 0 }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(unavailable(error)),
        };
        Ok(Self {
            directory: directory.to_owned(),
            position: position.to_owned(),
            broker,
            batch: 256,
            identity,
            next,
            missed: 0,
        })
    }

    /// How many events go into one call of the broker at most: 256 unless set, one at least.
    #[must_use]
    pub fn batch(mut self, events: usize) -> Self {
        self.batch = events.max(1);
        self
    }

    /// The number of the first event that is still to be shipped.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.next
    }

    /// How many events were passed over, because their lines were deleted before they were shipped.
    #[must_use]
    pub const fn missed(&self) -> u64 {
        self.missed
    }

    /// Ships everything up to the newest checkpoint, and keeps the position after each batch. Resolves
    /// to how many events were shipped. Must be awaited within a tokio runtime; dropped half way it
    /// ships the batch in hand again the next time.
    ///
    /// # Errors
    /// The broker's, or when the log or the position can't be read or written. What was acknowledged
    /// before is not shipped again.
    pub async fn ship(&mut self) -> Result<u64, StoreError> {
        let end = self.signed()?;
        if self.next >= end {
            return Ok(0);
        }
        let mut events = LogEvents::from_index(&self.directory, self.next).map_err(unavailable)?;
        let mut shipped = 0;
        loop {
            let (next, most, origin) = (self.next, self.batch, self.identity.origin.clone());
            let reading = spawn_blocking(move || {
                let batch = read(&mut events, next, end, most, &origin);
                (events, batch)
            });
            let (rest, batch) = reading.await.map_err(unavailable)?;
            let batch = batch?;
            let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
                // What is left of the signed events are hashes.
                self.move_to(end, end - self.next)?;
                return Ok(shipped);
            };
            let missed = first.seq - self.next;
            self.broker.publish(&batch).await?;
            self.move_to(last.seq + 1, missed)?;
            shipped += batch.len() as u64;
            if self.next >= end {
                return Ok(shipped);
            }
            events = rest;
        }
    }

    /// Ships what is written from now on, looking for more every `pause`, until it is dropped.
    /// A failure is logged once, and tried again after a pause that grows to a minute.
    pub async fn run(mut self, pause: Duration) -> std::convert::Infallible {
        let mut wait = pause;
        loop {
            match self.ship().await {
                Ok(_) => wait = pause,
                Err(error) => {
                    if wait == pause {
                        tracing::error!(
                            target: "countersign",
                            error = &error as &dyn std::error::Error,
                            position = self.next,
                            "audit events can't be shipped to the broker; they stay in the log"
                        );
                    }
                    wait = (wait * 2).min(LONGEST_PAUSE.max(pause));
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// How many events the newest checkpoint signs.
    fn signed(&self) -> Result<u64, StoreError> {
        let path = self.directory.join(NEWEST);
        let note = match fs::read_to_string(&path) {
            Ok(note) => note,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(unavailable(error)),
        };
        let head = self.identity.open(&note);
        let head = head.map_err(|_| corrupt(&path, "it is no checkpoint of this log"))?;
        Ok(head.size)
    }

    fn move_to(&mut self, next: u64, missed: u64) -> Result<(), StoreError> {
        if missed > 0 {
            tracing::error!(
                target: "countersign",
                from = self.next,
                missed,
                "audit events were deleted before they were shipped to the broker"
            );
        }
        let kept = Position {
            log: self.identity.origin.to_string(),
            next,
        };
        let text = serde_json::to_vec(&kept).map_err(unavailable)?;
        Disk::default()
            .replace(&self.position, &text, true)
            .map_err(unavailable)?;
        self.next = next;
        self.missed += missed;
        Ok(())
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Position {
    log: String,
    next: u64,
}

fn identity(directory: &Path) -> Result<Identity, StoreError> {
    let path = directory.join(VKEY);
    let vkey = fs::read_to_string(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StoreError::with_source(StoreErrorKind::NotFound, error),
        _ => unavailable(error),
    })?;
    Identity::parse(vkey.trim_end()).ok_or_else(|| corrupt(&path, "it is no verifier key"))
}

/// The next events from `next` up to and without `end`, at most `most`.
fn read(
    events: &mut LogEvents,
    next: u64,
    end: u64,
    most: usize,
    origin: &str,
) -> Result<Vec<ShippedEvent>, StoreError> {
    let mut batch = Vec::new();
    while batch.len() < most {
        let Some(event) = events.next() else { break };
        let event = event.map_err(unavailable)?;
        let seq = event.seq();
        if seq >= end {
            break;
        }
        if seq >= next {
            batch.push(ShippedEvent {
                seq,
                id: format!("{origin}/{seq}"),
                line: event.line,
            });
        }
        if seq + 1 == end {
            break;
        }
    }
    Ok(batch)
}

const LONGEST_PAUSE: Duration = Duration::from_secs(60);
