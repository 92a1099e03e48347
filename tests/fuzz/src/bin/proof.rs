//! The proof of an event: only the one proof of the one event holds.
#![no_main]

use countersign_audit_sink::check_proof;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|proof: &[u8]| {
    let Ok(proof) = std::str::from_utf8(proof) else {
        return;
    };
    if check_proof(VKEY, EVENT, proof).is_ok() {
        let same = |text: &str| text.split("\n\n").next().map(str::to_owned);
        assert_eq!(same(proof), same(PROOF), "another proof holds");
    }
    assert!(check_proof(VKEY, b"{\"seq\":2}", proof).is_err(), "another event is proved");
});

const VKEY: &str = include_str!("../../../../crates/audit-sink/tests/vectors/audit/good/vkey");
const EVENT: &[u8] = include_bytes!("../../../../crates/audit-sink/tests/vectors/audit/event-2.jsonl");
const PROOF: &str =
    include_str!("../../../../crates/audit-sink/tests/vectors/audit/event-2.tlog-proof");
