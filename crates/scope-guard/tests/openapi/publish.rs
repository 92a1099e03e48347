//! From code to a document, and from a document to the published one.

use countersign_core::{Deprecation, Endpoint, OperationType, Quota, RequiredScopes, Scope};
use countersign_scope_guard::openapi::OpenApi;
use countersign_scope_guard::{Contract, ScopeRegistry};
use serde_json::Value;

use super::{HEAD, only, parse};

fn scope(name: &str) -> Scope {
    name.parse().unwrap()
}

fn contract() -> Contract {
    let names = ["a:read", "a:write", "b:read"];
    let registry = ScopeRegistry::new(names.map(|name| (scope(name), format!("May {name}"))));
    let rule = RequiredScopes::any([
        vec![scope("a:write")],
        vec![scope("a:read"), scope("b:read")],
    ]);
    let since = Deprecation::since("2026-10-01T00:00:00Z".parse().unwrap());
    let whole = since
        .clone()
        .with_sunset("2027-04-01T12:30:00Z".parse().unwrap())
        .unwrap()
        .with_link("https://docs.example.com/b")
        .unwrap();
    let read = || scope("a:read");
    Contract::builder()
        .registry(registry.with_wildcards())
        .endpoint(Endpoint::get("/a/{id}/b/{other_id}").scopes(rule.unwrap()))
        .endpoint(Endpoint::post("/a").scope(read()).sensitive())
        .endpoint(
            Endpoint::put("/a")
                .scope(read())
                .cost(3.try_into().unwrap()),
        )
        .endpoint(Endpoint::get("/b").scope(read()).deprecated(whole))
        .endpoint(
            Endpoint::get("/c")
                .scope(read())
                .deprecated(since)
                .retired(),
        )
        .endpoint(Endpoint::get("/d").scope(read()).beta())
        .endpoint(Endpoint::get("/e").scope(read()).draft())
        .endpoint(
            Endpoint::delete("/f")
                .scope(read())
                .with_operation(OperationType::Webhook)
                .limit(Quota::per_minute(20, 7).unwrap()),
        )
        .build()
        .unwrap()
}

#[test]
fn what_code_says_is_what_its_document_says() {
    let contract = contract();
    let document = OpenApi::describe(&contract, "Test", "1").unwrap();
    for text in [document.to_yaml(), document.to_json()] {
        let read = parse(&text).contract().unwrap();
        let same: Vec<_> = contract.endpoints().collect();
        let read_endpoints: Vec<_> = read.endpoints().collect();
        // The document has the methods of a path together.
        assert_eq!(read_endpoints.len(), same.len());
        for endpoint in same {
            assert!(read_endpoints.contains(&endpoint), "{endpoint:?}");
        }
        assert_eq!(read.registry(), contract.registry());
    }
}

#[test]
fn what_no_document_can_say_is_an_error_that_names_the_endpoint() {
    let odd = Quota::new(3, std::time::Duration::from_nanos(1_234_567_891)).unwrap();
    for endpoint in [
        Endpoint::get("/a/{*rest}").scope(scope("a:read")),
        Endpoint::new("PURGE".parse().unwrap(), "/a").scope(scope("a:read")),
        Endpoint::get("/a"),
        Endpoint::get("/a").scope(scope("a:read")).limit(odd),
    ] {
        let builder = Contract::builder()
            .endpoint(endpoint.clone())
            .deny_unscoped();
        let error = OpenApi::describe(&builder.build().unwrap(), "Test", "1").unwrap_err();
        assert!(error.subject().ends_with(endpoint.template()), "{error}");
    }
}

#[test]
fn a_published_document_has_the_open_endpoints_with_every_refusal() {
    let document = OpenApi::describe(&contract(), "Test", "1").unwrap();
    let published = document.published().unwrap();
    let open = published.contract().unwrap();
    let templates: Vec<_> = open.endpoints().map(Endpoint::template).collect();
    assert_eq!(
        templates,
        ["/a/{id}/b/{other_id}", "/a", "/a", "/b", "/d", "/f"]
    );
    let json: Value = serde_json::from_str(&published.to_json()).unwrap();
    let get = &json["paths"]["/b"]["get"];
    assert_eq!(get["deprecated"], true);
    for status in ["400", "401", "403", "429", "500", "503"] {
        let reference = get["responses"][status]["$ref"].as_str().unwrap();
        let pointer = reference.strip_prefix('#').unwrap();
        let response = json.pointer(pointer).unwrap();
        assert!(response["content"]["application/json"].is_object());
        assert!(response["headers"]["X-Request-Id"].is_object());
    }
    let done = &get["responses"]["2XX"]["headers"];
    for field in ["X-Request-Id", "RateLimit", "Deprecation", "Sunset"] {
        assert!(done[field].is_object(), "{field}");
    }
    assert_eq!(published.published().unwrap(), published);
    assert_eq!(parse(&published.to_yaml()), published);
}

