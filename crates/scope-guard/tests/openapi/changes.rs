//! What breaks the callers of an older document.

use super::{document, parse};

const OLD: &str = "  /payments/{id}:
    parameters: [{name: id, in: path, required: true, schema: {type: string}}]
    get:
      security: [{key: ['payments:read']}]
      parameters:
        - {name: page, in: query, schema: {type: integer, maximum: 100}}
      responses:
        '200':
          description: A payment
          headers: {ETag: {schema: {type: string}}}
          content:
            application/json:
              schema:
                type: object
                required: [id, status]
                properties:
                  id: {type: string}
                  status: {type: string, enum: [pending, settled]}
                  parent: {$ref: '#/paths/~1payments~1{id}/get/responses/200/content/application~1json/schema'}
        '404':
          description: None
          content: {application/json: {schema: {type: object, properties: {error: {enum: [resource_not_found]}}}}}
    put:
      security: [{key: ['payments:write']}]
      requestBody:
        content:
          application/json:
            schema:
              allOf:
                - {properties: {value: {minLength: 1}}}
                - type: object
                  required: [value]
                  properties:
                    value: {type: string, maxLength: 10}
                    note: {type: [string, 'null']}
      responses: {'204': {description: Done}}
";

/// The changes that a replacement makes: the breaking ones, and the others.
fn changes(from: &str, to: &str) -> (Vec<String>, Vec<String>) {
    assert!(OLD.contains(from), "{from}");
    between(OLD, &OLD.replace(from, to))
}

fn between(old: &str, new: &str) -> (Vec<String>, Vec<String>) {
    let (old, new) = (parse(&document(old)), parse(&document(new)));
    let all = new.changes_since(&old).unwrap();
    let (breaking, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.is_breaking());
    let text = |all: Vec<countersign_scope_guard::openapi::Change>| {
        all.iter().map(ToString::to_string).collect()
    };
    (text(breaking), text(others))
}

#[test]
fn a_document_did_not_change_since_itself() {
    assert_eq!(between(OLD, OLD), (vec![], vec![]));
}

#[test]
fn what_breaks_callers_is_told_and_nothing_beside() {
    for (from, to, told) in [
        ("    put:", "    patch:", "not open any more"),
        ("['payments:write']", "['payments:admin']", "the scope was"),
        (
            "['payments:write']",
            "['payments:write', 'a:read']",
            "the scope was",
        ),
        (
            "id: {type: string}\n",
            "other: {type: string}\n",
            ".id is gone",
        ),
        (
            "id: {type: string}\n",
            "id: {type: integer}\n",
            "its type was string and is integer",
        ),
        (
            "[pending, settled]",
            "[pending, settled, failed]",
            "\"failed\", which it never was",
        ),
        (
            "required: [id, status]",
            "required: [id]",
            ".status may be absent",
        ),
        ("'404':", "'410':", "the error 404 is gone"),
        (
            "[resource_not_found]",
            "[not_found]",
            "\"not_found\", which it never was",
        ),
        ("'204':", "'200':", "the answer 204 is gone"),
        (
            "headers: {ETag: {schema: {type: string}}}",
            "headers: {}",
            "the header field ETag is gone",
        ),
        (
            "- {name: page, in: query,",
            "- {name: page, in: query, required: true,",
            "has become required",
        ),
        (
            "- {name: page,",
            "- {name: seite,",
            "parameter `page` is gone",
        ),
        ("maximum: 100", "maximum: 50", "its maximum takes less"),
        (
            "schema: {type: integer, maximum: 100}}",
            "schema: {type: integer, maximum: 100}}\n        - {name: x, in: header, required: true}",
            "a new required header parameter",
        ),
        (
            "requestBody:\n",
            "requestBody:\n        required: true\n",
            "a body has become required",
        ),
        (
            "required: [value]",
            "required: [value, note]",
            ".note has become required",
        ),
        (
            "note: {type: [string, 'null']}",
            "note: {type: string}",
            "its type was null or string and is string",
        ),
        ("note: {type: [string, 'null']}", "{}: {}", ".note is gone"),
        ("maxLength: 10", "maxLength: 9", "its maxLength takes less"),
        ("maxLength: 10", "pattern: '^x'", "its pattern"),
        ("minLength: 1", "minLength: 2", "its minLength takes less"),
        ("maxLength: 10", "enum: ['1']", "only some values"),
        (
            "          application/json:\n            schema:\n              allOf",
            "          text/json:\n            schema:\n              allOf",
            "application/json is gone",
        ),
        (
            "    put:\n",
            "    put:\n      x-countersign-cost: 2\n",
            "a call cost 1 and costs 2",
        ),
        (
            "    put:\n",
            "    put:\n      x-countersign-limit: {burst: 1, refill: 1}\n",
            "a limit of its own",
        ),
        (
            "    put:\n",
            "    put:\n      x-countersign-stage: retired\n",
            "not open any more",
        ),
        (
            "    put:\n",
            "    put:\n      x-countersign-stage: beta\n",
            "it was ga and is beta",
        ),
    ] {
        let to = if to == "{}: {}" {
            "other: {type: string}"
        } else {
            to
        };
        let (breaking, _) = changes(from, to);
        assert_eq!(breaking.len(), 1, "{from} -> {to}: {breaking:?}");
        assert!(breaking[0].contains(told), "{from} -> {to}: {breaking:?}");
    }
}

