//! Ten million made-up sources within a minute: memory stays within its bound, and whoever has a key is
//! limited as if nobody else were there.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use countersign_core::{
    AccessContext, Attempt, Edge, Environment, FailureMeter, Identity, KeyId, KeyPrefix,
    ManualClock, PeerAddr, Quota, ScopeSet,
};
use countersign_rate_limit::{
    Dimension, LimitFuture, LimitStore, LocalLimits, Policies, Policy, SourceThrottle, gcra,
};
use http::Request;

use super::Scale;

pub(super) fn run(scale: Scale) -> Result<()> {
    let sources = scale.of(10_000_000, 500_000);
    let mut world = World::new()?;
    // Half of the real callers are known before the flood, the others begin in the middle of it.
    world.real_callers_ask(0..KEYS / 2)?;
    let before = resident()?;
    let (started, mut most) = (Instant::now(), before);
    let step = MINUTE / sources;
    let turn = u64::from(sources / TURNS);
    for number in 0..u64::from(sources) {
        world.clock.advance(step);
        world.made_up_source_fails(number)?;
        if number % turn == turn - 1 {
            let known = number > u64::from(sources) / 2;
            world.real_callers_ask(0..if known { KEYS } else { KEYS / 2 })?;
            most = most.max(resident()?);
        }
    }
    let grown = (most - before) as f64 / 1048576.0;
    println!(
        "    {sources} sources in {:.1} s of real time: {} let through, {} counters of sources, \
         {grown:.1} MiB more at most (the bound is {BOUND} MiB)",
        started.elapsed().as_secs_f64(),
        world.made_up_passed,
        world.store.tracked_sources(),
    );
    println!(
        "    {} requests of {KEYS} keys, {} of them allowed: each decided as the model decides it",
        world.asked, world.allowed
    );
    ensure!(grown <= BOUND, "the memory grew by {grown:.1} MiB");
    ensure!(world.allowed > 10_000 && world.allowed < world.asked);
    Ok(())
}

/// The limits, whom they meet, and what they should say.
struct World {
    clock: ManualClock,
    edge: Edge,
    store: LocalLimits,
    throttle: SourceThrottle,
    by_source: Policies,
    policies: Policies,
    callers: Vec<(Identity, SocketAddr)>,
    model: HashMap<String, u64>,
    asked: u64,
    allowed: u64,
    made_up_passed: u64,
}

impl World {
    fn new() -> Result<Self> {
        let clock = ManualClock::default();
        clock.advance(Duration::from_secs(86_400));
        let source = Policy::new("source", Dimension::Source, Quota::per_second(40, 30));
        // So slow that no counter of the flood leaves while it lasts.
        let made_up = Policy::new("made-up", Dimension::Source, Quota::per_minute(5, 1));
        let policies = Policies::new([
            Policy::new("key", Dimension::Key, Quota::per_second(20, 10)),
            Policy::new("company", Dimension::Company, Quota::per_second(150, 80)),
            source,
        ])?;
        Ok(Self {
            edge: Edge::builder().clock(clock.clone()).build(),
            clock,
            store: LocalLimits::new(),
            throttle: SourceThrottle::new(),
            by_source: Policies::new([made_up])?,
            policies,
            callers: (0..KEYS).map(caller).collect::<Result<_>>()?,
            model: HashMap::new(),
            asked: 0,
            allowed: 0,
            made_up_passed: 0,
        })
    }

    /// One source of its own, and one key prefix of its own.
    fn made_up_source_fails(&mut self, number: u64) -> Result<()> {
        let address = IpAddr::V6(Ipv6Addr::from_bits(u128::from(NETWORK | number) << 64));
        let context = self.enter(SocketAddr::new(address, 4711));
        let request = self.by_source.request(&context);
        let request = request.map_err(|denial| anyhow::anyhow!("{denial:?}"))?;
        let LimitFuture::Ready(decision) = self.store.check(&request) else {
            bail!("local limits answer at once");
        };
        self.made_up_passed += u64::from(decision?.is_allowed());
        let prefix: KeyPrefix = format!("acme_live_{number:012}").parse()?;
        let attempt = Attempt {
            source: context.source().context("a peer's address")?.bucket(),
            prefix: Some(&prefix),
            at: context.received().monotonic,
        };
        // Turned away or not: what counts is what is kept of it.
        let _ = self.throttle.record_failure(&attempt);
        Ok(())
    }

    fn real_callers_ask(&mut self, callers: std::ops::Range<usize>) -> Result<()> {
        for index in callers {
            let (identity, address) = self.callers[index].clone();
            let context = self.enter(address);
            context.identify(identity)?;
            let request = self.policies.request(&context);
            let request = request.map_err(|denial| anyhow::anyhow!("{denial:?}"))?;
            let now = context.received().monotonic.as_nanos();
            let mut tats = Vec::new();
            let mut expected = true;
            for limit in request.limits() {
                let name = request.key(&limit).to_string();
                let tat = self.model.get(&name).copied().unwrap_or(0);
                let verdict = gcra::decide(tat, now, limit.quota(), limit.cost());
                expected &= verdict.allowed;
                tats.push((name, verdict.new_tat));
            }
            if expected {
                self.model.extend(tats);
            }
            let LimitFuture::Ready(decision) = self.store.check(&request) else {
                bail!("local limits answer at once");
            };
            let allowed = decision?.is_allowed();
            ensure!(
                allowed == expected,
                "caller {index}, request {}",
                self.asked
            );
            self.asked += 1;
            self.allowed += u64::from(allowed);
        }
        Ok(())
    }

    fn enter(&self, address: SocketAddr) -> AccessContext {
        let mut request = Request::new(());
        request.extensions_mut().insert(PeerAddr(address));
        self.edge.enter(&mut request).context(&request).clone()
    }
}

/// Ten keys for each company, each from an address of its own.
fn caller(index: usize) -> Result<(Identity, SocketAddr)> {
    let company = format!("company_{}", index / 10).parse()?;
    let prefix = format!("acme_live_{index:012}").parse()?;
    let identity = Identity::new(company, Environment::Live, ScopeSet::new());
    let identity = identity.with_key(KeyId::from_u128(index as u128), prefix);
    let address = Ipv4Addr::new(192, 0, 2, u8::try_from(index)?);
    Ok((identity, SocketAddr::new(IpAddr::V4(address), 4711)))
}

/// The memory that this process has, in bytes; nothing where the system doesn't say.
fn resident() -> Result<u64> {
    let Ok(status) = fs::read_to_string("/proc/self/status") else {
        return Ok(0);
    };
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = kib.context("VmRSS in kB")?.trim().parse()?;
    Ok(kib * 1024)
}

const MINUTE: Duration = Duration::from_secs(60);
const KEYS: usize = 100;
/// How often each real caller asks: twenty times a second.
const TURNS: u32 = 1200;
/// `2001:db8::/32`.
const NETWORK: u64 = 0x2001_0db8 << 32;
/// The documented bounds: 10 MB for these sources, 2 × 2.6 MB for the throttle, the tables before they
/// grew, and a few for what the drill itself counts.
const BOUND: f64 = 24.0;
