//! What is wrong is called by its name, with the place.

use std::error::Error;

use super::*;

const GIB: u64 = 1 << 30;
/// Enough to be more than is ever held of a line.
const MANY: u64 = 1 << 23;

/// Makes a file as long as this; the disk holds nothing of what is new.
fn lengthen(path: &Path, bytes: u64) {
    let file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.set_len(bytes).unwrap();
}

fn list(log: &Log) -> PathBuf {
    log.path().join("checkpoints.jsonl")
}

fn newest(log: &Log) -> PathBuf {
    log.path().join("checkpoint")
}

fn checkpoints(log: &Log, problem: &str) {
    assert_eq!(verify(log.path()), Finding::Checkpoints(problem.to_owned()));
}

#[test]
fn every_answer_has_its_text_and_its_exit_code() {
    let long = Finding::LineTooLong {
        index: 5,
        segment: 4,
        offset: 120,
    };
    for (finding, text, code) in [
        (Finding::Ok, "ok", 0),
        (Finding::UnsignedTail(4), "ok, unsigned tail of 4 events", 0),
        (
            Finding::UnsignedTooLong(4),
            "unsigned for too long: the last 4 events",
            6,
        ),
        (
            Finding::RemovalUntold(4),
            "removal not told: the first 4 events are gone",
            6,
        ),
        (Finding::LeafChanged(2, 2), "leaf changed at 2", 1),
        (
            Finding::LeafChanged(2, 5),
            "leaf changed at one of 2 to 5",
            1,
        ),
        (Finding::LineMissing(3), "line missing at 3", 1),
        (Finding::LineInserted(3), "line inserted at 3", 1),
        (
            long,
            "line too long at 5 (segment 00000000000000000004, byte 120)",
            1,
        ),
        (Finding::OrderChanged(3), "order changed at 3", 1),
        (
            truncated(9, 6),
            "truncated: checkpoint says 9, log has 6",
            4,
        ),
        (Finding::RootDiffers(6), "root differs at size 6", 1),
        (
            Finding::BadSignature("it".to_owned()),
            "bad signature: it",
            5,
        ),
        (Finding::Checkpoints("it".to_owned()), "checkpoint it", 1),
        (
            Finding::SubtreesDiffer(4),
            "kept hashes differ from 4 on",
            1,
        ),
        (
            Finding::Inconsistent,
            "inconsistent with the given checkpoint",
            1,
        ),
        (Finding::TornTail(12), "torn tail of 12 bytes", 3),
        (
            Finding::ListEndsEarly,
            "torn tail: the list of checkpoints ends before the newest",
            3,
        ),
    ] {
        assert_eq!(finding.to_string(), text);
        assert_eq!(finding.exit_code(), code, "{text}");
        assert_eq!(finding.is_ok(), code == 0, "{text}");
    }
}

#[test]
fn a_line_that_is_too_long_is_named_by_its_segment_and_byte() {
    let too_long = |index, segment, offset| Finding::LineTooLong {
        index,
        segment,
        offset,
    };
    // A gigabyte without end, in place of a segment and behind a line of one.
    let log = Log::new(7, &[3, 7], &[0, 4]);
    let (first, second) = (log.segment(0), log.segment(4));
    let (lines, last) = (fs::read(&first).unwrap(), fs::read(&second).unwrap());
    let line = last.len() as u64 / 3;
    fs::write(&second, "").unwrap();
    lengthen(&second, GIB);
    assert_eq!(verify(log.path()), too_long(4, 4, 0));
    fs::write(&second, &last).unwrap();
    fs::write(&first, &lines[..2 * line as usize]).unwrap();
    lengthen(&first, MANY);
    assert_eq!(verify(log.path()), too_long(2, 0, 2 * line));
    // A newline at the end of it changes nothing. A byte less, and it is one that was changed.
    let with = |length: usize| {
        let (before, after) = lines.split_at(line as usize);
        let after = &after[line as usize..];
        let long = [&vec![b'x'; length][..], b"\n"].concat();
        fs::write(&first, [before, &long, after].concat()).unwrap();
        verify(log.path())
    };
    assert_eq!(with(60_001), too_long(1, 0, line));
    assert_eq!(with(60_000), Finding::LeafChanged(1, 1));
    // Behind everything that is signed it is what a crash left, unless more follows.
    fs::write(&first, &lines).unwrap();
    fs::write(&second, [&last[..], &[0; 70_000]].concat()).unwrap();
    assert_eq!(verify(log.path()), Finding::TornTail(70_000));
    let next = format!("{{\"seq\":8,\"log\":\"{ORIGIN}\"}}\n");
    let tail = [&[b'x'; 70_000], &b"\n"[..], next.as_bytes()].concat();
    fs::write(&second, [&last[..], &tail].concat()).unwrap();
    assert_eq!(verify(log.path()), too_long(7, 4, 3 * line));
}

