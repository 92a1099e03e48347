//! A checkpoint, a signed note: in place of a log's newest, and as one that was kept elsewhere.
#![no_main]

use std::cell::OnceCell;
use std::fs;

use countersign_audit_sink::LogVerifier;
use countersign_fuzz::Log;
use libfuzzer_sys::fuzz_target;

thread_local!(static LOG: OnceCell<Log> = const { OnceCell::new() });

fuzz_target!(|note: &[u8]| LOG.with(|log| {
    let log = log.get_or_init(Log::new);
    fs::write(log.path().join("checkpoint"), note).expect("room for a note");
    let _ = LogVerifier::new(log.path()).verify();
    log.restore_checkpoint();
    if let Ok(note) = std::str::from_utf8(note) {
        let _ = LogVerifier::new(log.path()).against(note).verify();
        let _ = LogVerifier::new(log.path()).with_vkey(note).verify();
    }
}));
