//! One request's draws on the counters of the local store.

use std::hash::{Hash, Hasher};

use arrayvec::ArrayVec;
use countersign_core::Endpoint;

use crate::cells::{Fingerprint, Fingerprinter, Name, Namer, Shard, Slot};
use crate::dimension::Home;
use crate::gcra::{Verdict, draw};
use crate::request::{MAX_LIMITS, Subject};
use crate::{Dimension, Limit, LimitDecision, LimitOutcome, LimitRequest};

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
    limit: Limit<'a>,
    home: Home,
    name: Name,
    slot: Option<Slot>,
    /// What the counter holds, and the time at which it was looked at.
    tat: u64,
    seen: u64,
    /// What the counter holds once the draw is made, where it is not refused.
    new_tat: u64,
    refused: bool,
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

    /// Looks what the draws at `home` would do; how many counters must be added for them. A cost of 0
    /// adds none.
    pub(crate) fn weigh(&mut self, shard: &Shard, home: Home, now: u64) -> usize {
        let mut newcomers = 0;
        for draw in self.list.iter_mut().filter(|draw| draw.home == home) {
            draw.weigh(shard, now);
            self.refused |= draw.refused;
            newcomers += usize::from(draw.is_new());
        }
        newcomers
    }

    /// Weighs the draws of a source that has no counter, and gets none, on counters that all such
    /// sources share: one for each policy. How many of those must be added.
    #[cold]
    pub(crate) fn share(&mut self, hasher: Fingerprinter, shard: &Shard, now: u64) -> usize {
        let newcomers = self
            .list
            .iter_mut()
            .filter(|draw| draw.home == Home::Source);
        for draw in newcomers.filter(|draw| draw.is_new()) {
            let interval = draw.limit.quota.interval_nanos();
            draw.name = hasher.low().and(draw.limit.policy.tag).and(interval).name();
        }
        self.weigh(shard, Home::Source, now)
    }

    /// Whether no draw was refused so far.
    #[inline]
    pub(crate) const fn are_allowed(&self) -> bool {
        !self.refused
    }

    /// Makes the draws at `home`, all of them allowed, where `newcomers` need a counter of their own.
    pub(crate) fn commit(&self, shard: &mut Shard, home: Home, newcomers: usize) {
        let here = || self.list.iter().filter(|draw| draw.home == home);
        for draw in here() {
            if let Some(slot) = draw.slot {
                shard.set(slot, draw.new_tat);
            }
        }
        if newcomers > 0 {
            // An insertion moves what stands in the shard, so it comes last.
            for draw in here().filter(|draw| draw.is_new()) {
                shard.insert(draw.name, draw.new_tat);
            }
        }
    }

    /// The decision, where the counters of the company, or those that decided, were looked at `now`.
    #[inline]
    pub(crate) fn decision(&self, now: u64) -> LimitDecision {
        if self.are_allowed() {
            LimitDecision::of(self.list.iter().map(Draw::taken))
        } else {
            self.refusal(now)
        }
    }

    #[cold]
    fn refusal(&self, now: u64) -> LimitDecision {
        LimitDecision::of(self.list.iter().map(|draw| draw.left(now)))
    }
}

impl<'a> Draw<'a> {
    #[inline]
    const fn new(limit: Limit<'a>, name: Name) -> Self {
        Self {
            home: limit.policy.home,
            limit,
            name,
            slot: None,
            tat: 0,
            seen: 0,
            new_tat: 0,
            refused: false,
        }
    }

    #[inline]
    fn weigh(&mut self, shard: &Shard, now: u64) {
        self.slot = shard.find(self.name);
        self.tat = shard.tat(self.slot);
        self.seen = now;
        let drawn = draw(self.tat, now, self.limit.quota, self.limit.cost);
        self.refused = drawn.is_none();
        self.new_tat = drawn.unwrap_or(self.tat);
    }

    #[inline]
    fn is_new(&self) -> bool {
        self.slot.is_none() && self.limit.cost > 0
    }

    /// What to tell of a draw that was made.
    #[inline]
    fn taken(&self) -> LimitOutcome {
        Verdict::allowed(self.new_tat, self.seen, self.limit.quota).into()
    }

    /// What to tell of a draw that was refused, or not made because another one was: then the numbers
    /// are those before.
    fn left(&self, now: u64) -> LimitOutcome {
        let Limit { quota, cost, .. } = self.limit;
        if self.refused {
            Verdict::refused(self.tat, self.seen, quota, cost).into()
        } else {
            Verdict::allowed(self.tat, now, quota).into()
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
