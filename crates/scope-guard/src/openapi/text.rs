//! From text to a document. No address is ever opened: a document is one file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::DocumentError;
use super::node::Node;

/// The longest document that is read, in bytes.
pub const MAX_DOCUMENT: usize = 8 << 20;

pub(super) fn read(path: &Path) -> Result<String, DocumentError> {
    let name = path.display().to_string();
    let failed = |error: std::io::Error| DocumentError::one(&name, "#", error.to_string());
    let mut bytes = Vec::new();
    // One byte more than is taken, so that a longer one is seen without being read whole.
    let limit = MAX_DOCUMENT as u64 + 1;
    let mut file = File::open(path).map_err(failed)?.take(limit);
    file.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_DOCUMENT {
        return Err(too_long(&name));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = format!("byte {}", error.utf8_error().valid_up_to());
        DocumentError::one(&name, at, "not UTF-8: save the document as UTF-8")
    })
}

pub(super) fn parse(name: &str, text: &str) -> Result<Node, DocumentError> {
    if text.len() > MAX_DOCUMENT {
        return Err(too_long(name));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with('{') {
        json(name, text)
    } else {
        yaml(name, text)
    }
}

fn json(name: &str, text: &str) -> Result<Node, DocumentError> {
    serde_json::from_str(text).map_err(|error| {
        let at = format!("line {}, column {}", error.line(), error.column());
        // The place stands in front already.
        let problem = error.to_string();
        let problem = problem.rsplit_once(" at line ").map_or(&*problem, |p| p.0);
        DocumentError::one(name, at, problem)
    })
}

fn yaml(name: &str, text: &str) -> Result<Node, DocumentError> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        // `no` is a country.
        strict_booleans: true,
        reject_unsupported_tags: true,
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_REPEATED,
        },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let at = error.location().map_or_else(
            || "#".to_owned(),
            |place| format!("line {}, column {}", place.line(), place.column()),
        );
        DocumentError::one(name, at, error.without_snippet().to_string())
    })
}

fn too_long(name: &str) -> DocumentError {
    let problem = format!(
        "more than {} MiB: leave out what no outside caller needs, such as internal endpoints and \
         long examples",
        MAX_DOCUMENT >> 20
    );
    DocumentError::one(name, "#", problem)
}

/// As many levels as no document of people has; each costs stack when a document is walked.
const MAX_DEPTH: usize = 100;
const MAX_NODES: usize = 1_000_000;
/// Values that aliases repeat, so that a short document can't become a long one.
const MAX_REPEATED: usize = 100_000;
