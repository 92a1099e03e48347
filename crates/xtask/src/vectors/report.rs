//! How many cases came out as they must, and which did not.

use std::fmt;

/// The outcome of a file's cases. A case that fails is printed as it is added.
#[derive(Debug, Default)]
pub(crate) struct Report {
    passed: usize,
    failed: usize,
}

impl Report {
    /// Compares what came out of the case called `name` with what must.
    pub(crate) fn case<T: fmt::Debug + PartialEq>(&mut self, name: &str, expected: &T, found: &T) {
        if expected == found {
            self.passed += 1;
        } else {
            self.failed += 1;
            println!("FAILED {name}: expected {expected:?}, found {found:?}");
        }
    }

    /// Counts the cases of `other` as well.
    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// Whether there were cases, and all of them passed.
    pub(crate) fn is_good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}
