//! What the list of invariants names as their proofs is there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

/// The words in backquotes of a row's last column.
fn names(row: &str) -> Vec<&str> {
    let proofs = row.trim_end_matches(" |").rsplit(" | ").next();
    proofs.unwrap().split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_proof_of_an_invariant_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/invariants.md")).unwrap();
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| # "))
        .collect();
    assert!(rows.len() > 50, "{} rows", rows.len());
    for (number, row) in (1..).zip(rows) {
        assert!(row.starts_with(&format!("| {number} | ")), "{row}");
        let mut file = None;
        for name in names(row) {
            if name.contains('/') && !name.contains(' ') {
                assert!(root.join(name).exists(), "{number}: {name}");
                file = fs::read_to_string(root.join(name)).ok();
            } else if let Some(text) = &file
                && name
                    .bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
            {
                assert!(text.contains(&format!("fn {name}")), "{number}: {name}");
            }
        }
    }
}
