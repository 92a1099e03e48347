//! What the benchmarks share: the endpoint that is protected, the stacks around it, and how they
//! are measured.
#![allow(dead_code, reason = "each benchmark uses a part of this")]

pub(crate) mod api;
pub(crate) mod assembled_a;
pub(crate) mod assembled_b;
pub(crate) mod caller;
pub(crate) mod drain;
pub(crate) mod drive;
pub(crate) mod figures;
pub(crate) mod keys;
pub(crate) mod ours;
pub(crate) mod threads;
