//! A store with one key, and a layer around a service that must not be reached.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_core::testing::ReadinessProbe;
use countersign_core::{
    AccessContext, Clock, CompanyId, Edge, Environment, ManualClock, PeerAddr, ScopeSet,
};
use countersign_key_verify::{
    Actor, IssueRequest, IssuedKey, KeyManager, KeyVerifier, KeyVerifierBuilder, KeyVerifyLayer,
    MemoryKeyStore,
};
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) store: Arc<MemoryKeyStore>,
    pub(crate) manager: KeyManager,
    pub(crate) operator: Actor,
    pub(crate) company: CompanyId,
}

/// What became of a request.
pub(crate) struct Seen {
    pub(crate) response: Response<Full<Bytes>>,
    pub(crate) context: AccessContext,
    /// Whether the inner service was called.
    pub(crate) passed: bool,
}

impl World {
    pub(crate) async fn new() -> Self {
        let clock = ManualClock::default();
        let store = Arc::new(MemoryKeyStore::default());
        let manager = KeyManager::builder(Arc::clone(&store))
            .clock(clock.clone())
            .build()
            .unwrap();
        let operator = Actor::operator("ada").unwrap();
        let company = "company_12".parse().unwrap();
        manager.create_company(&operator, company).await.unwrap();
        Self {
            clock,
            store,
            manager,
            operator,
            company,
        }
    }

    pub(crate) fn draft(&self, environment: Environment) -> IssueRequest {
        let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
        let expiry = self.clock.now().wall.saturating_add(DAY);
        IssueRequest::new(self.company, environment, scopes, expiry).activate_now(true)
    }

    pub(crate) async fn issue(&self, draft: IssueRequest) -> IssuedKey {
        self.manager.issue(&self.operator, draft).await.unwrap()
    }

    pub(crate) async fn key(&self) -> IssuedKey {
        self.issue(self.draft(Environment::Live)).await
    }

    /// A verifier with these settings; its cache knows nothing yet.
    pub(crate) fn layer(
        &self,
        settings: impl FnOnce(KeyVerifierBuilder) -> KeyVerifierBuilder,
    ) -> KeyVerifyLayer {
        let builder = KeyVerifier::builder(Arc::clone(&self.store)).clock(self.clock.clone());
        let verifier = settings(builder).build().unwrap();
        KeyVerifyLayer::new(verifier).with_edge(self.edge())
    }

    pub(crate) fn edge(&self) -> Edge {
        Edge::builder().clock(self.clock.clone()).build()
    }

    /// Sends a request through `layer` and looks at its record afterwards.
    pub(crate) async fn send(
        &self,
        layer: &KeyVerifyLayer,
        mut request: Request<Full<Bytes>>,
    ) -> Seen {
        let entered = self.edge().enter(&mut request);
        let context = entered.context(&request).clone();
        let probe = ReadinessProbe::default();
        let response = layer.layer(probe.clone()).oneshot(request).await.unwrap();
        let passed = probe.calls() == 1;
        Seen {
            response,
            context,
            passed,
        }
    }
}

impl Seen {
    pub(crate) fn reason(&self) -> Option<&'static str> {
        self.context.denial().map(|denial| denial.reason().as_str())
    }

    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }
}

pub(crate) fn request(fields: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let request = fields
        .iter()
        .fold(Request::builder(), |request, (name, value)| {
            request.header(*name, *value)
        });
    request.body(Full::default()).unwrap()
}

pub(crate) fn with_key(issued: &IssuedKey) -> Request<Full<Bytes>> {
    request(&[("x-api-key", &issued.key.expose())])
}

pub(crate) fn from(mut request: Request<Full<Bytes>>, address: &str) -> Request<Full<Bytes>> {
    let address = address.parse().unwrap();
    request.extensions_mut().insert(PeerAddr(address));
    request
}

/// A key with the issued one's prefix and another secret.
pub(crate) fn wrong_secret(issued: &IssuedKey) -> String {
    let key = issued.key.expose();
    let prefix = issued.key.prefix().as_str();
    let body = format!("{prefix}_{}", "0".repeat(43));
    assert!(!key.starts_with(&body));
    let mut check = crc32fast::hash(body.as_bytes());
    let mut text = [b'0'; 6];
    for digit in text.iter_mut().rev() {
        *digit = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
            [(check % 62) as usize];
        check /= 62;
    }
    format!("{body}{}", std::str::from_utf8(&text).unwrap())
}
