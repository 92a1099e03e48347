//! Lines that are gone: which the log lets go of by itself, and which somebody took away.

use super::*;
use crate::Finding;

const HASHES: &str = "segments/00000000000000000003.hashes";

/// Segments of three, one and three lines.
async fn segments() -> Place {
    let place = Place::new();
    let mut log = place.options().segment_bytes(0).open().unwrap();
    append_all(&mut log, &[3, 1, 3]).await;
    place
}

fn hash(seq: u64) -> [u8; 32] {
    leaf_hash(record(seq).line()).0
}

fn refused(place: &Place, index: u64) {
    for bytes in [0, u64::MAX] {
        let options = place.options().segment_bytes(0).read_at_start(bytes);
        let told = place_of(&options.open().unwrap_err());
        let problem = format!("line {index} is missing");
        assert!(told.contains(&problem), "{told}");
    }
    let finding = place.verifier().verify().unwrap().finding;
    assert_eq!(finding, Finding::LineMissing(index));
}

#[tokio::test]
async fn a_log_is_not_opened_where_lines_in_the_middle_are_hashes() {
    let place = segments().await;
    let lines = place.path(HASHES).with_extension("jsonl");
    fs::remove_file(lines).unwrap();
    place.write(HASHES, hash(3));
    refused(&place, 3);
}

#[tokio::test]
async fn a_log_is_not_opened_where_the_newest_lines_are_hashes_or_invented_ones_follow() {
    let place = segments().await;
    let newest = "segments/00000000000000000004";
    let lines = place.read(&format!("{newest}.jsonl"));
    fs::remove_file(place.path(&format!("{newest}.jsonl"))).unwrap();
    let hashes: Vec<u8> = (4..7).flat_map(hash).collect();
    place.write(&format!("{newest}.hashes"), hashes);
    refused(&place, 4);
    fs::remove_file(place.path(&format!("{newest}.hashes"))).unwrap();
    place.write(&format!("{newest}.jsonl"), lines);
    place.write("segments/00000000000000000007.hashes", [0; 64]);
    refused(&place, 7);
}

#[tokio::test]
async fn nothing_is_deleted_before_a_signed_event_tells_of_it() {
    let place = Place::new();
    let options = place.options().segment_bytes(0).keep_bytes(0);
    let rarely = options.checkpoint_interval(std::time::Duration::from_secs(3600));
    let mut log = rarely.clone().open().unwrap();
    append_all(&mut log, &[3, 1]).await;
    assert!(place.path(FIRST).exists(), "it is not told");
    let removed = Notice::removed(0, 3);
    assert!(log.take_notices().contains(&removed));
    // The process ends here: the next one tells of it again.
    drop(log);
    assert_eq!(place.verifier().verify().unwrap().finding, Finding::Ok);
    let mut log = rarely.open().unwrap();
    append_all(&mut log, &[1, 1]).await;
    let notices = log.take_notices();
    assert!(notices.contains(&removed), "{notices:?}");
    let told = AuditEvent::notice(removed, made());
    let told = Record::stamped(log.next_seq(), told, &STAMP);
    log.append(&[told]).await.unwrap();
    assert!(place.path(FIRST).exists(), "what tells of it is not signed");
    log.settle().await.unwrap();
    assert!(!place.path(FIRST).exists());
    let report = place.verifier().verify().unwrap();
    assert_eq!((report.finding, report.removed), (Finding::Ok, 3));
    drop(log);
    assert_eq!(place.open().unwrap().next_seq(), 7);
}

#[tokio::test]
async fn lines_that_go_are_told_once_however_long_it_takes() {
    let place = Place::new();
    let options = place.options().segment_bytes(0).keep_bytes(0);
    let mut log = options.open().unwrap();
    append_all(&mut log, &[3, 1, 1, 1]).await;
    let notices = log.take_notices();
    let told = |first, count| {
        let removed = Notice::removed(first, count);
        notices.iter().filter(|notice| **notice == removed).count()
    };
    assert_eq!(
        (told(0, 3), told(3, 1), told(4, 1)),
        (1, 1, 1),
        "{notices:?}"
    );
}

/// Lines that can't be deleted keep those of later segments, and not the log.
#[tokio::test]
async fn lines_that_cannot_be_deleted_are_told_and_tried_again() {
    let place = Place::new();
    let options = place.options().segment_bytes(0).keep_bytes(0);
    let mut log = options.open().unwrap();
    append_all(&mut log, &[3, 1, 1]).await;
    let in_the_way = place.path(FIRST).with_extension("hashes.new");
    fs::create_dir(&in_the_way).unwrap();
    let (first, later) = (Notice::removed(0, 3), Notice::removed(3, 1));
    let told = tell_notices(&mut log).await;
    assert!(told.contains(&first) && told.contains(&later), "{told:?}");
    append_all(&mut log, &[1, 1]).await;
    let later = place.path("segments/00000000000000000003.jsonl");
    assert!(place.path(FIRST).exists() && later.exists());
    fs::remove_dir(in_the_way).unwrap();
    append_all(&mut log, &[1]).await;
    let told = tell_notices(&mut log).await;
    assert!(told.contains(&first), "{told:?}");
    assert!(!place.path(FIRST).exists() && !later.exists());
    assert_eq!(place.verifier().verify().unwrap().finding, Finding::Ok);
}

#[tokio::test]
async fn lines_that_were_signed_anew_are_told() {
    let place = Place::with(&[3]).await;
    place.write(FIRST, lines(0..8));
    let mut log = place.open().unwrap();
    let told = Recovery::new(0).signed_anew(5);
    assert_eq!(log.take_recovery(), Some(told));
    drop(log);
    assert_eq!(place.open().unwrap().take_recovery(), None);
}
