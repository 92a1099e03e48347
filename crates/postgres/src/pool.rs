//! The connections of a store: so many and no more, kept up by one task.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use countersign_core::StoreError;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{store_error, unavailable};
use crate::link::{Link, Signals};
use crate::options::PostgresOptions;
use crate::read::FIND;

/// Connections that many share for look-ups, and others that one caller has at a time.
///
/// Nobody but the keeper connects, one connection at a time: while the server is away each process
/// knocks once, at a growing and random distance, whatever is asked of it, and everybody else is
/// told at once that the server can't be reached.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) options: PostgresOptions,
    tls: MakeRustlsConnectDebug,
    shared: Mutex<Vec<Arc<Link>>>,
    next: AtomicUsize,
    idle: Mutex<VecDeque<Link>>,
    /// As many permits as there are idle connections.
    free: Semaphore,
    /// Exclusive connections that live, in use or idle.
    exclusive: Arc<AtomicUsize>,
    /// Told when a connection has ended, or is wanting.
    ended: Arc<Notify>,
    /// Whether the last attempt to connect failed.
    away: AtomicBool,
}

/// The connector has no debug output of its own.
struct MakeRustlsConnectDebug(MakeRustlsConnect);

impl Pool {
    /// Connects once of each kind, so that mistakes are told at once, and leaves the rest to the
    /// keeper, who makes them after a while or when one is wanting: a program that asks one question
    /// and ends has two. `first` looks at the first connection before anything else is done with it.
    pub(crate) async fn connect<F>(
        options: PostgresOptions,
        first: F,
    ) -> Result<Arc<Self>, StoreError>
    where
        F: AsyncFnOnce(&mut Link, &PostgresOptions) -> Result<(), StoreError>,
    {
        let tls = crate::tls::connector(options.roots.as_deref())?;
        let pool = Arc::new(Self {
            options,
            tls: MakeRustlsConnectDebug(tls),
            shared: Mutex::default(),
            next: AtomicUsize::new(0),
            idle: Mutex::default(),
            free: Semaphore::new(0),
            exclusive: Arc::default(),
            ended: Arc::default(),
            away: AtomicBool::new(false),
        });
        let mut link = pool.exclusive_link().await?;
        first(&mut link, &pool.options).await?;
        pool.give_back(link);
        pool.add_shared().await?;
        tokio::spawn(keep(Arc::downgrade(&pool), Arc::clone(&pool.ended)));
        Ok(pool)
    }

    /// A connection for look-ups, shared with others.
    ///
    /// # Errors
    /// At once, where there is none.
    pub(crate) fn shared(&self) -> Result<Arc<Link>, StoreError> {
        let links = lock(&self.shared);
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let alive = |n: usize| links.get((turn + n) % links.len()).filter(|l| l.is_alive());
        let found = (0..links.len()).find_map(alive).cloned();
        found.ok_or_else(|| unavailable(AWAY))
    }

    /// A connection for one caller.
    ///
    /// # Errors
    /// When none is free before the deadline, or the server is known to be away.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Lease, StoreError> {
        loop {
            if self.is_away() && self.free.available_permits() == 0 {
                return Err(unavailable(AWAY));
            }
            if self.free.available_permits() == 0 {
                self.ended.notify_one();
            }
            match timeout(self.options.checkout, self.free.acquire()).await {
                Ok(Ok(permit)) => permit.forget(),
                Ok(Err(closed)) => return Err(unavailable(closed)),
                Err(_) => return Err(unavailable("every connection is in use")),
            }
            let link = lock(&self.idle).pop_front();
            if let Some(link) = link.filter(Link::is_alive) {
                let pool = Arc::clone(self);
                return Ok(Lease {
                    link: Some(link),
                    pool,
                });
            }
        }
    }

    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// A connection outside of the pool, told of notifications where asked for.
    ///
    /// # Errors
    /// At once while the server is known to be away: the keeper is the one who knocks.
    pub(crate) async fn dedicated(
        &self,
        notified: Option<mpsc::Sender<()>>,
    ) -> Result<Link, StoreError> {
        if self.is_away() {
            return Err(unavailable(AWAY));
        }
        let signals = Signals {
            ended: Arc::default(),
            alive: Arc::default(),
            notified,
        };
        Link::connect(&self.options, &self.tls.0, signals).await
    }

    async fn exclusive_link(&self) -> Result<Link, StoreError> {
        let signals = Signals {
            ended: Arc::clone(&self.ended),
            alive: Arc::clone(&self.exclusive),
            notified: None,
        };
        Link::connect(&self.options, &self.tls.0, signals).await
    }

    async fn add_shared(&self) -> Result<(), StoreError> {
        let signals = Signals {
            ended: Arc::clone(&self.ended),
            alive: Arc::default(),
            notified: None,
        };
        let mut link = Link::connect(&self.options, &self.tls.0, signals).await?;
        let find = link.client.prepare(FIND).await.map_err(store_error)?;
        link.find = Some(find);
        lock(&self.shared).push(Arc::new(link));
        Ok(())
    }

    fn give_back(&self, link: Link) {
        if link.is_alive() {
            lock(&self.idle).push_back(link);
            self.free.add_permits(1);
        }
    }

    /// Makes one connection that is missing; false when none is.
    async fn mend(&self) -> Result<bool, StoreError> {
        let shared = {
            let mut links = lock(&self.shared);
            links.retain(|link| link.is_alive());
            links.len()
        };
        self.drop_the_dead();
        if shared < self.options.readers {
            self.add_shared().await?;
        } else if self.exclusive.load(Ordering::SeqCst) < self.options.writers {
            self.give_back(self.exclusive_link().await?);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Idle connections that ended have a permit each, which goes with them.
    fn drop_the_dead(&self) {
        let mut idle = lock(&self.idle);
        let before = idle.len();
        idle.retain(Link::is_alive);
        self.free.forget_permits(before - idle.len());
    }

    /// Cuts connections for look-ups that do not answer, so that those who wait are told.
    async fn check(&self) {
        let links = lock(&self.shared).clone();
        let mut checks = JoinSet::new();
        for link in links {
            checks.spawn(async move {
                let answer = timeout(SILENCE, link.client.simple_query("")).await;
                if !matches!(answer, Ok(Ok(_))) {
                    link.cut();
                }
            });
        }
        while checks.join_next().await.is_some() {}
    }
}

/// Keeps the pool's connections up for as long as somebody has the pool.
async fn keep(pool: Weak<Pool>, ended: Arc<Notify>) {
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
                    if pool.away.swap(false, Ordering::Relaxed) {
                        tracing::info!(target: "countersign", "PostgreSQL answers again");
                    }
                    failures = 0;
                }
                Ok(false) => break,
                Err(error) => {
                    if !pool.away.swap(true, Ordering::Relaxed) {
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

/// A connection that one caller has; it goes back when this is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Taken only on drop.
    link: Option<Link>,
    pool: Arc<Pool>,
}

impl Lease {
    /// Waits for an answer on this connection; one that does not come ends the connection.
    pub(crate) async fn answer<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Link) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let patience = self.pool.options.statement * 2;
        match timeout(patience, work(self)).await {
            Ok(answer) => answer,
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
        if let Some(link) = self.link.take() {
            self.pool.give_back(link);
        }
    }
}

impl std::fmt::Debug for MakeRustlsConnectDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MakeRustlsConnect")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const HELD: &str = "a lease holds its connection until it is dropped";
const AWAY: &str = "PostgreSQL can't be reached";
const CHECK: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_secs(2);
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(2);
