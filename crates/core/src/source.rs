//! The source address of a request: which peer, which trusted proxies, which group.
//!
//! Without trusted proxies the source is the peer. With them it is the right-most entry of the
//! chosen header that is not itself a trusted proxy: every entry further left was written by
//! somebody who is not trusted, and is not even looked at. An entry that can't be read ends the walk
//! at the last trusted hop.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use ipnet::{IpNet, Ipv4Net};

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    address: IpAddr,
    resolved: bool,
}

impl Source {
    /// The address of the client, IPv4-mapped IPv6 as IPv4.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// False when a trusted proxy sent an entry that can't be read: [`Source::address`] is then
    /// the last trusted hop.
    #[must_use]
    pub const fn is_resolved(&self) -> bool {
        self.resolved
    }

    /// The group that limits count.
    #[must_use]
    pub const fn bucket(&self) -> SourceBucket {
        SourceBucket::of(self.address)
    }
}

/// The unit in which sources are counted: one IPv4 address, or one IPv6 /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceBucket {
    /// One IPv4 address.
    V4(Ipv4Addr),
    /// The upper 64 bits of an IPv6 address.
    V6(u64),
}

impl SourceBucket {
    /// The group of `address`; an IPv4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => Self::V6((v6.to_bits() >> 64) as u64),
        }
    }
}

impl fmt::Display for SourceBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(upper) => {
                write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*upper) << 64))
            }
        }
    }
}

/// The header in which the trusted proxies write. Only one is read: a proxy that appends to one
/// passes the other through as the caller wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239), its `for` parameter.
    Forwarded,
}

/// The proxies whose word about the source is believed; none by default.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ForwardedHeader,
}

impl TrustedProxies {
    /// Believes the proxies in `networks` and no others. A network of IPv4-mapped IPv6 addresses is
    /// the IPv4 network that it stands for.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self {
            networks: networks.into_iter().map(canonical_network).collect(),
            header: ForwardedHeader::default(),
        }
    }

    /// Reads another header than `X-Forwarded-For`.
    #[must_use]
    pub fn with_header(mut self, header: ForwardedHeader) -> Self {
        self.header = header;
        self
    }

    /// Whether `address` is one of the trusted proxies.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|net| net.contains(&address))
    }

    /// The source of a request that `peer` sent with `headers`.
    #[must_use]
    pub fn resolve(&self, peer: IpAddr, headers: &HeaderMap) -> Source {
        let mut hop = peer.to_canonical();
        let found = |address, resolved| Source { address, resolved };
        if !self.contains(hop) {
            return found(hop, true);
        }
        let name = match self.header {
            ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
            ForwardedHeader::Forwarded => FORWARDED,
        };
        for line in headers.get_all(name).iter().rev() {
            for entry in split_right(line.as_bytes()) {
                let Some(address) = self.node(entry).and_then(parse_node) else {
                    return found(hop, false);
                };
                hop = address;
                if !self.contains(hop) {
                    return found(hop, true);
                }
            }
        }
        found(hop, true)
    }

    /// Whom one entry names.
    fn node<'a>(&self, entry: &'a [u8]) -> Option<&'a str> {
        let entry = str::from_utf8(entry).ok()?;
        match self.header {
            ForwardedHeader::XForwardedFor => Some(entry.trim()),
            ForwardedHeader::Forwarded => forwarded_for(entry),
        }
    }
}

/// `network` as the sources of requests are compared with it: they are never IPv4-mapped IPv6
/// addresses, so that a network of such addresses is the IPv4 network that it stands for. A larger
/// IPv6 network, of those and others, stays as it is.
#[must_use]
pub fn canonical_network(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else {
        return network;
    };
    let four = six.addr().to_ipv4_mapped();
    let length = six.prefix_len().checked_sub(96);
    let four = four
        .zip(length)
        .map(|(four, length)| Ipv4Net::new(four, length));
    four.and_then(Result::ok).map_or(network, IpNet::V4)
}

/// The comma-separated entries of a line from right to left; commas within quotes don't separate.
fn split_right(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    line.rsplit(move |byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    })
}

/// The `for` parameter of one RFC 7239 element, unquoted.
fn forwarded_for(element: &str) -> Option<&str> {
    let mut nodes = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim();
        let unquoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        name.trim()
            .eq_ignore_ascii_case("for")
            .then_some(unquoted.unwrap_or(value))
    });
    let node = nodes.next()?;
    // Two `for` parameters in one element are malformed: neither is believed.
    nodes.next().is_none().then_some(node)
}

