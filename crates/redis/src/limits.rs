//! The store.

use std::sync::Arc;
use std::time::Duration;

use countersign_core::{StoreError, StoreErrorKind};
use countersign_rate_limit::{LimitDecision, LimitFuture, LimitRequest, LimitStore};

use crate::draw::{self, Draw, Said};
use crate::error::store_error;
use crate::link::{Connection, Link};
use crate::script::Script;
use crate::{LeasedLimits, Leases, RedisOptions};

/// Counters on a Redis or Valkey server, which all processes that name the same server and prefix
/// keep together. A clone is a handle to the same connection.
///
/// **Exact.** The numbers are those of [`gcra`](countersign_rate_limit::gcra), in whole nanoseconds
/// of the server's clock: the script decides with seconds and nanoseconds apart, because a script's
/// numbers are doubles, and what it decided is worked out again here.
///
/// **One connection** carries all requests of this process, pipelined. When it breaks or an answer
/// is late, every request after that is told at once that the store is `Unavailable`, without
/// waiting; meanwhile the connection is made anew, first after up to 100 ms and at most every 2 s,
/// each time after a random pause, so that a fleet does not come back all at once.
///
/// **Unknown outcomes.** When the connection breaks while an answer is under way, the units may
/// have been taken. They are never given back for that reason: a failure can cost a caller units,
/// it can't win it any.
///
/// **The server's clock** going back grants nothing. One that is set forward lets that time pass for
/// all counters.
#[derive(Debug, Clone)]
pub struct RedisLimits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    link: Link,
    prefix: Box<str>,
    cluster: bool,
    draw: Script,
    give_back: Script,
}

impl RedisLimits {
    /// A store that connects to the server, and connects again whenever that is needed. It is there
    /// at once; until the server is, every check fails as `Unavailable`.
    ///
    /// # Panics
    /// Outside a tokio runtime: the connection is kept by a task, which ends with the last clone.
    #[must_use]
    pub fn start(options: RedisOptions) -> Self {
        Self(Arc::new(Inner {
            prefix: options.prefix.clone(),
            cluster: options.is_cluster(),
            link: Link::start(options),
            draw: Script::new(include_str!("lua/draw.lua")),
            give_back: Script::new(include_str!("lua/give_back.lua")),
        }))
    }

    /// Waits until the server is reached: for programs that should not begin without it.
    ///
    /// # Errors
    /// `Unavailable` when that takes longer than `timeout`.
    pub async fn wait_until_connected(&self, timeout: Duration) -> Result<(), StoreError> {
        let connected = tokio::time::timeout(timeout, self.0.link.connected()).await;
        connected
            .map(drop)
            .map_err(|late| StoreError::with_source(StoreErrorKind::Unavailable, late))
    }

    /// The same counters, of which this process draws some units ahead and then decides by itself.
    #[must_use]
    pub fn leased(self, leases: Leases) -> LeasedLimits {
        LeasedLimits::new(self, leases)
    }

    pub(crate) fn draws(&self, request: &LimitRequest<'_>) -> Vec<Draw> {
        Draw::all(request, &self.0.prefix, self.0.cluster)
    }

    /// Makes all draws or none.
    pub(crate) async fn ask(&self, draws: &[Draw]) -> Result<Vec<Said>, StoreError> {
        match self.0.link.connection() {
            Some(connection) => self.0.ask_all(draws, connection).await,
            None => Err(StoreErrorKind::Unavailable.into()),
        }
    }

    /// Whether there is a connection now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.link.connection().is_some()
    }
}

impl LimitStore for RedisLimits {
    fn check(&self, request: &LimitRequest<'_>) -> LimitFuture {
        let draws = self.draws(request);
        if draws.is_empty() {
            return LimitFuture::Ready(LimitDecision::new([]));
        }
        let Some(connection) = self.0.link.connection() else {
            return LimitFuture::Ready(Err(StoreErrorKind::Unavailable.into()));
        };
        let inner = Arc::clone(&self.0);
        LimitFuture::later(async move {
            let said = inner.ask_all(&draws, connection).await?;
            draw::decision(&draws, &said)
        })
    }
}

impl Inner {
    /// Makes all draws or none. What was said about each, up to the first one that was refused.
    async fn ask_all(
        &self,
        draws: &[Draw],
        mut connection: Connection,
    ) -> Result<Vec<Said>, StoreError> {
        let mut said = Vec::with_capacity(draws.len());
        for draw in draws {
            match self.ask(draw, &mut connection).await {
                Ok(answer) => said.push(answer),
                Err(error) => {
                    self.give_back(draws, &said, &mut connection).await;
                    return Err(error);
                }
            }
            if said.last().is_some_and(|said| !said.taken) {
                self.give_back(draws, &said, &mut connection).await;
                break;
            }
        }
        Ok(said)
    }

    async fn ask(&self, draw: &Draw, connection: &mut Connection) -> Result<Said, StoreError> {
        let call = draw.call(&self.draw);
        let answer = self.draw.run(&call, connection).await;
        Said::read(answer.map_err(store_error)?, draw)
    }

    /// Gives back what was taken for a request that is refused after all.
    async fn give_back(&self, draws: &[Draw], said: &[Said], connection: &mut Connection) {
        for (draw, said) in draws.iter().zip(said).filter(|(_, said)| said.taken) {
            let call = draw.call_back(&self.give_back, said);
            if let Err(error) = self.give_back.run(&call, connection).await {
                tracing::warn!(
                    target: "countersign",
                    error = &error as &dyn std::error::Error,
                    "units of a refused request could not be given back"
                );
            }
        }
    }
}
