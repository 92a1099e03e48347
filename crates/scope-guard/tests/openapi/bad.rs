//! Documents that are no contract: each fault has its place, and says what to do.

use std::net::TcpListener;

use countersign_scope_guard::openapi::{MAX_DOCUMENT, OpenApi};
use proptest::prelude::*;

use super::{HEAD, document, fault, only, parse};

fn operation(members: &str) -> String {
    document(&format!("  /a:\n    get: {{{members}}}\n"))
}

#[test]
fn versions_that_nobody_knows_here() {
    for (version, at) in [
        ("openapi: 3.2.0", "#/openapi"),
        ("openapi: 4.0.0", "#/openapi"),
        ("openapi: '3.1'", "#/openapi"),
        ("openapi: 3.1", "#/openapi"),
        ("openapi: 3.1.x", "#/openapi"),
        ("swagger: '2.0'", "#/swagger"),
        ("info: {title: x}", "#"),
        ("- 1", "#"),
    ] {
        let (place, problem) = fault(version);
        assert_eq!(place, at, "{version}: {problem}");
    }
}

#[test]
fn an_endpoint_without_security_is_a_fault() {
    for (members, at) in [
        ("", "#/paths/~1a/get"),
        ("security: []", "#/paths/~1a/get/security"),
        ("security: [{}]", "#/paths/~1a/get/security/0"),
        ("security: [{key: []}]", "#/paths/~1a/get"),
        (
            "security: [{key: ['a:read']}, {}]",
            "#/paths/~1a/get/security/1",
        ),
        (
            "security: [{key: ['a:read']}, {bearer: []}]",
            "#/paths/~1a/get/security",
        ),
        (
            "security: [{key: ['Accounts']}]",
            "#/paths/~1a/get/security/0/key",
        ),
        (
            "security: [{other: ['a:read']}]",
            "#/paths/~1a/get/security/0/other",
        ),
        (
            "security: [{key: ['a:*']}]",
            "#/paths/~1a/get/security/0/key",
        ),
        (
            "security: [], x-countersign-scope: 'a:read'",
            "#/paths/~1a/get/security",
        ),
        (
            "x-countersign-scope: []",
            "#/paths/~1a/get/x-countersign-scope",
        ),
        (
            "x-countersign-scope: {anyOf: []}",
            "#/paths/~1a/get/x-countersign-scope",
        ),
        (
            "security: [{key: ['a:read']}], x-countersign-scope: 'b:read'",
            "#/paths/~1a/get/x-countersign-scope",
        ),
    ] {
        let (place, problem) = fault(&operation(members));
        assert_eq!(place, at, "{members}: {problem}");
    }
}

#[test]
fn a_scheme_by_which_no_key_is_read_is_a_fault() {
    for scheme in [
        "{type: apiKey, in: query, name: api_key}",
        "{type: apiKey, in: cookie, name: X-Api-Key}",
        "{type: apiKey, in: header, name: Key}",
        "{type: http, scheme: basic}",
    ] {
        let text = format!(
            "openapi: 3.1.0
components: {{securitySchemes: {{key: {scheme}}}}}
paths: {{/a: {{get: {{security: [{{key: ['a:read']}}]}}}}}}
"
        );
        assert_eq!(
            fault(&text).0,
            "#/components/securitySchemes/key",
            "{scheme}"
        );
    }
}

#[test]
fn scopes_of_a_key_need_3_1_or_the_extension() {
    let text = operation("security: [{key: ['a:read']}]").replace("3.1.0", "3.0.3");
    let (at, problem) = fault(&text);
    assert_eq!(at, "#/paths/~1a/get/security/0/key");
    assert!(problem.contains("x-countersign-scope"));
}

#[test]
fn a_scope_that_the_documents_list_lacks_is_a_fault() {
    let text = operation("security: [{key: ['a:raed']}]");
    let text = text.replace("paths:", "x-countersign-scopes: {'a:read': See a}\npaths:");
    assert_eq!(fault(&text).0, "#/paths/~1a/get");
    let text = text.replace("raed", "read").replace("See a", "''");
    let error = parse(&text).contract().unwrap_err();
    assert_eq!(error.faults()[0].at(), "#/x-countersign-scopes/a:read");
}

