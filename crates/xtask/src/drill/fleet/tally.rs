//! What a process of the fleet saw: each call, when it was asked and when it was answered.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

/// Who decided about a call, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Admitted,
    Refused,
    /// By local limits, without the server.
    AdmittedHere,
    RefusedHere,
    /// By nobody.
    Failed,
}

/// One call; times are seconds of the machine's calendar.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) asked: f64,
    pub(super) answered: f64,
    pub(super) kind: Kind,
}

/// Calls.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) calls: Vec<Call>,
}

impl Tally {
    /// Reads what a process printed, one call a line.
    pub(super) fn read(text: &str) -> Result<Self> {
        let calls: Result<_> = text.lines().map(Call::read).collect();
        Ok(Self { calls: calls? })
    }

    /// The calls of all.
    pub(super) fn all(tallies: &[Self]) -> Self {
        let calls = tallies.iter().flat_map(|tally| tally.calls.iter().copied());
        Self {
            calls: calls.collect(),
        }
    }

    pub(super) fn only(&self, kinds: &[Kind]) -> Self {
        let calls = self.calls.iter().filter(|call| kinds.contains(&call.kind));
        Self {
            calls: calls.copied().collect(),
        }
    }

    pub(super) fn count(&self, kind: Kind) -> usize {
        self.calls.iter().filter(|call| call.kind == kind).count()
    }

    /// Seconds from the first question to the last answer.
    pub(super) fn length(&self) -> f64 {
        let first = self.calls.iter().map(|call| call.asked).reduce(f64::min);
        let last = self.calls.iter().map(|call| call.answered).reduce(f64::max);
        first.zip(last).map_or(0.0, |(first, last)| last - first)
    }

    /// The longest wait for an answer, in seconds.
    pub(super) fn slowest(&self) -> f64 {
        let waits = self.calls.iter().map(|call| call.answered - call.asked);
        waits.fold(0.0, f64::max)
    }

    /// The most answers of this kind within `window` seconds.
    pub(super) fn busiest(&self, kind: Kind, window: f64) -> usize {
        let calls = self.calls.iter().filter(|call| call.kind == kind);
        let mut times: Vec<f64> = calls.map(|call| call.answered).collect();
        times.sort_by(f64::total_cmp);
        let mut first = 0;
        let within = |(last, time): (usize, &f64)| {
            while time - times[first] > window {
                first += 1;
            }
            last + 1 - first
        };
        times.iter().enumerate().map(within).max().unwrap_or(0)
    }

    /// When the first answer of this kind came after `time`.
    pub(super) fn first_answer(&self, kind: Kind, time: f64) -> Option<f64> {
        let calls = self.calls.iter().filter(|call| call.kind == kind);
        let answers = calls.map(|call| call.answered).filter(|at| *at > time);
        answers.reduce(f64::min)
    }
}

impl Call {
    fn read(line: &str) -> Result<Self> {
        let read = || {
            let mut words = line.split(' ');
            Some(Self {
                asked: words.next()?.parse().ok()?,
                answered: words.next()?.parse().ok()?,
                kind: Kind::read(words.next()?)?,
            })
        };
        read().with_context(|| format!("no call: {line:?}"))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            asked,
            answered,
            kind,
        } = self;
        write!(f, "{asked:.6} {answered:.6} {kind:?}")
    }
}

impl Kind {
    fn read(word: &str) -> Option<Self> {
        let all = [
            Self::Admitted,
            Self::Refused,
            Self::AdmittedHere,
            Self::RefusedHere,
            Self::Failed,
        ];
        all.into_iter().find(|kind| format!("{kind:?}") == word)
    }
}

/// The calendar, which all processes of a machine share.
pub(super) fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(calls: &[(f64, f64, Kind)]) -> Tally {
        let calls = calls.iter().map(|&(asked, answered, kind)| Call {
            asked,
            answered,
            kind,
        });
        Tally {
            calls: calls.collect(),
        }
    }

    #[test]
    fn the_busiest_window_is_found() {
        let at = |time| (time, time, Kind::Admitted);
        let calls = tally(&[
            at(0.0),
            at(0.9),
            at(1.0),
            at(1.5),
            at(1.6),
            (1.5, 1.6, Kind::Refused),
        ]);
        assert_eq!(calls.busiest(Kind::Admitted, 1.0), 4);
        assert_eq!(calls.busiest(Kind::Admitted, 0.05), 1);
        assert_eq!(calls.first_answer(Kind::Admitted, 1.0), Some(1.5));
        assert_eq!(tally(&[]).busiest(Kind::Admitted, 1.0), 0);
    }

    #[test]
    fn a_call_is_read_as_it_was_written() {
        let calls = tally(&[(1.5, 2.25, Kind::AdmittedHere), (2.0, 2.5, Kind::Refused)]);
        let text: Vec<String> = calls.calls.iter().map(ToString::to_string).collect();
        let again = Tally::read(&text.join("\n")).unwrap();
        assert_eq!(again.length(), 1.0);
        assert_eq!(again.count(Kind::AdmittedHere), 1);
        assert!(Tally::read("1 2").is_err());
    }
}
