//! The end of a log: what is still written, what is lost, and who is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::desk::{BATCH, Desk};
use crate::gate::Common;
use crate::{Record, ShutdownReport};

/// What is left to say once the backend is closed.
pub(super) struct Closing {
    common: Arc<Common>,
    report: ShutdownReport,
}

impl Closing {
    pub(super) fn report(self) {
        let mut requests = self.common.lock_requests();
        requests.report = Some(self.report);
        requests.flushes.clear();
        if let Some(request) = requests.shutdown.take() {
            // Nobody may be waiting any longer; the report stays for whoever asks again.
            let _ = request.reply.send(self.report);
        }
    }
}

impl Desk {
    /// Closes the queue and takes a last batch out of it. A gap event tells of what there is no time
    /// for any more: what is queued beyond that batch, and the outcomes of requests that are inside.
    pub(super) fn take_last(&mut self, records: &mut Vec<Record>) {
        let inside = self.close_queue();
        let rest = self.backlog.len().saturating_sub(BATCH);
        self.backlog.truncate(BATCH);
        self.common.count_lost(inside + rest as u64);
        self.collect(records);
    }

    pub(super) fn end(mut self, unwritten: usize) -> Closing {
        let inside = self.close_queue();
        self.fail_waiters();
        let common = Arc::clone(&self.common);
        let left = (unwritten + self.backlog.len()) as u64 + self.flood.count();
        common.count_lost(left + inside);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let report = ShutdownReport {
            written: count(&common.counters.written),
            lost: count(&common.counters.lost),
        };
        if let Some(stop) = self.stop.take() {
            common.lock_requests().shutdown = Some(stop.request);
        }
        Closing { common, report }
    }

    /// From here on no event comes into the queue. How many are promised and did not come, when this
    /// is first called; their requests are still inside.
    fn close_queue(&mut self) -> u64 {
        self.common.set_stopping();
        self.common.set_ended();
        let shards = self.shards.iter();
        let inside = shards
            .map(|shard| shard.close(&mut self.backlog))
            .sum::<usize>();
        inside as u64
    }
}