#[test]
fn extensions_with_values_that_they_can_t_have() {
    let secured = |members: &str| operation(&format!("security: [{{key: ['a:read']}}], {members}"));
    for (members, at) in [
        ("x-countersign-cots: 2", "/x-countersign-cots"),
        ("x-countersign-operation: reed", "/x-countersign-operation"),
        (
            "x-countersign-sensitivity: true",
            "/x-countersign-sensitivity",
        ),
        ("x-countersign-cost: 0", "/x-countersign-cost"),
        ("x-countersign-cost: 1.5", "/x-countersign-cost"),
        ("x-countersign-cost: 4294967296", "/x-countersign-cost"),
        (
            "x-countersign-limit: {burst: 0, refill: 1}",
            "/x-countersign-limit",
        ),
        ("x-countersign-limit: {burst: 1}", "/x-countersign-limit"),
        (
            "x-countersign-limit: {burst: 1, refill: 1, minutes: 1}",
            "/x-countersign-limit",
        ),
        ("x-countersign-stage: gone", "/x-countersign-stage"),
        (
            "deprecated: true, x-countersign-stage: beta",
            "/x-countersign-stage",
        ),
        ("deprecated: true", ""),
        (
            "x-countersign-deprecation: {since: '2026-10-01T00:00:00Z'}",
            "/x-countersign-deprecation",
        ),
        (
            "deprecated: true, x-countersign-deprecation: {sunset: '2026-10-01T00:00:00Z'}",
            "/x-countersign-deprecation",
        ),
        (
            "deprecated: true, x-countersign-deprecation: {since: tomorrow}",
            "/x-countersign-deprecation/since",
        ),
        (
            "deprecated: true, x-countersign-deprecation: {since: '2026-10-01T00:00:00Z', until: x}",
            "/x-countersign-deprecation/until",
        ),
        (
            "deprecated: true, x-countersign-deprecation: {since: '2026-10-01T00:00:00Z', sunset: '2026-09-01T00:00:00Z'}",
            "/x-countersign-deprecation/sunset",
        ),
        (
            "deprecated: true, x-countersign-deprecation: {since: '2026-10-01T00:00:00Z', link: 'ftp://x'}",
            "/x-countersign-deprecation/link",
        ),
    ] {
        let (place, problem) = fault(&secured(members));
        assert_eq!(
            place,
            format!("#/paths/~1a/get{at}"),
            "{members}: {problem}"
        );
    }
}

const GET: &str = "{security: [{key: ['a:read']}]}";

#[test]
fn templates_that_stand_twice_or_overlap() {
    let id = |name: &str| format!("parameters: [{{name: {name}, in: path, required: true}}]");
    let text = document(&format!(
        "  /a/{{id}}: {{{}, get: {GET}}}\n  /a/{{name}}: {{{}, post: {GET}}}\n",
        id("id"),
        id("name")
    ));
    let (at, problem) = fault(&text);
    assert_eq!(at, "#/paths/~1a~1{name}");
    assert!(problem.contains("/a/{id}"), "{problem}");

    let text = document(&format!(
        "  /a/{{id}}: {{{}, get: {GET}}}\n  /{{x}}/me: {{{}, get: {GET}}}\n",
        id("id"),
        id("x")
    ));
    assert_eq!(fault(&text).0, "#/paths/~1{x}~1me");

    // A fixed segment beside a parameter is what everybody writes.
    let text = document(&format!(
        "  /a/{{id}}: {{{}, get: {GET}}}\n  /a/me: {{get: {GET}}}\n",
        id("id")
    ));
    assert_eq!(parse(&text).contract().unwrap().endpoints().count(), 2);

    let text = document(&format!("  /a: {{get: {GET}}}\n  /a: {{put: {GET}}}\n"));
    let (at, problem) = only(&OpenApi::parse("api.yaml", &text).unwrap_err());
    assert!(at.starts_with("line 9"), "{at}");
    assert!(problem.contains("/a"), "{problem}");
    let json = r#"{"openapi": "3.1.0", "paths": {}, "paths": {}}"#;
    assert!(fault(json).1.contains("`paths` stands here twice"));
}

