//! Claims in a JSON document, found without building the document.

use std::fmt;

use countersign_core::CompanyId;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::JsonPointer;
use crate::chosen::{Choice, Foreign};

/// How deeply a document may be nested: as deeply as `serde_json` reads by default.
pub(crate) const MAX_DEPTH: usize = 127;

/// The pointers of all claims as one tree, so that a document is walked once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClaimTree {
    is_claim: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    name: Box<str>,
    /// The name as an index of an array, if it is one (RFC 6901 §4).
    index: Option<usize>,
    below: ClaimTree,
}

/// What the claims of one document say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// No claim was made, or every claim names the company that was chosen.
    Agreed,
    /// A claim is something else: another company, if it can be read as one.
    Other(Option<CompanyId>),
    /// The document is broken, too deep, says a name on the way to a claim twice, or has an array
    /// where that name should be.
    Malformed,
}

impl ClaimTree {
    pub(crate) fn insert(&mut self, pointer: JsonPointer) {
        let mut node = self;
        for token in pointer.into_tokens() {
            let at = node.steps.iter().position(|step| step.name == token);
            let at = at.unwrap_or_else(|| {
                node.steps.push(Step::new(token));
                node.steps.len() - 1
            });
            node = &mut node.steps[at].below;
        }
        node.is_claim = true;
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.is_claim && self.steps.is_empty()
    }

    /// Takes every claim in `document` into `choice`.
    pub(crate) fn check(&self, document: &[u8], choice: &mut Choice<'_>) -> Finding {
        if depth(document) > MAX_DEPTH {
            return Finding::Malformed;
        }
        let mut seen = Seen {
            choice,
            finding: Finding::Agreed,
        };
        let mut deserializer = serde_json::Deserializer::from_slice(document);
        let walked = Walk(self, &mut seen).deserialize(&mut deserializer);
        match walked.and_then(|()| deserializer.end()) {
            Ok(()) => seen.finding,
            Err(_) => Finding::Malformed,
        }
    }
}

impl Step {
    fn new(name: Box<str>) -> Self {
        let canonical = |index: &usize| *index.to_string() == *name;
        Self {
            index: name.parse().ok().filter(canonical),
            name,
            below: ClaimTree::default(),
        }
    }
}

struct Seen<'c, 'i> {
    choice: &'c mut Choice<'i>,
    finding: Finding,
}

impl Seen<'_, '_> {
    /// The first claim that differs is the one that is reported.
    fn text(&mut self, text: &str) {
        if self.finding != Finding::Agreed {
            return;
        }
        if let Err(Foreign(claimed)) = self.choice.see(text.as_bytes()) {
            self.finding = Finding::Other(claimed);
        }
    }

    fn no_text(&mut self) {
        if self.finding == Finding::Agreed {
            self.finding = Finding::Other(None);
        }
    }
}

struct Walk<'t, 's, 'c, 'i>(&'t ClaimTree, &'s mut Seen<'c, 'i>);

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A value that is no text: a mismatch where a claim is expected, and nothing elsewhere.
macro_rules! no_text {
    ($($visit:ident: $value:ty),*) => {$(
        fn $visit<E: Error>(self, _: $value) -> Result<(), E> {
            self.scalar();
            Ok(())
        }
    )*};
}

impl<'de> Visitor<'de> for Walk<'_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    no_text!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar();
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if self.0.is_claim {
            self.1.text(text);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(tree, seen) = self;
        if tree.is_claim {
            seen.no_text();
        }
        let mut met = vec![false; tree.steps.len()];
        while let Some(step) = map.next_key_seed(StepName(&tree.steps))? {
            let Some(at) = step else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if std::mem::replace(&mut met[at], true) {
                return Err(A::Error::custom(
                    "a name on the way to a claim stands twice",
                ));
            }
            map.next_value_seed(Walk(&tree.steps[at].below, &mut *seen))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self(tree, seen) = self;
        if tree.is_claim {
            seen.no_text();
        }
        // Readers take an array for a structure too, its members in the order of their declaration.
        if tree.steps.iter().any(|step| step.index.is_none()) {
            return Err(A::Error::custom("an array where a claim is in a member"));
        }
        for index in 0.. {
            let step = tree.steps.iter().find(|step| step.index == Some(index));
            let more = match step {
                Some(step) => elements.next_element_seed(Walk(&step.below, &mut *seen))?,
                None => elements.next_element::<IgnoredAny>()?.map(drop),
            };
            if more.is_none() {
                break;
            }
        }
        Ok(())
    }
}

impl Walk<'_, '_, '_, '_> {
    fn scalar(self) {
        if self.0.is_claim {
            self.1.no_text();
        }
    }
}

/// Which of the steps a member's name takes.
struct StepName<'t>(&'t [Step]);

impl<'de> DeserializeSeed<'de> for StepName<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for StepName<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|step| &*step.name == name))
    }
}

/// The deepest nesting in `document`; exact for JSON, and of no interest for anything else, which
/// is refused anyway.
fn depth(document: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in document {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests;
