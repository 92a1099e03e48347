//! How a benchmark tells a figure: one line of JSON on its standard output.

use std::env;

use serde_json::json;

/// Tells one figure.
pub(crate) fn tell(name: &str, value: f64, unit: &str) {
    println!("{}", json!({"name": name, "value": value, "unit": unit}));
}

/// The median of `values`.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// How thoroughly to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    quick: bool,
}

impl Effort {
    /// Less with `--quick` on the command line.
    pub(crate) fn from_arguments() -> Self {
        let quick = env::args().any(|argument| argument == "--quick");
        let rounds = if quick { 3 } else { 7 };
        Self { rounds, quick }
    }

    /// `full`, or a tenth of it.
    pub(crate) fn of(self, full: usize) -> usize {
        if self.quick { full / 10 } else { full }
    }
}
