//! A connection whose session holds a lock.

use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::time::Duration;

use countersign_core::StoreError;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::error::{store_error, within};
use crate::link::{Link, SILENCE};
use crate::options::PostgresOptions;

/// A connection that is asked every second whether it still answers. A lock of its session ends on
/// both sides when its process or the way to it is gone: the server ends a session that has been
/// silent for [`IDLE`], and this process closes a connection that does not answer. Dropping it
/// closes it.
///
/// Servers before version 14 have no such bound. They notice a machine or a network that is gone, by
/// the bounds of every session, but not a process that is stopped.
#[derive(Debug)]
pub(crate) struct Watched {
    link: Arc<Link>,
    watch: AbortHandle,
}

impl Watched {
    pub(crate) async fn new(link: Link, options: &PostgresOptions) -> Result<Self, StoreError> {
        let idle = IDLE.as_millis();
        let sql = format!(
            "SELECT set_config(name, '{idle}', false)
             FROM (VALUES ('idle_session_timeout')) AS bound (name)
             WHERE current_setting(name, true) IS NOT NULL"
        );
        let bounding = async { link.client.batch_execute(&sql).await.map_err(store_error) };
        within(options.patience(), bounding).await?;
        let link = Arc::new(link);
        // A question waits behind a statement that is under way.
        let watching = watch(Arc::downgrade(&link), options.statement + SILENCE);
        let watch = tokio::spawn(watching).abort_handle();
        Ok(Self { link, watch })
    }
}

impl Deref for Watched {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

async fn watch(link: Weak<Link>, patience: Duration) {
    loop {
        sleep(ASK).await;
        let Some(link) = link.upgrade() else { return };
        if !link.answers(patience).await {
            link.cut();
            return;
        }
    }
}

/// How long the server keeps a session that asks nothing.
const IDLE: Duration = Duration::from_secs(3);
const ASK: Duration = Duration::from_secs(1);
