//! The layer.

use std::sync::Arc;
use std::time::Duration;

use countersign_core::body::ReplayBody;
use countersign_core::{AccessContext, ConfigError, Edge, Endpoint, Guard, Guarded, Verdict, Wait};
use http::{HeaderName, Request};
use tower_layer::Layer;

use crate::JsonPointer;
use crate::claims::Claims;
use crate::inspect::inspect;
use crate::place::{BodyPlan, OverLimit, Settings, place, settle};
use crate::waiting::Patience;

/// Makes the company that owns the verified credential the company scope of each request, or the
/// one that a claim chooses among the subsidiaries that operators granted to the credential, and
/// refuses requests that name any other. Behind the layer that verifies callers, and behind a
/// contract layer if paths hold claims.
#[derive(Debug, Clone)]
#[must_use]
pub struct CompanyScopeLayer {
    settings: Arc<Settings>,
    edge: Edge,
}

/// What [`CompanyScopeLayer`] makes of a service.
pub type CompanyScopeService<S> = Guarded<S, CompanyScopeLayer>;

impl CompanyScopeLayer {
    /// How much of a body is read unless said otherwise: 64 KiB.
    pub const DEFAULT_BODY_LIMIT: usize = 64 * 1024;

    /// A layer that expects no claims.
    pub fn new() -> Self {
        Self {
            settings: Arc::new(Settings {
                claims: Claims::default(),
                body_limit: Self::DEFAULT_BODY_LIMIT,
                over_limit: OverLimit::default(),
                patience: Patience::default(),
            }),
            edge: Edge::default(),
        }
    }

    /// Enters requests by `edge`, where this is the first layer of the stack.
    pub fn with_edge(mut self, edge: Edge) -> Self {
        self.edge = edge;
        self
    }

    /// Checks the path parameter `name` wherever an endpoint's template has it:
    /// [`CompanyScopeLayer::check_all`] says whether one has.
    pub fn claim_path(self, name: impl Into<Box<str>>) -> Self {
        self.with(|settings| settings.claims.path.push(name.into()))
    }

    /// Checks the query parameter `name`, each time it stands in the query.
    pub fn claim_query(self, name: impl Into<Box<str>>) -> Self {
        self.with(|settings| settings.claims.query.push(name.into()))
    }

    /// Checks the header field `name`, each line of it.
    pub fn claim_header(self, name: HeaderName) -> Self {
        self.with(|settings| settings.claims.headers.push(name))
    }

    /// Checks the text at `pointer` in JSON bodies. Requests with a body are then read before
    /// they go on, up to the bound. A body that has not come yet is waited for, with the timer of tokio's
    /// runtime: see [`body_timeout`](Self::body_timeout) and [`waiting_bodies`](Self::waiting_bodies).
    /// An array where the pointer has a name is refused as `malformed_request`.
    pub fn claim_json(self, pointer: JsonPointer) -> Self {
        self.with(|settings| settings.claims.json.insert(pointer))
    }

    /// Reads at most `bytes` of a body for its claims, in at most 1024 frames; 0 with claims in bodies is a
    /// mistake ([`check_all`](Self::check_all)).
    pub fn body_limit(self, bytes: usize) -> Self {
        self.with(|settings| settings.body_limit = bytes)
    }

    /// What is done with a body that is longer.
    pub fn over_limit(self, over_limit: OverLimit) -> Self {
        self.with(|settings| settings.over_limit = over_limit)
    }

    /// Waits for the rest of a body that is read for its claims at most `time`, 10 seconds unless said
    /// otherwise; what has not come until then is refused (`malformed_request`).
    pub fn body_timeout(self, time: Duration) -> Self {
        self.with(|settings| settings.patience.time = time)
    }

    /// Waits for at most `most` bodies of one company at the same time, 256 unless said otherwise; one
    /// more is refused (`limit_company`). A body that has come as a whole is not waited for. Limits are
    /// behind this layer, and each request that waits keeps its place in the audit's queue: without a
    /// bound one key could take all of them.
    pub fn waiting_bodies(self, most: usize) -> Self {
        self.with(|settings| settings.patience.most = most)
    }

    /// Whether each claim that is looked for can be found in requests for `endpoints`, a contract's. A
    /// path claim under a name that no template has, a mistyped one, is looked for nowhere, and neither is
    /// a claim in a body of which nothing is read.
    ///
    /// # Errors
    /// When no template has the parameter of a path claim, the name of a path or query claim is empty, or
    /// there is a claim in JSON bodies and the bound of what is read of them is 0.
    pub fn check_all<'a>(
        &self,
        endpoints: impl IntoIterator<Item = &'a Endpoint>,
    ) -> Result<(), ConfigError> {
        let (endpoints, settings) = (endpoints.into_iter().collect::<Vec<_>>(), &self.settings);
        settings.claims.check_names(&endpoints)?;
        if settings.body_limit == 0 && !settings.claims.json.is_empty() {
            let problem = "its body limit is 0, so that no body would ever be read";
            return Err(ConfigError::new("JSON claim", problem));
        }
        Ok(())
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl Default for CompanyScopeLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<B> Guard<B> for CompanyScopeLayer
where
    B: ReplayBody + Unpin + Send + 'static,
{
    #[inline]
    fn check(&self, request: &Request<B>, context: &AccessContext) -> Verdict<B> {
        let placed = match place(&self.settings, request, context) {
            Ok(placed) => placed,
            Err(denial) => return Verdict::Refuse(denial),
        };
        if placed.body == BodyPlan::Skip {
            return settle(context, placed.chosen).into();
        }
        let (chosen, guesses) = (placed.chosen.copied(), placed.body == BodyPlan::Guess);
        let (settings, context) = (Arc::clone(&self.settings), context.clone());
        Verdict::Wait(Wait::with_request(move |request| {
            inspect(settings, context, chosen, guesses, request)
        }))
    }
}

impl<S> Layer<S> for CompanyScopeLayer {
    type Service = CompanyScopeService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded::new(inner, self.clone(), self.edge.clone())
    }
}
