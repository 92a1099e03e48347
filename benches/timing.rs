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
//! - cold: it knows neither and asks the store: SQLite, and PostgreSQL where
//!   `COUNTERSIGN_TEST_POSTGRES` names a server.
//!
//! Prints a line for each; exits with 1 when one of them differs.
#![allow(clippy::print_stdout, reason = "the output of a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[path = "timing/calls.rs"]
mod calls;
mod support;
#[path = "timing/welch.rs"]
mod welch;

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use countersign::KeyStore;
use countersign::sqlite::SqliteKeyStore;
use countersign_postgres::{PostgresKeyStore, PostgresOptions};

use crate::calls::{Cache, Calls};
use crate::support::drive;
use crate::support::figures::Effort;
use crate::support::keys::{self, Key};
use crate::welch::Samples;

fn main() -> ExitCode {
    let directory = tempfile::tempdir().expect("room for a store");
    let keys = keys::generate(KEYS);
    let same = drive::runtime().block_on(async {
        let store = sqlite(directory.path(), &keys).await;
        let warm = measure("cache warm", &store, &keys, Cache::Warm, MANY).await;
        let cold = measure("cache cold, SQLite", &store, &keys, Cache::Cold, MANY).await;
        let Some(store) = postgres(&keys).await else {
            println!("cache cold, PostgreSQL: not measured, COUNTERSIGN_TEST_POSTGRES is not set");
            return warm && cold;
        };
        let far = measure("cache cold, PostgreSQL", &store, &keys, Cache::Cold, FEWER).await;
        warm && cold && far
    });
    if same {
        return ExitCode::SUCCESS;
    }
    println!("a refusal tells whether a prefix is known");
    ExitCode::FAILURE
}

/// Whether both kinds of refusal take the same time, of so many calls of each.
async fn measure(
    name: &str,
    store: &Arc<dyn KeyStore>,
    keys: &[Key],
    cache: Cache,
    each: usize,
) -> bool {
    let mut calls = Calls::new(Arc::clone(store), keys, cache).await;
    let count = 2 * Effort::from_arguments().of(each);
    let mut samples = Samples::default();
    calls.run(count / 100, &mut Samples::default()).await;
    calls.run(count, &mut samples).await;
    println!("{name}: {samples}");
    !samples.differ()
}

async fn sqlite(directory: &Path, keys: &[Key]) -> Arc<dyn KeyStore> {
    let store = SqliteKeyStore::open(directory.join("keys.db")).expect("a new store");
    keys::fill(&store, keys).await;
    Arc::new(store)
}

async fn postgres(keys: &[Key]) -> Option<Arc<dyn KeyStore>> {
    let address = env::var("COUNTERSIGN_TEST_POSTGRES").ok()?;
    let options: PostgresOptions = address.parse().expect("an address");
    let schema = format!("timing_{}", std::process::id());
    let options = options.schema(&schema).expect("a schema's name");
    let store = PostgresKeyStore::connect(options).await.expect("a store");
    keys::fill(&store, keys).await;
    Some(Arc::new(store))
}

const KEYS: usize = 1000;
const MANY: usize = 1_000_000;
/// A call to a server takes long.
const FEWER: usize = 100_000;
