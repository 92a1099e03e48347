//! The key format: `<brand>_<env>_<id>_<secret><check>`.

use std::fmt;

use arrayvec::ArrayString;
use countersign_core::{ConfigError, Environment, KeyPrefix, ParseError};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A whole key, secret included: what a caller presents and what issuing returns once. Prints as
/// `[redacted]` and is wiped from memory when it is dropped.
///
/// Format: brand `[a-z0-9]{2,10}`, environment `live` or `test`, id 12, secret 43 and check 6
/// characters of `0-9A-Za-z`. The secret is a 256-bit number in base 62, the check the CRC-32
/// (IEEE) of everything before it. A key that is garbled in any one character is refused without
/// a look-up.
pub struct RawKey {
    prefix: KeyPrefix,
    secret: Secret,
}

/// The 256 bits that make a key a key.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl RawKey {
    /// A new key from the operating system's random numbers.
    ///
    /// # Errors
    /// When `brand` is not `[a-z0-9]{2,10}`, or the system gives no random numbers.
    pub fn generate(brand: &str, environment: Environment) -> Result<Self, ConfigError> {
        if !KeyPrefix::is_brand(brand) {
            return Err(ConfigError::new("brand", "2 to 10 characters of a-z 0-9"));
        }
        let no_random = |_| ConfigError::new("random numbers", "the system gives none");
        let mut secret = Secret([0; 32]);
        getrandom::fill(&mut secret.0).map_err(no_random)?;
        let mut text = format!("{brand}_{environment}_");
        let start = text.len();
        while text.len() < start + KeyPrefix::ID {
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes).map_err(no_random)?;
            // 248 = 4 × 62: bytes above would make the first digits likelier.
            let fair = bytes.iter().filter(|byte| **byte < 248);
            let digits = fair.map(|byte| char::from(DIGITS[usize::from(byte % 62)]));
            text.extend(digits.take(start + KeyPrefix::ID - text.len()));
        }
        let prefix = text
            .parse()
            .map_err(|_| ConfigError::new("brand", "2 to 10 characters of a-z 0-9"))?;
        Ok(Self { prefix, secret })
    }

    /// Reads a presented key. Allocates nothing and looks nothing up.
    ///
    /// # Errors
    /// When the text is not a key; the error doesn't say where, and doesn't hold the text.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let error = ParseError::new("key", "<brand>_<live|test>_<id>_<secret and check>");
        if !(MIN..=MAX).contains(&text.len()) {
            return Err(error);
        }
        let (body, check) = text.split_at(text.len() - CHECK);
        if number(check) != Some(u64::from(crc32fast::hash(body))) {
            return Err(error);
        }
        let (prefix, secret) = body.split_at(body.len() - SECRET);
        let prefix = prefix.strip_suffix(b"_").ok_or(error)?;
        let prefix = std::str::from_utf8(prefix).map_err(|_| error)?;
        Ok(Self {
            prefix: prefix.parse()?,
            secret: Secret(decode(secret).ok_or(error)?),
        })
    }

    /// The public part.
    #[must_use]
    pub const fn prefix(&self) -> &KeyPrefix {
        &self.prefix
    }

    /// The secret part, to digest it.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The whole key in clear, to hand it to its company once. The text is wiped when dropped;
    /// never log it, store it or send it anywhere else.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(MAX));
        text.push_str(self.prefix.as_str());
        text.push('_');
        text.push_str(&encode(&self.secret.0));
        let check = crc32fast::hash(text.as_bytes());
        text.push_str(&digits::<CHECK>(u64::from(check)));
        text
    }
}

