//! What the whole stack costs beside what a service can assemble from other crates, in one run.
#![allow(clippy::print_stdout, reason = "the output of a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[path = "stack/disk.rs"]
mod disk;
#[path = "stack/latency.rs"]
mod latency;
#[path = "stack/limit_layers.rs"]
mod limit_layers;
#[path = "stack/limits.rs"]
mod limits;
#[path = "stack/many_keys.rs"]
mod many_keys;
#[path = "stack/scaling.rs"]
mod scaling;
mod support;
#[path = "stack/times.rs"]
mod times;

use support::figures::Effort;

fn main() {
    let effort = Effort::from_arguments();
    times::measure(effort);
    latency::measure(effort);
    limits::measure(effort);
    limit_layers::measure(effort);
    scaling::measure(effort);
    many_keys::measure(effort);
    disk::measure(effort);
}
