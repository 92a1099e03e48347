//! What is usual for a key: when it was used last, from where, and how much.

use std::time::Duration;

use countersign_core::AbuseKind;
use countersign_core::source::SourceBucket;

use super::memo::Earlier;
use super::penalties::nanos;
use super::rules::{AbuseRule, AbuseRules};
use super::ways::Place;

/// What is known of one key's use. Times are whole seconds of the monotonic clock; what was
/// remembered from an earlier process may lie before its start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Profile {
    known: bool,
    last: i32,
    /// When the first of the networks was met.
    placed: i32,
    networks: [Seen; NETWORKS],
    /// The number of the window that counts now, and what it counted.
    window: u32,
    count: u32,
    /// What the key has in a window in which it is used, in 256ths.
    usual: u32,
    /// How many windows `usual` was learnt from.
    learnt: u32,
    /// The window of the last spike.
    spiked: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    network: Network,
    last: i32,
}

/// A network as a key's profile knows it: an IPv4 /24 or an IPv6 /48. The default is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Network(u64);

impl Network {
    #[inline]
    pub(super) const fn of(source: SourceBucket) -> Self {
        match source {
            SourceBucket::V4(address) => Self(1 << 62 | (address.to_bits() >> 8) as u64),
            SourceBucket::V6(upper) => Self(1 << 63 | upper >> 16),
        }
    }
}

/// What was unusual about a use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unusual {
    /// For how long the key had been silent.
    pub(super) silent: Option<Duration>,
    pub(super) new_network: bool,
    /// How often it was used in this window.
    pub(super) spike: Option<u32>,
}

impl Profile {
    /// Takes down a use of the key at `at` nanoseconds from `network`, and earlier ones that it was
    /// not told of.
    pub(super) fn used(
        &mut self,
        at: u64,
        network: Option<Network>,
        earlier: Earlier,
        rules: &AbuseRules,
    ) -> Unusual {
        self.add_earlier(earlier, rules);
        let second = seconds(at);
        let unusual = Unusual {
            silent: self.silence(second, rules),
            new_network: network.is_some_and(|network| self.meet(network, second, rules)),
            spike: self.add(at, rules),
        };
        self.remember(second);
        unusual
    }

    /// Takes down a use that was before this process, `second` seconds on its clock.
    pub(super) fn was_used(&mut self, second: i32, networks: impl Iterator<Item = Network>) {
        for network in networks {
            self.know(network, second, NETWORKS);
        }
        self.remember(second);
    }

    /// Counts earlier uses in the window in which they were, unless that was left long ago.
    pub(super) fn add_earlier(&mut self, earlier: Earlier, rules: &AbuseRules) {
        let rule = rules.get(AbuseKind::Spike);
        if rule.is_some_and(|rule| window_of(earlier.at, rule) == self.window) {
            self.count = self.count.saturating_add(earlier.uses);
        }
    }

    pub(super) fn knows(&self, network: Network) -> bool {
        self.networks.iter().any(|seen| seen.network == network)
    }

    fn remember(&mut self, second: i32) {
        self.last = if self.known {
            self.last.max(second)
        } else {
            second
        };
        self.known = true;
    }

    fn silence(&self, second: i32, rules: &AbuseRules) -> Option<Duration> {
        let rule = rules.get(AbuseKind::SuddenUse)?;
        let silent = u64::try_from(i64::from(second) - i64::from(self.last)).ok()?;
        let long = self.known && silent >= rule.window.as_secs();
        long.then(|| Duration::from_secs(silent))
    }

    /// Whether `network` is new for a key whose networks have been watched for long enough to say so.
    fn meet(&mut self, network: Network, second: i32, rules: &AbuseRules) -> bool {
        let rule = rules.get(AbuseKind::NewNetwork);
        let held = rule.map_or(NETWORKS, |rule| rule.count as usize);
        if !self.know(network, second, held.min(NETWORKS)) {
            return false;
        }
        let watched = i64::from(second) - i64::from(self.placed);
        rule.is_some_and(|rule| watched >= rule.window.as_secs() as i64)
    }

