//! Which of some events the log holds.

use std::collections::{HashMap, HashSet};
use std::thread;

use countersign_audit_sink::EventHistory;
use countersign_core::{EventId, StoreError};
use tokio::runtime::Builder;
use tokio_postgres::types::{ToSql, Type};

use super::server::Server;
use crate::error::{corrupt, store_error, unavailable, within};

/// Asked on a connection of its own.
#[derive(Debug)]
pub(super) struct PostgresHistory(pub(super) Server);

impl EventHistory for PostgresHistory {
    fn find(&self, ids: &HashSet<EventId>) -> Result<HashSet<EventId>, StoreError> {
        // The caller may or may not be on a runtime's thread; a thread of our own never is.
        let asking = thread::scope(|scope| scope.spawn(|| self.ask(ids)).join());
        asking.unwrap_or_else(|_| Err(unavailable("the question panicked")))
    }
}

impl PostgresHistory {
    fn ask(&self, ids: &HashSet<EventId>) -> Result<HashSet<EventId>, StoreError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let by_text: HashMap<String, EventId> =
            ids.iter().map(|id| (id.to_string(), *id)).collect();
        let texts: Vec<&String> = by_text.keys().collect();
        runtime.map_err(unavailable)?.block_on(async {
            let link = self.0.connect().await?;
            let mut found = HashSet::new();
            for texts in texts.chunks(1000) {
                let sql = "SELECT DISTINCT id FROM events WHERE id = ANY($1)";
                let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&texts, Type::TEXT_ARRAY)];
                let asking = link.client.query_typed(sql, &parameters);
                let asking = async { asking.await.map_err(store_error) };
                for row in within(self.0.patience(), asking).await? {
                    let text: &str = row.try_get(0).map_err(corrupt)?;
                    found.extend(by_text.get(text));
                }
            }
            Ok(found)
        })
    }
}