impl Secret {
    /// A secret of these bytes, for tests of digests.
    #[cfg(test)]
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for RawKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawKey")
            .field("prefix", &self.prefix)
            .field("secret", &self.secret)
            .finish()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Whether a text has the shape of a key, its checksum aside.
pub(crate) fn has_shape(text: &[u8]) -> bool {
    if !(MIN..=MAX).contains(&text.len()) {
        return false;
    }
    let (prefix, rest) = text.split_at(text.len() - SECRET - CHECK - 1);
    let prefix = std::str::from_utf8(prefix).is_ok_and(|p| p.parse::<KeyPrefix>().is_ok());
    prefix && rest[0] == b'_' && rest[1..].iter().all(u8::is_ascii_alphanumeric)
}

/// The number that 43 base-62 digits write, most significant first, as 256 bits; `None` where it
/// is larger than that or a character is no digit.
fn decode(text: &[u8]) -> Option<[u8; 32]> {
    let mut limbs = [0_u64; 4];
    // Ten digits fit into a limb: five multiplications of the whole number instead of 43.
    let (head, rest) = text.split_at(text.len() % CHUNK);
    for chunk in std::iter::once(head).chain(rest.chunks(CHUNK)) {
        let factor = 62_u64.pow(u32::try_from(chunk.len()).ok()?);
        let mut carry = u128::from(number(chunk)?);
        for limb in &mut limbs {
            let product = u128::from(*limb) * u128::from(factor) + carry;
            *limb = product as u64;
            carry = product >> 64;
        }
        if carry != 0 {
            return None;
        }
    }
    let mut bytes = [0; 32];
    for (place, limb) in bytes.chunks_exact_mut(8).zip(limbs.iter().rev()) {
        place.copy_from_slice(&limb.to_be_bytes());
    }
    limbs.zeroize();
    Some(bytes)
}

/// 43 base-62 digits for 256 bits.
fn encode(bytes: &[u8; 32]) -> Zeroizing<String> {
    let mut number = Zeroizing::new(*bytes);
    let mut text = Zeroizing::new([b'0'; SECRET]);
    for digit in text.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in number.iter_mut() {
            let value = rest << 8 | u32::from(*byte);
            *byte = (value / 62) as u8;
            rest = value % 62;
        }
        *digit = DIGITS[rest as usize];
    }
    Zeroizing::new(text.iter().copied().map(char::from).collect())
}

fn number(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |number, byte| {
        let value = VALUES[usize::from(*byte)];
        let number = number.checked_mul(62)?.checked_add(u64::from(value))?;
        (value < 62).then_some(number)
    })
}

fn digits<const N: usize>(mut number: u64) -> ArrayString<N> {
    let mut bytes = [b'0'; N];
    for byte in bytes.iter_mut().rev() {
        *byte = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    // Proof: every byte is one of `DIGITS`, which are ASCII.
    ArrayString::from_byte_string(&bytes).unwrap_or_default()
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const VALUES: [u8; 256] = values();
const SECRET: usize = 43;
const CHECK: usize = 6;
const CHUNK: usize = 10;
const MAX: usize = KeyPrefix::MAX + 1 + SECRET + CHECK;
const MIN: usize = MAX - 8;

const fn values() -> [u8; 256] {
    let mut values = [u8::MAX; 256];
    let mut i = 0;
    while i < DIGITS.len() {
        values[DIGITS[i] as usize] = i as u8;
        i += 1;
    }
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn replays_the_vectors() {
        let text = include_str!("../tests/vectors/api_keys.json");
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let key = case["key"].as_str().unwrap();
            let parsed = RawKey::parse(key.as_bytes());
            assert_eq!(parsed.is_ok(), case["valid"].as_bool().unwrap(), "{case}");
            let Ok(parsed) = parsed else { continue };
            assert_eq!(parsed.prefix().as_str(), case["prefix"]);
            assert_eq!(parsed.prefix().brand(), case["brand"]);
            assert_eq!(parsed.prefix().environment().as_str(), case["environment"]);
            assert_eq!(*parsed.expose(), key, "the same key is written again");
        }
    }

    #[test]
    fn the_largest_secret_is_256_ones_and_no_more() {
        let largest = encode(&[0xff; 32]);
        assert_eq!(decode(largest.as_bytes()), Some([0xff; 32]));
        assert_eq!(decode(&[b'z'; SECRET]), None);
    }

    #[test]
    fn debug_output_is_redacted() {
        let key = RawKey::generate("acme", Environment::Live).unwrap();
        let shown = format!("{key:?} {:?}", key.secret());
        let exposed = key.expose();
        assert!(!shown.contains(&exposed[exposed.len() - 49..]));
        assert!(shown.contains("[redacted]"));
    }

    proptest! {
        #[test]
        fn a_key_survives_writing_and_reading(secret: [u8; 32], live: bool) {
            let environment = if live { Environment::Live } else { Environment::Test };
            let mut key = RawKey::generate("acme", environment).unwrap();
            key.secret = Secret(secret);
            let read = RawKey::parse(key.expose().as_bytes()).unwrap();
            prop_assert_eq!(read.prefix(), key.prefix());
            prop_assert_eq!(read.secret().bytes(), key.secret().bytes());
        }

        #[test]
        fn one_changed_byte_is_never_accepted(secret: [u8; 32], at: prop::sample::Index, to: u8) {
            let mut key = RawKey::generate("acme", Environment::Live).unwrap();
            key.secret = Secret(secret);
            let mut text = key.expose().as_bytes().to_vec();
            let at = at.index(text.len());
            prop_assume!(text[at] != to);
            text[at] = to;
            prop_assert!(RawKey::parse(&text).is_err());
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = RawKey::parse(&bytes);
        }
    }
}
