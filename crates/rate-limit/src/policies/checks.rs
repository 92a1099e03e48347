//! Whether policies can count what a contract has.

use countersign_core::{ConfigError, Endpoint};

use super::{Planned, Policies};
use crate::Dimension;
use crate::cost::is_same;

impl Policies {
    /// Whether calls of `endpoint` can be counted as its contract says.
    ///
    /// # Errors
    /// When a call costs more than a quota holds, so that none would ever pass, or when the
    /// endpoint has a quota of its own and no policy counts by endpoint, so that nobody would
    /// apply it. The error's subject names the endpoint.
    pub fn check(&self, endpoint: &Endpoint) -> Result<(), ConfigError> {
        self.check_costs(endpoint, "call")?;
        let by_endpoint = |policy: &Planned| policy.dimension == Dimension::Endpoint;
        if endpoint.quota().is_some() && !self.planned_at(endpoint).iter().any(by_endpoint) {
            let advice = "it has a quota of its own, and no policy counts by endpoint: add one";
            return Err(ConfigError::new(subject(endpoint), advice));
        }
        Ok(())
    }

    /// Whether calls of all these endpoints, a contract's, can be counted, and whether every endpoint
    /// that a policy names is one of them.
    ///
    /// # Errors
    /// As [`Policies::check`], and when a policy names the cost of an endpoint that is not there.
    pub fn check_all<'a>(
        &self,
        endpoints: impl IntoIterator<Item = &'a Endpoint>,
    ) -> Result<(), ConfigError> {
        let endpoints: Vec<&Endpoint> = endpoints.into_iter().collect();
        self.check_named(&endpoints, "which the contract doesn't have")?;
        endpoints.iter().try_for_each(|it| self.check(it))
    }

    /// Whether a [`MessageLimitLayer`](crate::MessageLimitLayer) with these policies can count the
    /// messages of all gRPC methods among these endpoints, a contract's.
    ///
    /// # Errors
    /// When there is a limit on requests at once or a function that says what a request costs, which
    /// are not for messages, when a policy names the cost of what is no gRPC method of the contract, or
    /// when a message costs more than a quota holds, so that none would ever pass.
    pub fn check_messages<'a>(
        &self,
        endpoints: impl IntoIterator<Item = &'a Endpoint>,
    ) -> Result<(), ConfigError> {
        self.check_for_messages()?;
        let endpoints = endpoints.into_iter();
        let methods: Vec<&Endpoint> = endpoints.filter(|it| it.is_grpc()).collect();
        self.check_named(&methods, "which is no gRPC method of the contract")?;
        let mut methods = methods.iter();
        methods.try_for_each(|it| self.check_costs(it, "message"))
    }

    /// Whether a message, of which neither the end nor the request is at hand, can be counted.
    pub(crate) fn check_for_messages(&self) -> Result<(), ConfigError> {
        let error = |name: &str, problem| Err(ConfigError::new(format!("policy {name}"), problem));
        if let Some(places) = self.places().next() {
            return error(&places.name, AT_ONCE);
        }
        match self.planned().find(|planned| planned.cost.by.is_some()) {
            Some(planned) => error(&planned.name, BY_FUNCTION),
            None => Ok(()),
        }
    }

    /// Whether some call, or message, of `endpoint` can pass.
    fn check_costs(&self, endpoint: &Endpoint, what: &str) -> Result<(), ConfigError> {
        for policy in self.planned_at(endpoint) {
            let cost = policy.cost.least(endpoint);
            if cost > policy.quota_at(endpoint.quota()).burst() {
                let problem = format!(
                    "a {what} costs {cost} and policy {} holds fewer, so none would ever pass",
                    policy.name
                );
                return Err(ConfigError::new(subject(endpoint), problem));
            }
        }
        Ok(())
    }

    /// Whether each endpoint whose cost a policy names is one of `endpoints`.
    fn check_named(&self, endpoints: &[&Endpoint], otherwise: &str) -> Result<(), ConfigError> {
        for planned in self.planned() {
            let is_there = |named: &Endpoint| endpoints.iter().any(|it| is_same(it, named));
            let mut named = planned.cost.endpoints.iter();
            if let Some((missing, _)) = named.find(|(named, _)| !is_there(named)) {
                let problem = format!("a cost for {}, {otherwise}", subject(missing));
                let policy = format!("policy {}", planned.name);
                return Err(ConfigError::new(policy, problem));
            }
        }
        Ok(())
    }

    fn planned_at(&self, endpoint: &Endpoint) -> &[Planned] {
        &self.0.by_operation[endpoint.operation() as usize].planned
    }
}

fn subject(endpoint: &Endpoint) -> String {
    format!("{} {}", endpoint.method(), endpoint.template())
}

const AT_ONCE: &str = "a limit on requests at once is not for messages: limit the calls";
const BY_FUNCTION: &str = "a function says what a request costs, and a message is none";
