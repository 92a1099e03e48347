//! Limits that a whole fleet keeps together, on Redis or Valkey: one server or a cluster.
//!
//! [`RedisLimits`] is a [`LimitStore`](countersign_rate_limit::LimitStore). A request is allowed if
//! 1. the server answered within the deadline, and
//! 2. every counter of the request had the units that it costs. The server decides that by one
//!    script, about all counters at once and by its own clock; all draws are made, or none.
//!
//! | what happened | what the layer is told | what it then does |
//! |---|---|---|
//! | a counter has too few units | a refusal, with the same numbers as the local store's | 429 |
//! | the server can't be reached, is too slow, or is being reconnected to | `Unavailable`, at once while the connection is down | the policy's `StoreFailure`: local limits with a share of each quota, unless set otherwise |
//! | the server is out of memory, or read-only | `Unavailable` | the same |
//! | what it holds under a counter's name is no counter | `Corrupt` | the same |
//!
//! ```no_run
//! use countersign_redis::{RedisLimits, RedisOptions};
//!
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let options = RedisOptions::server("redis://127.0.0.1:6379/0")?;
//! // The service starts whether the server is there or not.
//! let limits = RedisLimits::start(options);
//! # Ok(())
//! # }
//! ```
//!
//! # Leases
//! [`RedisLimits::leased`] lets a process draw units of busy counters ahead and spend them by itself:
//! fewer calls, and no wait for most requests. What that costs in exactness is bounded, see
//! [`LeasedLimits`].
//!
//! # Revocations
//! [`RedisChanges`] tells all processes of a change of a key or a company, for key stores that have
//! no feed of their own; [`Announced`] is such a store that tells by itself.
//!
//! # On the server
//! A counter is one string under `countersign:{company_12}:key/key_01J…@20000000`: prefix, hash tag,
//! the counter's name and its interval in nanoseconds. It expires when its quota is whole, so nothing
//! stays. All counters of a company have one hash tag and are decided about by one script. On a
//! cluster the platform's counters are elsewhere: see [`RedisOptions::cluster`].
//!
//! Run the server with `maxmemory-policy noeviction`: a counter that is evicted gives its caller a
//! whole quota. Redis 6.2 and Valkey 7.2 or newer.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod announced;
mod batch;
mod changes;
mod draw;
mod error;
mod leases;
mod limits;
mod link;
mod options;
mod queue;
mod script;
mod untold;

pub use announced::Announced;
pub use changes::RedisChanges;
pub use leases::{LeasedLimits, Leases};
pub use limits::RedisLimits;
pub use options::RedisOptions;
