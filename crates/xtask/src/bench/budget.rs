//! What the project promises about its speed. Ratios are measured side by side in one run;
//! absolute times would only tell one machine from another.

use serde::Deserialize;

/// What a benchmark measured.
#[derive(Debug, Deserialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: String,
}

/// The bounds of one figure.
#[derive(Debug)]
pub(super) struct Budget {
    name: &'static str,
    wanted: Wanted,
    pub(super) must: f64,
    pub(super) aim: f64,
}

/// Which side of a bound is the good one.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    AtMost,
    AtLeast,
}

impl Budget {
    const fn at_most(name: &'static str, must: f64, aim: f64) -> Self {
        let wanted = Wanted::AtMost;
        Self {
            name,
            wanted,
            must,
            aim,
        }
    }

    const fn at_least(name: &'static str, must: f64, aim: f64) -> Self {
        let wanted = Wanted::AtLeast;
        Self {
            name,
            wanted,
            must,
            aim,
        }
    }

    /// Whether `value` keeps the *must*.
    pub(super) fn allows(&self, value: f64) -> bool {
        self.wanted.holds(value, self.must)
    }

    /// A bound as the table shows it.
    pub(super) fn bound(&self, bound: f64) -> String {
        let sign = match self.wanted {
            Wanted::AtMost => '≤',
            Wanted::AtLeast => '≥',
        };
        format!("{sign} {}", number(bound))
    }

    /// One word on `value`.
    pub(super) fn verdict(&self, value: f64) -> &'static str {
        if self.wanted.holds(value, self.aim) {
            "aim"
        } else if self.allows(value) {
            "ok"
        } else {
            "MISSED"
        }
    }
}

impl Wanted {
    /// A value that is not a number holds no bound.
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::AtMost => value <= bound,
            Self::AtLeast => value >= bound,
        }
    }
}

/// The budget of the figure called `name`, if there is one.
pub(super) fn of(name: &str) -> Option<&'static Budget> {
    BUDGET.iter().find(|budget| budget.name == name)
}

/// A figure with as many digits as it needs.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        large if large >= 10_000.0 => format!("{:.0} k", value / 1000.0),
        middle if middle >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

const BUDGET: &[Budget] = &[
    Budget::at_most("added time ÷ assembled B's", 0.7, 0.45),
    Budget::at_most("allocations added", 10.0, 6.0),
    Budget::at_most("refusing garbage ÷ allowed", 0.7, 0.4),
    Budget::at_most("p99, audit on ÷ off", 2.0, 1.3),
    Budget::at_most("keyed limit check ÷ governor, 1 thread", 1.0, 0.7),
    Budget::at_most("keyed limit check ÷ governor, 2 threads, one key", 1.0, 0.7),
    Budget::at_most("limit layer ÷ tower_governor, allowed", 1.0, 0.7),
    Budget::at_most("limit layer ÷ tower_governor, refused", 1.0, 0.7),
    Budget::at_least("2 threads ÷ 1, distinct keys", 1.7, 1.9),
    Budget::at_least("2 threads ÷ 1, one hot key", 1.5, 1.8),
    Budget::at_least(
        "2 threads ÷ 1 in the router, ÷ the bare router's, distinct keys",
        0.85,
        1.0,
    ),
    Budget::at_least(
        "2 threads ÷ 1 in the router, ÷ the bare router's, one hot key",
        0.85,
        1.0,
    ),
    Budget::at_most("keys from 1 M ÷ from 1 k", 2.0, 1.6),
    Budget::at_most("memory of one idle limited key", 200.0, 100.0),
    Budget::at_most("memory of one cached key", 800.0, 500.0),
    Budget::at_most("start with 1 M keys, to the first answer", 1000.0, 100.0),
    Budget::at_most("scope test, 1 000 scopes ÷ 10 scopes", 2.0, 1.5),
    Budget::at_most("contract match, 2 000 endpoints ÷ 10 endpoints", 5.0, 3.3),
    Budget::at_least("audit queue to disk", 100_000.0, 500_000.0),
    Budget::at_least("audit durable, 16 in flight ÷ the disk", 0.6, 0.9),
    Budget::at_least("audit durable, 16 in flight", 15_000.0, 24_600.0),
    Budget::at_least("audit durable, 256 in flight", 60_000.0, 78_700.0),
    Budget::at_most("verifying 1 M audit records", 10.0, 3.0),
    Budget::at_most("audit restart with 1 M events", 1.0, 0.5),
    Budget::at_least("loopback: requests/s with ÷ without", 0.85, 0.93),
    Budget::at_least("loopback: requests/s refused ÷ allowed", 0.9, 1.1),
    Budget::at_least("Redis decisions/s ÷ plain EVALSHA", 0.7, 0.9),
    Budget::at_most("tonic stack's added time ÷ the HTTP stack's", 1.5, 1.2),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_has_a_side() {
        let time = Budget::at_most("time", 0.7, 0.4);
        assert_eq!(time.verdict(0.4), "aim");
        assert_eq!(time.verdict(0.7), "ok");
        assert_eq!(time.verdict(0.71), "MISSED");
        let rate = Budget::at_least("rate", 0.85, 1.0);
        assert_eq!(rate.verdict(1.2), "aim");
        assert!(!rate.allows(0.8));
        assert!(!rate.allows(f64::NAN));
        assert!(!time.allows(f64::NAN));
    }

    #[test]
    fn names_are_unique() {
        for (i, budget) in BUDGET.iter().enumerate() {
            assert!(BUDGET[..i].iter().all(|other| other.name != budget.name));
        }
    }
}
