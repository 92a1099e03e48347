//! Whether a caller that was verified when its call began may go on with it.

use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::{AccessContext, Denial};

/// Knows whether a verified caller still stands. A gRPC call may stay open for days, and the body of a
/// request may be held back as long; whoever verified its caller is asked again while messages, or
/// pieces of the body, pass, so that a revocation ends it.
pub trait CallerStanding: Debug + Send + Sync + 'static {
    /// Whether the caller of `context`'s request may still make it.
    fn check(&self, context: &AccessContext) -> Standing;
}

/// How a caller stands.
pub enum Standing {
    /// It may go on.
    Good,
    /// It may not any more.
    Fallen(Denial),
    /// Somebody must be asked.
    Ask(Asking),
}

/// For how long a caller that was found to stand is not looked after again.
pub const STANDING_PAUSE: Duration = Duration::from_millis(250);

/// The question, under way.
pub type Asking = Pin<Box<dyn Future<Output = Result<(), Denial>> + Send>>;

impl AccessContext {
    /// Names who knows how the caller stands. The first one stays.
    pub fn stand_on(&self, standing: Arc<dyn CallerStanding>) {
        // Set by whoever identified the caller, which happens once.
        let _ = self.standing_slot().set(standing);
    }

    /// Whether the caller may still go on, asked of whoever knows, once [`STANDING_PAUSE`] has
    /// passed since the request came in: for a guard that waited for more of the request.
    ///
    /// # Errors
    /// The refusal that a new request would get.
    pub async fn look_again(&self) -> Result<(), Denial> {
        let waited = self
            .edge()
            .clock()
            .monotonic()
            .duration_since(self.received().monotonic);
        match self.standing().filter(|_| waited >= STANDING_PAUSE) {
            None => Ok(()),
            Some(standing) => match standing.check(self) {
                Standing::Good => Ok(()),
                Standing::Fallen(denial) => Err(denial),
                Standing::Ask(asking) => asking.await,
            },
        }
    }

    /// Who knows how the caller stands, where somebody said so.
    #[must_use]
    pub fn standing(&self) -> Option<&dyn CallerStanding> {
        self.standing_slot().get().map(|standing| &**standing)
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => f.write_str("Good"),
            Self::Fallen(denial) => f.debug_tuple("Fallen").field(denial).finish(),
            Self::Ask(_) => f.write_str("Ask"),
        }
    }
}
