//! Values whose text has nothing that JSON escapes: what most of a line is made of.

use std::fmt::Display;
use std::io::Write;

use countersign_core::{CompanyId, EventId, KeyId, KeyPrefix, RequestId, Timestamp};

/// A value that is written as it is displayed, without a look at each character: its form has no
/// quote, no backslash and no control character.
pub(super) trait Plain: Display {
    fn append_to(&self, text: &mut Vec<u8>);
}

/// A word of this library's own: the name of an event, of a decision, of an error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word(pub(super) &'static str);

impl Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl Plain for Word {
    #[inline]
    fn append_to(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(self.0.as_bytes());
    }
}

impl Plain for &CompanyId {
    #[inline]
    fn append_to(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(self.as_str().as_bytes());
    }
}

impl Plain for &KeyPrefix {
    #[inline]
    fn append_to(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(self.as_str().as_bytes());
    }
}

impl Plain for EventId {
    #[inline]
    fn append_to(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(&self.ascii());
    }
}

impl Plain for KeyId {
    #[inline]
    fn append_to(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(&self.ascii());
    }
}

impl Plain for &RequestId {
    #[inline]
    fn append_to(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(self.ascii());
    }
}

impl Plain for Timestamp {
    fn append_to(&self, text: &mut Vec<u8>) {
        match self.ascii() {
            Some(ascii) => text.extend_from_slice(&ascii),
            // Proof: a `Vec` takes all that is written.
            None => drop(write!(text, "{self}")),
        }
    }
}

/// Appends `byte` in two hex digits.
pub(super) fn append_hex(text: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.push(DIGITS[usize::from(byte >> 4)]);
    text.push(DIGITS[usize::from(byte & 15)]);
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::event::{AgentHash, SourceForm};

    fn agrees(value: &impl Plain) -> Result<(), TestCaseError> {
        let mut text = b"before".to_vec();
        value.append_to(&mut text);
        let shown = value.to_string();
        prop_assert_eq!(&text[6..], shown.as_bytes());
        prop_assert_eq!(
            serde_json::to_string(&shown).unwrap(),
            format!("\"{shown}\"")
        );
        Ok(())
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_displayed(
            bits: u128, micros: i64, address: IpAddr, agent in ".*", edge in "[A-Za-z0-9._-]{1,64}",
        ) {
            agrees(&KeyId::from_u128(bits))?;
            agrees(&Timestamp::from_micros(micros))?;
            agrees(&EventId::generate(Timestamp::from_micros(micros)))?;
            agrees(&&RequestId::generate(Timestamp::from_micros(micros)))?;
            agrees(&&edge.parse::<RequestId>().unwrap())?;
            agrees(&&edge.parse::<CompanyId>().unwrap())?;
            agrees(&SourceForm::Plain.of(address))?;
            agrees(&SourceForm::Truncated.of(address))?;
            agrees(&AgentHash::of(agent.as_bytes()))?;
        }
    }
}
