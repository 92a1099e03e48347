//! The end of keys, on its way into the outbox.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Clock, Monotonic};
use countersign_key_verify::{Actor, ExpirySweep, KeyManager, KeyStore};

use super::OutboxDrain;
use crate::stuck::in_time;

/// Looks for keys whose time has come, a page in one turn, so that a store with many of them is not
/// kept busy, nor are the caches that follow its changes.
pub(super) struct Expiry {
    clock: Arc<dyn Clock>,
    manager: KeyManager,
    actor: Actor,
    /// When all keys that were due were found, last.
    done: Option<Monotonic>,
    failing: bool,
}

impl Expiry {
    pub(super) fn new(store: Arc<dyn KeyStore>, clock: Arc<dyn Clock>) -> Self {
        let manager = KeyManager::builder(store).clock(Arc::clone(&clock));
        Self {
            clock,
            manager: manager.build().expect("the default brand is one"),
            actor: Actor::system("expiry").expect("the name is printable and short"),
            done: None,
            failing: false,
        }
    }

    /// A failure is told once, and holds nobody up: no request waits for this. Neither does a panic
    /// or a hang keep events from the log.
    pub(super) async fn turn(&mut self) {
        let now = self.clock.now();
        let since = self.done.map(|done| now.monotonic.duration_since(done));
        if since.is_some_and(|since| since < OutboxDrain::EXPIRY) {
            return;
        }
        let until = now.wall.saturating_sub(MARGIN);
        let sweeping = self.manager.expire_due(&self.actor, until, PAGE);
        let more = match in_time(sweeping).await {
            Ok(Ok(swept)) => {
                self.swept(swept);
                swept.more
            }
            Ok(Err(error)) => {
                self.failed(&error);
                false
            }
            Err(stuck) => {
                self.failed(&stuck);
                false
            }
        };
        self.done = (!more).then_some(now.monotonic);
    }

    fn swept(&mut self, swept: ExpirySweep) {
        self.failing = false;
        let expired = swept.expired;
        if expired > 0 {
            tracing::info!(target: "countersign", expired, "keys ended: their time had come");
        }
    }

    fn failed(&mut self, error: &(dyn Error + 'static)) {
        if !self.failing {
            tracing::error!(
                target: "countersign",
                error,
                "keys whose time has come could not be stored as expired; they are refused \
                 all the same, and the audit log is told later"
            );
        }
        self.failing = true;
    }
}

const PAGE: u32 = 100;

/// A clock that is ahead of the others by less than this ends no key before its time.
const MARGIN: Duration = Duration::from_secs(60);
