//! Runs a drill and prints its timeline.
#![allow(
    clippy::print_stdout,
    reason = "the timeline is what this program is for"
)]

use abuse_drills::{Failure, storm, stuffing};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let drill = std::env::args().nth(1).unwrap_or_default();
    let timeline = match drill.as_str() {
        "stuffing" => stuffing().await?,
        "storm" => storm().await?,
        _ => return Err("say which drill: stuffing or storm".into()),
    };
    print!("{timeline}");
    Ok(())
}
