//! A log whose segment somebody else removes, moves, replaces or changes while it is written.

use std::fs::OpenOptions;

use super::*;
use crate::log::faults::Faults;

pub(super) const REFUSED: Result<(), StoreErrorKind> = Err(StoreErrorKind::Unavailable);

/// A log with so many lines, and with segments of so many bytes.
async fn under_way(lines: u64, segment_bytes: u64) -> (Place, FileLog, Faults) {
    let place = Place::new();
    let options = place.options().segment_bytes(segment_bytes);
    let faults = options.disk.faults.clone();
    let mut log = options.open().unwrap();
    append_all(&mut log, &[lines]).await;
    (place, log, faults)
}

const LONG: u64 = 1 << 20;

impl super::Place {
    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }
}

#[tokio::test]
async fn a_segment_that_is_removed_is_put_back_with_all_its_lines() {
    let place = Place::new();
    // Also one that was found when the log was opened, and one that has no line that counts.
    for (told, resumed) in [(3, false), (4, true)] {
        let mut log = place.open().unwrap();
        append_all(&mut log, if resumed { &[] } else { &[3] }).await;
        fs::remove_file(place.path(FIRST)).unwrap();
        assert_eq!(attempt(&mut log).await, REFUSED);
        assert_eq!(log.next_seq(), told);
        assert_eq!(attempt(&mut log).await, Ok(()));
        drop(log);
        assert_eq!(place.verify(), expected(0..told + 1));
        assert_eq!(place.segments(), ["00000000000000000000.jsonl"]);
    }
}

#[tokio::test]
async fn whatever_fails_while_a_segment_is_put_back_nothing_is_lost() {
    for after in 0..12 {
        let (place, mut log, faults) = under_way(3, LONG).await;
        fs::remove_file(place.path(FIRST)).unwrap();
        faults.plan(after, 1, 5);
        let mut attempts = 1;
        while attempt(&mut log).await == REFUSED {
            attempts += 1;
            assert!(attempts < 9, "{after}");
        }
        assert!(matches!(attempts, 2 | 3), "{attempts} {after}");
        drop(log);
        assert_eq!(place.verify(), expected(0..4), "{after}");
    }
}

#[tokio::test]
async fn a_segment_that_is_removed_while_it_is_put_back_is_put_back() {
    for after in 0..16 {
        let (place, mut log, faults) = under_way(3, LONG).await;
        fs::remove_file(place.path(FIRST)).unwrap();
        assert_eq!(attempt(&mut log).await, REFUSED);
        let path = place.path(FIRST);
        faults.interpose(after, move || drop(fs::remove_file(path)));
        let mut attempts = 0;
        while log.next_seq() < 6 {
            let _ = attempt(&mut log).await;
            attempts += 1;
            assert!(attempts < 9, "{after}");
        }
        drop(log);
        assert_eq!(place.verify(), expected(0..6), "{after}");
    }
}

#[tokio::test]
async fn a_segment_that_is_replaced_while_it_is_put_back_is_not_written_to() {
    let mut refused = 0;
    for after in 0..6 {
        let (place, mut log, faults) = under_way(3, LONG).await;
        let place = Arc::new(place);
        fs::remove_file(place.path(FIRST)).unwrap();
        assert_eq!(attempt(&mut log).await, REFUSED);
        let again = Arc::clone(&place);
        faults.interpose(after, move || {
            let _ = fs::remove_file(again.path(FIRST));
            again.write(FIRST, "not ours");
        });
        if attempt(&mut log).await == REFUSED {
            refused += 1;
            assert_eq!(attempt(&mut log).await, REFUSED, "{after}");
            assert_eq!(place.read(FIRST), b"not ours", "{after}");
            fs::remove_file(place.path(FIRST)).unwrap();
            append_all(&mut log, &[1]).await;
        }
        drop(log);
        assert_eq!(place.verify(), expected(0..4), "{after}");
    }
    // All but the one in the moment of the rename.
    assert_eq!(refused, 5);
}

