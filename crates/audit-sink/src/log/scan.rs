//! Reading a segment from one end to the other: is each line in its place, and what do they hash
//! to.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, thread};

use countersign_core::StoreError;

use super::lines::{Known, Lines};
use super::tree::{Edge, Hash, leaf_hash};
use super::{corrupt, unavailable};

/// What to look for in a segment.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    pub(super) path: PathBuf,
    pub(super) first: u64,
    pub(super) origin: &'a str,
    /// Lines below this index are signed: nothing may be wrong with one.
    pub(super) signed: u64,
    /// Sizes of the tree at which the hash of the range so far is asked for.
    pub(super) marks: &'a [u64],
}

/// What a segment holds.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The hashes of the good lines.
    pub(super) edge: Edge,
    /// The hashes up to each mark that lies within the segment or at its end.
    pub(super) marked: Vec<Edge>,
    /// The bytes of the good lines.
    pub(super) good: u64,
    /// All bytes.
    pub(super) total: u64,
}

impl Wanted<'_> {
    /// # Errors
    /// `Corrupt`, with the place, when a line is wrong that is signed, or that another line
    /// follows.
    pub(super) fn find(&self) -> Result<Found, StoreError> {
        let mut lines = Lines::open(&self.path).map_err(unavailable)?;
        let known = Known::new(self.origin, self.signed);
        let mut found = Found {
            edge: Edge::at(self.first),
            marked: Vec::new(),
            good: 0,
            total: fs::metadata(&self.path).map_err(unavailable)?.len(),
        };
        found.mark(self.marks);
        while let Some(line) = lines.next().map_err(unavailable)? {
            let seq = found.edge.end();
            if let Err(problem) = known.check(line, seq) {
                let may_be_torn = seq >= self.signed && !known.knows(line);
                if may_be_torn && !followed(&mut lines, &known)? {
                    break;
                }
                let place = format!("line {seq}: {problem}, at byte {}", found.good);
                return Err(corrupt(&self.path, &place));
            }
            found.edge.push(leaf_hash(line.bytes));
            found.good += line.length;
            found.mark(self.marks);
        }
        Ok(found)
    }
}

impl Found {
    fn mark(&mut self, marks: &[u64]) {
        if marks.contains(&self.edge.end()) {
            self.marked.push(self.edge.clone());
        }
    }
}

/// Whether any line of the log is still to come.
fn followed(lines: &mut Lines, known: &Known<'_>) -> Result<bool, StoreError> {
    while let Some(line) = lines.next().map_err(unavailable)? {
        if known.knows(line) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads several segments at once, on as many threads as there are cores for it.
pub(super) fn find_all(wanted: &[Wanted<'_>]) -> Result<Vec<Found>, StoreError> {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(wanted) = wanted.get(index) else {
                return done;
            };
            done.push((index, wanted.find()));
        }
    };
    let mut all = thread::scope(|scope| {
        let others: Vec<_> = (1..cores.min(wanted.len()).min(MOST_THREADS))
            .map(|_| scope.spawn(work))
            .collect();
        let mut all = work();
        for other in others {
            let done = other.join().map_err(|_| panicked())?;
            all.extend(done);
        }
        Ok::<_, StoreError>(all)
    })?;
    // The first problem is told, whoever found one first.
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, found)| found).collect()
}

/// The hashes of the lines of the segment at `path`.
pub(super) fn leaves(path: &Path) -> Result<Vec<Hash>, StoreError> {
    let mut lines = Lines::open(path).map_err(unavailable)?;
    let mut leaves = Vec::new();
    while let Some(line) = lines.next().map_err(unavailable)? {
        if line.is_whole() {
            leaves.push(leaf_hash(line.bytes));
        }
    }
    Ok(leaves)
}

fn panicked() -> StoreError {
    unavailable(std::io::Error::other("reading a segment panicked"))
}

const MOST_THREADS: usize = 8;
