//! What the lines of a log tell of those that are gone.

use memchr::memmem::Finder;
use serde::Deserialize;

use crate::event::EventType;

/// The removals that signed events tell of.
#[derive(Debug)]
pub(in crate::log) struct Told {
    wanted: Finder<'static>,
    /// The index behind the last line of which an event says that it was deleted.
    end: u64,
}

/// An `external_api.audit.removed` event.
#[derive(Deserialize)]
struct Removal {
    r#type: String,
    metadata: Range,
}

#[derive(Deserialize)]
struct Range {
    first: u64,
    count: u64,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            wanted: Finder::new(EventType::Removed.as_str()),
            end: 0,
        }
    }
}

impl Told {
    /// Takes in what `line` tells.
    pub(in crate::log) fn hear(&mut self, line: &[u8]) {
        if self.wanted.find(line).is_none() {
            return;
        }
        let removal: Option<Removal> = serde_json::from_slice(line).ok();
        let name = EventType::Removed.as_str();
        if let Some(removal) = removal.filter(|removal| removal.r#type == name) {
            let Range { first, count } = removal.metadata;
            self.end = self.end.max(first.saturating_add(count));
        }
    }

    /// Whether the lines up to `end` may be gone. What tells of earlier removals may be gone with
    /// them; what tells of the last one stands behind all that it tells of.
    pub(in crate::log) const fn reaches(&self, end: u64) -> bool {
        end <= self.end
    }
}
