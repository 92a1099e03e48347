//! The key format: `<brand>_<env>_<id>_<secret><check>`.

use std::fmt;
use std::sync::LazyLock;

use countersign_core::{ConfigError, Environment, KeyPrefix, ParseError};
use crc32fast::Hasher;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A whole key, secret included: what a caller presents and what issuing returns once. Prints its
/// prefix and `[redacted]`, and its secret is wiped from memory when it is dropped.
///
/// Format: brand `[a-z0-9]{2,10}`, environment `live` or `test`, id 12, secret 43 and check 6
/// characters of `0-9A-Za-z`. The secret is a 256-bit number in base 62, the check the CRC-32
/// (IEEE) of everything before it. A key that is garbled in any one character is refused without
/// a look-up.
pub struct RawKey {
    prefix: KeyPrefix,
    secret: Secret,
    /// The SHA-256 of the whole text, where that is of another system's format.
    foreign: Option<Box<Secret>>,
}

/// The 256 bits that make a key a key. Prints as `[redacted]`, is wiped from memory when it is
/// dropped, and can't be copied.
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
        Ok(Self {
            prefix,
            secret,
            foreign: None,
        })
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
        let (body, check) = text.split_last_chunk::<CHECK>().ok_or(error)?;
        let mut digits = Digits::default();
        let check = digits.number(check);
        if !digits.were_all() || check != u64::from(checksum(body)) {
            return Err(error);
        }
        let (prefix, secret) = body.split_last_chunk::<SECRET>().ok_or(error)?;
        let prefix = prefix.strip_suffix(b"_").ok_or(error)?;
        let mut key = Self {
            prefix: KeyPrefix::from_ascii(prefix).map_err(|_| error)?,
            secret: Secret([0; 32]),
            foreign: None,
        };
        decode(secret, &mut key.secret.0).ok_or(error)?;
        Ok(key)
    }

    /// Reads a key of another system's format: 16 to 512 visible ASCII characters. Its secret is a
    /// hash of the text that can't be made from the hash that the other system kept: whoever has
    /// that one has no key.
    pub(crate) fn imported(text: &[u8], environment: Environment) -> Result<Self, ParseError> {
        let error = ParseError::new("key", "16 to 512 visible characters");
        if !(16..=512).contains(&text.len()) || !text.iter().all(u8::is_ascii_graphic) {
            return Err(error);
        }
        let whole = Secret(Sha256::digest(text).into());
        let secret = Sha256::new_with_prefix(IMPORTED_SECRET)
            .chain_update(text)
            .finalize();
        Ok(Self {
            prefix: Self::imported_prefix(&whole.0, environment).map_err(|_| error)?,
            secret: Secret(secret.into()),
            foreign: Some(Box::new(whole)),
        })
    }

    /// The name of a key of which only the SHA-256 is known. It tells nothing of that hash.
    pub(crate) fn imported_prefix(
        whole: &[u8; 32],
        environment: Environment,
    ) -> Result<KeyPrefix, ConfigError> {
        let hash: [u8; 32] = Sha256::new_with_prefix(IMPORTED_PREFIX)
            .chain_update(whole)
            .finalize()
            .into();
        let mut text = format!("{}_{environment}_", Self::IMPORTED_BRAND);
        // The bias of `% 62` is no matter: this is a name.
        let digits = hash.iter().take(KeyPrefix::ID);
        text.extend(digits.map(|byte| char::from(DIGITS[usize::from(byte % 62)])));
        text.parse()
            .map_err(|_| ConfigError::new("brand", "2 to 10 characters of a-z 0-9"))
    }

    /// What the prefixes of keys of other systems' formats begin with.
    pub(crate) const IMPORTED_BRAND: &str = "imported";

    /// The SHA-256 of the whole key's text.
    pub(crate) fn whole_hash(&self) -> Zeroizing<[u8; 32]> {
        let hash = match &self.foreign {
            Some(whole) => whole.0,
            None => Sha256::digest(self.expose().as_bytes()).into(),
        };
        Zeroizing::new(hash)
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

    /// A key of this secret, for tests of digests.
    #[cfg(test)]
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self {
            prefix: "acme_live_000000000000".parse().unwrap(),
            secret: Secret(bytes),
            foreign: None,
        }
    }

    /// The whole key in clear, to hand it to its company once. The text is wiped when dropped;
    /// never log it, store it or send it anywhere else.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(MAX));
        text.push_str(self.prefix.as_str());
        text.push('_');
        text.extend(encode(&self.secret.0).iter().copied().map(char::from));
        let check = digits(checksum(text.as_bytes()));
        text.extend(check.map(char::from));
        text
    }
}

