//! What a service's audit log tells of keys.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

/// How often each kind of event was told of each key.
pub(super) type Told = HashMap<String, BTreeMap<String, u32>>;

/// The events of keys by key and kind.
pub(super) fn told(directory: &Path) -> Result<Told> {
    let mut told = Told::new();
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        if path
            .extension()
            .is_none_or(|extension| extension != "jsonl")
        {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        // The last line may be on its way.
        for line in text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        {
            let (kind, key) = (line["type"].as_str(), line["key_id"].as_str());
            let kind = kind.and_then(|kind| kind.strip_prefix("external_api.token."));
            let (Some(kind), Some(key)) = (kind, key) else {
                continue;
            };
            let kinds = told.entry(key.to_owned()).or_default();
            *kinds.entry(kind.to_owned()).or_default() += 1;
        }
    }
    Ok(told)
}
