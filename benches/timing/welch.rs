//! The two samples and their comparison.

use std::fmt;

/// The nanoseconds of calls: those with a wrong secret, and those with an unknown prefix.
#[derive(Debug, Default)]
pub(crate) struct Samples([Vec<u32>; 2]);

/// The mean and the variance of a sample.
struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Samples {
    /// Adds a call to the first sample, or to the second.
    pub(crate) fn push(&mut self, second: bool, nanos: u128) {
        self.0[usize::from(second)].push(u32::try_from(nanos).unwrap_or(u32::MAX));
    }

    /// Whether the samples are from different distributions.
    pub(crate) fn differ(&self) -> bool {
        let same = self.t().abs() < LIMIT;
        // Not a number, for samples of nothing, is no sameness.
        !same
    }

    /// Welch's t.
    fn t(&self) -> f64 {
        let [a, b] = self
            .0
            .each_ref()
            .map(|sample| Moments::of(sample, u32::MAX));
        let error = (a.variance / a.count + b.variance / b.count).sqrt();
        (a.mean - b.mean) / error
    }

    /// What nine of ten calls took at most, of both samples together.
    fn usual(&self) -> u32 {
        let mut all = self.0.concat();
        let place = all.len() * 9 / 10;
        *all.select_nth_unstable(place).1
    }
}

impl Moments {
    fn of(sample: &[u32], at_most: u32) -> Self {
        let usual = || sample.iter().filter(|nanos| **nanos <= at_most);
        let count = usual().count() as f64;
        let mean = usual().map(|nanos| f64::from(*nanos)).sum::<f64>() / count;
        let squares = usual().map(|nanos| (f64::from(*nanos) - mean).powi(2));
        let variance = squares.sum::<f64>() / (count - 1.0);
        Self {
            count,
            mean,
            variance,
        }
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = self.usual();
        let [wrong, unknown] = self.0.each_ref().map(|sample| Moments::of(sample, usual));
        write!(
            f,
            "t {:.2} over {} + {} calls; nine of ten: wrong secret {:.1} ns, unknown prefix {:.1} ns",
            self.t(),
            self.0[0].len(),
            self.0[1].len(),
            wrong.mean,
            unknown.mean
        )
    }
}

/// Under it a difference is taken for noise: beyond it one pair of equal samples in 150 000 goes.
const LIMIT: f64 = 4.5;
