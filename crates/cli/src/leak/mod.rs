//! What is done when keys got out: find them, and end them.

mod drill;
mod scan;

use countersign::KeyPrefix;
use serde_json::json;

pub(crate) use self::drill::revoke_all;
pub(crate) use self::scan::scan;
use crate::error::CliError;
use crate::output::Output;

/// A rule for secret scanners: the expression, and the checksum that tells a key from what only
/// looks like one.
pub(crate) fn rule(brand: Option<&str>, output: &mut Output<'_>) -> Result<(), CliError> {
    if brand.is_some_and(|brand| !KeyPrefix::is_brand(brand)) {
        let problem = "--brand: 2 to 10 characters of a-z 0-9";
        return Err(CliError::Failed(problem.to_owned()));
    }
    let brand = brand.unwrap_or("[a-z0-9]{2,10}");
    let expression = format!(r"\b{brand}_(?:live|test)_[0-9A-Za-z]{{12}}_[0-9A-Za-z]{{49}}\b");
    output.value(&json!({
        "id": "countersign-api-key",
        "description": "API key of a countersign platform",
        "regex": expression,
        "keywords": ["_live_", "_test_"],
        "checksum": {
            "algorithm": "CRC-32 (IEEE 802.3) of everything before the last 6 characters",
            "encoding": "base62 (0-9A-Za-z), 6 characters, most significant first, padded with 0",
        },
    }))
}
