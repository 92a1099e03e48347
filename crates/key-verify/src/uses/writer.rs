//! The task that brings uses into the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{ConfigError, KeyId, StoreError, StoreErrorKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::KeyUse;
use super::tracker::{UseTracker, add};
use crate::store::KeyStore;

/// Writes the uses of keys into their store, off the request path: every interval one batch, in
/// which each key that was used stands once, and one more at shutdown. What the store does not take
/// waits, added up by key, for the next interval.
///
/// Uses of the last interval are lost when the process is killed: last use is for reviews, and
/// decides nothing. An orderly [`UseWriter::shutdown`] loses none.
#[derive(Debug)]
#[must_use = "shut it down before the process ends"]
pub struct UseWriter {
    stop: watch::Sender<bool>,
    task: JoinHandle<UseReport>,
}

/// What a [`UseWriter`] did in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UseReport {
    /// How many uses are in the store.
    pub written: u64,
    /// How many are not: the store took none at the end.
    pub lost: u64,
}

impl UseWriter {
    /// How often uses are written, unless another interval is chosen.
    pub const INTERVAL: Duration = Duration::from_secs(10);

    pub(crate) fn check(store: &dyn KeyStore, interval: Duration) -> Result<(), ConfigError> {
        if interval.is_zero() {
            return Err(ConfigError::new(
                "last use",
                "its interval is longer than nothing",
            ));
        }
        if store.uses().is_none() {
            return Err(ConfigError::new("last use", "this key store keeps none"));
        }
        Ok(())
    }

    pub(crate) fn spawn(
        tracker: Arc<UseTracker>,
        store: Arc<dyn KeyStore>,
        interval: Duration,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let work = Work {
            tracker,
            store,
            waiting: HashMap::new(),
            report: UseReport::default(),
        };
        let task = tokio::spawn(work.run(interval, stopped));
        Self { stop, task }
    }

    /// Writes what is there and stops. Call it when no request runs any more. Takes up to ten
    /// seconds where the store does not answer, and tells by the report, and by a log line, what
    /// was lost then.
    pub async fn shutdown(self) -> UseReport {
        // The task ends by itself only when it is told to, so somebody is listening.
        let _ = self.stop.send(true);
        match self.task.await {
            Ok(report) => report,
            Err(error) => {
                tracing::error!(target: "countersign", %error, "the task that writes uses did not end well");
                UseReport::default()
            }
        }
    }
}

struct Work {
    tracker: Arc<UseTracker>,
    store: Arc<dyn KeyStore>,
    waiting: HashMap<KeyId, KeyUse>,
    report: UseReport,
}

impl Work {
    async fn run(mut self, interval: Duration, mut stopped: watch::Receiver<bool>) -> UseReport {
        let mut failing = false;
        while !stop_within(interval, &mut stopped).await {
            match self.write().await {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    tracing::error!(target: "countersign", %error, "uses of keys wait for the store");
                }
                Err(_) => {}
            }
        }
        if self.write().await.is_err() && self.write().await.is_err() {
            self.report.lost = self.waiting.values().map(|uses| uses.count).sum();
            let lost = self.report.lost;
            tracing::error!(target: "countersign", lost, "the last uses of keys were not written");
        }
        self.report
    }

    async fn write(&mut self) -> Result<(), StoreError> {
        self.tracker.collect(&mut self.waiting);
        let mut all: Vec<KeyUse> = self.waiting.drain().map(|(_, uses)| uses).collect();
        while !all.is_empty() {
            let batch: Arc<[KeyUse]> = all.split_off(all.len().saturating_sub(BATCH)).into();
            if let Err(error) = record(&self.store, &batch).await {
                let unwritten = all.into_iter().chain(batch.iter().cloned());
                unwritten.for_each(|uses| add(&mut self.waiting, uses));
                return Err(error);
            }
            self.report.written += batch.iter().map(|uses| uses.count).sum::<u64>();
        }
        Ok(())
    }
}

/// In a task of its own: a store that panics has failed, and nothing else has.
async fn record(store: &Arc<dyn KeyStore>, batch: &Arc<[KeyUse]>) -> Result<(), StoreError> {
    let (store, batch) = (Arc::clone(store), Arc::clone(batch));
    let work = tokio::spawn(async move {
        match store.uses() {
            Some(uses) => tokio::time::timeout(DEADLINE, uses.record_uses(&batch))
                .await
                .unwrap_or_else(|late| Err(unavailable(late))),
            None => Err(StoreErrorKind::UnsupportedVersion.into()),
        }
    });
    work.await.unwrap_or_else(|panic| Err(unavailable(panic)))
}

fn unavailable(cause: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unavailable, cause)
}

/// Whether the end was asked for; a writer whose handle is gone goes on by itself.
async fn stop_within(interval: Duration, stopped: &mut watch::Receiver<bool>) -> bool {
    let told = async {
        if stopped.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::time::timeout(interval, told).await.is_ok()
}

const BATCH: usize = 500;
const DEADLINE: Duration = Duration::from_secs(5);
