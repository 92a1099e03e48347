//! What one policy says.

use std::sync::Arc;

use countersign_core::{ConfigError, OperationType, Quota, Reason};

/// What a policy counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dimension {
    /// Each key by itself.
    Key,
    /// All keys of a company together.
    Company,
    /// Each key on each endpoint.
    Endpoint,
    /// Each key on each endpoint scope: endpoints that demand the same scope count together.
    Scope,
    /// Each key on each operation type.
    Operation,
    /// Everybody together. Callers are never shown such a policy.
    Platform,
}

impl Dimension {
    /// The audit's reason for a refusal by such a policy.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Key => Reason::LimitKey,
            Self::Company => Reason::LimitCompany,
            Self::Endpoint => Reason::LimitEndpoint,
            Self::Scope => Reason::LimitScope,
            Self::Operation => Reason::LimitOperation,
            Self::Platform => Reason::LimitPlatform,
        }
    }

    /// Whether response fields show such a policy to its caller.
    #[must_use]
    pub const fn is_shown(self) -> bool {
        !matches!(self, Self::Platform)
    }

    /// Whether it counts each key by itself: the request needs a verified key, and a key may have
    /// a quota of its own.
    #[must_use]
    pub const fn is_per_key(self) -> bool {
        !matches!(self, Self::Company | Self::Platform)
    }

    pub(crate) const fn needs_endpoint(self) -> bool {
        matches!(self, Self::Endpoint | Self::Scope | Self::Operation)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Company => "company",
            Self::Endpoint => "endpoint",
            Self::Scope => "scope",
            Self::Operation => "operation",
            Self::Platform => "platform",
        }
    }
}

/// One limit, as data: a name, what it counts by, and how much. [`Policies::new`](crate::Policies)
/// checks it.
///
/// ```
/// use countersign_core::{OperationType, Quota};
/// use countersign_rate_limit::{Dimension, Policies, Policy};
///
/// let policies = Policies::new([
///     // 200 reads at once and 50 a second; 20 writes at once and 5 a second.
///     Policy::new("key", Dimension::Key, Quota::per_second(200, 50)?)
///         .for_operation(OperationType::Write, Quota::per_second(20, 5)?),
///     Policy::new("company", Dimension::Company, Quota::per_second(400, 100)?),
///     // Exports cost more, and only administrators run them.
///     Policy::new("exports", Dimension::Company, Quota::per_minute(30, 10)?)
///         .only(OperationType::Administration)
///         .cost(5),
/// ])?;
/// # Ok::<(), countersign_core::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Policy {
    pub(crate) name: Arc<str>,
    pub(crate) dimension: Dimension,
    pub(crate) quota: Quota,
    classes: Vec<(OperationType, Quota)>,
    only: Vec<OperationType>,
    pub(crate) cost: u32,
}

impl Policy {
    /// A policy for every request. `name` is what callers and the audit see: 1 to 32 characters
    /// of `a-z 0-9 -`.
    pub fn new(name: impl Into<Arc<str>>, dimension: Dimension, quota: Quota) -> Self {
        Self {
            name: name.into(),
            dimension,
            quota,
            classes: Vec::new(),
            only: Vec::new(),
            cost: 1,
        }
    }

    /// Another quota for requests of this operation type, counted apart from the rest. Callers see
    /// it under the same name.
    pub fn for_operation(mut self, operation: OperationType, quota: Quota) -> Self {
        self.classes.push((operation, quota));
        self
    }

    /// Leaves out requests of other operation types. Said several times, all the types that were
    /// named are counted, together.
    pub fn only(mut self, operation: OperationType) -> Self {
        self.only.push(operation);
        self
    }

    /// How many units one request takes; 1 unless said otherwise.
    pub fn cost(mut self, units: u32) -> Self {
        self.cost = units;
        self
    }

    pub(crate) fn needs_endpoint(&self) -> bool {
        self.dimension.needs_endpoint() || !self.classes.is_empty() || !self.only.is_empty()
    }

    pub(crate) fn applies_to(&self, operation: Option<OperationType>) -> bool {
        self.only.is_empty() || operation.is_some_and(|operation| self.only.contains(&operation))
    }

    /// The quota for requests of `operation`, and the class that they are counted in, if it is
    /// not that of the rest.
    pub(crate) fn quota_for(
        &self,
        operation: Option<OperationType>,
    ) -> (Quota, Option<OperationType>) {
        let own = |(class, _): &&(OperationType, Quota)| Some(*class) == operation;
        match self.classes.iter().find(own) {
            Some((class, quota)) => (*quota, Some(*class)),
            None => (self.quota, None),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let problem =
            |problem: &str| Err(ConfigError::new(format!("policy {}", self.name), problem));
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=32).contains(&self.name.len()) || !self.name.bytes().all(good) {
            return problem("a name is 1 to 32 characters of a-z 0-9 -");
        }
        if self.cost == 0 {
            return problem("a cost of 0 limits nothing");
        }
        let quotas = self.classes.iter().map(|(_, quota)| *quota);
        if quotas.chain([self.quota]).any(|q| q.burst() < self.cost) {
            return problem("the cost is more than the quota holds, so no request would ever pass");
        }
        for (i, (class, _)) in self.classes.iter().enumerate() {
            if self.classes[..i].iter().any(|(other, _)| other == class) {
                return problem("an operation type has two quotas");
            }
            if !self.applies_to(Some(*class)) {
                return problem("a quota for an operation type that `only` leaves out");
            }
        }
        Ok(())
    }

    /// A number for the policy's counters of one class. The same in every process and version, so
    /// that a configuration that is loaded anew finds its counters.
    pub(crate) fn tag(&self, class: Option<OperationType>) -> u64 {
        let class = class.map_or("", OperationType::as_str);
        let parts = [self.dimension.as_str(), "/", &*self.name, "/", class];
        parts
            .iter()
            .flat_map(|part| part.bytes())
            .fold(FNV_OFFSET, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
            })
    }
}

/// FNV-1a: names come from operators, and the store's secret goes on top.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