#[test]
fn what_only_a_closed_endpoint_uses_is_not_published() {
    let text = format!(
        "{HEAD}  schemas:
    Secret: {{type: object, properties: {{plan: {{$ref: '#/components/schemas/Plan'}}}}}}
    Plan: {{type: string, description: the next big thing}}
    Pet: {{type: object, discriminator: {{propertyName: kind, mapping: {{dog: Dog, cat: '#/components/schemas/Cat'}}}}}}
    Dog: {{type: object}}
    Cat: {{type: object}}
    Unused: {{type: object}}
  responses:
    Pets:
      description: Pets
      content: {{application/json: {{schema: {{$ref: '#/components/schemas/Pet'}}}}}}
paths:
  /pets:
    get:
      x-countersign-scope: 'pets:read'
      responses:
        '200': {{$ref: '#/components/responses/Pets'}}
        '403': {{description: Own words}}
    post:
      x-countersign-scope: 'pets:read'
      x-countersign-stage: draft
      responses:
        '200': {{description: x, content: {{application/json: {{schema: {{$ref: '#/components/schemas/Secret'}}}}}}}}
"
    );
    let published = parse(&text).published().unwrap();
    let yaml = published.to_yaml();
    for gone in ["Secret", "next big thing", "Unused", "post"] {
        assert!(!yaml.contains(gone), "{gone}\n{yaml}");
    }
    let json: Value = serde_json::from_str(&published.to_json()).unwrap();
    for kept in ["Pet", "Dog", "Cat"] {
        assert!(json["components"]["schemas"][kept].is_object(), "{kept}");
    }
    let get = &json["paths"]["/pets"]["get"];
    assert_eq!(get["responses"]["403"]["description"], "Own words");
    assert_eq!(get["responses"]["200"]["description"], "Pets");
    // Callers see by which fields a key is sent, and which scope it needs.
    assert_eq!(get["security"][0]["countersignKey"][0], "pets:read");
    assert_eq!(get["security"][1]["countersignBearer"][0], "pets:read");
}

const TWO: &str = "openapi: 3.1.0
info: {title: Test, version: '1'}
security: [{key: ['drafts:see']}]
tags: [{name: drafts, description: a tag}, {name: all}, {name: nobodys}]
x-countersign-scopes: {'pets:read': Read pets, 'drafts:see': Nobody should know}
components:
  securitySchemes:
    key: {type: apiKey, in: header, name: X-Api-Key}
    oauth:
      type: oauth2
      flows: {clientCredentials: {tokenUrl: /token, scopes: {'pets:read': Read, 'drafts:see': Nobody should know}}}
paths:
  /pets:
    get:
      tags: [all]
      security: [{oauth: ['pets:read']}]
      responses: {'200': {description: Pets, links: {}}}
  /drafts:
    get:
      operationId: getDraft
      tags: [all, drafts]
      x-countersign-stage: draft
      responses: {'200': {description: Drafts}}
";

#[test]
fn what_the_document_tells_of_closed_endpoints_elsewhere_is_not_published() {
    let published = parse(TWO).published().unwrap();
    let yaml = published.to_yaml();
    for gone in ["drafts", "Nobody should know", "getDraft"] {
        assert!(!yaml.contains(gone), "{gone}\n{yaml}");
    }
    for kept in [
        "\"pets:read\": Read pets",
        "\"pets:read\": Read\n",
        "nobodys",
        "name: all",
    ] {
        assert!(yaml.contains(kept), "{kept}\n{yaml}");
    }
    assert_eq!(published.published().unwrap(), published);
    assert_eq!(parse(&yaml), published);
}

#[test]
fn the_documents_security_stays_where_an_open_endpoint_has_no_other() {
    let text = TWO.replace("      security: [{oauth: ['pets:read']}]\n", "");
    let text = text.replace(
        "security: [{key: ['drafts:see']}]",
        "security: [{key: ['pets:read']}]",
    );
    let published = parse(&text).published().unwrap();
    let json: Value = serde_json::from_str(&published.to_json()).unwrap();
    assert_eq!(json["security"][0]["key"][0], "pets:read");
}

#[test]
fn a_link_to_a_closed_endpoint_is_an_error() {
    for (link, place) in [
        ("operationId: getDraft", "operationId"),
        ("operationRef: '#/paths/~1drafts/get'", "operationRef"),
    ] {
        let text = TWO.replace("links: {}", &format!("links: {{next: {{{link}}}}}"));
        let (at, advice) = only(&parse(&text).published().unwrap_err());
        assert!(at.ends_with(&format!("/links/next/{place}")), "{at}");
        assert!(advice.contains("no operation that is open"), "{advice}");
        let open = text.replace("      x-countersign-stage: draft\n", "");
        parse(&open).published().unwrap();
    }
    let elsewhere = "links: {next: {operationRef: 'https://example.com/api#/paths/~1x/get'}}";
    parse(&TWO.replace("links: {}", elsewhere))
        .published()
        .unwrap();
}

#[test]
fn a_document_without_an_open_endpoint_is_not_published() {
    let text = TWO.replace(
        "    get:\n      tags: [all]",
        "    get:\n      x-countersign-stage: draft\n      tags: [all]",
    );
    let (at, advice) = only(&parse(&text).published().unwrap_err());
    assert_eq!(at, "#/paths");
    assert!(advice.contains("no endpoint is open"), "{advice}");
}
