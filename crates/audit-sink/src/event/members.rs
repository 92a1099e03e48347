//! One JSON object as it grows. A line of the log is written for every request, and most of its
//! values are short texts without anything to escape: those are copied as they are.

use std::fmt::{self, Display, Write};

use serde::Serialize;

use super::plain::Plain;

/// The members of a JSON object, in the order in which they are put.
#[derive(Debug)]
pub(super) struct Members {
    /// Each member with a comma before it; the first one's gives way to the brace.
    text: Vec<u8>,
}

/// The name of a member as it stands in the object, with what stands around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name(pub(super) &'static str);

/// A member's name, which has nothing to escape.
macro_rules! name {
    ($name:literal) => {
        $crate::event::members::Name(concat!(",\"", $name, "\":"))
    };
}
pub(super) use name;

impl Members {
    /// An object without members, in place of what `text` held.
    pub(super) fn begin(mut text: Vec<u8>) -> Self {
        text.clear();
        Self { text }
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        match self.text.first_mut() {
            Some(first) => *first = b'{',
            None => self.text.push(b'{'),
        }
        self.text.push(b'}');
        self.text
    }

    /// The member `name`, if it has a value.
    pub(super) fn put(&mut self, name: Name, value: Option<&str>) {
        if let Some(value) = value {
            self.name(name);
            self.string(value);
        }
    }

    /// The same, of a value that has nothing to escape.
    #[inline]
    pub(super) fn put_plain(&mut self, name: Name, value: Option<impl Plain>) {
        if let Some(value) = value {
            self.name(name);
            self.text.push(b'"');
            value.append_to(&mut self.text);
            self.text.push(b'"');
        }
    }

    pub(super) fn put_number(&mut self, name: Name, value: Option<u64>) {
        if let Some(value) = value {
            self.name(name);
            let mut digits = itoa::Buffer::new();
            self.text.extend_from_slice(digits.format(value).as_bytes());
        }
    }

    /// The member `name`, whose value is shown as text.
    pub(super) fn put_shown(&mut self, name: Name, value: Option<impl Display>) {
        if let Some(value) = value {
            self.name(name);
            self.text.push(b'"');
            // Proof: a `Vec` takes all that is written, so only `value` itself could fail.
            let _ = write!(Escaped(&mut self.text), "{value}");
            self.text.push(b'"');
        }
    }

    /// The member `name`, as `value` gives it.
    pub(super) fn put_any(&mut self, name: Name, value: Option<impl Serialize>) {
        if let Some(value) = value {
            self.name(name);
            append(&mut self.text, &value);
        }
    }

    #[inline]
    fn name(&mut self, name: Name) {
        self.text.extend_from_slice(name.0.as_bytes());
    }

    fn string(&mut self, value: &str) {
        if is_plain(value) {
            self.text.push(b'"');
            self.text.extend_from_slice(value.as_bytes());
            self.text.push(b'"');
        } else {
            append(&mut self.text, value);
        }
    }
}

/// What is displayed, as the inside of a JSON string.
struct Escaped<'a>(&'a mut Vec<u8>);

impl Write for Escaped<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if is_plain(piece) {
            self.0.extend_from_slice(piece.as_bytes());
            return Ok(());
        }
        let quoted = serde_json::to_vec(piece).map_err(|_| fmt::Error)?;
        self.0.extend_from_slice(&quoted[1..quoted.len() - 1]);
        Ok(())
    }
}

/// Whether JSON writes `text` as it is (RFC 8259, section 7).
fn is_plain(text: &str) -> bool {
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    // Without an early end, so that many bytes are looked at in one step.
    !text
        .as_bytes()
        .iter()
        .fold(false, |any, byte| any | special(byte))
}

/// Appends `value` as JSON. Values are texts, numbers, truth values and lists of them, and a `Vec`
/// takes all that is written, so this can't fail; were it to, the line would not read as JSON and
/// be reported.
fn append(text: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    if let Err(error) = serde_json::to_writer(text, value) {
        tracing::error!(target: "countersign", %error, "audit event could not be written as JSON");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(put: impl FnOnce(&mut Members)) -> String {
        let mut members = Members::begin(b"what was there before".to_vec());
        put(&mut members);
        String::from_utf8(members.end()).unwrap()
    }

    #[test]
    fn an_object_may_be_empty() {
        assert_eq!(object(|_| {}), "{}");
        assert_eq!(object(|members| members.put(name!("a"), None)), "{}");
    }

    #[test]
    fn each_character_by_itself_is_written_as_serde_json_writes_it() {
        for character in ('\0'..='\u{ff}').chain(['\u{2028}', '\u{ffff}', char::MAX]) {
            let text = character.to_string();
            let ours = object(|members| {
                members.put(name!("text"), Some(&text));
                members.put_shown(name!("shown"), Some(character));
            });
            let quoted = serde_json::to_string(&text).unwrap();
            let theirs = format!(r#"{{"text":{quoted},"shown":{quoted}}}"#);
            assert_eq!(ours, theirs);
        }
    }

    proptest! {
        #[test]
        fn every_value_is_written_as_serde_json_writes_it(
            text in ".*|[ -~]*|\\PC*", number: u64, flag: bool,
        ) {
            let ours = object(|members| {
                members.put(name!("text"), Some(&text));
                members.put_number(name!("number"), Some(number));
                members.put_shown(name!("shown"), Some(format_args!("{text}/{number}")));
                members.put_any(name!("any"), Some(flag));
            });
            let shown = format!("{text}/{number}");
            let quoted = |text: &str| serde_json::to_string(text).unwrap();
            let theirs = format!(
                r#"{{"text":{},"number":{number},"shown":{},"any":{flag}}}"#,
                quoted(&text),
                quoted(&shown),
            );
            prop_assert_eq!(ours, theirs);
        }
    }
}
