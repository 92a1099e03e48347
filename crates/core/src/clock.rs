//! The injected clock.

use std::cell::Cell;
use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Timestamp;

/// A reading of a clock that never goes backwards, in nanoseconds since a start of its own.
/// Readings of one clock can be compared; those of two clocks can't.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(u64);

impl Monotonic {
    /// The reading `nanos` nanoseconds after the clock's start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub const fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// One reading of both clocks. A request is given one when it enters, and every decision about it
/// uses that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// What the calendar says; it may be set back.
    pub wall: Timestamp,
    /// What limits and ages are measured with; it never goes back.
    pub monotonic: Monotonic,
}

/// Where time comes from. [`SystemClock`] in production, [`ManualClock`] in tests.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Both clocks, read together.
    fn now(&self) -> Moment;

    /// The monotonic clock alone.
    fn monotonic(&self) -> Monotonic {
        self.now().monotonic
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Moment {
        (**self).now()
    }

    fn monotonic(&self) -> Monotonic {
        (**self).monotonic()
    }
}

/// The operating system's clocks. All instances share one monotonic start, so that their readings
/// can be compared within a process.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// The calendar is looked at once in 10 ms on each thread, and carried on by the monotonic
    /// clock in between: one reading of a clock for each request instead of two. A calendar that
    /// is set is seen within that time.
    fn now(&self) -> Moment {
        thread_local!(static READ: Cell<Option<Moment>> = const { Cell::new(None) });
        let monotonic = self.monotonic();
        let known = READ
            .get()
            .map(|read| (read, monotonic.0.saturating_sub(read.monotonic.0)));
        if let Some((read, since)) =
            known.filter(|(_, since)| *since < CARRIED_ON.as_nanos() as u64)
        {
            let micros = read.wall.as_micros() + (since / 1000) as i64;
            let wall = Timestamp::from_micros(micros);
            return Moment { wall, monotonic };
        }
        let read = Moment {
            wall: calendar(),
            monotonic,
        };
        READ.set(Some(read));
        read
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn monotonic(&self) -> Monotonic {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let start = *START;
        let elapsed = Instant::now().saturating_duration_since(start);
        Monotonic(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn calendar() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = since_epoch.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX));
    Timestamp::from_micros(micros)
}

/// How long a reading of the calendar is carried on.
const CARRIED_ON: Duration = Duration::from_millis(10);

/// A clock that stands still until a test moves it. Clones show the same time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Hands>);

#[derive(Debug)]
struct Hands {
    wall: AtomicI64,
    monotonic: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `wall`, an hour after its monotonic start.
    #[must_use]
    pub fn new(wall: Timestamp) -> Self {
        Self(Arc::new(Hands {
            wall: AtomicI64::new(wall.as_micros()),
            monotonic: AtomicU64::new(3_600_000_000_000),
        }))
    }

    /// Lets `by` pass on both clocks.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.0.wall.fetch_add(micros, Ordering::SeqCst);
        self.0.monotonic.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Sets the calendar, backwards if need be, as an operator or NTP would. The monotonic clock
    /// stays where it is.
    pub fn set_wall(&self, wall: Timestamp) {
        self.0.wall.store(wall.as_micros(), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// A clock that shows 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::new(Timestamp::from_micros(1_767_225_600_000_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        Moment {
            wall: Timestamp::from_micros(self.0.wall.load(Ordering::SeqCst)),
            monotonic: Monotonic(self.0.monotonic.load(Ordering::SeqCst)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_clocks_share_one_start_and_never_go_back() {
        let first = SystemClock.monotonic();
        let second = SystemClock.now();
        assert!(second.monotonic >= first);
        assert!(second.wall > Timestamp::default());
    }

    #[test]
    fn a_set_calendar_leaves_the_monotonic_clock_alone() {
        let clock = ManualClock::default();
        let before = clock.now();
        clock.advance(Duration::from_secs(5));
        clock.set_wall(Timestamp::from_micros(7));
        let after = clock.now();
        assert_eq!(after.wall, Timestamp::from_micros(7));
        assert_eq!(
            after.monotonic.duration_since(before.monotonic),
            Duration::from_secs(5)
        );
    }
}
