//! One key's uses, counted while requests run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use countersign_core::{Endpoint, KeyId, ScopeSet, SharedScopes, Timestamp, thread_number};

use super::KeyUse;
use super::tracker::Routes;

/// Where requests of one key leave their marks: no lock, no allocation, and on a busy key one
/// addition to a line that the thread has for itself.
#[derive(Debug)]
pub(crate) struct UseCell {
    count: AtomicU64,
    /// A busy key's counts, a line for each thread; made by who collects, never by a request.
    stripes: OnceLock<Box<[Stripe]>>,
    /// Milliseconds since the epoch above, the route's number below: both are read as one.
    latest: AtomicU64,
    scopes: SharedScopes,
    routes: Arc<Routes>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

impl UseCell {
    pub(super) fn new(scopes: &ScopeSet, routes: Arc<Routes>) -> Self {
        Self {
            count: AtomicU64::new(0),
            stripes: OnceLock::new(),
            latest: AtomicU64::new(0),
            scopes: SharedScopes::with_room_for(scopes),
            routes,
        }
    }

    pub(super) fn has_room_for(&self, scopes: &ScopeSet) -> bool {
        self.scopes.has_room_for(scopes)
    }

    /// A request's mark.
    #[inline]
    pub(crate) fn note(&self, now: Timestamp, scopes: &ScopeSet, endpoint: Option<&Endpoint>) {
        let latest = self.latest.load(Ordering::Relaxed) >> ROUTE_BITS;
        if now.as_millis() >= latest + RESOLUTION {
            self.mark(now, endpoint);
        }
        let required = endpoint.and_then(Endpoint::required_scopes);
        let met = required.and_then(|required| required.met_by(scopes));
        for scope in met.unwrap_or_default() {
            self.scopes.insert(*scope);
        }
        // Last, so that whoever sees the count sees the rest.
        let count = match self.stripes.get() {
            // Their number is a power of two.
            Some(stripes) => &stripes[thread_number() & (stripes.len() - 1)].0,
            None => &self.count,
        };
        count.fetch_add(1, Ordering::Release);
    }

    /// Once a second for each key.
    #[cold]
    fn mark(&self, now: Timestamp, endpoint: Option<&Endpoint>) {
        let route = endpoint.map_or(0, |endpoint| self.routes.number(endpoint.template()));
        let latest = now.as_millis() << ROUTE_BITS | u64::from(route);
        self.latest.store(latest, Ordering::Relaxed);
    }

    /// The uses since it was asked last, if there were any.
    pub(super) fn take(&self, key: KeyId) -> Option<KeyUse> {
        let striped = self.stripes.get().map_or(&[][..], |stripes| stripes);
        let taken = |count: &AtomicU64| count.swap(0, Ordering::Acquire);
        let count = taken(&self.count) + striped.iter().map(|s| taken(&s.0)).sum::<u64>();
        if count == 0 {
            return None;
        }
        if count > BUSY {
            self.stripes.get_or_init(stripes);
        }
        let latest = self.latest.load(Ordering::Relaxed);
        let millis = i64::try_from(latest >> ROUTE_BITS).unwrap_or(i64::MAX);
        let route = u32::try_from(latest & (ROUTE_ROOM - 1)).unwrap_or(0);
        Some(KeyUse {
            key,
            at: Timestamp::from_micros(millis.saturating_mul(1000)),
            route: self.routes.name(route),
            count,
            scopes: self.scopes.take(),
        })
    }
}

fn stripes() -> Box<[Stripe]> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let stripes = 0..threads.next_power_of_two().min(MOST_STRIPES);
    stripes.map(|_| Stripe::default()).collect()
}

const ROUTE_BITS: u32 = 20;
/// How many numbers of routes there are; 0 stands for none.
pub(super) const ROUTE_ROOM: u64 = 1 << ROUTE_BITS;
/// In milliseconds: a busy key's time is written once for so long.
const RESOLUTION: u64 = 1000;
/// As many uses in one interval make a key busy.
const BUSY: u64 = 10_000;
const MOST_STRIPES: usize = 16;
