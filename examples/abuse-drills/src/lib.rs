//! Two attacks on a whole stack, on a clock of their own, told line by line: what the client saw,
//! what the audit log says, and when a signal was given.
//!
//! ```console
//! $ cargo run -p abuse-drills -- stuffing
//! $ cargo run -p abuse-drills -- storm
//! ```

mod stage;
mod storm;
mod stuffing;
mod timeline;

pub use stage::{Failure, Stage};
pub use storm::storm;
pub use stuffing::stuffing;
pub use timeline::{Row, Timeline};
