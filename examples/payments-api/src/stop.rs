//! When the service ends.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Whether the process was told to stop. A clone is told so too, however late it asks.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens to SIGTERM and SIGINT from now on: made before anybody hears that the service is
    /// ready, so that none comes too early.
    pub(crate) fn on_signal() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (teller, stop) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            teller.send_replace(true);
        });
        Ok(Self(stop))
    }

    /// Resolves when the process was told to stop.
    pub(crate) async fn told(mut self) {
        // An error says that nobody is left who could tell: then it is time as well.
        let _ = self.0.wait_for(|told| *told).await;
    }

    /// Resolves some time after that: whoever holds back the rest of a request, or keeps a stream
    /// open, does not keep the process.
    pub(crate) async fn out_of_patience(self) {
        self.told().await;
        tokio::time::sleep(PATIENCE).await;
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
