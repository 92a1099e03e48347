//! The whole log from the outside: layers, queue, writer, backends.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod abuse;
mod common;
#[cfg(feature = "conformance")]
mod conformance;
mod engine;
mod fan_out;
mod flood;
mod intent;
mod layer;
mod reads;
mod secrets;
mod standing;
mod stress;
