//! What a document says is what is enforced.

use countersign_core::{OperationType, Quota, Sensitivity, Stage};
use countersign_scope_guard::openapi::OpenApi;

use super::{document, parse};

#[test]
fn an_operation_says_everything_that_code_can_say() {
    let text = document(
        "  /exports/{id}:
    parameters:
      - {name: id, in: path, required: true, schema: {type: string}}
    get:
      security: [{key: ['a:admin']}, {bearer: ['a:admin']}, {key: ['a:read', 'b:read']}]
      deprecated: true
      x-countersign-operation: administration
      x-countersign-sensitivity: sensitive
      x-countersign-cost: 7
      x-countersign-limit: {burst: 20, refill: 5, seconds: 60}
      x-countersign-deprecation:
        since: '2026-10-01T00:00:00Z'
        sunset: '2027-04-01T00:00:00Z'
        link: https://docs.example.com/exports
",
    );
    let contract = parse(&text).contract().unwrap();
    let endpoint = contract.endpoints().next().unwrap();
    assert_eq!(endpoint.template(), "/exports/{id}");
    let rule = endpoint.required_scopes().unwrap();
    assert_eq!(rule.to_string(), "a:admin | a:read + b:read");
    assert_eq!(endpoint.operation(), OperationType::Administration);
    assert_eq!(endpoint.sensitivity(), Sensitivity::Sensitive);
    assert_eq!(endpoint.call_cost().get(), 7);
    assert_eq!(endpoint.quota(), Some(Quota::per_minute(20, 5).unwrap()));
    assert_eq!(endpoint.stage(), Stage::Deprecated);
    let deprecation = endpoint.deprecation().unwrap();
    assert_eq!(deprecation.link(), Some("https://docs.example.com/exports"));
    let expected = "2027-04-01T00:00:00Z".parse().unwrap();
    assert_eq!(deprecation.sunset(), Some(expected));
}

#[test]
fn a_document_of_3_0_names_scopes_in_the_extension_and_in_oauth_flows() {
    let text = "
openapi: 3.0.3
info: {title: Test, version: '1'}
servers: [{url: 'https://{region}.example.com/v1/'}, {url: /v1}]
security: [{key: []}]
components:
  securitySchemes:
    key: {type: apiKey, in: header, name: x-api-key}
    oauth:
      type: oauth2
      flows: {clientCredentials: {tokenUrl: 'https://id.example.com', scopes: {'b:read': See b}}}
x-countersign-scopes: {'a:read': See a, 'a:write': Change a}
x-countersign-wildcards: true
paths:
  /a:
    get: {x-countersign-scope: 'a:read'}
    post: {x-countersign-scope: {allOf: ['a:read', 'a:write']}}
    put: {x-countersign-scope: {anyOf: ['a:read', {allOf: ['a:write', 'b:read']}]}}
    delete: {security: [{oauth: ['b:read']}]}
";
    let contract = parse(text).contract().unwrap();
    let rules: Vec<_> = contract
        .endpoints()
        .map(|endpoint| {
            assert_eq!(endpoint.template(), "/v1/a");
            endpoint.required_scopes().unwrap().to_string()
        })
        .collect();
    assert_eq!(
        rules,
        [
            "a:read",
            "a:read + a:write",
            "a:read | a:write + b:read",
            "b:read"
        ]
    );
    let registry = contract.registry().unwrap();
    assert_eq!(registry.describe("b:read".parse().unwrap()), Some("See b"));
    let all = registry.resolve(["a:*"]).unwrap();
    assert_eq!(all.names(), ["a:read", "a:write"]);
}

#[test]
fn json_and_yaml_and_aliases_say_the_same() {
    let yaml = document(
        "  /a:
    get: &one
      security: [{key: ['a:read']}]
      responses: {200: {description: 'Yes: no'}, '404': {description: on}}
    put: *one
",
    );
    let from_yaml = parse(&yaml);
    let from_json = parse(&from_yaml.to_json());
    assert_eq!(from_yaml, from_json);
    assert_eq!(parse(&from_yaml.to_yaml()), from_yaml);
    assert_eq!(from_yaml.contract().unwrap().endpoints().count(), 2);
}

#[test]
fn a_path_may_refer_and_a_schema_may_contain_itself() {
    let text = format!(
        "{}  schemas:
    Tree: {{type: object, properties: {{branches: {{type: array, items: {{$ref: '#/components/schemas/Tree'}}}}}}}}
    $ref: {{type: string}}
  pathItems:
    a~1:
      get: {{security: [{{key: ['a:read']}}]}}
paths:
  /a: {{$ref: '#/components/pathItems/a~01'}}
",
        super::HEAD
    );
    let contract = parse(&text).contract().unwrap();
    assert_eq!(contract.endpoints().next().unwrap().template(), "/a");
}

#[test]
fn a_file_is_read_and_one_that_is_not_there_is_named() {
    let directory = std::env::temp_dir();
    let missing = directory.join("no-such-countersign-document.yaml");
    let error = OpenApi::read(&missing).unwrap_err();
    assert_eq!(error.file(), missing.display().to_string());
}
