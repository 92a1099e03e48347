use countersign_core::{Environment, Identity, ScopeSet};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn tree(pointers: &[&str]) -> ClaimTree {
    let mut tree = ClaimTree::default();
    for pointer in pointers {
        tree.insert(pointer.parse().unwrap());
    }
    tree
}

/// What the claims of a document of company_34 say.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Absent,
    Owner,
    Other(Option<CompanyId>),
    Malformed,
}

fn owner() -> Identity {
    let company = "company_34".parse().unwrap();
    Identity::new(company, Environment::Live, ScopeSet::new())
}

fn check(tree: &ClaimTree, document: &[u8]) -> Found {
    let owner = owner();
    let mut choice = Choice::new(&owner, None);
    let finding = tree.check(document, &mut choice);
    match (finding, choice.chosen()) {
        (Finding::Agreed, None) => Found::Absent,
        (Finding::Agreed, Some(_)) => Found::Owner,
        (Finding::Other(company), _) => Found::Other(company),
        (Finding::Malformed, _) => Found::Malformed,
    }
}

fn find(pointers: &[&str], document: &str) -> Found {
    check(&tree(pointers), document.as_bytes())
}

fn other(company: &str) -> Found {
    Found::Other(Some(company.parse().unwrap()))
}

#[test]
fn a_claim_is_the_owner_or_it_is_not() {
    let ask = |document| find(&["/company_id"], document);
    assert_eq!(ask(r#"{"company_id":"company_34"}"#), Found::Owner);
    assert_eq!(ask(r#"{"company_id":"company_12"}"#), other("company_12"));
    assert_eq!(ask(r#"{"company_id":"company_3"}"#), other("company_3"));
    assert_eq!(ask(r#"{"company_id":"COMPANY_34"}"#), other("COMPANY_34"));
    assert_eq!(ask(r#"{"company_id":" company_34"}"#), Found::Other(None));
    assert_eq!(ask(r#"{"company_id":""}"#), Found::Other(None));
}

#[test]
fn the_claims_of_a_parents_key_choose_one_company() {
    let parent = owner().with_subsidiaries(["company_56".parse().unwrap()].into_iter().collect());
    let tree = tree(&["/a", "/b"]);
    let ask = |chosen: Option<&str>, document: &str| {
        let chosen = chosen.map(|text| text.parse().unwrap());
        let mut choice = Choice::new(&parent, chosen.as_ref());
        match tree.check(document.as_bytes(), &mut choice) {
            Finding::Agreed => Ok(choice.chosen().map(|company| company.to_string())),
            other => Err(other),
        }
    };
    let child = || Ok(Some("company_56".to_owned()));
    assert_eq!(ask(None, r#"{"a":"company_56"}"#), child());
    assert_eq!(ask(None, r#"{"a":"company_56","b":"company_56"}"#), child());
    assert_eq!(ask(Some("company_56"), "{}"), child());
    for (chosen, document) in [
        (None, r#"{"a":"company_56","b":"company_34"}"#),
        (None, r#"{"a":"company_12"}"#),
        (Some("company_34"), r#"{"a":"company_56"}"#),
        (Some("company_56"), r#"{"a":"company_34"}"#),
    ] {
        let refused = ask(chosen, document).unwrap_err();
        assert!(matches!(refused, Finding::Other(Some(_))), "{document}");
    }
}

#[test]
fn a_claim_that_is_no_text_is_not_the_owner() {
    for value in [
        "null",
        "34",
        "-1",
        "3.5",
        "true",
        "{}",
        "[]",
        r#"["company_34"]"#,
    ] {
        let document = format!(r#"{{"company_id":{value}}}"#);
        assert_eq!(
            find(&["/company_id"], &document),
            Found::Other(None),
            "{value}"
        );
    }
}

#[test]
fn no_claim_is_no_claim() {
    for document in [
        "{}",
        "7",
        "null",
        r#""company_12""#,
        r#"{"Company_id":"company_12"}"#,
        r#"{"a":{"company_id":"company_12"}}"#,
        r#"{"a":[{"company_id":"company_12"}]}"#,
    ] {
        assert_eq!(
            find(&["/company_id"], document),
            Found::Absent,
            "{document}"
        );
    }
    assert_eq!(find(&["/a/b"], r#"{"a":"company_12"}"#), Found::Absent);
}

#[test]
fn names_are_compared_after_their_escapes_are_undone() {
    let document = r#"{"company\u005fid":"company\u005f12"}"#;
    assert_eq!(find(&["/company_id"], document), other("company_12"));
    assert_eq!(
        find(&["/a~1b"], r#"{"a/b":"company_12"}"#),
        other("company_12")
    );
    assert_eq!(find(&[""], r#""company_12""#), other("company_12"));
    assert_eq!(find(&["/"], r#"{"":"company_12"}"#), other("company_12"));
}

#[test]
fn elements_of_arrays_are_claims_by_their_index() {
    let document = r#"{"a":[{"id":"x"},{"id":"company_12"}],"01":"company_12"}"#;
    assert_eq!(find(&["/a/1/id"], document), other("company_12"));
    assert_eq!(find(&["/a/2/id"], document), Found::Absent);
    assert_eq!(find(&["/a/01/id"], document), Found::Malformed);
    assert_eq!(find(&["/a/-"], document), Found::Malformed);
    assert_eq!(find(&["/01"], document), other("company_12"));
}

#[derive(Debug, serde::Deserialize)]
struct Order {
    amount: String,
    company_id: Option<String>,
}

/// What is derived from `Deserialize` reads its members from an array too, by their order.
#[test]
fn an_array_in_the_place_of_a_structure_is_malformed() {
    let document = r#"["1","company_12"]"#;
    let order: Order = serde_json::from_str(document).unwrap();
    assert_eq!(order.amount, "1");
    assert_eq!(order.company_id.unwrap(), "company_12");
    let below = format!(r#"{{"order":{document}}}"#);
    let element = format!(r#"{{"orders":[{document}]}}"#);
    for (pointers, document) in [
        (&["/company_id"][..], document),
        (&["/company_id", "/0"], document),
        (&["/company_id"], "[]"),
        (&["/company_id"], r#"[{"company_id":"company_34"}]"#),
        (&["/order/company_id"], &below),
        (&["/orders/0/company_id"], &element),
    ] {
        assert_eq!(find(pointers, document), Found::Malformed, "{document}");
    }
    assert_eq!(find(&["/orders/1/company_id"], &element), Found::Absent);
    assert_eq!(find(&["/company_id"], &below), Found::Absent);
}

#[test]
fn all_claims_must_match() {
    let pointers = ["/from/company", "/to/company", "/from"];
    let ask = |document: &str| find(&pointers[..2], document);
    let both = |from: &str, to: &str| {
        format!(r#"{{"from":{{"company":"{from}"}},"x":1,"to":{{"company":"{to}"}}}}"#)
    };
    assert_eq!(ask(&both("company_34", "company_34")), Found::Owner);
    assert_eq!(ask(&both("company_34", "company_12")), other("company_12"));
    assert_eq!(ask(&both("company_12", "company_34")), other("company_12"));
    assert_eq!(
        find(&pointers, &both("company_34", "company_34")),
        Found::Other(None)
    );
}

#[test]
fn a_name_on_the_way_to_a_claim_stands_once() {
    for document in [
        r#"{"company_id":"company_34","company_id":"company_34"}"#,
        r#"{"company_id":"company_34","company\u005fid":"company_12"}"#,
    ] {
        assert_eq!(
            find(&["/company_id"], document),
            Found::Malformed,
            "{document}"
        );
    }
    let twice = r#"{"a":{"b":"company_34"},"a":{}}"#;
    assert_eq!(find(&["/a/b"], twice), Found::Malformed);
    assert_eq!(find(&["/c"], twice), Found::Absent, "it is on nobody's way");
}

#[test]
fn a_broken_document_is_malformed_wherever_it_breaks() {
    for document in [
        "",
        " ",
        "{",
        r#"{"company_id":"company_34""#,
        r#"{"company_id":"company_34"}x"#,
        r#"{"company_id":"company_34"}{}"#,
        r#"{"company_id":"company_34",}"#,
        r#"{"company_id":"company_34","a":[1,]}"#,
        r#"{"company_id":"\ud800"}"#,
        r#"{company_id:"company_34"}"#,
        "\u{feff}{}",
    ] {
        assert_eq!(
            find(&["/company_id"], document),
            Found::Malformed,
            "{document}"
        );
    }
    let not_utf8 = b"{\"company_id\":\"company_34\xff\"}";
    assert_eq!(check(&tree(&["/company_id"]), not_utf8), Found::Malformed);
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let ask = |document: &str| find(&["/company_id"], document);
    let member = |depth: usize| format!(r#"{{"a":{}}}"#, nested(depth));
    assert_eq!(ask(&member(MAX_DEPTH - 1)), Found::Absent);
    assert_eq!(ask(&member(MAX_DEPTH)), Found::Malformed);
    assert_eq!(ask(&member(30_000)), Found::Malformed);
    let text = format!(r#"{{"a":"\\\"{}"}}"#, "[".repeat(500));
    assert_eq!(
        ask(&text),
        Found::Absent,
        "brackets within text nest nothing"
    );
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        proptest::bool::ANY.prop_map(Value::from),
        (-5i64..5).prop_map(Value::from),
        Just(json!("company_34")),
        Just(json!("company_12")),
        "[a\"\\\\{}]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[ab0]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Whether an array stands where the pointer has a step that is no index.
fn meets_an_array(document: &Value, pointer: &str) -> bool {
    let mut at = Some(document);
    pointer.split('/').skip(1).any(|step| {
        let is_met = step != "0" && at.is_some_and(Value::is_array);
        at = at.and_then(|value| value.pointer(&format!("/{step}")));
        is_met
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn finds_what_a_document_tree_would_find(
        document in document(),
        pointers in proptest::collection::vec("(/[ab0]){0,3}", 1..4),
    ) {
        let pointers: Vec<&str> = pointers.iter().map(String::as_str).collect();
        let values: Vec<&Value> = pointers.iter().filter_map(|p| document.pointer(p)).collect();
        let found = find(&pointers, &document.to_string());
        if pointers.iter().any(|pointer| meets_an_array(&document, pointer)) {
            prop_assert_eq!(found, Found::Malformed);
        } else if values.is_empty() {
            prop_assert_eq!(found, Found::Absent);
        } else if values.iter().all(|v| v.as_str() == Some("company_34")) {
            prop_assert_eq!(found, Found::Owner);
        } else {
            prop_assert!(matches!(found, Found::Other(_)), "{:?}", found);
        }
    }

    #[test]
    fn never_panics_on_any_bytes(document in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
        let accepted = check(&tree(&["/a", ""]), &document) != Found::Malformed;
        prop_assert!(!accepted || serde_json::from_slice::<Value>(&document).is_ok());
    }
}
