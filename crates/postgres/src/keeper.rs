//! The one task that connects.

use std::sync::{Arc, Weak};
use std::time::Duration;

use countersign_core::StoreError;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::pool::Pool;

/// Keeps the pool's connections up for as long as somebody has the pool.
pub(crate) async fn keep(pool: Weak<Pool>, ended: Arc<Notify>) {
    let mut failures = 0_u32;
    loop {
        // Woken when a connection has ended or is wanting, and now and then to ask whether they still answer.
        let woken = timeout(CHECK, ended.notified()).await.is_ok();
        let Some(pool) = pool.upgrade() else { return };
        if woken {
            // Others lost their connections at the same time.
            sleep(MIN_PAUSE.mul_f64(fastrand::f64())).await;
        } else {
            pool.check().await;
        }
        loop {
            match pool.mend().await {
                Ok(true) => {
                    if pool.set_away(false) {
                        tracing::info!(target: "countersign", "PostgreSQL answers again");
                    }
                    failures = 0;
                }
                Ok(false) => break,
                Err(error) => {
                    if !pool.set_away(true) {
                        let cause = causes(&error);
                        tracing::error!(target: "countersign", cause, "PostgreSQL can't be reached");
                    }
                    failures = failures.saturating_add(1);
                    sleep(pause(failures)).await;
                    if Arc::strong_count(&pool) == 1 {
                        return;
                    }
                }
            }
        }
    }
}

/// Twice as long after each failure, and different for every process that lost the same server.
fn pause(failures: u32) -> Duration {
    let longest = MAX_PAUSE.min(MIN_PAUSE * 2_u32.pow(failures.min(8)));
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}

fn causes(error: &StoreError) -> String {
    let mut text = String::new();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let separator = if text.is_empty() { "" } else { ": " };
        text.push_str(separator);
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

const CHECK: Duration = Duration::from_secs(2);
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(2);
