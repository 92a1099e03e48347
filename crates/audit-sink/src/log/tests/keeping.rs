//! Rotation, retention, proofs, anchors, and what a new process knows of an old log.

use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::log::current::{KEPT_IN_CACHE, STEP};
use crate::log::tree::{Hash, check_inclusion, leaf_hash};

#[tokio::test]
async fn a_segment_is_followed_by_another_by_size_and_by_age() {
    let place = Place::new();
    let options = place.options().segment_bytes(1000);
    let options = options.segment_age(Duration::from_secs(60));
    for _ in 0..2 {
        let mut log = options.clone().open().unwrap();
        append_all(&mut log, &[1; 10]).await;
    }
    let by_size = place.segments().len();
    assert!((4..20).contains(&by_size), "{:?}", place.segments());
    let mut log = options.open().unwrap();
    place.clock.advance(Duration::from_secs(61));
    append_all(&mut log, &[1]).await;
    assert_eq!(place.segments().len(), by_size + 1);
    drop(log);
    assert_eq!(place.verify(), expected(0..21));
}

/// All that is older than the newest 8 MiB leaves the page cache, in whole steps, each byte once; a
/// file that takes the place of one that failed begins again.
#[tokio::test]
async fn what_was_written_a_while_ago_leaves_the_page_cache() {
    let place = Place::new();
    let options = place.options();
    let faults = options.disk.faults.clone();
    let mut log = options.open().unwrap();
    let (mut bytes, mut gone) = (0, 0);
    for batch in 0..6 {
        let next = log.next_seq();
        let records = records(next..next + 6000);
        if batch == 4 {
            faults.plan(0, 1, 5);
            assert!(log.append(&records).await.is_err());
            gone = 0;
        }
        log.append(&records).await.unwrap();
        bytes += records
            .iter()
            .map(|it| it.line().len() as u64 + 1)
            .sum::<u64>();
        for (start, length) in faults.take_let_go() {
            assert_eq!((start, length % STEP), (gone, 0));
            gone += length;
        }
        let old = bytes.saturating_sub(KEPT_IN_CACHE);
        assert!(gone <= old && old - gone < STEP, "{gone} of {old}");
    }
    assert!(gone > 2 * STEP, "{gone}");
}

#[tokio::test]
async fn rotation_tells_of_the_tree() {
    let place = Place::new();
    let mut log = place.options().segment_bytes(0).open().unwrap();
    append_all(&mut log, &[3]).await;
    assert_eq!(log.take_notices(), []);
    append_all(&mut log, &[1]).await;
    let checkpoint = String::from_utf8(place.read("checkpoints.jsonl")).unwrap();
    let root = checkpoint
        .lines()
        .find(|l| l.starts_with("{\"size\":3,"))
        .unwrap();
    let root = root.split("\\n").nth(2).unwrap();
    assert_eq!(log.take_notices(), [Notice::checkpoint(3, root)]);
}

