//! A monitor, its clock, who hears it, and requests to tell it of.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_core::{
    AbuseKind, AbuseObserver, AbuseSignal, AccessContext, Attempt, Clock, Denial, Edge,
    Environment, FailureMeter, Identity, KeyId, KeyPrefix, ManualClock, PeerAddr, Reason,
    RequestObserver, ScopeSet, source::SourceBucket,
};
use http::Request;

use super::*;

#[derive(Debug, Clone, Default)]
pub(super) struct Heard(pub(super) Arc<Mutex<Vec<AbuseSignal>>>);

impl AbuseObserver for Heard {
    fn signal(&self, signal: &AbuseSignal) {
        self.0.lock().unwrap().push(signal.clone());
    }
}

impl Heard {
    pub(super) fn kinds(&self) -> Vec<AbuseKind> {
        self.0.lock().unwrap().drain(..).map(|s| s.kind).collect()
    }

    pub(super) fn only(&self) -> AbuseSignal {
        let mut heard = self.0.lock().unwrap();
        assert_eq!(heard.len(), 1, "{heard:?}");
        heard.remove(0)
    }
}

pub(super) struct World {
    pub(super) monitor: AbuseMonitor,
    pub(super) clock: ManualClock,
    pub(super) edge: Edge,
    pub(super) heard: Heard,
}

impl World {
    pub(super) fn new(change: impl FnOnce(AbuseMonitorBuilder) -> AbuseMonitorBuilder) -> Self {
        let (clock, heard) = (ManualClock::default(), Heard::default());
        let builder = AbuseMonitor::builder().observer(heard.clone());
        let monitor = change(builder).build().unwrap();
        let edge = Edge::builder().clock(clock.clone()).build();
        Self {
            monitor,
            clock,
            edge,
            heard,
        }
    }

    pub(super) fn with_rule(kind: AbuseKind, rule: AbuseRule) -> Self {
        Self::new(|builder| builder.rules(AbuseRules::none().with(kind, rule)))
    }

    pub(super) fn context(&self, from: &str, key: Option<u128>) -> AccessContext {
        let mut request = Request::new(());
        let peer = format!("{from}:4711").parse().unwrap();
        request.extensions_mut().insert(PeerAddr(peer));
        let entered = self.edge.enter(&mut request);
        let context = entered.context(&request).clone();
        if let Some(key) = key {
            let company = "company_12".parse().unwrap();
            let identity = Identity::new(company, Environment::Live, ScopeSet::new())
                .with_key(KeyId::from_u128(key), prefix(key));
            // Keys that differ by it are one chain of rotations.
            let identity = identity.with_key_origin(KeyId::from_u128(key % CHAINS));
            context.identify(identity).unwrap();
        }
        context
    }

    /// A request that ends in this refusal, or well.
    pub(super) fn ask(&self, from: &str, key: Option<u128>, denial: Option<Denial>) {
        let context = self.context(from, key);
        if let Some(denial) = denial {
            context.deny(denial);
        }
        self.monitor.finished(&context);
    }

    pub(super) fn refuse(&self, from: &str, key: Option<u128>, reason: Reason) {
        self.ask(from, key, Some(reason.into()));
    }

    pub(super) fn use_key(&self, from: &str, key: u128) {
        self.ask(from, Some(key), None);
    }

    pub(super) fn attempt<R>(
        &self,
        from: &str,
        key: u128,
        ask: impl FnOnce(&Attempt<'_>) -> R,
    ) -> R {
        ask(&Attempt {
            source: bucket(from),
            prefix: Some(&prefix(key)),
            at: self.clock.now().monotonic,
        })
    }

    pub(super) fn admit(&self, from: &str, key: u128) -> Result<(), Reason> {
        let admitted = self.attempt(from, key, |attempt| self.monitor.admit(attempt));
        admitted.map_err(|throttled| throttled.reason())
    }

    pub(super) fn is_kept_away(&self, key: u128) -> bool {
        let refused = self.monitor.check_key(&self.context(OFFICE, Some(key)));
        refused.is_err_and(|denial| denial.reason() == Reason::AbuseDenied)
    }
}

pub(super) fn prefix(key: u128) -> KeyPrefix {
    format!("acme_live_{key:012}").parse().unwrap()
}

pub(super) fn bucket(address: &str) -> SourceBucket {
    SourceBucket::of(address.parse().unwrap())
}

pub(super) const OFFICE: &str = "192.0.2.1";
pub(super) const ELSEWHERE: &str = "203.0.113.9";
pub(super) const CHAINS: u128 = 1_000_000_000;
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
