//! A last line that is this log's, and that nobody who asks the log could read.

use super::*;
use crate::{Finding, LogEvents};

/// The line of record `seq` with a field more.
fn with_field(seq: u64, value: &str) -> Vec<u8> {
    let line = String::from_utf8(line(seq)).unwrap();
    let begun = line.trim_end().strip_suffix('}').unwrap();
    format!("{begun},\"y\":{value}}}\n").into_bytes()
}

fn finding(place: &Place) -> Finding {
    place.verifier().verify().unwrap().finding
}

#[tokio::test]
async fn what_nobody_could_read_is_set_aside_and_never_signed() {
    let deep = "[".repeat(20_000) + &"]".repeat(20_000);
    let digits = "9".repeat(5000);
    for value in [r#""\ud800""#, "1e999", &digits, &deep] {
        let place = Place::with(&[3]).await;
        let torn = with_field(3, value);
        place.write(FIRST, [lines(0..3), torn.clone()].concat());
        let bytes = torn.len() as u64;
        assert_eq!(finding(&place), Finding::TornTail(bytes));
        let mut log = place.open().unwrap();
        assert_eq!(log.take_recovery(), Some(Recovery::new(bytes)));
        assert_eq!(log.next_seq(), 3);
        assert_eq!(place.read(&format!("{FIRST}.torn")), torn);
        drop(log);
        assert_eq!(finding(&place), Finding::Ok);
        let events = LogEvents::open(place.log()).unwrap();
        let readable = events.map(|event| event.unwrap().is_readable());
        assert_eq!(readable.collect::<Vec<_>>(), [true; 3]);
    }
    let place = Place::with(&[3]).await;
    let odd = with_field(3, r#"{"\ud83d\ude00":[1e300,null]}"#);
    place.write(FIRST, [lines(0..3), odd].concat());
    assert_eq!(place.open().unwrap().next_seq(), 4, "it can be read");
}
