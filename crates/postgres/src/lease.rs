//! A connection that one caller has.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use countersign_core::StoreError;
use tokio::time::timeout;

use crate::error::unavailable;
use crate::link::Link;
use crate::pool::Pool;

/// A connection that one caller has; it goes back when this is dropped. Where the caller left before
/// the answer came, nobody else is given it before it has answered.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Taken only on drop.
    link: Option<Link>,
    /// Whether an answer is outstanding.
    busy: bool,
    pool: Arc<Pool>,
}

impl Lease {
    pub(crate) const fn new(link: Link, pool: Arc<Pool>) -> Self {
        let link = Some(link);
        let busy = false;
        Self { link, busy, pool }
    }

    /// Waits for an answer on this connection; one that does not come ends the connection.
    pub(crate) async fn answer<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Link) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let patience = self.pool.options.patience();
        self.busy = true;
        match timeout(patience, work(self)).await {
            Ok(answer) => {
                self.busy = false;
                answer
            }
            Err(late) => {
                self.cut();
                Err(unavailable(late))
            }
        }
    }
}

impl Deref for Lease {
    type Target = Link;

    fn deref(&self) -> &Link {
        self.link.as_ref().expect(HELD)
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Link {
        self.link.as_mut().expect(HELD)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.link.take() {
            Some(link) if self.busy && link.is_alive() => self.pool.examine(link),
            Some(link) => self.pool.give_back(link),
            None => {}
        }
    }
}

const HELD: &str = "a lease holds its connection until it is dropped";
