//! Going on with a log that there is.

use std::fs;
use std::io;
use std::path::PathBuf;

use countersign_core::{StoreError, StoreErrorKind};

use super::super::disk::read_small;
use super::super::scan::{Found, Wanted, find_all};
use super::super::sealed::segment_path;
use super::aside::set_aside;
use super::joined::Tree;
use super::{
    Checkpoints, Current, Edge, FileLogOptions, Head, INCARNATION, Identity, Parts, Recovery,
    SEGMENTS, Sealed, VKEY, corrupt, known_signer, newest_anchor, sealed, unavailable,
};

pub(super) fn resume(options: &FileLogOptions) -> Result<Parts, StoreError> {
    let identity = identity(options)?;
    let signer = known_signer(options)?;
    let own = Identity::new(&identity.origin, &signer.public_key()?);
    if own.is_none_or(|own| own.to_string() != identity.to_string()) {
        let problem = "the signing key is not the one of this log";
        return Err(StoreError::with_source(StoreErrorKind::Conflict, problem));
    }
    let sync_after = options.limits.checkpoint_sync;
    let directory = &options.directory;
    let mut checkpoints = Checkpoints::new(identity, signer, directory, sync_after);
    let signed = checkpoints.load()?;
    let signed = signed.ok_or_else(|| corrupt(directory, "it has no checkpoint"))?;
    let mut heads = vec![signed];
    heads.extend(anchored(options, &checkpoints.identity)?);
    Segments::list(options, &checkpoints.identity.origin, &heads)?.read(checkpoints)
}

/// The log's own name and key.
fn identity(options: &FileLogOptions) -> Result<Identity, StoreError> {
    let path = options.directory.join(VKEY);
    let vkey = read_small(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => corrupt(&path, "it is missing"),
        io::ErrorKind::FileTooLarge => corrupt(&path, "it is too long for a verifier key"),
        _ => unavailable(error),
    })?;
    let identity = Identity::parse(String::from_utf8_lossy(&vkey).trim_end());
    let identity = identity.ok_or_else(|| corrupt(&path, "it is no verifier key"))?;
    match &options.origin {
        Some(origin) if !is_named(&identity.origin, origin) => {
            let problem = "the log has another origin";
            Err(StoreError::with_source(StoreErrorKind::Conflict, problem))
        }
        _ => Ok(identity),
    }
}

/// Whether a log's own name is the one that it is asked for by: a log that began anew keeps the
/// name that it was given then.
fn is_named(own: &str, asked: &str) -> bool {
    let rest = own.strip_prefix(asked);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(INCARNATION))
}

fn anchored(options: &FileLogOptions, identity: &Identity) -> Result<Option<Head>, StoreError> {
    let Some(note) = newest_anchor(options)? else {
        return Ok(None);
    };
    let wrong = |_| {
        corrupt(
            &options.directory,
            "its anchor is no checkpoint of this log",
        )
    };
    identity.open(&note).map(Some).map_err(wrong)
}

/// The segments of a log that is being opened.
struct Segments<'a> {
    options: &'a FileLogOptions,
    directory: PathBuf,
    origin: String,
    /// What must be true of the tree.
    heads: &'a [Head],
    /// The first index of each segment, and whether it has its lines.
    firsts: Vec<(u64, bool)>,
    /// What is known of those that are finished.
    known: Vec<Sealed>,
}

impl<'a> Segments<'a> {
    fn list(
        options: &'a FileLogOptions,
        origin: &str,
        heads: &'a [Head],
    ) -> Result<Self, StoreError> {
        let directory = options.directory.join(SEGMENTS);
        Ok(Self {
            firsts: sealed::list(&directory)?,
            known: sealed::load(&options.directory)?,
            directory,
            options,
            origin: origin.to_owned(),
            heads,
        })
    }

    fn read(&self, checkpoints: Checkpoints) -> Result<Parts, StoreError> {
        let marks: Vec<u64> = self.heads.iter().map(|head| head.size).collect();
        let signed = self.heads.first().map_or(0, |head| head.size);
        self.check_removed(signed)?;
        let plan = self.plan(&marks, signed)?;
        let read: Vec<Wanted<'_>> = plan
            .iter()
            .filter(|part| matches!(part, Part::Read { .. }))
            .map(|part| Wanted {
                path: segment_path(&self.directory, part.first()),
                first: part.first(),
                origin: &self.origin,
                signed,
                marks: &marks,
            })
            .collect();
        let mut found = find_all(&read)?.into_iter();
        let mut tree = Tree::new(self.heads, &self.options.directory);
        let mut all = Vec::new();
        let mut last = None;
        for part in plan {
            match part {
                Part::Known(sealed) => {
                    tree.add(&sealed.edge, &[])?;
                    all.push(sealed);
                }
                Part::Read { first, end } => {
                    let Some(found) = found.next() else { break };
                    let Some(end) = end else {
                        last = Some(found);
                        break;
                    };
                    self.check_end(first, end, &found)?;
                    tree.add(&found.edge, &found.marked)?;
                    all.push(self.sealed(found));
                }
            }
        }
        let before = tree.edge.clone();
        if let Some(found) = &last {
            tree.add(&found.edge, &found.marked)?;
        }
        tree.finish()?;
        self.keep(&all)?;
        let (current, torn) = match last {
            Some(found) => self.current(&found)?,
            None => (Current::at(before.end()), 0),
        };
        Ok(Parts {
            checkpoints,
            sealed: all,
            recovery: Recovery::new(torn).signed_anew(current.edge.end().saturating_sub(signed)),
            before,
            current,
        })
    }

