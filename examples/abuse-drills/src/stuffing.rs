//! Somebody tries keys from a list, behind the address that a partner calls from.

use std::time::Duration;

use crate::{Failure, Stage, Timeline};

/// 1. From one address come a partner's correct key and, five times a second, keys of somebody's
///    list. After 30 the address is kept away for a minute; it goes on regardless, and is kept away
///    for two. The partner is served all the time, also when its key has left the cache and must be
///    looked up again.
/// 2. The list goes on from 200 addresses, few tries from each: only the sum is noticed.
/// 3. When the penalty is over, the address is answered like any other.
///
/// # Errors
/// When the stack can't be built or doesn't answer.
pub async fn stuffing() -> Result<Timeline, Failure> {
    let mut stage = Stage::set().await?;
    let partner = stage.issue("company_12").await?;
    for step in 0..400 {
        if step % 25 == 0 {
            stage.ask("partner", SHARED, &partner).await?;
        }
        let guess = stage.made_up_key().await?;
        stage.ask("attacker", SHARED, &guess).await?;
        stage.wait(Duration::from_millis(200));
    }
    stage.wait(Duration::from_secs(10));
    stage.ask("partner", SHARED, &partner).await?;

    for try_number in 0..1200u32 {
        let from = format!("198.51.{}.{}", 100 + try_number % 2, try_number % 200);
        let guess = stage.made_up_key().await?;
        stage.ask("botnet", &from, &guess).await?;
        stage.wait(Duration::from_millis(40));
    }
    stage.ask("partner", SHARED, &partner).await?;

    stage.wait(Duration::from_secs(120));
    let guess = stage.made_up_key().await?;
    stage.ask("attacker", SHARED, &guess).await?;
    stage.timeline().await
}

const SHARED: &str = "203.0.113.9";
