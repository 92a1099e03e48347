//! Word of reads that is no word, or can't be taken away.

use std::time::Duration;

use super::*;

fn unknown() -> Notice {
    Notice::read("unknown", "unknown")
}

/// A log beside which word may be left.
async fn place() -> Place {
    let place = Place::with(&[1]).await;
    fs::create_dir_all(place.path("reads")).unwrap();
    place
}

#[tokio::test]
async fn word_that_cannot_be_taken_away_is_told_once_by_each_process() {
    let place = place().await;
    let word = place.path("reads/x.json");
    fs::create_dir(&word).unwrap();
    for _ in 0..2 {
        let mut log = place.open().unwrap();
        assert_eq!(tell_notices(&mut log).await, [unknown()]);
        for _ in 0..3 {
            log.settle().await.unwrap();
            assert_eq!(log.take_notices(), []);
        }
    }
    // It is gone at last, and there is another one by its name.
    let mut log = place.open().unwrap();
    tell_notices(&mut log).await;
    log.settle().await.unwrap();
    fs::remove_dir(&word).unwrap();
    log.settle().await.unwrap();
    fs::write(&word, r#"{"actor":"ada","purpose":"query"}"#).unwrap();
    log.settle().await.unwrap();
    let told = tell_notices(&mut log).await;
    assert_eq!(told, [Notice::read("ada", "query")]);
    log.settle().await.unwrap();
    assert!(!word.exists());
}

#[tokio::test]
async fn word_that_is_too_long_is_told_as_unknown() {
    let place = place().await;
    let word = format!(r#"{{"actor":"ada","purpose":"{}"}}"#, "a".repeat(16 * 1024));
    place.write("reads/x.json", word);
    let mut log = place.open().unwrap();
    assert_eq!(tell_notices(&mut log).await, [unknown()]);
    log.settle().await.unwrap();
    assert!(!place.path("reads/x.json").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_or_a_device_among_the_words_holds_nobody_up() {
    let place = place().await;
    let pipe = place.path("reads/x.json");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let device = place.path("reads/y.json");
    std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
    let (opened, begun) = std::sync::mpsc::channel();
    let options = place.options();
    std::thread::spawn(move || opened.send(options.open()));
    let log = begun.recv_timeout(Duration::from_secs(10));
    let mut log = log.expect("the log hangs").unwrap();
    assert_eq!(tell_notices(&mut log).await, [unknown(), unknown()]);
    log.settle().await.unwrap();
    assert!(!pipe.exists() && !device.exists());
}
