//! Opening a log: take the lock, check what is signed, find where it ends, set aside what a crash
//! left behind.

mod aside;
mod joined;
mod resume;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_core::{StoreError, StoreErrorKind};

use self::resume::resume;
use super::anchor::Anchors;
use super::checkpoints::{Checkpoints, LIST, NEWEST};
use super::current::Current;
use super::disk::{Disk, private, read_small};
use super::held::{Held, Lock, Place};
use super::note::{Head, Identity};
use super::options::FileLogOptions;
use super::reads::{READS, Reads};
use super::retention::Leaving;
use super::sealed::{self, SUBTREES, Sealed};
use super::signer::{CheckpointSigner, FileSigner, check_name};
use super::store::{LOCK, SEGMENTS, Store};
use super::tree::Edge;
use super::{FileLog, LogDamage, corrupt, unavailable};
use crate::{Notice, Recovery};

pub(super) fn open(options: &FileLogOptions) -> Result<FileLog, StoreError> {
    let segments = options.directory.join(SEGMENTS);
    make_directory(&options.directory).map_err(unavailable)?;
    let lock = lock(&options.directory)?;
    make_directory(&segments).map_err(unavailable)?;
    make_directory(&options.directory.join(READS)).map_err(unavailable)?;
    clear_leftovers(&options.disk, &segments)?;
    let mut notices = Vec::new();
    let vkey = options.directory.join(VKEY);
    // One that was moved aside and not followed by another is not forgotten.
    let is_new =
        !vkey.exists() && sealed::list(&segments)?.is_empty() && !aside(options, 1).exists();
    let parts = if is_new {
        begin(options, None)?
    } else {
        match resume(options) {
            Err(error)
                if error.kind() == StoreErrorKind::Corrupt
                    && options.damage == LogDamage::StartNewIncarnation =>
            {
                let previous = previous_origin(options);
                let moved = move_aside(options)?;
                notices.push(Notice::incarnation(&previous, cause(&error)));
                begin(options, Some(next_incarnation(&previous, moved)))?
            }
            other => other?,
        }
    };
    let recovery = parts.recovery;
    let place = Place::new(lock, segments).map_err(unavailable)?;
    let mut store = parts.into_store(options, place, notices);
    store.collect_reads();
    let head = store.head();
    if store.checkpoints.stored != Some(head.size) {
        let now = options.clock.now();
        store.checkpoints.store(&store.disk, head, now, true)?;
    }
    Ok(FileLog::new(store, Arc::clone(&options.clock), recovery))
}

/// What is known of a log before it can be written to.
struct Parts {
    checkpoints: Checkpoints,
    sealed: Vec<Sealed>,
    /// The tree up to the current segment.
    before: Edge,
    current: Current,
    /// What was done to make the log whole.
    recovery: Recovery,
}

impl Parts {
    fn into_store(self, options: &FileLogOptions, place: Place, notices: Vec<Notice>) -> Store {
        Store {
            directory: options.directory.clone(),
            limits: options.limits.clone(),
            disk: options.disk.at(place),
            checkpoints: self.checkpoints,
            anchors: Anchors::new(options.anchor.clone(), options.anchor_interval),
            sealed: self.sealed,
            leaving: Leaving::default(),
            before: self.before,
            current: self.current,
            untold: Vec::new(),
            reads: Reads::default(),
            signed_at: None,
            last_seen: None,
            notices,
        }
    }
}

/// A new log. Its `vkey` is written last: a log without one never was.
fn begin(options: &FileLogOptions, incarnation: Option<String>) -> Result<Parts, StoreError> {
    let (origin, signer) = new_signer(options, incarnation)?;
    let key = signer.public_key()?;
    let identity = Identity::new(&origin, &key);
    let identity = identity.ok_or_else(|| unavailable(io::Error::other("no Ed25519 key")))?;
    if let Some(note) = newest_anchor(options)?
        && identity.open(&note).is_ok_and(|head| head.size > 0)
    {
        return Err(corrupt(
            &options.directory,
            "it is empty, and an anchor knows more of it",
        ));
    }
    let disk = &options.disk;
    let list = options.directory.join(LIST);
    disk.create(&list).map_err(unavailable)?;
    let vkey = format!("{identity}\n");
    let sync_after = options.limits.checkpoint_sync;
    let mut checkpoints = Checkpoints::new(identity, signer, &options.directory, sync_after);
    let empty = Edge::default();
    let head = Head {
        size: 0,
        root: empty.root(),
    };
    checkpoints.store(disk, head, options.clock.now(), true)?;
    let path = options.directory.join(VKEY);
    disk.replace(&path, vkey.as_bytes(), true)
        .map_err(unavailable)?;
    Ok(Parts {
        checkpoints,
        sealed: Vec::new(),
        before: empty,
        current: Current::at(0),
        recovery: Recovery::new(0),
    })
}

/// Who signs a new log, and under which name.
fn new_signer(
    options: &FileLogOptions,
    incarnation: Option<String>,
) -> Result<(String, Arc<dyn CheckpointSigner>), StoreError> {
    let drawn = || format!("countersign/{:016x}", fastrand::u64(..));
    let asked = incarnation.or(options.origin.clone());
    if let Some(signer) = &options.signer {
        let origin = asked.unwrap_or_else(drawn);
        check_name(&origin)?;
        return Ok((origin, Arc::clone(signer)));
    }
    let signer = match FileSigner::open(&options.key) {
        Err(error) if error.kind() == StoreErrorKind::NotFound => {
            FileSigner::create(&options.key, &asked.clone().unwrap_or_else(drawn))?
        }
        other => other?,
    };
    let origin = asked.unwrap_or_else(|| signer.name().to_owned());
    check_name(&origin)?;
    Ok((origin, Arc::new(signer)))
}

