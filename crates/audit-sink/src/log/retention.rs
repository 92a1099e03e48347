//! Letting go of lines whose time is over: an event tells of it first, and once that is signed the
//! lines are deleted. So no lines are ever gone without a word, wherever the process ends.

use countersign_core::Moment;

use super::sealed::{self, Sealed};
use super::store::Store;
use super::verify::told::Told;
use crate::Notice;

/// The segments whose lines are to go.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    segments: Vec<Leaver>,
    told: Told,
}

#[derive(Debug)]
struct Leaver {
    first: u64,
    end: u64,
    /// The size of the tree with the event that tells of it.
    told_at: Option<u64>,
}

impl Leaving {
    fn has(&self, sealed: &Sealed) -> bool {
        let first = sealed.edge.first();
        self.segments.iter().any(|leaver| leaver.first == first)
    }

    /// Takes in what new lines tell; `size` is that of the tree with them.
    pub(super) fn hear(&mut self, lines: &[u8], size: u64) {
        if self.segments.iter().all(|leaver| leaver.told_at.is_some()) {
            return;
        }
        for line in lines.split(|byte| *byte == b'\n') {
            self.told.hear(line);
        }
        let told = &self.told;
        let waiting = self.segments.iter_mut();
        waiting
            .filter(|leaver| leaver.told_at.is_none() && told.reaches(leaver.end))
            .for_each(|leaver| leaver.told_at = Some(size));
    }

    /// The oldest, if what tells of it is signed.
    fn take(&mut self, signed: Option<u64>) -> Option<u64> {
        let told_at = self.segments.first()?.told_at?;
        let is_signed = signed.is_some_and(|signed| told_at <= signed);
        is_signed.then(|| self.segments.remove(0).first)
    }
}

impl Store {
    /// Tells of the segments whose time is over. One that could not be deleted is told of again.
    pub(super) fn retain(&mut self, now: Moment) {
        let limits = &self.limits;
        let present = || self.sealed.iter().filter(|sealed| sealed.present);
        let mut bytes: u64 = present().map(|sealed| sealed.bytes).sum();
        for sealed in present() {
            let age = now.wall.duration_since(sealed.time);
            let old = limits.keep_for.is_some_and(|limit| age >= limit);
            if !old && limits.keep_bytes.is_none_or(|limit| bytes <= limit) {
                break;
            }
            bytes -= sealed.bytes;
            if self.leaving.has(sealed) {
                continue;
            }
            let (first, end) = (sealed.edge.first(), sealed.edge.end());
            self.notices.push(Notice::removed(first, end - first));
            self.leaving.segments.push(Leaver {
                first,
                end,
                told_at: None,
            });
        }
    }

    /// Deletes the lines of segments that a signed event tells of. A failure is told and tried
    /// again with the next segment: it must not stop the log.
    pub(super) fn remove_told(&mut self) {
        while let Some(first) = self.leaving.take(self.checkpoints.stored) {
            let segments = self.segments();
            let mut known = self.sealed.iter_mut();
            let Some(sealed) = known.find(|sealed| sealed.edge.first() == first) else {
                continue;
            };
            if let Err(error) = sealed::remove_lines(&self.disk, &segments, sealed) {
                tracing::error!(
                    target: "countersign",
                    error = &error as &dyn std::error::Error,
                    first,
                    "an old audit segment can't be deleted"
                );
                // Nor may a later one go before it.
                self.leaving.segments.clear();
                return;
            }
            sealed.present = false;
        }
    }
}
