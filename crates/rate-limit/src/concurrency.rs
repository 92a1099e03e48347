//! How many requests may be under way at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{CompanyId, ConfigError, Denial, Identity, KeyId, OperationType};

use crate::Dimension;
use crate::fields::Member;
use crate::policy::{check_name, tag};

/// A limit on requests that are under way at the same time, as data: a name, what it counts by, and
/// how many. [`Policies::with_concurrency`](crate::Policies::with_concurrency) checks it.
///
/// A request is under way from its decision until the service behind the layer has answered, failed or
/// panicked, or until nobody waits for its answer any more: a place that was taken always comes back.
/// A body that is still being sent counts no longer, unless it is that of a gRPC call. Places are those of this process, whatever the
/// limit store.
///
/// ```
/// use countersign_core::{OperationType, Quota};
/// use countersign_rate_limit::{Concurrency, Dimension, Policies, Policy};
///
/// let policies = Policies::new([
///     Policy::new("key", Dimension::Key, Quota::per_second(20, 10)),
/// ])?
/// .with_concurrency([
///     // No company has more than 8 writes under way at once, but one of them has 32.
///     Concurrency::new("writes", Dimension::Company, 8)
///         .only(OperationType::Write)
///         .for_company("company_12".parse()?, 32),
/// ])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Concurrency {
    pub(crate) name: Arc<str>,
    dimension: Dimension,
    most: u32,
    only: Vec<OperationType>,
    companies: HashMap<CompanyId, u32>,
    keys: HashMap<KeyId, u32>,
}

/// A limit as it applies to one kind of request.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) name: Arc<str>,
    pub(crate) member: Member,
    pub(crate) dimension: Dimension,
    pub(crate) tag: u64,
    pub(crate) most: u32,
    limit: Arc<Concurrency>,
}

impl Concurrency {
    /// At most `most` requests at once. `name` is what callers and the audit see: 1 to 32 characters of
    /// `a-z 0-9 -`, and no policy's.
    pub fn new(name: impl Into<Arc<str>>, dimension: Dimension, most: u32) -> Self {
        Self {
            name: name.into(),
            dimension,
            most,
            only: Vec::new(),
            companies: HashMap::new(),
            keys: HashMap::new(),
        }
    }

    /// Leaves out requests of other operation types. Said several times, all the types that were named
    /// are counted, together.
    pub fn only(mut self, operation: OperationType) -> Self {
        self.only.push(operation);
        self
    }

    /// Another number for one company, and for each of its keys where the limit counts by key.
    pub fn for_company(mut self, company: CompanyId, most: u32) -> Self {
        self.companies.insert(company, most);
        self
    }

    /// Another number for one key. It goes before that of its company. Said of a key that replaced
    /// none, it holds for its successors too.
    pub fn for_key(mut self, key: KeyId, most: u32) -> Self {
        self.keys.insert(key, most);
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        check_name(&self.name)?;
        let numbers = self.companies.values().chain(self.keys.values());
        if numbers.chain([&self.most]).any(|most| *most == 0) {
            return self.error("no request at once would ever pass");
        }
        let by_company = self.companies.is_empty() || self.dimension.is_per_company();
        let by_key = self.keys.is_empty() || self.dimension.is_per_key();
        if !by_company || !by_key {
            return self.error("it doesn't count by what is overridden");
        }
        Ok(())
    }

    pub(crate) fn needs_endpoint(&self) -> bool {
        self.dimension.needs_endpoint() || !self.only.is_empty()
    }

    pub(crate) fn applies_to(&self, operation: Option<OperationType>) -> bool {
        self.only.is_empty() || operation.is_some_and(|operation| self.only.contains(&operation))
    }

    fn error(&self, problem: &str) -> Result<(), ConfigError> {
        Err(ConfigError::new(format!("policy {}", self.name), problem))
    }
}

impl Places {
    pub(crate) fn new(limit: &Arc<Concurrency>) -> Result<Self, ConfigError> {
        Ok(Self {
            name: Arc::clone(&limit.name),
            member: Member::new(&limit.name)?,
            dimension: limit.dimension,
            tag: tag(limit.dimension, &limit.name, "at once"),
            most: limit.most,
            limit: Arc::clone(limit),
        })
    }

    /// The refusal for want of a place. When one is free again depends on others, so the caller is told
    /// to wait for the shortest time that there is.
    pub(crate) fn denial(&self) -> Denial {
        let denial = Denial::new(self.dimension.reason()).with_retry_after(Duration::ZERO);
        if self.dimension.is_shown() {
            denial.with_detail("policy", &*self.name)
        } else {
            denial
        }
    }

    /// How many requests may be under way for `identity`.
    pub(crate) fn most_for(&self, identity: Option<&Identity>) -> u32 {
        let limit = &self.limit;
        let told = |identity: &Identity| {
            let names = [identity.key_id(), identity.key_origin()];
            let of_key = names
                .into_iter()
                .flatten()
                .find_map(|key| limit.keys.get(&key));
            of_key.or_else(|| limit.companies.get(identity.company()))
        };
        *identity.and_then(told).unwrap_or(&self.most)
    }
}
