//! Opening a log: take the lock, find where it ends, set aside what a crash left behind.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use countersign_core::{StoreError, StoreErrorKind};
use serde::Deserialize;

use super::JsonLinesOptions;
use super::segment::{SUFFIX, Segment, Segments, private, sync_directory, unavailable};
use crate::Record;

impl Segments {
    /// The log, the index of its next line, and how many bytes were set aside.
    pub(super) fn open(options: JsonLinesOptions) -> Result<(Self, u64, u64), StoreError> {
        make_directory(&options.directory).map_err(unavailable)?;
        let lock = lock(&options.directory)?;
        let mut found = list(&options.directory).map_err(unavailable)?;
        found.sort_unstable();
        let mut torn = 0;
        for pair in found.windows(2) {
            torn += check_sealed(&pair[0], pair[1].0)?;
        }
        let Some((first, path)) = found.pop() else {
            return Ok((Self::new(options, lock, None), 0, 0));
        };
        let scan = Scan::of(&path, first, u64::MAX)?;
        torn += scan.set_aside(&path)?;
        let file = OpenOptions::new().append(true).open(&path);
        let file = file.map_err(unavailable)?;
        let current = Segment {
            file,
            path,
            length: scan.good,
        };
        Ok((Self::new(options, lock, Some(current)), scan.next, torn))
    }
}

/// How far a segment holds the lines that it should.
struct Scan {
    /// The index after the last good line.
    next: u64,
    /// The bytes of the good lines.
    good: u64,
    /// All bytes.
    total: u64,
}

impl Scan {
    /// Reads the segment that begins with line `first`, up to and without line `end`.
    fn of(path: &Path, first: u64, end: u64) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(unavailable)?;
        let total = file.metadata().map_err(unavailable)?.len();
        let mut reader = BufReader::with_capacity(256 * 1024, file);
        let (mut next, mut good) = (first, 0);
        let mut line = Vec::new();
        while next < end {
            line.clear();
            let read = read_line(&mut reader, &mut line).map_err(unavailable)?;
            if read == 0 {
                break;
            }
            match index_of(&line) {
                Some(seq) if seq == next => {}
                Some(seq) => {
                    return Err(corrupt(path, next, &format!("line {seq} stands there")));
                }
                None if good + read == total => break,
                None => return Err(corrupt(path, next, "it is not a line of a log")),
            }
            next += 1;
            good += read;
        }
        Ok(Self { next, good, total })
    }

    /// Moves what follows the good lines to a file beside the segment; how many bytes that were.
    fn set_aside(&self, path: &Path) -> Result<u64, StoreError> {
        if self.total == self.good {
            return Ok(0);
        }
        self.move_tail(path).map_err(unavailable)?;
        Ok(self.total - self.good)
    }

    fn move_tail(&self, path: &Path) -> io::Result<()> {
        let mut segment = OpenOptions::new().read(true).write(true).open(path)?;
        segment.seek(SeekFrom::Start(self.good))?;
        let mut aside = new_aside(path)?;
        io::copy(&mut segment, &mut aside)?;
        aside.sync_all()?;
        if let Some(directory) = path.parent() {
            sync_directory(directory)?;
        }
        // Only now: a crash in between leaves the tail in both places, and in none never.
        segment.set_len(self.good)?;
        segment.sync_all()
    }
}

/// A segment that another one follows must end just before it. Returns how many bytes were set
/// aside.
fn check_sealed(sealed: &(u64, PathBuf), next: u64) -> Result<u64, StoreError> {
    let (first, path) = sealed;
    if last_index(path).map_err(unavailable)? == next.checked_sub(1) {
        return Ok(0);
    }
    let scan = Scan::of(path, *first, next)?;
    if scan.next != next {
        return Err(corrupt(path, scan.next, "the segment ends before it"));
    }
    scan.set_aside(path)
}

/// The index of a segment's last line, if it ends in a good one.
fn last_index(path: &Path) -> io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let tail = length.min(Record::MAX_LINE as u64 + 2);
    file.seek(SeekFrom::Start(length - tail))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let last = bytes.split_inclusive(|b| *b == b'\n').next_back();
    Ok(last.and_then(index_of))
}

/// Reads a line with its newline; of one that is too long to be ours, only the beginning. Returns
/// how many bytes it has.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    let limit = Record::MAX_LINE as u64 + 1;
    let mut read = reader.take(limit).read_until(b'\n', line)? as u64;
    if read == limit && !line.ends_with(b"\n") {
        read += reader.skip_until(b'\n')? as u64;
    }
    Ok(read)
}

/// The index that a whole line says it has; `None` for anything else.
fn index_of(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Head {
        seq: u64,
    }
    let line = line.strip_suffix(b"\n")?;
    serde_json::from_slice(line).ok().map(|head: Head| head.seq)
}

fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)?;
    match directory.parent() {
        Some(parent) if parent != Path::new("") => sync_directory(parent),
        Some(_) => sync_directory(Path::new(".")),
        None => Ok(()),
    }
}

fn lock(directory: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    let file = private(options.write(true).create(true).truncate(false))
        .open(directory.join("lock"))
        .map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::with_source(
            StoreErrorKind::AlreadyExists,
            "another writer holds this log",
        )),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        let digits = digits.filter(|d| d.len() == 20 && d.bytes().all(|b| b.is_ascii_digit()));
        if let Some(first) = digits.and_then(|digits| digits.parse().ok()) {
            found.push((first, entry.path()));
        }
    }
    Ok(found)
}

/// A new file beside `path`: `.torn`, or `.torn.2` and so on where that was taken.
fn new_aside(path: &Path) -> io::Result<File> {
    for number in 1.. {
        let mut name = path.as_os_str().to_owned();
        name.push(".torn");
        if number > 1 {
            name.push(format!(".{number}"));
        }
        match private(OpenOptions::new().write(true).create_new(true)).open(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other,
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn corrupt(path: &Path, index: u64, what: &str) -> StoreError {
    let place = format!("{}, line {index}: {what}", path.display());
    StoreError::with_source(StoreErrorKind::Corrupt, place)
}
