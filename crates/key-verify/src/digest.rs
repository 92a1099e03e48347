//! What is stored in place of a secret, and how a secret is compared with it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_core::{ConfigError, ParseError};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::key::{RawKey, Secret};

/// Names a pepper, so that several can be in use while one replaces another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PepperId(pub u16);

/// The only stored form of a secret: SHA-256 of its 32 bytes, or HMAC-SHA-256 under a pepper. A
/// plain hash is enough for 256 random bits; a pepper keeps a stolen database from confirming a
/// key that was found elsewhere. Prints redacted; two digests are compared in constant time.
#[derive(Clone, Copy)]
pub enum SecretDigest {
    /// SHA-256.
    Sha256([u8; 32]),
    /// HMAC-SHA-256 under the pepper of this id.
    HmacSha256(PepperId, [u8; 32]),
    /// SHA-256 of the whole key, as another system kept it. It stays until the key's next use where
    /// [`KeyVerifierBuilder::redigest_on_use`](crate::KeyVerifierBuilder::redigest_on_use) is on.
    Imported([u8; 32]),
}

impl SecretDigest {
    /// The digest as text, for a store: `sha256:<hex>`, `hmac-sha256:<pepper>:<hex>` or
    /// `imported-sha256:<hex>`.
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            Self::Sha256(digest) => format!("sha256:{}", hex::encode(digest)),
            Self::HmacSha256(pepper, mac) => {
                format!("hmac-sha256:{}:{}", pepper.0, hex::encode(mac))
            }
            Self::Imported(digest) => format!("imported-sha256:{}", hex::encode(digest)),
        }
    }

    /// Reads what [`SecretDigest::encode`] wrote.
    ///
    /// # Errors
    /// When the text is not a digest, or is one in another spelling.
    pub fn decode(text: &str) -> Result<Self, ParseError> {
        let error = ParseError::new("digest", "sha256:<hex> or hmac-sha256:<pepper>:<hex>");
        let bytes = |text: &str| {
            let mut bytes = [0; 32];
            hex::decode_to_slice(text, &mut bytes).map_err(|_| error)?;
            Ok(bytes)
        };
        let digest = if let Some(digest) = text.strip_prefix("sha256:") {
            Self::Sha256(bytes(digest)?)
        } else if let Some(digest) = text.strip_prefix("imported-sha256:") {
            Self::Imported(bytes(digest)?)
        } else {
            let rest = text.strip_prefix("hmac-sha256:").ok_or(error)?;
            let (pepper, mac) = rest.split_once(':').ok_or(error)?;
            let pepper = PepperId(pepper.parse().map_err(|_| error)?);
            Self::HmacSha256(pepper, bytes(mac)?)
        };
        // One digest, one text: upper case and leading zeros were written by somebody else.
        (digest.encode() == text).then_some(digest).ok_or(error)
    }
}

impl PartialEq for SecretDigest {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sha256(a), Self::Sha256(b)) | (Self::Imported(a), Self::Imported(b)) => {
                same(a, b)
            }
            (Self::HmacSha256(id, a), Self::HmacSha256(other, b)) => id == other && same(a, b),
            _ => false,
        }
    }
}

impl Eq for SecretDigest {}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(_) => f.write_str("Sha256([redacted])"),
            Self::Imported(_) => f.write_str("Imported([redacted])"),
            Self::HmacSha256(pepper, _) => write!(f, "HmacSha256({}, [redacted])", pepper.0),
        }
    }
}

/// Digests secrets and compares them with stored digests. New digests are made in one way; stored
/// ones are compared in whichever way they were made. Cloning is cheap. What the peppers were
/// turned into prints as their ids alone, and is wiped from memory when the last clone is dropped.
#[derive(Clone, Default)]
pub struct Digester(Arc<Peppers>);

#[derive(Default)]
struct Peppers {
    /// The pepper for new digests and then the older ones; none means SHA-256 for new digests.
    known: Box<[(PepperId, Hmac<Sha256>)]>,
    /// The ids that were asked for in vain.
    missed: Mutex<BTreeSet<PepperId>>,
}

impl Digester {
    /// SHA-256, without a pepper.
    #[must_use]
    pub fn sha256() -> Self {
        Self::default()
    }

