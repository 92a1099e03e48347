//! What a second thread adds, with keys of its own and with the one key that both use.
//!
//! What threads cost each other is what they share: counters, cache, record, queue. On two processors a
//! third thread, the audit's writer, takes its part from two threads of requests and nothing from one,
//! whatever they share; so it works between the batches. Both figures with the writer at work meanwhile
//! are told beside, without a budget.

use std::convert::Infallible;

use axum::body::Body;
use http::{Request, Response, StatusCode};
use tokio::runtime::Runtime;
use tower::{Layer, Service, service_fn};

use crate::support::figures::{Effort, median, tell};
use crate::support::keys::{self, Draw, Key};
use crate::support::ours::{self, Discard, Ours};
use crate::support::threads::{self, Work};
use crate::support::{api, drive};

pub(crate) fn measure(effort: Effort) {
    let keys = keys::generate(1000);
    let runtime = drive::runtime();
    let resting = runtime.block_on(Ours::with_resting_writer(&keys, ours::generous()));
    let writing = runtime.block_on(Ours::new(&keys, ours::generous(), Discard::default()));
    let answer = service_fn(|_: Request<Body>| async { Ok(Response::new(Body::empty())) });
    let service = resting.stack.layer(answer);
    let audited = writing.stack.layer(answer);
    let router = resting.router();
    let bare = api::bare();
    for (name, sets) in [
        ("distinct keys", [&keys[..500], &keys[500..]]),
        ("one hot key", [&keys[..1], &keys[..1]]),
    ] {
        let scaling = |ours| Scaling {
            ours,
            sets,
            batches: effort.of(20),
        };
        let (scaling, with_writer) = (scaling(&resting), scaling(&writing));
        let rounds: Vec<_> = (0..=effort.rounds)
            .map(|_| {
                let router = scaling.of(&router) / scaling.of(&bare);
                [scaling.of(&service), router, with_writer.of(&audited)]
            })
            .skip(1)
            .collect();
        let rows = [
            format!("2 threads ÷ 1, {name}"),
            format!("2 threads ÷ 1 in the router, ÷ the bare router's, {name}"),
            format!("2 threads ÷ 1 and the audit's writer at work, {name}"),
        ];
        for (number, row) in rows.iter().enumerate() {
            tell(row, median(rounds.iter().map(|round| round[number])), "");
        }
    }
}

struct Scaling<'a> {
    ours: &'a Ours,
    /// The keys of each thread.
    sets: [&'a [Key]; 2],
    batches: usize,
}

impl Scaling<'_> {
    /// The throughput of two threads ÷ that of one.
    fn of<S>(&self, service: &S) -> f64
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send,
    {
        let calls = |keys| Calls {
            runtime: drive::runtime(),
            service: service.clone(),
            ours: self.ours,
            draw: Draw::from(keys),
        };
        let one = threads::rate(vec![calls(self.sets[0])], self.batches);
        let two = threads::rate(self.sets.map(calls).into(), self.batches);
        two / one
    }
}

/// One thread's calls.
struct Calls<'a, S> {
    runtime: Runtime,
    service: S,
    ours: &'a Ours,
    draw: Draw<'a>,
}

impl<S> Work for Calls<'_, S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send,
{
    type Batch = Vec<Request<Body>>;

    fn prepare(&mut self) -> Self::Batch {
        self.ours.settle();
        drive::requests(&mut self.draw, BATCH)
    }

    fn run(&mut self, batch: Self::Batch) {
        let calls = drive::run(&self.service, batch, StatusCode::OK);
        self.runtime.block_on(calls);
    }
}

/// Long enough that the threads' beginning together does not count.
const BATCH: usize = 4096;
