//! Keys that another system issued, taken over without a new one.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use countersign_core::{KeyPrefix, LifecycleEvent, LifecycleKind, ParseError};

use super::{Actor, IssueRequest, KeyManager, ManageError, operators_only};
use crate::digest::SecretDigest;
use crate::key::RawKey;
use crate::record::{KeyRecord, KeyStatus};
use crate::store::Write;

/// The SHA-256 of a whole key, as the system that issued it kept it: 64 hex digits, or base64 with
/// either alphabet, padded or not. Prints redacted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ImportedHash([u8; 32]);

impl ImportedHash {
    /// The hash of these bytes.
    #[must_use]
    pub const fn new(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }
}

impl FromStr for ImportedHash {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = ParseError::new("hash", "SHA-256 of the whole key, in hex or base64");
        let mut hash = [0; 32];
        if hex::decode_to_slice(text, &mut hash).is_ok() {
            return Ok(Self(hash));
        }
        let engines = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD];
        let mut decoded = engines.iter().filter_map(|engine| engine.decode(text).ok());
        let bytes = decoded.next().ok_or(error)?;
        bytes.try_into().map(Self).map_err(|_| error)
    }
}

impl fmt::Debug for ImportedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ImportedHash([redacted])")
    }
}

/// A key of another system to take over.
#[derive(Debug, Clone)]
#[must_use]
pub struct ImportRequest {
    key: IssueRequest,
    hash: ImportedHash,
    prefix: Option<KeyPrefix>,
}

impl ImportRequest {
    /// The key of this hash. `key` says whose it is, what it may do and when it ends: that is as
    /// mandatory as for a new one.
    pub const fn new(key: IssueRequest, hash: ImportedHash) -> Self {
        Self {
            key,
            hash,
            prefix: None,
        }
    }

    /// The prefix of a key of our own format. Without one the key is of another format: it is named
    /// `imported_<env>_<12 characters>`, made from the hash, and is accepted where
    /// [`KeyVerifierBuilder::accept_imported_keys`](crate::KeyVerifierBuilder::accept_imported_keys)
    /// says so.
    pub const fn prefix(mut self, prefix: KeyPrefix) -> Self {
        self.prefix = Some(prefix);
        self
    }
}

impl KeyManager {
    /// Takes over a key that another system issued, by its hash: the company goes on with the key
    /// it has.
    ///
    /// # Errors
    /// As [`KeyManager::issue`]; `Invalid` when the prefix is of another environment,
    /// `AlreadyExists` when the key was taken over before.
    pub async fn import(
        &self,
        actor: &Actor,
        import: ImportRequest,
    ) -> Result<KeyRecord, ManageError> {
        let (record, events) = self.taken_over(actor, import).await?;
        self.commit(vec![Write::InsertKey(record.clone())], events)
            .await?;
        Ok(record)
    }

    /// Takes over many keys at once, 10 000 at most: all of them or none.
    ///
    /// # Errors
    /// As [`KeyManager::import`], as `InList` with the number of the first key that can't be taken
    /// over; a key that stands in the list twice is one of them.
    pub async fn import_all(
        &self,
        actor: &Actor,
        imports: Vec<ImportRequest>,
    ) -> Result<Vec<KeyRecord>, ManageError> {
        operators_only(actor)?;
        if imports.len() > MOST {
            let problem = format!("{MOST} keys at most; make several lists of it");
            return Err(ManageError::Invalid(problem));
        }
        let (mut records, mut all_events) = (Vec::new(), Vec::new());
        let mut prefixes = HashSet::new();
        for (index, import) in imports.into_iter().enumerate() {
            let in_list = |error: ManageError| error.in_list(index + 1);
            let (record, events) = self.taken_over(actor, import).await.map_err(in_list)?;
            let known = self.0.store.find(&record.prefix).await?;
            if known.is_some() || !prefixes.insert(record.prefix) {
                return Err(in_list(ManageError::AlreadyExists));
            }
            records.push(record);
            all_events.extend(events);
        }
        let writes = records.iter().cloned().map(Write::InsertKey).collect();
        self.commit(writes, all_events).await?;
        Ok(records)
    }

    /// What is to be stored, and the events that tell of it.
    async fn taken_over(
        &self,
        actor: &Actor,
        import: ImportRequest,
    ) -> Result<(KeyRecord, Vec<LifecycleEvent>), ManageError> {
        operators_only(actor)?;
        let now = self.now();
        let hash = import.hash.0;
        let request = self.check_request(import.key, now).await?;
        let prefix = match import.prefix {
            Some(prefix) if prefix.environment() != request.environment => {
                let problem = "the prefix names another environment than was asked for";
                return Err(ManageError::Invalid(problem.to_owned()));
            }
            Some(prefix) => prefix,
            None => RawKey::imported_prefix(&hash, request.environment)?,
        };
        let record = request.into_record(prefix, SecretDigest::Imported(hash), now)?;
        let mut created = self.event(actor, LifecycleKind::TokenCreated, &record);
        // Nobody was shown a key: the company has had it all along.
        created.reason = Some("imported".to_owned());
        let mut events = vec![created];
        if record.status == KeyStatus::Active {
            events.push(self.event(actor, LifecycleKind::TokenActivated, &record));
        }
        Ok((record, events))
    }
}

/// One change holds them all.
const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_hex_or_base64() {
        // SHA-256 of "abc" (FIPS 180-2, appendix B.1).
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hash: ImportedHash = hex.parse().unwrap();
        for other in [
            &hex.to_uppercase(),
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0",
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0=",
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0",
        ] {
            assert_eq!(other.parse(), Ok(hash), "{other}");
        }
        for bad in [
            "",
            "abc",
            &hex[2..],
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIA",
        ] {
            assert!(bad.parse::<ImportedHash>().is_err(), "{bad}");
        }
        assert!(!format!("{hash:?}").contains("ba78"));
    }
}
