//! The secrets that jobs are sealed under.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::JobError;

/// The secrets by their versions: one that seals, and any that are still accepted. To replace a
/// secret, first let every process accept the new one, then seal under it, and drop the old one
/// when the last job under it has expired. Take secrets from your secret store: 32 random bytes,
/// used for nothing else.
#[derive(Clone)]
#[must_use]
pub struct JobKeys {
    version: u16,
    secret: Hmac<Sha256>,
    accepted: Vec<(u16, Hmac<Sha256>)>,
}

impl JobKeys {
    /// Seals and opens under `secret`, which jobs name by `version`.
    pub fn new(version: u16, secret: [u8; 32]) -> Self {
        Self {
            version,
            secret: keyed(&secret),
            accepted: Vec::new(),
        }
    }

    /// Opens jobs under this secret too. A version that is known already stays what it was.
    pub fn accept(mut self, version: u16, secret: [u8; 32]) -> Self {
        self.accepted.push((version, keyed(&secret)));
        self
    }

    pub(super) const fn version(&self) -> u16 {
        self.version
    }

    pub(super) fn seal(&self, text: &str) -> [u8; 32] {
        let mut mac = self.secret.clone();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Compares in constant time.
    pub(super) fn check(&self, version: u16, text: &str, seal: &[u8]) -> Result<(), JobError> {
        let mut mac = self.secret_of(version)?.clone();
        mac.update(text.as_bytes());
        mac.verify_slice(seal).map_err(|_| JobError::Forged)
    }

    fn secret_of(&self, version: u16) -> Result<&Hmac<Sha256>, JobError> {
        if version == self.version {
            return Ok(&self.secret);
        }
        let mut accepted = self.accepted.iter();
        accepted
            .find(|(known, _)| *known == version)
            .map(|(_, secret)| secret)
            .ok_or(JobError::UnknownSecret)
    }
}

/// Shows the versions and no secret.
impl fmt::Debug for JobKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accepted: Vec<u16> = self.accepted.iter().map(|(version, _)| *version).collect();
        f.debug_struct("JobKeys")
            .field("version", &self.version)
            .field("accepted", &accepted)
            .field("secrets", &"[redacted]")
            .finish()
    }
}

/// The secret's state, computed once.
fn keyed(secret: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("HMAC takes keys of every length")
}
