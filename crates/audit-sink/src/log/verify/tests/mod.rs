mod findings;
mod gone;
mod tampering;
mod unreadable;
mod unsigned;

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use countersign_core::ManualClock;
use tempfile::TempDir;

use super::*;
use crate::log::signer::{CheckpointSigner, FileSigner};
use crate::log::tree::{Edge, leaf_hash};

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/audit")
}

fn verify(directory: &Path) -> Finding {
    verifier(directory).verify().unwrap().finding
}

/// A verifier, to whom it is when the lines were written.
fn verifier(directory: &Path) -> LogVerifier {
    let time = TIME.parse().unwrap();
    LogVerifier::new(directory).clock(ManualClock::new(time))
}

#[test]
fn answers_as_the_vectors_expect() {
    let expected = fs::read_to_string(vectors().join("expected.json")).unwrap();
    let expected: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&expected).unwrap();
    let answers = [
        ("good", Finding::Ok),
        ("leaf-changed", Finding::LeafChanged(0, 2)),
        ("line-missing", Finding::LineMissing(1)),
        ("order-changed", Finding::OrderChanged(0)),
        ("truncated", truncated(7, 6)),
        ("bad-signature", Finding::BadSignature(String::new())),
        ("torn-tail", Finding::TornTail(15)),
    ];
    assert_eq!(expected.len(), answers.len());
    for (name, answer) in answers {
        let found = verify(&vectors().join(name));
        let says = expected[name].as_str().unwrap().split(' ').next().unwrap();
        assert!(found.to_string().contains(says), "{name}: {found}");
        match answer {
            Finding::BadSignature(_) => assert_eq!(found.exit_code(), 5, "{name}: {found}"),
            answer => assert_eq!(found, answer, "{name}"),
        }
    }
}

const fn truncated(checkpoint: u64, events: u64) -> Finding {
    Finding::Truncated { checkpoint, events }
}

#[test]
fn the_report_tells_what_was_read() {
    let report = LogVerifier::new(vectors().join("good")).verify().unwrap();
    assert_eq!(report.origin, "example.com/countersign/shared");
    assert_eq!(
        (report.events, report.signed, report.checkpoints),
        (7, 7, 3)
    );
    assert_eq!(
        report.first_time.unwrap().to_string(),
        "2026-05-01T12:00:00.000000Z"
    );
    assert_eq!(
        report.last_time.unwrap().to_string(),
        "2026-05-01T12:00:06.000000Z"
    );
}

#[test]
fn the_proof_of_the_vectors_holds_and_for_no_other_event() {
    let read = |name: &str| fs::read_to_string(vectors().join(name)).unwrap();
    let (vkey, proof) = (read("good/vkey"), read("event-2.tlog-proof"));
    let event = read("event-2.jsonl");
    let proven = check_proof(&vkey, event.as_bytes(), &proof).unwrap();
    assert_eq!((proven.index, proven.size), (2, 7));
    let fault = |vkey: &str, event: &str, proof: &str| {
        check_proof(vkey, event.as_bytes(), proof).unwrap_err()
    };
    let other = event.replace("company_12", "company_13");
    for wrong in [&other, &format!(" {event}")] {
        assert_eq!(fault(&vkey, wrong, &proof), ProofFault::OtherEvent);
    }
    for wrong in ["", "\n", &format!("{event}{event}"), &"x".repeat(60_001)] {
        assert_eq!(fault(&vkey, wrong, &proof), ProofFault::Event);
    }
    let longest = "x".repeat(60_000);
    assert_eq!(fault(&vkey, &longest, &proof), ProofFault::OtherEvent);
    let hash = proof.lines().nth(2).unwrap().to_owned() + "\n";
    for (hashes, answer) in [
        (63, ProofFault::OtherEvent),
        (64, ProofFault::Malformed),
        (65, ProofFault::Malformed),
    ] {
        let (_, note) = proof.split_once("\n\n").unwrap();
        let path = hash.repeat(hashes);
        let long = format!("c2sp.org/tlog-proof@v1\nindex 2\n{path}\n{note}");
        assert_eq!(fault(&vkey, &event, &long), answer, "{hashes} hashes");
    }
    let other_index = proof.replace("index 2", "index 3");
    assert_eq!(fault(&vkey, &event, &other_index), ProofFault::OtherEvent);
    let forged = proof.replace("\n7\n", "\n8\n");
    assert_eq!(fault(&vkey, &event, &forged), ProofFault::BadSignature);
    for wrong in [
        String::new(),
        proof.replace("@v1", "@v2"),
        proof.replace("index 2", "index 02"),
        proof.replace("index 2", "index -2"),
        proof.replace("index 2", "extra !\nindex 2"),
        proof.replace("example.com/countersign/shared\n7", "example.com/other\n7"),
    ] {
        assert_eq!(
            fault(&vkey, &event, &wrong),
            ProofFault::Malformed,
            "{wrong}"
        );
    }
    let extra = proof.replace("index 2", "extra aGk=\nindex 2");
    assert!(check_proof(&vkey, event.as_bytes(), &extra).is_ok());
    assert_eq!(fault("nonsense", &event, &proof), ProofFault::Key);
    let codes = [ProofFault::Key, ProofFault::Event, ProofFault::Malformed];
    assert_eq!(codes.map(ProofFault::exit_code), [2; 3]);
    assert_eq!(ProofFault::BadSignature.exit_code(), 5);
    assert_eq!(ProofFault::OtherEvent.exit_code(), 1);
}

