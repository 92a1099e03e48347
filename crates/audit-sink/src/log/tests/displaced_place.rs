//! A log whose directory somebody moves, or gives to another process, while it is written.

use std::fmt;
use std::sync::Mutex;

use super::displaced::REFUSED;
use super::*;

#[tokio::test]
async fn a_log_whose_directory_is_another_s_writes_nothing_to_it() {
    let place = Place::new();
    let mut first = place.open().unwrap();
    append_all(&mut first, &[2]).await;
    let moved = place.root.path().join("moved");
    fs::rename(place.log(), &moved).unwrap();
    let mut second = place.open().unwrap();
    append_all(&mut second, &[1]).await;
    for _ in 0..3 {
        assert_eq!(attempt(&mut first).await, REFUSED);
        assert!(first.flush().await.is_err() && first.health().await.is_err());
    }
    drop(first);
    append_all(&mut second, &[1]).await;
    drop(second);
    assert_eq!(place.verify(), expected(0..2));
    assert_eq!(oracle::verify(&moved), expected(0..2));
}

#[tokio::test]
async fn a_directory_that_comes_back_to_its_place_goes_on() {
    let place = Place::new();
    let mut log = place.open().unwrap();
    append_all(&mut log, &[2]).await;
    let moved = place.root.path().join("moved");
    fs::rename(place.log(), &moved).unwrap();
    assert_eq!(attempt(&mut log).await, REFUSED);
    assert!(log.health().await.is_err());
    fs::rename(&moved, place.log()).unwrap();
    log.health().await.unwrap();
    append_all(&mut log, &[1]).await;
    drop(log);
    assert_eq!(place.verify(), expected(0..3));
}

#[tokio::test]
async fn a_log_whose_segments_are_another_directory_s_begins_none_there() {
    let place = Place::new();
    let mut log = place.options().segment_bytes(900).open().unwrap();
    append_all(&mut log, &[2, 2, 1]).await;
    assert!(place.segments().len() > 1);
    fs::rename(place.path("segments"), place.path("old")).unwrap();
    fs::create_dir(place.path("segments")).unwrap();
    for _ in 0..3 {
        assert_eq!(attempt(&mut log).await, REFUSED);
    }
    assert!(place.segments().is_empty());
    fs::remove_dir(place.path("segments")).unwrap();
    fs::rename(place.path("old"), place.path("segments")).unwrap();
    append_all(&mut log, &[1]).await;
    drop(log);
    assert_eq!(place.verify(), expected(0..6));
}

#[tokio::test]
async fn of_two_processes_only_the_one_with_the_lock_counts_lines() {
    for after in 0..2 {
        let place = Arc::new(Place::new());
        let options = place.rarely_signed();
        let faults = options.disk.faults.clone();
        let mut first = options.open().unwrap();
        append_all(&mut first, &[2]).await;
        let second = Arc::new(Mutex::new(None));
        let (theirs, at) = (Arc::clone(&second), Arc::clone(&place));
        faults.interpose(after, move || {
            fs::remove_file(at.path("lock")).unwrap();
            *theirs.lock().unwrap() = Some(at.open().unwrap());
        });
        for _ in 0..3 {
            assert_eq!(attempt(&mut first).await, REFUSED);
        }
        let mut second = second.lock().unwrap().take().unwrap();
        let next = second.next_seq();
        while second.next_seq() < next + 2 {
            // The other wrote to its segment, and never will again.
            let _ = attempt(&mut second).await;
        }
        drop((first, second));
        assert_eq!(place.verify(), expected(0..next + 2));
    }
}

/// Signs after it has run what it is armed with.
struct Slow {
    signer: FileSigner,
    armed: Arc<Mutex<Option<Hand>>>,
}

type Hand = Box<dyn FnOnce() + Send>;

impl fmt::Debug for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slow")
    }
}

impl CheckpointSigner for Slow {
    fn public_key(&self) -> Result<[u8; 32], StoreError> {
        self.signer.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], StoreError> {
        if let Some(hand) = self.armed.lock().unwrap().take() {
            hand();
        }
        self.signer.sign(message)
    }
}

#[tokio::test]
async fn a_checkpoint_is_not_stored_in_a_directory_that_became_another_s_while_it_was_signed() {
    let place = Arc::new(Place::with(&[]).await);
    let key = place.log().with_extension("key");
    let signer = Slow {
        signer: FileSigner::open(&key).unwrap(),
        armed: Arc::default(),
    };
    let armed = Arc::clone(&signer.armed);
    let mut first = place.options().signer(signer).open().unwrap();
    append_all(&mut first, &[5]).await;
    let moved = place.root.path().join("moved");
    let (at, away) = (Arc::clone(&place), moved.clone());
    *armed.lock().unwrap() = Some(Box::new(move || {
        fs::rename(at.log(), &away).unwrap();
        drop(at.open().unwrap());
    }));
    assert_eq!(attempt(&mut first).await, REFUSED);
    drop(first);
    assert_eq!(place.verify(), expected(0..0));
    assert_eq!(place.open().unwrap().next_seq(), 0);
    drop(FileLog::options(&moved).signing_key(&key).open().unwrap());
    assert!(oracle::verify(&moved).starts_with(&expected(0..5)));
}

#[tokio::test]
async fn word_of_reads_is_left_to_the_log_that_is_there() {
    let place = Place::with(&[2]).await;
    let mut first = place.open().unwrap();
    fs::rename(place.log(), place.root.path().join("moved")).unwrap();
    let mut second = place.open().unwrap();
    record_read(place.log(), "alice", "why").unwrap();
    first.settle().await.unwrap_err();
    assert!(first.take_notices().is_empty());
    second.settle().await.unwrap();
    assert_eq!(second.take_notices().len(), 1);
}
