//! The lines of a log: whatever stands in its last segment, only the signed lines are signed.
#![no_main]

use std::cell::OnceCell;
use std::fs;

use countersign_audit_sink::{LogEvents, LogVerifier};
use countersign_fuzz::Log;
use libfuzzer_sys::fuzz_target;

thread_local!(static LOG: OnceCell<Log> = const { OnceCell::new() });

fuzz_target!(|lines: &[u8]| LOG.with(|log| {
    let log = log.get_or_init(Log::new);
    fs::write(log.last_segment(), lines).expect("room for lines");
    let report = LogVerifier::new(log.path()).verify().expect("a log");
    if report.finding.is_ok() {
        assert!(lines.starts_with(Log::last_lines()), "other lines verify");
    }
    if let Ok(events) = LogEvents::open(log.path()) {
        let _ = events.take(100).collect::<Vec<_>>();
    }
}));
