//! The process that is killed: it appends events, calls sensitive handlers, and says so.

use std::convert::Infallible;
use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use countersign_audit_sink::{AuditLayer, AuditSink, FileLog};
use countersign_core::{
    AccessContext, ActorType, Clock, Edge, Endpoint, Environment, EventId, Identity,
    LifecycleEvent, LifecycleKind, MatchedEndpoint, ScopeSet, SystemClock,
};
use http::{Request, Response};
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt};

use super::log::Said;

/// Works until it is killed.
///
/// # Errors
/// When the log can't be opened.
pub(crate) fn run(directory: &Path, slowly: bool) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Without the driver of sockets nothing but the log writes to a file.
        .enable_time()
        .build()?;
    // Small segments, so that rotation is killed as well.
    let log = FileLog::options(directory).segment_bytes(256 * 1024).open();
    let log = log.map_err(|error| anyhow!("{error}: {:?}", std::error::Error::source(&error)))?;
    let (sink, writer) = AuditSink::builder(log).spawn()?;
    let pause = Duration::from_millis(if slowly { 2 } else { 0 });
    runtime.block_on(async {
        for _ in 0..TASKS {
            tokio::spawn(append(sink.clone(), pause));
            tokio::spawn(call(sink.clone(), pause));
        }
        std::future::pending::<()>().await;
    });
    drop(writer);
    Ok(ExitCode::SUCCESS)
}

async fn append(sink: AuditSink, pause: Duration) {
    loop {
        let event = lifecycle();
        let id = event.id;
        match sink.append_durable(event.into()).await {
            Ok(()) => say(Said::Durable, id),
            Err(_) => say(Said::Refused, id),
        }
        wait(pause).await;
    }
}

async fn call(sink: AuditSink, pause: Duration) {
    let audit = AuditLayer::new(sink);
    let intent = audit.intent();
    let endpoint = Endpoint::post("/payments").sensitive().kept();
    let service = ServiceBuilder::new()
        .layer(audit)
        .map_request(move |request| identified(request, endpoint))
        .layer(intent)
        .service_fn(|request: Request<Full<Bytes>>| async move {
            if let Some(context) = AccessContext::of(&request) {
                say(Said::Handler, context.request_id());
            }
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
    loop {
        let request = Request::post("/payments").body(Full::<Bytes>::default());
        if let Ok(request) = request
            && let Ok(answer) = service.clone().oneshot(request).await
            && !answer.status().is_success()
        {
            say(Said::Refused, "request");
        }
        wait(pause).await;
    }
}

/// What the layers between the audit and the intent do.
fn identified(
    mut request: Request<Full<Bytes>>,
    endpoint: &'static Endpoint,
) -> Request<Full<Bytes>> {
    let entered = Edge::default().enter(&mut request);
    let context = entered.context(&request);
    let target = request.uri().path_and_query().cloned();
    let company = "company_12".parse();
    if let (Some(target), Ok(company)) = (target, company) {
        // The record is new, so that nothing is set twice.
        let _ = context.match_endpoint(MatchedEndpoint { endpoint, target });
        let _ = context.identify(Identity::new(company, Environment::Live, ScopeSet::new()));
    }
    request
}

fn lifecycle() -> LifecycleEvent {
    let time = SystemClock.now().wall;
    LifecycleEvent {
        id: EventId::generate(time),
        time,
        kind: LifecycleKind::TokenRevoked,
        actor_type: ActorType::Operator,
        actor: "crash".to_owned(),
        company: "company_12".parse().expect("it is a company's name"),
        environment: None,
        key_id: None,
        key_prefix: None,
        reason: None,
        linked_key: None,
        subsidiaries: Vec::new(),
        scopes: Vec::new(),
        ends_at: None,
        changed: None,
    }
}

/// One write to the pipe, which is whole or not there. A parent that is gone ends this process. It
/// is another system call than those of the log, so that those can be made to fail alone.
fn say(said: Said, id: impl std::fmt::Display) {
    static OUTPUT: LazyLock<Option<File>> = LazyLock::new(|| {
        let output = std::io::stdout().as_fd().try_clone_to_owned();
        output.ok().map(File::from)
    });
    let line = format!("{} {id}\n", said.word());
    let line = [IoSlice::new(line.as_bytes())];
    let said = OUTPUT
        .as_ref()
        .map(|mut output| output.write_vectored(&line));
    if !matches!(said, Some(Ok(_))) {
        std::process::exit(0);
    }
}

async fn wait(pause: Duration) {
    if pause.is_zero() {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(pause).await;
    }
}

const TASKS: usize = 8;
