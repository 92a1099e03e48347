//! The time of one request in an axum router, warm, one thread.

use axum::Router;
use http::StatusCode;
use tokio::runtime::Runtime;

use crate::support::caller::Callers;
use crate::support::figures::{Effort, median, tell};
use crate::support::keys::{self, Draw, Key};
use crate::support::ours::{self, Discard, Ours};
use crate::support::{api, assembled_a, assembled_b, drive};

pub(crate) fn measure(effort: Effort) {
    let keys = keys::generate(1000);
    let garbage = keys::garbage(&keys);
    let callers = Callers::new(&keys);
    let runtime = drive::runtime();
    // A queue of the size that is shipped, emptied before each stretch that is timed.
    let ours = Ours::with_queue(&keys, ours::slow(), Discard::default(), 32_768);
    let ours = runtime.block_on(ours);
    let allowed = |name, router| Lane::new(name, router, &keys, StatusCode::OK);
    let lanes = [
        allowed("bare router", api::bare()),
        allowed("assembled A", assembled_a::router(callers.clone(), drop)),
        allowed("assembled B", assembled_b::router(callers, drop)),
        allowed("ours", ours.router()),
        Lane::new(
            "ours, garbage refused",
            ours.router(),
            &garbage,
            StatusCode::UNAUTHORIZED,
        ),
    ];
    let rounds: Vec<_> = (0..=effort.rounds)
        .map(|_| {
            lanes.each_ref().map(|lane| {
                let stretches = effort.of(100_000) / STRETCH;
                let times = (0..stretches).map(|_| {
                    ours.settle();
                    lane.time(&runtime, STRETCH)
                });
                median(times)
            })
        })
        // The first round only warms up.
        .skip(1)
        .collect();
    for (number, lane) in lanes.iter().enumerate() {
        let times = rounds.iter().map(|round| round[number]);
        tell(&format!("time, {}", lane.name), median(times), "ns");
    }
    let added = rounds
        .iter()
        .map(|[bare, _, b, ours, _]| (ours - bare) / (b - bare));
    tell("added time ÷ assembled B's", median(added), "");
    let refused = rounds.iter().map(|[.., ours, garbage]| garbage / ours);
    tell("refusing garbage ÷ allowed", median(refused), "");
}

/// One router and the requests that it gets.
struct Lane<'a> {
    name: &'static str,
    router: Router,
    keys: &'a [Key],
    expected: StatusCode,
}

impl<'a> Lane<'a> {
    fn new(name: &'static str, router: Router, keys: &'a [Key], expected: StatusCode) -> Self {
        Self {
            name,
            router,
            keys,
            expected,
        }
    }

    /// Nanoseconds a request, over `count` of them.
    fn time(&self, runtime: &Runtime, count: usize) -> f64 {
        let mut draw = Draw::from(self.keys);
        let time = drive::time(runtime, &self.router, &mut draw, self.expected, count);
        time.as_nanos() as f64 / count as f64
    }
}

/// Few enough that no shard of the queue is full before they are done.
const STRETCH: usize = 5_000;
