//! Who has the right to sign, where nobody does.

use countersign_core::StoreError;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::error::{corrupt, store_error, unavailable};

/// Why lines are not signed: which session has the right to, if one has.
pub(super) async fn nobody_signs(client: &Client, schema: &str) -> StoreError {
    match holder(client, schema).await {
        Ok(Some(session)) => unavailable(format!(
            "no process signs checkpoints: the right to has {session}; \
             look what it does, or end it with pg_terminate_backend"
        )),
        Ok(None) => {
            unavailable("no process signs checkpoints: look whether one with the signing key runs")
        }
        Err(error) => error,
    }
}

/// The session that holds the lock of [`super::signer`]. Addresses of other roles' sessions are shown
/// to members of `pg_read_all_stats` alone.
async fn holder(client: &Client, schema: &str) -> Result<Option<String>, StoreError> {
    let sql = "
        SELECT format('the session with the pid %s of the role %s, connected from %s', l.pid,
                      coalesce(a.usename, '?'),
                      coalesce(host(a.client_addr), 'an address that is not shown'))
        FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a USING (pid)
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
          AND l.database = (SELECT oid FROM pg_catalog.pg_database
                            WHERE datname = current_database())
          AND (l.classid::bigint << 32) | l.objid::bigint
              = hashtextextended('countersign audit signer ' || $1, 0)";
    let rows = client.query_typed(sql, &[(&schema, Type::TEXT)]).await;
    let rows = rows.map_err(store_error)?;
    let session = rows.first().map(|row| row.try_get(0));
    session.transpose().map_err(corrupt)
}