    /// Only the oldest lines may be gone, and only signed ones.
    fn check_removed(&self, signed: u64) -> Result<(), StoreError> {
        let missing = |index| {
            let problem = format!("line {index} is missing, and only its hash is there");
            Err(corrupt(&self.directory, &problem))
        };
        if let Some(first) = sealed::misplaced(&self.firsts) {
            return missing(first);
        }
        let mut firsts = self.firsts.iter();
        match firsts.rfind(|(_, has_lines)| !has_lines) {
            Some((first, _)) if *first >= signed => missing(*first),
            _ => Ok(()),
        }
    }

    /// Which segments must be read, from the newest back.
    fn plan(&self, marks: &[u64], signed: u64) -> Result<Vec<Part>, StoreError> {
        let mut budget = self.options.read_at_start;
        let mut plan = Vec::new();
        let mut end = None;
        for (first, present) in self.firsts.iter().rev().copied() {
            let known = self.known(first, end);
            let part = match known {
                Some(mut sealed) if !present => {
                    sealed.present = false;
                    Part::Known(sealed)
                }
                None if !present => self.deleted(first, end.unwrap_or(signed))?,
                Some(sealed) if end.is_some() => {
                    let cut = |mark: &u64| (first + 1..sealed.edge.end()).contains(mark);
                    if sealed.bytes > budget && !marks.iter().any(cut) {
                        self.check_length(&sealed)?;
                        Part::Known(sealed)
                    } else {
                        Part::Read { first, end }
                    }
                }
                _ => Part::Read { first, end },
            };
            if let Part::Read { first, .. } = part {
                let path = segment_path(&self.directory, first);
                let length = fs::metadata(path).map_err(unavailable)?.len();
                budget = budget.saturating_sub(length);
            }
            plan.push(part);
            end = Some(first);
        }
        plan.reverse();
        Ok(plan)
    }

    /// What was kept of the segment from `first` up to `end`; of one that nothing follows, the
    /// newest.
    fn known(&self, first: u64, end: Option<u64>) -> Option<Sealed> {
        let same = |s: &&Sealed| s.edge.first() == first && end.is_none_or(|e| s.edge.end() == e);
        self.known.iter().rfind(same).cloned()
    }

    /// A segment whose lines were deleted and of which nothing but the leaves is known.
    fn deleted(&self, first: u64, end: u64) -> Result<Part, StoreError> {
        let mut edge = Edge::at(first);
        for leaf in sealed::kept_leaves(&self.directory, first, end - first)? {
            edge.push(leaf);
        }
        if edge.end() > end {
            let problem = format!("line {end}: more hashes stand there than lines were deleted");
            return Err(corrupt(&self.directory, &problem));
        }
        Ok(Part::Known(Sealed {
            edge,
            bytes: 0,
            time: self.options.clock.now().wall,
            present: false,
        }))
    }

    /// Even a segment that is not read must be as long as it was.
    fn check_length(&self, sealed: &Sealed) -> Result<(), StoreError> {
        let path = segment_path(&self.directory, sealed.edge.first());
        let length = fs::metadata(&path).map_err(unavailable)?.len();
        if length == sealed.bytes {
            return Ok(());
        }
        let problem = format!("it has {length} bytes and had {}", sealed.bytes);
        Err(corrupt(&path, &problem))
    }

    /// A segment that another one follows ends just before that one.
    fn check_end(&self, first: u64, end: u64, found: &Found) -> Result<(), StoreError> {
        let at = found.edge.end();
        let problem = if at < end {
            format!("line {at}: the segment ends before it")
        } else if at > end {
            format!("line {end}: it stands in the next segment as well")
        } else if found.good < found.total {
            format!("line {end}: what stands there is no line")
        } else {
            return Ok(());
        };
        Err(corrupt(&segment_path(&self.directory, first), &problem))
    }

    /// What is known of a finished segment once it was read.
    fn sealed(&self, found: Found) -> Sealed {
        let known = self.known(found.edge.first(), Some(found.edge.end()));
        match known.filter(|known| known.edge == found.edge) {
            Some(known) => known,
            None => Sealed {
                edge: found.edge,
                bytes: found.total,
                time: self.options.clock.now().wall,
                present: true,
            },
        }
    }

    /// Writes down what is known of finished segments, where that was lost. Only once the whole
    /// tree is the one that is signed.
    fn keep(&self, all: &[Sealed]) -> Result<(), StoreError> {
        for sealed in all {
            let known = self.known(sealed.edge.first(), Some(sealed.edge.end()));
            if known.is_none_or(|known| known.edge != sealed.edge) {
                sealed::keep(&self.options.disk, &self.options.directory, sealed)?;
            }
        }
        Ok(())
    }

    /// The last segment, ready to be written to.
    fn current(&self, found: &Found) -> Result<(Current, u64), StoreError> {
        let path = segment_path(&self.directory, found.edge.first());
        let torn = found.total - found.good;
        if torn > 0 {
            set_aside(&self.options.disk, &path, found.good).map_err(unavailable)?;
        }
        let held = self.options.disk.hold(&path).map_err(unavailable)?;
        // What was read may have been in the page cache only.
        let synced = self.options.disk.sync(held.file());
        synced.map_err(unavailable)?;
        let began = self.options.clock.now().monotonic;
        let current = Current::resumed(found.edge.clone(), found.good, began, held);
        Ok((current, torn))
    }
}

/// What to do with a segment.
enum Part {
    Known(Sealed),
    Read { first: u64, end: Option<u64> },
}

impl Part {
    const fn first(&self) -> u64 {
        match self {
            Self::Known(sealed) => sealed.edge.first(),
            Self::Read { first, .. } => *first,
        }
    }
}
