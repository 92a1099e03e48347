//! How often something happened lately.

use super::ways::Place;

/// Counts in a window that slides in sixths: what it counts lies between five sixths and the whole
/// of the window back. So it never counts what is older than the window, and `n` events within
/// five sixths of it are always seen as `n`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sliding {
    /// The number of the sixth that counts now.
    newest: u32,
    /// The number of the sixth before which nothing is told again.
    quiet_until: u32,
    counts: [u16; SIXTHS],
}

impl Sliding {
    /// Counts one event at `at` and says how many there were in `window`, both in nanoseconds. An
    /// event that comes late counts as of the latest that was seen.
    pub(super) fn count(&mut self, at: u64, window: u64) -> u32 {
        let sixth = at / (window / SIXTHS as u64).max(1);
        self.turn_to(u32::try_from(sixth).unwrap_or(u32::MAX));
        let place = self.newest as usize % SIXTHS;
        self.counts[place] = self.counts[place].saturating_add(1);
        self.counts.iter().copied().map(u32::from).sum()
    }

    /// Whether it is time to tell of it: once in a window. Then counting begins anew.
    pub(super) fn tell(&mut self) -> bool {
        if self.newest < self.quiet_until {
            return false;
        }
        self.counts = [0; SIXTHS];
        self.quiet_until = self.newest.saturating_add(SIXTHS as u32);
        true
    }

    fn turn_to(&mut self, sixth: u32) {
        let passed = sixth.saturating_sub(self.newest).min(SIXTHS as u32);
        for step in 1..=passed {
            let place = sixth.wrapping_sub(passed).wrapping_add(step) as usize % SIXTHS;
            self.counts[place] = 0;
        }
        self.newest = self.newest.max(sixth);
    }
}

impl Place for Sliding {
    /// Who was seen most stays; of those alike, who was seen last.
    fn worth(&self) -> u64 {
        let seen: u32 = self.counts.iter().copied().map(u32::from).sum();
        u64::from(seen) << 32 | u64::from(self.newest)
    }
}

const SIXTHS: usize = 6;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: u64 = 60_000;

    proptest! {
        /// Against a list of all events: never more than there were in the window, never fewer than
        /// there were in five sixths of it.
        #[test]
        fn the_count_lies_between_the_window_and_five_sixths_of_it(
            steps in proptest::collection::vec(0u64..20_000, 1..200),
        ) {
            let mut sliding = Sliding::default();
            let mut seen = Vec::new();
            let mut at = 0;
            for step in steps {
                at += step;
                seen.push(at);
                let count = sliding.count(at, WINDOW) as usize;
                let within = |span: u64| seen.iter().filter(|t| **t + span > at).count();
                prop_assert!(count <= within(WINDOW), "{count} at {at}");
                prop_assert!(count >= within(WINDOW / 6 * 5), "{count} at {at}");
            }
        }
    }

    #[test]
    fn a_clock_that_goes_back_forgets_nothing() {
        let mut sliding = Sliding::default();
        assert_eq!(sliding.count(50_000, WINDOW), 1);
        assert_eq!(sliding.count(10_000, WINDOW), 2);
        assert_eq!(sliding.count(50_000, WINDOW), 3);
    }

    #[test]
    fn it_is_told_once_in_a_window() {
        let mut sliding = Sliding::default();
        sliding.count(WINDOW, WINDOW);
        assert!(sliding.tell());
        sliding.count(2 * WINDOW - 1, WINDOW);
        assert!(!sliding.tell());
        assert_eq!(
            sliding.count(2 * WINDOW, WINDOW),
            2,
            "what was not told is still counted"
        );
        assert!(sliding.tell());
        assert_eq!(sliding.count(2 * WINDOW, WINDOW), 1);
    }

    #[test]
    fn counting_stops_at_its_bound() {
        let mut sliding = Sliding::default();
        for _ in 0..70_000 {
            sliding.count(1, WINDOW);
        }
        assert_eq!(sliding.count(1, WINDOW), 65_535);
    }
}
