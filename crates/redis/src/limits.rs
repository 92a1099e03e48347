//! The store.

use std::sync::Arc;
use std::time::Duration;

use countersign_core::{StoreError, StoreErrorKind};
use countersign_rate_limit::{LimitDecision, LimitFuture, LimitRequest, LimitStore};

use crate::draw::{self, Draw, Said};
use crate::link::Link;
use crate::queue::Queue;
use crate::script::Script;
use crate::{LeasedLimits, Leases, RedisOptions};

/// Counters on a Redis or Valkey server, which all processes that name the same server and prefix
/// keep together. A clone is a handle to the same connection.
///
/// **Exact.** The numbers are those of [`gcra`](countersign_rate_limit::gcra), in whole nanoseconds
/// of the server's clock: the script decides with seconds and nanoseconds apart, because a script's
/// numbers are doubles, and what it decided is worked out again here.
///
/// **One connection** carries all requests of this process, pipelined. Requests that come while calls
/// are under way share the next one, and each is decided for itself, in their order. When the
/// connection breaks or an answer is late, every request after that is told at once that the store is
/// `Unavailable`, without waiting; meanwhile the connection is made anew, first after up to 100 ms and
/// at most every 2 s, each time after a random pause, so that a fleet does not come back all at once.
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
    queue: Arc<Queue>,
    prefix: Box<str>,
    cluster: bool,
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
            queue: Arc::new(Queue::new(
                Link::start(options),
                Script::new(include_str!("lua/draw.lua")),
            )),
            give_back: Script::new(include_str!("lua/give_back.lua")),
        }))
    }

    /// Waits until the server is reached: for programs that should not begin without it.
    ///
    /// # Errors
    /// `Unavailable` when that takes longer than `timeout`.
    pub async fn wait_until_connected(&self, timeout: Duration) -> Result<(), StoreError> {
        let connected = tokio::time::timeout(timeout, self.0.queue.link().connected()).await;
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

    /// Makes all draws or none. What was said about each, up to the first one that was refused.
    pub(crate) async fn ask(&self, draws: &[Draw]) -> Result<Vec<Said>, StoreError> {
        self.0.ask_all(draws).await
    }

    /// Whether there is a connection now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.queue.link().connection().is_some()
    }
}

impl LimitStore for RedisLimits {
    fn check(&self, request: &LimitRequest<'_>) -> LimitFuture {
        let draws = self.draws(request);
        if draws.is_empty() {
            return LimitFuture::Ready(LimitDecision::new([]));
        }
        if !self.is_connected() {
            return LimitFuture::Ready(Err(StoreErrorKind::Unavailable.into()));
        }
        let inner = Arc::clone(&self.0);
        LimitFuture::later(async move {
            let said = inner.ask_all(&draws).await?;
            draw::decision(&draws, &said)
        })
    }
}

impl Inner {
    async fn ask_all(&self, draws: &[Draw]) -> Result<Vec<Said>, StoreError> {
        let mut said = Vec::with_capacity(draws.len());
        for draw in draws {
            // The nodes of a cluster are asked about one company at a time.
            let answer = if self.cluster {
                self.queue.ask_alone(draw).await
            } else {
                self.queue.ask(draw.clone()).await
            };
            let refused = match answer {
                Ok(answer) => {
                    said.push(answer);
                    said.last().is_some_and(|said| !said.taken)
                }
                Err(error) => {
                    self.give_back(draws, &said).await;
                    return Err(error);
                }
            };
            if refused {
                self.give_back(draws, &said).await;
                break;
            }
        }
        Ok(said)
    }

    /// Gives back what was taken for a request that is refused after all.
    async fn give_back(&self, draws: &[Draw], said: &[Said]) {
        let Some(mut connection) = self.queue.link().connection() else {
            return;
        };
        for (draw, said) in draws.iter().zip(said).filter(|(_, said)| said.taken) {
            let call = draw.call_back(&self.give_back, said);
            if let Err(error) = self.give_back.run(&call, &mut connection).await {
                tracing::warn!(
                    target: "countersign",
                    error = &error as &dyn std::error::Error,
                    "units of a refused request could not be given back"
                );
            }
        }
    }
}
