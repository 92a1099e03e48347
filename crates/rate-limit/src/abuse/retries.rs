//! Who was told to wait until when.

use countersign_core::AbuseSubject;

use super::ways::{Place, Ways};

/// What refused callers were told about coming back. Only refusals are taken down: a caller that is
/// let through costs nothing here.
#[derive(Debug)]
pub(super) struct Retries {
    keys: Ways<Told>,
    others: Ways<Told>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Told {
    at: u64,
    until: u64,
}

impl Retries {
    pub(super) fn new(keys: usize, others: usize) -> Self {
        Self {
            keys: Ways::new(keys),
            others: Ways::new(others),
        }
    }

    /// Takes down that `subject`, whose request came at `at`, is refused and told to come back in
    /// `wait` nanoseconds. Whether it had been told before and didn't wait.
    ///
    /// What comes within half a second of the first refusal was under way and ignores nothing.
    pub(super) fn refused(&self, subject: &AbuseSubject, at: u64, wait: u64) -> bool {
        let table = match subject {
            AbuseSubject::Key(_) => &self.keys,
            _ => &self.others,
        };
        table.with(table.name(subject), |told| {
            if at < told.until {
                return at >= told.at.saturating_add(UNDER_WAY);
            }
            *told = Told {
                at,
                until: at.saturating_add(wait),
            };
            false
        })
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes() + self.others.bytes()
    }
}

impl Place for Told {
    /// Who has to wait longest stays.
    fn worth(&self) -> u64 {
        self.until
    }
}

const UNDER_WAY: u64 = 500_000_000;

#[cfg(test)]
mod tests {
    use countersign_core::KeyId;

    use super::*;

    #[test]
    fn who_comes_back_too_early_ignores_it_and_who_waits_does_not() {
        let retries = Retries::new(8, 8);
        let key = AbuseSubject::Key(KeyId::from_u128(7));
        let second = 1_000_000_000;
        let refused = |at: u64| retries.refused(&key, at, 2 * second);
        assert!(!refused(10 * second), "told for the first time");
        assert!(!refused(10 * second + 499_999_999), "under way");
        assert!(refused(10 * second + 500_000_000));
        assert!(refused(12 * second - 1));
        assert!(!refused(12 * second), "it waited, and is told again");
        assert!(refused(13 * second));
    }
}
