//! What is noticed of callers who misuse the API, and what is done about it.

mod builder;
mod counters;
mod layer;
mod memo;
mod metrics;
mod monitor;
mod offences;
mod penalties;
mod profile;
mod retries;
mod rules;
mod sliding;
#[cfg(test)]
mod tests;
mod ways;

pub use builder::AbuseMonitorBuilder;
pub use layer::{Abuse, AbuseLayer};
pub use monitor::AbuseMonitor;
pub use penalties::AbusePenalties;
pub use rules::{AbuseRule, AbuseRules};
