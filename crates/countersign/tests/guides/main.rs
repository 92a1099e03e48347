//! The Rust of the guides compiles: what no doc test runs stands here, word by word, with what it
//! needs around it.
#![allow(
    clippy::unwrap_used,
    unused,
    clippy::needless_pass_by_value,
    clippy::useless_conversion,
    clippy::print_stdout,
    reason = "it is there to be compiled, in the guides' own words"
)]

#[rustfmt::skip]
mod grpc;
#[rustfmt::skip]
mod others;
#[rustfmt::skip]
mod stores;

use std::path::Path;

/// What this target compiles, and a test of its own.
const COMPILED: [&str; 4] = [
    include_str!("grpc.rs"),
    include_str!("others.rs"),
    include_str!("stores.rs"),
    include_str!("../beside_tower_http.rs"),
];

/// Names the guides that are doc tests.
const FACADE: &str = include_str!("../../src/lib.rs");

#[test]
fn every_fence_of_the_guides_compiles() {
    let compiled = COMPILED.map(plain).concat();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut seen = 0;
    for file in std::fs::read_dir(docs).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let is_run = FACADE.contains(&format!("docs/{name}\""));
        let text = std::fs::read_to_string(&path).unwrap();
        for (line, info, code) in fences(&text) {
            if is_run && !info.contains("ignore") {
                continue;
            }
            seen += 1;
            assert!(
                info.contains("ignore") || !is_run,
                "{name}:{line} would be run"
            );
            assert!(
                stands_in(&compiled, &plain(&code)),
                "docs/{name}:{line} is compiled nowhere: put it into tests/guides, word by word"
            );
        }
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn whoever_follows_changes_by_the_guides_brings_their_events_over_too() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = vec![root.join("README.md")];
    let docs = std::fs::read_dir(root.join("docs")).unwrap();
    files.extend(docs.map(|file| file.unwrap().path()));
    let mut seen = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (line, _, code) in fences(&text) {
            if code.contains(".follow_changes()") {
                seen += 1;
                let at = format!("{}:{line}", file.display());
                assert!(code.contains(".drain_outbox("), "{at} drains no outbox");
            }
        }
    }
    assert!(seen >= 2, "{seen}");
}

/// The Rust fences of a text: the line, what stands behind `rust`, and the code.
fn fences(text: &str) -> Vec<(usize, &str, String)> {
    let mut lines = text.lines().enumerate();
    let mut found = Vec::new();
    while let Some((number, line)) = lines.next() {
        if let Some(info) = line.strip_prefix("```rust") {
            let code = lines.by_ref().map(|(_, line)| line);
            let code = code.take_while(|line| *line != "```");
            found.push((number + 1, info, code.collect::<Vec<_>>().join("\n")));
        }
    }
    found
}

/// Without comments and blanks; where a comment says that something is left out, there is a `…`.
fn plain(code: &str) -> String {
    let code = code.replace("/* … */", "…");
    let lines = code.lines().map(|line| {
        let comment = line
            .find("// ")
            .filter(|at| *at == 0 || line[..*at].ends_with(char::is_whitespace));
        match comment {
            Some(at) if line[at..].starts_with("// …") => format!("{}…", &line[..at]),
            Some(at) => line[..at].to_owned(),
            None => line.to_owned(),
        }
    });
    lines.collect::<String>().split_whitespace().collect()
}

/// Whether the parts between what is left out stand there one after the other.
fn stands_in(compiled: &str, code: &str) -> bool {
    let mut parts = code.split('…').filter(|part| !part.is_empty());
    let Some(first) = parts.next() else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    compiled.match_indices(first).any(|(at, _)| {
        let mut rest = &compiled[at + first.len()..];
        parts.iter().all(|part| match rest.find(part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    })
}

#[test]
fn a_fence_that_is_not_compiled_is_noticed() {
    let compiled = plain("fn f() {\n    a(1); // why\n    b();\n    c();\n}\n");
    for (code, stands) in [
        ("a(1);\n\nb();", true),
        ("a(1); // …\nc();", true),
        ("a(1)/* … */; c();", true),
        ("b(); // …\na(1);", false),
        ("a(2);", false),
        ("", false),
    ] {
        assert_eq!(stands_in(&compiled, &plain(code)), stands, "{code}");
    }
    assert_eq!(plain("f(\"http://a\")"), "f(\"http://a\")");
}
