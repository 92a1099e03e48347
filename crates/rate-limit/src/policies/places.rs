//! Limits on requests at once, beside the quotas.

use std::sync::Arc;

use countersign_core::{ConfigError, OperationType};

use super::Policies;
use crate::Concurrency;
use crate::concurrency::Places;

impl Policies {
    /// Limits how many requests are under way at once as well. A request needs a place of every such
    /// limit that applies to it before its quotas are asked; a refusal by a quota gives the places
    /// back, and one for want of a place takes nothing from a quota.
    ///
    /// The layer keeps them; [`Policies::request`] is about quotas alone.
    ///
    /// # Errors
    /// When a name is malformed or used twice, a number is 0, an override is for what the limit doesn't
    /// count by, or more than 4 of them apply to one request. The error's subject names the limit.
    pub fn with_concurrency(
        mut self,
        limits: impl IntoIterator<Item = Concurrency>,
    ) -> Result<Self, ConfigError> {
        for limit in limits {
            limit.check()?;
            if self.has_name(&limit.name) {
                let subject = format!("policy {}", limit.name);
                return Err(ConfigError::new(subject, "the name is used twice"));
            }
            let (limit, compiled) = (Arc::new(limit), Arc::make_mut(&mut self.0));
            for (plan, operation) in compiled.by_operation.iter_mut().zip(OperationType::ALL) {
                plan.add(&limit, Some(operation))?;
            }
            if limit.needs_endpoint() {
                compiled.without_endpoint = None;
            }
            if let Some(plan) = &mut compiled.without_endpoint {
                plan.add(&limit, None)?;
            }
        }
        Ok(self)
    }

    fn has_name(&self, name: &str) -> bool {
        self.planned().any(|planned| *planned.name == *name)
            || self.places().any(|places| *places.name == *name)
    }

    /// A limit stands here once for each kind of operation that it applies to.
    pub(super) fn places(&self) -> impl Iterator<Item = &Places> {
        let plans = self.0.by_operation.iter();
        plans.flat_map(|plan| &plan.places)
    }
}