#[test]
fn a_line_out_of_its_place_is_named() {
    let log = Log::new(7, &[3, 7], &[0]);
    let text = fs::read_to_string(log.segment(0)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let with = |order: &[usize]| {
        let text: String = order.iter().map(|at| format!("{}\n", lines[*at])).collect();
        fs::write(log.segment(0), text).unwrap();
        verify(log.path())
    };
    assert_eq!(with(&[0, 1, 2, 3, 4, 5, 6]), Finding::Ok);
    assert_eq!(with(&[0, 2, 1, 3, 4, 5, 6]), Finding::OrderChanged(1));
    assert_eq!(with(&[0, 2, 3, 4, 5, 6]), Finding::LineMissing(1));
    assert_eq!(with(&[0, 1, 0, 2, 3, 4, 5, 6]), Finding::LineInserted(2));
    assert_eq!(with(&[0, 1, 1, 2, 3, 4, 5, 6]), Finding::LineInserted(2));
    assert_eq!(with(&[0, 1, 2, 3, 4]), truncated(7, 5));
    // Cut within a line that is signed, and behind the last one that is.
    fs::write(log.segment(0), &text[..text.len() - 1]).unwrap();
    assert_eq!(verify(log.path()), truncated(7, 6));
    fs::write(log.segment(0), format!("{text}{{\"seq\":7")).unwrap();
    assert_eq!(verify(log.path()), Finding::TornTail(8));
    // What is no line at all: at the end, where it is signed, and where others follow.
    let signed = text.replacen(lines[6], "no line", 1);
    fs::write(log.segment(0), signed).unwrap();
    assert_eq!(verify(log.path()), Finding::LeafChanged(6, 6));
    fs::write(log.segment(0), format!("{text}no line\nnor this\n")).unwrap();
    assert_eq!(verify(log.path()), Finding::TornTail(17));
    let followed = format!("{text}no line\n{}\n", lines[3]);
    fs::write(log.segment(0), followed).unwrap();
    assert_eq!(verify(log.path()), Finding::LeafChanged(7, 7));
}

#[test]
fn what_is_not_signed_is_read_to_its_end() {
    let log = Log::new(5, &[3], &[0]);
    let text = fs::read_to_string(log.segment(0)).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let broken = |line: &str| line.replace("Z\",", "Z,");
    let tail = lines[..4].concat() + &broken(lines[4]);
    fs::write(log.segment(0), tail).unwrap();
    let torn = broken(lines[4]).len() as u64;
    assert_eq!(verify(log.path()), Finding::TornTail(torn));
    let tail = lines[..3].concat() + &broken(lines[3]);
    fs::write(log.segment(0), tail).unwrap();
    assert_eq!(verify(log.path()), Finding::TornTail(torn));
}

#[test]
fn a_torn_tail_is_not_told_of_a_segment_that_another_one_follows() {
    let log = Log::new(7, &[3], &[0, 5]);
    let first = fs::read(log.segment(0)).unwrap();
    fs::write(log.segment(0), [&first[..], b"no line\n"].concat()).unwrap();
    assert_eq!(verify(log.path()), Finding::LeafChanged(5, 5));
    fs::write(log.segment(0), [&first[..], b"no line"].concat()).unwrap();
    assert_eq!(verify(log.path()), Finding::LeafChanged(5, 5));
    // Not even where the lines before it are gone.
    fs::write(log.segment(0), &first[..first.len() - 1]).unwrap();
    assert_eq!(verify(log.path()), Finding::LeafChanged(4, 4));
    fs::write(log.segment(0), b"").unwrap();
    assert_eq!(verify(log.path()), Finding::LineMissing(0));
    let twice = fs::read(log.segment(5)).unwrap();
    fs::write(log.segment(0), [&first[..], &twice].concat()).unwrap();
    assert_eq!(verify(log.path()), Finding::LineInserted(5));
}

#[test]
fn the_list_of_checkpoints_is_read_line_by_line() {
    let log = Log::new(9, &[2, 5, 9], &[0]);
    let text = fs::read_to_string(list(&log)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let with = |lines: &[&str]| fs::write(list(&log), lines.join("\n") + "\n").unwrap();
    with(&[lines[0], lines[1], lines[1], lines[2]]);
    checkpoints(&log, "list: line 3 is not after the one before");
    with(&[lines[0], "{}", lines[2]]);
    checkpoints(&log, "list: line 2 is no checkpoint");
    with(&[
        lines[0],
        &lines[1].replace("\"size\":5", "\"size\":6"),
        lines[2],
    ]);
    checkpoints(&log, "list: line 2 says another size than its note");
    with(&[
        lines[0],
        &lines[1].replace("2026-05-01T", "then "),
        lines[2],
    ]);
    checkpoints(&log, "list: line 2 is no checkpoint");
    with(&[
        lines[0],
        &lines[1].replace(ORIGIN, "example.com/other"),
        lines[2],
    ]);
    checkpoints(&log, "list: line 2 is no checkpoint");
    with(&[lines[0], &"x".repeat(60_001), lines[2]]);
    checkpoints(&log, "list: line 2 is too long");
    let forged = lines[1]
        .replace("\\n5\\n", "\\n4\\n")
        .replace("\"size\":5", "\"size\":4");
    with(&[lines[0], &forged, lines[2]]);
    let bad = Finding::BadSignature("checkpoint 2".to_owned());
    assert_eq!(verify(log.path()), bad);
    // Torn, however far: it is not counted, and put right when the log is opened.
    fs::write(list(&log), text.trim_end()).unwrap();
    let last = Finding::TornTail(lines[2].len() as u64);
    assert_eq!(verify(log.path()), last);
    for torn in ["{\"size\":12", "{}"] {
        fs::write(list(&log), format!("{text}{torn}")).unwrap();
        let report = verifier(log.path()).verify().unwrap();
        assert_eq!(report.finding, Finding::TornTail(torn.len() as u64));
        assert_eq!(report.checkpoints, 3);
    }
    lengthen(&list(&log), MANY);
    let torn = MANY - text.len() as u64;
    assert_eq!(verify(log.path()), Finding::TornTail(torn));
    // Without the newest, and without a list: the newest stands in its own file.
    with(&lines[..2]);
    assert_eq!(verify(log.path()), Finding::ListEndsEarly);
    fs::remove_file(list(&log)).unwrap();
    assert_eq!(verify(log.path()), Finding::ListEndsEarly);
    fs::create_dir(list(&log)).unwrap();
    verifier(log.path()).verify().unwrap_err();
}

#[test]
fn the_newest_checkpoint_is_one_note_and_the_list_has_it() {
    let log = Log::new(9, &[2, 5, 9], &[0]);
    let note = log.note();
    let with = |note: &str| fs::write(newest(&log), note).unwrap();
    let signature = note.lines().last().unwrap();
    with(&format!("{note}{signature}\n"));
    checkpoints(&log, "file is no checkpoint");
    with("no note");
    checkpoints(&log, "file is no checkpoint");
    lengthen(&newest(&log), MANY);
    checkpoints(&log, "file is no checkpoint");
    with(&note.replacen("\n9\n", "\n8\n", 1));
    let bad = Finding::BadSignature("the newest checkpoint".to_owned());
    assert_eq!(verify(log.path()), bad);
    // Another tree of the same size under the same key, and a smaller one that is not listed.
    with(&log.again("tampered", 9, &[9]).note());
    checkpoints(&log, "file contradicts the list of checkpoints");
    with(&log.again("", 4, &[4]).note());
    checkpoints(&log, "file contradicts the list of checkpoints");
    // One that the list has was the newest a moment ago.
    with(&log.again("", 5, &[5]).note());
    assert_eq!(verify(log.path()), Finding::Ok);
    fs::remove_file(newest(&log)).unwrap();
    checkpoints(&log, "file is missing");
}

#[test]
fn a_given_checkpoint_is_compared_at_its_own_size() {
    let log = Log::new(9, &[3, 6, 9], &[0]);
    let against = |log: &Log, notes: &[&Log]| {
        let verifier = verifier(log.path());
        let verifier = notes
            .iter()
            .fold(verifier, |verifier, of| verifier.against(of.note()));
        verifier.verify().unwrap().finding
    };
    let earlier = log.again("", 6, &[6]);
    assert_eq!(against(&log, &[&earlier]), Finding::Ok);
    let between = log.again("", 5, &[5]);
    assert_eq!(against(&log, &[&between]), Finding::Ok);
    // The lines are what the log itself signed, and not what somebody else was shown.
    let other = log.again("tampered", 6, &[6]);
    assert_eq!(against(&log, &[&other]), Finding::Inconsistent);
    let other = log.again("tampered", 5, &[5]);
    assert_eq!(against(&log, &[&other]), Finding::Inconsistent);
    assert_eq!(against(&log, &[&earlier, &other]), Finding::Inconsistent);
    // The lines are neither.
    let text = fs::read_to_string(log.segment(0)).unwrap();
    fs::write(log.segment(0), text.replacen("12:00:00Z", "12:00:01Z", 1)).unwrap();
    assert_eq!(against(&log, &[&earlier]), Finding::LeafChanged(0, 2));
    let changed = text.replace("12:00:00Z", "12:00:01Z");
    let (before, after) = (&text[..text.len() / 9 * 4], &changed[text.len() / 9 * 4..]);
    fs::write(log.segment(0), [before, after].concat()).unwrap();
    assert_eq!(against(&log, &[&earlier]), Finding::LeafChanged(3, 5));
    // A forged signature is told before anything is read.
    let forged = log.note().replacen("\n9\n", "\n8\n", 1);
    let told = verifier(log.path()).against(forged).verify().unwrap();
    assert_eq!(
        told.finding,
        Finding::BadSignature("the given checkpoint".to_owned())
    );
    assert_eq!((&*told.origin, told.events), (ORIGIN, 0));
}

#[test]
fn why_it_could_not_be_checked_is_said() {
    let log = Log::new(1, &[1], &[0]);
    let refused = || verifier(log.path()).verify().unwrap_err();
    let vkey = log.path().join("vkey");
    fs::write(&vkey, b"\xff").unwrap();
    assert!(refused().to_string().ends_with("vkey: it is not UTF-8"));
    assert!(refused().source().is_none());
    fs::write(&vkey, " ".repeat(1_000_001)).unwrap();
    assert!(
        refused()
            .to_string()
            .contains("too long to be what it should be")
    );
    fs::write(&vkey, log.signer.verifier_key() + &"\n".repeat(900_000)).unwrap();
    assert_eq!(verify(log.path()), Finding::Ok);
    fs::remove_file(&vkey).unwrap();
    assert!(refused().to_string().contains("it can't be read"));
    let cause = refused().source().unwrap().to_string();
    assert!(refused().to_string().ends_with(&cause));
}

#[test]
fn events_are_read_from_where_they_are_asked_for() {
    let log = Log::new(7, &[7], &[0, 3, 5]);
    let from = |index| {
        let events = LogEvents::from_index(log.path(), index).unwrap();
        let seqs: Vec<u64> = events.map(|event| event.unwrap().seq()).collect();
        (seqs[0], seqs.len())
    };
    assert_eq!(LogEvents::open(log.path()).unwrap().count(), 7);
    assert_eq!(
        [0, 2, 3, 4, 5, 9].map(from),
        [(0, 7), (0, 7), (3, 4), (3, 4), (5, 2), (5, 2)]
    );
    let event = LogEvents::open(log.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(event.text("log"), Some(ORIGIN));
    assert_eq!((event.text("seq"), event.text("absent")), (None, None));
    assert!(event.line.starts_with(b"{\"seq\":0,") && event.line.ends_with(b"}"));
    // A line that is being written ends it, and one that no event is as long as is an error.
    let text = fs::read(log.segment(5)).unwrap();
    let read = |tail: &[u8]| {
        fs::write(log.segment(5), [&text[..], tail].concat()).unwrap();
        let events = LogEvents::open(log.path()).unwrap();
        events.collect::<Result<Vec<_>, _>>()
    };
    assert_eq!(read(b"{\"seq\":7").unwrap().len(), 7);
    let long = [b'x'; 60_001];
    for tail in [&long[..], &[&long[..], b"\n"].concat()] {
        let told = read(tail).unwrap_err().to_string();
        assert!(told.contains("line 7 is too long"), "{told}");
    }
}
