//! What a log does with files that are not as it left them.

use super::*;

#[tokio::test]
async fn an_unsigned_last_line_is_set_aside_at_every_byte() {
    let last = line(2);
    for cut in 0..last.len() {
        let place = Place::with(&[2]).await;
        let whole = place.read(FIRST);
        place.write(FIRST, [&whole[..], &last[..cut]].concat());
        let mut log = place.open().unwrap();
        let torn = (cut > 0).then_some(Recovery::new(cut as u64));
        assert_eq!(log.take_recovery(), torn, "cut at {cut}");
        assert_eq!(log.next_seq(), 2);
        append_all(&mut log, &[2]).await;
        drop(log);
        assert_eq!(place.verify(), expected(0..4), "cut at {cut}");
        if cut > 0 {
            assert_eq!(place.read(&format!("{FIRST}.torn")), &last[..cut]);
        }
        assert_eq!(place.open().unwrap().take_recovery(), None);
    }
}

#[tokio::test]
async fn an_unsigned_last_line_with_a_changed_byte_is_set_aside_or_still_a_line() {
    let last = line(3);
    for at in 0..last.len() {
        for flip in [0x01, 0x80] {
            let place = Place::with(&[2]).await;
            let mut whole = place.read(FIRST);
            whole.extend(line(2));
            let from = whole.len();
            whole.extend(&last);
            whole[from + at] ^= flip;
            place.write(FIRST, &whole);
            // What still reads as this log's line in its place is kept: nobody signed what it was.
            // What reads as another line of this log was not left by a crash.
            match place.open() {
                Ok(mut log) => {
                    let kept = log.next_seq();
                    assert!(kept == 3 || kept == 4, "at {at}");
                    let recovery = log.take_recovery().unwrap();
                    assert_eq!(recovery.lines, kept - 2, "signed anew");
                    assert_eq!(recovery.bytes > 0, kept == 3);
                    drop(log);
                    let lines = place.verify();
                    assert_eq!(lines[..3], expected(0..3));
                }
                Err(error) => assert!(place_of(&error).contains("line 3"), "at {at}: {error:?}"),
            }
        }
    }
}

#[tokio::test]
async fn whole_lines_after_the_checkpoint_are_kept_and_signed() {
    let place = Place::with(&[3]).await;
    let mut whole = place.read(FIRST);
    whole.extend(lines(3..7));
    place.write(FIRST, whole);
    let log = place.open().unwrap();
    assert_eq!(log.next_seq(), 7);
    drop(log);
    assert_eq!(place.verify(), expected(0..7));
    assert!(String::from_utf8_lossy(&place.read("checkpoint")).contains("\n7\n"));
}

#[tokio::test]
async fn a_tail_that_is_no_line_is_torn_however_long_it_is() {
    for (tail, ending) in [(vec![0; 2_000_000], ""), (vec![b'x'; 70_000], "\n")] {
        let place = Place::with(&[1]).await;
        let torn = [&tail[..], ending.as_bytes()].concat();
        place.write(FIRST, [&line(0), &torn[..]].concat());
        place.write(&format!("{FIRST}.torn"), "an older one");
        let mut log = place.open().unwrap();
        assert_eq!(log.take_recovery(), Some(Recovery::new(torn.len() as u64)));
        assert_eq!(log.next_seq(), 1);
        assert_eq!(place.read(&format!("{FIRST}.torn.2")), torn);
    }
}

#[tokio::test]
async fn what_is_signed_is_refused_at_every_changed_byte_and_left_alone() {
    let place = Place::with(&[2, 1]).await;
    let whole = place.read(FIRST);
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        place.write(FIRST, &changed);
        place_of(&place.open().unwrap_err());
        assert_eq!(place.read(FIRST), changed);
    }
    for cut in 0..whole.len() {
        place.write(FIRST, &whole[..cut]);
        place_of(&place.open().unwrap_err());
    }
    place.write(FIRST, &whole);
    assert_eq!(place.open().unwrap().next_seq(), 3);
}

