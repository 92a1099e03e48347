//! The feed of changes.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use countersign_core::{StoreError, StoreErrorKind};
use countersign_key_verify::{ChangeFeed, ChangeStream, Changed, Changes, FeedPosition, KeyStore};
use futures_core::Stream;
use redis::{Msg, RedisError};

use crate::error::{corrupt, store_error};
use crate::link::{Connection, Link, open, pause};
use crate::options::Nodes;
use crate::script::Script;
use crate::untold::Untold;
use crate::{Announced, RedisOptions};

/// Tells every process of changes of keys and companies, so that their caches forget what changed:
/// a revocation is felt everywhere within milliseconds. For key stores that several processes share
/// and that have no change feed of their own. A clone is a handle to the same connection.
///
/// A change is taken down in a log on the server and its readers are woken by publish and subscribe.
/// A message that is lost is therefore no change that is lost: whoever listens asks the log for what
/// came after the last place it knows. A log that was trimmed (10 000 changes), has expired (a day
/// without a change) or is gone with its server answers [`Changed::Everything`]. A server that would
/// not take a change down, because it is full or a replica now, is no feed: asking it writes a key.
///
/// **What it can't promise.** The key store and the server are two: a process that ends after it
/// committed a change and before it told of it leaves that change to the staleness bound of the
/// caches, which always holds; so does one that can't reach a server that the others reach, until it
/// can. While the server is gone, the caches know it and believe their entries for the fallback bound.
/// Of changes that could not be told at most 1000 are kept in memory; beyond that every cache is told
/// to forget everything.
///
/// ```no_run
/// use std::sync::Arc;
/// use countersign_key_verify::{KeyStore, MemoryKeyStore};
/// use countersign_redis::{RedisChanges, RedisOptions};
///
/// # fn start(store: MemoryKeyStore) -> Result<(), Box<dyn std::error::Error>> {
/// let changes = RedisChanges::start(RedisOptions::server("redis://127.0.0.1:6379/0")?);
/// // In each process; what one of them commits is told to the others.
/// let store = changes.announce(store);
/// assert!(store.change_feed().is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RedisChanges(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: RedisOptions,
    link: Link,
    log: String,
    written: String,
    channel: String,
    untold: Untold,
    tell: Script,
    read: Script,
}

impl RedisChanges {
    /// A feed that connects to the server, and connects again whenever that is needed.
    ///
    /// # Panics
    /// Outside a tokio runtime: the connection is kept by a task, which ends with the last clone.
    #[must_use]
    pub fn start(options: RedisOptions) -> Self {
        let name = |what| format!("{}:{{/changes}}:{what}", options.prefix);
        Self(Arc::new(Inner {
            log: name("log"),
            written: name("written"),
            channel: name("told"),
            untold: Untold::default(),
            link: Link::start(options.clone()),
            options,
            tell: Script::new(include_str!("lua/tell.lua")),
            read: Script::new(include_str!("lua/read.lua")),
        }))
    }

    /// `store`, of which every committed change is told, and whose change feed this is.
    pub fn announce<S: KeyStore>(&self, store: S) -> Announced<S> {
        Announced::new(store, self.clone())
    }

    /// Tells of changes that are committed already.
    ///
    /// # Errors
    /// `Unavailable` when the server can't be reached, or it is not known whether it heard.
    pub async fn tell(&self, changed: &[Changed]) -> Result<(), StoreError> {
        let Some(mut connection) = self.0.link.connection() else {
            return Err(StoreErrorKind::Unavailable.into());
        };
        let mut call = self.0.tell.call(1);
        call.arg(&self.0.log);
        call.arg(&self.0.channel).arg(KEPT.as_millis().to_string());
        for changed in changed {
            call.arg(write(changed));
        }
        let answer = self.0.tell.run(&call, &mut connection).await;
        answer.map(drop).map_err(store_error)
    }

    /// Tells of changes as soon as there is a server that hears it; until then this feed is broken.
    /// One task does it for all changes, with a growing pause.
    pub(crate) fn tell_later(&self, changed: Vec<Changed>, error: &StoreError) {
        if self.0.untold.add(changed) {
            tracing::warn!(
                target: "countersign",
                error = error as &dyn Error,
                "a committed change could not be told to other processes; it and those that follow \
                 are told when redis takes them"
            );
            let changes = self.clone();
            tokio::spawn(async move { changes.tell_untold().await });
        }
    }

