//! What a handler adds to the audit event: typed, bounded, nothing else.

use serde::Serialize;

use crate::ParseError;

/// The thing that a request was about, for example `payment` and `pay_123`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    kind: Box<str>,
    id: Box<str>,
}

impl Resource {
    /// A resource by its type and id; each is cut to 64 characters of `A-Z a-z 0-9 . _ - :`,
    /// other characters are dropped.
    #[must_use]
    pub fn new(kind: &str, id: &str) -> Self {
        Self {
            kind: clean(kind, 64),
            id: clean(id, 64),
        }
    }

    /// What kind of thing it is.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Which one it is.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// A value of the metadata map. Text is a label, never free text: see [`MetadataValue::label`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum MetadataValue {
    /// A truth value.
    Bool(bool),
    /// A count or an amount in minor units.
    Integer(i64),
    /// A label of at most 64 safe characters.
    Label(Box<str>),
}

impl MetadataValue {
    /// A label, cut to 64 characters of `A-Z a-z 0-9 . _ - :`; other characters are dropped.
    #[must_use]
    pub fn label(text: &str) -> Self {
        Self::Label(clean(text, 64))
    }
}

impl From<bool> for MetadataValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for MetadataValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

/// The notes of one request: at most one resource and [`Notes::MAX_METADATA`] metadata entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// What the request was about.
    pub resource: Option<Resource>,
    metadata: Vec<(&'static str, MetadataValue)>,
}

impl Notes {
    /// How many metadata entries one event can hold.
    pub const MAX_METADATA: usize = 16;

    /// Adds or replaces an entry. Names are `'static`, so that no caller can choose one.
    ///
    /// # Errors
    /// When the map is full.
    pub fn insert(
        &mut self,
        name: &'static str,
        value: impl Into<MetadataValue>,
    ) -> Result<(), ParseError> {
        let value = value.into();
        if let Some(entry) = self.metadata.iter_mut().find(|(n, _)| *n == name) {
            entry.1 = value;
            return Ok(());
        }
        if self.metadata.len() >= Self::MAX_METADATA {
            return Err(ParseError::new("metadata entry", "at most 16 an event"));
        }
        self.metadata.push((name, value));
        Ok(())
    }

    /// All entries, in the order in which they were added.
    #[must_use]
    pub fn metadata(&self) -> &[(&'static str, MetadataValue)] {
        &self.metadata
    }
}

fn clean(text: &str, max: usize) -> Box<str> {
    let good = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
    text.chars().filter(good).take(max).collect()
}
