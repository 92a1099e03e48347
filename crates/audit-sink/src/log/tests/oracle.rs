//! Reads a log by the specifications alone: RFC 6962's own definition of the tree, and somebody
//! else's signed notes.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use signed_note::{Note, StandardVerifier, VerifierList};

/// Every line of the log, in order, once all that is signed was found to be true.
pub(super) fn verify(log: &Path) -> Vec<String> {
    let vkey = fs::read_to_string(log.join("vkey")).unwrap();
    let origin = vkey.split('+').next().unwrap();
    let lines = lines(log);
    for (index, line) in lines.iter().enumerate() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["seq"], index);
        assert_eq!(line["log"], origin);
    }
    let leaves: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
    let listed = fs::read_to_string(log.join("checkpoints.jsonl")).unwrap();
    let mut last = String::new();
    for listed in listed.lines() {
        let listed: serde_json::Value = serde_json::from_str(listed).unwrap();
        let note = listed["note"].as_str().unwrap();
        assert_eq!(listed["size"], check(note, &vkey, &leaves));
        note.clone_into(&mut last);
    }
    let newest = fs::read_to_string(log.join("checkpoint")).unwrap();
    check(&newest, &vkey, &leaves);
    assert_eq!(newest, last, "the newest of the list");
    lines
}

/// The size that a checkpoint tells.
fn check(note: &str, vkey: &str, leaves: &[&[u8]]) -> usize {
    let parsed = Note::from_bytes(note.as_bytes()).unwrap();
    let verifier = StandardVerifier::new(vkey.trim_end()).unwrap();
    parsed
        .verify(&VerifierList::new(vec![Box::new(verifier)]))
        .unwrap();
    let text = std::str::from_utf8(parsed.text()).unwrap();
    let [origin, size, root] = text.lines().collect::<Vec<_>>()[..] else {
        panic!("three lines: {text}");
    };
    assert_eq!(origin, vkey.split('+').next().unwrap());
    let size: usize = size.parse().unwrap();
    assert_eq!(root, BASE64_STANDARD.encode(tree(&leaves[..size])));
    size
}

/// RFC 6962 §2.1, word for word.
fn tree(leaves: &[&[u8]]) -> [u8; 32] {
    match leaves {
        [] => Sha256::digest(b"").into(),
        [leaf] => Sha256::new()
            .chain_update([0])
            .chain_update(leaf)
            .finalize()
            .into(),
        _ => {
            let half = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(half);
            Sha256::new()
                .chain_update([1])
                .chain_update(tree(left))
                .chain_update(tree(right))
                .finalize()
                .into()
        }
    }
}

fn lines(log: &Path) -> Vec<String> {
    let entries = fs::read_dir(log.join("segments")).unwrap();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let first: usize = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        assert_eq!(first, all.len(), "a segment is called by its first line");
        let text = fs::read_to_string(path).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "every line ends");
        all.extend(text.lines().map(str::to_owned));
    }
    all
}
