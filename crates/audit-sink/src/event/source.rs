//! In which form a source address enters the log, and the hash of a user agent.

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use countersign_core::{ConfigError, StoreError, StoreErrorKind};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::plain::{Plain, append_hex};

/// In which form the source address of a request enters the audit log. The other forms never
/// leave the layer.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum SourceForm {
    /// The address as it is.
    #[default]
    Plain,
    /// The network of the address: /24 of IPv4, /48 of IPv6.
    Truncated,
    /// `h:` and 32 hex digits: the first 16 bytes of the HMAC-SHA-256 (RFC 2104) of the address's
    /// text under a key, so that whoever holds the key can still look for one address.
    KeyedHash(SourceKey),
}

/// The key of [`SourceForm::KeyedHash`].
#[derive(Clone)]
pub struct SourceKey(Hmac<Sha256>);

impl SourceKey {
    /// A key of at least 16 bytes.
    ///
    /// # Errors
    /// When it is shorter: all of IPv4 would be found by trying.
    pub fn new(key: &[u8]) -> Result<Self, ConfigError> {
        if key.len() < 16 {
            return Err(ConfigError::new("source key", "use at least 16 bytes"));
        }
        Hmac::new_from_slice(key)
            .map(Self)
            .map_err(|_| ConfigError::new("source key", "HMAC does not take this key"))
    }

    /// The key in the file at `path`, 64 hex digits; drawn and written there, for its owner alone
    /// (mode 0600), where there is none.
    ///
    /// Whoever destroys the file, and every copy of it, leaves hashes that nobody can tie to an
    /// address any longer, and not one byte of the log has changed: every proof still holds. Begin
    /// another file for each period that is to be forgotten as a whole; a hash of one key is never
    /// found with another.
    ///
    /// # Errors
    /// `Corrupt` when the file holds something else, `Unavailable` when it can't be read or
    /// written, or the system has no randomness.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(text.trim_end()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::draw(path),
            Err(error) => Err(unavailable(error)),
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        let digits = |at| text.get(at..at + 2);
        let byte = |at| u8::from_str_radix(digits(at)?, 16).ok();
        let key: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
        let hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let key = key.filter(|_| hex).and_then(|key| Self::new(&key).ok());
        key.ok_or_else(|| {
            let problem = "the file holds no source key: 64 hex digits";
            StoreError::with_source(StoreErrorKind::Corrupt, problem)
        })
    }

    /// Whole or not at all: of several processes that draw one at once, all have the same.
    fn draw(path: &Path) -> Result<Self, StoreError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(unavailable)?;
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        // Its owner alone may read a temporary file.
        let mut file = NamedTempFile::new_in(directory).map_err(unavailable)?;
        let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(file, "{text}").map_err(unavailable)?;
        file.as_file().sync_all().map_err(unavailable)?;
        match file.persist_noclobber(path) {
            Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => {
                Err(unavailable(error.error))
            }
            _ => {
                let text = fs::read_to_string(path).map_err(unavailable)?;
                Self::parse(text.trim_end())
            }
        }
    }
}

impl SourceForm {
    /// `address` in this form, to look for it in a log.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> AuditSource {
        AuditSource::new(address, self)
    }
}

impl fmt::Debug for SourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceKey([redacted])")
    }
}

fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unavailable, error)
}

/// A source address in the form that was chosen for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditSource(Form);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Address(IpAddr),
    Network(IpAddr),
    /// A /64 of IPv6.
    Site(Ipv6Addr),
    Hash([u8; 16]),
}

impl AuditSource {
    pub(crate) fn new(address: IpAddr, form: &SourceForm) -> Self {
        let address = address.to_canonical();
        Self(match form {
            SourceForm::Plain => Form::Address(address),
            SourceForm::Truncated => Form::Network(network(address)),
            SourceForm::KeyedHash(SourceKey(keyed)) => {
                let mut mac = keyed.clone();
                mac.update(address.to_string().as_bytes());
                let mut hash = [0; 16];
                hash.copy_from_slice(&mac.finalize().into_bytes()[..16]);
                Form::Hash(hash)
            }
        })
    }
}

impl AuditSource {
    /// What the log says of several addresses that count as one: of a whole IPv6 address its /64;
    /// any other source counts by itself and is what it was.
    #[must_use]
    pub const fn network(self) -> Self {
        match self.0 {
            Form::Address(IpAddr::V6(v6)) => Self(Form::Site(site(v6))),
            _ => self,
        }
    }
}

/// Sources that count as one: an IPv6 network of /64 is one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SourceGroup(u128, bool);

impl AuditSource {
    pub(crate) fn group(self) -> SourceGroup {
        match self.0 {
            Form::Address(IpAddr::V4(v4)) | Form::Network(IpAddr::V4(v4)) => {
                SourceGroup(v4.to_bits().into(), false)
            }
            Form::Address(IpAddr::V6(v6)) | Form::Network(IpAddr::V6(v6)) => {
                SourceGroup(site(v6).to_bits(), true)
            }
            Form::Site(v6) => SourceGroup(v6.to_bits(), true),
            Form::Hash(hash) => SourceGroup(u128::from_be_bytes(hash), true),
        }
    }
}

impl fmt::Display for AuditSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Form::Address(address) => address.fmt(f),
            Form::Network(address @ IpAddr::V4(_)) => write!(f, "{address}/24"),
            Form::Network(address @ IpAddr::V6(_)) => write!(f, "{address}/48"),
            Form::Site(address) => write!(f, "{address}/64"),
            Form::Hash(hash) => write!(f, "h:{:032x}", u128::from_be_bytes(hash)),
        }
    }
}

