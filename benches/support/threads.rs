//! How much several threads get done together.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// What one thread repeats.
pub(crate) trait Work: Send {
    /// What a batch of operations needs.
    type Batch;

    /// Makes ready what the next batch needs; not timed.
    fn prepare(&mut self) -> Self::Batch;

    /// Runs the operations of a batch.
    fn run(&mut self, batch: Self::Batch);
}

/// The batches per second that one thread for each of `works` runs. The threads begin each batch
/// together, so that none of them ever works alone.
pub(crate) fn rate<W: Work>(works: Vec<W>, batches: usize) -> f64 {
    let barrier = &Barrier::new(works.len());
    thread::scope(|scope| {
        let start = |work| scope.spawn(move || time(work, batches, barrier));
        let threads: Vec<_> = works.into_iter().map(start).collect();
        let times = threads.into_iter().map(|it| it.join().expect("a time"));
        times.map(|time| batches as f64 / time.as_secs_f64()).sum()
    })
}

fn time<W: Work>(mut work: W, batches: usize, barrier: &Barrier) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..batches {
        let batch = work.prepare();
        barrier.wait();
        let started = Instant::now();
        work.run(batch);
        total += started.elapsed();
        // Nor does one prepare its next batch while another is not done with this one.
        barrier.wait();
    }
    total
}
