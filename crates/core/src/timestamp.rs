//! Wall-clock time in microseconds.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ParseError;

/// A point in time, UTC, in microseconds since the Unix epoch. Prints as RFC 3339 with six digits
/// of fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The time that is `micros` microseconds after the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the Unix epoch, 0 for a time before it.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        if self.0 < 0 { 0 } else { self.0 as u64 / 1000 }
    }

    /// This time and `duration`, or the end of time.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// This time less `duration`, or the beginning of time.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn duration_since(self, earlier: Self) -> Duration {
        let micros = self.0.saturating_sub(earlier.0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

impl Timestamp {
    /// The time as it is displayed, for whoever shows many: of times within one second only the
    /// fraction is written anew. `None` for a year that four digits don't tell.
    #[must_use]
    pub fn ascii(self) -> Option<[u8; Self::LEN]> {
        thread_local!(static LAST: Cell<(i64, [u8; Timestamp::LEN])> = const {
            Cell::new((i64::MIN, [0; Timestamp::LEN]))
        });
        let (second, mut micros) = (self.0.div_euclid(MICROS), self.0.rem_euclid(MICROS));
        let (known, mut text) = LAST.get();
        if known != second {
            text = self.to_string().as_bytes().try_into().ok()?;
            LAST.set((second, text));
        }
        for digit in text[FRACTION].iter_mut().rev() {
            *digit = b'0' + (micros % 10) as u8;
            micros /= 10;
        }
        Some(text)
    }

    /// The length of a time of these days: `2026-01-01T00:00:00.000000Z`.
    pub const LEN: usize = 27;
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(f, "{time:.6}"),
            Err(_) => write!(f, "@{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>()
            .map(|time| Self(time.as_microsecond()))
            .map_err(|_| ParseError::new("time", "RFC 3339, for example 2026-11-20T08:00:00Z"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

const MICROS: i64 = 1_000_000;
const FRACTION: Range<usize> = 20..26;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_is_written_as_it_is_displayed(
            micros in prop_oneof![0..4_102_444_800_000_000_i64, any::<i64>()],
            steps in prop::collection::vec(0..3_000_000_i64, 4),
        ) {
            for step in steps {
                let time = Timestamp::from_micros(micros.saturating_add(step));
                let shown = time.to_string();
                let expected = (shown.len() == Timestamp::LEN).then_some(shown.into_bytes());
                prop_assert_eq!(time.ascii().map(|text| text.to_vec()), expected);
            }
        }
    }

    #[test]
    fn prints_and_parses_microseconds() {
        let time = Timestamp::from_micros(1_795_213_683_123_456);
        assert_eq!(time.to_string().parse::<Timestamp>(), Ok(time));
        assert_eq!(
            Timestamp::from_micros(0).to_string(),
            "1970-01-01T00:00:00.000000Z"
        );
    }

    #[test]
    fn never_overflows() {
        let end = Timestamp::from_micros(i64::MAX);
        assert_eq!(end.saturating_add(Duration::MAX), end);
        assert_eq!(
            Timestamp::default().duration_since(end),
            Duration::ZERO,
            "an earlier time is no time after"
        );
    }
}
