//! The decision: who is calling.

mod asked;
mod builder;
mod standing;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::source::Source;
use countersign_core::{
    AccessContext, Attempt, CallerStanding, ConfigError, Denial, Environment, FailureMeter,
    KeyPrefix, ParseError, Reason, Throttled,
};
use http::HeaderMap;

use self::asked::Left;
pub use self::builder::KeyVerifierBuilder;
use crate::cache::KeyCache;
use crate::cached::CachedKey;
use crate::credentials;
use crate::digest::Digester;
use crate::key::RawKey;
use crate::renewal::Renewal;
use crate::store::KeyStore;
use crate::uses::UseWriter;

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
    left: Left,
    imported: bool,
    renewal: Option<Renewal>,
}

/// How far a request came without asking the store.
#[derive(Debug)]
pub(crate) enum Step {
    /// The caller's identity stands in the request's record.
    Allowed,
    Refused(Denial),
    /// The store must be asked for this key.
    Ask(RawKey),
}

impl KeyVerifier {
    /// Begins a verifier of the keys in `store`.
    pub fn builder(store: impl KeyStore) -> KeyVerifierBuilder {
        KeyVerifierBuilder::new(Arc::new(store))
    }

    /// The cache, to evict from it.
    #[must_use]
    pub fn cache(&self) -> &KeyCache {
        &self.0.cache
    }

    /// Keeps in the store when and for what keys are used: every `interval` one batch, off the
    /// request path, until the returned writer is shut down. [`UseWriter::INTERVAL`] is a good one.
    ///
    /// # Errors
    /// When the store keeps no uses, the interval is zero, or they are tracked already.
    ///
    /// # Panics
    /// When called outside a tokio runtime with its timer on.
    pub fn track_uses(&self, interval: Duration) -> Result<UseWriter, ConfigError> {
        self.0.cache.track_uses(interval)
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
        let refuse = |reason| Step::Refused(self.failed(context, None, reason));
        let text = match presented {
            Ok(text) => text,
            Err(reason) => {
                if let Some(prefix) = shown(query, reason) {
                    context.present_key(prefix, None);
                }
                return refuse(reason);
            }
        };
        let read = self.read(text);
        // Looked at where it stands: a key is too large to be handed from place to place.
        let Ok(key) = &read else {
            return refuse(Reason::MalformedApiKey);
        };
        let now = context.received().monotonic;
        let decide = |found: &CachedKey| self.decide(context, key, found);
        match self.0.cache.peek(key.prefix(), now, decide) {
            Some(Ok(())) => return Step::Allowed,
            Some(Err(denial)) => return Step::Refused(denial),
            None => {}
        }
        match (self.admit(context, key), read) {
            (Ok(()), Ok(key)) => Step::Ask(key),
            (Err(denial), _) => Step::Refused(denial),
            (_, Err(_)) => refuse(Reason::MalformedApiKey),
        }
    }

    /// Puts the caller into the record if `key` is the key that was found and may be used now.
    fn decide(
        &self,
        context: &AccessContext,
        key: &RawKey,
        found: &CachedKey,
    ) -> Result<(), Denial> {
        self.judge(context, key, found)
            .map_err(|reason| self.failed(context, Some(key), reason))?;
        context
            .identify_as(&found.identity)
            .map_err(|_| context.misconfigured("key-verify", NOT_IDENTIFIED))?;
        if context.may_take_long() {
            context.stand_on(Arc::clone(&self.0) as Arc<dyn CallerStanding>);
        }
        if let Some(cell) = &found.uses {
            let now = context.received().wall;
            cell.note(now, found.identity.scopes(), context.endpoint());
        }
        if let Some(renewal) = &self.0.renewal {
            renewal.offer(&self.0.digester, &self.0.cache, key, found);
        }
        Ok(())
    }

    fn read(&self, text: &[u8]) -> Result<RawKey, ParseError> {
        let read = RawKey::parse(text);
        if read.is_err() && self.0.imported {
            return RawKey::imported(text, self.0.environment);
        }
        read
    }

    fn judge(
        &self,
        context: &AccessContext,
        key: &RawKey,
        found: &CachedKey,
    ) -> Result<(), Reason> {
        // The same work whether the store knows the key or not.
        if !self.0.digester.matches(key, &found.digest) || !found.known {
            context.present_key(*key.prefix(), None);
            return Err(if found.known {
                Reason::InvalidApiKey
            } else {
                Reason::UnknownApiKey
            });
        }
        let standing = if found.identity.environment() == self.0.environment {
            found.standing(context.received().wall, address(context))
        } else {
            Err(Reason::EnvironmentMismatch)
        };
        standing.inspect_err(|_| {
            let owner = found.identity.key_id();
            let owner = owner.map(|id| (id, *found.identity.company()));
            context.present_key(*key.prefix(), owner);
        })
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
        ask: impl FnOnce(&dyn FailureMeter, &Attempt<'_>) -> Result<(), Throttled>,
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
            Denial::new(throttled.reason()).with_retry_after(throttled.retry_after)
        })
    }
}

/// The prefix of the key that a refused query shows to everybody on its way, so that whoever reads the
/// log knows which one to revoke.
fn shown(query: Option<&str>, reason: Reason) -> Option<KeyPrefix> {
    query
        .filter(|_| reason == Reason::KeyInQuery)
        .and_then(credentials::key_in)
}

/// Where the request came from; nowhere, if a trusted proxy said so in a way that can't be read.
fn address(context: &AccessContext) -> Option<IpAddr> {
    let source = context.source().filter(Source::is_resolved)?;
    Some(source.address())
}

const NO_PEER: &str = "the peer's address: serve with \
    into_make_service_with_connect_info::<SocketAddr>(), or insert PeerAddr";
const NOT_IDENTIFIED: &str = "a request that nobody identified yet";