#[test]
fn what_callers_need_not_notice_does_not_break_them() {
    for (from, to) in [
        ("'404':", "'409': {description: New}\n        '404':"),
        (
            "id: {type: string}\n",
            "id: {type: string}\n                  more: {type: string}\n",
        ),
        ("[pending, settled]", "[pending]"),
        ("maximum: 100", "maximum: 200"),
        ("maxLength: 10", "maxLength: 11"),
        ("required: [value]", "required: []"),
        ("type: integer, maximum: 100", "type: number, maximum: 100"),
        (
            "['payments:write']}]",
            "['payments:write']}, {key: ['payments:admin']}]",
        ),
        ("{id}", "{payment_id}"),
        (
            "    put:\n",
            "    put:\n      deprecated: true\n      x-countersign-deprecation: {since: '2026-10-01T00:00:00Z'}\n",
        ),
        (
            "schema: {type: integer, maximum: 100}}",
            "schema: {type: integer, maximum: 100}}\n        - {name: x, in: header}",
        ),
    ] {
        let to = to.replace("{name: id,", "{name: payment_id,");
        let new = OLD.replace(from, &to);
        let new = if from == "{id}" {
            new.replace("name: id,", "name: payment_id,")
        } else {
            new
        };
        let (breaking, _) = between(OLD, &new);
        assert_eq!(breaking, Vec::<String>::new(), "{from} -> {to}");
    }
}

#[test]
fn a_sunset_may_come_later_and_not_earlier() {
    let with = |sunset: &str| {
        let lines = format!(
            "    put:\n      deprecated: true\n      x-countersign-deprecation: {{since: '2026-10-01T00:00:00Z', sunset: '{sunset}'}}\n"
        );
        OLD.replace("    put:\n", &lines)
    };
    let (early, late) = (with("2027-01-01T00:00:00Z"), with("2027-06-01T00:00:00Z"));
    assert_eq!(between(&late, &early).0.len(), 1);
    assert_eq!(between(&early, &late).0, Vec::<String>::new());
}

#[test]
fn a_first_sunset_of_what_was_deprecated_already_breaks() {
    let with = |rest: &str| {
        let lines = format!(
            "    put:\n      deprecated: true\n      x-countersign-deprecation: {{since: '2026-10-01T00:00:00Z'{rest}}}\n"
        );
        OLD.replace("    put:\n", &lines)
    };
    let (without, sunset) = (with(""), with(", sunset: '2027-01-01T00:00:00Z'"));
    let (breaking, _) = between(&without, &sunset);
    assert!(breaking[0].contains("it had no sunset"), "{breaking:?}");
    assert_eq!(between(&sunset, &without).0, Vec::<String>::new());
}

