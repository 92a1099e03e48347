//! Who signs the checkpoints of a log.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use countersign_core::{StoreError, StoreErrorKind};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use tempfile::NamedTempFile;

use super::disk::Disk;
use super::{corrupt, unavailable};

/// Signs the checkpoints of a log with an Ed25519 key (RFC 8032). [`FileSigner`] does it with a key
/// in a file; a key service is asked by an implementation of your own.
///
/// Both functions are called on a thread that may block, at most one call at a time. A call that
/// takes longer than the log's deadline counts as a failure of the log: no audit, no access.
pub trait CheckpointSigner: fmt::Debug + Send + Sync + 'static {
    /// The public key. It never changes.
    ///
    /// # Errors
    /// When the key service can't be asked now.
    fn public_key(&self) -> Result<[u8; 32], StoreError>;

    /// The signature of `message`, as it is and not hashed before. The same message may come again.
    ///
    /// # Errors
    /// When the message can't be signed now. It comes again then.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], StoreError>;
}

impl<T: CheckpointSigner + ?Sized> CheckpointSigner for Arc<T> {
    fn public_key(&self) -> Result<[u8; 32], StoreError> {
        (**self).public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], StoreError> {
        (**self).sign(message)
    }
}

/// A signing key in a file, in the one line that Go's `note` package and its tools read:
/// `PRIVATE+KEY+<name>+<8 hex: key id>+<base64(0x01 || 32-byte seed)>`. The seed is wiped from
/// memory on drop.
pub struct FileSigner {
    name: String,
    key: SigningKey,
}

impl FileSigner {
    /// The key in the file at `path`.
    ///
    /// # Errors
    /// `NotFound` when there is no file, `Corrupt` when it is no such key, `Unavailable` when it
    /// can't be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        match fs::read_to_string(path) {
            Ok(text) => {
                Self::parse(text.trim_end()).ok_or_else(|| corrupt(path, "it is no signing key"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::with_source(StoreErrorKind::NotFound, error))
            }
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Draws a new key and writes it to a new file at `path`, which its owner alone may read (mode
    /// 0600). `name` is the origin of the log that it will sign.
    ///
    /// # Errors
    /// `AlreadyExists` when there is a file, `Conflict` when `name` is empty or has a blank or a
    /// `+`, `Unavailable` when the file can't be written or the system has no randomness.
    pub fn create(path: impl AsRef<Path>, name: &str) -> Result<Self, StoreError> {
        check_name(name)?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(unavailable)?;
        let key = SigningKey::from_bytes(&seed);
        let signer = Self {
            name: name.to_owned(),
            key,
        };
        signer.write(path.as_ref()).map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                return StoreError::with_source(StoreErrorKind::AlreadyExists, error);
            }
            unavailable(error)
        })?;
        Ok(signer)
    }

    /// The name that the key was made for: the origin of a log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The verifier key, in the one line that a log keeps as `vkey`.
    #[must_use]
    pub fn verifier_key(&self) -> String {
        signed_note::new_ed25519_verifier_key(&self.name, &self.key.verifying_key())
    }

    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("PRIVATE+KEY+")?;
        let (name, rest) = rest.split_once('+')?;
        let (id, key) = rest.split_once('+')?;
        let key = BASE64_STANDARD.decode(key).ok()?;
        let seed = key.strip_prefix(&[ED25519])?;
        let key = SigningKey::from_bytes(seed.try_into().ok()?);
        let signer = Self {
            name: name.to_owned(),
            key,
        };
        let known = key_id(name, &signer.key.verifying_key());
        (u32::from_str_radix(id, 16) == Ok(known)).then_some(signer)
    }

    /// Whole or not at all: half a key at `path` would keep the log from ever being opened.
    fn write(&self, path: &Path) -> io::Result<()> {
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        // Its owner alone may read a temporary file.
        let mut file = NamedTempFile::new_in(directory)?;
        let mut key = vec![ED25519];
        key.extend(self.key.to_bytes());
        let id = key_id(&self.name, &self.key.verifying_key());
        let key = BASE64_STANDARD.encode(key);
        writeln!(file, "PRIVATE+KEY+{}+{id:08x}+{key}", self.name)?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path)?;
        Disk::default().sync_directory(directory)
    }
}

impl CheckpointSigner for FileSigner {
    fn public_key(&self) -> Result<[u8; 32], StoreError> {
        Ok(self.key.verifying_key().to_bytes())
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], StoreError> {
        Ok(self.key.sign(message).to_bytes())
    }
}

impl fmt::Debug for FileSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSigner")
            .field("name", &self.name)
            .field("key", &"[redacted]")
            .finish()
    }
}

/// The id of `key` under `name`, as signed-note v1 asks for it.
pub(super) fn key_id(name: &str, key: &VerifyingKey) -> u32 {
    let mut encoded = vec![ED25519];
    encoded.extend(key.to_bytes());
    signed_note::key_id(name, &encoded)
}

/// # Errors
/// `Conflict` when a note can't be signed under this name.
pub(super) fn check_name(name: &str) -> Result<(), StoreError> {
    let plain = !name.chars().any(char::is_control) && name.len() <= LONGEST_NAME;
    if plain && signed_note::is_key_name_valid(name) {
        return Ok(());
    }
    let problem = "an origin is 1 to 256 bytes without blanks, control characters and `+`";
    Err(StoreError::with_source(StoreErrorKind::Conflict, problem))
}

/// The algorithm's number in encoded keys.
const ED25519: u8 = 1;
const LONGEST_NAME: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_and_by_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let made = FileSigner::create(&path, "example.com/log").unwrap();
        let read = FileSigner::open(&path).unwrap();
        assert_eq!(made.verifier_key(), read.verifier_key());
        assert_eq!(read.name(), "example.com/log");
        assert_eq!(made.sign(b"x").unwrap(), read.sign(b"x").unwrap());
        let text = fs::read_to_string(&path).unwrap();
        assert!(signed_note::StandardSigner::new(text.trim_end()).is_ok());
        assert!(!format!("{made:?}").contains(text.trim_end().splitn(5, '+').nth(4).unwrap()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let again = FileSigner::create(&path, "example.com/log");
        assert_eq!(again.unwrap_err().kind(), StoreErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let kind = |error: StoreError| error.kind();
        assert_eq!(
            FileSigner::open(&path).map_err(kind).unwrap_err(),
            StoreErrorKind::NotFound
        );
        let key = FileSigner::create(&path, "a").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for wrong in [
            String::new(),
            text.replacen("+a+", "+b+", 1),
            text.replace("PRIVATE", "PUBLIC"),
            key.verifier_key(),
        ] {
            fs::write(&path, wrong).unwrap();
            let refused = FileSigner::open(&path).map_err(kind).unwrap_err();
            assert_eq!(refused, StoreErrorKind::Corrupt);
        }
        for name in ["", "a b", "a+b", "a\nb", "a\u{7}b"] {
            let refused = FileSigner::create(directory.path().join("new"), name);
            assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Conflict);
        }
    }
}
