//! Bodies and messages with something foreign in them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::facts::scalars;

/// `own` with one value of `foreign` at a time, where that one is a secret; of messages, all of
/// `own` and one of `foreign` behind them.
pub(super) fn mixtures(own: &Value, foreign: &Value, secrets: &BTreeSet<String>) -> Vec<Value> {
    if let (Value::Array(own), Value::Array(foreign)) = (own, foreign) {
        let mixed = foreign.iter().map(|message| {
            let messages = own.iter().chain([message]);
            Value::Array(messages.cloned().collect())
        });
        return mixed.collect();
    }
    let (Value::Object(own), Value::Object(foreign)) = (own, foreign) else {
        return Vec::new();
    };
    let members = foreign.iter().filter(|(_, value)| {
        let texts = scalars(value);
        texts.iter().any(|text| secrets.contains(text))
    });
    let mixed = members.map(|(name, value)| {
        let mut mixed = own.clone();
        mixed.insert(name.clone(), value.clone());
        Value::Object(mixed)
    });
    mixed.collect()
}

pub(super) fn replace(value: &mut Value, other: &impl Fn(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            if let Some(other) = other(text) {
                *text = other;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, other)),
        Value::Object(members) => members
            .values_mut()
            .for_each(|member| replace(member, other)),
        Value::Number(number) => {
            let other = other(&number.to_string());
            if let Some(other) = other.and_then(|other| other.parse().ok()) {
                *number = other;
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// Puts a text at a JSON pointer, making objects on the way.
pub(super) fn put(value: &mut Value, pointer: &str, text: &str) {
    let mut here = value;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        if !here.is_object() {
            *here = Value::Object(Map::new());
        }
        let Value::Object(members) = here else { return };
        here = members.entry(token).or_insert(Value::Null);
    }
    *here = Value::String(text.to_owned());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_put_where_the_pointer_says() {
        let mut body = json!({"a": 1});
        put(&mut body, "/b/c~1d", "x");
        assert_eq!(body, json!({"a": 1, "b": {"c/d": "x"}}));
        put(&mut body, "/a", "y");
        assert_eq!(body["a"], "y");
    }

    #[test]
    fn one_foreign_value_at_a_time() {
        let secrets = BTreeSet::from(["acct_12".to_owned(), "card_12".to_owned()]);
        let own = json!({"from": "acct_34", "card": "card_34", "note": "n"});
        let foreign = json!({"from": "acct_12", "card": "card_12", "note": "m"});
        let mixed = mixtures(&own, &foreign, &secrets);
        assert_eq!(mixed.len(), 2);
        assert!(mixed.contains(&json!({"from": "acct_12", "card": "card_34", "note": "n"})));
        let messages = |ids: &[&str]| {
            let messages = ids.iter().map(|id| json!({"from": id}));
            Value::Array(messages.collect())
        };
        let mixed = mixtures(&messages(&["acct_34"]), &messages(&["acct_12"]), &secrets);
        assert_eq!(mixed, [messages(&["acct_34", "acct_12"])]);
        let mut nobody = foreign;
        replace(&mut nobody, &|text| {
            secrets.contains(text).then(|| "?".to_owned())
        });
        assert_eq!(nobody, json!({"from": "?", "card": "?", "note": "m"}));
        let mut number = json!({"ids": [12, 34]});
        replace(&mut number, &|text| (text == "12").then(|| "89".to_owned()));
        assert_eq!(number, json!({"ids": [89, 34]}));
    }
}
