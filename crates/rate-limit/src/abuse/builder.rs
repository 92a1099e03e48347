//! Puts a monitor together.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, RwLock};

use countersign_core::source::{SourceBucket, canonical_network};
use countersign_core::{AbuseObserver, ConfigError};
use ipnet::IpNet;

use super::counters::Counters;
use super::monitor::{AbuseMonitor, Inner};
use super::penalties::{AbusePenalties, Sentences};
use super::retries::Retries;
use super::rules::AbuseRules;
use super::ways::Ways;
use crate::SourceThrottle;

/// Puts an [`AbuseMonitor`] together; everything has a default.
#[derive(Debug, Default)]
#[must_use]
pub struct AbuseMonitorBuilder {
    rules: AbuseRules,
    penalties: AbusePenalties,
    allowed: Vec<IpNet>,
    throttle: SourceThrottle,
    keys: Option<usize>,
    subjects: Option<usize>,
    observers: Vec<Arc<dyn AbuseObserver>>,
}

impl AbuseMonitorBuilder {
    /// What is noticed and what is done about it, in place of the default rules.
    pub fn rules(mut self, rules: AbuseRules) -> Self {
        self.rules = rules;
        self
    }

    /// How long penalties last.
    pub const fn penalties(mut self, penalties: AbusePenalties) -> Self {
        self.penalties = penalties;
        self
    }

    /// Never gives a signal about a source in `network`, nor refuses one, and never finds it new
    /// for a key: an office, a partner's gateway, a probe of one's own. Keys that are used from
    /// there are watched like all others. Sources are told apart by /64, so an IPv6 network is a
    /// /64 or larger, and one of IPv4-mapped addresses is the IPv4 network that it stands for.
    ///
    /// Never a network of trusted proxies: a caller whose address a proxy wrote in a form that can't
    /// be read counts as the proxy.
    pub fn allow_network(mut self, network: IpNet) -> Self {
        self.allowed.push(canonical_network(network));
        self
    }

    /// Another throttle of failed authentications below the penalties than 100 a minute.
    pub fn throttle(mut self, throttle: SourceThrottle) -> Self {
        self.throttle = throttle;
        self
    }

    /// How many keys' usual use is remembered: 32 768 unless set otherwise, at about 200 bytes
    /// each for all that is remembered of a key. Beyond it the key that was used longest ago is
    /// forgotten.
    pub const fn keys(mut self, keys: usize) -> Self {
        self.keys = Some(keys);
        self
    }

    /// How many sources, and how many prefixes, are counted: 32 768 of each unless set otherwise,
    /// at about 60 bytes each. Beyond it the one that was counted least is forgotten.
    pub const fn subjects(mut self, subjects: usize) -> Self {
        self.subjects = Some(subjects);
        self
    }

    /// Tells `observer` of every signal, after those that were given before.
    pub fn observer(mut self, observer: impl AbuseObserver) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// The finished monitor. All its memory is taken here.
    ///
    /// # Errors
    /// When a rule or the penalties make no sense, an IPv6 network is smaller than a /64, or
    /// nothing could be remembered.
    pub fn build(self) -> Result<AbuseMonitor, ConfigError> {
        self.rules.check()?;
        self.penalties.check()?;
        for network in &self.allowed {
            if matches!(network, IpNet::V6(v6) if v6.prefix_len() > 64) {
                let problem = "sources are told apart by /64: name a /64 or a larger network";
                return Err(ConfigError::new(network.to_string(), problem));
            }
        }
        let keys = self.keys.unwrap_or(CAPACITY);
        let subjects = self.subjects.unwrap_or(CAPACITY);
        if keys == 0 || subjects == 0 {
            let problem = "at least one key and one source must have a place";
            return Err(ConfigError::new("abuse monitor", problem));
        }
        Ok(AbuseMonitor::new(Inner {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            watches_use: self.rules.watches_use(),
            rules: self.rules,
            allowed: Allowed(self.allowed),
            throttle: self.throttle,
            counters: Counters::new(keys, subjects),
            sentences: Sentences::new(self.penalties, keys.div_ceil(4), subjects.div_ceil(4)),
            retries: Retries::new(keys.div_ceil(4), subjects.div_ceil(4)),
            profiles: Ways::new(keys),
            observers: RwLock::new(self.observers),
        }))
    }
}

/// The networks that are never accused.
#[derive(Debug)]
pub(super) struct Allowed(Vec<IpNet>);

impl Allowed {
    pub(super) fn contains(&self, source: SourceBucket) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let address: IpAddr = match source {
            SourceBucket::V4(address) => address.into(),
            SourceBucket::V6(upper) => Ipv6Addr::from_bits(u128::from(upper) << 64).into(),
        };
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Monitors of one process are told apart on the threads that serve requests; 0 is none.
static NUMBER: AtomicU32 = AtomicU32::new(1);

const CAPACITY: usize = 32_768;
