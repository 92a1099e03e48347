//! A call with blanks in it for ids.

use http::Method;
use serde_json::{Map, Value};

use crate::answer::Call;
use crate::facts::id_name;
use crate::fill::{fill, parameters};
use crate::grpc::Codec;

/// What an endpoint is called with, but for the ids.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    method: Method,
    template: String,
    body: Option<Value>,
    blanks: Vec<Blank>,
    codec: Option<Codec>,
    is_open: bool,
}

/// A place for an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blank {
    /// What the id is called.
    pub(crate) name: String,
    /// What stands there in the message that the company gave.
    pub(crate) given: Option<String>,
    /// Where in the message it is; a parameter of the path has its place there.
    at: Vec<String>,
}

impl Form {
    /// A request over HTTP. Its blanks are the parameters of its path.
    pub(crate) fn http(method: &Method, template: &str, body: Option<&Value>) -> Self {
        let blanks = parameters(template).into_iter().map(|name| Blank {
            name: name.to_owned(),
            given: None,
            at: Vec::new(),
        });
        Self {
            method: method.clone(),
            template: template.to_owned(),
            body: body.cloned(),
            blanks: blanks.collect(),
            codec: None,
            is_open: false,
        }
    }

    /// A gRPC call with the messages of a company, or with one that only has ids in it. Its blanks
    /// are the fields that hold ids.
    pub(crate) fn grpc(
        codec: Codec,
        path: &str,
        sample: Option<&Value>,
        careless: &[&str],
    ) -> Self {
        let body = sample.cloned().unwrap_or_else(|| Value::Object(Map::new()));
        let mut blanks = Vec::new();
        given(&body, &mut Vec::new(), careless, &mut blanks);
        let messages = body.as_array().map_or(1, Vec::len);
        for field in codec.id_fields(careless) {
            for message in 0..messages {
                let number = body.is_array().then(|| message.to_string());
                let at: Vec<String> = number.into_iter().chain(field.clone()).collect();
                // Deep in a message that was given, what the company left out stays out.
                let is_open = sample.is_none() || field.len() == 1;
                if is_open && blanks.iter().all(|known| known.at != at) {
                    let name = field.iter().rfind(|name| !is_number(name));
                    let name = name.map_or("", |name| id_name(name).unwrap_or(name));
                    blanks.push(Blank {
                        name: name.to_owned(),
                        given: None,
                        at,
                    });
                }
            }
        }
        Self {
            method: Method::POST,
            template: path.to_owned(),
            body: Some(body),
            blanks,
            codec: Some(codec),
            is_open: sample.is_none(),
        }
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.codec.is_some()
    }

    /// Whether the company gave no message.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(crate) fn blanks(&self) -> &[Blank] {
        &self.blanks
    }

    /// As this method instead: `HEAD` for `GET`.
    pub(crate) fn with_method(mut self, method: &Method) -> Self {
        self.method = method.clone();
        self
    }

    /// With another body or other messages.
    pub(crate) fn with_body(mut self, body: &Value) -> Self {
        self.body = Some(body.clone());
        self
    }

    /// The call with these values, in the blanks' order; an empty one leaves a message as it is.
    /// `None` where a value can't stand where it should.
    pub(crate) fn fill(&self, values: &[String]) -> Option<Call> {
        let Some(codec) = &self.codec else {
            let target = fill(&self.template, values);
            return Some(Call::new(self.method.clone(), target).with_body(self.body.as_ref()));
        };
        let mut body = self.body.clone()?;
        for (blank, value) in self.blanks.iter().zip(values) {
            if !value.is_empty() {
                set(&mut body, &blank.at, value);
            }
        }
        let frames = codec.encode(&body).ok()?;
        Some(Call::grpc(&self.template, frames, codec.clone()))
    }
}

/// The ids in what a company gave.
fn given(value: &Value, at: &mut Vec<String>, careless: &[&str], found: &mut Vec<Blank>) {
    let text = match value {
        Value::Object(members) => {
            for (name, value) in members {
                at.push(name.clone());
                given(value, at, careless, found);
                at.pop();
            }
            return;
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                at.push(number.to_string());
                given(item, at, careless, found);
                at.pop();
            }
            return;
        }
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) => return,
    };
    let Some(last) = at.iter().rfind(|name| !is_number(name)) else {
        return;
    };
    let name = id_name(last).or(careless.contains(&last.as_str()).then_some(last.as_str()));
    if let Some(name) = name {
        found.push(Blank {
            name: name.to_owned(),
            given: Some(text),
            at: at.clone(),
        });
    }
}

/// Puts a text where a path says, making objects and lists on the way.
fn set(value: &mut Value, path: &[String], text: &str) {
    let mut here = value;
    for step in path {
        here = match step.parse::<usize>() {
            Ok(number) => {
                if !here.is_array() {
                    *here = Value::Array(Vec::new());
                }
                let Value::Array(items) = here else { return };
                if items.len() <= number {
                    items.resize(number + 1, Value::Null);
                }
                &mut items[number]
            }
            Err(_) => {
                if !here.is_object() {
                    *here = Value::Object(Map::new());
                }
                let Value::Object(members) = here else { return };
                members.entry(step.clone()).or_insert(Value::Null)
            }
        };
    }
    *here = Value::String(text.to_owned());
}

fn is_number(step: &str) -> bool {
    step.parse::<usize>().is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_that_were_given_are_blanks() {
        let body = json!([
            {"payment_id": "pay_1", "note": "x", "ids": ["a", "b"]},
            {"inner": {"ownerId": 7, "tenant": "t"}},
        ]);
        let mut found = Vec::new();
        given(&body, &mut Vec::new(), &["tenant"], &mut found);
        let found: Vec<_> = found
            .iter()
            .map(|it| {
                format!(
                    "{} {} {}",
                    it.at.join("/"),
                    it.name,
                    it.given.as_ref().unwrap()
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                "0/ids/0 id a",
                "0/ids/1 id b",
                "0/payment_id payment_id pay_1",
                "1/inner/ownerId ownerId 7",
                "1/inner/tenant tenant t",
            ]
        );
    }

    #[test]
    fn a_text_is_put_where_a_path_says() {
        let mut body = json!({"a": [{"b": "old"}]});
        for path in ["a/0/b", "c/1", "d/e"] {
            let path: Vec<_> = path.split('/').map(str::to_owned).collect();
            set(&mut body, &path, "x");
        }
        assert_eq!(
            body,
            json!({"a": [{"b": "x"}], "c": [null, "x"], "d": {"e": "x"}})
        );
    }
}
