//! The events of an audit log on NATS JetStream, to copy.
//!
//! Each event is one message: the exact bytes of its line, so that a consumer who is given a proof
//! needs to trust neither the broker nor us. Its id, `<origin>/<seq>`, lets JetStream leave out what
//! comes again within the stream's window of duplicates. After a failure messages of one batch may
//! change places: a consumer orders by `seq`.

use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{self, Context};
use async_trait::async_trait;
use countersign::{EventBroker, ShippedEvent, StoreError, StoreErrorKind};
use tokio::time::timeout;

/// A stream of JetStream.
#[derive(Debug)]
pub struct JetStream {
    context: Context,
    subject: String,
}

impl JetStream {
    /// Connects to `server`, and makes the stream `name` where there is none: nothing in it can be
    /// deleted or purged by a client. Events go to the subject `<name>.events`.
    ///
    /// # Errors
    /// `Unavailable` when the server can't be reached or has no JetStream.
    pub async fn connect(server: &str, name: &str) -> Result<Self, StoreError> {
        let client = async_nats::connect(server).await.map_err(unavailable)?;
        let context = jetstream::new(client);
        let subject = format!("{name}.events");
        let config = Config {
            name: name.to_owned(),
            subjects: vec![subject.clone()],
            duplicate_window: Duration::from_secs(3600),
            deny_delete: true,
            deny_purge: true,
            ..Config::default()
        };
        let made = context.get_or_create_stream(config).await;
        made.map_err(unavailable)?;
        Ok(Self { context, subject })
    }
}

#[async_trait]
impl EventBroker for JetStream {
    async fn publish(&mut self, events: &[ShippedEvent]) -> Result<(), StoreError> {
        let mut acknowledgements = Vec::with_capacity(events.len());
        for event in events {
            let message = PublishMessage::build()
                .payload(event.line.clone().into())
                .message_id(&event.id);
            let sent = self.context.send_publish(self.subject.clone(), message);
            // A client that is reconnecting must not hold us for ever.
            let sent = timeout(PATIENCE, sent).await.map_err(unavailable)?;
            acknowledgements.push(sent.map_err(unavailable)?);
        }
        // Sent is not kept: only the stream's own word counts, for each of them.
        for acknowledgement in acknowledgements {
            acknowledgement.await.map_err(unavailable)?;
        }
        Ok(())
    }
}

fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unavailable, error)
}

const PATIENCE: Duration = Duration::from_secs(5);
