//! A disk that fails, at every operation that the log asks of it.

use proptest::prelude::*;

use super::*;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EINTR: i32 = 4;

/// What the writer does with a log: batches come again until they are acknowledged, some with more
/// behind them. Returns how many records were acknowledged.
async fn work(log: &mut FileLog, batches: u64, patience: usize) -> u64 {
    let mut told = log.next_seq();
    for size in 1..=batches {
        for end in (told + size..).take(patience) {
            if log.append(&records(told..end)).await.is_ok() {
                told = end;
                break;
            }
            assert_eq!(log.next_seq(), told, "a failure takes no number");
        }
    }
    told
}

#[tokio::test]
async fn whatever_fails_nothing_is_lost_nothing_stands_twice_and_the_log_verifies() {
    let operations = {
        let place = Place::new();
        let options = place.options().segment_bytes(1500);
        let disk = options.disk.clone();
        let mut log = options.open().unwrap();
        work(&mut log, 6, 1).await;
        disk.faults.operations()
    };
    assert!(operations > 40, "{operations}");
    for errno in [EIO, ENOSPC, EINTR] {
        for times in [1, 3] {
            for after in 0..operations {
                let place = Place::new();
                let options = place.options().segment_bytes(1500);
                let faults = options.disk.faults.clone();
                faults.plan(after, times, errno);
                let mut log = loop {
                    // Opening is tried again as well.
                    match options.clone().open() {
                        Ok(log) => break log,
                        Err(error) => assert_eq!(error.kind(), StoreErrorKind::Unavailable),
                    }
                };
                let told = work(&mut log, 6, 8).await;
                drop(log);
                let lines = place.verify();
                assert_eq!(lines, expected(0..told), "errno {errno} after {after}");
                assert_eq!(place.open().unwrap().next_seq(), told);
            }
        }
    }
}

#[tokio::test]
async fn what_was_told_is_there_when_the_process_ends_in_the_fault() {
    for after in 0..60 {
        let place = Place::new();
        let options = place.options().segment_bytes(1500);
        let faults = options.disk.faults.clone();
        let mut log = options.clone().open().unwrap();
        faults.plan(after, u64::MAX, EIO);
        let told = work(&mut log, 6, 2).await;
        drop(log);
        faults.heal();
        let mut log = options.open().unwrap();
        assert!(log.next_seq() >= told, "after {after}");
        append_all(&mut log, &[1]).await;
        drop(log);
        let lines = place.verify();
        let end = lines.len() as u64;
        assert_eq!(lines, expected(0..end), "after {after}");
    }
}

#[tokio::test]
async fn a_file_that_failed_is_never_written_again() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new();
    let options = place.options();
    let faults = options.disk.faults.clone();
    let mut log = options.open().unwrap();
    append_all(&mut log, &[3]).await;
    let inode = || fs::metadata(place.path(FIRST)).unwrap().ino();
    let old = fs::File::open(place.path(FIRST)).unwrap();
    let before = inode();
    // The write goes well, the sync does not.
    faults.plan(1, 1, EIO);
    assert!(log.append(&records(3..5)).await.is_err());
    let left = old.metadata().unwrap().len();
    append_all(&mut log, &[2]).await;
    assert_ne!(inode(), before);
    assert_eq!(old.metadata().unwrap().len(), left);
    assert_eq!(place.verify(), expected(0..5));
}

#[tokio::test]
async fn other_records_than_those_that_failed_are_refused() {
    let place = Place::new();
    let options = place.options();
    let faults = options.disk.faults.clone();
    let mut log = options.open().unwrap();
    append_all(&mut log, &[1]).await;
    // The lines reach the disk, their checkpoint does not.
    faults.plan(2, 1, EIO);
    assert!(log.append(&records(1..3)).await.is_err());
    let mut others = records(1..3);
    others[1] = Record::stamped(
        2,
        AuditEvent::notice(Notice::heartbeat(), Timestamp::default()),
        &Stamp::new(ORIGIN.into()),
    );
    let refused = log.append(&others).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Conflict);
    let fewer = log.append(&records(1..2)).await.unwrap_err();
    assert_eq!(fewer.kind(), StoreErrorKind::Conflict);
    append_all(&mut log, &[4]).await;
    drop(log);
    assert_eq!(place.verify(), expected(0..5));
}

#[tokio::test]
async fn an_abandoned_write_is_never_followed_by_another() {
    let place = Place::new();
    let mut log = place.open().unwrap();
    {
        let batch = records(0..1);
        let mut append = Box::pin(log.append(&batch));
        let polled =
            std::future::poll_fn(|cx| std::task::Poll::Ready(append.as_mut().poll(cx).is_ready()));
        if polled.await {
            return; // The write was faster than the test.
        }
    }
    assert!(log.append(&records(0..1)).await.is_err());
    assert!(log.health().await.is_err());
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Append(u64),
    /// A fault after so many operations, so many times.
    Fault(u64, u64),
    Reopen,
    /// The process ends in the middle of a line.
    Crash(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..20_u64).prop_map(Step::Append),
        2 => (0..12_u64, 1..4_u64).prop_map(|(after, times)| Step::Fault(after, times)),
        1 => Just(Step::Reopen),
        1 => (1..200_usize).prop_map(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_life_of_a_log_keeps_what_was_told(steps in prop::collection::vec(step(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(live(&steps));
    }
}

async fn live(steps: &[Step]) {
    let place = Place::new();
    let options = place.options().segment_bytes(4000);
    let faults = options.disk.faults.clone();
    let mut log = options.clone().open().unwrap();
    for step in steps {
        match *step {
            Step::Append(count) => {
                let next = log.next_seq();
                let batch = records(next..next + count);
                while log.append(&batch).await.is_err() {}
            }
            Step::Fault(after, times) => faults.plan(after, times, EIO),
            Step::Reopen | Step::Crash(_) => {
                let told = log.next_seq();
                drop(log);
                faults.heal();
                if let Step::Crash(cut) = step {
                    let segments = place.segments();
                    let last = segments.iter().rfind(|name| name.ends_with(".jsonl"));
                    if let Some(last) = last {
                        let name = format!("segments/{last}");
                        let torn = &line(told)[..*cut];
                        place.write(&name, [&place.read(&name)[..], torn].concat());
                    }
                }
                log = options.clone().open().unwrap();
                assert_eq!(log.next_seq(), told);
            }
        }
    }
    let told = log.next_seq();
    drop(log);
    assert_eq!(place.verify(), expected(0..told));
}