#[test]
fn templates_that_no_target_can_match_and_parameters_that_are_not_there() {
    for (path, at) in [
        ("  /a b: {get: G}", "#/paths/~1a b/get"),
        ("  /a//b: {get: G}", "#/paths/~1a~1~1b/get"),
        ("  /a/{id}.json: {get: G}", "#/paths/~1a~1{id}.json/get"),
        ("  /a/{*rest}: {get: G}", "#/paths/~1a~1{*rest}/get"),
        ("  a: {get: G}", "#/paths/a/get"),
        ("  /a/{id}: {get: G}", "#/paths/~1a~1{id}/get"),
        (
            "  /a: {parameters: [{name: id, in: path}], get: G}",
            "#/paths/~1a/get",
        ),
        (
            "  /a: {parameters: [{name: x, in: body}], get: G}",
            "#/paths/~1a/parameters/0",
        ),
        (
            "  /a: {parameters: [{name: x, in: query}, {name: x, in: query}], get: G}",
            "#/paths/~1a/parameters/1",
        ),
        ("  /a: {trace: G, get: G}", "#/paths/~1a/trace"),
        ("  /a: {Get: G, get: G}", "#/paths/~1a/Get"),
        ("  /a: {query: G, get: G}", "#/paths/~1a/query"),
        (
            "  /a: {x-countersign-stage: beta, get: G}",
            "#/paths/~1a/x-countersign-stage",
        ),
        ("  {}", "#/paths"),
    ] {
        let text = document(&path.replace(" G", &format!(" {GET}")));
        let (place, problem) = fault(&text);
        assert_eq!(place, at, "{path}: {problem}");
    }
    assert_eq!(fault("openapi: 3.1.0").0, "#/paths");
}

#[test]
fn servers_with_several_paths_or_a_variable_in_one() {
    for servers in [
        "[{url: https://a.example/v1}, {url: https://a.example/v2}]",
        "[{url: 'https://a.example/{version}'}]",
        "[{url: v1}]",
        "[{url: 'https://a.example/v1?x'}]",
    ] {
        let text = document(&format!("  /a: {{get: {GET}}}\n")) + &format!("servers: {servers}\n");
        assert_eq!(fault(&text).0, "#/servers", "{servers}");
    }
}

#[test]
fn references_that_lead_out_nowhere_or_back_and_nothing_is_fetched() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    for (schemas, at) in [
        (
            format!("A: {{$ref: 'http://{address}/a.yaml#/A'}}"),
            "A/$ref",
        ),
        ("A: {$ref: other.yaml}".to_owned(), "A/$ref"),
        ("A: {$ref: '#A'}".to_owned(), "A/$ref"),
        ("A: {$ref: '#'}".to_owned(), "A/$ref"),
        ("A: {$ref: 7}".to_owned(), "A/$ref"),
        ("A: {$ref: '#/components/schemas/B'}".to_owned(), "A/$ref"),
        ("A: {$ref: '#/components/schemas/A'}".to_owned(), "A/$ref"),
        ("A: {$id: 'https://example.com/a'}".to_owned(), "A/$id"),
        (
            "A: {items: {$dynamicRef: '#a'}}".to_owned(),
            "A/items/$dynamicRef",
        ),
        (
            "A: {properties: {example: {$ref: b.yaml}}}".to_owned(),
            "A/properties/example/$ref",
        ),
    ] {
        let text = format!("{HEAD}  schemas: {{{schemas}}}\npaths: {{/a: {{get: {GET}}}}}\n");
        let (place, problem) = fault(&text);
        assert_eq!(place, format!("#/components/schemas/{at}"), "{problem}");
    }
    let visitor = listener.accept().unwrap_err();
    assert_eq!(
        visitor.kind(),
        std::io::ErrorKind::WouldBlock,
        "nobody came"
    );
    for cycle in [
        "A: {$ref: '#/components/schemas/B'}, B: {$ref: '#/components/schemas/A'}",
        "A: {allOf: [{$ref: '#/components/schemas/B'}]}, B: {oneOf: [{type: string}, {$ref: '#/components/schemas/A'}]}",
    ] {
        let text = format!("{HEAD}  schemas: {{{cycle}}}\npaths: {{/a: {{get: {GET}}}}}\n");
        let error = OpenApi::parse("api.yaml", &text).unwrap_err();
        assert!(error.to_string().contains("leads back"), "{error}");
    }
    // A path's reference, and data that only looks like one.
    let text = document(&format!(
        "  /a: {{$ref: 'https://{address}/'}}\n  /b: {{get: {GET}}}\n"
    ));
    assert_eq!(fault(&text).0, "#/paths/~1a/$ref");
    let text = format!(
        "{HEAD}  schemas: {{A: {{example: {{$ref: 'https://example.com'}}}}}}\npaths: {{/a: {{get: {GET}}}}}\n"
    );
    assert!(parse(&text).contract().is_ok());
}

