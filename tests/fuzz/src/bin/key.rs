//! A presented key: whatever is accepted reads again as it was.
#![no_main]

use countersign_key_verify::RawKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if let Ok(key) = RawKey::parse(text) {
        assert_eq!(key.expose().as_bytes(), text, "two texts for one key");
    }
});