#[tokio::test]
async fn a_refusal_names_the_place() {
    let cases: &[(&str, Vec<u8>)] = &[
        (
            "line 1: line 2 stands there",
            [line(0), line(2), line(1)].concat(),
        ),
        (
            "line 1: line 0 stands there",
            [line(0), line(0), line(1), line(2)].concat(),
        ),
        (
            "line 1: it is not a line",
            [line(0), b"{}\n".to_vec(), line(2)].concat(),
        ),
        ("line 1: it is too long for a line, at byte ", {
            [line(0), vec![b'x'; 100_000], line(2)].concat()
        }),
        ("line 2: it is not a line of a log, at byte ", {
            [lines(0..2), b"{}\n".to_vec()].concat()
        }),
        ("line 3: it is too long for a line, at byte ", {
            [lines(0..3), vec![b'x'; 70_000], line(4), line(4)].concat()
        }),
        ("truncated: a checkpoint says 3, the log has 2", lines(0..2)),
        ("truncated: a checkpoint says 3, the log has 0", Vec::new()),
        ("root differs at size 3", {
            let text = String::from_utf8(lines(0..3)).unwrap();
            text.replacen("alice", "malic", 1).into_bytes()
        }),
        (
            "line 3: it is not a line",
            [lines(0..3), b"{}\n".to_vec(), line(4)].concat(),
        ),
        (
            "line 3: line 4 stands there",
            [lines(0..3), line(4)].concat(),
        ),
    ];
    for (what, bytes) in cases {
        let place = Place::with(&[3]).await;
        place.write(FIRST, bytes);
        let told = place_of(&place.open().unwrap_err());
        assert!(told.contains(what), "{what}: {told}");
        assert_eq!(place.read(FIRST), *bytes, "left alone");
    }
}

#[tokio::test]
async fn checkpoints_that_are_not_ours_are_refused() {
    let other = Place::with(&[3]).await;
    let place = Place::with(&[3]).await;
    let good = String::from_utf8(place.read("checkpoint")).unwrap();
    let forged = good.replacen("\n3\n", "\n2\n", 1);
    for wrong in [forged.as_bytes(), &other.read("checkpoint")] {
        place.write("checkpoint", wrong);
        assert!(place_of(&place.open().unwrap_err()).contains("bad signature"));
    }
    // What a crash of the machine may leave of a file that was being replaced.
    for torn in [&b""[..], &good.as_bytes()[..40]] {
        place.write("checkpoint", torn);
        assert_eq!(place.open().unwrap().next_seq(), 3);
        assert_eq!(place.verify(), expected(0..3), "it is put right at once");
    }
    for name in ["checkpoint", "checkpoints.jsonl"] {
        std::fs::remove_file(place.path(name)).unwrap();
    }
    assert!(place_of(&place.open().unwrap_err()).contains("no checkpoint"));
    std::fs::remove_file(place.path("vkey")).unwrap();
    assert!(place_of(&place.open().unwrap_err()).contains("vkey"));
}

#[tokio::test]
async fn a_torn_line_of_the_list_is_written_again() {
    let place = Place::with(&[2, 2]).await;
    let list = place.read("checkpoints.jsonl");
    for cut in [1, 17, 200] {
        place.write("checkpoints.jsonl", &list[..list.len() - cut]);
        let mut log = place.open().unwrap();
        place.verify();
        append_all(&mut log, &[1]).await;
        drop(log);
        let end = place.verify().len() as u64;
        assert_eq!(place.verify(), expected(0..end));
    }
}