#[tokio::test]
async fn a_rare_checkpoint_covers_all_that_came_before() {
    let place = Place::new();
    let mut log = place.rarely_signed().open().unwrap();
    append_all(&mut log, &[2, 2, 2]).await;
    let size = |place: &Place| {
        let text = String::from_utf8(place.read("checkpoint")).unwrap();
        text.lines().nth(1).unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(size(&place), 2);
    place.clock.advance(Duration::from_secs(3601));
    append_all(&mut log, &[2]).await;
    assert_eq!(size(&place), 8);
    append_all(&mut log, &[1]).await;
    assert_eq!(size(&place), 8);
    log.settle().await.unwrap();
    assert_eq!(size(&place), 9);
    append_all(&mut log, &[1]).await;
    log.flush().await.unwrap();
    assert_eq!(size(&place), 10);
    append_all(&mut log, &[1]).await;
    drop(log);
    assert_eq!(
        size(&place),
        11,
        "a log that is let go of is signed to its end"
    );
    assert_eq!(place.verify(), expected(0..11));
}

#[tokio::test]
async fn every_event_is_proved_also_when_lines_were_deleted() {
    let place = Place::new();
    let options = place.options().segment_bytes(2000);
    let options = options.keep_for(Duration::from_secs(100));
    let mut log = options.clone().open().unwrap();
    append_all(&mut log, &[3, 4, 5, 6]).await;
    for seq in 0..18 {
        assert_proved(&place, seq, 18, true);
    }
    let missing = prove_event(place.log(), 18).unwrap_err();
    assert_eq!(missing.kind(), StoreErrorKind::NotFound);
    place.clock.advance(Duration::from_secs(101));
    append_all(&mut log, &[9, 1]).await;
    assert!(place.path(FIRST).exists(), "nothing tells of it yet");
    let told = tell_notices(&mut log).await;
    assert!(told.contains(&Notice::removed(0, 7)), "{told:?}");
    let size = log.next_seq();
    let names = place.segments();
    assert!(names.contains(&"00000000000000000000.hashes".to_owned()));
    assert!(!names.contains(&"00000000000000000000.jsonl".to_owned()));
    for _ in 0..2 {
        for seq in 0..28 {
            assert_proved(&place, seq, size, seq >= 7);
        }
        // Without what was kept of finished segments it takes longer.
        let _ = fs::remove_file(place.path("subtrees.jsonl"));
    }
    drop(log);
    let mut log = options.open().unwrap();
    append_all(&mut log, &[1]).await;
    assert_eq!(log.next_seq(), size + 1);
    assert_proved(&place, 3, size + 1, false);
}

fn assert_proved(place: &Place, seq: u64, size: u64, there: bool) {
    let proof = prove_event(place.log(), seq).unwrap();
    let line = record(seq).line().to_vec();
    assert_eq!(proof.line, there.then(|| line.clone()), "line {seq}");
    let checkpoint = String::from_utf8(place.read("checkpoint")).unwrap();
    let text = proof
        .proof
        .strip_suffix(&format!("\n{checkpoint}"))
        .unwrap();
    let mut parts = text.lines();
    assert_eq!(parts.next(), Some("c2sp.org/tlog-proof@v1"));
    assert_eq!(parts.next(), Some(&*format!("index {seq}")));
    let path: Vec<Hash> = parts.map(|hash| Hash::parse_hash(hash).unwrap()).collect();
    let root = Hash::parse_hash(checkpoint.lines().nth(2).unwrap()).unwrap();
    assert!(check_inclusion(&path, seq, leaf_hash(&line), size, root));
}

#[tokio::test]
async fn the_oldest_segments_go_when_there_are_too_many_bytes() {
    let place = Place::new();
    let options = place.options().segment_bytes(1000).keep_bytes(2500);
    let mut log = options.open().unwrap();
    for _ in 0..40 {
        append_all(&mut log, &[1]).await;
        tell_notices(&mut log).await;
    }
    let left: u64 = place
        .segments()
        .iter()
        .filter(|name| name.ends_with(".jsonl"))
        .map(|name| {
            fs::metadata(place.path("segments").join(name))
                .unwrap()
                .len()
        })
        .sum();
    assert!((1000..5000).contains(&left), "{left}");
    for seq in [0, 17, 39] {
        prove_event(place.log(), seq).unwrap();
    }
}

#[tokio::test]
async fn old_segments_are_known_without_being_read() {
    let place = Place::new();
    let options = place.options().segment_bytes(1000);
    let mut log = options.clone().open().unwrap();
    append_all(&mut log, &[1; 40]).await;
    drop(log);
    let text = place.read(FIRST);
    let changed = String::from_utf8(text.clone()).unwrap();
    place.write(FIRST, changed.replacen("alice", "malic", 1));
    assert!(place_of(&options.clone().open().unwrap_err()).contains("root differs"));
    assert_eq!(
        options.clone().read_at_start(0).open().unwrap().next_seq(),
        40
    );
    place.write(FIRST, &text[1..]);
    let refused = options.clone().read_at_start(0).open().unwrap_err();
    assert!(place_of(&refused).contains("bytes"));
    place.write(FIRST, &text);
    // What is kept of them is believed only as far as it makes the tree that is signed.
    let kept = String::from_utf8(place.read("subtrees.jsonl")).unwrap();
    let kept: Vec<&str> = kept.lines().filter(|line| !line.is_empty()).collect();
    let of = |line: &str| line[line.find("\"roots\"").unwrap()..].to_owned();
    let forged = kept[0].replace(&of(kept[0]), &of(kept[1]));
    place.write(
        "subtrees.jsonl",
        [&[&*forged], &kept[1..]].concat().join("\n"),
    );
    place_of(&options.clone().read_at_start(0).open().unwrap_err());
    assert_eq!(options.open().unwrap().next_seq(), 40);
}

#[tokio::test]
async fn a_missing_segment_is_named() {
    let place = Place::new();
    let options = place.options().segment_bytes(0);
    let mut log = options.clone().open().unwrap();
    append_all(&mut log, &[1; 4]).await;
    drop(log);
    let second = "segments/00000000000000000001.jsonl";
    let text = place.read(second);
    fs::remove_file(place.path(second)).unwrap();
    let told = place_of(&options.clone().open().unwrap_err());
    assert!(told.contains("line 1"), "{told}");
    place.write(second, [&text[..], &line(2)].concat());
    let told = place_of(&options.clone().open().unwrap_err());
    assert!(told.contains("line 2"), "{told}");
    place.write(second, &text);
    fs::remove_file(place.path(FIRST)).unwrap();
    let told = place_of(&options.clone().open().unwrap_err());
    assert!(told.contains("line 0 is missing"), "{told}");
}

#[tokio::test]
async fn a_log_that_is_shorter_than_its_anchor_is_refused() {
    let place = Place::new();
    let path = place.log().with_file_name("anchor");
    let options = || {
        let anchor = FileAnchor::new(&path);
        place.options().anchor(anchor, Duration::from_secs(60))
    };
    let mut log = options().open().unwrap();
    append_all(&mut log, &[3]).await;
    let early: Vec<_> = [FIRST, "checkpoint", "checkpoints.jsonl"]
        .map(|name| (name, place.read(name)))
        .into();
    append_all(&mut log, &[2]).await;
    log.flush().await.unwrap();
    drop(log);
    assert_eq!(fs::read(&path).unwrap(), place.read("checkpoint"));
    assert_eq!(options().open().unwrap().next_seq(), 5);
    for (name, bytes) in early {
        place.write(name, bytes);
    }
    assert_eq!(place.open().unwrap().next_seq(), 3, "it is whole by itself");
    let told = place_of(&options().open().unwrap_err());
    assert!(
        told.contains("a checkpoint says 5, the log has 3"),
        "{told}"
    );
    fs::remove_dir_all(place.log()).unwrap();
    let told = place_of(&options().open().unwrap_err());
    assert!(told.contains("an anchor knows more"), "{told}");
}

/// Signs when it is told to.
#[derive(Debug)]
struct Moody(FileSigner, Arc<Mutex<bool>>);

impl CheckpointSigner for Moody {
    fn public_key(&self) -> Result<[u8; 32], StoreError> {
        self.0.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], StoreError> {
        if *self.1.lock().unwrap() {
            return Err(StoreError::new(StoreErrorKind::Unavailable));
        }
        self.0.sign(message)
    }
}

#[tokio::test]
async fn without_a_signature_nothing_is_told() {
    let place = Place::new();
    fs::create_dir_all(place.log()).unwrap();
    let fails = Arc::new(Mutex::new(false));
    let key = FileSigner::create(place.path("key"), ORIGIN).unwrap();
    let options = place.options().signer(Moody(key, Arc::clone(&fails)));
    let mut log = options.open().unwrap();
    append_all(&mut log, &[1]).await;
    *fails.lock().unwrap() = true;
    assert!(log.append(&records(1..3)).await.is_err());
    assert_eq!(log.next_seq(), 1);
    *fails.lock().unwrap() = false;
    append_all(&mut log, &[3]).await;
    drop(log);
    assert_eq!(place.verify(), expected(0..4));
}

#[test]
fn a_new_log_is_given_a_name_and_a_key() {
    let place = Place::new();
    let log = FileLog::open(place.log()).unwrap();
    let origin = log.origin().unwrap();
    assert!(origin.starts_with("countersign/"), "{origin}");
    drop(log);
    assert_eq!(FileLog::open(place.log()).unwrap().origin(), Some(origin));
    let refused = FileLog::options(place.path("other")).origin("a b").open();
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Conflict);
}
