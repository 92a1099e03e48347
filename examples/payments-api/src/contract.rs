//! Which endpoints outside companies may call, with which scope, and how often.

use countersign::openapi::{DocumentError, OpenApi};
use countersign::{ConfigError, Contract, Dimension, OperationType, Policies, Policy, Quota};

/// The document that callers get is the one that is enforced: what it does not list is refused.
pub(crate) fn contract() -> Result<Contract, DocumentError> {
    OpenApi::parse("openapi.yaml", include_str!("../openapi.yaml"))?.contract()
}

/// Reads: 200 at once and 50 a second for a key. Everything that changes something: 20 at once
/// and 5 a second. A company may do twice that with all of its keys together.
pub(crate) fn policies() -> Result<Policies, ConfigError> {
    let policy = |name, dimension, times: u32| {
        let writes = Quota::per_second(20 * times, 5 * times)?;
        let reads = Quota::per_second(200 * times, 50 * times)?;
        Ok(Policy::new(name, dimension, reads)
            .for_operation(OperationType::Write, writes)
            .for_operation(OperationType::Webhook, writes)
            .for_operation(OperationType::Administration, writes))
    };
    Policies::new([
        policy("key", Dimension::Key, 1)?,
        policy("company", Dimension::Company, 2)?,
    ])
}
