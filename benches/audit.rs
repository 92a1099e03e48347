//! What durability and tamper evidence cost: the log beside the bare disk, in one run.
#![allow(clippy::print_stdout, reason = "the output of a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[path = "audit/durable.rs"]
mod durable;
#[path = "audit/events.rs"]
mod events;
#[path = "support/figures.rs"]
mod figures;
#[path = "audit/load.rs"]
mod load;
#[path = "audit/restart.rs"]
mod restart;

use figures::Effort;

fn main() {
    let effort = Effort::from_arguments();
    durable::measure(effort);
    restart::measure(effort);
}
