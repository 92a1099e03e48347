//! Identifiers that can't hold a bad value.

use std::fmt;
use std::str::FromStr;

use arrayvec::ArrayString;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::ParseError;

/// Whether a key, or a service, is for production or for the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Production.
    Live,
    /// The sandbox.
    Test,
}

impl Environment {
    /// `live` or `test`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Environment {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "live" => Ok(Self::Live),
            "test" => Ok(Self::Test),
            _ => Err(ParseError::new("environment", "`live` or `test`")),
        }
    }
}

/// The tenant that owns a key: 1 to 64 characters of `A-Z a-z 0-9 . _ -`. Held inline, so that a
/// copy costs no allocation and no shared reference count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompanyId(ArrayString<64>);

impl CompanyId {
    /// The identifier as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CompanyId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let error = ParseError::new("company id", "1 to 64 characters of A-Z a-z 0-9 . _ -");
        if text.is_empty() || !text.bytes().all(good) {
            return Err(error);
        }
        ArrayString::from(text).map(Self).map_err(|_| error)
    }
}

/// The public part of a key, `<brand>_<env>_<id>`: names the key in look-ups, support and audit.
/// Not a secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPrefix {
    /// ASCII; zeros behind the prefix, so that prefixes are compared in a fixed number of words.
    bytes: [u8; Self::MAX],
    len: u8,
}

impl KeyPrefix {
    /// The longest prefix, in bytes.
    pub const MAX: usize = 10 + 1 + 4 + 1 + Self::ID;
    /// The length of the `id` part.
    pub const ID: usize = 12;

    /// The prefix as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("only ASCII is let in")
    }

    /// The prefix as bytes, at no cost: 20 or more.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The brand: `[a-z0-9]{2,10}`.
    #[must_use]
    pub fn brand(&self) -> &str {
        let text = self.as_str();
        &text[..text.len() - Self::ID - 6]
    }

    /// The environment that the prefix names.
    #[must_use]
    pub fn environment(&self) -> Environment {
        let start = usize::from(self.len) - Self::ID - 5;
        if &self.bytes[start..start + 4] == b"live" {
            Environment::Live
        } else {
            Environment::Test
        }
    }

    /// The prefix that these bytes spell, without a proof that they are UTF-8 first.
    ///
    /// # Errors
    /// When they don't spell one.
    pub fn from_ascii(text: &[u8]) -> Result<Self, ParseError> {
        let error = ParseError::new(
            "key prefix",
            "<brand>_<live|test>_<12 characters of 0-9 A-Z a-z>",
        );
        // Read from the right: only the brand's length varies, and it holds no separator.
        let (rest, id) = text.split_last_chunk::<{ Self::ID }>().ok_or(error)?;
        let brand = rest
            .strip_suffix(b"_live_")
            .or_else(|| rest.strip_suffix(b"_test_"));
        let brand = brand.ok_or(error)?;
        if !brand_bytes(brand) || !id_bytes(id) {
            return Err(error);
        }
        // Copied in two pieces of fixed length: what stands before the id ends within the first.
        let front = text.first_chunk::<{ Self::MAX - Self::ID }>();
        let mut bytes = [0; Self::MAX];
        bytes[..Self::MAX - Self::ID].copy_from_slice(front.ok_or(error)?);
        bytes[rest.len()..rest.len() + Self::ID].copy_from_slice(id);
        // At most `MAX`, which is 28.
        let len = text.len() as u8;
        Ok(Self { bytes, len })
    }

    /// Whether `brand` may stand at the front of a prefix.
    #[must_use]
    pub fn is_brand(brand: &str) -> bool {
        brand_bytes(brand.as_bytes())
    }
}

impl FromStr for KeyPrefix {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_ascii(text.as_bytes())
    }
}

fn brand_bytes(brand: &[u8]) -> bool {
    let mut bytes = brand.iter();
    (2..=10).contains(&brand.len()) && bytes.all(|b| CLASSES[usize::from(*b)] & IN_BRAND != 0)
}

/// All are read before any is refused: of so few that is less work than to stop at the first.
fn id_bytes(id: &[u8; KeyPrefix::ID]) -> bool {
    let classes = id.iter().map(|b| CLASSES[usize::from(*b)]);
    classes.fold(IN_ID, |common, class| common & class) == IN_ID
}

