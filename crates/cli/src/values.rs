//! How the values of options are read.

use std::net::IpAddr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use countersign::source::canonical_network;
use countersign::{
    AbuseKind, Contract, Decision, Endpoint, Environment, EventType, LimitOverride, ParseError,
    Quota, Reason, RevocationReason, Timestamp,
};
use ipnet::IpNet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    In(Duration),
    At(Timestamp),
}

impl Expiry {
    pub(crate) fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::In(duration) => now.saturating_add(duration),
            Self::At(time) => time,
        }
    }
}

pub(crate) fn expiry(text: &str) -> Result<Expiry, ParseError> {
    let time = || text.parse().map(Expiry::At);
    duration(text)
        .map(Expiry::In)
        .or_else(|_| time())
        .map_err(|_: ParseError| {
            ParseError::new("time", "90d, 12h, or RFC 3339 such as 2027-01-31T00:00:00Z")
        })
}

/// A time that events are asked for by. The last hours of the year 9999, of which many make the end
/// of time, are more than a [`Timestamp`] can read: they are it.
pub(crate) fn moment(text: &str) -> Result<Timestamp, ParseError> {
    text.parse().or_else(|error| {
        let year_before = text
            .strip_prefix("9999-")
            .map(|rest| format!("9998-{rest}"));
        let time = year_before.and_then(|text| text.parse::<Timestamp>().ok());
        time.map(|_| Timestamp::from_micros(i64::MAX)).ok_or(error)
    })
}

pub(crate) fn duration(text: &str) -> Result<Duration, ParseError> {
    let error = ParseError::new("length of time", "a number and a unit: 90d, 12h or 30m");
    let units = [('d', 86_400), ('h', 3600), ('m', 60)];
    let found = units
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let (number, seconds) = found.ok_or(error)?;
    // `parse` alone would take a sign.
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error);
    }
    let number: u64 = number.parse().map_err(|_| error)?;
    let total = number.checked_mul(seconds).ok_or(error)?;
    Ok(Duration::from_secs(total))
}

/// `POLICY=BURST:N/UNIT`.
pub(crate) fn limit(text: &str) -> Result<LimitOverride, ParseError> {
    let error = ParseError::new("limit", "POLICY=BURST:N/UNIT, for example key=200:50/s");
    let (policy, quota) = text.split_once('=').ok_or(error)?;
    let (burst, rate) = quota.split_once(':').ok_or(error)?;
    let (count, unit) = rate.split_once('/').ok_or(error)?;
    let period = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(error),
    };
    let number = |text: &str| text.parse().map_err(|_| error);
    let period = Duration::from_secs(period);
    let quota = Quota::per(number(burst)?, number(count)?, period).map_err(|_| error)?;
    // A policy's name, and perhaps one of its operation types: `key:write`.
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-:".contains(&b);
    if policy.is_empty() || policy.len() > 64 || !policy.bytes().all(good) {
        return Err(ParseError::new("policy", "a policy's name, of a-z 0-9 - :"));
    }
    let policy = policy.to_owned();
    Ok(LimitOverride { policy, quota })
}

/// A network as sources are compared with it. Sources are never IPv4-mapped IPv6 addresses, so that
/// a mapped network is the IPv4 network that it stands for.
pub(crate) fn network(text: &str) -> Result<IpNet, ParseError> {
    let error = ParseError::new("network", "an address and a length: 203.0.113.0/24");
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let network = text.parse::<IpNet>().or_else(|_| address());
    let network = canonical_network(network.map_err(|_| error)?);
    // A shorter one is of mapped addresses and others.
    let is_mixed = matches!(network, IpNet::V6(six) if six.addr().to_ipv4_mapped().is_some());
    (!is_mixed).then(|| network.trunc()).ok_or(error)
}

pub(crate) fn environments() -> impl TypedValueParser<Value = Environment> {
    PossibleValuesParser::new(["live", "test"]).try_map(|name| name.parse::<Environment>())
}

pub(crate) fn reasons() -> impl TypedValueParser<Value = RevocationReason> {
    let names = RevocationReason::ALL.map(RevocationReason::as_str);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<RevocationReason>())
}

/// How the audit log says that a request was decided.
pub(crate) fn decisions() -> PossibleValuesParser {
    let all = [
        Decision::Allowed,
        Decision::Denied,
        Decision::RateLimited,
        Decision::LifecycleChanged,
    ];
    PossibleValuesParser::new(all.map(Decision::as_str))
}

/// What events are about.
#[derive(Debug, Clone)]
pub(crate) struct EventTypes(Vec<EventType>);

impl EventTypes {
    pub(crate) fn contain(&self, text: &str) -> bool {
        self.0.iter().any(|kind| kind.as_str() == text)
    }
}

