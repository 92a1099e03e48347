//! Work of a background task on code that others wrote, a key store for example: where that panics
//! or hangs, the work has failed, and the task goes on.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinHandle;

/// Why work came to no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// It hung until its time was over, and was dropped.
    Late,
    /// It panicked; the panic's own message says where.
    Panicked,
}

/// What `work` gives, unless it panics.
pub(crate) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Stuck> {
    let mut work = pin!(work);
    // What panicked is not polled again; its owner looks only at what a dropped future may leave too.
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err(Stuck::Panicked)),
        }
    })
    .await
}

/// What `work` gives, unless it panics or takes longer than [`PATIENCE`].
pub(crate) async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, Stuck> {
    within(PATIENCE, work).await
}

/// What `work` gives, unless it panics or takes longer than `patience`.
pub(crate) async fn within<T>(
    patience: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Stuck> {
    let ended = tokio::time::timeout(patience, caught(work)).await;
    ended.unwrap_or(Err(Stuck::Late))
}

/// Waits for a task that was told to stop, [`LONGEST_SHUTDOWN`] at most; then it is cut off.
pub(crate) async fn finish(task: &mut JoinHandle<()>) -> Result<(), Box<dyn Error>> {
    match tokio::time::timeout(LONGEST_SHUTDOWN, &mut *task).await {
        Ok(ended) => Ok(ended?),
        Err(late) => {
            task.abort();
            Err(late.into())
        }
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Late => "it hung and was given up",
            Self::Panicked => "it panicked",
        })
    }
}

impl Error for Stuck {}

/// How long a key store may take for one answer to a background task. Stores have shorter deadlines
/// of their own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

const LONGEST_SHUTDOWN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_hangs_or_panics_has_failed() {
        assert_eq!(in_time(ready(7)).await, Ok(7));
        assert_eq!(in_time(pending::<()>()).await, Err(Stuck::Late));
        let panics = async { panic!("as a test asks") };
        assert_eq!(in_time::<()>(panics).await, Err(Stuck::Panicked));
        let mut endless = tokio::spawn(pending());
        assert!(finish(&mut endless).await.is_err());
        assert!(endless.await.is_err_and(|error| error.is_cancelled()));
    }
}
