//! Whether the time of a refusal tells a prefix that is known from one that is not: a key with the
//! right prefix and a wrong secret against a key with an unknown prefix.
//!
//! One call at a time goes through the layer that verifies keys, from the request to the answer. A
//! coin decides before each call which of the two it is, so that whatever else the machine does
//! meets both alike. The two samples are compared by Welch's t over all calls; |t| at or above 4.5
//! is a difference. Beside it stand the means of the quicker nine tenths, which the machine's own
//! interruptions don't blur.
//!
//! - warm: the cache knows the key, or that there is none;
//! - cold: it knows neither and asks the store, SQLite here.
//!
//! Prints a line for each; exits with 1 when one of them differs.
#![allow(clippy::print_stdout, reason = "the output of a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[path = "timing/calls.rs"]
mod calls;
mod support;
#[path = "timing/welch.rs"]
mod welch;

use std::process::ExitCode;
use std::sync::Arc;

use countersign::KeyStore;
use countersign::sqlite::SqliteKeyStore;

use crate::calls::{Cache, Calls};
use crate::support::drive;
use crate::support::figures::Effort;
use crate::support::keys;
use crate::welch::Samples;

fn main() -> ExitCode {
    let effort = Effort::from_arguments();
    let directory = tempfile::tempdir().expect("room for a store");
    let file = directory.path().join("keys.db");
    let keys = keys::generate(KEYS);
    let runtime = drive::runtime();
    let store: Arc<dyn KeyStore> = Arc::new(SqliteKeyStore::open(file).expect("a new store"));
    runtime.block_on(keys::fill(&*store, &keys));
    let mut differs = false;
    for (name, cache) in [("cache warm", Cache::Warm), ("cache cold", Cache::Cold)] {
        let mut calls = runtime.block_on(Calls::new(Arc::clone(&store), &keys, cache));
        let count = 2 * effort.of(1_000_000);
        let mut samples = Samples::default();
        runtime.block_on(calls.run(count / 100, &mut Samples::default()));
        runtime.block_on(calls.run(count, &mut samples));
        println!("{name}: {samples}");
        differs |= samples.differ();
    }
    if differs {
        println!("a refusal tells whether a prefix is known");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

const KEYS: usize = 1000;
