//! What a drill prints.

use std::time::Duration;

/// Lengths of time, negative ones among them.
#[derive(Debug, Default)]
pub(super) struct Figures(Vec<f64>);

impl Figures {
    /// Adds a length in milliseconds.
    pub(super) fn push(&mut self, millis: f64) {
        self.0.push(millis);
        self.0.sort_by(f64::total_cmp);
    }

    /// The longest, in milliseconds.
    pub(super) fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::INFINITY)
    }

    /// The distribution in one line.
    pub(super) fn line(&self) -> String {
        let at = |share: f64| {
            let place = (share * self.0.len() as f64).ceil() as usize;
            self.0[place.clamp(1, self.0.len()) - 1]
        };
        if self.0.is_empty() {
            return "nothing was measured".to_owned();
        }
        format!(
            "n {}, min {:.1}, p50 {:.1}, p90 {:.1}, p99 {:.1}, max {:.1} ms",
            self.0.len(),
            at(0.0),
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0)
        )
    }
}

/// As a number of milliseconds.
pub(super) fn millis(length: Duration) -> f64 {
    length.as_secs_f64() * 1e3
}
