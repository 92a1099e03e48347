//! The decision: who is calling.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{
    AccessContext, Attempt, Clock, ConfigError, Denial, Environment, FailureMeter, Identity,
    Reason, SystemClock,
};
use http::HeaderMap;

use crate::cache::{CacheSettings, KeyCache, Known, Outcome};
use crate::cached::CachedKey;
use crate::credentials;
use crate::digest::Digester;
use crate::key::RawKey;
use crate::store::KeyStore;

/// Verifies API keys. A clone is a handle to the same cache and meter.
#[derive(Debug, Clone)]
pub struct KeyVerifier(Arc<Settings>);

#[derive(Debug)]
struct Settings {
    cache: KeyCache,
    digester: Digester,
    environment: Environment,
    bearer: bool,
    meter: Option<Arc<dyn FailureMeter>>,
}

/// How far a request came without asking the store.
#[derive(Debug)]
pub(crate) enum Step {
    Allowed(Identity),
    Refused(Denial),
    /// The store must be asked for this key.
    Ask(RawKey),
}

impl KeyVerifier {
    /// Begins a verifier of the keys in `store`.
    pub fn builder(store: impl KeyStore) -> KeyVerifierBuilder {
        KeyVerifierBuilder {
            store: Arc::new(store),
            clock: Arc::new(SystemClock),
            digester: Digester::sha256(),
            environment: Environment::Live,
            bearer: true,
            meter: None,
            cache: CacheSettings {
                bound: Duration::from_secs(5),
                absent_for: Duration::from_secs(1),
                keys: 100_000,
                absent: 10_000,
                deadline: Duration::from_secs(2),
            },
        }
    }

    /// The cache, to evict from it.
    #[must_use]
    pub fn cache(&self) -> &KeyCache {
        &self.0.cache
    }

    /// Everything that can be decided without asking the store.
    pub(crate) fn check(
        &self,
        context: &AccessContext,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Step {
        if self.0.meter.is_some() && context.source().is_none() {
            return Step::Refused(context.misconfigured("key-verify", NO_PEER));
        }
        let presented = credentials::find(headers, query, self.0.bearer);
        let key =
            presented.and_then(|text| RawKey::parse(text).map_err(|_| Reason::MalformedApiKey));
        let key = match key {
            Ok(key) => key,
            Err(reason) => return Step::Refused(self.failed(context, None, reason)),
        };
        let now = context.received().monotonic;
        let judge = |cached: &CachedKey| self.judge(context, &key, cached);
        match self.0.cache.peek(key.prefix(), now, judge) {
            Known::Key(Ok(identity)) => Step::Allowed(identity),
            Known::Key(Err(reason)) => Step::Refused(self.failed(context, Some(&key), reason)),
            Known::Absent => Step::Refused(self.unknown(context, &key)),
            Known::Nothing => match self.admit(context, &key) {
                Ok(()) => Step::Ask(key),
                Err(denial) => Step::Refused(denial),
            },
        }
    }

    /// Asks the store and decides.
    pub(crate) async fn ask(self, context: AccessContext, key: RawKey) -> Result<Identity, Denial> {
        match self.0.cache.look_up(*key.prefix()).await {
            Outcome::Found(found) => self
                .judge(&context, &key, &found)
                .map_err(|reason| self.failed(&context, Some(&key), reason)),
            Outcome::Absent => Err(self.unknown(&context, &key)),
            Outcome::Unavailable => {
                context.present_key(*key.prefix(), None);
                Err(Reason::KeyStoreUnavailable.into())
            }
        }
    }

    /// Whether `key` is the key that was found, and may be used now.
    fn judge(
        &self,
        context: &AccessContext,
        key: &RawKey,
        found: &CachedKey,
    ) -> Result<Identity, Reason> {
        if !self.0.digester.matches(key.secret(), &found.digest) {
            context.present_key(*key.prefix(), None);
            return Err(Reason::InvalidApiKey);
        }
        let standing = if found.identity.environment() == self.0.environment {
            found.standing(context.received().wall, address(context))
        } else {
            Err(Reason::EnvironmentMismatch)
        };
        if standing.is_err() {
            let owner = found.identity.key_id();
            let owner = owner.map(|id| (id, *found.identity.company()));
            context.present_key(*key.prefix(), owner);
        }
        standing.map(|()| found.identity.clone())
    }

    /// A key that nobody knows: the same work and the same answer as for a wrong secret.
    fn unknown(&self, context: &AccessContext, key: &RawKey) -> Denial {
        self.0.digester.waste(key.secret());
        context.present_key(*key.prefix(), None);
        self.failed(context, Some(key), Reason::UnknownApiKey)
    }

    /// Asks the meter before the store is asked.
    fn admit(&self, context: &AccessContext, key: &RawKey) -> Result<(), Denial> {
        self.metered(context, Some(key), FailureMeter::admit)
            .inspect_err(|_| context.present_key(*key.prefix(), None))
    }

    /// Reports a failure to the meter; a caller who has spent its failures is told to wait instead.
    fn failed(&self, context: &AccessContext, key: Option<&RawKey>, reason: Reason) -> Denial {
        match self.metered(context, key, FailureMeter::record_failure) {
            Ok(()) => reason.into(),
            Err(throttled) => throttled,
        }
    }

    fn metered(
        &self,
        context: &AccessContext,
        key: Option<&RawKey>,
        ask: impl FnOnce(&dyn FailureMeter, &Attempt<'_>) -> Result<(), countersign_core::Throttled>,
    ) -> Result<(), Denial> {
        let (Some(meter), Some(source)) = (&self.0.meter, context.source()) else {
            return Ok(());
        };
        let attempt = Attempt {
            source: source.bucket(),
            prefix: key.map(RawKey::prefix),
            at: context.received().monotonic,
        };
        ask(&**meter, &attempt).map_err(|throttled| {
            Denial::new(Reason::SourceThrottled).with_retry_after(throttled.retry_after)
        })
    }
}

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
    cache: CacheSettings,
}

impl KeyVerifierBuilder {
    /// The clock that ages entries; the same that the stack's edge reads.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How secrets are compared: SHA-256 unless peppers are given here.
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