#[tokio::test]
async fn a_segment_that_is_removed_while_it_is_finished_is_put_back() {
    for after in 0..9 {
        let (place, mut log, faults) = under_way(1, 1).await;
        let path = place.path(FIRST);
        faults.interpose(after, move || fs::remove_file(path).unwrap());
        assert_eq!(attempt(&mut log).await, REFUSED, "{after}");
        append_all(&mut log, &[1, 1]).await;
        drop(log);
        assert_eq!(place.verify(), expected(0..3), "{after}");
    }
}

#[tokio::test]
async fn lines_that_come_again_are_acknowledged_only_where_they_are() {
    let mut refused = 0;
    for after in 0..9 {
        let (place, mut log, faults) = under_way(3, LONG).await;
        faults.plan(after, 1, 28);
        if attempt(&mut log).await == REFUSED {
            refused += 1;
            fs::remove_file(place.path(FIRST)).unwrap();
            append_all(&mut log, &[1]).await;
        }
        drop(log);
        assert_eq!(place.verify(), expected(0..4), "{after}");
    }
    assert!(refused > 4, "{refused}");
}

#[tokio::test]
async fn a_segment_is_put_back_before_the_log_ends() {
    for refused in [false, true] {
        for end in ["flush", "settle", "drop"] {
            let place = Place::with(&[3]).await;
            let mut log = place.open().unwrap();
            append_all(&mut log, &[1]).await;
            fs::remove_file(place.path(FIRST)).unwrap();
            if refused {
                assert_eq!(attempt(&mut log).await, REFUSED);
            }
            match end {
                "flush" => log.flush().await.unwrap(),
                "settle" => log.settle().await.unwrap(),
                _ => {}
            }
            drop(log);
            assert_eq!(place.verify(), expected(0..4), "{end}");
        }
    }
}

#[tokio::test]
async fn a_segment_that_is_removed_when_it_is_full_is_put_back_before_the_next_begins() {
    let (place, mut log, _) = under_way(1, 1).await;
    fs::remove_file(place.path(FIRST)).unwrap();
    assert_eq!(attempt(&mut log).await, REFUSED);
    append_all(&mut log, &[1, 1]).await;
    drop(log);
    assert_eq!(place.verify(), expected(0..3));
    assert_eq!(place.segments().len(), 3);
}

#[tokio::test]
async fn what_somebody_put_in_the_place_of_a_segment_is_not_overwritten() {
    let (place, mut log, _) = under_way(2, LONG).await;
    place.rename(FIRST, "moved");
    place.write(FIRST, "not ours");
    for _ in 0..3 {
        assert_eq!(attempt(&mut log).await, REFUSED);
        assert_eq!(place.read(FIRST), b"not ours");
    }
    place.rename(FIRST, "theirs");
    append_all(&mut log, &[1]).await;
    drop(log);
    assert_eq!(place.verify(), expected(0..3));
}

#[tokio::test]
async fn a_copy_of_a_segment_and_an_empty_file_are_nobody_s() {
    for content in [lines(0..2), Vec::new()] {
        let (place, mut log, _) = under_way(2, LONG).await;
        place.rename(FIRST, "moved");
        place.write(FIRST, content);
        assert_eq!(attempt(&mut log).await, REFUSED);
        append_all(&mut log, &[1]).await;
        drop(log);
        assert_eq!(place.verify(), expected(0..3));
    }
}

#[tokio::test]
async fn what_stands_where_a_segment_is_to_begin_is_not_overwritten() {
    const SECOND: &str = "segments/00000000000000000001.jsonl";
    let (place, mut log, _) = under_way(1, 1).await;
    place.write(SECOND, "not ours");
    for _ in 0..3 {
        assert_eq!(attempt(&mut log).await, REFUSED);
        assert_eq!(place.read(SECOND), b"not ours");
    }
    place.rename(SECOND, "theirs");
    append_all(&mut log, &[1]).await;
    drop(log);
    assert_eq!(place.verify(), expected(0..2));
}

