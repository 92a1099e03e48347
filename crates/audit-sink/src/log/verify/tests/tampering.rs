//! Whatever is done to a file of a signed log is reported.

use proptest::prelude::*;

use super::*;

/// What somebody does to a file.
#[derive(Debug, Clone)]
enum Tampering {
    Flip(usize),
    RemoveLine(usize),
    DuplicateLine(usize),
    SwapLines(usize, usize),
    Truncate(usize),
    Append(Vec<u8>),
    RemoveFile,
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let at = 0..usize::MAX;
    prop_oneof![
        6 => at.clone().prop_map(Tampering::Flip),
        2 => at.clone().prop_map(Tampering::RemoveLine),
        2 => at.clone().prop_map(Tampering::DuplicateLine),
        2 => (at.clone(), at.clone()).prop_map(|(a, b)| Tampering::SwapLines(a, b)),
        2 => at.prop_map(Tampering::Truncate),
        2 => prop::collection::vec(any::<u8>(), 1..80).prop_map(Tampering::Append),
        1 => Just(Tampering::RemoveFile),
    ]
}

impl Tampering {
    /// The file afterwards; `None` when it is gone.
    fn apply(&self, content: &[u8]) -> Option<Vec<u8>> {
        let mut lines: Vec<&[u8]> = content.split_inclusive(|b| *b == b'\n').collect();
        let line = |at: &usize| at % lines.len();
        match self {
            Self::Flip(at) => {
                let mut changed = content.to_vec();
                let bit = at % (content.len() * 8);
                changed[bit / 8] ^= 1 << (bit % 8);
                return Some(changed);
            }
            Self::RemoveLine(at) => {
                let at = line(at);
                lines.remove(at);
            }
            Self::DuplicateLine(at) => {
                let at = line(at);
                lines.insert(at, lines[at]);
            }
            Self::SwapLines(a, b) => {
                let (a, b) = (line(a), line(b));
                lines.swap(a, b);
            }
            Self::Truncate(at) => return Some(content[..at % content.len()].to_vec()),
            Self::Append(bytes) => return Some([content, bytes].concat()),
            Self::RemoveFile => return None,
        }
        Some(lines.concat())
    }

    /// What nothing signs, and the documentation says so: the time beside a checkpoint, and that
    /// an earlier checkpoint was ever made.
    fn is_out_of_reach(&self, file: &str, before: &[u8], after: Option<&[u8]>) -> bool {
        if file != "checkpoints.jsonl" {
            return false;
        }
        let notes = |content: &[u8]| -> Option<Vec<serde_json::Value>> {
            let lines = content.split_inclusive(|b| *b == b'\n');
            let parse = |line: &[u8]| {
                let value: serde_json::Value = serde_json::from_slice(line).ok()?;
                let timed = value["time"]
                    .as_str()?
                    .parse::<countersign_core::Timestamp>();
                timed.ok().filter(|_| line.ends_with(b"\n"))?;
                Some(serde_json::json!([value["size"], value["note"]]))
            };
            lines.map(parse).collect()
        };
        let Some((before, after)) = notes(before).zip(after.and_then(notes)) else {
            return false;
        };
        let newest_stays = after.last() == before.last();
        let mut rest = before.iter();
        newest_stays && after.iter().all(|note| rest.any(|known| known == note))
    }
}

proptest! {
    #[test]
    fn whatever_is_done_to_a_file_is_reported(
        file in 0_usize..5,
        tampering in tampering(),
    ) {
        let log = Log::new(9, &[2, 5, 9], &[0, 4]);
        let (first, second) = (log.segment(0), log.segment(4));
        let path = match file {
            0 => first,
            1 => second,
            2 => log.path().join("checkpoint"),
            3 => log.path().join("checkpoints.jsonl"),
            _ => log.path().join("vkey"),
        };
        let before = fs::read(&path).unwrap();
        let after = tampering.apply(&before);
        let name = path.file_name().unwrap().to_str().unwrap();
        prop_assume!(after.as_ref() != Some(&before));
        // An end of file is an end of line to everybody who reads a key or a note.
        let ends_alike = after.as_deref().map(<[u8]>::trim_ascii_end) == Some(before.trim_ascii_end());
        prop_assume!(!(name == "vkey" && ends_alike));
        prop_assume!(!tampering.is_out_of_reach(name, &before, after.as_deref()));
        match &after {
            Some(content) => fs::write(&path, content).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let answer = verifier(log.path()).verify();
        let is_ok = answer.as_ref().is_ok_and(|report| report.finding.is_ok());
        prop_assert!(!is_ok, "{name}: {answer:?}");
    }
}
