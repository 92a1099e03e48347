//! One request's draws on the counters of the local store.

use std::hash::{Hash, Hasher};

use arrayvec::ArrayVec;

use crate::cells::{Fingerprint, Fingerprinter, Name, Namer, Shard};
use crate::dimension::Home;
use crate::gcra::{Verdict, draw};
use crate::request::MAX_LIMITS;
use crate::{Dimension, Limit, LimitDecision, LimitOutcome, LimitRequest};

/// The draws of one request, in the order of its limits.
#[derive(Debug)]
pub(crate) struct Draws<'a> {
    company: Fingerprint,
    source: Fingerprint,
    is_verified: bool,
    /// Whether one of the draws is refused so far.
    refused: bool,
    list: ArrayVec<Draw<'a>, MAX_LIMITS>,
}

#[derive(Debug)]
struct Draw<'a> {
    limit: Limit<'a>,
    home: Home,
    name: Name,
    /// What the counter held, and the time at which it was looked at.
    tat: u64,
    seen: u64,
    /// What the counter holds once the draw is made, where it is not refused.
    new_tat: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not looked at yet, or nothing to do: another draw was refused, or it costs nothing.
    Idle,
    /// Its counter holds the new value.
    Made,
    /// It needs a counter.
    New,
    Refused,
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
        let names = self.spread(hasher, request);
        match request.plain_limits() {
            Some(limits) => limits.for_each(|limit| self.push(limit, &names)),
            None => self.fill_specially(request, &names),
        }
    }

    #[cold]
    fn fill_specially(&mut self, request: &LimitRequest<'a>, names: &Names) {
        for limit in request.limits() {
            self.push(limit, names);
        }
    }

    #[inline]
    fn push(&mut self, limit: Limit<'a>, names: &Names) {
        self.list.push(Draw::new(limit, names.name(&limit)));
    }

    /// Hashes what the request is counted by, as far as one of its limits needs it.
    #[inline]
    fn spread(&mut self, hasher: Fingerprinter, request: &LimitRequest<'_>) -> Names {
        let (subject, counts) = (request.subject(), request.counts());
        let mut names = Names::new(hasher.low());
        if let Some(id) = subject.company() {
            let mut company = hasher;
            company.write(id.as_str().as_bytes());
            self.company = company.fingerprint();
            self.is_verified = true;
            names.begin(Dimension::Company, company.low());
        }
        if let Some(id) = subject.key() {
            let mut key = hasher.low();
            key.write_u128(id.as_u128());
            names.begin(Dimension::Key, key);
            if let Some(endpoint) = subject.endpoint {
                names.begin(Dimension::Endpoint, key.and(endpoint.tag()));
                names.begin(Dimension::Operation, key.and(endpoint.operation() as u64));
            }
            if counts.scope {
                subject.scope().hash(&mut key);
                names.begin(Dimension::Scope, key);
            }
        }
        if counts.source {
            let mut source = hasher;
            subject.source.hash(&mut source);
            self.source = source.fingerprint();
            names.begin(Dimension::Source, source.low());
        }
        names
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

    /// Makes the draws at `home` on counters that are there, one after the other until one is refused,
    /// and looks at the rest; how many counters must be added for them. A cost of 0 adds none. Nobody
    /// sees the counters before the lock is gone, and until then it can be undone.
    pub(crate) fn make(&mut self, shard: &mut Shard, home: Home, now: u64) -> usize {
        let mut newcomers = 0;
        for draw in self.list.iter_mut().filter(|draw| draw.home == home) {
            draw.state = if self.refused {
                draw.look(shard, now)
            } else {
                draw.make(shard, now)
            };
            match draw.state {
                State::New => newcomers += 1,
                State::Refused => self.refused = true,
                State::Idle | State::Made => {}
            }
        }
        newcomers
    }

    /// Makes the draws of a source that has no counter, and gets none, on counters that all such
    /// sources share: one for each policy. How many of those must be added.
    #[cold]
    pub(crate) fn share(&mut self, hasher: Fingerprinter, shard: &mut Shard, now: u64) -> usize {
        self.undo(shard, Home::Source);
        let newcomers = self
            .list
            .iter_mut()
            .filter(|draw| draw.home == Home::Source);
        for draw in newcomers.filter(|draw| draw.state == State::New) {
            let interval = draw.limit.quota.interval_nanos();
            draw.name = hasher.low().and(draw.limit.policy.tag).and(interval).name();
        }
        self.make(shard, Home::Source, now)
    }

    /// Adds the `newcomers` among the draws at `home`, all of which are allowed.
    #[inline]
    pub(crate) fn add(&self, shard: &mut Shard, home: Home, newcomers: usize) {
        if newcomers > 0 {
            self.add_all(shard, home);
        }
    }

    #[inline(never)]
    fn add_all(&self, shard: &mut Shard, home: Home) {
        for draw in self.at(home, State::New) {
            shard.insert(draw.name, draw.new_tat);
        }
    }

    /// Takes back what was made at `home`.
    #[cold]
    pub(crate) fn undo(&self, shard: &mut Shard, home: Home) {
        for draw in self.at(home, State::Made) {
            if let Some(tat) = shard.find_mut(draw.name) {
                *tat = draw.tat;
            }
        }
    }

    fn at(&self, home: Home, state: State) -> impl Iterator<Item = &Draw<'a>> {
        let all = self.list.iter();
        all.filter(move |draw| draw.home == home && draw.state == state)
    }

    /// Whether no draw was refused so far.
    #[inline]
    pub(crate) const fn are_allowed(&self) -> bool {
        !self.refused
    }

    /// The decision, where the counters of the company, or those that decided, were looked at `now`.
    /// A call of its own, which writes it to where it is wanted: it is large.
    #[inline(never)]
    pub(crate) fn decision(&self, now: u64) -> LimitDecision {
        if self.are_allowed() {
            self.allowance()
        } else {
            self.refusal(now)
        }
    }

    #[inline]
    fn allowance(&self) -> LimitDecision {
        LimitDecision::of(self.list.iter().map(Draw::taken))
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
            tat: 0,
            seen: 0,
            new_tat: 0,
            state: State::Idle,
        }
    }

    /// Draws on the counter, if it is there and allows it.
    #[inline]
    fn make(&mut self, shard: &mut Shard, now: u64) -> State {
        let counter = shard.find_mut(self.name);
        let held = counter.as_deref().copied().unwrap_or(0);
        match (self.weigh(held, now), counter) {
            (None, _) => State::Refused,
            (Some(new_tat), Some(counter)) => {
                *counter = new_tat;
                State::Made
            }
            (Some(_), None) => self.newcomer(),
        }
    }

    /// Leaves the counter as it is.
    #[cold]
    fn look(&mut self, shard: &mut Shard, now: u64) -> State {
        let held = shard.find_mut(self.name).copied();
        match self.weigh(held.unwrap_or(0), now) {
            None => State::Refused,
            Some(_) if held.is_some() => State::Idle,
            Some(_) => self.newcomer(),
        }
    }

    #[inline]
    fn weigh(&mut self, held: u64, now: u64) -> Option<u64> {
        (self.tat, self.seen) = (held, now);
        self.new_tat = draw(held, now, self.limit.quota, self.limit.cost)?;
        Some(self.new_tat)
    }

    #[inline]
    const fn newcomer(&self) -> State {
        if self.limit.cost > 0 {
            State::New
        } else {
            State::Idle
        }
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
        if self.state == State::Refused {
            Verdict::refused(self.tat, self.seen, quota, cost).into()
        } else {
            Verdict::allowed(self.tat, now, quota).into()
        }
    }
}

