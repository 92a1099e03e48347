//! The connections of a store: so many and no more, kept up by one task.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_core::StoreError;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{store_error, unavailable, within};
use crate::keeper::keep;
use crate::lease::Lease;
use crate::link::{Link, SILENCE, Signals};
use crate::options::PostgresOptions;
use crate::read::FIND;
use crate::watch::Watched;

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
                return Ok(Lease::new(link, Arc::clone(self)));
            }
        }
    }

    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Returns what was believed before.
    pub(crate) fn set_away(&self, away: bool) -> bool {
        self.away.swap(away, Ordering::Relaxed)
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

    /// A connection outside of the pool for a session that holds a lock.
    ///
    /// # Errors
    /// As [`Pool::dedicated`] has.
    pub(crate) async fn watched(&self) -> Result<Watched, StoreError> {
        Watched::new(self.dedicated(None).await?, &self.options).await
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
        let preparing = async { link.client.prepare(FIND).await.map_err(store_error) };
        link.find = Some(within(self.options.patience(), preparing).await?);
        lock(&self.shared).push(Arc::new(link));
        Ok(())
    }

    pub(crate) fn give_back(&self, link: Link) {
        if link.is_alive() {
            lock(&self.idle).push_back(link);
            self.free.add_permits(1);
        }
    }

    /// Gives a connection back once it has answered what was asked before; one that is silent is
    /// closed.
    pub(crate) fn examine(self: &Arc<Self>, link: Link) {
        // Without a runtime it is closed at once.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let pool = Arc::clone(self);
        runtime.spawn(async move {
            if link.answers(SILENCE).await {
                pool.give_back(link);
            } else {
                link.cut();
            }
        });
    }

    /// Makes one connection that is missing; false when none is.
    pub(crate) async fn mend(&self) -> Result<bool, StoreError> {
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

    /// Cuts connections that do not answer: those for look-ups, so that those who wait are told, and
    /// those that nobody uses, so that nobody is given one.
    pub(crate) async fn check(self: &Arc<Self>) {
        for link in self.take_idle() {
            self.examine(link);
        }
        let links = lock(&self.shared).clone();
        let mut checks = JoinSet::new();
        for link in links {
            checks.spawn(async move {
                if !link.answers(SILENCE).await {
                    link.cut();
                }
            });
        }
        while checks.join_next().await.is_some() {}
    }

    fn take_idle(&self) -> Vec<Link> {
        let mut taken = Vec::new();
        while let Ok(permit) = self.free.try_acquire() {
            permit.forget();
            taken.extend(lock(&self.idle).pop_front());
        }
        taken
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

const AWAY: &str = "PostgreSQL can't be reached";