/// An address as proxies write it: bare, with a port, or an IPv6 address in brackets.
fn parse_node(text: &str) -> Option<IpAddr> {
    let bracketed = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        Ipv6Addr::from_str(inner).ok().map(IpAddr::V6)
    };
    IpAddr::from_str(text)
        .ok()
        .or_else(|| SocketAddr::from_str(text).ok().map(|a| a.ip()))
        .or_else(bracketed)
        .map(|address| address.to_canonical())
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(header: ForwardedHeader, name: &'static str, lines: &[&str]) -> Source {
        let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]).with_header(header);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, line.parse().unwrap());
        }
        proxies.resolve("10.0.0.1".parse().unwrap(), &headers)
    }

    #[test]
    fn reads_rfc_7239_from_the_right() {
        let cases = [
            ("for=6.6.6.6, for=203.0.113.9", "203.0.113.9", true),
            (
                "for=\"[2001:db8::1]:4711\";proto=https",
                "2001:db8::1",
                true,
            ),
            (
                "For=203.0.113.9;by=10.0.0.2, for=10.0.0.3",
                "203.0.113.9",
                true,
            ),
            ("for=203.0.113.9, for=unknown", "10.0.0.1", false),
            ("for=203.0.113.9, for=_hidden", "10.0.0.1", false),
            ("for=1.1.1.1;for=2.2.2.2", "10.0.0.1", false),
            ("proto=https", "10.0.0.1", false),
            ("for=\"1.1.1.1, 9.9.9.9\"", "10.0.0.1", false),
        ];
        for (line, address, resolved) in cases {
            let source = resolve(ForwardedHeader::Forwarded, "forwarded", &[line]);
            assert_eq!(source.address().to_string(), address, "{line}");
            assert_eq!(source.is_resolved(), resolved, "{line}");
        }
    }

    /// Proxies append to what the caller sent.
    #[test]
    fn what_stands_left_of_the_caller_is_not_looked_at() {
        let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
        let resolve = |header, name: HeaderName, line: &[u8]| {
            let line = http::HeaderValue::from_bytes(line).unwrap();
            let headers = HeaderMap::from_iter([(name, line)]);
            let proxies = proxies.clone().with_header(header);
            proxies.resolve("10.0.0.1".parse().unwrap(), &headers)
        };
        for left in [
            &b"\xe9, "[..],
            b"\xff,",
            b"\"\xe9, ",
            b"\", ",
            b"a\xc3\"b,\t",
        ] {
            let line = [left, b"203.0.113.9"].concat();
            let plain = resolve(ForwardedHeader::XForwardedFor, X_FORWARDED_FOR, &line);
            let line = [left, b"for=203.0.113.9"].concat();
            let forwarded = resolve(ForwardedHeader::Forwarded, FORWARDED, &line);
            for source in [plain, forwarded] {
                assert_eq!(source.address().to_string(), "203.0.113.9", "{left:?}");
                assert!(source.is_resolved());
            }
        }
        let own = resolve(ForwardedHeader::XForwardedFor, X_FORWARDED_FOR, b"\xe9");
        assert!(!own.is_resolved(), "the proxy's own entry");
    }

    #[test]
    fn a_network_of_mapped_addresses_is_the_one_that_it_stands_for() {
        let canonical = |text: &str| canonical_network(text.parse().unwrap()).to_string();
        assert_eq!(canonical("::ffff:10.0.0.0/104"), "10.0.0.0/8");
        assert_eq!(canonical("::ffff:10.0.0.1/128"), "10.0.0.1/32");
        assert_eq!(canonical("::ffff:0.0.0.0/96"), "0.0.0.0/0");
        for same in ["::ffff:0.0.0.0/95", "2001:db8::/32", "10.0.0.0/8", "::/0"] {
            let network: IpNet = same.parse().unwrap();
            assert_eq!(canonical_network(network), network);
        }
        let proxies = TrustedProxies::new(["::ffff:10.0.0.0/104".parse().unwrap()]);
        for address in ["10.0.0.1", "::ffff:10.0.0.1"] {
            assert!(proxies.contains(address.parse().unwrap()));
        }
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines = ["6.6.6.6", "203.0.113.9", "10.0.0.7, 10.0.0.8"];
        let source = resolve(ForwardedHeader::XForwardedFor, "x-forwarded-for", &lines);
        assert_eq!(source.address().to_string(), "203.0.113.9");
    }

    #[test]
    fn the_header_that_was_not_chosen_is_not_read() {
        let source = resolve(
            ForwardedHeader::XForwardedFor,
            "forwarded",
            &["for=6.6.6.6"],
        );
        assert_eq!(source.address().to_string(), "10.0.0.1");
    }

    #[test]
    fn mapped_addresses_are_not_one_bucket() {
        let bucket = |text: &str| SourceBucket::of(text.parse().unwrap());
        assert_ne!(bucket("::ffff:192.0.2.1"), bucket("::ffff:192.0.2.2"));
        assert_eq!(bucket("::ffff:192.0.2.1"), bucket("192.0.2.1"));
        assert_eq!(bucket("2001:db8:1:2::1"), bucket("2001:db8:1:2:ffff::9"));
        assert_eq!(bucket("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
    }
}
