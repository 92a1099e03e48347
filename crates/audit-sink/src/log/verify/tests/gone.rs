//! Lines of which only hashes are left: which may be, and what must tell of them.

use super::*;

/// The same lines, told by `removed` at the end that the first `count` were deleted.
fn telling(count: u64, signed: u64) -> Log {
    let text = format!(
        "\",\"type\":\"external_api.audit.removed\",\"metadata\":{{\"first\":0,\"count\":{count}}},\"x\":\""
    );
    let directory = tempfile::tempdir().unwrap();
    let signer = FileSigner::create(directory.path().join("key"), ORIGIN).unwrap();
    let log = Log { directory, signer };
    log.write(&text, 9, &[signed], &[0, 4, 6]);
    log
}

#[test]
fn only_the_oldest_lines_may_be_hashes() {
    let log = Log::new(9, &[3, 9], &[0, 4, 5]);
    log.remove_lines(4);
    assert_eq!(verify(log.path()), Finding::LineMissing(4));
    LogEvents::open(log.path()).unwrap_err();
    LogEvents::from_index(log.path(), 8).unwrap_err();
    let newest = Log::new(9, &[3, 9], &[0, 4, 5]);
    newest.remove_lines(5);
    assert_eq!(verify(newest.path()), Finding::LineMissing(5));
}

#[test]
fn no_hash_stands_behind_what_is_signed() {
    let log = Log::new(9, &[3, 9], &[0, 4]);
    fs::write(log.hashes(9), [0; 64]).unwrap();
    assert_eq!(verify(log.path()), Finding::LineMissing(9));
    let all = Log::new(9, &[3, 9], &[0]);
    all.remove_lines(0);
    assert_eq!(verify(all.path()), Finding::RemovalUntold(9));
    let mut hashes = fs::read(all.hashes(0)).unwrap();
    hashes.extend([0; 64]);
    fs::write(all.hashes(0), hashes).unwrap();
    assert_eq!(verify(all.path()), Finding::LineMissing(9));
}

#[test]
fn a_signed_event_tells_of_the_last_line_that_is_gone() {
    let log = telling(4, 9);
    log.remove_lines(0);
    assert_eq!(verify(log.path()), Finding::Ok);
    log.remove_lines(4);
    assert_eq!(verify(log.path()), Finding::RemovalUntold(6));
    // What tells of it is not signed.
    let log = telling(4, 4);
    log.remove_lines(0);
    assert_eq!(verify(log.path()), Finding::RemovalUntold(4));
    // Nothing does.
    let log = Log::new(9, &[9], &[0, 4]);
    log.remove_lines(0);
    assert_eq!(verify(log.path()), Finding::RemovalUntold(4));
}

#[test]
fn no_more_hashes_are_read_than_there_can_be() {
    let log = telling(4, 9);
    log.remove_lines(0);
    let file = fs::OpenOptions::new().append(true).open(log.hashes(0));
    // The disk holds none of it.
    file.unwrap().set_len(1 << 40).unwrap();
    assert_eq!(verify(log.path()), Finding::LineInserted(4));
}

#[test]
fn hashes_that_were_cut_or_have_more_behind_them_are_tampered() {
    let log = telling(4, 9);
    log.remove_lines(0);
    let whole = fs::read(log.hashes(0)).unwrap();
    for (length, answer) in [
        (129, Finding::LineInserted(4)),
        (128, Finding::Ok),
        (127, Finding::LineMissing(3)),
        (96, Finding::LineMissing(3)),
        (1, Finding::LineMissing(0)),
        (0, Finding::LineMissing(0)),
    ] {
        let mut hashes = whole.clone();
        hashes.resize(length, 0);
        fs::write(log.hashes(0), hashes).unwrap();
        assert_eq!(verify(log.path()), answer, "{length} bytes");
    }
    let all = Log::new(9, &[3, 9], &[0]);
    all.remove_lines(0);
    let whole = fs::read(all.hashes(0)).unwrap();
    for length in [287, 289] {
        let mut hashes = whole.clone();
        hashes.resize(length, 0);
        fs::write(all.hashes(0), hashes).unwrap();
        assert_eq!(verify(all.path()).exit_code(), 1, "{length} bytes");
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_not_read() {
    for name in ["segments", "segments/x", "checkpoints.jsonl", "vkey"] {
        let log = Log::new(9, &[3, 9], &[0, 4]);
        let path = match name {
            "segments" => log.segment(4),
            "segments/x" => log.hashes(0),
            name => log.path().join(name),
        };
        if name == "segments/x" {
            fs::remove_file(log.segment(0)).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        refused(&log, name);
        fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        refused(&log, name);
    }
}

#[cfg(unix)]
fn refused(log: &Log, name: &str) {
    let told = verifier(log.path()).verify().unwrap_err().to_string();
    assert!(told.contains("it is no regular file"), "{name}: {told}");
}