    /// Takes `network` down in one of `held` places. Whether it is new.
    fn know(&mut self, network: Network, second: i32, held: usize) -> bool {
        if self.networks[0].network == Network::default() {
            self.placed = second;
        }
        let networks = &mut self.networks[..held];
        if let Some(seen) = networks.iter_mut().find(|seen| seen.network == network) {
            seen.last = seen.last.max(second);
            return false;
        }
        let empty = |seen: &&mut Seen| (seen.network != Network::default(), seen.last);
        if let Some(oldest) = networks.iter_mut().min_by_key(empty) {
            *oldest = Seen {
                network,
                last: second,
            };
        }
        true
    }

    /// Counts, and says so where it is a spike: once in a window, and then not for ten.
    fn add(&mut self, at: u64, rules: &AbuseRules) -> Option<u32> {
        let rule = rules.get(AbuseKind::Spike)?;
        let window = window_of(at, rule);
        let much = self.much(rule.count, rules.factor());
        if window > self.window {
            self.learn(much);
            self.window = window;
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        let much = self.much(rule.count, rules.factor());
        let told = self.spiked != 0 && self.window < self.spiked.saturating_add(QUIET);
        if self.learnt < LEARNT || told || self.count < much {
            return None;
        }
        self.spiked = self.window;
        Some(self.count)
    }

    fn much(&self, floor: u32, factor: u32) -> u32 {
        let usual = u64::from(self.usual) * u64::from(factor) / 256;
        floor.max(u32::try_from(usual).unwrap_or(u32::MAX))
    }

    /// Learns from the window that is over. A spike counts no more than just a spike, so that it
    /// doesn't become usual by itself; a window without use says nothing about use.
    fn learn(&mut self, much: u32) {
        if self.count == 0 {
            return;
        }
        let new = self.count.min(much).min(u32::MAX / 512) * 256;
        self.learnt = self.learnt.saturating_add(1);
        self.usual = match self.learnt {
            1 => new,
            _ => self.usual - self.usual / 8 + new / 8,
        };
    }
}

impl Place for Profile {
    /// Who was used last stays.
    fn worth(&self) -> u64 {
        if !self.known {
            return 0;
        }
        (i64::from(self.last) - i64::from(i32::MIN) + 1).unsigned_abs()
    }
}

fn window_of(at: u64, rule: &AbuseRule) -> u32 {
    u32::try_from(at / nanos(rule.window)).unwrap_or(u32::MAX)
}

pub(super) fn seconds(nanos: u64) -> i32 {
    i32::try_from(nanos / 1_000_000_000).unwrap_or(i32::MAX)
}

const NETWORKS: usize = 6;
/// How many windows of use must be known before one can be unusual.
const LEARNT: u32 = 10;
/// For how many windows nothing is said after a spike.
const QUIET: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const MINUTE: u64 = 60 * SECOND;
    const DAY: u64 = 1440 * MINUTE;

    fn network(address: &str) -> Option<Network> {
        Some(Network::of(SourceBucket::of(address.parse().unwrap())))
    }

    fn use_at(profile: &mut Profile, at: u64, address: &str) -> Unusual {
        let earlier = Earlier::default();
        profile.used(at, network(address), earlier, &AbuseRules::default())
    }

    #[test]
    fn a_key_that_was_silent_for_thirty_days_is_noticed_once() {
        let mut profile = Profile::default();
        assert_eq!(use_at(&mut profile, DAY, "192.0.2.1").silent, None);
        let almost = 31 * DAY - SECOND;
        assert_eq!(use_at(&mut profile, almost, "192.0.2.1").silent, None);
        let later = almost + 30 * DAY;
        let silent = use_at(&mut profile, later, "192.0.2.1").silent;
        assert_eq!(silent, Some(Duration::from_secs(30 * 86_400)));
        assert_eq!(use_at(&mut profile, later, "192.0.2.1").silent, None);
    }

    #[test]
    fn what_an_earlier_process_knew_counts() {
        let mut profile = Profile::default();
        let long_ago = -40 * 86_400;
        profile.was_used(long_ago, network("192.0.2.1").into_iter());
        let unusual = use_at(&mut profile, MINUTE, "198.51.100.1");
        assert_eq!(unusual.silent, Some(Duration::from_secs(40 * 86_400 + 60)));
        assert!(unusual.new_network);
        assert!(
            profile.knows(network("192.0.2.99").unwrap()),
            "the same /24"
        );
    }

