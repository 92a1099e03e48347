//! What one company may not learn of another.

use std::collections::{BTreeMap, BTreeSet};

use crate::answer::Answer;
use crate::facts::{Facts, scalars};

/// What only one of two companies was shown, or is that one's own.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    pub(crate) texts: BTreeSet<String>,
    /// By the names that they stand under. Numbers and short texts stand everywhere: they are known
    /// again under that name alone.
    pub(crate) ids: BTreeMap<String, BTreeSet<String>>,
}

impl Secrets {
    pub(crate) fn contains(&self, text: &str) -> bool {
        self.texts.contains(text) || self.ids.values().any(|ids| ids.contains(text))
    }

    /// Every text and id.
    pub(crate) fn all(&self) -> BTreeSet<&str> {
        let ids = self.ids.values().flatten();
        self.texts.iter().chain(ids).map(String::as_str).collect()
    }

    /// The first that an answer holds. What the caller sent itself tells it nothing.
    pub(crate) fn found(&self, answer: &Answer, sent: &[String]) -> Option<&str> {
        self.found_text(answer, sent)
            .or_else(|| self.found_id(answer, sent))
    }

    /// A text, as a whole value, or within another one if it is long enough not to stand there by
    /// chance.
    fn found_text(&self, answer: &Answer, sent: &[String]) -> Option<&str> {
        let json = answer.json().map(|json| scalars(&json));
        let whole: BTreeSet<String> = json.into_iter().flatten().collect();
        let texts = answer.texts();
        let told = |fact: &str| {
            let within = |text: &String| fact.len() >= LONG && text.contains(fact);
            whole.contains(fact) || texts.iter().any(within)
        };
        let mut facts = self.texts.iter().map(String::as_str);
        facts.find(|fact| !sent.iter().any(|sent| sent.contains(fact)) && told(fact))
    }

    /// An id, under the name that its owner was shown it under.
    fn found_id(&self, answer: &Answer, sent: &[String]) -> Option<&str> {
        let mut shown = Facts::default();
        shown.learn(&answer.json()?);
        let mut all = self.ids.iter().flat_map(|(name, ids)| {
            let shown = shown.ids().get(name);
            ids.iter()
                .filter(move |id| shown.is_some_and(|shown| shown.contains(*id)))
        });
        all.find(|id| !sent.contains(id)).map(String::as_str)
    }
}

/// Shorter texts stand within others by chance.
pub(crate) const LONG: usize = 6;