/// The types that a text names: one whole, or all that end with it from a dot on.
pub(crate) fn event_types(text: &str) -> Result<EventTypes, String> {
    let end = format!(".{text}");
    let is_named = |kind: &EventType| kind.as_str() == text || kind.as_str().ends_with(&end);
    let named: Vec<_> = EventType::all().filter(is_named).collect();
    if !named.is_empty() {
        return Ok(EventTypes(named));
    }
    let short = |kind: EventType| kind.as_str().trim_start_matches("external_api.");
    let known: Vec<_> = EventType::all().map(short).collect();
    let known = known.join(", ");
    Err(format!("no event has this type; the types are {known}"))
}

/// A route as the contract writes it, and with it the audit log.
pub(crate) fn route(text: &str) -> Result<String, String> {
    let scope = "any:read".parse().expect("it is a scope");
    let endpoint = Endpoint::get(text.to_owned()).scope(scope);
    match Contract::builder().endpoint(endpoint).build() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(
            "no contract has this route; it is a template such as /accounts/{id}, or for gRPC \
             /package.Service/Method"
                .to_owned(),
        ),
    }
}

/// Why, in the audit log: of a refusal, of a revocation, or what was noticed of a caller.
pub(crate) fn logged_reason(text: &str) -> Result<String, ParseError> {
    let refusals = Reason::ALL.iter().map(|reason| reason.as_str());
    let revocations = RevocationReason::ALL.map(RevocationReason::as_str);
    let signals = AbuseKind::ALL.iter().map(|kind| kind.as_str());
    // What a key that was taken over from another system was created for.
    let mut all = refusals
        .chain(revocations)
        .chain(signals)
        .chain(["imported"]);
    all.find(|known| *known == text)
        .map(str::to_owned)
        .ok_or_else(|| {
            ParseError::new(
                "reason",
                "one that the audit log knows, such as invalid_api_key or suspected_leakage",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_lengths_or_points() {
        let hour = Duration::from_secs(3600);
        assert_eq!(expiry("12h"), Ok(Expiry::In(12 * hour)));
        assert_eq!(expiry("90d"), Ok(Expiry::In(90 * 24 * hour)));
        assert_eq!(duration("0h"), Ok(Duration::ZERO));
        let time: Timestamp = "2027-01-31T00:00:00Z".parse().unwrap();
        assert_eq!(expiry("2027-01-31T00:00:00Z"), Ok(Expiry::At(time)));
        for bad in [
            "",
            "d",
            "90",
            "+9d",
            "-1d",
            "1.5h",
            "9 d",
            "99999999999999999999d",
            "é",
            "tomorrow",
        ] {
            assert!(expiry(bad).is_err(), "{bad}");
        }
        assert!(duration("18446744073709551615d").is_err(), "no overflow");
    }

    #[test]
    fn a_type_is_named_whole_or_by_its_end_from_a_dot_on() {
        for kind in EventType::all() {
            let whole = kind.as_str();
            for (at, _) in whole.match_indices('.') {
                assert!(event_types(&whole[at + 1..]).unwrap().contain(whole));
            }
            assert!(event_types(whole).unwrap().contain(whole));
        }
        let suspended = event_types("suspended").unwrap();
        assert_eq!(suspended.0.len(), 2, "a key's and a company's");
        for bad in [
            "",
            ".",
            "oked",
            "token",
            "token.revoke",
            "token.Revoked",
            ".revoked",
        ] {
            let refused = event_types(bad).unwrap_err();
            assert!(refused.contains("token.revoked"), "{bad}: {refused}");
        }
    }

    #[test]
    fn a_route_is_one_that_a_contract_can_have() {
        for good in [
            "/",
            "/accounts/{id}",
            "/files/{*path}",
            "/bank.v1.Accounts/List",
        ] {
            assert_eq!(route(good).unwrap(), good);
        }
        for bad in [
            "",
            "accounts",
            "GET /accounts",
            "/accounts?x=1",
            "bank.v1.Accounts/List",
        ] {
            assert!(route(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_limit_names_its_policy_and_both_numbers() {
        assert_eq!(limit("key:write=1:1/s").unwrap().policy, "key:write");
        let good = limit("key=200:50/s").unwrap();
        assert_eq!(good.policy, "key");
        assert_eq!(good.quota, Quota::per_second(200, 50).unwrap());
        for bad in [
            "",
            "key",
            "key=200",
            "key=200:50",
            "key=200:50/d",
            "=1:1/s",
            "key=0:1/s",
            "key\n=1:1/s",
            "\u{1b}[2J=1:1/s",
            "Key=1:1/s",
        ] {
            assert!(limit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_lose_their_host_bits() {
        assert_eq!(network("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(
            network("203.0.113.7").unwrap().to_string(),
            "203.0.113.7/32"
        );
        assert_eq!(
            network("2001:db8::1").unwrap().to_string(),
            "2001:db8::1/128"
        );
        assert!(network("10.0.0.0/33").is_err());
        assert!(network("everywhere").is_err());
    }

    #[test]
    fn a_mapped_network_is_the_one_that_it_stands_for() {
        for (text, meant) in [
            ("::ffff:127.0.0.0/104", "127.0.0.0/8"),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
            ("::ffff:203.0.113.7", "203.0.113.7/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), meant, "{text}");
        }
        assert!(network("::ffff:127.0.0.0/95").is_err());
    }
}
