//! One request's draws on the counters of the local store.

use std::hash::{Hash, Hasher};

use arrayvec::ArrayVec;
use countersign_core::{Endpoint, StoreError};

use crate::cells::{Fingerprint, Fingerprinter, Name, Namer, Shard, Slot};
use crate::gcra::{Verdict, decide};
use crate::request::{MAX_LIMITS, Subject};
use crate::{Dimension, Limit, LimitDecision, LimitOutcome, LimitRequest};

/// Behind which lock a counter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    Company,
    Source,
    Platform,
}

/// The draws of one request, in the order of its limits.
#[derive(Debug)]
pub(crate) struct Draws<'a> {
    company: Fingerprint,
    source: Fingerprint,
    is_verified: bool,
    /// Whether one of the draws that were weighed is refused.
    refused: bool,
    list: ArrayVec<Draw<'a>, MAX_LIMITS>,
}

#[derive(Debug)]
struct Draw<'a> {
    home: Home,
    limit: Limit<'a>,
    name: Name,
    slot: Option<Slot>,
    tat: u64,
    /// `None` until it was weighed.
    verdict: Option<Verdict>,
}

impl<'a> Draws<'a> {
    #[inline]
    pub(crate) fn new() -> Self {
        Self {
            company: Fingerprint { low: 0, high: 0 },
            source: Fingerprint { low: 0, high: 0 },
            is_verified: false,
            refused: false,
            list: ArrayVec::new(),
        }
    }

    /// Fills the list in place: it is too large to be moved about for each request.
    #[inline]
    pub(crate) fn fill(&mut self, hasher: Fingerprinter, request: &LimitRequest<'a>) {
        let (subject, counts) = (request.subject(), request.counts());
        let (mut company, mut source, mut key) = (hasher, hasher, hasher.low());
        if let Some(id) = subject.company() {
            company.write(id.as_str().as_bytes());
            self.company = company.fingerprint();
            self.is_verified = true;
        }
        if let Some(id) = subject.key() {
            key.write_u128(id.as_u128());
        }
        if counts.source {
            subject.source.hash(&mut source);
            self.source = source.fingerprint();
        }
        let names = Names {
            subject,
            platform: hasher.low(),
            company: company.low(),
            key,
            source: source.low(),
        };
        for limit in request.limits() {
            self.list.push(Draw::new(limit, names.name(&limit)));
        }
    }

    /// What the company's counters are spread by.
    pub(crate) const fn company(&self) -> Fingerprint {
        self.company
    }

    /// What the counters of sources are spread by.
    pub(crate) const fn source(&self) -> Fingerprint {
        self.source
    }

    /// Whether the caller is known.
    pub(crate) const fn is_verified(&self) -> bool {
        self.is_verified
    }

    #[inline]
    pub(crate) fn weigh(&mut self, shard: &Shard, home: Home, now: u64) {
        for draw in self.list.iter_mut().filter(|draw| draw.home == home) {
            draw.slot = shard.find(draw.name);
            draw.tat = shard.tat(draw.slot);
            let verdict = decide(draw.tat, now, draw.limit.quota, draw.limit.cost);
            self.refused |= !verdict.allowed;
            draw.verdict = Some(verdict);
        }
    }

    /// Weighs the draws of a source that has no counter, and gets none, on counters that all such
    /// sources share: one for each policy.
    #[cold]
    pub(crate) fn share(&mut self, hasher: Fingerprinter, shard: &Shard, now: u64) {
        let newcomers = self
            .list
            .iter_mut()
            .filter(|draw| draw.home == Home::Source);
        for draw in newcomers.filter(|draw| draw.is_new()) {
            let interval = draw.limit.quota.interval_nanos();
            draw.name = hasher.low().and(draw.limit.policy.tag).and(interval).name();
        }
        self.weigh(shard, Home::Source, now);
    }

    /// Whether no draw was refused so far.
    #[inline]
    pub(crate) const fn are_allowed(&self) -> bool {
        !self.refused
    }

    /// How many counters must be added at `home`. A cost of 0 adds none.
    #[inline]
    pub(crate) fn newcomers(&self, home: Home) -> usize {
        let new = |draw: &&Draw<'_>| draw.home == home && draw.is_new();
        self.list.iter().filter(new).count()
    }

    /// Makes the draws at `home`, where `newcomers` need a counter of their own.
    #[inline]
    pub(crate) fn commit(&self, shard: &mut Shard, home: Home, newcomers: usize) {
        let here = || {
            let mine = self.list.iter().filter(|draw| draw.home == home);
            mine.filter_map(|draw| Some((draw, draw.verdict?.new_tat)))
        };
        for (draw, tat) in here() {
            if let Some(slot) = draw.slot {
                shard.set(slot, tat);
            }
        }
        if newcomers > 0 {
            // An insertion moves what stands in the shard, so it comes last.
            for (draw, tat) in here().filter(|(draw, _)| draw.is_new()) {
                shard.insert(draw.name, tat);
            }
        }
    }

    #[inline]
    pub(crate) fn decision(&self, now: u64) -> Result<LimitDecision, StoreError> {
        let taken = self.are_allowed();
        LimitDecision::new(self.list.iter().map(|draw| draw.outcome(taken, now)))
    }
}

impl<'a> Draw<'a> {
    #[inline]
    const fn new(limit: Limit<'a>, name: Name) -> Self {
        Self {
            home: match limit.dimension() {
                Dimension::Platform => Home::Platform,
                Dimension::Source => Home::Source,
                _ => Home::Company,
            },
            limit,
            name,
            slot: None,
            tat: 0,
            verdict: None,
        }
    }

    #[inline]
    fn is_new(&self) -> bool {
        self.slot.is_none() && self.limit.cost > 0
    }

    #[inline]
    fn outcome(&self, taken: bool, now: u64) -> LimitOutcome {
        match self.verdict {
            Some(verdict) if taken || !verdict.allowed => verdict.into(),
            // Another limit refused, so nothing was taken here: the numbers are those before.
            _ => decide(self.tat, now, self.limit.quota, 0).into(),
        }
    }
}

/// What the counters' names begin with, hashed once for all of them.
struct Names<'a> {
    subject: &'a Subject<'a>,
    platform: Namer,
    company: Namer,
    key: Namer,
    source: Namer,
}

impl Names<'_> {
    #[inline]
    fn name(&self, limit: &Limit<'_>) -> Name {
        let base = self.base(limit.dimension());
        let interval = limit.quota.interval_nanos();
        base.and(limit.policy.tag).and(interval).name()
    }

    #[inline]
    fn base(&self, dimension: Dimension) -> Namer {
        let mut key = self.key;
        match dimension {
            Dimension::Key => {}
            Dimension::Company => return self.company,
            Dimension::Source => return self.source,
            Dimension::Platform => return self.platform,
            Dimension::Endpoint => {
                if let Some(endpoint) = self.subject.endpoint {
                    key.write(endpoint.method().as_str().as_bytes());
                    key.write(endpoint.template().as_bytes());
                }
            }
            Dimension::Scope => self.subject.scope().hash(&mut key),
            Dimension::Operation => {
                let operation = self.subject.endpoint.map(Endpoint::operation);
                operation.hash(&mut key);
            }
        }
        key
    }
}
