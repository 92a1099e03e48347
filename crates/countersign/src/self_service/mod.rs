//! Outside companies look after their own keys.

mod answers;
mod handlers;

use axum::Router;
use axum::routing::{get, post};
use countersign_core::{ConfigError, Endpoint, OperationType, Scope};
use countersign_key_verify::KeyManager;

/// Routes by which a company lists, rotates and revokes its own keys, with a key that has the scope
/// `tokens:manage`:
///
/// | endpoint | what it does |
/// |---|---|
/// | `GET /tokens` | lists the company's keys, at most 100 at a time; `?after=key_…` goes on |
/// | `POST /tokens/{token_id}/rotate` | gives a key a successor, whose raw key stands in this answer and never again; `{"overlapSeconds": 3600}` says how long the old key goes on, a day unless given |
/// | `POST /tokens/{token_id}/revoke` | ends a key for ever; `{"reason": "suspected_leakage"}`, `company_request` unless given |
///
/// A caller sees and touches
/// 1. its own company's keys: any other id is answered as one that never was,
/// 2. those of its own environment: a sandbox key says nothing of production keys,
/// 3. and rotates only keys that may do no more than the key it calls with, or `tokens:manage` would
///    be a way to every scope of the company and out of every network and limit: 403
///    `insufficient_scope` names the scopes that it lacks.
///
/// A parent's key that acts for a subsidiary is refused with 403 `company_boundary_violation`: what it
/// was granted is the subsidiary's data, not its keys. A rotation gives no more time: the successor
/// ends when the old key would have, or the key it was called with if that is sooner, see
/// [`KeyManager::rotate`]; revoking a revoked key is no error. Each change is audited with the
/// caller's key as its actor, and the manager's caches forget the key at once.
///
/// The routes belong behind the [stack](crate::Countersign), and their endpoints into its contract:
/// without it every request is refused.
///
/// ```
/// use countersign::{Contract, KeyManager, MemoryKeyStore, SelfService};
///
/// let manager = KeyManager::builder(MemoryKeyStore::default()).brand("acme").build()?;
/// let tokens = SelfService::new(manager).at("/external/v1/tokens")?;
/// let contract = Contract::builder().endpoints(tokens.endpoints()).build()?;
/// let routes: axum::Router = tokens.router();
/// // routes.layer(stack), of a stack with this contract
/// # Ok::<(), countersign::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct SelfService {
    manager: KeyManager,
    at: String,
}

impl SelfService {
    /// Routes under `/tokens`. The manager's settings hold: how long an overlap may be, what keys
    /// begin with, which cache forgets at once.
    pub fn new(manager: KeyManager) -> Self {
        Self {
            manager,
            at: "/tokens".to_owned(),
        }
    }

    /// Routes under another path, such as `/external/v1/tokens`.
    ///
    /// # Errors
    /// When the path does not begin with `/`, ends with one, or has a parameter.
    pub fn at(mut self, path: impl Into<String>) -> Result<Self, ConfigError> {
        let path = path.into();
        if !path.starts_with('/') || path.ends_with('/') || path.contains(['{', '}', '*']) {
            let problem = "a path such as /external/v1/tokens, without parameters";
            return Err(ConfigError::new("self-service", problem));
        }
        self.at = path;
        Ok(self)
    }

    /// The endpoints, for the contract: scope `tokens:manage`, and operation type administration
    /// where they change something.
    #[must_use]
    pub fn endpoints(&self) -> [Endpoint; 3] {
        let scope: Scope = SCOPE.parse().expect("the scope is well-formed");
        let [list, rotate, revoke] = self.paths();
        let change = |path: String| {
            let endpoint = Endpoint::post(path).scope(scope);
            endpoint.with_operation(OperationType::Administration)
        };
        [
            Endpoint::get(list).scope(scope),
            change(rotate),
            change(revoke),
        ]
    }

    /// The routes. Merge them into a router; nest it, and the path it is nested under belongs into
    /// the contract too.
    pub fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        let [list, rotate, revoke] = self.paths();
        Router::new()
            .route(&list, get(handlers::list))
            .route(&rotate, post(handlers::rotate))
            .route(&revoke, post(handlers::revoke))
            .with_state(self.manager)
    }

    fn paths(&self) -> [String; 3] {
        let at = &self.at;
        [
            at.clone(),
            format!("{at}/{{token_id}}/rotate"),
            format!("{at}/{{token_id}}/revoke"),
        ]
    }
}

const SCOPE: &str = "tokens:manage";
