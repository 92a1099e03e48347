use std::fs;
use std::path::PathBuf;

use countersign_core::{
    ActorType, EventId, LifecycleEvent, LifecycleKind, StoreErrorKind, Timestamp,
};
use tempfile::TempDir;

use super::segment::{Fault, segment_name};
use super::*;
use crate::AuditEvent;

const FIRST: &str = "00000000000000000000.jsonl";

#[tokio::test]
async fn a_torn_last_line_is_set_aside_at_every_byte() {
    let whole = {
        let (directory, mut log) = new_log();
        log.append(&records(0..3)).await.unwrap();
        read(&directory, FIRST)
    };
    let last = whole[..whole.len() - 1].rfind('\n').unwrap() + 1;
    for cut in last..whole.len() {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join(FIRST), &whole[..cut]).unwrap();
        let mut log = open(&directory).unwrap();
        let torn = (cut - last) as u64;
        let expected = (torn > 0).then_some(Recovery::new(torn));
        assert_eq!(log.take_recovery(), expected, "cut at {cut}");
        assert_eq!(log.next_seq(), 2);
        log.append(&records(2..4)).await.unwrap();
        drop(log);
        assert_eq!(numbers(&directory), [0, 1, 2, 3], "cut at {cut}");
        if torn > 0 {
            let aside = read(&directory, &format!("{FIRST}.torn"));
            assert_eq!(aside, &whole[last..cut]);
        }
        assert_eq!(open(&directory).unwrap().take_recovery(), None);
    }
}

#[test]
fn a_tail_without_a_line_end_is_torn_however_long_it_is() {
    let directory = TempDir::new().unwrap();
    for (tail, ending) in [(vec![0; 300_000], ""), (vec![b'x'; 70_000], "\n")] {
        let line = String::from_utf8(line(0)).unwrap();
        let mut bytes = line.into_bytes();
        bytes.extend(&tail);
        bytes.extend(ending.as_bytes());
        fs::write(directory.path().join(FIRST), bytes).unwrap();
        let mut log = open(&directory).unwrap();
        let torn = tail.len() + ending.len();
        assert_eq!(log.take_recovery(), Some(Recovery::new(torn as u64)));
        assert_eq!(log.next_seq(), 1);
    }
    assert!(directory.path().join(format!("{FIRST}.torn.2")).exists());
}

#[test]
fn what_is_no_torn_tail_is_refused_and_left_alone() {
    let join = |lines: &[Vec<u8>]| lines.concat();
    let garbage = b"garbage\n".to_vec();
    type Files<'a> = &'a [(u64, Vec<u8>)];
    let cases: &[(&str, Files<'_>)] = &[
        (
            "a bad line in the middle",
            &[(0, join(&[line(0), garbage.clone(), line(1)]))],
        ),
        ("a line is missing", &[(0, join(&[line(0), line(2)]))]),
        ("a line stands twice", &[(0, join(&[line(0), line(0)]))]),
        ("another first line than its name says", &[(5, line(0))]),
        ("a segment ends too early", &[(0, line(0)), (2, line(2))]),
        (
            "a sealed segment with garbage",
            &[(0, join(&[line(0), garbage])), (2, line(2))],
        ),
        ("an empty sealed segment", &[(0, Vec::new()), (2, line(2))]),
    ];
    for (what, segments) in cases {
        let directory = TempDir::new().unwrap();
        for (first, bytes) in *segments {
            fs::write(directory.path().join(segment_name(*first)), bytes).unwrap();
        }
        let error = open(&directory).expect_err(what);
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{what}");
        for (first, bytes) in *segments {
            let left = fs::read(directory.path().join(segment_name(*first))).unwrap();
            assert_eq!(&left, bytes, "{what}");
        }
    }
}

#[tokio::test]
async fn rotates_by_size_and_goes_on_after_opening() {
    let directory = TempDir::new().unwrap();
    let options = || JsonLinesFile::options(&directory).segment_bytes(1000);
    for start in [0, 10] {
        let mut log = options().open().unwrap();
        for seq in start..start + 10 {
            log.append(&records(seq..seq + 1)).await.unwrap();
        }
    }
    let segments = segments(&directory);
    assert!(segments.len() > 3, "{segments:?}");
    assert_eq!(numbers(&directory), (0..20).collect::<Vec<_>>());
    for segment in &segments[..segments.len() - 1] {
        let length = fs::metadata(segment).unwrap().len();
        assert!((1000..1600).contains(&length), "{length}");
    }
}

#[tokio::test]
async fn after_a_failure_each_record_stands_exactly_once() {
    let faults = [
        Fault::Write(0),
        Fault::Write(17),
        Fault::Write(usize::MAX),
        Fault::Sync,
        Fault::SyncAndCut,
    ];
    for fault in faults {
        for acknowledged in [0, 3] {
            let (directory, mut log) = new_log();
            log.append(&records(0..acknowledged)).await.unwrap();
            let old = segments(&directory);
            fail(&mut log, Some(fault));
            for until in [acknowledged + 2, acknowledged + 4] {
                let failed = log.append(&records(acknowledged..until)).await;
                assert_eq!(failed.unwrap_err().kind(), StoreErrorKind::Unavailable);
                assert_eq!(log.next_seq(), acknowledged);
            }
            fail(&mut log, None);
            let end = acknowledged + 4;
            log.append(&records(acknowledged..end)).await.unwrap();
            drop(log);
            let mut log = open(&directory).unwrap();
            let left_over = fault == Fault::SyncAndCut && acknowledged > 0;
            assert_eq!(log.take_recovery().is_some(), left_over, "{fault:?}");
            log.append(&records(end..end + 1)).await.unwrap();
            drop(log);
            let expected: Vec<u64> = (0..=end).collect();
            assert_eq!(
                numbers(&directory),
                expected,
                "{fault:?} after {acknowledged}"
            );
            if acknowledged > 0 {
                let kept = fs::read(&old[0]).unwrap();
                assert_eq!(
                    kept,
                    (0..acknowledged).flat_map(line_of).collect::<Vec<_>>()
                );
            }
        }
    }
}

#[test]
fn one_writer_owns_a_log() {
    let (directory, log) = new_log();
    let error = open(&directory).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::AlreadyExists);
    drop(log);
    assert!(open(&directory).is_ok());
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("made/here");
    let mut log = JsonLinesFile::open(&directory).unwrap();
    log.append(&records(0..1)).await.unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(directory.join(FIRST)), 0o600);
    assert_eq!(mode(directory.join("lock")), 0o600);
    assert_eq!(mode(directory), 0o700);
}

