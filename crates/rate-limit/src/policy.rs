//! What one policy says.

use std::sync::Arc;

use countersign_core::{ConfigError, Endpoint, OperationType, Quota};

use crate::cost::{Call, Cost};
use crate::{Dimension, StoreFailure};

/// One limit, as data: a name, what it counts by, and how much. [`Policies::new`](crate::Policies)
/// checks it.
///
/// ```
/// use std::time::Duration;
/// use countersign_core::{Endpoint, OperationType, Quota};
/// use countersign_rate_limit::{Dimension, Policies, Policy};
///
/// const DAY: Duration = Duration::from_secs(86_400);
/// let policies = Policies::new([
///     // Reads: 20 at once and 10 a second. Writes apart from them: 5 at once and 1 a second. And,
///     // reads and writes together, never more than 50 000 in any 24 hours.
///     Policy::new("key", Dimension::Key, Quota::per_second(20, 10))
///         .for_operation(OperationType::Write, Quota::per_second(5, 1))
///         .and("day", Quota::at_most(50_000, DAY)),
///     // An export takes as much as 25 other requests.
///     Policy::new("company", Dimension::Company, Quota::per_second(400, 100))
///         .cost_of(Endpoint::post("/external/v1/exports"), 25),
///     // One unit for each payment of a batch.
///     Policy::new("payments", Dimension::Company, Quota::per_minute(1000, 1000))
///         .only(OperationType::Write)
///         .cost_by(|call| {
///             let count = call.headers().get("x-batch-size");
///             count.and_then(|it| it.to_str().ok()?.parse().ok()).unwrap_or(1)
///         }),
/// ])?;
/// # Ok::<(), countersign_core::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Policy {
    pub(crate) name: Arc<str>,
    pub(crate) dimension: Dimension,
    pub(crate) windows: Vec<Window>,
    only: Vec<OperationType>,
    pub(crate) cost: Cost,
    pub(crate) on_failure: Option<StoreFailure>,
    /// The first quota that was none.
    broken: Option<ConfigError>,
}

/// One quota of a policy, and the quotas of operation types that count apart from it.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    /// The policy's name, or that and the quota's own.
    pub(crate) name: Arc<str>,
    quota: Quota,
    classes: Vec<(OperationType, Quota)>,
}

impl Policy {
    /// A policy for every request. `name` is what callers and the audit see: 1 to 32 characters
    /// of `a-z 0-9 -`.
    ///
    /// A quota can be given as the attempt at one: what is wrong with it is then told by
    /// [`Policies::new`](crate::Policies::new), with the policy's name.
    pub fn new(
        name: impl Into<Arc<str>>,
        dimension: Dimension,
        quota: impl Into<Result<Quota, ConfigError>>,
    ) -> Self {
        let policy = Self {
            name: name.into(),
            dimension,
            windows: Vec::new(),
            only: Vec::new(),
            cost: Cost::default(),
            on_failure: None,
            broken: None,
        };
        policy.window(None, quota.into())
    }

    /// One more quota that every request must fit into: a sustained one beside the burst. Both are
    /// drawn on together, or neither is. Callers and the audit see it under the policy's name with
    /// `suffix` to it: `key-day` for `day`.
    ///
    /// A quota is a burst *and* a rate: `Quota::per(50_000, 50_000, DAY)` allows 50 000 at once and
    /// gives back 50 000 in the course of each day, so that the first day of a caller can see twice
    /// that. [`Quota::at_most`] never allows more than its number in any period.
    pub fn and(self, suffix: &str, quota: impl Into<Result<Quota, ConfigError>>) -> Self {
        self.window(Some(suffix), quota.into())
    }

    /// Another quota for requests of this operation type, counted apart from the rest, in place of
    /// the quota that was named last. Callers see it under the same name. A quota that says nothing
    /// of an operation type counts it with the rest.
    pub fn for_operation(
        mut self,
        operation: OperationType,
        quota: impl Into<Result<Quota, ConfigError>>,
    ) -> Self {
        // Without a last one, the quota that this belongs to was wrong already.
        if let Some(window) = self.windows.last_mut() {
            match quota.into() {
                Ok(quota) => window.classes.push((operation, quota)),
                Err(error) => {
                    let name = format!("{}:{operation}", window.name);
                    self.is_broken(&name, error);
                }
            }
        }
        self
    }

    /// Leaves out requests of other operation types. Said several times, all the types that were
    /// named are counted, together.
    pub fn only(mut self, operation: OperationType) -> Self {
        self.only.push(operation);
        self
    }

    /// How many units one request takes, as many times as the endpoint's own
    /// [`cost`](countersign_core::Endpoint::cost) says; 1 unless said otherwise.
    pub fn cost(mut self, units: u32) -> Self {
        self.cost.units = units;
        self
    }

    /// How many units of this policy a request to `endpoint` takes, whatever its cost elsewhere: the
    /// entry with its method and template. 0 lets the endpoint's requests pass uncounted.
    pub fn cost_of(mut self, endpoint: Endpoint, units: u32) -> Self {
        self.cost.endpoints.push((endpoint, units));
        self
    }

