//! Events that are durable in PostgreSQL: how many a second, with the tree signed as it grows.
#![allow(clippy::print_stdout, reason = "the output of a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[path = "audit/events.rs"]
mod events;
#[path = "support/figures.rs"]
mod figures;
#[path = "audit/load.rs"]
mod load;

use std::env;

use countersign_audit_sink::FileSigner;
use countersign_postgres::PostgresOptions;
use countersign_postgres::audit::PostgresLog;
use figures::{Effort, median, tell};

fn main() {
    let address =
        env::var("COUNTERSIGN_TEST_POSTGRES").expect("COUNTERSIGN_TEST_POSTGRES is a server");
    let effort = Effort::from_arguments();
    for in_flight in [16, 256] {
        let events = effort.of(100 * in_flight + 10_000) / in_flight * in_flight;
        let mut rates = Vec::new();
        for round in 0..=effort.rounds {
            let schema = format!("bench_{}_{in_flight}_{round}", std::process::id());
            rates.push(rate(&address, &schema, in_flight, events));
        }
        // The first round only warms up.
        rates.remove(0);
        tell(
            &format!("audit durable in PostgreSQL, {in_flight} in flight"),
            median(rates),
            "events/s",
        );
    }
}

/// Events a second in a log of its own.
fn rate(address: &str, schema: &str, in_flight: usize, events: usize) -> f64 {
    let directory = tempfile::tempdir().expect("room for a key");
    let signer = FileSigner::create(directory.path().join("key"), "example.com/bench");
    let separator = if address.contains('?') { '&' } else { '?' };
    let address = format!("{address}{separator}schema={schema}");
    let options: PostgresOptions = address.parse().expect("an address");
    let log = PostgresLog::options(options)
        .origin("example.com/bench")
        .signer(signer.expect("a new key"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let log = runtime.block_on(log.open()).expect("a new log");
    events as f64 / load::seconds(log, in_flight, events)
}
