//! A checkpoint as the signed note that it is, and the key that it is verified with.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Verifier, VerifyingKey};

use super::signer::{check_name, key_id};
use super::tree::Hash;

/// A size of the tree and its root then, as a checkpoint says them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Head {
    pub(crate) size: u64,
    pub(crate) root: Hash,
}

/// A log's name and the key that its checkpoints are verified with.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) origin: Arc<str>,
    key: VerifyingKey,
    id: u32,
}

impl Identity {
    pub(super) fn new(origin: &str, public_key: &[u8; 32]) -> Option<Self> {
        let key = VerifyingKey::from_bytes(public_key).ok()?;
        Some(Self {
            origin: origin.into(),
            id: key_id(origin, &key),
            key,
        })
    }

    /// As the file `vkey` has it, without the newline. No log has a name that can't be signed under.
    pub(super) fn parse(vkey: &str) -> Option<Self> {
        let (origin, rest) = vkey.split_once('+')?;
        check_name(origin).ok()?;
        let (_, key) = rest.split_once('+')?;
        let key = BASE64_STANDARD.decode(key).ok()?;
        let identity = Self::new(origin, key.get(1..)?.try_into().ok()?)?;
        (identity.to_string() == vkey).then_some(identity)
    }

    /// What the checkpoint `note` says, if this key signed it; tells a note that is whole but not
    /// signed so apart from what is no note of this log.
    pub(super) fn open(&self, note: &str) -> Result<Head, NoteFault> {
        let parsed = signed_note::Note::from_bytes(note.as_bytes());
        if parsed.is_err() {
            return Err(NoteFault::Malformed);
        }
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteFault::Malformed)?;
        let text = format!("{text}\n");
        let head = Head::parse(&text, &self.origin).ok_or(NoteFault::Malformed)?;
        let ours = signatures.lines().filter_map(|line| self.signature(line));
        let mut signed = false;
        for signature in ours {
            let valid = self.key.verify(text.as_bytes(), &signature);
            signed = valid.map(|()| true).map_err(|_| NoteFault::BadSignature)?;
        }
        signed.then_some(head).ok_or(NoteFault::Unsigned)
    }

    /// The signature in a line of a note, if it claims to be by this key.
    fn signature(&self, line: &str) -> Option<ed25519_dalek::Signature> {
        let (name, signature) = line.strip_prefix("— ")?.split_once(' ')?;
        let signature = BASE64_STANDARD.decode(signature).ok()?;
        let signature = signature.strip_prefix(&self.id.to_be_bytes()[..])?;
        let bytes = signature.try_into().unwrap_or([0; 64]);
        (name == &*self.origin).then(|| ed25519_dalek::Signature::from_bytes(&bytes))
    }

    pub(super) fn note(&self, text: &str, signature: &[u8; 64]) -> String {
        let signature = [&self.id.to_be_bytes()[..], signature].concat();
        let signature = BASE64_STANDARD.encode(signature);
        format!("{text}\n— {} {signature}\n", self.origin)
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&signed_note::new_ed25519_verifier_key(
            &self.origin,
            &self.key,
        ))
    }
}

/// Why a note is no checkpoint of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoteFault {
    Malformed,
    BadSignature,
    /// It is signed, and not by this key.
    Unsigned,
}

impl Head {
    pub(super) fn text(&self, origin: &str) -> String {
        format!("{origin}\n{}\n{}\n", self.size, self.root)
    }

    fn parse(text: &str, origin: &str) -> Option<Self> {
        let mut lines = text.lines();
        let named = lines.next()? == origin;
        let size = lines.next()?.parse().ok()?;
        let root = Hash::parse_hash(lines.next()?).ok()?;
        let head = Self { size, root };
        // Printed again it is the same: no leading zeros, no extension, no other base64.
        (named && head.text(origin) == text).then_some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn a_verifier_key_is_read_as_it_is_written() {
        let identity = Identity::parse(VKEY).unwrap();
        assert_eq!(identity.to_string(), VKEY);
        assert!(Identity::parse(&VKEY.replace("530d", "530e")).is_none());
        assert!(Identity::parse("example.com/foo").is_none());
        let key = Identity::parse(VKEY).unwrap().key.to_bytes();
        for name in ["ex\u{1b}[31mample", "a\nb", "a b", &"a".repeat(257)] {
            let vkey = Identity::new(name, &key).unwrap().to_string();
            assert!(Identity::parse(&vkey).is_none(), "{name:?}");
        }
    }

    #[test]
    fn a_head_has_one_form() {
        let good = "a/b\n17\ndiLVQMgofBxdCynqALYAxGgnAkiY313Kp3A/nEjJnKo=\n";
        let head = Head::parse(good, "a/b").unwrap();
        assert_eq!(head.size, 17);
        assert_eq!(head.text("a/b"), good);
        for wrong in [
            good.replace("17", "017"),
            good.replace("17", "+17"),
            good.replace("a/b", "a/c"),
            good.replace("=\n", "=\nmore\n"),
            good.replace("=\n", "\n"),
            good.trim_end().to_owned(),
        ] {
            assert_eq!(Head::parse(&wrong, "a/b"), None, "{wrong}");
        }
    }
}
