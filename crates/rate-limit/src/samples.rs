//! Requests as the outer layers leave them, for tests and the conformance suite.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use countersign_core::{
    AccessContext, Clock, CompanyId, Edge, Endpoint, Environment, Identity, KeyId, LimitOverrides,
    MatchedEndpoint, Moment, Monotonic, PeerAddr, ScopeSet, Timestamp,
};
use http::Request;
use http::uri::PathAndQuery;

/// A company and one of its keys.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    company: CompanyId,
    key: KeyId,
    origin: Option<KeyId>,
    limits: LimitOverrides,
}

impl Caller {
    /// A company that no other caller of this process, nor of another one, is of.
    pub(crate) fn new() -> Self {
        let number = RandomState::new().hash_one("company");
        let company = format!("company_{number:016x}");
        Self {
            company: company.parse().expect("letters, digits and `_`"),
            key: random_key(),
            origin: None,
            limits: LimitOverrides::EMPTY,
        }
    }

    /// Another key of the same company.
    pub(crate) fn colleague(&self) -> Self {
        Self {
            company: self.company,
            key: random_key(),
            origin: None,
            limits: LimitOverrides::EMPTY,
        }
    }

    /// The key that a rotation of this one gives.
    #[cfg(test)]
    pub(crate) fn successor(&self) -> Self {
        Self {
            key: random_key(),
            origin: self.origin.or(Some(self.key)),
            ..self.clone()
        }
    }

    #[cfg(test)]
    pub(crate) fn with_limits(mut self, limits: LimitOverrides) -> Self {
        self.limits = limits;
        self
    }

    #[cfg(test)]
    pub(crate) const fn company(&self) -> CompanyId {
        self.company
    }

    #[cfg(test)]
    pub(crate) const fn key(&self) -> KeyId {
        self.key
    }

    /// The record of a request by this caller to `endpoint`.
    pub(crate) fn asks(&self, endpoint: Endpoint, at: Moment) -> AccessContext {
        self.fill(enter(Request::new(()), at), endpoint)
    }

    /// The record of a gRPC call by this caller.
    #[cfg(test)]
    pub(crate) fn calls(&self, method: &str, at: Moment) -> AccessContext {
        let mut request = Request::new(());
        let grpc = http::HeaderValue::from_static("application/grpc");
        request
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, grpc);
        self.fill(enter(request, at), Endpoint::grpc(method))
    }

    /// The record of a read by this caller from an address.
    #[cfg(test)]
    pub(crate) fn reads_from(&self, source: &str, at: Moment) -> AccessContext {
        self.asks_from(source, Endpoint::get("/accounts"), at)
    }

    /// The record of a request by this caller to `endpoint` from an address.
    pub(crate) fn asks_from(&self, source: &str, endpoint: Endpoint, at: Moment) -> AccessContext {
        self.fill(anonymous(source, at), endpoint)
    }

    fn fill(&self, context: AccessContext, endpoint: Endpoint) -> AccessContext {
        let prefix = "acme_test_000000000000".parse();
        let identity = Identity::new(self.company, Environment::Test, ScopeSet::new())
            .with_key(self.key, prefix.expect("a prefix by its form"))
            .with_key_origin(self.origin.unwrap_or(self.key))
            .with_limits(self.limits.clone());
        let matched = MatchedEndpoint {
            endpoint: endpoint.kept(),
            target: PathAndQuery::from_static("/"),
        };
        context.identify(identity).expect("the record is new");
        context.match_endpoint(matched).expect("the record is new");
        context
    }

    pub(crate) fn reads(&self, at: Moment) -> AccessContext {
        self.asks(Endpoint::get("/accounts"), at)
    }
}

/// The record of a request of which nothing is known but the address it came from.
pub(crate) fn anonymous(source: &str, at: Moment) -> AccessContext {
    let mut request = Request::new(());
    let address = source.parse().expect("an address");
    request
        .extensions_mut()
        .insert(PeerAddr(std::net::SocketAddr::new(address, 4711)));
    enter(request, at)
}

fn enter(mut request: Request<()>, at: Moment) -> AccessContext {
    let edge = Edge::builder().clock(Stopped(at)).build();
    edge.enter(&mut request).context(&request).clone()
}

/// So long after the clock's start.
pub(crate) fn after(passed: Duration) -> Moment {
    let nanos = u64::try_from(passed.as_nanos()).expect("less than 584 years");
    Moment {
        wall: Timestamp::default(),
        monotonic: Monotonic::from_nanos(nanos),
    }
}

fn random_key() -> KeyId {
    let random = RandomState::new();
    let half = |salt: u8| u128::from(random.hash_one(salt));
    KeyId::from_u128(half(0) << 64 | half(1))
}

#[derive(Debug)]
struct Stopped(Moment);

impl Clock for Stopped {
    fn now(&self) -> Moment {
        self.0
    }
}