    /// How many units of this policy a request takes, by a function that looks at it: in place of every
    /// other cost. It is asked once for each request, on the request's path, so it must be quick. 0
    /// lets a request pass uncounted. A request that costs more than a quota holds could never pass,
    /// however long its caller waits: it is refused with 400 `invalid_request`.
    pub fn cost_by(mut self, units: impl Fn(&Call<'_>) -> u32 + Send + Sync + 'static) -> Self {
        self.cost.by = Some(Arc::new(units));
        self
    }

    pub(crate) fn needs_endpoint(&self) -> bool {
        let classes = self.windows.iter().any(|window| !window.classes.is_empty());
        let costs = !self.cost.endpoints.is_empty();
        self.dimension.needs_endpoint() || classes || costs || !self.only.is_empty()
    }

    pub(crate) fn applies_to(&self, operation: Option<OperationType>) -> bool {
        self.only.is_empty() || operation.is_some_and(|operation| self.only.contains(&operation))
    }

    fn window(mut self, suffix: Option<&str>, quota: Result<Quota, ConfigError>) -> Self {
        let name = match suffix {
            None => Arc::clone(&self.name),
            Some(suffix) => format!("{}-{suffix}", self.name).into(),
        };
        match quota {
            Ok(quota) => self.windows.push(Window::new(name, quota)),
            Err(error) => self.is_broken(&name, error),
        }
        self
    }

    fn is_broken(&mut self, name: &str, error: ConfigError) {
        let named = || error.within(format!("policy {name}"));
        self.broken.get_or_insert_with(named);
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        for window in &self.windows {
            window.check(self)?;
        }
        self.cost.check().map_err(|problem| self.error(problem))?;
        for operation in OperationType::ALL {
            if self.applies_to(Some(operation)) {
                self.check_windows(operation)?;
            }
        }
        Ok(())
    }

    /// What holds for the quotas that one operation type meets together.
    fn check_windows(&self, operation: OperationType) -> Result<(), ConfigError> {
        let dearest = self.cost.dearest(operation);
        for (i, window) in self.windows.iter().enumerate() {
            let (quota, class) = window.quota_for(Some(operation));
            if quota.burst() < dearest {
                let problem =
                    "the cost is more than the quota holds, so no request would ever pass";
                return Err(self.error(problem));
            }
            let mut others = self.windows.iter().enumerate().filter(|(j, _)| *j != i);
            let idle = others.any(|(_, other)| {
                let (tighter, counted) = other.quota_for(Some(operation));
                let counts_as_much = counted == class || counted.is_none();
                counts_as_much
                    && tighter.burst() <= quota.burst()
                    && tighter.interval_nanos() >= quota.interval_nanos()
            });
            if idle {
                let problem = "a quota that never speaks, because another one of the policy is \
                               tighter both at once and in the long run";
                return Err(ConfigError::new(format!("policy {}", window.name), problem));
            }
        }
        Ok(())
    }

    fn error(&self, problem: &str) -> ConfigError {
        ConfigError::new(format!("policy {}", self.name), problem)
    }
}

impl Window {
    const fn new(name: Arc<str>, quota: Quota) -> Self {
        Self {
            name,
            quota,
            classes: Vec::new(),
        }
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

    /// A number for the counters of one class. The same in every process and version, so that a
    /// configuration that is loaded anew finds its counters.
    pub(crate) fn tag(&self, dimension: Dimension, class: Option<OperationType>) -> u64 {
        tag(
            dimension,
            &self.name,
            class.map_or("", OperationType::as_str),
        )
    }

    fn check(&self, policy: &Policy) -> Result<(), ConfigError> {
        let problem =
            |problem: &str| Err(ConfigError::new(format!("policy {}", self.name), problem));
        check_name(&self.name)?;
        for (i, (class, _)) in self.classes.iter().enumerate() {
            if self.classes[..i].iter().any(|(other, _)| other == class) {
                return problem("an operation type has two quotas");
            }
            if !policy.applies_to(Some(*class)) {
                return problem("a quota for an operation type that `only` leaves out");
            }
        }
        Ok(())
    }
}

/// Whether callers and the audit can be shown `name`.
pub(crate) fn check_name(name: &str) -> Result<(), ConfigError> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=32).contains(&name.len()) && name.bytes().all(good) {
        return Ok(());
    }
    let problem = "a name is 1 to 32 characters of a-z 0-9 -";
    Err(ConfigError::new(format!("policy {name}"), problem))
}

/// A number for what has this name and counts by `dimension`.
pub(crate) fn tag(dimension: Dimension, name: &str, class: &str) -> u64 {
    let parts = [dimension.as_str(), "/", name, "/", class];
    let bytes = parts.iter().flat_map(|part| part.bytes());
    bytes.fold(FNV_OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
    })
}

/// FNV-1a: names come from operators, and the store's secret goes on top.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
