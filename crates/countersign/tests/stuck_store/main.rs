//! A store that panics or hangs, in whatever it is asked, ends no background task and no shutdown.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod abuse;
mod flawed;
mod outbox;
