//! Tasks that each wait for their event before they send the next one.

use std::time::{Duration, Instant};

use countersign::{AuditBackend, AuditSink};

use crate::events::event;

/// How long it takes until all of `events` are durable, when `in_flight` tasks wait for theirs.
pub(crate) fn seconds(log: impl AuditBackend, in_flight: usize, events: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (sink, writer) = AuditSink::builder(log).spawn().expect("a writer");
    runtime.block_on(async {
        let work: Vec<_> = (0..in_flight)
            .map(|_| {
                let sink = sink.clone();
                let events: Vec<_> = (0..events / in_flight).map(|_| event()).collect();
                async move {
                    for event in events {
                        sink.append_durable(event).await.expect("durable");
                    }
                }
            })
            .collect();
        let started = Instant::now();
        let tasks: Vec<_> = work.into_iter().map(tokio::spawn).collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        let seconds = started.elapsed().as_secs_f64();
        let _ = writer.shutdown(Duration::from_secs(10)).await;
        seconds
    })
}
