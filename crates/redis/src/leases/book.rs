//! The units that this process holds, and what it knows of the server's counters.

use std::collections::HashMap;
use std::time::Duration;

use countersign_core::{Quota, StoreError};
use countersign_rate_limit::gcra::decide;
use countersign_rate_limit::{LimitDecision, LimitOutcome};

use super::Leases;
use crate::draw::{Draw, Part, Said};

/// By the counters' names. Times are nanoseconds of this process's monotonic clock, unless the
/// server's clock is named.
#[derive(Debug)]
pub(super) struct Book {
    leases: HashMap<Box<str>, Lease>,
    age: u64,
    /// Of each quota's burst, in millionths.
    share: u32,
    /// The latest time that was seen.
    now: u64,
    /// How many counters there are when those that say nothing any more are looked for.
    sweep_at: usize,
}

/// One counter.
#[derive(Debug, Clone, Copy, Default)]
struct Lease {
    /// Drawn from the server and not spent.
    units: u32,
    /// Until when they may be spent, and what the server said is believed.
    until: u64,
    /// What the server's counter held when it was last asked, by the server's clock.
    tat: u64,
    /// What the server's clock said then.
    said: u64,
    /// When that was, or a little before.
    heard: u64,
    /// Draws of so many units and more are refused until then.
    refused: Option<(u32, u64)>,
    /// How many units the last lease was of, and how many were granted.
    size: u32,
    granted: u32,
    /// Until then somebody else is asking for a lease.
    asking: u64,
}

/// What the book alone says of one draw.
enum Answer {
    Fits,
    /// For so long.
    Refused(u64),
    Unknown,
}

impl Book {
    pub(super) fn new(leases: Leases) -> Self {
        Self {
            leases: HashMap::new(),
            age: u64::try_from(leases.age.as_nanos()).unwrap_or(u64::MAX),
            share: leases.share,
            now: 0,
            sweep_at: SWEEP_AT,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.leases.len()
    }

    /// The decision, if nobody has to be asked.
    pub(super) fn decide(
        &mut self,
        draws: &[Draw],
        now: u64,
    ) -> Option<Result<LimitDecision, StoreError>> {
        let now = self.advance(now);
        let answers = || all(draws).map(|(name, part)| self.answer(name, part, now));
        let refused = answers().any(|answer| matches!(answer, Answer::Refused(_)));
        if !refused && answers().any(|answer| matches!(answer, Answer::Unknown)) {
            return None;
        }
        if !refused {
            for (name, part) in all(draws) {
                self.take(name, part.cost);
            }
        }
        Some(self.outcomes(draws, now, |_, _, name, part| {
            // Nothing was taken where something was refused, so the answer is still the same.
            match self.answer(name, part, now) {
                Answer::Refused(wait) if refused => Some(Some(wait)),
                _ => None,
            }
        }))
    }

    /// Pays for what can be paid with units that are held, and says how much more than the rest the
    /// server is asked for.
    pub(super) fn prepare(&mut self, draws: &mut [Draw], now: u64) {
        let now = self.advance(now);
        self.sweep(now);
        let (age, share) = (self.age, self.share);
        let most = |quota| most(quota, share);
        for draw in draws {
            for (name, part) in draw.keys.iter().zip(&mut draw.parts) {
                let Some(lease) = self.leases.get_mut(name.as_str()) else {
                    continue;
                };
                if lease.held(now) >= part.cost {
                    lease.units -= part.cost.min(lease.units);
                    part.paid = part.cost;
                } else if lease.asking <= now {
                    let room = most(part.quota).saturating_sub(lease.held(now));
                    lease.size = lease.next_size(now, age).min(room);
                    part.extra = lease.size;
                    lease.asking = now.saturating_add(age);
                }
            }
        }
    }

    /// Takes down what the server said of draws that it was asked for at `asked`, and gives the
    /// decision.
    ///
    /// # Errors
    /// `Corrupt` when the answers don't fit the draws.
    pub(super) fn learn(
        &mut self,
        draws: &[Draw],
        said: &[Said],
        asked: u64,
    ) -> Result<LimitDecision, StoreError> {
        let taken = said.len() == draws.len() && said.iter().all(|said| said.taken);
        for (draw, said) in draws.iter().zip(said) {
            for ((name, part), tat) in draw.keys.iter().zip(&draw.parts).zip(&said.tats) {
                let until = asked.saturating_add(self.age);
                let lease = self.leases.entry(name.as_str().into()).or_default();
                lease.hear(*part, *tat, said.now, asked);
                if taken {
                    lease.receive(*part, *tat, said.now, asked, until);
                } else {
                    lease.refuse(*part, *tat, said.now, asked, until);
                }
            }
        }
        if !taken {
            self.put_back(draws);
        }
        let now = self.advance(asked);
        self.outcomes(draws, now, |i, j, _, part| {
            let said = said.get(i)?;
            let verdict = part.weigh(said.tats[j], said.now);
            let wait = verdict.retry_after_ns;
            (!verdict.allowed).then_some((wait != u64::MAX).then_some(wait))
        })
    }

    /// Takes back what was paid for a request that is not admitted.
    pub(super) fn put_back(&mut self, draws: &[Draw]) {
        let share = self.share;
        for (name, part) in all(draws) {
            if let Some(lease) = self.leases.get_mut(name) {
                let units = lease.units.saturating_add(part.paid);
                lease.units = units.min(most(part.quota, share));
                if part.extra > 0 {
                    lease.asking = 0;
                }
            }
        }
    }

    fn answer(&self, name: &str, part: Part, now: u64) -> Answer {
        let Some(lease) = self.leases.get(name).filter(|lease| lease.until > now) else {
            return Answer::Unknown;
        };
        if lease.units >= part.cost {
            return Answer::Fits;
        }
        match lease.refused {
            Some((units, until)) if part.cost >= units && until > now => {
                Answer::Refused(until - now)
            }
            _ => Answer::Unknown,
        }
    }

    /// The decision, of what stands in the book and of who was `refused`: for how long, or for ever.
    fn outcomes(
        &self,
        draws: &[Draw],
        now: u64,
        refused: impl Fn(usize, usize, &str, Part) -> Option<Option<u64>>,
    ) -> Result<LimitDecision, StoreError> {
        let mut outcomes = Vec::with_capacity(draws.iter().map(|draw| draw.parts.len()).sum());
        for (i, draw) in draws.iter().enumerate() {
            for (j, (name, part)) in draw.keys.iter().zip(&draw.parts).enumerate() {
                let lease = self.leases.get(name.as_str()).copied().unwrap_or_default();
                let refused = refused(i, j, name, *part);
                outcomes.push((part.place, lease.outcome(part.quota, now, refused)));
            }
        }
        outcomes.sort_by_key(|(place, _)| *place);
        LimitDecision::new(outcomes.into_iter().map(|(_, outcome)| outcome))
    }

    fn take(&mut self, name: &str, units: u32) {
        if let Some(lease) = self.leases.get_mut(name) {
            lease.units -= units;
        }
    }

    /// A request that was held up on its way is decided at the latest time that was seen.
    fn advance(&mut self, now: u64) -> u64 {
        self.now = self.now.max(now);
        self.now
    }

    /// Keeps what was heard of within the last age: there are never more than twice as many.
    fn sweep(&mut self, now: u64) {
        if self.leases.len() >= self.sweep_at {
            self.leases.retain(|_, lease| lease.until > now);
            self.sweep_at = (self.leases.len() * 2).max(SWEEP_AT);
        }
    }
}

impl Lease {
    const fn held(&self, now: u64) -> u32 {
        if self.until > now { self.units } else { 0 }
    }

