//! What a log knows of its segments when it is opened again, and what it makes of files that are
//! not what they should be.

use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::Finding;

const SECOND: &str = "segments/00000000000000000001.jsonl";
const SUBTREES: &str = "subtrees.jsonl";
/// Enough to be more than is ever held of a line.
const MANY: u64 = 1 << 23;

/// Each batch is a segment.
fn cut(place: &Place) -> FileLogOptions {
    place.options().segment_bytes(0)
}

async fn cut_log(batches: &[u64]) -> Place {
    let place = Place::new();
    append_all(&mut cut(&place).open().unwrap(), batches).await;
    place
}

/// Opens the log without reading a finished segment.
fn unread(place: &Place) -> Result<FileLog, StoreError> {
    cut(place).read_at_start(0).open()
}

/// Changes a line of a segment and not its length.
fn change(place: &Place, segment: &str) {
    let text = String::from_utf8(place.read(segment)).unwrap();
    place.write(segment, text.replacen("alice", "malic", 1));
}

fn lengthen(place: &Place, name: &str, bytes: u64) {
    let mut options = fs::OpenOptions::new();
    let file = options.create(true).append(true).open(place.path(name));
    // The disk holds none of it.
    file.unwrap().set_len(bytes).unwrap();
}

/// What is kept of finished segments.
fn entries(place: &Place) -> Vec<Value> {
    let text = String::from_utf8(place.read(SUBTREES)).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn keep(place: &Place, entries: &[Value]) {
    let lines: Vec<String> = entries.iter().map(Value::to_string).collect();
    place.write(SUBTREES, lines.join("\n"));
}

fn finding(place: &Place) -> Finding {
    place.verifier().verify().unwrap().finding
}

#[tokio::test]
async fn the_first_unsigned_line_is_read_to_its_end() {
    let last = line(2);
    for at in 0..last.len() {
        let place = Place::with(&[2]).await;
        let mut whole = lines(0..3);
        whole[lines(0..2).len() + at] ^= 0x01;
        place.write(FIRST, &whole);
        // What reads as this log's line in its place is kept, what reads as no line is set aside.
        if let Ok(log) = place.open() {
            let next = log.next_seq();
            drop(log);
            assert_eq!(place.verify().len() as u64, next, "at {at}");
        }
    }
}

#[tokio::test]
async fn a_segment_is_read_as_long_as_there_is_room_for_it() {
    let place = cut_log(&[1, 1, 1]).await;
    let size = place.read(FIRST).len() as u64;
    let with = |bytes| cut(&place).read_at_start(bytes).open();
    change(&place, FIRST);
    with(3 * size).unwrap_err();
    assert_eq!(with(3 * size - 1).unwrap().next_seq(), 3);
}

#[tokio::test]
async fn a_segment_is_read_for_an_anchor_that_cuts_it_and_not_for_one_before_it() {
    let place = Place::new();
    let anchor = place.log().with_file_name("anchor");
    let mut log = cut(&place).open().unwrap();
    append_all(&mut log, &[1]).await;
    fs::copy(place.path("checkpoint"), &anchor).unwrap();
    append_all(&mut log, &[3, 1]).await;
    drop(log);
    let anchored = || {
        let options = cut(&place).read_at_start(0);
        options
            .anchor(FileAnchor::new(&anchor), Duration::MAX)
            .open()
    };
    change(&place, SECOND);
    assert_eq!(anchored().unwrap().next_seq(), 5);
    // The same lines with the same key, checkpointed elsewhere.
    let other = Place::new();
    let key = |place: &Place| place.log().with_file_name("log.key");
    fs::copy(key(&place), key(&other)).unwrap();
    append_all(&mut other.open().unwrap(), &[2]).await;
    fs::copy(other.path("checkpoint"), &anchor).unwrap();
    let told = place_of(&anchored().unwrap_err());
    assert!(told.contains("root differs"), "{told}");
    place.write(SECOND, lines(1..4));
    assert_eq!(anchored().unwrap().next_seq(), 5);
}

#[tokio::test]
async fn what_is_kept_of_finished_segments_is_put_right_and_not_written_twice() {
    let place = cut_log(&[1, 1, 1]).await;
    let kept = place.read(SUBTREES);
    drop(cut(&place).open().unwrap());
    assert_eq!(place.read(SUBTREES), kept);
    // An entry that begins with the segment and ends elsewhere is none of it.
    let good = entries(&place);
    let mut longer = good[0].clone();
    longer["end"] = 2.into();
    keep(&place, &[&good[..], &[longer]].concat());
    assert_eq!(finding(&place), Finding::Ok);
    change(&place, FIRST);
    assert_eq!(unread(&place).unwrap().next_seq(), 3);
    place.write(FIRST, line(0));
    // One that hashes to something else is replaced by what was read.
    let mut forged = good.clone();
    forged[0]["roots"] = good[1]["roots"].clone();
    keep(&place, &forged);
    place_of(&unread(&place).unwrap_err());
    assert_eq!(finding(&place), Finding::SubtreesDiffer(0));
    assert_eq!(cut(&place).open().unwrap().next_seq(), 3);
    assert_eq!(unread(&place).unwrap().next_seq(), 3);
    assert_eq!(finding(&place), Finding::Ok);
}

#[tokio::test]
async fn the_last_segment_is_read_also_when_it_was_finished() {
    let place = Place::new();
    let mut log = cut(&place).open().unwrap();
    append_all(&mut log, &[1]).await;
    let early: Vec<_> = ["checkpoint", "checkpoints.jsonl"]
        .map(|name| (name, place.read(name)))
        .into();
    append_all(&mut log, &[1]).await;
    drop(log);
    // The machine went down before its successor was there.
    fs::remove_file(place.path(SECOND)).unwrap();
    for (name, bytes) in early {
        place.write(name, bytes);
    }
    place.write(FIRST, [&line(0)[..], b"torn"].concat());
    assert_eq!(finding(&place), Finding::TornTail(4));
    let mut log = unread(&place).unwrap();
    assert_eq!(log.take_recovery(), Some(Recovery::new(4)));
    append_all(&mut log, &[1]).await;
    drop(log);
    assert_eq!(place.verify(), expected(0..2));
}

#[tokio::test]
async fn a_segment_ends_where_the_next_one_begins() {
    let place = cut_log(&[1, 1, 1]).await;
    fs::remove_file(place.path(SECOND)).unwrap();
    let told = |place: &Place| place_of(&cut(place).open().unwrap_err());
    assert!(told(&place).contains("line 1: the segment ends before it"));
    assert_eq!(finding(&place), Finding::LineMissing(1));
    place.write(SECOND, lines(1..3));
    assert!(told(&place).contains("line 2: it stands in the next segment as well"));
    assert_eq!(finding(&place), Finding::LineInserted(2));

    // Nothing but the first line is signed.
    let place = Place::with(&[1]).await;
    place.write(FIRST, [lines(0..2), b"no line\n".to_vec()].concat());
    place.write("segments/00000000000000000002.jsonl", line(2));
    assert!(told(&place).contains("line 2: what stands there is no line"));
    assert_eq!(finding(&place), Finding::LeafChanged(2, 2));
}

#[tokio::test]
async fn files_that_are_no_segments_are_let_be_and_leftovers_go() {
    let place = Place::with(&[2]).await;
    let segments = place.segments();
    let strays = [
        "7.jsonl",
        "+0000000000000000007.jsonl",
        "notes.txt",
        "00000000000000000007.old",
    ];
    for stray in strays {
        place.write(&format!("segments/{stray}"), "not ours");
    }
    place.write(&format!("{FIRST}.new"), "half a copy");
    assert_eq!(place.open().unwrap().next_seq(), 2);
    assert_eq!(finding(&place), Finding::Ok);
    for stray in strays {
        assert_eq!(place.read(&format!("segments/{stray}")), b"not ours");
        fs::remove_file(place.path(&format!("segments/{stray}"))).unwrap();
    }
    assert_eq!(place.segments(), segments, "nothing was set aside either");
}

#[tokio::test]
async fn deleted_lines_are_known_by_their_hashes_and_ages_outlive_the_process() {
    let place = Place::new();
    let options = || cut(&place).keep_for(Duration::from_secs(100));
    append_all(&mut options().open().unwrap(), &[3, 2]).await;
    place.clock.advance(Duration::from_secs(60));
    append_all(&mut options().open().unwrap(), &[1]).await;
    place.clock.advance(Duration::from_secs(41));
    let mut log = options().open().unwrap();
    append_all(&mut log, &[1]).await;
    tell_notices(&mut log).await;
    drop(log);
    let hashes = "segments/00000000000000000000.hashes";
    assert!(place.path(hashes).exists(), "{:?}", place.segments());
    assert!(!place.path(FIRST).exists());
    assert!(place.path("segments/00000000000000000003.jsonl").exists());
    let verify = || place.verifier().verify().unwrap();
    let report = verify();
    assert_eq!(
        (report.finding, report.removed, report.events),
        (Finding::Ok, 3, 9)
    );
    let time = report.first_time.unwrap();
    assert_eq!(Some(time), report.last_time);
    // With what was kept of it, and without.
    let kept = place.read(SUBTREES);
    assert_eq!(unread(&place).unwrap().next_seq(), 9);
    fs::remove_file(place.path(SUBTREES)).unwrap();
    assert_eq!(unread(&place).unwrap().next_seq(), 9);
    // A crash left the lines as well: they count.
    let known = place.read(hashes);
    place.write(FIRST, lines(0..3));
    place.write(hashes, [0; 32]);
    assert_eq!(verify().finding, Finding::Ok);
    assert_eq!(verify().removed, 0);
    assert_eq!(place.open().unwrap().next_seq(), 9);
    fs::remove_file(place.path(FIRST)).unwrap();
    // Other hashes, fewer of them, and half a one.
    let mut changed = known.clone();
    changed[40] ^= 1;
    place.write(hashes, &changed);
    let told = |place: &Place| place_of(&unread(place).unwrap_err());
    assert_eq!(verify().finding, Finding::LeafChanged(0, 2));
    place.write(SUBTREES, "");
    assert!(told(&place).contains("root differs"), "{}", told(&place));
    place.write(hashes, &known[..64]);
    assert_eq!(verify().finding, Finding::LineMissing(2));
    assert!(told(&place).contains("line 2 is missing"));
    place.write(hashes, &known[..65]);
    assert_eq!(verify().finding, Finding::LineMissing(2));
    assert!(told(&place).contains("no whole number of hashes"));
    place.write(hashes, &known);
    place.write(SUBTREES, kept);
    assert_eq!(unread(&place).unwrap().next_seq(), 9);
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_can_t_be_read_is_no_file_that_is_not_there() {
    let place = cut_log(&[1, 1]).await;
    for name in [SUBTREES, "checkpoints.jsonl", "checkpoint", "vkey"] {
        let aside = place.path("aside");
        fs::rename(place.path(name), &aside).unwrap();
        std::os::unix::fs::symlink(name, place.path(name)).unwrap();
        let refused = cut(&place).open().unwrap_err().kind();
        assert_eq!(refused, StoreErrorKind::Unavailable, "{name}");
        match place.verifier().verify() {
            Err(_) => {}
            Ok(report) => assert_eq!(
                (name, report.finding.exit_code()),
                ("checkpoint", 1),
                "{}",
                report.finding
            ),
        }
        fs::remove_file(place.path(name)).unwrap();
        fs::rename(&aside, place.path(name)).unwrap();
    }
    assert_eq!(cut(&place).open().unwrap().next_seq(), 2);
}

#[tokio::test]
async fn what_is_far_too_long_is_refused_or_set_aside_as_the_verifier_says() {
    let named = |index| Finding::LineTooLong {
        index,
        segment: index,
        offset: 0,
    };
    let place = cut_log(&[1, 1]).await;
    let told = |place: &Place| place_of(&cut(place).open().unwrap_err());
    // In place of what is signed.
    place.write(SECOND, "");
    lengthen(&place, SECOND, MANY);
    assert_eq!(finding(&place), named(1));
    assert!(told(&place).contains("line 1: it is too long for a line, at byte 0"));
    // After it.
    place.write(SECOND, line(1));
    lengthen(&place, SECOND, MANY);
    let torn = MANY - line(1).len() as u64;
    assert_eq!(finding(&place), Finding::TornTail(torn));
    assert_eq!(
        cut(&place).open().unwrap().take_recovery(),
        Some(Recovery::new(torn))
    );
    assert_eq!(finding(&place), Finding::Ok);
    fs::remove_file(place.path(&format!("{SECOND}.torn"))).unwrap();
    // Behind the list of checkpoints, which has an end all the same.
    lengthen(&place, "checkpoints.jsonl", MANY);
    assert!(matches!(finding(&place), Finding::TornTail(_)));
    let mut log = cut(&place).open().unwrap();
    append_all(&mut log, &[1]).await;
    drop(log);
    assert_eq!(place.verify(), expected(0..3));
    // In place of the newest checkpoint: the list has it.
    let note = place.read("checkpoint");
    lengthen(&place, "checkpoint", MANY);
    assert_eq!(cut(&place).open().unwrap().next_seq(), 3);
    place.write("checkpoint", note);
    lengthen(&place, SUBTREES, MANY);
    assert_eq!(cut(&place).open().unwrap().next_seq(), 3);
    for name in ["vkey", "checkpoint"] {
        lengthen(&place, name, MANY);
        assert_eq!(
            prove_event(place.log(), 0).unwrap_err().kind(),
            StoreErrorKind::Corrupt
        );
    }
    assert!(told(&place).contains("too long for a verifier key"));
    place.write("vkey", b"\xff\xfe");
    assert!(told(&place).contains("it is no verifier key"));
}

#[tokio::test]
async fn the_verifier_says_torn_where_opening_sets_aside() {
    let signed = lines(0..2);
    let bad = || b"no line\n".to_vec();
    let long = || [vec![b'x'; 70_000], bad()].concat();
    let cases: [(&str, Vec<Vec<u8>>, bool); 9] = [
        ("nothing", vec![], true),
        ("half a line", vec![line(2)[..9].to_vec()], true),
        ("no line", vec![bad()], true),
        ("several that are none", vec![bad(), long(), bad()], true),
        ("a long one", vec![long()], true),
        ("none after a good one", vec![line(2), bad()], true),
        ("none before a good one", vec![bad(), line(2)], false),
        ("a long one before a good one", vec![long(), line(2)], false),
        ("a later one", vec![line(3)], false),
    ];
    for (what, tail, opens) in cases {
        let place = Place::with(&[2]).await;
        let tail = tail.concat();
        place.write(FIRST, [&signed[..], &tail[..]].concat());
        let found = finding(&place);
        let torn = match &found {
            Finding::TornTail(bytes) => *bytes,
            _ => 0,
        };
        assert_eq!(matches!(found.exit_code(), 0 | 3), opens, "{what}: {found}");
        match place.open() {
            Ok(mut log) => {
                assert!(opens, "{what}");
                let whole = Recovery::new(torn).signed_anew(log.next_seq() - 2);
                let told = (whole != Recovery::new(0)).then_some(whole);
                assert_eq!(log.take_recovery(), told, "{what}");
            }
            Err(error) => {
                place_of(&error);
                assert!(!opens, "{what}: {error:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_anchor_of_another_log_is_none_and_one_of_an_empty_log_keeps_nothing_back() {
    let place = Place::new();
    let anchor = place.log().with_file_name("anchor");
    let anchored = || {
        let options = place.options();
        options
            .anchor(FileAnchor::new(&anchor), Duration::MAX)
            .open()
    };
    drop(place.open().unwrap());
    let empty = place.read("checkpoint");
    fs::remove_dir_all(place.log()).unwrap();
    fs::write(&anchor, empty).unwrap();
    let mut log = anchored().unwrap();
    append_all(&mut log, &[1]).await;
    // Nothing is on its way to the anchor any more.
    log.flush().await.unwrap();
    drop(log);
    let other = Place::with(&[1]).await;
    fs::copy(other.path("checkpoint"), &anchor).unwrap();
    let told = place_of(&anchored().unwrap_err());
    assert!(
        told.contains("its anchor is no checkpoint of this log"),
        "{told}"
    );
}

#[test]
fn a_key_that_can_t_be_read_is_not_replaced() {
    let place = Place::new();
    let key = place.log().with_file_name("log.key");
    fs::write(&key, "no key").unwrap();
    let refused = place.open().unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Corrupt);
    assert_eq!(fs::read(&key).unwrap(), b"no key");
}
