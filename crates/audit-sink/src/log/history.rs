//! Which events a log in a directory holds.

use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_core::{EventId, StoreError, Timestamp};
use memchr::memmem;

use super::lines::Lines;
use super::sealed::{self, segment_path};
use super::store::SEGMENTS;
use super::unavailable;
use crate::EventHistory;

/// Reads segments from the newest back, as far as the ids looked for can be.
#[derive(Debug)]
pub(super) struct FileHistory {
    directory: PathBuf,
}

impl FileHistory {
    pub(super) const fn of(directory: PathBuf) -> Self {
        Self { directory }
    }
}

impl EventHistory for FileHistory {
    fn find(&self, ids: &HashSet<EventId>) -> Result<HashSet<EventId>, StoreError> {
        let mut search = Search::of(ids);
        let finished = sealed::load(&self.directory)?;
        let segments = self.directory.join(SEGMENTS);
        for (first, has_lines) in sealed::list(&segments)?.into_iter().rev() {
            let mut same = finished
                .iter()
                .filter(|sealed| sealed.edge.first() == first);
            if search.is_done() || same.any(|sealed| sealed.time < search.since) {
                break;
            }
            if has_lines {
                let path = segment_path(&segments, first);
                search.read(&path).map_err(unavailable)?;
            }
        }
        Ok(search.found)
    }
}

struct Search {
    wanted: HashMap<String, EventId>,
    /// No segment that was finished before holds any of them.
    since: Timestamp,
    found: HashSet<EventId>,
}

impl Search {
    fn of(ids: &HashSet<EventId>) -> Self {
        let oldest = ids.iter().map(EventId::time).min().unwrap_or_default();
        Self {
            wanted: ids.iter().map(|id| (id.to_string(), *id)).collect(),
            since: oldest.saturating_sub(CLOCKS_DIFFER),
            found: HashSet::new(),
        }
    }

    fn is_done(&self) -> bool {
        self.found.len() == self.wanted.len()
    }

    fn read(&mut self, path: &Path) -> io::Result<()> {
        let mut lines = match Lines::open(path) {
            Ok(lines) => lines,
            // Its time was over since the segments were listed.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        while let Some(line) = lines.next()? {
            // What is not whole is being written, and nobody was told that it is there.
            let id = line.is_whole().then(|| id_of(line.bytes)).flatten();
            if let Some(id) = id.and_then(|id| self.wanted.get(id)) {
                self.found.insert(*id);
            }
        }
        Ok(())
    }
}

/// The id in a line. It stands before everything that a caller can have a say in, and quotes
/// within text are escaped.
fn id_of(line: &[u8]) -> Option<&str> {
    let at = memmem::find(line, MEMBER)? + MEMBER.len();
    let end = memchr::memchr(b'"', &line[at..])?;
    std::str::from_utf8(&line[at..at + end]).ok()
}

const MEMBER: &[u8] = b"\"id\":\"";

/// How far apart the clocks of two machines may be.
const CLOCKS_DIFFER: Duration = Duration::from_secs(24 * 60 * 60);