    #[test]
    fn no_network_is_new_for_a_key_of_which_only_its_last_use_is_known() {
        let mut profile = Profile::default();
        profile.was_used(-86_400, std::iter::empty());
        assert!(!use_at(&mut profile, MINUTE, "192.0.2.1").new_network);
        assert!(!use_at(&mut profile, 60 * MINUTE, "198.51.100.1").new_network);
        assert!(use_at(&mut profile, 61 * MINUTE, "203.0.113.1").new_network);
    }

    #[test]
    fn a_network_is_new_once_and_only_for_a_key_that_is_known() {
        let mut profile = Profile::default();
        assert!(!use_at(&mut profile, MINUTE, "192.0.2.1").new_network);
        assert!(!use_at(&mut profile, 59 * MINUTE, "198.51.100.1").new_network);
        assert!(!use_at(&mut profile, 90 * MINUTE, "192.0.2.200").new_network);
        assert!(use_at(&mut profile, 90 * MINUTE, "203.0.113.1").new_network);
        assert!(!use_at(&mut profile, 90 * MINUTE, "203.0.113.9").new_network);
        assert!(use_at(&mut profile, 90 * MINUTE, "2001:db8:1::1").new_network);
        assert!(!use_at(&mut profile, 90 * MINUTE, "2001:db8:1:2::1").new_network);
        assert!(use_at(&mut profile, 90 * MINUTE, "2001:db8:2::1").new_network);
    }

    #[test]
    fn the_network_that_was_used_longest_ago_is_forgotten() {
        let mut profile = Profile::default();
        for n in 0..6u64 {
            use_at(&mut profile, n * MINUTE, &format!("10.0.{n}.1"));
        }
        use_at(&mut profile, 10 * MINUTE, "10.0.0.1");
        use_at(&mut profile, 11 * MINUTE, "10.9.9.1");
        assert!(!profile.knows(network("10.0.1.1").unwrap()));
        assert!(profile.knows(network("10.0.0.1").unwrap()));
    }

    /// Uses the key `count` times in the minute `minute`; how many spikes that was.
    fn minute(profile: &mut Profile, minute: u64, count: u32) -> usize {
        let rules = AbuseRules::default();
        let uses =
            (0..count).map(|_| profile.used(minute * MINUTE, None, Earlier::default(), &rules));
        uses.filter(|unusual| unusual.spike.is_some()).count()
    }

    #[test]
    fn ten_times_the_usual_is_a_spike_told_once() {
        let mut profile = Profile::default();
        for n in 1..=10 {
            assert_eq!(minute(&mut profile, n, 50), 0);
        }
        assert_eq!(minute(&mut profile, 11, 499), 0);
        assert_eq!(minute(&mut profile, 30, 5_000), 1);
        assert_eq!(minute(&mut profile, 31, 5_000), 0, "quiet for ten windows");
    }

    #[test]
    fn earlier_uses_count_in_their_own_window() {
        let (rules, mut profile) = (AbuseRules::default(), Profile::default());
        for n in 1..=10 {
            let at = (n - 1) * MINUTE + 1;
            profile.used(n * MINUTE, None, Earlier { uses: 49, at }, &rules);
        }
        assert_eq!(minute(&mut profile, 11, 400), 0, "50 a minute were usual");
        assert_eq!(minute(&mut profile, 30, 2_000), 1);
    }

    #[test]
    fn a_night_without_use_makes_no_morning_a_spike() {
        let mut profile = Profile::default();
        for n in 1..=20 {
            minute(&mut profile, n, 200);
        }
        assert_eq!(minute(&mut profile, 600, 300), 0);
    }

    #[test]
    fn few_requests_are_no_spike_and_neither_are_the_first() {
        let mut profile = Profile::default();
        assert_eq!(minute(&mut profile, 1, 10_000), 0, "nothing is usual yet");
        let mut profile = Profile::default();
        for n in 1..=20 {
            minute(&mut profile, n, 1);
        }
        assert_eq!(minute(&mut profile, 21, 99), 0, "below the floor");
        assert_eq!(minute(&mut profile, 22, 200), 1);
    }
}
