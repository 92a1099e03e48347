//! Contracts from the command line: checked, compared, published, and who uses what.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign::{
    Actor, AuditSink, Clock, CompanyId, Contract, Countersign, Deprecation, Dimension, Endpoint,
    Environment, FileLog, IssueRequest, KeyManager, MemoryKeyStore, PeerAddr, Policies, Policy,
    Quota, ScopeSet, SystemClock,
};
use http::{Request, Response};
use http_body_util::Full;
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};

fn run(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_countersign"))
        .current_dir(directory)
        .arg("contract")
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const DOCUMENT: &str = "\
openapi: 3.1.0
info: {title: Test, version: '1'}
x-countersign-scopes: {'a:read': See a}
components: {securitySchemes: {key: {type: apiKey, in: header, name: X-Api-Key}}}
paths:
  /a:
    get: {security: [{key: ['a:read']}], responses: {'200': {description: All}}}
  /next:
    get: {security: [{key: ['a:read']}], x-countersign-stage: draft, responses: {'200': {description: All}}}
";

#[test]
fn a_document_is_checked_and_each_fault_has_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("good.yaml"), DOCUMENT).unwrap();
    let good = run(path, &["check", "good.yaml"]);
    assert!(good.status.success());
    assert!(text(&good.stdout).contains("GET     /next  a:read  read       normal       draft  1"));
    let bad = DOCUMENT.replace("security: [{key: ['a:read']}],", "");
    fs::write(path.join("bad.yaml"), bad).unwrap();
    let bad = run(path, &["check", "bad.yaml"]);
    assert_eq!(bad.status.code(), Some(1));
    let told = text(&bad.stderr);
    assert!(told.starts_with("bad.yaml: #/paths/~1a/get: it asks for no scope"));
    assert_eq!(told.lines().count(), 2, "{told}");
    let json = run(path, &["check", "bad.yaml", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["faults"][1]["at"], "#/paths/~1next/get");
    let absent = run(path, &["check", "absent.yaml"]);
    assert_eq!(absent.status.code(), Some(2));
}

#[test]
fn a_breaking_change_is_told_by_the_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("old.yaml"), DOCUMENT).unwrap();
    fs::write(path.join("more.yaml"), DOCUMENT.replace("draft", "beta")).unwrap();
    fs::write(path.join("less.yaml"), DOCUMENT.replace("  /a:", "  /b:")).unwrap();
    let more = run(path, &["diff", "old.yaml", "more.yaml"]);
    assert!(more.status.success());
    assert!(text(&more.stdout).contains("a new endpoint (beta)"));
    let less = run(path, &["diff", "old.yaml", "less.yaml", "--json"]);
    assert_eq!(less.status.code(), Some(1));
    let changes: Value = serde_json::from_slice(&less.stdout).unwrap();
    assert_eq!(changes[0]["endpoint"], "GET /a");
    assert_eq!(changes[0]["breaking"], true);
    fs::write(path.join("none.yaml"), "openapi: 3.9.0").unwrap();
    let none = run(path, &["diff", "old.yaml", "none.yaml"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("none.yaml: #/openapi"));
}

#[test]
fn what_is_exported_is_a_contract_of_the_open_endpoints() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("api.yaml"), DOCUMENT).unwrap();
    let exported = run(path, &["export", "api.yaml", "-o", "public.json"]);
    assert!(exported.status.success());
    let public: Value =
        serde_json::from_slice(&fs::read(path.join("public.json")).unwrap()).unwrap();
    assert!(public["paths"]["/a"]["get"]["responses"]["429"].is_object());
    assert!(public["paths"].get("/next").is_none());
    assert!(run(path, &["check", "public.json"]).status.success());
    let yaml = run(path, &["export", "public.json"]);
    fs::write(path.join("public.yaml"), yaml.stdout).unwrap();
    let same = run(path, &["diff", "public.json", "public.yaml", "--json"]);
    assert_eq!(text(&same.stdout), "[]\n");
}

