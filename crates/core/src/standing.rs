//! Whether a caller that was verified when its call began may go on with it.

use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::{AccessContext, Denial};

/// Knows whether a verified caller still stands. A gRPC call may stay open for days; whoever verified
/// its caller is asked again while messages pass, so that a revocation ends it.
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

/// The question, under way.
pub type Asking = Pin<Box<dyn Future<Output = Result<(), Denial>> + Send>>;

impl AccessContext {
    /// Names who knows how the caller stands. The first one stays.
    pub fn stand_on(&self, standing: Arc<dyn CallerStanding>) {
        // Set by whoever identified the caller, which happens once.
        let _ = self.standing_slot().set(standing);
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
