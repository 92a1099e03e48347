//! What is kept in memory of a key: as much as a request needs, side by side.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_core::source::canonical_network;
use countersign_core::{Identity, KeyId, Monotonic, Reason, ScopeSet, Timestamp};
use ipnet::IpNet;

use crate::digest::SecretDigest;
use crate::record::{CompanyStatus, KeyRecord, KeyStatus, RevocationReason};
use crate::store::FoundKey;
use crate::uses::UseCell;

/// A key as it was found in the store, or what stands in the place of one that was not.
#[derive(Debug, Clone)]
pub(crate) struct CachedKey {
    /// Whether the store knows it. One that it doesn't know is opened by no secret.
    pub(crate) known: bool,
    pub(crate) digest: SecretDigest,
    pub(crate) identity: Identity,
    pub(crate) fetched: Monotonic,
    /// Where uses are noted, if they are.
    pub(crate) uses: Option<Arc<UseCell>>,
    expires_at: Timestamp,
    status: KeyStatus,
    company: CompanyStatus,
    networks: Box<[IpNet]>,
    pub(crate) version: u64,
}

impl CachedKey {
    /// `fetched` is the time *before* the store was asked, so that an age is never understated.
    pub(crate) fn new(found: FoundKey, fetched: Monotonic) -> Self {
        let record = found.record;
        let identity = Identity::new(record.company, record.environment(), record.scopes)
            .with_key(record.id, record.prefix)
            .with_key_origin(record.origin.unwrap_or(record.id))
            .with_limits(record.limits.into_iter().collect())
            .with_subsidiaries(record.subsidiaries.into_iter().collect());
        Self {
            known: true,
            digest: record.digest,
            identity,
            fetched,
            uses: None,
            expires_at: record.expires_at,
            status: record.status,
            company: found.company,
            networks: record.networks.into_iter().map(canonical_network).collect(),
            version: record.version,
        }
    }

    /// What stands in the place of a key that the store doesn't know, so that it is kept, found and
    /// compared as one that it does, and the time of a refusal doesn't tell them apart.
    pub(crate) fn unknown(stand_in: &FoundKey, fetched: Monotonic) -> Self {
        Self {
            known: false,
            ..Self::new(stand_in.clone(), fetched)
        }
    }

    pub(crate) fn noting_uses(mut self, cell: Option<Arc<UseCell>>) -> Self {
        self.uses = cell;
        self
    }

    /// Whether the key may be used now and from there, its secret aside.
    pub(crate) fn standing(&self, now: Timestamp, source: Option<IpAddr>) -> Result<(), Reason> {
        self.status.standing(self.expires_at, now)?;
        if self.company == CompanyStatus::Suspended {
            return Err(Reason::CompanyInactive);
        }
        let mut networks = self.networks.iter();
        let inside = |address| networks.any(|net| net.contains(&address));
        // A key that is bound to networks is not used from a place that nobody knows.
        if self.networks.is_empty() || source.is_some_and(inside) {
            Ok(())
        } else {
            Err(Reason::SourceNotAllowed)
        }
    }
}

/// Nobody's key, at its end in every respect.
pub(crate) fn stand_in(digest: SecretDigest) -> FoundKey {
    let record = KeyRecord {
        id: KeyId::from_u128(0),
        prefix: "none_live_000000000000".parse().expect("a prefix"),
        company: "none".parse().expect("a company's id"),
        digest,
        scopes: ScopeSet::new(),
        status: KeyStatus::Revoked {
            at: Timestamp::default(),
            reason: RevocationReason::OperationalMistake,
        },
        label: String::new(),
        created_at: Timestamp::default(),
        expires_at: Timestamp::default(),
        networks: Vec::new(),
        limits: Vec::new(),
        subsidiaries: Vec::new(),
        predecessor: None,
        origin: None,
        version: 0,
    };
    FoundKey {
        record,
        company: CompanyStatus::Suspended,
    }
}

/// A key's place in the cache.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) key: CachedKey,
    refreshed: AtomicBool,
}

impl Slot {
    pub(crate) const fn new(key: CachedKey) -> Self {
        Self {
            key,
            refreshed: AtomicBool::new(false),
        }
    }

    /// True for the first who asks: who then asks the store again.
    pub(crate) fn claim_refresh(&self) -> bool {
        !self.refreshed.load(Ordering::Relaxed) && !self.refreshed.swap(true, Ordering::Relaxed)
    }
}