impl Secret {
    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Zeroize for Secret {
    fn zeroize(&mut self) {
        self.0 = [0; 32];
        // What nobody reads any more is written all the same, and not byte by byte.
        zeroize::optimization_barrier(&self.0);
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for Secret {}

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
fn has_shape(text: &[u8]) -> bool {
    if !(MIN..=MAX).contains(&text.len()) {
        return false;
    }
    let (prefix, rest) = text.split_at(text.len() - SECRET - CHECK - 1);
    KeyPrefix::from_ascii(prefix).is_ok()
        && rest[0] == b'_'
        && rest[1..].iter().all(u8::is_ascii_alphanumeric)
}

/// Whether anything in a text has the shape of a key, whatever stands around it.
pub(crate) fn is_within(text: &[u8]) -> bool {
    shapes(text).next().is_some()
}

/// The prefix of the first key in a text. Only its check tells where its brand begins.
pub(crate) fn prefix_within(text: &[u8]) -> Option<KeyPrefix> {
    shapes(text).find_map(|start| {
        let mut begins = start.saturating_sub(MAX - MIN)..=start;
        let key = begins.find_map(|begin| RawKey::parse(&text[begin..start + MIN]).ok())?;
        Some(*key.prefix())
    })
}

/// Where the shortest text begins that has the shape of a key.
fn shapes(text: &[u8]) -> impl Iterator<Item = usize> {
    // The end of a longer brand is one of two characters, and its separator follows it.
    let windows = text.windows(MIN).enumerate();
    let shapes = windows.filter(|(_, window)| window[2] == b'_' && has_shape(window));
    shapes.map(|(start, _)| start)
}

/// Writes the number that 43 base-62 digits spell, most significant first, into `bytes`; `None`
/// where it is larger than 256 bits or a character is no digit.
fn decode(text: &[u8; SECRET], bytes: &mut [u8; 32]) -> Option<()> {
    let mut limbs = Zeroizing::new([0_u64; 4]);
    let mut digits = Digits::default();
    // Ten digits fit into a limb: four multiplications of the whole number instead of 42.
    let (head, chunks) = text.as_rchunks::<CHUNK>();
    limbs[0] = digits.number(head);
    let mut overflow = 0;
    for chunk in chunks {
        let mut carry = u128::from(digits.number(chunk));
        for limb in limbs.iter_mut() {
            let product = u128::from(*limb) * u128::from(FACTOR) + carry;
            *limb = product as u64;
            carry = product >> 64;
        }
        overflow |= carry;
    }
    for (place, limb) in bytes.chunks_exact_mut(8).zip(limbs.iter().rev()) {
        place.copy_from_slice(&limb.to_be_bytes());
    }
    (overflow == 0 && digits.were_all()).then_some(())
}

/// Reads base-62 digits. All are read before any is refused, so that the processor need not wait
/// for one before it reads the next.
#[derive(Default)]
struct Digits(u32);

impl Digits {
    /// The number that at most ten digits spell: it stays below 2^60, and below 2^61 whatever the
    /// text is. Two at a time, because each multiplication waits for the one before it.
    #[inline]
    fn number(&mut self, text: &[u8]) -> u64 {
        debug_assert!(text.len() <= CHUNK);
        let (first, pairs) = text.as_rchunks::<2>();
        let first = first.iter().map(|ones| self.pair([b'0', *ones])).sum();
        pairs
            .iter()
            .fold(first, |number, pair| number * 62 * 62 + self.pair(*pair))
    }

    fn pair(&mut self, [tens, ones]: [u8; 2]) -> u64 {
        let pair = TENS[usize::from(tens)] + ONES[usize::from(ones)];
        self.0 |= pair;
        u64::from(pair)
    }

    /// Whether every character that was read is a digit.
    const fn were_all(&self) -> bool {
        self.0 < NO_DIGIT
    }
}

/// 43 base-62 digits for 256 bits.
fn encode(bytes: &[u8; 32]) -> Zeroizing<[u8; SECRET]> {
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
    text
}

/// CRC-32 (IEEE). What the processor can do for it is asked once.
fn checksum(text: &[u8]) -> u32 {
    static NEW: LazyLock<Hasher> = LazyLock::new(Hasher::new);
    let mut hasher = NEW.clone();
    hasher.update(text);
    hasher.finalize()
}

fn digits(mut number: u32) -> [u8; CHECK] {
    let mut text = [b'0'; CHECK];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    text
}

const IMPORTED_SECRET: &[u8] = b"countersign imported secret\0";
const IMPORTED_PREFIX: &[u8] = b"countersign imported prefix\0";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// What a byte is worth as the second digit of two, and as the first; `NO_DIGIT` where it is none.
static ONES: [u32; 256] = values(1);
static TENS: [u32; 256] = values(62);
/// More than any two digits are worth, and a bit that no two digits have.
const NO_DIGIT: u32 = 1 << 12;
const SECRET: usize = 43;
const CHECK: usize = 6;
const CHUNK: usize = 10;
const FACTOR: u64 = 62_u64.pow(CHUNK as u32);
const MAX: usize = KeyPrefix::MAX + 1 + SECRET + CHECK;
/// The shortest brand has eight characters less than the longest.
pub(crate) const MIN: usize = MAX - 8;

const fn values(place: u32) -> [u32; 256] {
    let mut values = [NO_DIGIT; 256];
    let mut i = 0;
    while i < DIGITS.len() {
        values[DIGITS[i] as usize] = i as u32 * place;
        i += 1;
    }
    values
}

#[cfg(test)]
mod tests;