#[test]
fn what_can_t_be_checked_is_said_and_never_ok() {
    let empty = tempfile::tempdir().unwrap();
    LogVerifier::new(empty.path()).verify().unwrap_err();
    LogVerifier::new(empty.path().join("absent"))
        .verify()
        .unwrap_err();
    let log = Log::new(7, &[3, 7], &[0, 4]);
    let refused = |verifier: LogVerifier| verifier.verify().unwrap_err().to_string();
    let vkey = fs::read_to_string(vectors().join("good/vkey")).unwrap();
    let other = LogVerifier::new(log.path()).with_vkey(vkey);
    assert!(refused(other).contains("example.com/countersign/shared"));
    let stranger = Log::new(1, &[1], &[0]);
    let other = LogVerifier::new(log.path()).with_vkey(stranger.signer.verifier_key());
    assert_eq!(other.verify().unwrap().finding.exit_code(), 5);
    let nonsense = LogVerifier::new(log.path()).with_vkey("nonsense");
    assert!(refused(nonsense).contains("verifier key"));
    let given = fs::read_to_string(vectors().join("good/checkpoint")).unwrap();
    assert!(refused(LogVerifier::new(log.path()).against(given)).contains("given"));
    fs::remove_dir_all(log.path().join("segments")).unwrap();
    LogVerifier::new(log.path()).verify().unwrap_err();
}

#[test]
fn what_no_checkpoint_covers_is_counted() {
    assert_eq!(
        verify(Log::new(7, &[3], &[0, 4]).path()),
        Finding::UnsignedTail(4)
    );
    // What no checkpoint covers must be whole lines all the same.
    let log = Log::new(7, &[3], &[0]);
    let lines = fs::read_to_string(log.segment(0)).unwrap();
    fs::write(log.segment(0), lines.replace("00Z\",\"text\":\"\"}", "00Z")).unwrap();
    assert!(!verify(log.path()).is_ok());
}

#[test]
fn a_checkpoint_kept_elsewhere_shows_a_log_that_was_written_anew() {
    let kept = Log::new(9, &[3, 6, 9], &[0, 4]);
    let note = kept.note();
    let against = |log: &Log| {
        LogVerifier::new(log.path())
            .against(&*note)
            .verify()
            .unwrap()
    };
    assert_eq!(against(&kept).finding, Finding::Ok);
    // The same key signs another history of the same length, or a shorter one.
    let other = kept.again("tampered", 9, &[9]);
    assert_eq!(verify(other.path()), Finding::Ok);
    assert_eq!(against(&other).finding, Finding::Inconsistent);
    let shorter = kept.again("", 6, &[6]);
    assert_eq!(against(&shorter).finding, truncated(9, 6));
    let longer = kept.again("", 12, &[12]);
    assert_eq!(against(&longer).finding, Finding::Ok);
    // Another key under the same name.
    let resigned = Log::new(9, &[3, 6, 9], &[0, 4]);
    assert_eq!(verify(resigned.path()), Finding::Ok);
    assert_eq!(against(&resigned).finding, Finding::Inconsistent);
}