/// What the counters' names begin with, by dimension: hashed once for all of them.
struct Names {
    namer: Namer,
    begun: [u64; Dimension::COUNT],
}

impl Names {
    /// Nothing but the store's secret: what the platform's counters begin with.
    #[inline]
    const fn new(namer: Namer) -> Self {
        let begun = [namer.state(); Dimension::COUNT];
        Self { namer, begun }
    }

    #[inline]
    const fn begin(&mut self, dimension: Dimension, namer: Namer) {
        self.begun[dimension as usize] = namer.state();
    }

    #[inline]
    fn name(&self, limit: &Limit<'_>) -> Name {
        let begun = self.namer.at(self.begun[limit.dimension() as usize]);
        let interval = limit.quota.interval_nanos();
        begun.and(limit.policy.tag).and(interval).name()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use countersign_core::Quota;

    use super::*;
    use crate::cells::Seeds;
    use crate::samples::{Caller, after, anonymous};
    use crate::{Policies, Policy};

    fn policies(dimensions: &[Dimension]) -> Policies {
        let quota = Quota::per_second(1, 1).unwrap();
        let policy = |dimension: &Dimension| Policy::new(dimension.as_str(), *dimension, quota);
        Policies::new(dimensions.iter().map(policy)).unwrap()
    }

    #[test]
    fn companies_and_sources_are_spread_over_the_locks() {
        let hasher = Seeds::random().hasher();
        let by_source = policies(&[Dimension::Source]);
        let by_both = policies(&[Dimension::Company, Dimension::Source]);
        let spread = |policies: &Policies, context| {
            let mut draws = Draws::new();
            draws.fill(hasher, &policies.request(&context).unwrap());
            (draws.company(), draws.source(), draws.is_verified())
        };
        let noon = after(Duration::from_secs(43_200));
        let mut companies = HashSet::new();
        let mut sources = HashSet::new();
        for number in 0..64 {
            let source = format!("192.0.2.{number}");
            let known = spread(&by_both, Caller::new().reads_from(&source, noon));
            let unknown = spread(&by_source, anonymous(&source, noon));
            assert!(known.2 && !unknown.2);
            assert_eq!(known.1, unknown.1);
            companies.insert((known.0.low, known.0.high));
            sources.insert((known.1.low, known.1.high));
        }
        assert_eq!((companies.len(), sources.len()), (64, 64));
    }
}
