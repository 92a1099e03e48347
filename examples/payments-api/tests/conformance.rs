//! A client that nobody here wrote reads the published document and calls the example: every
//! answer must be one that the document describes, refusals included.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use countersign::openapi::OpenApi;
use support::Service;

/// Calls everything that the document describes, with this key or without one.
fn run(python: &Path, document: &Path, service: &Service, key: Option<&str>, examples: &str) {
    let mut command = Command::new(python);
    command
        .current_dir(service.directory.path())
        .args(["-m", "schemathesis.cli", "run"])
        .arg(document)
        .args(["--url", &format!("http://{}/external/v1", service.address)])
        .args(["--checks", CHECKS])
        .args(["--max-examples", examples, "--seed", "1", "--no-color"])
        .args(["--warnings", "off", "--request-timeout", "10"]);
    if let Some(key) = key {
        command.args(["--header", &format!("X-Api-Key: {key}")]);
    }
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("Tested: 11"), "{told}");
}

#[test]
#[ignore = "needs a Python with schemathesis, see COUNTERSIGN_TEST_PYTHON; `cargo xtask test` makes one"]
fn every_answer_is_one_that_the_published_document_describes() {
    let python = std::env::var_os("COUNTERSIGN_TEST_PYTHON");
    let python = python.expect("COUNTERSIGN_TEST_PYTHON names a Python with schemathesis");
    let mut service = Service::start();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.yaml");
    let published = OpenApi::read(source).unwrap().published().unwrap();
    let document = service.directory.path().join("public.yaml");
    std::fs::write(&document, published.to_yaml()).unwrap();
    let key = |kind| service.key("company_12", kind).to_owned();
    for (key, examples) in [
        (Some(key("full")), "20"),
        (Some(key("read_only")), "3"),
        (Some(key("revoked")), "1"),
        (None, "1"),
    ] {
        let key = key.as_deref();
        run(python.as_ref(), &document, &service, key, examples);
    }
    service.stop();
    let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
    for event in service.audit() {
        let intent = event["type"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("intent"));
        if let (false, Some(status)) = (intent, event["status"].as_u64()) {
            *seen.entry(status).or_default() += 1;
        }
    }
    // It did meet what it should: answers of handlers, and refusals of every kind.
    for status in [200, 201, 401, 403, 404, 422, 429] {
        assert!(
            seen.contains_key(&status),
            "{status} was never seen: {seen:?}"
        );
    }
    assert_eq!(seen.range(500..).next(), None, "{seen:?}");
    println!("{seen:?}");
}

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";
