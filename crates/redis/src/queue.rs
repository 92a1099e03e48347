//! Draws that wait for each other, so that one call makes many.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_core::{StoreError, StoreErrorKind};
use tokio::sync::oneshot;

use crate::batch::Batch;
use crate::draw::{Draw, Said};
use crate::error::store_error;
use crate::link::Link;
use crate::script::Script;

/// What goes to one server. A draw that finds no call under way is sent at once; those that come
/// while calls are under way are sent together when one of them is answered. So an idle server's
/// answer is not waited for any longer, and a busy one is asked less often.
#[derive(Debug)]
pub(crate) struct Queue {
    link: Link,
    script: Script,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Waiting>,
    /// Calls under way.
    flying: usize,
}

#[derive(Debug)]
struct Waiting {
    draw: Draw,
    answer: oneshot::Sender<Result<Said, StoreError>>,
}

impl Queue {
    pub(crate) fn new(link: Link, script: Script) -> Self {
        Self {
            link,
            script,
            state: Mutex::default(),
        }
    }

    pub(crate) const fn link(&self) -> &Link {
        &self.link
    }

    /// Makes a draw, perhaps together with others.
    pub(crate) async fn ask(self: &Arc<Self>, draw: Draw) -> Result<Said, StoreError> {
        let (answer, answered) = oneshot::channel();
        let flight = {
            let mut state = self.state();
            state.waiting.push(Waiting { draw, answer });
            let free = state.flying < MOST_FLYING;
            state.flying += usize::from(free);
            free.then(|| Flight {
                queue: Arc::clone(self),
                landed: false,
            })
        };
        if let Some(flight) = flight {
            // A task of its own: others wait for it too, whatever becomes of this request.
            tokio::spawn(flight.run());
        }
        match answered.await {
            Ok(answer) => answer,
            Err(gone) => Err(StoreError::with_source(StoreErrorKind::Unavailable, gone)),
        }
    }

    /// Makes these draws alone. The same as [`Queue::ask`], for servers that can't be asked about
    /// several companies at once.
    pub(crate) async fn ask_alone(&self, draw: &Draw) -> Result<Said, StoreError> {
        let mut said = self.send(&[draw]).await?;
        said.pop().unwrap_or_else(|| Err(crate::error::corrupt()))
    }

    async fn send(&self, draws: &[&Draw]) -> Result<Vec<Result<Said, StoreError>>, StoreError> {
        let Some(mut connection) = self.link.connection() else {
            return Err(StoreErrorKind::Unavailable.into());
        };
        let batch = Batch::new(draws);
        let answer = self
            .script
            .run(&batch.call(&self.script), &mut connection)
            .await;
        batch.read(answer.map_err(store_error)?)
    }

    async fn fly(&self, waiting: Vec<Waiting>) {
        let draws: Vec<&Draw> = waiting.iter().map(|waiting| &waiting.draw).collect();
        let said = self.send(&draws).await;
        let error = match said {
            Ok(said) => {
                for (waiting, said) in waiting.into_iter().zip(said) {
                    // Whoever does not wait any more was counted all the same.
                    let _ = waiting.answer.send(said);
                }
                return;
            }
            Err(error) => error,
        };
        // A counter that is none lets the call fail before anything was written. It is one
        // request's, and the others go without it.
        let failed = error.kind() == StoreErrorKind::Corrupt && error.source().is_some();
        let one_by_one = failed && waiting.len() > 1;
        let error = Arc::new(error);
        for waiting in waiting {
            let answer = if one_by_one {
                self.ask_alone(&waiting.draw).await
            } else {
                Err(StoreError::with_source(error.kind(), Arc::clone(&error)))
            };
            let _ = waiting.answer.send(answer);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to have a call under way; it is given back when this is dropped.
struct Flight {
    queue: Arc<Queue>,
    landed: bool,
}

impl Flight {
    /// Until nobody waits.
    async fn run(mut self) {
        while let Some(waiting) = self.next() {
            self.queue.fly(waiting).await;
        }
    }

    fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut state = self.queue.state();
        if state.waiting.is_empty() {
            // Under the same lock, so that whoever comes next flies by itself.
            state.flying -= 1;
            self.landed = true;
            return None;
        }
        let most = state.waiting.len().min(MOST_TOGETHER);
        Some(state.waiting.drain(..most).collect())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.landed {
            return;
        }
        // The runtime ends, or a panic: nobody else would fetch those that wait.
        let mut state = self.queue.state();
        state.flying -= 1;
        state.waiting.clear();
    }
}

/// Two: while the server works on one, the answers of the other are on their way.
const MOST_FLYING: usize = 2;
/// A server does nothing else while it runs a script.
const MOST_TOGETHER: usize = 64;