    /// Counts failed authentications, and is asked before the store is.
    pub fn failure_meter(mut self, meter: Arc<dyn FailureMeter>) -> Self {
        self.meter = Some(meter);
        self
    }

    /// How long a key is believed without asking the store: 0 (every request asks) to 60 seconds.
    pub fn staleness_bound(mut self, bound: Duration) -> Self {
        self.cache.bound = bound;
        self
    }

    /// How long a prefix stays unknown without asking the store, at most the staleness bound. One
    /// second by default.
    pub fn absent_for(mut self, lifetime: Duration) -> Self {
        self.cache.absent_for = lifetime;
        self
    }

    /// How many known keys are held in memory.
    pub fn cached_keys(mut self, keys: usize) -> Self {
        self.cache.keys = keys;
        self
    }

    /// How many unknown prefixes are held in memory.
    pub fn cached_absent(mut self, prefixes: usize) -> Self {
        self.cache.absent = prefixes;
        self
    }

    /// How long the store has to answer; a store that hangs has failed. Two seconds by default.
    pub fn store_deadline(mut self, deadline: Duration) -> Self {
        self.cache.deadline = deadline;
        self
    }

    /// The finished verifier.
    ///
    /// # Errors
    /// When the staleness bound is over 60 seconds, or a cache would hold nothing.
    pub fn build(self) -> Result<KeyVerifier, ConfigError> {
        if self.cache.bound > MAX_BOUND {
            let problem = "a revoked key would be believed too long: 60 seconds at most";
            return Err(ConfigError::new("staleness bound", problem));
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
        cache.absent_for = cache.absent_for.min(cache.bound);
        Ok(KeyVerifier(Arc::new(Settings {
            cache: KeyCache::new(self.store, self.clock, cache),
            digester: self.digester,
            environment: self.environment,
            bearer: self.bearer,
            meter: self.meter,
        })))
    }
}

fn address(context: &AccessContext) -> Option<IpAddr> {
    context.source().map(|source| source.address())
}

const MAX_BOUND: Duration = Duration::from_secs(60);
const NO_PEER: &str = "the peer's address: serve with \
    into_make_service_with_connect_info::<SocketAddr>(), or insert PeerAddr";
