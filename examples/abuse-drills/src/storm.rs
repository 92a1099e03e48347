//! A partner's client retries without waiting.

use std::time::Duration;

use crate::{Failure, Stage, Timeline};

/// 1. Twelve minutes of usual use: 20 calls a minute.
/// 2. A new version of the client calls 20 times a second and minds no `Retry-After`. Its key is
///    kept away for a minute, then for two. Another key of the same company is served all the time.
/// 3. The client is mended: it waits as it was told, and is served.
///
/// # Errors
/// When the stack can't be built or doesn't answer.
pub async fn storm() -> Result<Timeline, Failure> {
    let mut stage = Stage::set().await?;
    let broken = stage.issue("company_12").await?;
    let other = stage.issue("company_12").await?;
    for _ in 0..240 {
        stage.ask("client", OFFICE, &broken).await?;
        stage.wait(Duration::from_secs(3));
    }
    let mut told = Duration::ZERO;
    for step in 0..1400 {
        if step % 100 == 0 {
            stage.ask("neighbour", OFFICE, &other).await?;
        }
        let answer = stage.ask("client", OFFICE, &broken).await?;
        told = answer.retry_after.unwrap_or_default();
        stage.wait(Duration::from_millis(50));
    }
    stage.wait(told);
    for _ in 0..5 {
        stage.ask("client", OFFICE, &broken).await?;
        stage.wait(Duration::from_secs(3));
    }
    stage.timeline().await
}

const OFFICE: &str = "192.0.2.7";
