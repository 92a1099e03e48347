//! How many units a request takes.

use std::fmt;
use std::sync::Arc;

use arrayvec::ArrayVec;
use countersign_core::{AccessContext, Endpoint, OperationType};
use http::{Extensions, HeaderMap, Request, Uri};

use crate::request::MAX_LIMITS;

/// A request, as a function sees it that says what it costs. Its text is the caller's own: bound
/// what you read from it, and never log it.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    context: &'a AccessContext,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

/// What a request costs where that is the word of a function: made by
/// [`Policies::costs`](crate::Policies::costs), once for each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Costs(ArrayVec<u32, MAX_LIMITS>);

/// The costs of one policy.
#[derive(Clone)]
pub(crate) struct Cost {
    pub(crate) units: u32,
    pub(crate) endpoints: Vec<(Endpoint, u32)>,
    pub(crate) by: Option<CostFn>,
}

pub(crate) type CostFn = Arc<dyn Fn(&Call<'_>) -> u32 + Send + Sync>;

impl<'a> Call<'a> {
    pub(crate) fn new<B>(request: &'a Request<B>, context: &'a AccessContext) -> Self {
        Self {
            context,
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// What the layers found out: the endpoint, the caller.
    #[must_use]
    pub const fn context(&self) -> &'a AccessContext {
        self.context
    }

    /// The target.
    #[must_use]
    pub const fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The header fields.
    #[must_use]
    pub const fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// What other layers left with the request.
    #[must_use]
    pub const fn extensions(&self) -> &'a Extensions {
        self.extensions
    }
}

impl Costs {
    pub(crate) fn new(units: impl Iterator<Item = u32>) -> Self {
        Self(units.collect())
    }

    pub(crate) fn of(&self, index: usize) -> Option<u32> {
        self.0.get(index).copied()
    }
}

impl Cost {
    /// What a request to `endpoint` takes, where no function says: what this policy says of the
    /// endpoint, else its units as many `times` as the endpoint says.
    #[inline]
    pub(crate) fn of(&self, endpoint: Option<&Endpoint>, times: u32) -> u32 {
        if self.endpoints.is_empty() {
            self.units.saturating_mul(times)
        } else {
            self.of_named(endpoint, times)
        }
    }

    fn of_named(&self, endpoint: Option<&Endpoint>, times: u32) -> u32 {
        let same = |(own, _): &&(Endpoint, u32)| endpoint.is_some_and(|it| is_same(own, it));
        let named = self.endpoints.iter().find(same);
        named.map_or(self.units.saturating_mul(times), |(_, units)| *units)
    }

    /// What a request to `endpoint` takes at least: nothing, where a function says.
    pub(crate) fn least(&self, endpoint: &Endpoint) -> u32 {
        match self.by {
            Some(_) => 0,
            None => self.of(Some(endpoint), endpoint.call_cost().get()),
        }
    }

    /// The most that a request of `operation` takes, where no function says.
    pub(crate) fn dearest(&self, operation: OperationType) -> u32 {
        if self.by.is_some() {
            return 0;
        }
        let mine = self
            .endpoints
            .iter()
            .filter(|(e, _)| e.operation() == operation);
        mine.map(|(_, units)| *units).fold(self.units, u32::max)
    }

    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.units == 0 {
            return Err("a cost of 0 limits nothing");
        }
        if self.by.is_some() && (self.units != 1 || !self.endpoints.is_empty()) {
            return Err("a function says what a request costs, and so does a number");
        }
        for (i, (endpoint, _)) in self.endpoints.iter().enumerate() {
            let mut before = self.endpoints[..i].iter();
            if before.any(|(other, _)| is_same(other, endpoint)) {
                return Err("an endpoint has two costs");
            }
        }
        Ok(())
    }
}

impl Default for Cost {
    fn default() -> Self {
        Self {
            units: 1,
            endpoints: Vec::new(),
            by: None,
        }
    }
}

impl fmt::Debug for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cost")
            .field("units", &self.units)
            .field("endpoints", &self.endpoints)
            .field("by", &self.by.as_ref().map(|_| "<fn>"))
            .finish()
    }
}

pub(crate) fn is_same(one: &Endpoint, other: &Endpoint) -> bool {
    one.method() == other.method() && one.template() == other.template()
}