impl Plain for AuditSource {
    fn append_to(&self, text: &mut Vec<u8>) {
        let Form::Address(IpAddr::V4(v4)) = self.0 else {
            // Proof: a `Vec` takes all that is written.
            let _ = write!(text, "{self}");
            return;
        };
        for (index, octet) in v4.octets().into_iter().enumerate() {
            if index > 0 {
                text.push(b'.');
            }
            text.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
        }
    }
}

impl Serialize for AuditSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The first 8 bytes of the SHA-256 of a `User-Agent` field's value. Prints as hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AgentHash([u8; 8]);

impl AgentHash {
    /// The hash of `value`. A thread remembers the last agent it saw: a repeated one costs a
    /// comparison.
    pub(crate) fn of(value: &[u8]) -> Self {
        if value.len() > LONGEST_REMEMBERED {
            return Self::digest(value);
        }
        LAST_AGENT.with_borrow_mut(|(known, hash)| {
            if known != value {
                *hash = Self::digest(value).0;
                known.clear();
                known.extend_from_slice(value);
            }
            Self(*hash)
        })
    }

    fn digest(value: &[u8]) -> Self {
        let mut hash = [0; 8];
        hash.copy_from_slice(&Sha256::digest(value)[..8]);
        Self(hash)
    }
}

impl fmt::Display for AgentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl Plain for AgentHash {
    fn append_to(&self, text: &mut Vec<u8>) {
        for byte in self.0 {
            append_hex(text, byte);
        }
    }
}

impl fmt::Debug for AgentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgentHash({self})")
    }
}

impl Serialize for AgentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << 8))),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 80))),
    }
}

const fn site(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)
}

const LONGEST_REMEMBERED: usize = 1024;

thread_local! {
    static LAST_AGENT: RefCell<(Vec<u8>, [u8; 8])> =
        // The first 8 bytes of SHA-256 of nothing, which is what stands in the memo at first.
        const { RefCell::new((Vec::new(), [0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14])) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(address: &str, form: &SourceForm) -> String {
        AuditSource::new(address.parse().unwrap(), form).to_string()
    }

    #[test]
    fn truncates_to_the_network() {
        let cut = SourceForm::Truncated;
        assert_eq!(form("203.0.113.9", &cut), "203.0.113.0/24");
        assert_eq!(form("::ffff:203.0.113.9", &cut), "203.0.113.0/24");
        assert_eq!(form("2001:db8:1:2:3::4", &cut), "2001:db8:1::/48");
        assert_eq!(
            form("2001:db8:1:2:3::4", &SourceForm::Plain),
            "2001:db8:1:2:3::4"
        );
    }

    /// `printf 203.0.113.9 | openssl dgst -sha256 -hmac 0123456789abcdef`, first 32 digits.
    #[test]
    fn a_keyed_hash_can_be_computed_by_whoever_holds_the_key() {
        let key = SourceKey::new(b"0123456789abcdef").unwrap();
        assert_eq!(format!("{key:?}"), "SourceKey([redacted])");
        let keyed = SourceForm::KeyedHash(key);
        let hash = form("203.0.113.9", &keyed);
        assert_eq!(hash, "h:6c12fd2b48792833d1b66bab19e823a5");
        assert_eq!(form("::ffff:203.0.113.9", &keyed), hash);
        assert!(SourceKey::new(b"short").is_err());
    }

    #[test]
    fn the_network_of_several_addresses() {
        let whole = SourceForm::Plain;
        let network = |address: &str, form: &SourceForm| {
            let source = form.of(address.parse().unwrap());
            source.network().to_string()
        };
        assert_eq!(network("2001:db8:1:2:3::4", &whole), "2001:db8:1:2::/64");
        assert_eq!(network("203.0.113.9", &whole), "203.0.113.9");
        let cut = SourceForm::Truncated;
        assert_eq!(network("2001:db8:1:2:3::4", &cut), "2001:db8:1::/48");
    }

    #[test]
    fn remembers_the_last_agent_and_no_wrong_one() {
        let curl = AgentHash::of(b"curl/8");
        assert_eq!(curl.to_string(), "d26c0650abb48cff");
        assert_eq!(AgentHash::of(b"").to_string(), "e3b0c44298fc1c14");
        assert_eq!(AgentHash::of(b"curl/8"), curl);
        assert_eq!(AgentHash::of(b"curl/8"), curl);
        let long = vec![b'x'; LONGEST_REMEMBERED + 1];
        assert_eq!(AgentHash::of(&long), AgentHash::digest(&long));
        assert_eq!(AgentHash::of(b"curl/8"), curl);
    }

    #[test]
    fn a_key_in_a_file_is_drawn_once_and_its_hashes_end_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("source.key");
        let address = "192.0.2.7".parse().unwrap();
        let hash = || {
            let form = SourceForm::KeyedHash(SourceKey::open(&path).unwrap());
            form.of(address).to_string()
        };
        let before = hash();
        assert!(before.starts_with("h:") && before.len() == 34);
        assert_eq!(hash(), before, "read again it is the same");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::remove_file(&path).unwrap();
        assert_ne!(hash(), before, "another key finds nothing of it");
        let text = fs::read_to_string(&path).unwrap();
        for wrong in [
            "",
            "abc",
            &text[..62],
            &text.replace('\n', "ab"),
            &"+f".repeat(32),
        ] {
            fs::write(&path, wrong).unwrap();
            let refused = SourceKey::open(&path).unwrap_err();
            assert_eq!(refused.kind(), StoreErrorKind::Corrupt, "{wrong}");
        }
    }
}