#[tokio::test]
async fn another_key_or_origin_is_refused() {
    let place = Place::with(&[1]).await;
    let refused = |options: FileLogOptions| options.open().unwrap_err().kind();
    let key = place.log().with_file_name("other.key");
    FileSigner::create(&key, ORIGIN).unwrap();
    assert_eq!(
        refused(place.options().signing_key(&key)),
        StoreErrorKind::Conflict
    );
    for other in ["example.com/other", "example.com/lo", "example.com/log/a"] {
        let options = place.options().origin(other);
        assert_eq!(refused(options), StoreErrorKind::Conflict, "{other}");
    }
    let nowhere = place.log().with_file_name("nowhere.key");
    assert_eq!(
        refused(place.options().signing_key(nowhere)),
        StoreErrorKind::NotFound
    );
    assert_eq!(place.open().unwrap().next_seq(), 1);
}

#[tokio::test]
async fn a_damaged_log_begins_anew_only_when_asked_by_name() {
    let place = Place::with(&[3]).await;
    place.write(FIRST, lines(0..2));
    place_of(&place.open().unwrap_err());
    let anew = || place.options().on_damage(LogDamage::StartNewIncarnation);
    let mut log = anew().open().unwrap();
    assert_eq!(log.next_seq(), 0);
    assert_eq!(
        log.origin().unwrap().as_ref(),
        "example.com/log/incarnation-2"
    );
    let expected = Notice::incarnation(
        ORIGIN,
        format!(
            "{}: truncated: a checkpoint says 3, the log has 2",
            place.log().display()
        ),
    );
    assert_eq!(log.take_notices(), [expected]);
    assert_eq!(place.read(&format!("damaged-1/{FIRST}")), lines(0..2));
    assert!(place.path("damaged-1/vkey").exists());
    drop(log);
    let mut log = anew().open().unwrap();
    assert_eq!(log.take_notices(), [], "a whole log goes on");
    append_all(&mut log, &[1]).await;
    drop(log);
    place.write(FIRST, "");
    let origin = anew().open().unwrap().origin().unwrap();
    assert_eq!(&*origin, "example.com/log/incarnation-3");
    assert!(place.path("damaged-2/vkey").exists());
}

#[tokio::test]
async fn a_beginning_anew_that_fails_is_gone_on_with() {
    let operations = 40;
    let mut failed = 0;
    for after in 0..operations {
        let place = Place::with(&[3]).await;
        let damaged = lines(0..2);
        place.write(FIRST, &damaged);
        let anew = || place.options().on_damage(LogDamage::StartNewIncarnation);
        let options = anew();
        options.disk.faults.plan(after, 1, 5);
        let first = options.open();
        failed += u64::from(first.is_err());
        drop(first);
        let log = anew().open().unwrap();
        let origin = log.origin().unwrap();
        assert!(
            origin.starts_with("example.com/log/incarnation-"),
            "{after}: {origin}"
        );
        drop(log);
        let kept = (1..4).any(|number| {
            let path = place.path(&format!("damaged-{number}/{FIRST}"));
            fs::read(path).is_ok_and(|kept| kept == damaged)
        });
        assert!(kept, "after {after}");
        let report = place.verifier().verify().unwrap();
        assert_eq!((report.finding, report.events), (crate::Finding::Ok, 0));
    }
    assert!((8..operations).contains(&failed), "{failed}");
}

#[test]
fn one_writer_owns_a_log() {
    let place = Place::new();
    let log = place.open().unwrap();
    let refused = place.open().unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::AlreadyExists);
    drop(log);
    assert!(place.open().is_ok());
}

/// A child that is just being started has a copy of the lock's file.
#[cfg(unix)]
#[test]
fn a_log_that_was_closed_can_be_opened_while_a_child_is_started() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let place = Place::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = std::process::Command::new("true").status();
                }
            });
        }
        let refused = (0..1000).filter(|_| place.open().is_err()).count();
        done.store(true, Ordering::Relaxed);
        assert_eq!(refused, 0);
    });
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::with(&[1]).await;
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for name in [FIRST, "lock", "checkpoint", "checkpoints.jsonl", "vkey"] {
        assert_eq!(mode(place.path(name)), 0o600, "{name}");
    }
    assert_eq!(mode(place.log()), 0o700);
    assert_eq!(mode(place.log().with_file_name("log.key")), 0o600);
}