    async fn tell_untold(&self) {
        let mut failures = 0;
        while let Some(changed) = self.0.untold.take() {
            tokio::time::sleep(pause(failures)).await;
            self.0.link.connected().await;
            failures = match self.tell(&changed).await {
                Ok(()) => 0,
                Err(_) => {
                    self.0.untold.add(changed);
                    failures.saturating_add(1)
                }
            };
        }
        tracing::info!(target: "countersign", "all committed changes are told to other processes");
    }

    async fn read(
        &self,
        connection: &mut Connection,
        after: Option<FeedPosition>,
    ) -> Result<Changes, StoreError> {
        if !self.0.untold.is_empty() {
            let problem = "a committed change is not told yet";
            return Err(StoreError::with_source(
                StoreErrorKind::Unavailable,
                problem,
            ));
        }
        let mut call = self.0.read.call(2);
        let after = after.map_or_else(String::new, |after| after.0.to_string());
        call.arg(&self.0.log).arg(&self.0.written);
        call.arg(KEPT.as_millis().to_string()).arg(after);
        let answer = self.0.read.run(&call, connection).await;
        let answer = answer.map_err(store_error)?;
        let answer: (u64, bool, Vec<String>) =
            redis::from_redis_value(answer).map_err(|error| store_error(error.into()))?;
        let (position, whole, changed) = answer;
        let changed = if whole {
            changed
                .iter()
                .map(|text| read(text))
                .collect::<Result<_, _>>()?
        } else {
            vec![Changed::Everything]
        };
        Ok(Changes {
            position: FeedPosition(position),
            changed,
        })
    }

    /// A connection of its own, to the first node that answers: each hears of all messages.
    async fn listen(&self) -> Result<Messages, StoreError> {
        let options = &self.0.options;
        let nodes = match &options.nodes {
            Nodes::Server(node) => std::slice::from_ref(&**node),
            Nodes::Cluster(nodes) => nodes,
        };
        let mut failure = StoreErrorKind::Unavailable.into();
        for node in nodes {
            let listen = async {
                let mut connection = open(node, options)?.get_async_pubsub().await?;
                connection.subscribe(&self.0.channel).await?;
                Ok::<Messages, RedisError>(Box::pin(connection.into_on_message()))
            };
            match tokio::time::timeout(options.connect_timeout, listen).await {
                Ok(Ok(messages)) => return Ok(messages),
                Ok(Err(error)) => failure = store_error(error),
                Err(late) => {
                    failure = StoreError::with_source(StoreErrorKind::Unavailable, late);
                }
            }
        }
        Err(failure)
    }
}

#[async_trait]
impl ChangeFeed for RedisChanges {
    async fn open(&self) -> Result<Box<dyn ChangeStream>, StoreError> {
        let messages = self.listen().await?;
        let connected = async {
            self.0.untold.emptied().await;
            self.0.link.connected().await
        };
        let connected = tokio::time::timeout(self.0.options.connect_timeout, connected).await;
        let mut connection =
            connected.map_err(|late| StoreError::with_source(StoreErrorKind::Unavailable, late))?;
        // That connection may be lost, and nobody has noticed yet.
        self.read(&mut connection, None).await?;
        Ok(Box::new(Listening {
            changes: self.clone(),
            connection,
            messages,
        }))
    }
}

type Messages = Pin<Box<dyn Stream<Item = Msg> + Send>>;

struct Listening {
    changes: RedisChanges,
    /// The stream ends with it: the next one may be to a server that lost changes.
    connection: Connection,
    messages: Messages,
}

#[async_trait]
impl ChangeStream for Listening {
    async fn read(&mut self, after: Option<FeedPosition>) -> Result<Changes, StoreError> {
        self.changes.read(&mut self.connection, after).await
    }

    async fn wait(&mut self) -> Result<(), StoreError> {
        match poll_fn(|cx| self.messages.as_mut().poll_next(cx)).await {
            Some(_) => Ok(()),
            None => Err(StoreErrorKind::Unavailable.into()),
        }
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening")
            .field("changes", &self.changes)
            .finish_non_exhaustive()
    }
}

fn write(changed: &Changed) -> String {
    match changed {
        Changed::Key(prefix) => format!("key {prefix}"),
        Changed::Company(company) => format!("company {company}"),
        // Also what this version does not know by name.
        _ => "everything".to_owned(),
    }
}

/// What a later version wrote and this one does not know may be anything.
fn read(text: &str) -> Result<Changed, StoreError> {
    match text.split_once(' ') {
        Some(("key", prefix)) => prefix.parse().map(Changed::Key).map_err(|_| corrupt()),
        Some(("company", id)) => id.parse().map(Changed::Company).map_err(|_| corrupt()),
        _ => Ok(Changed::Everything),
    }
}

/// How long the log is kept after the last change.
const KEPT: Duration = Duration::from_secs(86_400);