/// A service with an endpoint at each end of its life, and a log of what it decided.
async fn serve(log: &Path, calls: &[(&str, bool)]) {
    let store = Arc::new(MemoryKeyStore::default());
    let manager = KeyManager::builder(Arc::clone(&store)).build().unwrap();
    let operator = Actor::operator("ada").unwrap();
    let company: CompanyId = "company_12".parse().unwrap();
    manager.create_company(&operator, company).await.unwrap();
    let scopes = ScopeSet::from_names(["a:read"]).unwrap();
    let expiry = SystemClock
        .now()
        .wall
        .saturating_add(Duration::from_secs(60));
    let request = IssueRequest::new(company, Environment::Live, scopes, expiry);
    let issued = manager.issue(&operator, request.activate_now(true)).await;
    let key = issued.unwrap().key.expose().to_string();

    let scope = "a:read".parse().unwrap();
    let since = Deprecation::since("2026-01-01T00:00:00Z".parse().unwrap());
    let contract = Contract::builder()
        .endpoint(Endpoint::get("/new").scope(scope))
        .endpoint(Endpoint::get("/old").scope(scope).deprecated(since))
        .endpoint(Endpoint::get("/gone").scope(scope).retired())
        .build()
        .unwrap();
    let backend = FileLog::options(log).origin("example.com/test").open();
    let (sink, writer) = AuditSink::builder(backend.unwrap()).spawn().unwrap();
    let quota = Quota::per_second(100, 100).unwrap();
    let stack = Countersign::builder()
        .contract(contract)
        .key_store(store)
        .limits(Policies::new([Policy::new("key", Dimension::Key, quota)]).unwrap())
        .audit(sink)
        .build()
        .unwrap();
    let handler = service_fn(|_: Request<Full<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let peer: SocketAddr = "192.0.2.7:4711".parse().unwrap();
    for (path, with_key) in calls {
        let mut request = Request::get(*path).header("host", "api.example.com");
        if *with_key {
            request = request.header("x-api-key", &key);
        }
        let request = request.extension(PeerAddr(peer));
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let answer = stack.layer(handler).oneshot(request).await.unwrap();
        assert_eq!(
            answer.headers().contains_key("deprecation"),
            *path == "/old"
        );
    }
    let report = writer.shutdown(Duration::from_secs(10)).await;
    assert_eq!(report.lost, 0);
}

#[tokio::test]
async fn who_uses_what_is_on_its_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit");
    let calls = [
        ("/new", true),
        ("/old", true),
        ("/old", true),
        ("/old", false),
        ("/gone", true),
    ];
    serve(&log, &calls).await;
    let usage = run(directory.path(), &["usage", "audit", "--json"]);
    assert!(usage.status.success(), "{}", text(&usage.stderr));
    let usage: Value = serde_json::from_slice(&usage.stdout).unwrap();
    let told: Vec<_> = usage
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let text = |name: &str| it[name].as_str().unwrap_or("-").to_owned();
            (
                text("route"),
                text("stage"),
                text("company"),
                it["calls"].as_u64(),
                it["allowed"].as_u64(),
            )
        })
        .collect();
    let row = |route: &str, stage: &str, company: &str, calls, allowed| {
        (
            route.to_owned(),
            stage.to_owned(),
            company.to_owned(),
            Some(calls),
            Some(allowed),
        )
    };
    assert_eq!(told.len(), 3, "{usage}");
    assert_eq!(told[0], row("/old", "deprecated", "company_12", 2, 2));
    assert!(told.contains(&row("/old", "deprecated", "-", 1, 0)));
    assert!(told.contains(&row("/gone", "retired", "-", 1, 0)));
    let table = run(
        directory.path(),
        &["usage", "audit", "--company", "company_12"],
    );
    let table = text(&table.stdout);
    assert_eq!(table.lines().count(), 2, "{table}");
    let none = run(directory.path(), &["usage", "audit", "--route", "/new"]);
    assert!(text(&none.stderr).contains("nobody"));
}
