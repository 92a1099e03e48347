//! A small log and a proof of one of its events, made by hand, so that each byte can be another.

use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use countersign::{CheckpointSigner, Clock, FileSigner, SystemClock};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

pub(crate) const ORIGIN: &str = "example.com/audit";
pub(crate) const EVENTS: u64 = 12;
/// The first lines of the segments.
const SEGMENTS: [u64; 3] = [0, 4, 8];
/// The sizes that were signed.
const SIZES: [u64; 6] = [0, 1, 4, 7, 10, 12];
/// The event that is proved.
const PROVEN: u64 = 9;

type Hash = [u8; 32];

/// A key that signs under a name.
pub(crate) struct Key(FileSigner);

impl Key {
    pub(crate) fn of_log() -> Self {
        Self::new(ORIGIN, "f80c4422", 7)
    }

    /// Another key under the same name.
    pub(crate) fn stranger() -> Self {
        Self::new(ORIGIN, "739d7976", 8)
    }

    /// The same key under another name.
    pub(crate) fn of_other_log() -> Self {
        Self::new("example.com/other", "14bf936f", 7)
    }

    fn new(origin: &str, id: &str, seed: u8) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let seed = BASE64_STANDARD.encode([&[1][..], &[seed; 32]].concat());
        fs::write(&path, format!("PRIVATE+KEY+{origin}+{id}+{seed}\n")).unwrap();
        Self(FileSigner::open(&path).unwrap())
    }

    pub(crate) fn vkey(&self) -> String {
        self.0.verifier_key() + "\n"
    }

    pub(crate) fn note(&self, size: u64, root: &Hash) -> String {
        let root = BASE64_STANDARD.encode(root);
        let text = format!("{}\n{size}\n{root}\n", self.0.name());
        let signature = self.signature(&text);
        format!("{text}\n{signature}")
    }

    /// The line of a note that signs `text`.
    pub(crate) fn signature(&self, text: &str) -> String {
        let vkey = self.0.verifier_key();
        let id = hex::decode(vkey.split('+').nth(1).unwrap()).unwrap();
        let signature = self.0.sign(text.as_bytes()).unwrap();
        let signature = BASE64_STANDARD.encode([&id[..], &signature].concat());
        format!("— {} {signature}\n", self.0.name())
    }
}

pub(crate) fn line(seq: u64, more: &str) -> String {
    let time = SystemClock.now().wall;
    format!("{{\"seq\":{seq},\"log\":\"{ORIGIN}\",\"time\":\"{time}\"{more}}}\n")
}

/// The same of an old time, so that it is the same each time.
fn signed_line(seq: u64) -> String {
    let more = if seq == 5 {
        ",\"type\":\"external_api.audit.removed\",\"metadata\":{\"first\":0,\"count\":4}"
    } else {
        ",\"type\":\"external_api.request.allowed\""
    };
    let time = format!("2026-09-21T14:13:{seq:02}.000000Z");
    format!("{{\"seq\":{seq},\"log\":\"{ORIGIN}\",\"time\":\"{time}\"{more}}}\n")
}

fn leaf(line: &str) -> Hash {
    let line = line.strip_suffix('\n').unwrap();
    Sha256::new()
        .chain_update([0])
        .chain_update(line)
        .finalize()
        .into()
}

fn leaves(end: u64) -> Vec<Hash> {
    (0..end).map(|seq| leaf(&signed_line(seq))).collect()
}

/// RFC 6962, section 2.1, word by word.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            let node = Sha256::new().chain_update([1]).chain_update(root(left));
            node.chain_update(root(right)).finalize().into()
        }
    }
}

/// Section 2.1.1: the path from a leaf to the root.
fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let half = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(half);
    let (mut path, sibling) = match index.checked_sub(half) {
        None => (path(index, left), right),
        Some(index) => (path(index, right), left),
    };
    path.push(root(sibling));
    path
}

pub(crate) fn root_at(size: u64) -> Hash {
    root(&leaves(size))
}