#[test]
fn a_chain_of_references_that_is_too_long_is_a_fault_and_not_a_crash() {
    let mut text = format!("{HEAD}  schemas:\n");
    for number in 0..20_000 {
        let next = number + 1;
        text += &format!("    S{number}: {{$ref: '#/components/schemas/S{next}'}}\n");
    }
    text += "    S20000: {type: string}\npaths: {}\n";
    let error = OpenApi::parse("api.yaml", &text).unwrap_err();
    assert_eq!(error.faults().len(), 100, "the first of very many");
}

#[test]
fn ten_megabytes_are_refused_and_what_is_just_short_enough_is_read() {
    let line = "    # a comment that says nothing, many times over\n";
    let long = document(&format!("  /a: {{get: {GET}}}\n")) + &line.repeat(10_000_000 / line.len());
    assert!(long.len() > 9_900_000);
    let (at, problem) = fault(&long);
    assert_eq!(at, "#");
    assert!(problem.contains("8 MiB"), "{problem}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &long).unwrap();
    let error = OpenApi::read(file.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&file.path().display().to_string())
    );

    let mut text = document("");
    let mut number = 0;
    while text.len() < MAX_DOCUMENT - 2000 && number < 9_000 {
        text +=
            &format!("  /resources/r{number}:\n    get:\n      security: [{{key: ['a:read']}}]\n");
        text += &format!("      description: '{}'\n", "x".repeat(700));
        number += 1;
    }
    assert_eq!(parse(&text).contract().unwrap().endpoints().count(), number);
}

#[test]
fn aliases_that_multiply_are_cut_off() {
    let mut text = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = level - 1;
        let ten = vec![format!("*a{before}"); 10].join(", ");
        text += &format!("b{level}: &a{level} [{ten}]\n");
    }
    let (at, _) = fault(&text);
    assert!(at.starts_with("line "), "{at}");
}

#[test]
fn text_that_is_neither_yaml_nor_json_has_its_line() {
    for (text, at) in [
        ("openapi: 3.1.0\npaths: {", "line 2"),
        ("openapi: [", "line 1"),
        ("{\"openapi\": \"3.1.0\",}", "line 1, column 21"),
        ("openapi: 3.1.0\n---\nopenapi: 3.1.0\n", "line"),
        ("openapi: !!python/object x", "line 1"),
    ] {
        let (place, problem) = fault(text);
        assert!(place.starts_with(at), "{text}: {place}: {problem}");
    }
    let deep = format!(
        "openapi: 3.1.0\nx: {}{}",
        "[".repeat(5000),
        "]".repeat(5000)
    );
    assert!(fault(&deep).0.starts_with("line"));
    let deep = format!("{{\"x\": {}{}}}", "[".repeat(5000), "]".repeat(5000));
    assert!(fault(&deep).0.starts_with("line"));
    let bytes = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(bytes.path(), b"openapi: \xff").unwrap();
    let error = OpenApi::read(bytes.path()).unwrap_err();
    assert_eq!(error.faults()[0].at(), "byte 9");
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(text in "(?s).{0,200}") {
        let _ = OpenApi::parse("api.yaml", &text).map(|document| document.contract());
    }

    #[test]
    fn no_document_breaks_it_either(
        path in "/[a-z{}/*.~]{0,12}",
        member in "get|post|\\$ref|parameters|servers|x-y",
        value in "\\{\\}|\\[\\]|null|1|'#/paths'|\\{security: \\[\\{key: \\['a:read'\\]\\}\\]\\}",
    ) {
        let text = document(&format!("  '{path}': {{{member}: {value}}}\n"));
        if let Ok(document) = OpenApi::parse("api.yaml", &text) {
            let _ = document.contract();
            let _ = document.published();
            let _ = document.changes_since(&document);
        }
    }
}
