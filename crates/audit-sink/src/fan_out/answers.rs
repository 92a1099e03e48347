//! What several backends answer, and whether it is enough.

use countersign_core::{StoreError, StoreErrorKind};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// Answers that are on their way.
pub(super) struct Answers {
    pub(super) answers: JoinSet<bool>,
    pub(super) need: usize,
    pub(super) deadline: Instant,
}

impl Answers {
    /// Whether enough are well in time.
    pub(super) async fn enough(mut self) -> Result<(), StoreError> {
        let mut well = 0;
        while well < self.need {
            match timeout_at(self.deadline, self.answers.join_next()).await {
                Ok(Some(answer)) => well += usize::from(answer.unwrap_or(false)),
                Ok(None) | Err(_) => return Err(too_few(well, self.need)),
            }
        }
        Ok(())
    }
}

pub(super) fn too_few(well: usize, need: usize) -> StoreError {
    let cause = format!("{well} of the {need} backends that must acknowledge did");
    StoreError::with_source(StoreErrorKind::Unavailable, cause)
}
