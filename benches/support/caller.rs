//! Who calls, as the assembled stacks know it: what an application keeps beside the hash of a key.

use std::collections::HashSet;
use std::sync::Arc;

use dashmap::DashMap;
use http::HeaderMap;
use sha2::{Digest, Sha256};
use tower_governor::GovernorError;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;

use super::api::{SCOPE, X_API_KEY};
use super::keys::Key;
use super::ours;

/// The owner of a key.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) company: String,
    scopes: HashSet<String>,
}

impl Caller {
    /// Whether the caller may read accounts.
    pub(crate) fn may_read(&self) -> bool {
        self.scopes.contains(SCOPE)
    }
}

/// The owners by the SHA-256 of their keys.
#[derive(Debug, Clone)]
pub(crate) struct Callers(Arc<DashMap<[u8; 32], Arc<Caller>>>);

impl Callers {
    pub(crate) fn new(keys: &[Key]) -> Self {
        let caller = |(number, key): (usize, &Key)| {
            let caller = Caller {
                name: key.text[..PREFIX].to_owned(),
                company: format!("company_{number}"),
                scopes: HashSet::from([SCOPE.to_owned(), "accounts:write".to_owned()]),
            };
            (Sha256::digest(&key.text).into(), Arc::new(caller))
        };
        Self(Arc::new(keys.iter().enumerate().map(caller).collect()))
    }

    /// Whose key stands in the headers.
    pub(crate) fn find(&self, headers: &HeaderMap) -> Option<Arc<Caller>> {
        let key = headers.get(X_API_KEY)?;
        let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        self.0.get(&hash).map(|caller| Arc::clone(&caller))
    }
}

/// Limits by the name of the key that an earlier layer found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByCaller;

impl KeyExtractor for ByCaller {
    type Key = String;

    fn extract<T>(&self, request: &http::Request<T>) -> Result<String, GovernorError> {
        let caller = request.extensions().get::<Arc<Caller>>();
        caller.map_or(Err(GovernorError::UnableToExtractKey), |it| {
            Ok(it.name.clone())
        })
    }
}

/// A limit that is counted and shown, and never reached: the same that our stack gets.
pub(crate) fn limit() -> GovernorConfig<ByCaller, StateInformation> {
    let quota = ours::generous();
    GovernorConfigBuilder::default()
        .per_millisecond(quota.interval_nanos() / 1_000_000)
        .burst_size(quota.burst())
        .key_extractor(ByCaller)
        .use_headers()
        .finish()
        .expect("neither number is zero")
}

pub(crate) use governor::middleware::StateInformationMiddleware as StateInformation;

/// The length of `bench_live_` and the twelve characters of the id.
const PREFIX: usize = 23;
