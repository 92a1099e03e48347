//! Ships an audit log to NATS JetStream until it is interrupted.
//!
//! `cargo run -p audit-to-nats -- LOG [SERVER [STREAM]]`

use std::error::Error;
use std::time::Duration;

use audit_to_nats::JetStream;
use countersign::LogShipper;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let mut arguments = std::env::args().skip(1);
    let log = arguments.next().ok_or("say which log: its directory")?;
    let server = arguments.next().unwrap_or("127.0.0.1:4222".to_owned());
    let stream = arguments.next().unwrap_or("audit".to_owned());

    let broker = JetStream::connect(&server, &stream).await?;
    let position = format!("{}.position", log.trim_end_matches('/'));
    let shipper = LogShipper::open(&log, position, broker)?;
    tokio::select! {
        never = shipper.run(Duration::from_secs(1)) => match never {},
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}
