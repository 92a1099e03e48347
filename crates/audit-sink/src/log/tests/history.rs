//! What a log holds, asked beside its writer.

use std::collections::HashSet;
use std::time::Duration;

use super::*;
use crate::log::sealed;

fn ids(range: std::ops::Range<u64>) -> HashSet<EventId> {
    range.map(|seq| record(seq).id()).collect()
}

#[tokio::test]
async fn events_are_found_in_whichever_segment_they_stand() {
    let place = Place::new();
    let mut log = place.options().segment_bytes(1000).open().unwrap();
    append_all(&mut log, &[1; 20]).await;
    assert!(place.segments().len() > 3);
    let history = log.history().unwrap();
    assert_eq!(history.find(&ids(0..25)).unwrap(), ids(0..20));
    assert_eq!(history.find(&ids(3..4)).unwrap(), ids(3..4));
}

#[tokio::test]
async fn a_line_that_is_being_written_is_not_there_yet() {
    let place = Place::with(&[3]).await;
    let history = place.open().unwrap().history().unwrap();
    let mut lines = place.read(FIRST);
    let half = line(3);
    lines.extend_from_slice(&half[..half.len() - 1]);
    place.write(FIRST, lines);
    assert_eq!(history.find(&ids(0..5)).unwrap(), ids(0..3));
}

#[tokio::test]
async fn segments_that_are_older_than_an_id_are_not_read() {
    let place = Place::new();
    let mut log = place.options().segment_bytes(0).open().unwrap();
    append_all(&mut log, &[1; 4]).await;
    let history = log.history().unwrap();
    let sealed = sealed::load(&place.log()).unwrap();
    let late = sealed[2]
        .time
        .saturating_add(Duration::from_secs(2 * 86_400));
    let young = HashSet::from([EventId::generate(late)]);
    // Reading what stands there now would fail.
    for sealed in &sealed {
        let path = place.path(&format!("segments/{:020}.jsonl", sealed.edge.first()));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
    }
    assert_eq!(history.find(&young).unwrap(), HashSet::new());
    assert!(history.find(&ids(0..1)).is_err());
}
