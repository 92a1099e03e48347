//! For how long a subject is refused: longer each time, and forgotten step by step.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_core::{AbusePenalty, AbuseSubject, ConfigError};

use super::ways::{Place, Ways};

/// How long a penalty lasts. The first one lasts `first`, each further one twice as long as the
/// one before, at most `longest`; for each `forgiven_after` without a new one, one is forgotten.
///
/// ```
/// use std::time::Duration;
/// use countersign_rate_limit::AbusePenalties;
///
/// let minute = Duration::from_secs(60);
/// let penalties = AbusePenalties::new(minute, 60 * minute, 10 * minute);
/// assert_eq!(penalties.lasts(1), minute);
/// assert_eq!(penalties.lasts(4), 8 * minute);
/// assert_eq!(penalties.lasts(200), 60 * minute);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbusePenalties {
    first: Duration,
    longest: Duration,
    forgiven_after: Duration,
}

impl AbusePenalties {
    /// Penalties from `first` to `longest`, each forgotten `forgiven_after` its end.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration, forgiven_after: Duration) -> Self {
        Self {
            first,
            longest,
            forgiven_after,
        }
    }

    /// How long the penalty lasts that is the `level`th in a row, from 1.
    #[must_use]
    pub fn lasts(&self, level: u8) -> Duration {
        let doublings = u32::from(level.saturating_sub(1)).min(31);
        let lasts = self.first.saturating_mul(1 << doublings);
        lasts.min(self.longest)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let day = Duration::from_secs(86_400);
        if self.first.as_secs() >= 1
            && self.longest >= self.first
            && self.longest <= day
            && self.forgiven_after.as_secs() >= 1
        {
            return Ok(());
        }
        let problem = "the first lasts at least a second, the longest not less and at most a day, \
            and none is forgotten within a second";
        Err(ConfigError::new("abuse penalties", problem))
    }
}

impl Default for AbusePenalties {
    /// A minute, at most an hour, and one forgotten every ten minutes.
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Self::new(minutes(1), minutes(60), minutes(10))
    }
}

/// Who is refused until when. Keys have places of their own, which nobody who has no key can take.
#[derive(Debug)]
pub(super) struct Sentences {
    length: AbusePenalties,
    keys: Ways<Sentence>,
    others: Ways<Sentence>,
    /// When the last penalty of a key ends, in nanoseconds: until then keys are looked up.
    keys_until: AtomicU64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sentence {
    began: u64,
    until: u64,
    level: u8,
}

impl Sentences {
    pub(super) fn new(length: AbusePenalties, keys: usize, others: usize) -> Self {
        Self {
            length,
            keys: Ways::new(keys),
            others: Ways::new(others),
            keys_until: AtomicU64::new(0),
        }
    }

    /// Refuses `subject` from `at` on. `None` where less than half of a penalty is served: what
    /// arrives then was under way when it began, or is the same offence going on. Who still goes on
    /// after that is kept away anew.
    pub(super) fn impose(&self, subject: &AbuseSubject, at: u64) -> Option<AbusePenalty> {
        let (table, name) = self.place(subject);
        let (penalty, until) = table.with(name, |sentence| {
            if at < sentence.began.midpoint(sentence.until) {
                return None;
            }
            sentence.level = self.level_at(sentence, at).saturating_add(1);
            let lasts = self.length.lasts(sentence.level);
            sentence.began = at;
            sentence.until = at.saturating_add(nanos(lasts)).max(sentence.until);
            let level = sentence.level;
            Some((AbusePenalty { lasts, level }, sentence.until))
        })?;
        if matches!(subject, AbuseSubject::Key(_)) {
            self.keys_until.fetch_max(until, Ordering::Relaxed);
        }
        Some(penalty)
    }

    /// How long `subject` is still refused at `at`.
    pub(super) fn wait(&self, subject: &AbuseSubject, at: u64) -> Option<Duration> {
        let (table, name) = self.place(subject);
        let until = table.find(name, |sentence| sentence.until)?;
        (until > at).then(|| Duration::from_nanos(until - at))
    }

    /// Whether no key is refused at `at`, as almost always: one load that nobody writes.
    #[inline]
    pub(super) fn no_key_waits(&self, at: u64) -> bool {
        at >= self.keys_until.load(Ordering::Relaxed)
    }

