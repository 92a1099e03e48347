//! What a service's audit log tells of keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

/// How often each kind of event was told of each key.
pub(super) type Told = HashMap<String, BTreeMap<String, u32>>;

/// The events of keys by key and kind, each id counted once, and how many ids came again.
pub(super) fn told(directory: &Path) -> Result<(Told, usize)> {
    let (mut told, mut ids, mut again) = (Told::new(), BTreeSet::new(), 0);
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
            if ids.insert(line["id"].to_string()) {
                let kinds = told.entry(key.to_owned()).or_default();
                *kinds.entry(kind.to_owned()).or_default() += 1;
            } else {
                again += 1;
            }
        }
    }
    Ok((told, again))
}
