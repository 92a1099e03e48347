//! How often each subject did what there are rules about.

use std::sync::{Mutex, PoisonError};

use countersign_core::{AbuseKind, AbuseSubject};

use super::penalties::nanos;
use super::rules::AbuseRule;
use super::sliding::Sliding;
use super::ways::Ways;

/// Counters by kind and subject. Keys have places of their own: made-up sources can't take them,
/// nor can made-up prefixes take those of sources.
#[derive(Debug)]
pub(super) struct Counters {
    keys: Ways<Sliding>,
    sources: Ways<Sliding>,
    prefixes: Ways<Sliding>,
    platform: Mutex<Sliding>,
}

impl Counters {
    pub(super) fn new(keys: usize, subjects: usize) -> Self {
        Self {
            keys: Ways::new(keys),
            sources: Ways::new(subjects),
            prefixes: Ways::new(subjects),
            platform: Mutex::default(),
        }
    }

    /// Counts once more what `subject` did. How often it was, if the rule is met and that was not
    /// told within the window.
    pub(super) fn count(
        &self,
        kind: AbuseKind,
        subject: &AbuseSubject,
        rule: &AbuseRule,
        at: u64,
    ) -> Option<u32> {
        let count = |counter: &mut Sliding| {
            let count = counter.count(at, nanos(rule.window));
            (count >= rule.count && counter.tell()).then_some(count)
        };
        let table = match subject {
            AbuseSubject::Key(_) => &self.keys,
            AbuseSubject::Source(_) => &self.sources,
            AbuseSubject::Prefix(_) => &self.prefixes,
            _ => {
                let platform = self.platform.lock();
                return count(&mut platform.unwrap_or_else(PoisonError::into_inner));
            }
        };
        table.with(table.name(&(kind, subject)), count)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes() + self.sources.bytes() + self.prefixes.bytes()
    }
}
