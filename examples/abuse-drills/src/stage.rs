//! The stack that is attacked, and the clock.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign::{
    AbuseMonitor, Actor, AuditSink, AuditWriter, Clock, Contract, Countersign, CountersignService,
    Dimension, Edge, Endpoint, Environment, IssueRequest, KeyManager, ManualClock, MemoryBackend,
    MemoryKeyStore, MemoryLog, Moment, PeerAddr, Policies, Policy, Quota, ScopeSet,
};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};

use crate::timeline::{Call, Timeline};

/// Why a drill could not be run.
pub type Failure = Box<dyn Error + Send + Sync>;

type Handler = BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, Failure>;

/// A stack with the default rules, five calls a second for each key, and a clock that moves only
/// when it is told to.
#[derive(Debug)]
pub struct Stage {
    clock: ManualClock,
    began: Moment,
    manager: KeyManager,
    /// Issues keys that look right and that this stack has never heard of.
    strangers: KeyManager,
    service: CountersignService<Handler>,
    sink: AuditSink,
    log: MemoryLog,
    writer: AuditWriter,
    calls: Vec<Call>,
}

/// What a client saw.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// When to come back, if that was said.
    pub retry_after: Option<Duration>,
}

impl Stage {
    /// Builds the stack.
    ///
    /// # Errors
    /// When a part of it can't be built.
    pub async fn set() -> Result<Self, Failure> {
        let clock = ManualClock::default();
        let store = Arc::new(MemoryKeyStore::default());
        let (backend, log) = MemoryBackend::new();
        // Refusals beyond a hundred a second would be told together: here each has its line.
        let (sink, writer) = AuditSink::builder(backend).flood_limit(None).spawn()?;
        let stack = Countersign::builder()
            .contract(
                Contract::builder()
                    .endpoint(Endpoint::get("/accounts").scope(SCOPE.parse()?))
                    .build()?,
            )
            .key_store(Arc::clone(&store))
            .limits(Policies::new([Policy::new(
                "key",
                Dimension::Key,
                Quota::per_second(10, 5)?,
            )])?)
            .audit(sink.clone())
            .edge(Edge::builder().clock(clock.clone()).build())
            .abuse(AbuseMonitor::builder())
            .build()?;
        let handler = service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Failure>(Response::new(Full::default()))
        });
        Ok(Self {
            began: clock.now(),
            manager: manager(store, &clock).await?,
            strangers: manager(Arc::default(), &clock).await?,
            service: stack.layer(BoxCloneSyncService::new(handler)),
            clock,
            sink,
            log,
            writer,
            calls: Vec::new(),
        })
    }

    /// A key of `company`.
    ///
    /// # Errors
    /// When it can't be issued.
    pub async fn issue(&self, company: &str) -> Result<String, Failure> {
        issue(&self.manager, company, &self.clock).await
    }

    /// A key that looks right and is nobody's.
    ///
    /// # Errors
    /// When it can't be issued.
    pub async fn made_up_key(&self) -> Result<String, Failure> {
        issue(&self.strangers, "company_12", &self.clock).await
    }

    /// Calls the stack from an address, with a key.
    ///
    /// # Errors
    /// When it doesn't answer.
    pub async fn ask(
        &mut self,
        who: &'static str,
        from: &str,
        key: &str,
    ) -> Result<Answer, Failure> {
        let request = Request::get("/accounts")
            .header("host", "api.example.com")
            .header("x-api-key", key)
            .extension(PeerAddr(format!("{from}:4711").parse()?))
            .body(Full::default())?;
        let response = self.service.clone().oneshot(request).await?;
        let seconds = response.headers().get("retry-after");
        let seconds = seconds.map(|value| value.to_str()?.parse::<u64>().map_err(Failure::from));
        let answer = Answer {
            status: response.status(),
            retry_after: seconds.transpose()?.map(Duration::from_secs),
        };
        let now = self.clock.now().monotonic;
        self.calls.push(Call {
            at: now.duration_since(self.began.monotonic),
            who,
            answer,
            request_id: response.headers()["x-request-id"].to_str()?.to_owned(),
        });
        Ok(answer)
    }

    /// Lets time pass.
    pub fn wait(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Ends the drill, and puts what the clients saw beside what the audit log says.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn timeline(self) -> Result<Timeline, Failure> {
        self.sink.flush().await?;
        let report = self.writer.shutdown(Duration::from_secs(5)).await;
        if report.lost > 0 {
            return Err(format!("{} events were lost", report.lost).into());
        }
        Timeline::of(&self.calls, &self.log.lines())
    }
}

async fn manager(store: Arc<MemoryKeyStore>, clock: &ManualClock) -> Result<KeyManager, Failure> {
    let manager = KeyManager::builder(store).clock(clock.clone()).build()?;
    let company = "company_12".parse()?;
    let operator = Actor::operator("ada")?;
    manager.create_company(&operator, company).await?;
    Ok(manager)
}

async fn issue(
    manager: &KeyManager,
    company: &str,
    clock: &ManualClock,
) -> Result<String, Failure> {
    let expiry = clock.now().wall.saturating_add(Duration::from_secs(86_400));
    let scopes = ScopeSet::from_names([SCOPE])?;
    let request = IssueRequest::new(company.parse()?, Environment::Live, scopes, expiry);
    let operator = Actor::operator("ada")?;
    let issued = manager.issue(&operator, request.activate_now(true)).await?;
    Ok(issued.key.expose().to_string())
}

const SCOPE: &str = "accounts:read";
