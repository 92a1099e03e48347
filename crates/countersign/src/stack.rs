//! The whole stack as one layer.

use std::sync::Arc;

use countersign_audit_sink::{Audit, AuditLayer, AuditSink, IntentLayer};
use countersign_company_scope::CompanyScopeLayer;
use countersign_core::{ConfigError, Edge, StoreError, Then};
use countersign_key_verify::{
    ChangeFollower, KeyCache, KeyManager, KeyStore, KeyVerifier, KeyVerifyLayer, UseWriter,
};
use countersign_rate_limit::{AbuseLayer, AbuseMonitor, MessageLimitLayer, RateLimitLayer};
use countersign_scope_guard::{ContractLayer, ScopeGuardLayer};
use tower_layer::Layer;

use crate::abuse::{self, AbuseSuspender};
use crate::builder::Builder;
use crate::outbox::OutboxDrain;

/// All layers of countersign in their order, as one [`Layer`]: audit, contract, key-verify with
/// the source throttle, abuse, company-scope, scope-guard, rate-limit, and the intent of sensitive calls.
///
/// Clones share everything: the cache, the limits and the audit log.
#[derive(Debug, Clone)]
#[must_use]
pub struct Countersign {
    /// The audit, and all decisions as its guard: one service, and one handle of the record.
    pub(crate) layers: AuditLayer<Guards>,
    pub(crate) edge: Edge,
    pub(crate) verifier: KeyVerifier,
    pub(crate) sink: AuditSink,
}

impl Countersign {
    /// Begins a stack.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The cache of verified keys: give it to a `KeyManager`, so that its changes take effect in
    /// this process at once.
    #[must_use]
    pub fn key_cache(&self) -> KeyCache {
        self.verifier.cache().clone()
    }

    /// The monitor of abuse, where there is one: to lift a penalty, to add an observer, to tell it
    /// what an earlier process knew.
    #[must_use]
    pub const fn abuse(&self) -> Option<&AbuseMonitor> {
        let Then(_, Then(_, Then(abuse, _))) = self.layers.guard();
        abuse.monitor()
    }

    /// Suspends the keys of which a rule against abuse says so
    /// ([`AbuseReaction::Suspend`](countersign_core::AbuseReaction::Suspend)), until the returned
    /// handle is shut down; a key that was rotated and goes on for its overlap is revoked instead, see
    /// [`AbuseSuspender`]. Without it such a key is kept away for a while like any other.
    ///
    /// Let `manager` evict from [`Countersign::key_cache`], and drain the outbox
    /// ([`Countersign::drain_outbox`]), so that the audit log tells of each.
    ///
    /// # Errors
    /// When there is no monitor of abuse.
    ///
    /// # Panics
    /// When called outside a tokio runtime with its timer on.
    pub fn suspend_abusers(&self, manager: KeyManager) -> Result<AbuseSuspender, ConfigError> {
        match self.abuse() {
            Some(monitor) => Ok(AbuseSuspender::spawn(monitor, manager)),
            None => Err(abuse::no_monitor()),
        }
    }

    /// Tells the monitor of abuse when each key in `store` was used last, so that a key that wakes up
    /// after long is noticed although the process was started in between. How many keys were ever used.
    /// Call it once before serving; it reads all keys, a hundred at a time. A store that keeps no uses
    /// ([`Countersign::track_uses`] writes them) knows of none.
    ///
    /// # Errors
    /// When the store can't be asked: the keys that were read so far are remembered. Nothing is
    /// remembered, and 0 returned, where there is no monitor.
    pub async fn remember_uses(&self, store: &dyn KeyStore) -> Result<u64, StoreError> {
        match self.abuse() {
            Some(monitor) => abuse::remember_uses(monitor, store, self.edge.now()).await,
            None => Ok(0),
        }
    }

    /// Follows the key store's change feed: what another process changes, a revocation for example,
    /// takes effect here at once, until the returned handle is shut down. See
    /// [`KeyCache::follow_changes`].
    ///
    /// # Errors
    /// When the key store has no change feed, or it is followed already.
    ///
    /// # Panics
    /// When called outside a tokio runtime.
    pub fn follow_changes(&self) -> Result<ChangeFollower, ConfigError> {
        self.verifier.cache().follow_changes()
    }

    /// Keeps in the key store when and for what each key is used, off the request path, until the
    /// returned writer is shut down: every [`UseWriter::INTERVAL`] one write for each key that was
    /// used. Reviews of keys ask for it.
    ///
    /// # Errors
    /// When the key store keeps no uses, or they are tracked already.
    ///
    /// # Panics
    /// When called outside a tokio runtime with its timer on.
    pub fn track_uses(&self) -> Result<UseWriter, ConfigError> {
        self.verifier.track_uses(UseWriter::INTERVAL)
    }

    /// Brings the events of key and company changes from the store into the audit log, the end of
    /// keys among them, until the returned handle is shut down. See [`OutboxDrain`].
    ///
    /// # Panics
    /// When called outside a tokio runtime.
    pub fn drain_outbox(&self, store: Arc<dyn KeyStore>) -> OutboxDrain {
        OutboxDrain::spawn(store, self.sink.clone(), Arc::clone(self.edge.clock()))
    }
}

impl<S> Layer<S> for Countersign {
    type Service = CountersignService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.layers.layer(inner)
    }
}

/// A service behind the whole stack.
pub type CountersignService<S> = Audit<S, Guards>;

/// The decisions in their order, as one guard: between them a request is not moved, and a clone of
/// the service counts one reference for all of them.
pub(crate) type Guards = Then<ContractLayer, Then<KeyVerifyLayer, Then<AbuseLayer, Behind>>>;

type Behind = Then<CompanyScopeLayer, Then<ScopeGuardLayer, Then<RateLimitLayer, Messages>>>;

type Messages = Then<Option<MessageLimitLayer>, IntentLayer>;