    /// Forgets all penalties of `subject`. Whether there was one under way at `at`.
    pub(super) fn pardon(&self, subject: &AbuseSubject, at: u64) -> bool {
        let (table, name) = self.place(subject);
        let until = table.find(name, |sentence| std::mem::take(sentence).until);
        until.is_some_and(|until| until > at)
    }

    fn level_at(&self, sentence: &Sentence, at: u64) -> u8 {
        let quiet = at.saturating_sub(sentence.until);
        let forgotten = quiet / nanos(self.length.forgiven_after).max(1);
        sentence
            .level
            .saturating_sub(u8::try_from(forgotten).unwrap_or(u8::MAX))
    }

    fn place(&self, subject: &AbuseSubject) -> (&Ways<Sentence>, crate::cells::Fingerprint) {
        let table = match subject {
            AbuseSubject::Key(_) => &self.keys,
            _ => &self.others,
        };
        (table, table.name(subject))
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes() + self.others.bytes()
    }
}

impl Place for Sentence {
    /// Who is refused longest stays.
    fn worth(&self) -> u64 {
        self.until
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use countersign_core::KeyId;

    use super::*;

    const KEY: AbuseSubject = AbuseSubject::Key(KeyId::from_u128(7));
    const MINUTE: u64 = 60_000_000_000;

    fn sentences() -> Sentences {
        Sentences::new(AbusePenalties::default(), 64, 64)
    }

    #[test]
    fn penalties_escalate_to_the_longest_and_decay() {
        let sentences = sentences();
        let mut at = MINUTE;
        let mut lasts = Vec::new();
        for _ in 0..8 {
            let penalty = sentences.impose(&KEY, at).unwrap();
            assert_eq!(sentences.wait(&KEY, at), Some(penalty.lasts));
            lasts.push(penalty.lasts.as_secs() / 60);
            at += nanos(penalty.lasts);
            assert_eq!(sentences.wait(&KEY, at), None, "over to the nanosecond");
        }
        assert_eq!(lasts, [1, 2, 4, 8, 16, 32, 60, 60]);
        let level = |at| sentences.impose(&KEY, at).unwrap().level;
        assert_eq!(level(at + 30 * MINUTE), 6, "three of eight are forgotten");
        assert_eq!(level(at + 10_000 * MINUTE), 1, "all are");
    }

    #[test]
    fn a_penalty_is_made_longer_only_when_half_of_it_is_served() {
        let sentences = sentences();
        let start = 10 * MINUTE;
        assert_eq!(sentences.impose(&KEY, start).unwrap().level, 1);
        assert_eq!(sentences.impose(&KEY, start), None);
        assert_eq!(sentences.impose(&KEY, start + MINUTE / 2 - 1), None);
        let second = sentences.impose(&KEY, start + MINUTE / 2).unwrap();
        assert_eq!((second.level, second.lasts.as_secs()), (2, 120));
        let left = sentences.wait(&KEY, start + MINUTE).unwrap();
        assert_eq!(left.as_secs(), 90, "counted from when it was imposed");
    }

    #[test]
    fn a_pardon_ends_it_and_its_history() {
        let sentences = sentences();
        sentences.impose(&KEY, MINUTE);
        assert!(!sentences.no_key_waits(MINUTE));
        assert!(sentences.pardon(&KEY, MINUTE));
        assert!(!sentences.pardon(&KEY, MINUTE));
        assert_eq!(sentences.wait(&KEY, MINUTE), None);
        assert_eq!(sentences.impose(&KEY, MINUTE).unwrap().level, 1);
    }

    #[test]
    fn sources_don_t_make_keys_look_up_anything() {
        let sentences = sentences();
        let bucket = countersign_core::source::SourceBucket::of("192.0.2.1".parse().unwrap());
        sentences.impose(&AbuseSubject::Source(bucket), MINUTE);
        assert!(sentences.no_key_waits(MINUTE));
    }

    #[test]
    fn lengths_that_make_no_sense_are_refused() {
        let of = |a, b, c| {
            let s = Duration::from_secs;
            AbusePenalties::new(s(a), s(b), s(c)).check().is_ok()
        };
        assert!(of(1, 1, 1) && of(1, 86_400, 1));
        assert!(!of(0, 1, 1) && !of(2, 1, 1) && !of(1, 86_401, 1) && !of(1, 1, 0));
    }
}
