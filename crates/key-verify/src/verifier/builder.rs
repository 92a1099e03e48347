//! How a verifier is put together.

use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Clock, ConfigError, Environment, FailureMeter, SystemClock};

use super::asked::Left;
use super::{KeyVerifier, Settings};
use crate::cache::{CacheSettings, KeyCache};
use crate::digest::Digester;
use crate::renewal::Renewal;
use crate::store::KeyStore;

/// Puts a [`KeyVerifier`] together.
#[derive(Debug)]
#[must_use]
pub struct KeyVerifierBuilder {
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    digester: Digester,
    environment: Environment,
    bearer: bool,
    meter: Option<Arc<dyn FailureMeter>>,
    imported: bool,
    redigest: bool,
    cache: CacheSettings,
    fallback: Option<Duration>,
}

impl KeyVerifierBuilder {
    pub(super) fn new(store: Arc<dyn KeyStore>) -> Self {
        Self {
            store,
            clock: Arc::new(SystemClock),
            digester: Digester::sha256(),
            environment: Environment::Live,
            bearer: true,
            meter: None,
            imported: false,
            redigest: false,
            cache: CacheSettings {
                bound: Duration::from_secs(5),
                fallback: FALLBACK,
                absent_for: Duration::from_secs(1),
                keys: 100_000,
                absent: 10_000,
                deadline: Duration::from_secs(2),
                look_ups: 1024,
                nothing: Digester::sha256().of_nothing(),
            },
            fallback: None,
        }
    }

    /// The clock that ages entries: the one that the stack's edge reads, the system's by default.
    /// With two different clocks no entry is believed, and every request asks the store.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How secrets are compared: SHA-256 unless peppers are given here. Give the manager of the
    /// keys the same.
    pub fn digester(mut self, digester: Digester) -> Self {
        self.digester = digester;
        self
    }

    /// The environment whose keys are accepted; production by default.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Whether `Authorization: Bearer` is read beside `X-Api-Key`; it is by default.
    pub fn bearer(mut self, accepted: bool) -> Self {
        self.bearer = accepted;
        self
    }

    /// Accepts keys of another system's format too, of which the hash was imported
    /// ([`KeyManager::import`](crate::KeyManager::import)): 16 to 512 visible ASCII characters. They
    /// have no checksum, so garbage is no longer told without a look-up, and no shape by which one
    /// in a query string could be seen. Turn it off when the last of them was rotated.
    pub fn accept_imported_keys(mut self) -> Self {
        self.imported = true;
        self
    }

    /// Replaces a digest that was made under an older pepper, without one, or by another system,
    /// when its key is next used: in a task of its own, never by the request. The service then
    /// writes to the key store.
    ///
    /// Turn it on when every service knows the current pepper: one that doesn't would refuse a key
    /// whose digest was renewed.
    pub fn redigest_on_use(mut self) -> Self {
        self.redigest = true;
        self
    }

    /// Counts failed authentications, and is asked before the store is. Requests then need a
    /// source: without a peer address each is refused as `misconfigured_stack`.
    pub fn failure_meter(mut self, meter: Arc<dyn FailureMeter>) -> Self {
        self.meter = Some(meter);
        self
    }

    /// How long a key is believed without asking the store: 0 (every request asks) to 60 seconds,
    /// 5 by default. A revocation that nobody tells the cache of takes effect after this time.
    pub fn staleness_bound(mut self, bound: Duration) -> Self {
        self.cache.bound = bound;
        self
    }

    /// How long a key is believed while a change feed is followed and broken: at most the staleness
    /// bound, 5 seconds unless set. Nothing without a change feed.
    pub fn fallback_bound(mut self, bound: Duration) -> Self {
        self.fallback = Some(bound);
        self
    }

    /// How long a prefix stays unknown without asking the store, at most the staleness bound. One
    /// second by default.
    pub fn absent_for(mut self, lifetime: Duration) -> Self {
        self.cache.absent_for = lifetime;
        self
    }

    /// How many known keys are held in memory: 100 000 by default, at some 500 bytes each.
    pub fn cached_keys(mut self, keys: usize) -> Self {
        self.cache.keys = keys;
        self
    }

    /// How many unknown prefixes are held in memory, apart from the known keys: 10 000 by default,
    /// each as large as a key.
    pub fn cached_absent(mut self, prefixes: usize) -> Self {
        self.cache.absent = prefixes;
        self
    }

    /// How long the store has to answer; a store that hangs has failed, and the request is refused
    /// with 503. Two seconds by default. Runs on tokio's timer: the runtime needs `enable_time`.
    pub fn store_deadline(mut self, deadline: Duration) -> Self {
        self.cache.deadline = deadline;
        self
    }

    /// How many keys may be asked for at a time; 1024 by default. A request that would be one more
    /// is refused with 503, so that a slow store does not fill the process with waiting requests.
    pub fn look_ups(mut self, at_most: usize) -> Self {
        self.cache.look_ups = at_most;
        self
    }

    /// The finished verifier.
    ///
    /// # Errors
    /// When the staleness bound is over 60 seconds or under the fallback bound, a cache would hold
    /// nothing, the store would never be asked, or would have no time to answer.
    pub fn build(self) -> Result<KeyVerifier, ConfigError> {
        if self.cache.bound > MAX_BOUND {
            let problem = "a revoked key would be believed too long: 60 seconds at most";
            return Err(ConfigError::new("staleness bound", problem));
        }
        if self
            .fallback
            .is_some_and(|fallback| fallback > self.cache.bound)
        {
            let problem = "at most the staleness bound: it holds while less is known";
            return Err(ConfigError::new("fallback bound", problem));
        }
        if self.cache.look_ups == 0 {
            return Err(ConfigError::new("look-ups", "one at a time at least"));
        }
        if self.cache.keys == 0 || self.cache.absent == 0 {
            return Err(ConfigError::new("key cache", "it holds one key at least"));
        }
        if self.cache.deadline.is_zero() {
            return Err(ConfigError::new(
                "store deadline",
                "it is longer than nothing",
            ));
        }
        let mut cache = self.cache;
        cache.nothing = self.digester.of_nothing();
        cache.absent_for = cache.absent_for.min(cache.bound);
        cache.fallback = self.fallback.unwrap_or(FALLBACK).min(cache.bound);
        Ok(KeyVerifier(Arc::new(Settings {
            cache: KeyCache::new(self.store, self.clock, cache),
            digester: self.digester,
            environment: self.environment,
            bearer: self.bearer,
            meter: self.meter,
            left: Left::default(),
            imported: self.imported,
            renewal: self.redigest.then(Renewal::default),
        })))
    }
}

const MAX_BOUND: Duration = Duration::from_secs(60);
const FALLBACK: Duration = Duration::from_secs(5);
