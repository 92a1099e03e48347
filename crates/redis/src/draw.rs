//! One call of the script: what a request draws from the counters of one hash tag.

use std::fmt::Write;

use countersign_core::{Quota, StoreError};
use countersign_rate_limit::gcra::{Verdict, decide};
use countersign_rate_limit::{Dimension, Limit, LimitDecision, LimitOutcome, LimitRequest};
use redis::{Cmd, Value};

use crate::error::corrupt;
use crate::script::Script;

/// The draws of one request on counters that one script can reach.
#[derive(Debug, Clone)]
pub(crate) struct Draw {
    /// Their names on the server.
    pub(crate) keys: Vec<String>,
    pub(crate) parts: Vec<Part>,
}

/// One counter's part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// Its place among the request's limits.
    pub(crate) place: usize,
    pub(crate) quota: Quota,
    pub(crate) cost: u32,
    /// How much of the cost is paid already, by units that were drawn before.
    pub(crate) paid: u32,
    /// What is drawn beside the cost, for requests to come, if all of it fits too.
    pub(crate) extra: u32,
}

/// What the server said: its time, and what the counters held before.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) now: u64,
    pub(crate) taken: bool,
    pub(crate) tats: Vec<u64>,
}

impl Draw {
    /// One draw for a server that holds all counters, one for each hash tag on a cluster: the
    /// company's first, because it refuses most, and the platform's last, because it refuses least.
    pub(crate) fn all(request: &LimitRequest<'_>, prefix: &str, cluster: bool) -> Vec<Self> {
        let mut draws: Vec<(Home, Self)> = Vec::with_capacity(1);
        for (place, limit) in request.limits().enumerate() {
            let home = Home::of(&limit, place);
            let part = Part {
                place,
                quota: limit.quota(),
                cost: limit.cost(),
                paid: 0,
                extra: 0,
            };
            let key = name(request, &limit, home, prefix);
            match draws
                .iter_mut()
                .find(|(there, _)| !cluster || *there == home)
            {
                Some((_, draw)) => draw.push(key, part),
                None => draws.push((home, Self::of(key, part))),
            }
        }
        draws.sort_by_key(|(home, _)| *home);
        draws.into_iter().map(|(_, draw)| draw).collect()
    }

    fn of(key: String, part: Part) -> Self {
        let (mut keys, mut parts) = (Vec::with_capacity(4), Vec::with_capacity(4));
        keys.push(key);
        parts.push(part);
        Self { keys, parts }
    }

    fn push(&mut self, key: String, part: Part) {
        self.keys.push(key);
        self.parts.push(part);
    }

    /// The call that undoes them, as they were made. It may be sent twice and works once.
    pub(crate) fn call_back(&self, script: &Script, said: &Said) -> Cmd {
        let parts = self.parts.iter().zip(&said.tats);
        let times = parts.map(|(part, tat)| {
            let units = part.drawn(*tat, said.now);
            let held = decide(*tat, said.now, part.quota, units).new_tat;
            [part.time_of(units), held]
        });
        // Beside the first counter, under its hash tag.
        let once = format!("{}#{:x}", self.keys[0], fastrand::u64(..));
        let mut call = script.call(self.keys.len() + 1);
        for key in self.keys.iter().chain([&once]) {
            call.arg(key);
        }
        let mut packed = Vec::with_capacity(self.keys.len() * 32);
        for times in times {
            pack(&mut packed, times);
        }
        call.arg(packed);
        call
    }
}

/// Seconds and nanoseconds, each of them below 2^53 and so exact as a double.
pub(crate) fn pack<const N: usize>(packed: &mut Vec<u8>, times: [u64; N]) {
    for nanos in times {
        for part in [nanos / NANOS, nanos % NANOS] {
            packed.extend_from_slice(&(part as f64).to_le_bytes());
        }
    }
}

impl Part {
    /// What the server is asked for and must grant.
    pub(crate) const fn asked(self) -> u32 {
        self.cost - self.paid
    }

    /// What the script is told of it.
    pub(crate) const fn times(self) -> [u64; 3] {
        [
            self.time_of(self.asked()),
            self.window(),
            self.time_of(self.extra),
        ]
    }

