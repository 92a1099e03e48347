//! Scopes that the contract's list knows are issued; wildcards only where they are switched on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{CONTRACT, Desk};

const LIST: &str = "\
x-countersign-scopes:
  'accounts:read': See accounts
  'accounts:close': Close accounts
  'payments:create': Make payments
  'mail:read': See mail
";

fn issue(contract: &str, scope: &str) -> String {
    let key = "keys issue --company company_12 --expires 90d --network 10.0.0.0/8";
    format!("{key} --contract {contract} --scope {scope}")
}

#[test]
fn a_wildcard_is_written_out_where_it_is_switched_on_and_the_review_names_it() {
    let desk = Desk::new();
    let write = |name: &str, text: &str| desk.write(name, text).display().to_string();
    let plain = write("plain.yaml", CONTRACT);
    let list = write("list.yaml", &format!("{CONTRACT}{LIST}"));
    let text = format!("{CONTRACT}{LIST}x-countersign-wildcards: true\n");
    let switched_on = write("on.yaml", &text);
    let said = desk.refused(&issue(&plain, "accounts:*"), 2);
    assert!(said.contains("x-countersign-scopes"), "{said}");
    let said = desk.refused(&issue(&list, "accounts:*"), 1);
    assert!(said.contains("not switched on"), "{said}");
    let said = desk.refused(&issue(&switched_on, "banks:*"), 1);
    assert!(said.contains("banks:*"), "{said}");
    let said = desk.refused(&issue(&switched_on, "accounts:raed"), 1);
    assert!(said.contains("accounts:raed"), "{said}");
    desk.refused(&issue(&switched_on, "*"), 1);
    desk.refused(&issue(&switched_on, "Accounts"), 2);
    assert_eq!(desk.keys(), 0);

    // In the list, though no endpoint asks for it yet.
    desk.done(&issue(&switched_on, "accounts:close"));
    let issued = desk.json(&issue(&switched_on, "accounts:*"));
    assert_eq!(issued["scopes"][0], "accounts:close");
    assert_eq!(issued["scopes"][1], "accounts:read");
    assert_eq!(issued["scopes"].as_array().unwrap().len(), 2);
    let review = desk.json(&format!("review --contract {switched_on}"));
    let whole: Vec<_> = review
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["finding"] == "wildcard")
        .collect();
    assert_eq!(whole.len(), 1, "{review}");
    assert_eq!(whole[0]["detail"], "accounts:*");
    assert_eq!(whole[0]["prefix"], issued["prefix"]);
    let review = desk.json(&format!("review --contract {list}"));
    assert!(!review.to_string().contains("wildcard"), "{review}");
}
