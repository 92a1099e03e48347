//! The contract from documents, and back.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad;
mod changes;
mod publish;
mod read;

use countersign_scope_guard::openapi::{DocumentError, OpenApi};

/// A document of 3.1 with this under `paths:`, indented by two.
fn document(paths: &str) -> String {
    format!("{HEAD}paths:\n{paths}")
}

fn parse(text: &str) -> OpenApi {
    OpenApi::parse("api.yaml", text).unwrap()
}

/// The fault of a document that has exactly one.
fn fault(text: &str) -> (String, String) {
    let error = match OpenApi::parse("api.yaml", text) {
        Err(error) => error,
        Ok(document) => document.contract().unwrap_err(),
    };
    only(&error)
}

fn only(error: &DocumentError) -> (String, String) {
    assert_eq!(error.faults().len(), 1, "{error}");
    assert_eq!(error.file(), "api.yaml");
    assert!(error.to_string().starts_with("api.yaml: "));
    let fault = &error.faults()[0];
    (fault.at().to_owned(), fault.problem().to_owned())
}

const HEAD: &str = "\
openapi: 3.1.0
info: {title: Test, version: '1'}
components:
  securitySchemes:
    key: {type: apiKey, in: header, name: X-Api-Key}
    bearer: {type: http, scheme: bearer}
";