#[tokio::test]
async fn a_segment_that_comes_back_to_its_place_goes_on() {
    let (place, mut log, _) = under_way(2, LONG).await;
    place.rename(FIRST, "moved");
    assert_eq!(attempt(&mut log).await, REFUSED);
    place.rename("moved", FIRST);
    append_all(&mut log, &[1]).await;
    drop(log);
    assert_eq!(place.verify(), expected(0..3));
}

#[tokio::test]
async fn after_a_segment_is_cut_off_nothing_more_is_acknowledged() {
    let (place, mut log, _) = under_way(2, LONG).await;
    let file = OpenOptions::new().write(true).open(place.path(FIRST));
    file.unwrap().set_len(0).unwrap();
    for _ in 0..3 {
        assert_eq!(attempt(&mut log).await, Err(StoreErrorKind::Corrupt));
    }
    assert_eq!(log.next_seq(), 2);
}

#[tokio::test]
async fn what_was_acknowledged_and_is_cut_off_is_missed_when_the_log_is_opened_again() {
    for end in ["append", "flush", "settle", "drop"] {
        let place = Place::new();
        let mut log = place.rarely_signed().open().unwrap();
        append_all(&mut log, &[2, 2]).await;
        let file = OpenOptions::new().write(true).open(place.path(FIRST));
        file.unwrap().set_len(lines(0..2).len() as u64).unwrap();
        match end {
            "append" => drop(attempt(&mut log).await.unwrap_err()),
            "flush" => drop(log.flush().await.unwrap_err()),
            "settle" => drop(log.settle().await.unwrap_err()),
            _ => {}
        }
        drop(log);
        let error = place.open().unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{end}");
    }
}

#[tokio::test]
async fn a_process_that_ends_while_a_segment_is_put_back_leaves_it_to_the_next() {
    for after in 2..6 {
        let (place, mut log, faults) = under_way(3, LONG).await;
        fs::remove_file(place.path(FIRST)).unwrap();
        assert_eq!(attempt(&mut log).await, REFUSED);
        let (from, left) = (place.log(), Place::new());
        let to = left.log();
        // What is on the disk at that moment is all that the next process finds.
        faults.interpose(after, move || copy_directory(&from, &to));
        append_all(&mut log, &[1]).await;
        let key = place.log().with_extension("key");
        let next = left.options().signing_key(key).open().unwrap();
        assert_eq!(next.next_seq(), 3, "{after}");
        drop(next);
        assert_eq!(left.verify(), expected(0..3), "{after}");
    }
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_list_of_checkpoints_that_is_removed_or_cut_off_goes_on_with_the_next() {
    const LIST: &str = "checkpoints.jsonl";
    for length in [None, Some(0), Some(7)] {
        for fault in [None, Some(0), Some(3), Some(5)] {
            let (place, mut log, faults) = under_way(2, LONG).await;
            append_all(&mut log, &[1]).await;
            match length {
                None => fs::remove_file(place.path(LIST)).unwrap(),
                Some(length) => {
                    let list = OpenOptions::new().write(true).open(place.path(LIST));
                    list.unwrap().set_len(length).unwrap();
                }
            }
            if let Some(after) = fault {
                faults.plan(after, 1, 28);
            }
            while log.next_seq() < 6 {
                let _ = attempt(&mut log).await;
            }
            log.flush().await.unwrap();
            drop(log);
            assert_eq!(place.verify(), expected(0..6), "{length:?} {fault:?}");
            assert_eq!(place.open().unwrap().next_seq(), 6);
        }
    }
}

#[tokio::test]
async fn what_somebody_else_wrote_to_a_segment_does_not_stay_in_it() {
    let (place, mut log, _) = under_way(2, LONG).await;
    place.write(FIRST, [&lines(0..2)[..], b"not ours\n"].concat());
    assert_eq!(attempt(&mut log).await, Err(StoreErrorKind::Corrupt));
    append_all(&mut log, &[1]).await;
    drop(log);
    assert_eq!(place.verify(), expected(0..3));
}