/// A line of the list of checkpoints.
pub(crate) fn listed(size: u64, note: &str) -> String {
    let note = note.replace('\n', "\\n");
    let time = "2026-09-21T14:13:20.000000Z";
    format!("{{\"size\":{size},\"time\":\"{time}\",\"note\":\"{note}\"}}\n")
}

/// A directory of files that are changed one by one.
macro_rules! directory {
    ($name:ident) => {
        impl $name {
            pub(crate) fn path(&self, name: &str) -> PathBuf {
                self.0.path().join(name)
            }

            pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
                fs::write(self.path(name), content).unwrap();
            }

            pub(crate) fn change(&self, name: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
                self.write(name, change(fs::read(self.path(name)).unwrap()));
            }

            pub(crate) fn replace(&self, name: &str, from: &str, to: &str) {
                let before = fs::read_to_string(self.path(name)).unwrap();
                let after = before.replacen(from, to, 1);
                assert_ne!(before, after);
                self.write(name, after);
            }

            pub(crate) fn append(&self, name: &str, more: impl AsRef<[u8]>) {
                self.change(name, |bytes| [&bytes, more.as_ref()].concat());
            }

            /// Takes bytes from the end.
            pub(crate) fn cut(&self, name: &str, bytes: usize) {
                self.change(name, |all| all[..all.len() - bytes].to_vec());
            }
        }
    };
}

directory!(Log);
directory!(Proof);

/// A log that is signed to its end.
pub(crate) struct Log(TempDir);

impl Log {
    pub(crate) fn new() -> Self {
        let log = Self(tempfile::tempdir().unwrap());
        fs::create_dir(log.path("segments")).unwrap();
        for first in SEGMENTS {
            let lines: Vec<_> = (first..first + 4).map(signed_line).collect();
            log.write(&segment(first), lines.concat());
        }
        let note = |size| Key::of_log().note(size, &root_at(size));
        let list: Vec<_> = SIZES.map(|size| listed(size, &note(size))).into();
        log.write("checkpoints.jsonl", list.concat());
        log.write("checkpoint", note(EVENTS));
        log.write("vkey", Key::of_log().vkey());
        log
    }

    /// All that can be damaged.
    pub(crate) fn files(&self) -> Vec<String> {
        let files = ["vkey", "checkpoint", "checkpoints.jsonl"].map(str::to_owned);
        files.into_iter().chain(SEGMENTS.map(segment)).collect()
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    pub(crate) fn change_lines(&self, name: &str, change: fn(&mut Vec<String>)) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        let mut lines = text.split_inclusive('\n').map(str::to_owned).collect();
        change(&mut lines);
        self.write(name, lines.concat());
    }

    /// Leaves hashes of the lines of a segment.
    pub(crate) fn remove_lines(&self, first: u64) {
        let hashes = leaves(first + 4)[first as usize..].concat();
        self.remove(&segment(first));
        self.write(&segment(first).replace("jsonl", "hashes"), hashes);
    }
}

pub(crate) fn segment(first: u64) -> String {
    format!("segments/{first:020}.jsonl")
}

/// The proof of one event.
pub(crate) struct Proof(TempDir);

impl Proof {
    pub(crate) fn new() -> Self {
        let proof = Self(tempfile::tempdir().unwrap());
        proof.write("vkey", Key::of_log().vkey());
        proof.write("event", signed_line(PROVEN));
        let path = path(PROVEN as usize, &leaves(EVENTS));
        let path: Vec<_> = path.iter().map(|h| BASE64_STANDARD.encode(h)).collect();
        let (path, note) = (path.join("\n"), proof.note());
        let head = format!("c2sp.org/tlog-proof@v1\nindex {PROVEN}\n{path}");
        proof.write("proof", format!("{head}\n\n{note}"));
        proof
    }

    pub(crate) fn note(&self) -> String {
        Key::of_log().note(EVENTS, &root_at(EVENTS))
    }

    /// Puts other signatures in the place of the one.
    pub(crate) fn sign(&self, signatures: &str) {
        let note = self.note();
        let (_, own) = note.rsplit_once("\n\n").unwrap();
        self.replace("proof", own, signatures);
    }
}
