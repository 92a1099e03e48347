//! The feed of changes.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use countersign_core::{StoreError, StoreErrorKind};
use countersign_key_verify::{ChangeFeed, ChangeStream, Changed, Changes, FeedPosition, KeyStore};
use futures_core::Stream;
use redis::{Cmd, Msg, RedisError, Value};

use crate::error::{corrupt, store_error};
use crate::link::{Link, open};
use crate::options::Nodes;
use crate::script::Script;
use crate::{Announced, RedisOptions};

/// Tells every process of changes of keys and companies, so that their caches forget what changed:
/// a revocation is felt everywhere within milliseconds. For key stores that several processes share
/// and that have no change feed of their own. A clone is a handle to the same connection.
///
/// A change is taken down in a log on the server and its readers are woken by publish and subscribe.
/// A message that is lost is therefore no change that is lost: whoever listens asks the log for what
/// came after the last place it knows. A log that was trimmed (10 000 changes), has expired (a day
/// without a change) or is gone with its server answers [`Changed::Everything`].
///
/// **What it can't promise.** The key store and the server are two: a process that ends after it
/// committed a change and before it told of it leaves that change to the staleness bound of the
/// caches, which always holds. While the server is gone, the caches know it and believe their
/// entries for the fallback bound.
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
    channel: String,
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
            channel: name("told"),
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
        let mut call = self.call(&self.0.tell);
        call.arg(&self.0.channel).arg(KEPT.as_millis().to_string());
        for changed in changed {
            call.arg(write(changed));
        }
        self.send(&self.0.tell, &call).await.map(drop)
    }

    /// Tells of changes as soon as there is a server that hears it.
    pub(crate) async fn tell_at_last(&self, changed: &[Changed]) {
        loop {
            self.0.link.connected().await;
            match self.tell(changed).await {
                Ok(()) => return,
                // The connection that broke is not noticed to be gone at once.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn call(&self, script: &Script) -> Cmd {
        let mut call = script.call(1);
        call.arg(&self.0.log);
        call
    }

    async fn send(&self, script: &Script, call: &Cmd) -> Result<Value, StoreError> {
        let Some(mut connection) = self.0.link.connection() else {
            return Err(StoreErrorKind::Unavailable.into());
        };
        let answer = script.run(call, &mut connection).await;
        answer.map_err(store_error)
    }

    async fn read(&self, after: Option<FeedPosition>) -> Result<Changes, StoreError> {
        let mut call = self.call(&self.0.read);
        let after = after.map_or_else(String::new, |after| after.0.to_string());
        call.arg(KEPT.as_millis().to_string()).arg(after);
        let answer = self.send(&self.0.read, &call).await?;
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
        let connected = self.0.link.connected();
        let connected = tokio::time::timeout(self.0.options.connect_timeout, connected).await;
        connected.map_err(|late| StoreError::with_source(StoreErrorKind::Unavailable, late))?;
        // That connection may be lost, and nobody has noticed yet.
        self.read(None).await?;
        Ok(Box::new(Listening {
            changes: self.clone(),
            messages,
        }))
    }
}

type Messages = Pin<Box<dyn Stream<Item = Msg> + Send>>;

struct Listening {
    changes: RedisChanges,
    messages: Messages,
}

#[async_trait]
impl ChangeStream for Listening {
    async fn read(&mut self, after: Option<FeedPosition>) -> Result<Changes, StoreError> {
        self.changes.read(after).await
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
