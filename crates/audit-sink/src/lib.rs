//! A countersigned record of every external call: audit events, a bounded writer with durable intents, and the layer that records.
mod backend;
#[cfg(feature = "conformance")]
pub mod conformance;
mod event;
mod file;
mod future;
mod intent;
mod layer;
mod memory;
mod metrics;
mod queue;
mod record;
mod recording;
mod service;
mod sink;
mod writer;

pub use backend::{AuditBackend, Recovery};
pub use event::{AgentHash, AuditEvent, AuditSource, Decision, EventType, SourceForm, SourceKey};
pub use file::{Durability, JsonLinesFile, JsonLinesOptions};
pub use future::ResponseFuture;
pub use intent::{Intent, IntentFuture, IntentLayer};
pub use layer::AuditLayer;
pub use memory::{ChannelBackend, EventReceiver, MemoryBackend, MemoryLog};
pub use record::Record;
pub use service::Audit;
pub use sink::{AuditHealth, AuditSink, AuditSinkBuilder, AuditWriter, Durable, ShutdownReport};
