//! A request that waits for the store, and what becomes of it when nobody waits for its answer.

use std::sync::Arc;

use countersign_core::{AccessContext, Denial, Reason};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::KeyVerifier;
use crate::cache::Outcome;
use crate::key::RawKey;

/// A caller may leave before the store has answered, and a guess is one all the same: else whoever
/// resets each request would never be counted. So it is judged when the answer is there. Where too many
/// wait for that, it counts as a failure at once.
pub(super) struct Asked(Option<Question>);

/// How many callers who left may wait to be judged.
#[derive(Debug)]
pub(super) struct Left(Arc<Semaphore>);

struct Question {
    verifier: KeyVerifier,
    context: AccessContext,
    key: RawKey,
}

impl KeyVerifier {
    /// Asks the store and decides.
    pub(crate) async fn ask(self, context: AccessContext, key: RawKey) -> Result<(), Denial> {
        let (cache, prefix) = (self.0.cache.clone(), *key.prefix());
        let question = Question {
            verifier: self,
            context,
            key,
        };
        let mut asked = Asked(Some(question));
        let outcome = cache.look_up(prefix).await;
        match asked.0.take() {
            Some(question) => question.answer(outcome),
            // Nobody else takes it.
            None => Err(Reason::KeyStoreUnavailable.into()),
        }
    }
}

impl Question {
    fn answer(self, outcome: Outcome) -> Result<(), Denial> {
        match outcome {
            Outcome::Found(found) => self.verifier.decide(&self.context, &self.key, &found),
            Outcome::Unavailable => {
                self.context.present_key(*self.key.prefix(), None);
                Err(Reason::KeyStoreUnavailable.into())
            }
        }
    }

    /// For a caller who has left.
    async fn judge(self, _place: OwnedSemaphorePermit) {
        let verifier = &self.verifier;
        // A store that fails is nobody's failure.
        if let Outcome::Found(found) = verifier.0.cache.look_up(*self.key.prefix()).await
            && let Err(reason) = verifier.judge(&self.context, &self.key, &found)
        {
            self.fail(reason);
        }
    }

    fn fail(&self, reason: Reason) {
        // Nobody is there to be told to wait.
        let _ = self.verifier.failed(&self.context, Some(&self.key), reason);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let Some(question) = self.0.take() else {
            return;
        };
        // The event of the request that was left says whose key it named.
        question.context.present_key(*question.key.prefix(), None);
        let settings = &question.verifier.0;
        if settings.meter.is_none() {
            return;
        }
        let place = Arc::clone(&settings.left.0).try_acquire_owned();
        match (Handle::try_current(), place) {
            (Ok(runtime), Ok(place)) => drop(runtime.spawn(question.judge(place))),
            _ => question.fail(Reason::UnknownApiKey),
        }
    }
}

impl Default for Left {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_LEFT)))
    }
}

const MOST_LEFT: usize = 1024;
