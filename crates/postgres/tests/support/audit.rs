//! An audit log of one's own on the server.

use std::sync::Arc;
use std::time::Duration;

use countersign_audit_sink::{AuditEvent, FileSigner, Finding, LogVerifier};
use countersign_core::{ActorType, EventId, LifecycleEvent, LifecycleKind, StoreError, Timestamp};
use countersign_postgres::PostgresOptions;
use countersign_postgres::audit::{PostgresLog, PostgresLogOptions, copy_log};
use tempfile::TempDir;

use super::{address, sql, unique};

pub(crate) const ORIGIN: &str = "example.com/shared";
pub(crate) const START: i64 = 1_767_225_600_000_000;

/// An empty log, its signing key, and a role that may append and no more.
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) signer: Arc<FileSigner>,
    _directory: TempDir,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let place = Self::without_log();
        drop(place.as_owner().open().await.unwrap());
        let (schema, role) = (place.schema(), &place.name);
        sql(&format!(
            "CREATE ROLE {role} LOGIN;
             GRANT USAGE ON SCHEMA {schema} TO {role};
             GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};
             GRANT INSERT ON {schema}.log, {schema}.events, {schema}.checkpoints TO {role};
             GRANT INSERT (actor, purpose), DELETE ON {schema}.reads TO {role}"
        ))
        .await;
        place
    }

    pub(crate) fn without_log() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let signer = FileSigner::create(directory.path().join("key"), ORIGIN).unwrap();
        Self {
            name: unique(),
            signer: Arc::new(signer),
            _directory: directory,
        }
    }

    pub(crate) fn schema(&self) -> String {
        format!("{}_audit", self.name)
    }

    /// As the role that may append, at an address that ends with `parameters`.
    pub(crate) fn postgres(&self, parameters: &str) -> PostgresOptions {
        let address = address().replace("postgres@", &format!("{}@", self.name));
        let options: PostgresOptions = format!("{address}{parameters}").parse().unwrap();
        options.schema(&self.name).unwrap()
    }

    pub(crate) fn owner(&self) -> PostgresOptions {
        let options: PostgresOptions = address().parse().unwrap();
        options.schema(&self.name).unwrap()
    }

    pub(crate) fn as_owner(&self) -> PostgresLogOptions {
        let options = PostgresLog::options(self.owner()).origin(ORIGIN);
        options.signer(Arc::clone(&self.signer))
    }

    pub(crate) fn options(&self) -> PostgresLogOptions {
        let options = PostgresLog::options(self.postgres("")).origin(ORIGIN);
        options
            .signer(Arc::clone(&self.signer))
            .checkpoint_interval(std::time::Duration::from_millis(20))
    }

    pub(crate) async fn open(&self) -> PostgresLog {
        self.options().open().await.unwrap()
    }

    pub(crate) async fn lines(&self) -> Vec<String> {
        let schema = self.schema();
        let lines = format!("SELECT convert_from(line, 'UTF8') FROM {schema}.events ORDER BY seq");
        sql(&lines).await
    }

    pub(crate) async fn number(&self, expression: &str) -> u64 {
        let schema = self.schema();
        let answer = sql(&format!("SELECT {expression} FROM {schema}.events")).await;
        answer[0].parse().unwrap()
    }

    /// The size that the newest checkpoint signs.
    pub(crate) async fn signed(&self) -> u64 {
        let schema = self.schema();
        let newest = format!("SELECT coalesce(max(size), 0) FROM {schema}.checkpoints");
        sql(&newest).await[0].parse().unwrap()
    }

    pub(crate) async fn verify(&self) -> Finding {
        self.try_verify(None).await.unwrap()
    }

    /// What the verifier says of a copy, also against a checkpoint that was kept.
    pub(crate) async fn try_verify(&self, against: Option<&str>) -> Result<Finding, StoreError> {
        let directory = tempfile::tempdir().unwrap();
        copy_log(self.owner(), directory.path()).await?;
        // The events have times of the test's own.
        let verifier = LogVerifier::new(directory.path());
        let mut verifier = verifier.unsigned_for(Duration::MAX);
        if let Some(note) = against {
            verifier = verifier.against(note);
        }
        Ok(verifier.verify().unwrap().finding)
    }
}

/// An event that can be found by `actor`.
pub(crate) fn event(actor: &str) -> AuditEvent {
    event_at(actor, Timestamp::from_micros(START))
}

pub(crate) fn event_at(actor: &str, time: Timestamp) -> AuditEvent {
    AuditEvent::from(LifecycleEvent {
        id: EventId::generate(time),
        time,
        kind: LifecycleKind::TokenCreated,
        actor_type: ActorType::Operator,
        actor: actor.to_owned(),
        company: "company_12".parse().unwrap(),
        environment: None,
        key_id: None,
        key_prefix: None,
        reason: None,
        linked_key: None,
        subsidiaries: Vec::new(),
        scopes: Vec::new(),
        ends_at: None,
        changed: None,
    })
}
