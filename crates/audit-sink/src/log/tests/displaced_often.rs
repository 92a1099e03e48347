//! A log to which everything happens, in any order.

use proptest::prelude::*;

use super::*;
use crate::log::faults::Faults;

/// What the log is asked, and what is done to it.
#[derive(Debug, Clone, Copy)]
enum Step {
    Append,
    Flush,
    Settle,
    Restart,
    /// So many operations of the disk fail, after so many.
    Fail(u64, u64),
    /// The segment that is written is removed.
    Remove,
    /// The same, after so many operations of the disk.
    RemoveAfter(u64),
    /// The directory is moved away, or back.
    Move,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Append),
        1 => Just(Step::Flush),
        1 => Just(Step::Settle),
        1 => Just(Step::Restart),
        1 => (0..12_u64, 1..4_u64).prop_map(|(after, times)| Step::Fail(after, times)),
        2 => Just(Step::Remove),
        1 => (0..12_u64).prop_map(Step::RemoveAfter),
        1 => Just(Step::Move),
    ]
}

struct World {
    place: Place,
    away: PathBuf,
    segment_bytes: u64,
    rarely_signed: bool,
    faults: Faults,
    log: FileLog,
}

impl World {
    fn new(segment_bytes: u64, rarely_signed: bool) -> Self {
        let place = Place::new();
        let away = place.log().with_file_name("away");
        let options = options(&place, segment_bytes, rarely_signed);
        let faults = options.disk.faults.clone();
        let log = options.open().unwrap();
        Self {
            place,
            away,
            segment_bytes,
            rarely_signed,
            faults,
            log,
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Append => drop(attempt(&mut self.log).await),
            Step::Flush => drop(self.log.flush().await),
            Step::Settle => drop(self.log.settle().await),
            Step::Restart => self.restart().await,
            Step::Fail(after, times) => self.faults.plan(after, times, 28),
            Step::Remove => drop(fs::remove_file(self.segment())),
            // It may be finished by then, where segments are short.
            Step::RemoveAfter(_) if self.segment_bytes < LONG => {}
            Step::RemoveAfter(after) => {
                let segment = self.segment();
                self.faults
                    .interpose(after, move || drop(fs::remove_file(segment)));
            }
            Step::Move if self.away.exists() => fs::rename(&self.away, self.place.log()).unwrap(),
            Step::Move => fs::rename(self.place.log(), &self.away).unwrap(),
        }
    }

    /// The segment that is written now. One that is finished is nobody's to put back.
    fn segment(&self) -> PathBuf {
        let store = self.log.store.as_ref().unwrap();
        let name = format!("segments/{:020}.jsonl", store.current.edge.first());
        self.place.path(&name)
    }

    /// Brings everything to its place, so that the log goes on.
    async fn calm(&mut self) {
        self.faults.heal();
        if self.away.exists() {
            fs::rename(&self.away, self.place.log()).unwrap();
        }
        let told = self.log.next_seq();
        for _ in 0..4 {
            let _ = attempt(&mut self.log).await;
        }
        assert!(self.log.next_seq() > told, "it does not go on");
    }

    /// What is removed while nobody writes is nobody's to put back either.
    async fn restart(&mut self) {
        self.calm().await;
        let options = options(&self.place, self.segment_bytes, self.rarely_signed);
        self.faults = options.disk.faults.clone();
        let other = Place::new();
        // Only one holds the log.
        self.log = other.open().unwrap();
        self.log = options.open().unwrap();
    }
}

fn options(place: &Place, segment_bytes: u64, rarely_signed: bool) -> FileLogOptions {
    let options = if rarely_signed {
        place.rarely_signed()
    } else {
        place.options()
    };
    options.segment_bytes(segment_bytes)
}

const LONG: u64 = 1 << 20;

proptest! {
    #[test]
    fn nothing_that_was_told_is_lost_whatever_is_taken_away(
        segment_bytes in prop_oneof![Just(300), Just(1500), Just(LONG)],
        rarely_signed: bool,
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(segment_bytes, rarely_signed);
            for step in steps {
                world.take(step).await;
            }
            world.calm().await;
            let told = world.log.next_seq();
            let World { place, log, .. } = world;
            drop(log);
            assert_eq!(place.verify(), expected(0..told));
        });
    }
}