    /// HMAC-SHA-256 (RFC 2104): new digests under `current`, stored ones under any of these. The
    /// peppers come from where you keep your secrets, never from the database of the keys. To
    /// replace one, make the new one current and leave the old one among `older` until no key that
    /// was made with it is left.
    ///
    /// # Errors
    /// When a pepper is shorter than 16 bytes, or two have one id.
    pub fn with_peppers<'a>(
        current: (PepperId, &'a [u8]),
        older: impl IntoIterator<Item = (PepperId, &'a [u8])>,
    ) -> Result<Self, ConfigError> {
        let mut peppers: Vec<(PepperId, Hmac<Sha256>)> = Vec::new();
        for (id, bytes) in std::iter::once(current).chain(older) {
            let subject = format!("pepper {}", id.0);
            if peppers.iter().any(|(other, _)| *other == id) {
                return Err(ConfigError::new(subject, "its id is used twice"));
            }
            if bytes.len() < 16 {
                return Err(ConfigError::new(subject, "a pepper has 16 bytes or more"));
            }
            let mac = Hmac::new_from_slice(bytes)
                .map_err(|error| ConfigError::new(subject, error.to_string()))?;
            peppers.push((id, mac));
        }
        Ok(Self(Arc::new(Peppers {
            known: peppers.into(),
            missed: Mutex::default(),
        })))
    }

    /// The digest to store for a new secret.
    #[must_use]
    pub fn digest(&self, secret: &Secret) -> SecretDigest {
        match self.0.known.first() {
            None => SecretDigest::Sha256(sha256(secret)),
            Some((id, mac)) => SecretDigest::HmacSha256(*id, hmac(mac, secret)),
        }
    }

    /// Whether `stored` is made as [`Digester::digest`] makes it today, and not under an older
    /// pepper or by another system.
    #[must_use]
    pub fn is_current(&self, stored: &SecretDigest) -> bool {
        match (self.0.known.first(), stored) {
            (None, SecretDigest::Sha256(_)) => true,
            (Some((current, _)), SecretDigest::HmacSha256(id, _)) => current == id,
            _ => false,
        }
    }

    /// Whether `stored` is the digest of `key`. Takes the same time wherever they differ. A
    /// digest under a pepper that this digester lacks matches nothing, and one loud log line names
    /// the pepper.
    #[must_use]
    pub fn matches(&self, key: &RawKey, stored: &SecretDigest) -> bool {
        let secret = key.secret();
        match stored {
            SecretDigest::Sha256(digest) => same(&sha256(secret), digest),
            SecretDigest::Imported(digest) => same(&key.whole_hash(), digest),
            SecretDigest::HmacSha256(id, mac) => {
                let mut peppers = self.0.known.iter();
                match peppers.find(|(known, _)| known == id) {
                    Some((_, pepper)) => same(&hmac(pepper, secret), mac),
                    None => {
                        self.0.miss(*id);
                        self.waste(key);
                        false
                    }
                }
            }
        }
    }

    /// The digest of nothing, to be compared with where there is no other: made as new ones are, so
    /// that comparing takes as long.
    pub(crate) fn of_nothing(&self) -> SecretDigest {
        match self.0.known.first() {
            None => SecretDigest::Sha256([0; 32]),
            Some((id, _)) => SecretDigest::HmacSha256(*id, [0; 32]),
        }
    }

    /// Does the work of a comparison that fails, where there is nothing to compare with.
    fn waste(&self, key: &RawKey) {
        // The current way of making digests is always one that this digester knows.
        std::hint::black_box(self.matches(key, &self.of_nothing()));
    }
}

impl Peppers {
    fn miss(&self, id: PepperId) {
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        if missed.insert(id) {
            tracing::error!(
                target: "countersign",
                pepper = id.0,
                "keys can't be verified and are refused: their pepper is not configured"
            );
        }
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u16> = self.0.known.iter().map(|(id, _)| id.0).collect();
        f.debug_struct("Digester").field("peppers", &ids).finish()
    }
}

fn sha256(secret: &Secret) -> [u8; 32] {
    Sha256::digest(secret.bytes()).into()
}

/// The state that the pepper leads to was computed once; a clone goes on from it.
fn hmac(mac: &Hmac<Sha256>, secret: &Secret) -> [u8; 32] {
    mac.clone()
        .chain_update(secret.bytes())
        .finalize()
        .into_bytes()
        .into()
}

/// Constant-time, over two words instead of 32 bytes.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let half = |bytes: &[u8; 32], at: usize| {
        let mut word = [0; 16];
        word.copy_from_slice(&bytes[at..at + 16]);
        u128::from_ne_bytes(word)
    };
    (half(a, 0).ct_eq(&half(b, 0)) & half(a, 16).ct_eq(&half(b, 16))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEPPER: &[u8] = b"a pepper of some length";

    #[test]
    fn a_digest_matches_its_secret_alone() {
        let key = RawKey::from_bytes([7; 32]);
        let other = RawKey::from_bytes([8; 32]);
        let plain = Digester::sha256();
        let peppered = Digester::with_peppers((PepperId(2), PEPPER), []).unwrap();
        for digester in [plain, peppered] {
            let digest = digester.digest(key.secret());
            assert!(digester.matches(&key, &digest) && digester.is_current(&digest));
            assert!(!digester.matches(&other, &digest));
            assert_eq!(SecretDigest::decode(&digest.encode()), Ok(digest));
        }
    }

    #[test]
    fn a_hash_of_the_whole_key_matches_it_and_is_not_current() {
        let key = RawKey::from_bytes([7; 32]);
        let stored = SecretDigest::Imported(Sha256::digest(key.expose().as_bytes()).into());
        let digester = Digester::sha256();
        assert!(digester.matches(&key, &stored) && !digester.is_current(&stored));
        assert!(!digester.matches(&RawKey::from_bytes([8; 32]), &stored));
        assert_eq!(SecretDigest::decode(&stored.encode()), Ok(stored));
    }

    /// Whoever read the other system's database has hashes and no keys.
    #[test]
    fn another_system_s_hash_is_no_credential() {
        let text = b"sk_live_4eC39HqLyjWDarjtT1zdp7dc";
        let key = RawKey::imported(text, countersign_core::Environment::Live).unwrap();
        let hash: [u8; 32] = Sha256::digest(text).into();
        let digester = Digester::sha256();
        assert!(digester.matches(&key, &SecretDigest::Imported(hash)));
        let mut thief = RawKey::from_bytes(hash);
        assert!(!digester.matches(&thief, &SecretDigest::Imported(hash)));
        assert!(!digester.matches(&thief, &digester.digest(key.secret())));
        thief = RawKey::parse(thief.expose().as_bytes()).unwrap();
        assert!(!digester.matches(&thief, &digester.digest(key.secret())));
    }

    #[test]
    fn an_older_pepper_goes_on_while_a_new_one_takes_over() {
        let key = RawKey::from_bytes([7; 32]);
        let old = Digester::with_peppers((PepperId(1), PEPPER), []).unwrap();
        let stored = old.digest(key.secret());
        let next: &[u8] = b"another pepper, as long";
        let both = Digester::with_peppers((PepperId(2), next), [(PepperId(1), PEPPER)]).unwrap();
        assert!(both.matches(&key, &stored) && !both.is_current(&stored));
        assert_ne!(both.digest(key.secret()), stored);
        let new = Digester::with_peppers((PepperId(2), next), []).unwrap();
        assert!(
            !new.matches(&key, &stored),
            "an unknown pepper matches nothing"
        );
    }

    #[test]
    fn the_digests_are_those_of_the_standards() {
        let key = RawKey::from_bytes([0; 32]);
        assert_eq!(
            Digester::sha256().digest(key.secret()).encode(),
            "sha256:66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
        );
        let pepper = [0x0b; 20];
        let digester = Digester::with_peppers((PepperId(7), &pepper), []).unwrap();
        assert_eq!(
            digester.digest(key.secret()).encode(),
            "hmac-sha256:7:3b7a4aac943c9eb441d5ff7531e332c3e4f7fb32f2028fe5b69aac529d68ee15"
        );
    }

    #[test]
    fn a_digest_has_one_spelling() {
        let key = RawKey::from_bytes([7; 32]);
        let plain = Digester::sha256().digest(key.secret()).encode();
        let peppered = Digester::with_peppers((PepperId(5), PEPPER), []).unwrap();
        let peppered = peppered.digest(key.secret()).encode();
        for bad in [
            plain.to_uppercase().replace("SHA", "sha"),
            plain[..plain.len() - 2].to_owned(),
            plain.replace("sha256:", ""),
            peppered.replace(":5:", ":05:"),
            peppered.replace(":5:", ":+5:"),
            peppered.replace(":5:", ":65536:"),
            peppered.replace(":5:", ":"),
            String::new(),
        ] {
            assert!(SecretDigest::decode(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_digest_of_one_kind_is_never_one_of_the_other() {
        let bytes = [9; 32];
        let one = SecretDigest::HmacSha256(PepperId(1), bytes);
        assert_eq!(one, SecretDigest::HmacSha256(PepperId(1), bytes));
        assert_ne!(one, SecretDigest::HmacSha256(PepperId(2), bytes));
        assert_ne!(one, SecretDigest::Sha256(bytes));
        for at in [0, 15, 16, 31] {
            let mut other = bytes;
            other[at] ^= 1;
            assert_ne!(
                one,
                SecretDigest::HmacSha256(PepperId(1), other),
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_missing_pepper_is_named_once() {
        let digester = Digester::sha256();
        let stored = SecretDigest::HmacSha256(PepperId(3), [0; 32]);
        for _ in 0..2 {
            assert!(!digester.matches(&RawKey::from_bytes([7; 32]), &stored));
        }
        assert_eq!(digester.0.missed.lock().unwrap().len(), 1);
    }

    #[test]
    fn short_and_doubled_peppers_are_refused() {
        assert!(Digester::with_peppers((PepperId(1), b"short"), []).is_err());
        let twice = Digester::with_peppers((PepperId(1), PEPPER), [(PepperId(1), PEPPER)]);
        assert!(twice.is_err());
    }

    #[test]
    fn debug_output_shows_no_digest_and_no_pepper() {
        let digester = Digester::with_peppers((PepperId(1), PEPPER), []).unwrap();
        let digest = digester.digest(RawKey::from_bytes([7; 32]).secret());
        let shown = format!("{digester:?} {digest:?}");
        let hex = digest.encode();
        assert!(!shown.contains(hex.rsplit(':').next().unwrap()));
        assert!(!shown.contains("a pepper"));
    }
}