const LISTS: &str = "  /lists:
    post:
      security: [{key: ['lists:write']}]
      parameters:
        - {name: filter, in: query, content: {application/json: {schema: {type: object}}}}
        - {name: ids, in: query, schema: {type: array, items: {type: string}}}
      requestBody:
        content:
          application/json:
            schema: {type: object, properties: {amount: {type: integer}, list: {type: array}}}
      responses:
        '200':
          description: Done
          headers: {X-A: {required: true, schema: {type: string}}}
          content:
            application/json:
              schema: {type: object, additionalProperties: {type: string}, properties: {code: {type: string, maxLength: 3, pattern: '^[A-Z]+$'}}}
";

#[test]
fn what_is_not_understood_counts_as_breaking() {
    let (body, amount) = (
        "schema: {type: object, properties",
        "amount: {type: integer",
    );
    for (from, to, told) in [
        (
            body,
            "schema: {type: object, required: [other], properties",
            ".other has become required",
        ),
        (
            body,
            "schema: {type: object, dependentRequired: {amount: [list]}, properties",
            "its dependentRequired",
        ),
        (
            body,
            "schema: {type: object, propertyNames: {maxLength: 3}, properties",
            "its propertyNames",
        ),
        (
            body,
            "schema: {type: object, if: {minProperties: 1}, properties",
            "its if",
        ),
        (
            body,
            "schema: {type: object, additionalProperties: {type: integer}, properties",
            "its other members",
        ),
        (
            body,
            "schema: {type: object, additionalProperties: false, properties",
            "other members are not taken",
        ),
        (
            amount,
            "amount: {type: integer, multipleOf: 100",
            "its multipleOf",
        ),
        (amount, "amount: {type: integer, not: {const: 5}", "its not"),
        (
            amount,
            "amount: {type: integer, allOf: [{maximum: 5}]",
            "its maximum",
        ),
        (
            "list: {type: array",
            "list: {type: array, uniqueItems: true",
            "its uniqueItems",
        ),
        (
            "amount: {type: integer}",
            "amount: false",
            "nothing is taken there",
        ),
        (
            "{schema: {type: object}}",
            "{schema: {type: integer}}",
            "its type was object",
        ),
        (
            "filter, in: query, content: {application/json: {schema: {type: object}}}",
            "filter, in: query",
            "application/json is gone",
        ),
        (
            "ids, in: query",
            "ids, in: query, explode: false",
            "written in another way",
        ),
        (
            "maxLength: 3",
            "maxLength: 300",
            "its maxLength promises less",
        ),
        ("maxLength: 3, ", "", "its maxLength promises less"),
        ("'^[A-Z]+$'", "'.*'", "its pattern"),
        (
            "additionalProperties: {type: string}, ",
            "",
            "its other members",
        ),
        (
            "schema: {type: string}}",
            "schema: {type: integer}}",
            "X-A: its type was string",
        ),
        ("required: true, ", "", "X-A may be absent"),
    ] {
        assert!(LISTS.contains(from), "{from}");
        let (breaking, _) = between(LISTS, &LISTS.replacen(from, to, 1));
        let is_told = breaking.iter().any(|it| it.contains(told));
        assert!(is_told, "{from} -> {to}: {breaking:?}");
    }
}

#[test]
fn what_is_not_understood_but_takes_more_or_says_the_same_does_not_break() {
    let with = |members: &str| {
        LISTS.replace(
            "amount: {type: integer",
            &format!("amount: {{type: integer{members}"),
        )
    };
    for (old, new) in [
        (with(", multipleOf: 100"), with("")),
        (
            with(", not: {const: 5}"),
            with(", not: {const: 5}, description: Cents"),
        ),
        (with(", oneOf: [{title: a}]"), with(", oneOf: [{title: b}]")),
        (with(""), with(", default: 5")),
        (
            with(""),
            LISTS.replace(
                "ids, in: query",
                "ids, in: query, style: form, explode: true",
            ),
        ),
        (LISTS.replace("maxLength: 3", "maxLength: 300"), with("")),
        (LISTS.replace("pattern: '^[A-Z]+$'", "title: x"), with("")),
        (
            LISTS.replace(
                "schema: {type: object, properties",
                "schema: {type: object, additionalProperties: false, properties",
            ),
            with(""),
        ),
    ] {
        assert_eq!(between(&old, &new).0, Vec::<String>::new(), "{new}");
    }
}
