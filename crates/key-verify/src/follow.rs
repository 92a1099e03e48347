//! The task that makes changes felt in a cache.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Monotonic, StoreError, StoreErrorKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cache::KeyCache;
use crate::feed::{ChangeFeed, ChangeStream, Changed, FeedPosition};
use crate::metrics;

/// Listens to a store's change feed and lets a [`KeyCache`] forget what changed.
///
/// The feed is asked every [`ChangeFollower::HEARTBEAT`] even if it is silent. The cache believes
/// its entries for the staleness bound only while the last good answer is younger than
/// [`ChangeFollower::LEASE`], and for the fallback bound otherwise: a feed that hangs, or a task
/// that is gone, is as bad as a connection that is cut.
///
/// A feed that breaks is opened again, at a growing and random distance, and goes on where it
/// stopped; only then is it trusted again. One log line tells of the break and one of the
/// recovery; the gauge `countersign_change_feed_up` (feature `metrics`) is 0 in between.
///
/// The server behind a feed that was opened again may be another one, that took over without the
/// last changes, and whose own changes have taken their places: no position tells. What the cache
/// read before is therefore believed for the fallback bound, as it was while the feed was broken,
/// and for the staleness bound once it is read anew. That costs at most one look-up for each key
/// that is used, however often the feed breaks within a fallback bound: those younger than half of
/// it are asked for in the background when they come to that age, the others at their next use. The
/// nodes of a fleet come to that at different times, because their pauses are random.
#[derive(Debug)]
#[must_use = "shut it down before the process ends"]
pub struct ChangeFollower {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl ChangeFollower {
    /// How often the feed is asked, told or not.
    pub const HEARTBEAT: Duration = Duration::from_millis(250);
    /// How long one good answer is trusted.
    pub const LEASE: Duration = Duration::from_secs(1);

    pub(crate) fn spawn(cache: KeyCache, feed: Arc<dyn ChangeFeed>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(supervise(cache, feed, stopped));
        Self { stop, task }
    }

    /// Stops listening. The cache believes its entries for the fallback bound from then on.
    /// Dropping the follower instead leaves it listening.
    pub async fn shutdown(self) {
        // The task ends by itself only when it is told to, so somebody is listening.
        let _ = self.stop.send(true);
        if let Err(error) = self.task.await {
            tracing::error!(target: "countersign", %error, "the change feed's task did not end well");
        }
    }
}

async fn supervise(cache: KeyCache, feed: Arc<dyn ChangeFeed>, mut stopped: watch::Receiver<bool>) {
    let mut follow = Follow::new(cache, feed);
    loop {
        // A task of its own: a feed that panics is a feed that broke.
        let mut attempt = tokio::spawn(follow.clone().run());
        let ended = tokio::select! {
            ended = &mut attempt => ended,
            () = told(&mut stopped) => {
                attempt.abort();
                // It may be at its work until it has ended.
                let _ = attempt.await;
                follow.cache.leave();
                return;
            }
        };
        match ended {
            Ok((position, error)) => follow.broke(position, &error),
            Err(panic) => {
                let error = StoreError::with_source(StoreErrorKind::Unavailable, panic);
                follow.broke(None, &error);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(follow.pause()) => {}
            () = told(&mut stopped) => {
                follow.cache.leave();
                return;
            }
        }
    }
}

/// Ends when somebody asks for it, and never if the handle is gone.
async fn told(stopped: &mut watch::Receiver<bool>) {
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[derive(Debug, Clone)]
struct Follow {
    cache: KeyCache,
    feed: Arc<dyn ChangeFeed>,
    position: Option<FeedPosition>,
    /// How often it failed in a row.
    failures: u32,
    /// Whether the break was told of.
    told: bool,
}

impl Follow {
    fn new(cache: KeyCache, feed: Arc<dyn ChangeFeed>) -> Self {
        metrics::change_feed_up(false);
        Self {
            cache,
            feed,
            position: None,
            failures: 0,
            told: false,
        }
    }

    /// Listens until the feed breaks; says how far it came since it was whole, and why it ended.
    async fn run(mut self) -> (Option<FeedPosition>, StoreError) {
        let mut came_to = None;
        let error = self.listen(&mut came_to).await;
        (came_to, error)
    }

    async fn listen(&mut self, came_to: &mut Option<FeedPosition>) -> StoreError {
        let mut stream = match in_time(self.feed.open()).await {
            Ok(stream) => stream,
            Err(error) => return error,
        };
        loop {
            let resumed = came_to.is_none() && self.position.is_some();
            let asked = match self.catch_up(&mut *stream).await {
                Ok(asked) => asked,
                Err(error) => return error,
            };
            if resumed {
                self.cache.doubt();
            }
            if came_to.is_none() {
                self.works();
            }
            // Only now: what the answer told of is not believed any more.
            self.cache.trust(asked, ChangeFollower::LEASE);
            *came_to = self.position;
            // A heartbeat without news is no error.
            let news = tokio::time::timeout(ChangeFollower::HEARTBEAT, stream.wait());
            if let Ok(Err(error)) = news.await {
                return error;
            }
        }
    }

    /// Forgets what changed; says when it asked.
    async fn catch_up(&mut self, stream: &mut dyn ChangeStream) -> Result<Monotonic, StoreError> {
        let asked = self.cache.now();
        let changes = in_time(stream.read(self.position)).await?;
        for changed in &changes.changed {
            match changed {
                Changed::Key(prefix) => self.cache.evict(prefix),
                Changed::Company(company) => self.cache.evict_company(company),
                Changed::Everything => self.cache.clear(),
            }
        }
        self.position = Some(changes.position);
        Ok(asked)
    }

    fn works(&self) {
        metrics::change_feed_up(true);
        if self.told {
            tracing::info!(target: "countersign", "the key store's change feed works again");
        }
    }

    fn broke(&mut self, came_to: Option<FeedPosition>, error: &StoreError) {
        self.cache.distrust();
        metrics::change_feed_up(false);
        if came_to.is_some() {
            self.position = came_to;
            self.failures = 0;
            self.told = false;
        }
        if !self.told {
            self.told = true;
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(
                target: "countersign",
                %error,
                cause,
                bound = ?self.cache.fallback(),
                "the key store's change feed is broken: keys are believed for the fallback bound"
            );
        }
        self.failures = self.failures.saturating_add(1);
    }

    /// Twice as long after each failure, and different for everybody who lost the same server.
    fn pause(&self) -> Duration {
        let longest = MAX_PAUSE.min(MIN_PAUSE * 2_u32.pow(self.failures.min(8)));
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match tokio::time::timeout(DEADLINE, answer).await {
        Ok(answer) => answer,
        Err(late) => Err(StoreError::with_source(StoreErrorKind::Unavailable, late)),
    }
}

const DEADLINE: Duration = Duration::from_secs(2);
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(2);