    /// Nanoseconds that so many units add to a counter.
    const fn time_of(self, units: u32) -> u64 {
        self.quota.interval_nanos().saturating_mul(units as u64)
    }

    const fn window(self) -> u64 {
        // `Quota` keeps this product below 400 days.
        self.quota.interval_nanos() * self.quota.burst() as u64
    }

    pub(crate) fn weigh(self, tat: u64, now: u64) -> Verdict {
        decide(tat, now, self.quota, self.asked())
    }

    /// How many units the draw takes where it is allowed: a draw that asks for nothing takes
    /// nothing beside it either.
    pub(crate) fn drawn(self, tat: u64, now: u64) -> u32 {
        let whole = self.asked().saturating_add(self.extra);
        if self.asked() > 0 && decide(tat, now, self.quota, whole).allowed {
            whole
        } else {
            self.asked()
        }
    }

    /// What the limit said, once it is known whether the request as a whole was allowed.
    fn outcome(self, tat: u64, now: u64, taken: bool) -> LimitOutcome {
        let verdict = self.weigh(tat, now);
        if taken || !verdict.allowed {
            verdict.into()
        } else {
            // Another limit refused, so nothing was taken here: the numbers are those before.
            decide(tat, now, self.quota, 0).into()
        }
    }
}

impl Said {
    /// Whether all draws fit by our own arithmetic.
    pub(crate) fn fits(&self, draw: &Draw) -> bool {
        let mut parts = draw.parts.iter().zip(&self.tats);
        parts.all(|(part, tat)| part.weigh(*tat, self.now).allowed)
    }
}

/// The decision about a request, of the answers about its draws. Where one was refused, those after
/// it were not asked: they are shown as if they were whole.
pub(crate) fn decision(draws: &[Draw], said: &[Said]) -> Result<LimitDecision, StoreError> {
    let taken = said.len() == draws.len() && said.iter().all(|said| said.taken);
    let count = draws.iter().map(|draw| draw.parts.len()).sum();
    let mut outcomes = vec![None; count];
    for (i, draw) in draws.iter().enumerate() {
        for (j, part) in draw.parts.iter().enumerate() {
            let (tat, now) = match said.get(i) {
                Some(said) => (said.tats[j], said.now),
                None => (0, 0),
            };
            let asked = said.get(i).is_some();
            let part = Part {
                cost: if asked { part.cost } else { 0 },
                ..*part
            };
            outcomes[part.place] = Some(part.outcome(tat, now, taken));
        }
    }
    let outcomes: Option<Vec<_>> = outcomes.into_iter().collect();
    LimitDecision::new(outcomes.ok_or_else(corrupt)?)
}

/// What a hash tag stands for, in the order in which draws are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Home {
    Company,
    /// The counter itself, the one in this place: it belongs to no company, and one server could
    /// not hold all of its kind.
    Alone(usize),
    Platform,
}

impl Home {
    fn of(limit: &Limit<'_>, place: usize) -> Self {
        match limit.dimension() {
            Dimension::Platform => Self::Platform,
            Dimension::Company => Self::Company,
            dimension if dimension.is_per_key() => Self::Company,
            _ => Self::Alone(place),
        }
    }
}

/// `countersign:{company_12}:key/key_01J…@20000000`. A company's id holds no `/` and no brace, so
/// that none can be mistaken for the platform or for a counter of its own.
fn name(request: &LimitRequest<'_>, limit: &Limit<'_>, home: Home, prefix: &str) -> String {
    let (key, interval) = (request.key(limit), limit.quota().interval_nanos());
    let mut name = String::with_capacity(96);
    let written = match (home, request.company()) {
        (Home::Company, Some(company)) => write!(name, "{prefix}:{{{company}}}:{key}@{interval}"),
        (Home::Alone(_), _) => write!(name, "{prefix}:{{/{key}}}@{interval}"),
        _ => write!(name, "{prefix}:{{/platform}}:{key}@{interval}"),
    };
    written.expect("a string takes all that is written");
    name
}

/// A number as the server writes it; nothing is 0.
pub(crate) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Nil => Some(0),
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

pub(crate) const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
