//! Opening a log: take the lock, check what is signed, find where it ends, set aside what a crash
//! left behind.

mod resume;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use countersign_core::{StoreError, StoreErrorKind};

use self::resume::resume;
use super::anchor::Anchors;
use super::checkpoints::{Checkpoints, Head, Identity, LIST, NEWEST};
use super::disk::private;
use super::options::FileLogOptions;
use super::reads::{READS, Reads};
use super::sealed::{self, SUBTREES, Sealed};
use super::signer::{CheckpointSigner, FileSigner, check_name};
use super::store::{Current, SEGMENTS, Store};
use super::tree::Edge;
use super::{FileLog, LogDamage, corrupt, unavailable};
use crate::Notice;

pub(super) fn open(options: &FileLogOptions) -> Result<FileLog, StoreError> {
    let segments = options.directory.join(SEGMENTS);
    make_directory(&options.directory).map_err(unavailable)?;
    let lock = lock(&options.directory)?;
    make_directory(&segments).map_err(unavailable)?;
    make_directory(&options.directory.join(READS)).map_err(unavailable)?;
    remove_leftovers(&segments).map_err(unavailable)?;
    let mut notices = Vec::new();
    let is_new = !options.directory.join(VKEY).exists() && sealed::list(&segments)?.is_empty();
    let parts = if is_new {
        begin(options, None)?
    } else {
        match resume(options) {
            Err(error)
                if error.kind() == StoreErrorKind::Corrupt
                    && options.damage == LogDamage::StartNewIncarnation =>
            {
                let previous = previous_origin(options);
                move_aside(options)?;
                notices.push(Notice::incarnation(&previous, cause(&error)));
                begin(options, Some(&previous))?
            }
            other => other?,
        }
    };
    let torn = parts.torn;
    let mut store = parts.into_store(options, lock, notices);
    store.collect_reads();
    let head = store.head();
    if store.checkpoints.stored != Some(head.size) {
        let now = options.clock.now();
        store.checkpoints.store(&store.disk, head, now, true)?;
    }
    Ok(FileLog::new(store, Arc::clone(&options.clock), torn))
}

/// What is known of a log before it can be written to.
struct Parts {
    checkpoints: Checkpoints,
    sealed: Vec<Sealed>,
    /// The tree up to the current segment.
    before: Edge,
    current: Current,
    /// How many bytes were set aside.
    torn: u64,
}

impl Parts {
    fn into_store(self, options: &FileLogOptions, lock: File, notices: Vec<Notice>) -> Store {
        Store {
            directory: options.directory.clone(),
            limits: options.limits.clone(),
            disk: options.disk.clone(),
            _lock: lock,
            checkpoints: self.checkpoints,
            anchors: Anchors::new(options.anchor.clone(), options.anchor_interval),
            sealed: self.sealed,
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
fn begin(options: &FileLogOptions, previous: Option<&str>) -> Result<Parts, StoreError> {
    let (origin, signer) = new_signer(options, previous)?;
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
        torn: 0,
    })
}

/// Who signs a new log, and under which name.
fn new_signer(
    options: &FileLogOptions,
    previous: Option<&str>,
) -> Result<(String, Arc<dyn CheckpointSigner>), StoreError> {
    let drawn = || format!("countersign/{:016x}", fastrand::u64(..));
    let asked = previous.map(next_incarnation).or(options.origin.clone());
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

fn next_incarnation(origin: &str) -> String {
    let (name, number) = match origin.rsplit_once(INCARNATION) {
        Some((name, number)) => (name, number.parse().unwrap_or(1_u64)),
        None => (origin, 1),
    };
    format!("{name}{INCARNATION}{}", number.saturating_add(1))
}

/// The origin of a log that is damaged, as far as anything tells it.
fn previous_origin(options: &FileLogOptions) -> String {
    let vkey = fs::read_to_string(options.directory.join(VKEY)).unwrap_or_default();
    let known = Identity::parse(vkey.trim_end()).map(|identity| identity.origin.to_string());
    known
        .or_else(|| options.origin.clone())
        .or_else(|| Some(FileSigner::open(&options.key).ok()?.name().to_owned()))
        .unwrap_or_else(|| "countersign/unknown".to_owned())
}

/// Moves the files of a damaged log into a directory beside the new one's.
fn move_aside(options: &FileLogOptions) -> Result<(), StoreError> {
    let directory = &options.directory;
    let free = |number: &u32| !directory.join(format!("damaged-{number}")).exists();
    let number = (1..).find(free).unwrap_or(u32::MAX);
    let aside = directory.join(format!("damaged-{number}"));
    make_directory(&aside).map_err(unavailable)?;
    // `vkey` goes first: without it, and with segments, the log can't be taken for a whole one.
    for name in [VKEY, NEWEST, LIST, SUBTREES, SEGMENTS] {
        match fs::rename(directory.join(name), aside.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(unavailable(error));
            }
            _ => {}
        }
    }
    make_directory(&directory.join(SEGMENTS)).map_err(unavailable)
}

fn cause(error: &StoreError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)?;
    let parent = directory.parent().filter(|parent| *parent != Path::new(""));
    if cfg!(unix) {
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// A file that was to take the place of another and never did.
fn remove_leftovers(segments: &Path) -> io::Result<()> {
    for entry in fs::read_dir(segments)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "new") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
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

pub(super) const VKEY: &str = "vkey";
const INCARNATION: &str = "/incarnation-";
