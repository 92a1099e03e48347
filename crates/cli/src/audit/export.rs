//! `audit prove`, `audit export` and `audit keygen`: evidence for somebody else.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use countersign::{FileSigner, LogEvents, StoreError, StoreErrorKind, prove_event};
use serde_json::json;
use tar::{Builder, Header};

use super::Unread;
use super::args::Filter;
use super::file::NewFile;
use crate::error::CliError;
use crate::output::Output;

pub(crate) fn prove(
    directory: &Path,
    seq: u64,
    file: &Path,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    let proof = prove_event(directory, seq).map_err(|error| cannot_prove(seq, &error))?;
    let mut beside: OsString = file.into();
    beside.push(".jsonl");
    let beside = PathBuf::from(beside);
    let (proof_file, line_file) = (
        NewFile::new(directory, file)?,
        NewFile::new(directory, &beside)?,
    );
    proof_file.write(proof.proof.as_bytes())?;
    let Some(mut line) = proof.line else {
        let text = "the event's line was deleted when its time was over; whoever kept it can use the proof";
        return output.say(text);
    };
    line.push(b'\n');
    line_file.write(&line)?;
    if output.is_json() {
        return output.value(&json!({"seq": seq, "proof": file, "event": beside}));
    }
    output.say(format_args!(
        "{} and {} are written",
        file.display(),
        beside.display()
    ))
}

fn cannot_prove(seq: u64, error: &StoreError) -> CliError {
    let text = format!("event {seq}: {}", crate::error::chain(error));
    match error.kind() {
        StoreErrorKind::NotFound => CliError::Refused(text),
        _ => CliError::Failed(text),
    }
}

pub(crate) fn keygen(origin: &str, file: &Path, output: &mut Output<'_>) -> Result<(), CliError> {
    let signer = FileSigner::create(file, origin).map_err(|error| match error.kind() {
        StoreErrorKind::AlreadyExists => CliError::Refused(format!(
            "{} exists; a key that is replaced can sign no more of its log",
            file.display()
        )),
        _ => CliError::Failed(crate::error::chain(&error)),
    })?;
    output.raw((signer.verifier_key() + "\n").as_bytes())
}

/// The archive holds nothing of other companies but hashes.
pub(crate) fn run(
    directory: &Path,
    filter: &Filter,
    file: &Path,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    let failed = |error: io::Error| CliError::Failed(format!("{}: {error}", file.display()));
    let mut archive = Builder::new(NewFile::new(directory, file)?);
    let (mut count, mut unsigned, mut example) = (0_u64, 0_u64, None);
    let mut unread = Unread::default();
    for event in LogEvents::open(directory)? {
        let event = event?;
        // One that can't be read names nobody, and is handed over where all are.
        unread.reads(&event);
        if !filter.hands_over(&event) {
            continue;
        }
        let seq = event.seq();
        match prove_event(directory, seq) {
            Ok(proof) => {
                let line = [&event.line[..], b"\n"].concat();
                add(&mut archive, &format!("events/{seq:020}.jsonl"), &line).map_err(failed)?;
                let name = format!("proofs/{seq:020}.tlog-proof");
                add(&mut archive, &name, proof.proof.as_bytes()).map_err(failed)?;
                count += 1;
                example.get_or_insert(seq);
            }
            // Written after the newest checkpoint: there is nothing yet that proves it.
            Err(error) if error.kind() == StoreErrorKind::NotFound => unsigned += 1,
            Err(error) => return Err(cannot_prove(seq, &error)),
        }
    }
    for name in ["vkey", "checkpoint"] {
        let content = fs::read(directory.join(name));
        let content = content.map_err(|error| CliError::Failed(format!("{name}: {error}")))?;
        add(&mut archive, name, &content).map_err(failed)?;
    }
    for (name, content) in [
        ("verify.py", SCRIPT),
        ("verify.sh", SHELL),
        ("README.txt", &readme(count, example.unwrap_or(0))),
    ] {
        add(&mut archive, name, content.as_bytes()).map_err(failed)?;
    }
    archive.into_inner().map_err(failed)?.finish()?;
    unread.tell(output)?;
    if unsigned > 0 {
        output.say(format_args!(
            "{unsigned} events are left out: no checkpoint covers them yet"
        ))?;
    }
    output.say(format_args!(
        "{count} events and their proofs are in {}",
        file.display()
    ))
}

fn add(archive: &mut Builder<NewFile>, name: &str, content: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, content)
}

fn readme(events: u64, example: u64) -> String {
    format!(
        "Audit events and the proof of each\n\
         ==================================\n\n\
         This archive holds {events} events of an audit log that can be checked without the software that\n\
         wrote it, and without seeing any other event.\n\n\
         events/N.jsonl        the event with number N, one line of JSON, exactly as it was written\n\
         proofs/N.tlog-proof   the proof that it stands in the log (c2sp.org/tlog-proof@v1)\n\
         checkpoint            the newest signed state of the whole log (c2sp.org/tlog-checkpoint)\n\
         vkey                  the log's public key (c2sp.org/signed-note)\n\
         verify.py             checks an event; needs Python 3.6 and nothing else\n\
         verify.sh             does the same; needs a shell, base64 and OpenSSL 3\n\n\
         To check one event, with either:\n\n\
         \u{20}   python3 verify.py proof vkey events/{example:020}.jsonl proofs/{example:020}.tlog-proof\n\
         \u{20}   sh verify.sh vkey events/{example:020}.jsonl proofs/{example:020}.tlog-proof\n\n\
         Each prints `ok` first and ends with 0, or says what is wrong. Compare `vkey` with the key that the\n\
         platform published: a key that comes in the same archive proves only that the archive agrees\n\
         with itself. What is computed: the event's hash is SHA-256 over a zero byte and the line without\n\
         its newline (RFC 6962, section 2.1); the proof's hashes lead from there to the root in the\n\
         checkpoint; the checkpoint's text is signed with Ed25519 (RFC 8032).\n"
    )
}

/// Independent verifiers, so that nobody must fetch anything.
const SCRIPT: &str = include_str!("verify.py");
const SHELL: &str = include_str!("verify.sh");
