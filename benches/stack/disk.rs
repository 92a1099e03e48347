//! How many events a second reach the disk, none of them lost. They come from whole requests, so
//! that they are as long as real ones; when the queue is half full, the requests wait.

use std::time::Instant;

use axum::body::Body;
use countersign::FileLog;
use http::{Request, Response, StatusCode};
use tower::{Layer, service_fn};

use crate::support::drive;
use crate::support::figures::{Effort, tell};
use crate::support::keys::{self, Draw};
use crate::support::ours::{self, Ours};

pub(crate) fn measure(effort: Effort) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("room for a log");
    let log = FileLog::open(directory.path().join("log")).expect("a new log");
    let keys = keys::generate(1000);
    let runtime = drive::runtime();
    let ours = runtime.block_on(Ours::new(&keys, ours::slow(), log));
    let answer = service_fn(|_: Request<Body>| async { Ok(Response::new(Body::empty())) });
    let service = ours.stack.layer(answer);
    drive::warm(&runtime, &service, &keys);

    let before = ours.sink.health().written;
    let mut draw = Draw::from(&keys);
    let started = Instant::now();
    for _ in 0..effort.of(1000) {
        ours.wait_for_room();
        let requests = drive::requests(&mut draw, BATCH);
        runtime.block_on(drive::run(&service, requests, StatusCode::OK));
    }
    let flushed = runtime.block_on(ours.sink.flush());
    let seconds = started.elapsed().as_secs_f64();
    flushed.expect("every event on disk");
    let health = ours.sink.health();
    assert_eq!(health.lost, 0, "an event was lost");
    let rate = (health.written - before) as f64 / seconds;
    tell("audit queue to disk", rate, "events/s");
}

const BATCH: usize = 1024;