    /// A lease that was spent within half its age was too small, and one that got old too large.
    fn next_size(&self, now: u64, age: u64) -> u32 {
        if self.until <= now {
            self.size.min(self.granted.saturating_sub(self.units))
        } else if now - self.heard.min(now) <= age / 2 {
            self.size.saturating_mul(2).max(1)
        } else {
            self.size
        }
    }

    /// Takes down what the counter held before the draw.
    fn hear(&mut self, part: Part, tat: u64, server_now: u64, asked: u64) {
        if server_now >= self.said {
            self.tat = tat;
            self.said = server_now;
            self.heard = asked;
        }
        self.refused = None;
        if part.extra > 0 {
            self.asking = 0;
        }
    }

    fn receive(&mut self, part: Part, tat: u64, server_now: u64, asked: u64, until: u64) {
        let drawn = part.drawn(tat, server_now);
        if drawn > 0 {
            let after = decide(tat, server_now, part.quota, drawn).new_tat;
            self.tat = self.tat.max(after);
            self.granted = drawn - part.asked();
        }
        let extra = drawn - part.asked();
        if extra < part.extra {
            self.size /= 2;
        }
        self.renew(asked, until);
        self.units = self.units.saturating_add(extra);
    }

    fn refuse(&mut self, part: Part, tat: u64, server_now: u64, asked: u64, until: u64) {
        // What was paid is put back, and may not get younger.
        if part.paid == 0 {
            self.renew(asked, until);
        }
        let verdict = part.weigh(tat, server_now);
        if !verdict.allowed && verdict.retry_after_ns != u64::MAX {
            let over = asked.saturating_add(verdict.retry_after_ns);
            self.refused = Some((part.asked(), over));
        }
    }

    /// What is left of the last lease is no younger for what comes to it; old units are lost.
    fn renew(&mut self, asked: u64, until: u64) {
        if self.held(asked) > 0 {
            self.until = self.until.min(until);
        } else {
            (self.units, self.until) = (0, until);
        }
    }

    /// What can be taken at once, here and from the server as it was when it was last heard of.
    fn outcome(&self, quota: Quota, now: u64, refused: Option<Option<u64>>) -> LimitOutcome {
        let server_now = self.said.saturating_add(now.saturating_sub(self.heard));
        let verdict = decide(self.tat, server_now, quota, 0);
        let held = self.held(now);
        let remaining = verdict.remaining.saturating_add(held).min(quota.burst());
        let time_held = quota.interval_nanos().saturating_mul(held.into());
        let reset = Duration::from_nanos(verdict.reset_after_ns.saturating_sub(time_held));
        match refused {
            None => LimitOutcome::allowed(remaining, reset),
            Some(wait) => LimitOutcome::refused(remaining, reset, wait.map(Duration::from_nanos)),
        }
    }
}

fn all(draws: &[Draw]) -> impl Iterator<Item = (&str, Part)> {
    let names = draws
        .iter()
        .flat_map(|draw| draw.keys.iter().zip(&draw.parts));
    names.map(|(name, part)| (name.as_str(), *part))
}

/// How many units of a quota may be held.
fn most(quota: Quota, share: u32) -> u32 {
    // A part of a `u32` is one.
    (u64::from(quota.burst()) * u64::from(share) / 1_000_000) as u32
}

/// Fewer than so many are no burden.
const SWEEP_AT: usize = 1024;
