//! How a request enters the stack, and how its answer leaves it.

mod fields;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderValue, Request, Response, Version};

use self::fields::Fields;
use crate::body::DenialBody;
use crate::context::Record;
use crate::respond::DenialStyle;
use crate::source::TrustedProxies;
use crate::{
    AccessContext, Clock, Moment, RequestId, RequestObserver, SystemClock, TraceId, thread_number,
};

/// The address of the peer, put into a request's extensions by whoever accepted its connection.
/// With the feature `axum`, axum's `ConnectInfo<SocketAddr>` is read as well, with the feature
/// `tonic` the `TcpConnectInfo` that a tonic server puts there by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// What every layer must do alike when a request comes in: which clock is read, which proxies are
/// believed, where its id comes from and how a refusal is put. One `Edge` is shared by all layers
/// of a stack; cloning it is cheap.
///
/// ```
/// use countersign_core::{Edge, source::TrustedProxies};
///
/// let edge = Edge::builder()
///     .trusted_proxies(TrustedProxies::new(["10.0.0.0/8".parse()?]))
///     .build();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Edge {
    settings: Arc<Settings>,
    near: Arc<[Arc<Near>]>,
}

/// A thread's own handle of an edge, for the records of its requests: were they to count references
/// of one handle, every thread would write to the same place for each request. None of these has
/// others within it.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Near(pub(crate) Edge);

#[derive(Debug, Clone)]
struct Settings {
    clock: Arc<dyn Clock>,
    proxies: TrustedProxies,
    trusts_request_id: bool,
    style: DenialStyle,
    observer: Option<Arc<dyn RequestObserver>>,
}

impl Edge {
    /// Begins with the system's clock, no trusted proxy, ids of our own and JSON.
    pub fn builder() -> EdgeBuilder {
        EdgeBuilder(Settings {
            clock: Arc::new(SystemClock),
            proxies: TrustedProxies::default(),
            trusts_request_id: false,
            style: DenialStyle::default(),
            observer: None,
        })
    }

    /// Finds the request's record, or makes it where this is the first layer of the stack.
    pub fn enter<B>(&self, request: &mut Request<B>) -> Entered {
        if request.extensions().get::<AccessContext>().is_some() {
            return Entered(None);
        }
        Entered(Some(self.begin(request)))
    }

    /// The clock that this stack reads.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.settings.clock
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.settings.clock.now()
    }

    /// The same edge, with somebody who is told of each request's outcome, in place of whoever was.
    #[must_use]
    pub fn with_observer(mut self, observer: impl RequestObserver) -> Self {
        Arc::make_mut(&mut self.settings).observer = Some(Arc::new(observer));
        Self::of(self.settings)
    }

    /// Who is told of each request's outcome, if anybody is.
    #[must_use]
    #[inline]
    pub fn observer(&self) -> Option<&dyn RequestObserver> {
        self.settings.observer.as_deref()
    }

    pub(crate) fn style(&self) -> &DenialStyle {
        &self.settings.style
    }

    /// Makes the record of a request that no layer has seen.
    pub(crate) fn begin<B>(&self, request: &mut Request<B>) -> AccessContext {
        let context = AccessContext::new(self.read(request));
        request.extensions_mut().insert(context.clone());
        context
    }

    fn of(settings: Arc<Settings>) -> Self {
        let alone = Self {
            settings: Arc::clone(&settings),
            near: Arc::new([]),
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let near = (0..threads.min(MOST_NEAR)).map(|_| Arc::new(Near(alone.clone())));
        Self {
            settings,
            near: near.collect(),
        }
    }

    fn near(&self) -> Arc<Near> {
        let index = thread_number() % self.near.len().max(1);
        match self.near.get(index) {
            Some(near) => Arc::clone(near),
            None => Arc::new(Near(self.clone())),
        }
    }

    fn read<B>(&self, request: &Request<B>) -> Record {
        let headers = request.headers();
        let fields = Fields::of(headers);
        let received = self.now();
        let given_id = fields
            .request_id
            .filter(|_| self.settings.trusts_request_id);
        let given_id = given_id.and_then(|id| id.to_str().ok()?.parse::<RequestId>().ok());
        let trace = fields.traceparent.map(HeaderValue::as_bytes);
        Record::new(
            self.near(),
            received,
            given_id.unwrap_or_else(|| RequestId::generate(received.wall)),
            trace.and_then(TraceId::from_traceparent),
            fields.format(self.settings.style.default_format),
            peer(request).map(|peer| self.settings.proxies.resolve(peer, headers)),
            // From HTTP/2 on a body need not be announced.
            fields.announces_body || request.version() > Version::HTTP_11,
        )
    }
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Edge").field(&self.settings).finish()
    }
}

impl Default for Edge {
    fn default() -> Self {
        Self::builder().build()
    }
}

/// Puts an [`Edge`] together.
#[derive(Debug)]
#[must_use]
pub struct EdgeBuilder(Settings);

impl EdgeBuilder {
    /// Reads time from `clock`.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.0.clock = Arc::new(clock);
        self
    }

    /// Believes these proxies about where a request came from.
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.0.proxies = proxies;
        self
    }

    /// Takes `X-Request-Id` from the request where it is 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
    /// For services behind an edge that sets the field itself: otherwise callers choose their ids.
    pub fn trust_request_id(mut self) -> Self {
        self.0.trusts_request_id = true;
        self
    }

    /// How refusals are put.
    pub fn denial_style(mut self, style: DenialStyle) -> Self {
        self.0.style = style;
        self
    }

    /// The finished edge.
    #[must_use]
    pub fn build(self) -> Edge {
        Edge::of(Arc::new(self.0))
    }
}

/// A layer's standing at one request: whether it was the first of the stack, which then also
/// finishes the answer.
#[derive(Debug)]
#[must_use]
pub struct Entered(Option<AccessContext>);

impl Entered {
    /// Whether the layer made the request's record.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.0.is_some()
    }

    /// The request's record.
    pub fn context<'a, B>(&'a self, request: &'a Request<B>) -> &'a AccessContext {
        self.0
            .as_ref()
            .or_else(|| AccessContext::of(request))
            .expect("`enter` either made the record or found it in this request")
    }

    /// The request's record, in a handle of one's own.
    pub fn into_context<B>(self, request: &Request<B>) -> AccessContext {
        match self.0 {
            Some(context) => context,
            None => self.context(request).clone(),
        }
    }

    /// Finishes an answer on its way out, in the first layer of the stack and in no other: gives
    /// it its `X-Request-Id`, and puts a handler's [`Denial`](crate::Denial) into the form that
    /// the caller asked for.
    pub fn settle<B: DenialBody>(&self, response: &mut Response<B>) {
        if let Some(context) = &self.0 {
            context.settle(response);
        }
    }
}

fn peer<B>(request: &Request<B>) -> Option<IpAddr> {
    let extensions = request.extensions();
    let ours = extensions.get::<PeerAddr>().map(|peer| peer.0.ip());
    #[cfg(feature = "axum")]
    let ours = ours.or_else(|| {
        let info = extensions.get::<axum::extract::ConnectInfo<SocketAddr>>()?;
        Some(info.0.ip())
    });
    #[cfg(feature = "tonic")]
    let ours = ours.or_else(|| {
        let info = extensions.get::<tonic::transport::server::TcpConnectInfo>()?;
        Some(info.remote_addr()?.ip())
    });
    ours
}

/// More threads than this share handles.
const MOST_NEAR: usize = 64;
