//! What the compiler says of a stack that is not whole. With all four parts there is a `build`:
//!
//! ```
//! # use countersign::{AuditSink, ConfigError, Contract, Countersign, MemoryKeyStore, Policies};
//! # fn f(contract: Contract, keys: MemoryKeyStore, limits: Policies, audit: AuditSink) -> Result<Countersign, ConfigError> {
//! Countersign::builder().contract(contract).key_store(keys).limits(limits).audit(audit).build()
//! # }
//! ```
//!
//! Without the contract, without the key store, without the limits, or without the audit log there is
//! none:
//!
//! ```compile_fail,E0599
//! # use countersign::{AuditSink, ConfigError, Contract, Countersign, MemoryKeyStore, Policies};
//! # fn f(contract: Contract, keys: MemoryKeyStore, limits: Policies, audit: AuditSink) -> Result<Countersign, ConfigError> {
//! Countersign::builder().key_store(keys).limits(limits).audit(audit).build()
//! # }
//! ```
//!
//! ```compile_fail,E0599
//! # use countersign::{AuditSink, ConfigError, Contract, Countersign, MemoryKeyStore, Policies};
//! # fn f(contract: Contract, keys: MemoryKeyStore, limits: Policies, audit: AuditSink) -> Result<Countersign, ConfigError> {
//! Countersign::builder().contract(contract).limits(limits).audit(audit).build()
//! # }
//! ```
//!
//! ```compile_fail,E0599
//! # use countersign::{AuditSink, ConfigError, Contract, Countersign, MemoryKeyStore, Policies};
//! # fn f(contract: Contract, keys: MemoryKeyStore, limits: Policies, audit: AuditSink) -> Result<Countersign, ConfigError> {
//! Countersign::builder().contract(contract).key_store(keys).audit(audit).build()
//! # }
//! ```
//!
//! ```compile_fail,E0599
//! # use countersign::{AuditSink, ConfigError, Contract, Countersign, MemoryKeyStore, Policies};
//! # fn f(contract: Contract, keys: MemoryKeyStore, limits: Policies, audit: AuditSink) -> Result<Countersign, ConfigError> {
//! Countersign::builder().contract(contract).key_store(keys).limits(limits).build()
//! # }
//! ```
//!
//! A part of another kind is none either:
//!
//! ```compile_fail,E0308
//! # use countersign::{AuditSink, ConfigError, Contract, Countersign, MemoryKeyStore, Policies};
//! # fn f(contract: Contract, keys: MemoryKeyStore, limits: Policies, audit: AuditSink) -> Result<Countersign, ConfigError> {
//! Countersign::builder().contract(limits).key_store(keys).limits(contract).audit(audit).build()
//! # }
//! ```
//!
//! And a layer of the stack can't be taken out of it, put before another one, or made by hand:
//!
//! ```compile_fail,E0616
//! # fn f(stack: countersign::Countersign) {
//! let guards = stack.guards;
//! # }
//! ```
