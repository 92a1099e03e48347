//! The manager's settings.

use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Clock, ConfigError, KeyPrefix, ScopeSet, SystemClock};

use super::{KeyManager, Settings};
use crate::cache::KeyCache;
use crate::digest::Digester;
use crate::key::RawKey;
use crate::store::KeyStore;

/// Puts a [`KeyManager`] together.
#[derive(Debug)]
#[must_use]
pub struct KeyManagerBuilder(Settings);

impl KeyManagerBuilder {
    pub(super) fn new(store: Arc<dyn KeyStore>) -> Self {
        Self(Settings {
            store,
            clock: Arc::new(SystemClock),
            digester: Digester::sha256(),
            brand: "cs".to_owned(),
            known_scopes: None,
            max_lifetime: Duration::from_secs(400 * 86_400),
            max_overlap: Duration::from_secs(30 * 86_400),
            caches: Vec::new(),
        })
    }

    /// What keys begin with: 2 to 10 characters of `a-z 0-9`. `cs` by default.
    pub fn brand(mut self, brand: impl Into<String>) -> Self {
        self.0.brand = brand.into();
        self
    }

    /// Reads time from `clock`.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.0.clock = Arc::new(clock);
        self
    }

    /// How secrets are digested: SHA-256 unless peppers are given here.
    pub fn digester(mut self, digester: Digester) -> Self {
        self.0.digester = digester;
        self
    }

    /// Refuses to grant any other scope. Without this every well-formed scope can be granted.
    pub fn known_scopes(mut self, scopes: ScopeSet) -> Self {
        self.0.known_scopes = Some(scopes);
        self
    }

    /// The longest life of a key; 400 days by default.
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.0.max_lifetime = lifetime;
        self
    }

    /// The longest time that a rotated key goes on; 30 days by default.
    pub fn max_overlap(mut self, overlap: Duration) -> Self {
        self.0.max_overlap = overlap;
        self
    }

    /// Changes take effect in this cache at once.
    pub fn evict_from(mut self, cache: KeyCache) -> Self {
        self.0.caches.push(cache);
        self
    }

    /// The finished manager.
    ///
    /// # Errors
    /// When the brand can't stand in a key.
    pub fn build(self) -> Result<KeyManager, ConfigError> {
        if !KeyPrefix::is_brand(&self.0.brand) {
            return Err(ConfigError::new("brand", "2 to 10 characters of a-z 0-9"));
        }
        if self.0.brand == RawKey::IMPORTED_BRAND {
            let problem = "it is kept for keys of other systems";
            return Err(ConfigError::new("brand", problem));
        }
        Ok(KeyManager(Arc::new(self.0)))
    }
}