#[tokio::test]
async fn an_abandoned_write_is_never_followed_by_another() {
    let (_directory, mut log) = new_log();
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

#[tokio::test]
async fn every_durability_keeps_what_it_was_given() {
    for durability in [Durability::PerEvent, Durability::InsecureOsDecides] {
        let directory = TempDir::new().unwrap();
        let options = JsonLinesFile::options(&directory).durability(durability);
        let mut log = options.open().unwrap();
        log.append(&records(0..3)).await.unwrap();
        log.flush().await.unwrap();
        assert_eq!(numbers(&directory), [0, 1, 2]);
    }
}

fn new_log() -> (TempDir, JsonLinesFile) {
    let directory = TempDir::new().unwrap();
    let log = open(&directory).unwrap();
    (directory, log)
}

fn open(directory: &TempDir) -> Result<JsonLinesFile, StoreError> {
    JsonLinesFile::open(directory)
}

fn fail(log: &mut JsonLinesFile, fault: Option<Fault>) {
    log.segments.as_mut().unwrap().fault = fault;
}

fn read(directory: &TempDir, name: &str) -> String {
    fs::read_to_string(directory.path().join(name)).unwrap()
}

fn segments(directory: &TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|e| e.unwrap().path());
    let mut all: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    all.sort();
    all
}

/// The numbers of all lines, in the order of the log.
fn numbers(directory: &TempDir) -> Vec<u64> {
    let text: String = segments(directory)
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let number = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["seq"].as_u64().unwrap()
    };
    text.lines().map(number).collect()
}

fn records(range: std::ops::Range<u64>) -> Vec<Record> {
    range.map(record).collect()
}

fn line(seq: u64) -> Vec<u8> {
    line_of(seq)
}

fn line_of(seq: u64) -> Vec<u8> {
    let mut line = record(seq).line().to_vec();
    line.push(b'\n');
    line
}

fn record(seq: u64) -> Record {
    let time = Timestamp::from_micros(1_767_225_600_000_000);
    let id = serde_json::json!(format!("01KDVDNA00{seq:016}"));
    let event = LifecycleEvent {
        id: serde_json::from_value::<EventId>(id).unwrap(),
        time,
        kind: LifecycleKind::TokenRevoked,
        actor_type: ActorType::Operator,
        actor: "alice@example.com".to_owned(),
        company: "company_12".parse().unwrap(),
        environment: None,
        key_id: None,
        key_prefix: None,
        reason: Some("suspected_leakage".to_owned()),
        linked_key: None,
    };
    Record::new(seq, AuditEvent::from(event))
}