/// In which parts of a prefix a byte may stand.
static CLASSES: [u8; 256] = classes();
const IN_ID: u8 = 1;
const IN_BRAND: u8 = 2;

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    while byte.is_ascii() {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() {
            classes[byte as usize] = IN_ID | IN_BRAND;
        } else if byte.is_ascii_uppercase() {
            classes[byte as usize] = IN_ID;
        }
        byte += 1;
    }
    classes
}

/// The stable identifier of a key record: `key_` and a ULID. It survives a change of format and
/// is what management endpoints take.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Ulid);

impl KeyId {
    /// The identifier with these 128 bits.
    #[must_use]
    pub const fn from_u128(bits: u128) -> Self {
        Self(Ulid(bits))
    }

    /// The 128 bits behind the text.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0.0
    }

    /// The text, in ASCII.
    #[must_use]
    pub fn ascii(self) -> [u8; 4 + ulid::ULID_LEN] {
        let mut text = *b"key_00000000000000000000000000";
        if let Some(digits) = text.last_chunk_mut() {
            self.0.array_to_str(digits);
        }
        text
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; ulid::ULID_LEN];
        write!(f, "key_{}", self.0.array_to_str(&mut buffer))
    }
}

impl FromStr for KeyId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix("key_")
            .and_then(|rest| Ulid::from_string(rest).ok())
            .map(Self)
            // One key, one text: the lenient spellings that ULID readers accept are refused.
            .filter(|id| id.to_string() == text)
            .ok_or(ParseError::new("key id", "`key_` and a ULID"))
    }
}

/// Display, Debug and serde for a type whose text is its canonical form.
macro_rules! text_type {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

impl fmt::Display for CompanyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

text_type!(CompanyId, KeyPrefix, KeyId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_in_ascii_is_the_one_that_is_displayed() {
        for bits in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210] {
            let id = KeyId::from_u128(bits);
            assert_eq!(id.ascii(), id.to_string().as_bytes());
        }
    }

    #[test]
    fn a_prefix_names_its_brand_and_environment() {
        let prefix: KeyPrefix = "acme_live_pBakQVyk6bW4".parse().unwrap();
        assert_eq!(prefix.brand(), "acme");
        assert_eq!(prefix.environment(), Environment::Live);
        let prefix: KeyPrefix = "ab_test_000000000000".parse().unwrap();
        assert_eq!(prefix.brand(), "ab");
        assert_eq!(prefix.environment(), Environment::Test);
    }

    #[test]
    fn prefixes_are_ordered_as_their_texts_are() {
        let texts = [
            "ab_live_000000000000",
            "ab_live_00000000000a",
            "ab_test_000000000000",
            "abababab00_live_zzzzzzzzzzzz",
            "abc_live_000000000000",
        ];
        let prefixes = texts.map(|text| text.parse::<KeyPrefix>().unwrap());
        assert!(prefixes.is_sorted() && texts.is_sorted());
        assert_eq!(prefixes.map(|prefix| prefix.to_string()), texts);
    }

    #[test]
    fn a_brand_never_holds_the_separator() {
        for bad in [
            "my_brand_live_pBakQVyk6bW4",
            "acme_prod_pBakQVyk6bW4",
            "ACME_live_pBakQVyk6bW4",
            "a_live_pBakQVyk6bW4",
            "acme_live_pBakQVyk6bW",
            "acme_live_pBakQVyk6bW4_",
            "acme_live_pBakQVyk6b-4",
            "acme_live_pBakQVyk6bé4",
            "_live_pBakQVyk6bW4",
            "acme_livepBakQVyk6bW4x",
            "abcdefghijk_live_pBakQVyk6bW4",
            "",
        ] {
            assert!(bad.parse::<KeyPrefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_id_has_one_spelling() {
        let id = KeyId::from_u128(0x0199_0000_0000_0000_0000_0000_0000_0042);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().to_lowercase().parse::<KeyId>().is_err());
    }

    #[test]
    fn a_company_id_is_bounded() {
        assert!("company_12".parse::<CompanyId>().is_ok());
        assert!("x".repeat(64).parse::<CompanyId>().is_ok());
        assert!("x".repeat(65).parse::<CompanyId>().is_err());
        for bad in ["", "a b", "a/b", "é", "a\n"] {
            assert!(bad.parse::<CompanyId>().is_err(), "{bad:?}");
        }
    }
}