/// Who signs a log that there is.
fn known_signer(options: &FileLogOptions) -> Result<Arc<dyn CheckpointSigner>, StoreError> {
    match &options.signer {
        Some(signer) => Ok(Arc::clone(signer)),
        None => Ok(Arc::new(FileSigner::open(&options.key)?)),
    }
}

fn newest_anchor(options: &FileLogOptions) -> Result<Option<String>, StoreError> {
    match &options.anchor {
        Some(anchor) => anchor.newest(),
        None => Ok(None),
    }
}

/// A name that no log before had, also where nothing tells the name of the last one.
fn next_incarnation(previous: &str, moved: u32) -> String {
    let (name, number) = match previous.rsplit_once(INCARNATION) {
        Some((name, number)) => (name, number.parse().unwrap_or(1)),
        None => (previous, 1),
    };
    format!("{name}{INCARNATION}{}", moved.max(number).saturating_add(1))
}

/// The origin of a log that is damaged, as far as anything tells it.
fn previous_origin(options: &FileLogOptions) -> String {
    let vkey = read_small(&options.directory.join(VKEY)).ok();
    let known = vkey.and_then(|vkey| Identity::parse(std::str::from_utf8(&vkey).ok()?.trim_end()));
    known
        .map(|identity| identity.origin.to_string())
        .or_else(|| options.origin.clone())
        .or_else(|| Some(FileSigner::open(&options.key).ok()?.name().to_owned()))
        .unwrap_or_else(|| "countersign/unknown".to_owned())
}

/// Moves the files of a damaged log into a directory beside the new one's; how many there are.
fn move_aside(options: &FileLogOptions) -> Result<u32, StoreError> {
    let directory = &options.directory;
    let free = |number: &u32| !aside(options, *number).exists();
    let number = (1..).find(free).unwrap_or(u32::MAX);
    let aside = aside(options, number);
    make_directory(&aside).map_err(unavailable)?;
    // `vkey` goes first: without it, and with segments, the log can't be taken for a whole one.
    for name in [VKEY, NEWEST, LIST, SUBTREES, SEGMENTS] {
        let from = directory.join(name);
        if from.exists() {
            let moved = options.disk.rename(&from, &aside.join(name));
            moved.map_err(unavailable)?;
        }
    }
    make_directory(&directory.join(SEGMENTS)).map_err(unavailable)?;
    Ok(number)
}

fn aside(options: &FileLogOptions, number: u32) -> PathBuf {
    options.directory.join(format!("damaged-{number}"))
}

fn cause(error: &StoreError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)?;
    if cfg!(unix) {
        File::open(holder(directory))?.sync_all()?;
    }
    Ok(())
}

/// The directory that holds `path`.
fn holder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// A file that was to take the place of another and never did. Where nothing else has the lines that
/// it was to have, it takes its place now: what it holds is read and checked as any segment is.
fn clear_leftovers(disk: &Disk, segments: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(segments).map_err(unavailable)? {
        let left = entry.map_err(unavailable)?.path();
        if left.extension().is_none_or(|extension| extension != "new") {
            continue;
        }
        let path = left.with_extension("");
        let is_segment = path.extension().is_some_and(|it| it == "jsonl");
        if is_segment && !path.exists() && !path.with_extension("hashes").exists() {
            disk.rename(&left, &path).map_err(unavailable)?;
            disk.sync_directory(segments).map_err(unavailable)?;
        } else {
            fs::remove_file(left).map_err(unavailable)?;
        }
    }
    Ok(())
}

fn lock(directory: &Path) -> Result<Lock, StoreError> {
    let path = directory.join(LOCK);
    let mut options = OpenOptions::new();
    let file = private(options.write(true).create(true).truncate(false))
        .open(&path)
        .map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => {
            let held = Held::new(file, &path).map_err(unavailable)?;
            Ok(Lock::new(held, path))
        }
        Err(TryLockError::WouldBlock) => Err(StoreError::with_source(
            StoreErrorKind::AlreadyExists,
            "another writer holds this log",
        )),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

pub(super) const VKEY: &str = "vkey";
const INCARNATION: &str = "/incarnation-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_parent_is_held_by_the_current_directory() {
        assert_eq!(holder(Path::new("a/log")), Path::new("a"));
        assert_eq!(holder(Path::new("log")), Path::new("."));
        assert_eq!(holder(Path::new("/")), Path::new("."));
    }

    #[test]
    fn no_incarnation_has_the_name_of_another() {
        assert_eq!(next_incarnation("a/b", 1), "a/b/incarnation-2");
        assert_eq!(
            next_incarnation("a/b/incarnation-2", 2),
            "a/b/incarnation-3"
        );
        assert_eq!(
            next_incarnation("a/b/incarnation-7", 2),
            "a/b/incarnation-8"
        );
        assert_eq!(next_incarnation("a/b", 2), "a/b/incarnation-3");
    }
}
