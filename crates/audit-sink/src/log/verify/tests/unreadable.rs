//! Lines that no reader takes as JSON.

use super::*;
use crate::{AuditBackend as _, FileLog, prove_event};

/// A log of nine lines that are signed, each with this text in it.
fn signed(text: &str) -> Log {
    let directory = tempfile::tempdir().unwrap();
    let signer = FileSigner::create(directory.path().join("key"), ORIGIN).unwrap();
    let log = Log { directory, signer };
    log.write(text, 9, &[3, 9], &[0, 4]);
    log
}

fn events(log: &Log) -> Vec<LoggedEvent> {
    let events = LogEvents::open(log.path()).unwrap();
    events.map(Result::unwrap).collect()
}

#[test]
fn what_an_older_version_signed_stays_a_line() {
    let log = signed("\\ud800");
    assert_eq!(verify(log.path()), Finding::Ok);
    let events = events(&log);
    assert_eq!(events.len(), 9);
    for (seq, event) in (0..).zip(events) {
        assert_eq!((event.seq(), event.is_readable()), (seq, false));
        assert_eq!(event.text("log"), None);
        let proof = prove_event(log.path(), seq).unwrap();
        assert_eq!(proof.line, Some(event.line));
    }
    let options = FileLog::options(log.path()).signing_key(log.path().join("key"));
    assert_eq!(options.open().unwrap().next_seq(), 9);
}

#[test]
fn a_line_that_can_t_be_read_hides_no_other() {
    let log = Log::new(9, &[9], &[0, 4]);
    let lines = fs::read_to_string(log.segment(0)).unwrap();
    let first = lines.lines().next().unwrap();
    for wrong in ["no line", "", "[]", "{}", "{\"seq\":0,\"log\":\"\\ud800\"}"] {
        fs::write(log.segment(0), lines.replacen(first, wrong, 1)).unwrap();
        let events = events(&log);
        assert_eq!(events.len(), 9);
        assert_eq!(events[0].line, wrong.as_bytes());
        for (seq, event) in (0..).zip(events) {
            assert_eq!((event.seq(), event.is_readable()), (seq, seq > 0));
        }
        assert_eq!(verify(log.path()).exit_code(), 1);
    }
}