#[test]
fn a_checkpoint_of_another_tree_is_told_from_a_changed_line() {
    let log = Log::new(9, &[3, 9], &[0]);
    let other = log.again("tampered", 6, &[6]);
    let forked = fs::read_to_string(other.path().join("checkpoints.jsonl")).unwrap();
    let list = log.path().join("checkpoints.jsonl");
    let own = fs::read_to_string(&list).unwrap();
    let (first, last) = own.split_once('\n').unwrap();
    fs::write(&list, format!("{first}\n{forked}{last}")).unwrap();
    assert_eq!(verify(log.path()), Finding::RootDiffers(6));
}

/// A log of a few lines, written by the specification and not by the log's own writer.
struct Log {
    directory: TempDir,
    signer: FileSigner,
}

const ORIGIN: &str = "example.com/countersign/test";
const TIME: &str = "2026-05-01T12:00:00Z";

impl Log {
    /// `events` lines, checkpoints at these sizes, segments that begin at these indexes.
    fn new(events: u64, checkpoints: &[u64], segments: &[u64]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let signer = FileSigner::create(directory.path().join("key"), ORIGIN).unwrap();
        let log = Self { directory, signer };
        log.write("", events, checkpoints, segments);
        log
    }

    /// Another log with the same key.
    fn again(&self, text: &str, events: u64, checkpoints: &[u64]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        fs::copy(self.path().join("key"), &key).unwrap();
        let signer = FileSigner::open(key).unwrap();
        let log = Self { directory, signer };
        log.write(text, events, checkpoints, &[0]);
        log
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn segment(&self, first: u64) -> PathBuf {
        self.path().join(format!("segments/{first:020}.jsonl"))
    }

    fn hashes(&self, first: u64) -> PathBuf {
        self.segment(first).with_extension("hashes")
    }

    /// Takes the lines of a segment away and leaves their hashes.
    fn remove_lines(&self, first: u64) {
        let text = fs::read_to_string(self.segment(first)).unwrap();
        let hashes: Vec<u8> = text
            .lines()
            .flat_map(|line| leaf_hash(line.as_bytes()).0)
            .collect();
        fs::write(self.hashes(first), hashes).unwrap();
        fs::remove_file(self.segment(first)).unwrap();
    }

    fn note(&self) -> String {
        fs::read_to_string(self.path().join("checkpoint")).unwrap()
    }

    fn write(&self, text: &str, events: u64, checkpoints: &[u64], segments: &[u64]) {
        fs::create_dir(self.path().join("segments")).unwrap();
        fs::write(self.path().join("vkey"), self.signer.verifier_key() + "\n").unwrap();
        let mut tree = Edge::default();
        let (mut list, mut segment) = (String::new(), (0, String::new()));
        for seq in 0..events {
            if segments.contains(&seq) {
                self.end_segment(&segment);
                segment = (seq, String::new());
            }
            let line = format!(
                "{{\"seq\":{seq},\"log\":\"{ORIGIN}\",\"time\":\"{TIME}\",\"text\":\"{text}\"}}"
            );
            tree.push(leaf_hash(line.as_bytes()));
            segment.1 += &format!("{line}\n");
            if checkpoints.contains(&(seq + 1)) {
                let note = self.sign(&tree);
                fs::write(self.path().join("checkpoint"), &note).unwrap();
                let (size, time) = (seq + 1, TIME);
                let entry = serde_json::json!({"size": size, "time": time, "note": note});
                list += &format!("{entry}\n");
            }
        }
        self.end_segment(&segment);
        fs::write(self.path().join("checkpoints.jsonl"), list).unwrap();
    }

    fn end_segment(&self, (first, text): &(u64, String)) {
        fs::write(self.segment(*first), text).unwrap();
    }

    fn sign(&self, tree: &Edge) -> String {
        let text = format!("{ORIGIN}\n{}\n{}\n", tree.end(), tree.root());
        let vkey = self.signer.verifier_key();
        let id = u32::from_str_radix(vkey.split('+').nth(1).unwrap(), 16).unwrap();
        let signature = self.signer.sign(text.as_bytes()).unwrap();
        let signature = BASE64_STANDARD.encode([&id.to_be_bytes()[..], &signature].concat());
        format!("{text}\n— {ORIGIN} {signature}\n")
    }
}
