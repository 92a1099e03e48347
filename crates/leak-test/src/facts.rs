//! What a company's own answers say of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::secrets::Secrets;

/// The texts that a company was shown, and which of them name something.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    texts: BTreeSet<String>,
    owned: BTreeSet<String>,
    ids: BTreeMap<String, BTreeSet<String>>,
}

impl Facts {
    /// Takes in every text of a document; those under `id`, `…_id`, `…Id` and lists of them, numbers
    /// too, as ids.
    pub(crate) fn learn(&mut self, document: &Value) {
        self.walk("", document);
    }

    pub(crate) fn add_text(&mut self, text: &str) {
        if text.len() >= SHORTEST {
            self.texts.insert(text.to_owned());
        }
    }

    /// Takes in what a company sends or makes itself: its ids are the company's own.
    pub(crate) fn own(&mut self, document: &Value) {
        let mut made = Self::default();
        made.learn(document);
        for (name, ids) in made.ids {
            for id in ids {
                self.add_owned(&id);
                self.add_id(&name, &id);
            }
        }
    }

    pub(crate) fn add_owned(&mut self, text: &str) {
        self.texts.insert(text.to_owned());
        self.owned.insert(text.to_owned());
    }

    /// Whether the text names a thing, as an id does, and is no mere word.
    pub(crate) fn names(&self, text: &str) -> bool {
        let mut ids = self.ids.values();
        self.owned.contains(text) || ids.any(|ids| ids.contains(text))
    }

    pub(crate) fn add_id(&mut self, name: &str, id: &str) {
        let ids = self.ids.entry(name.to_owned()).or_default();
        ids.insert(id.to_owned());
        self.add_text(id);
    }

    /// What only `self` was shown, and what is its own whoever was shown it.
    pub(crate) fn without(&self, other: &Self, public: &BTreeSet<String>) -> Secrets {
        let shown = self.texts.difference(&other.texts);
        let owned = self.owned.difference(&other.owned);
        let is_secret = |text: &&String| !public.contains(*text);
        let texts = shown.chain(owned).filter(is_secret).cloned().collect();
        let mut ids = self.ids.clone();
        for ids in ids.values_mut() {
            ids.retain(|id| !id.is_empty() && !public.contains(id) && !other.names(id));
        }
        Secrets { texts, ids }
    }

    /// Ids for the path parameter `name`: those of this very name first, then all others.
    pub(crate) fn ids_for(&self, name: &str) -> Vec<String> {
        let own = self.ids.get(name).into_iter().flatten();
        let rest = self.ids.iter().filter(|(known, _)| *known != name);
        let rest = rest.flat_map(|(_, ids)| ids);
        let mut seen = BTreeSet::new();
        own.chain(rest)
            .filter(|id| seen.insert(id.as_str()))
            .take(MOST_IDS)
            .cloned()
            .collect()
    }

    /// The ids under each name.
    pub(crate) const fn ids(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.ids
    }

    fn walk(&mut self, name: &str, value: &Value) {
        match value {
            Value::String(text) => match id_name(name) {
                Some(name) => self.add_id(name, text),
                None => self.add_text(text),
            },
            Value::Number(number) => {
                if let Some(name) = id_name(name) {
                    let ids = self.ids.entry(name.to_owned()).or_default();
                    ids.insert(number.to_string());
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.walk(name, item)),
            Value::Object(members) => {
                members
                    .iter()
                    .for_each(|(name, value)| self.walk(name, value));
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
}

/// Every text and number in a document, as text.
pub(crate) fn scalars(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Array(items) => items.iter().flat_map(scalars).collect(),
        Value::Object(members) => members.values().flat_map(scalars).collect(),
        Value::Null | Value::Bool(_) => Vec::new(),
    }
}

/// What an id is called that stands under this name, alone or in a list: `payment_id` for
/// `payment_ids`. `None` where no id stands.
pub(crate) fn id_name(name: &str) -> Option<&str> {
    let one = name.strip_suffix('s').filter(|one| is_id(one));
    one.or(is_id(name).then_some(name))
}

fn is_id(name: &str) -> bool {
    name == "id" || name.ends_with("_id") || name.ends_with("Id")
}

/// Shorter texts stand everywhere.
const SHORTEST: usize = 3;
/// So many ids are tried for one parameter.
const MOST_IDS: usize = 24;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_told_from_texts_and_those_of_the_name_come_first() {
        let mut facts = Facts::default();
        facts.learn(&json!({"data": [
            {"id": "pay_1", "account_id": "acct_1", "amount": {"currency": "EUR"}},
            {"id": 1201, "accountId": "acct_2", "ok": true, "none": null},
        ], "kids": "none", "card_ids": ["card_1"]}));
        assert_eq!(facts.ids_for("card_id")[0], "card_1");
        assert_eq!(facts.ids_for("account_id")[0], "acct_1");
        assert_eq!(facts.ids_for("payment_id").len(), 5);
        let mut other = Facts::default();
        other.learn(&json!({"amount": {"currency": "EUR"}, "note": "ab"}));
        let own = facts.without(&other, &BTreeSet::from(["acct_2".to_owned()]));
        assert_eq!(
            own.all(),
            BTreeSet::from(["1201", "acct_1", "card_1", "none", "pay_1"])
        );
        let all = other.without(&Facts::default(), &BTreeSet::new());
        assert!(all.all().contains("EUR"));
    }
}
