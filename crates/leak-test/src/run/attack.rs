//! One company's calls about the other's things.

use std::collections::BTreeSet;
use std::error::Error;

use bytes::Bytes;
use countersign_core::Endpoint;
use http::{HeaderName, Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde_json::{Map, Value};
use tower_service::Service;

use super::{Run, Sides, reads};
use crate::answer::{Answer, Call};
use crate::facts::{found, scalars};
use crate::fill::{fill, nobodys, parameters};
use crate::report::Kind;

impl<S, R> Run<'_, S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    R: Body,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(super) async fn attack(&mut self, sides: Sides) {
        let (own, foreign) = (&self.facts[sides.caller], &self.facts[sides.owner]);
        let secrets = foreign.without(own, &self.plan.public);
        self.report.facts += secrets.len();
        for (_, endpoint) in self.endpoints() {
            let methods: &[Method] = if reads(endpoint) {
                &[Method::GET, Method::HEAD]
            } else {
                std::slice::from_ref(endpoint.method())
            };
            for method in methods {
                self.foreign_paths(sides, endpoint, method, &secrets).await;
                self.foreign_bodies(sides, endpoint, method, &secrets).await;
                self.foreign_claims(sides, endpoint, method, &secrets).await;
            }
        }
    }

    /// Ids of the owner in the path, beside ids of nobody.
    async fn foreign_paths(
        &mut self,
        sides: Sides,
        endpoint: &'static Endpoint,
        method: &Method,
        secrets: &BTreeSet<String>,
    ) {
        let template = endpoint.template();
        if parameters(template).is_empty() {
            return;
        }
        for values in self.paths(sides.owner, endpoint) {
            let is_foreign = |value: &String| {
                secrets.contains(value) || *value == self.company(sides.owner).id.as_str()
            };
            if !values.iter().any(is_foreign) {
                continue;
            }
            let body = self
                .company(sides.caller)
                .body_for(endpoint.method(), template);
            let call = Call::new(method.clone(), fill(template, &values)).with_body(body);
            let nobodys: Vec<String> = values.iter().map(|value| nobodys(value)).collect();
            let twin = Call {
                target: fill(template, &nobodys),
                ..call.clone()
            };
            self.compare(
                sides,
                endpoint,
                (&call, &values),
                (&twin, &nobodys),
                secrets,
            )
            .await;
            if call.body.is_some() {
                let broken = Call {
                    body: Some(Bytes::from_static(b"{")),
                    ..call
                };
                self.hears_nothing(sides, endpoint, &broken, &values, secrets)
                    .await;
            }
        }
    }

    /// The owner's body, and the caller's with one value of the owner's in it, beside bodies with
    /// values of nobody.
    async fn foreign_bodies(
        &mut self,
        sides: Sides,
        endpoint: &'static Endpoint,
        method: &Method,
        secrets: &BTreeSet<String>,
    ) {
        let template = endpoint.template();
        let body_of = |company: usize| self.company(company).body_for(endpoint.method(), template);
        let (Some(own), Some(foreign)) = (body_of(sides.caller), body_of(sides.owner)) else {
            return;
        };
        let (own, foreign) = (own.clone(), foreign.clone());
        // A company may well use another one's words; the names of its things it may not.
        let facts = &self.facts[sides.owner];
        let names: BTreeSet<String> = secrets
            .iter()
            .filter(|text| facts.names(text))
            .cloned()
            .collect();
        let mut bodies = vec![foreign.clone()];
        bodies.extend(mixtures(&own, &foreign, &names));
        let Some(values) = self.paths(sides.caller, endpoint).into_iter().next() else {
            return;
        };
        for body in bodies {
            let taken: Vec<String> = scalars(&body)
                .into_iter()
                .filter(|text| names.contains(text))
                .collect();
            if taken.is_empty() {
                continue;
            }
            let mut nobody = body.clone();
            replace(&mut nobody, &|text| {
                names.contains(text).then(|| nobodys(text))
            });
            let twin_taken: Vec<String> = taken.iter().map(|text| nobodys(text)).collect();
            let call = Call::new(method.clone(), fill(template, &values)).with_body(Some(&body));
            let twin = call.clone().with_body(Some(&nobody));
            self.compare(
                sides,
                endpoint,
                (&call, &taken),
                (&twin, &twin_taken),
                secrets,
            )
            .await;
        }
    }

    /// The caller's own calls, without a claim and with claims to be the owner, where the stack looks
    /// for them and where it doesn't.
    async fn foreign_claims(
        &mut self,
        sides: Sides,
        endpoint: &'static Endpoint,
        method: &Method,
        secrets: &BTreeSet<String>,
    ) {
        let template = endpoint.template();
        let Some(values) = self.paths(sides.caller, endpoint).into_iter().next() else {
            return;
        };
        let body = self
            .company(sides.caller)
            .body_for(endpoint.method(), template);
        let call = Call::new(method.clone(), fill(template, &values)).with_body(body);
        if reads(endpoint) {
            self.hears_nothing(sides, endpoint, &call, &[], secrets)
                .await;
        }
        // A writing call whose claim is not looked for is the caller's own, and may succeed.
        let undeclared = if reads(endpoint) { CARELESS } else { &[] };
        let owner = self.company(sides.owner).id;
        for (claimed, is_declared) in self.claims(&call, owner.as_str(), undeclared) {
            let Some(answer) = self
                .hears_nothing(sides, endpoint, &claimed, &[owner.to_string()], secrets)
                .await
            else {
                continue;
            };
            if is_declared && answer.is_success() {
                let detail = format!("a claim to be {owner} was answered {}", answer.status);
                self.find(Kind::ForeignAccess, sides.caller, endpoint, detail);
            }
        }
    }

    fn claims(&self, call: &Call, company: &str, careless: &[&str]) -> Vec<(Call, bool)> {
        let mut claims = Vec::new();
        let query = |name: &str| Call {
            target: format!("{}?{name}={company}", call.target),
            ..call.clone()
        };
        let header = |name: HeaderName| Call {
            header: Some((name, company.to_owned())),
            ..call.clone()
        };
        claims.extend(self.plan.queries.iter().map(|name| (query(name), true)));
        claims.extend(
            self.plan
                .headers
                .iter()
                .map(|name| (header(name.clone()), true)),
        );
        let body = call
            .body
            .as_ref()
            .and_then(|body| serde_json::from_slice(body).ok());
        for pointer in &self.plan.pointers {
            let mut body: Value = body.clone().unwrap_or_else(|| Value::Object(Map::new()));
            put(&mut body, pointer, company);
            claims.push((call.clone().with_body(Some(&body)), true));
        }
        for name in careless {
            claims.push((query(name), false));
            let field = format!("x-{}", name.replace('_', "-"));
            claims.extend(field.parse().ok().map(|name| (header(name), false)));
        }
        claims
    }

    /// A call with something foreign in it must fail, and as one with something of nobody does.
    async fn compare(
        &mut self,
        sides: Sides,
        endpoint: &'static Endpoint,
        (call, sent): (&Call, &[String]),
        (twin, twin_sent): (&Call, &[String]),
        secrets: &BTreeSet<String>,
    ) {
        let answer = self
            .hears_nothing(sides, endpoint, call, sent, secrets)
            .await;
        let Some(answer) = answer else { return };
        let named = sent.join(", ");
        let method = &call.method;
        if answer.is_success() {
            let detail = format!("{method} with {named} was answered {}", answer.status);
            self.find(Kind::ForeignAccess, sides.caller, endpoint, detail);
            return;
        }
        let Some(other) = self.call(sides.caller, endpoint, twin).await else {
            return;
        };
        let (one, two) = (answer.outline(sent), other.outline(twin_sent));
        if one != two {
            let line = one.lines().zip(two.lines()).find(|(a, b)| a != b);
            let (a, b) = line.unwrap_or(("", ""));
            let detail = format!("{method} with {named}: `{a}`, with ids of nobody: `{b}`");
            self.find(Kind::Distinguishable, sides.caller, endpoint, detail);
        }
    }

    /// No answer holds what only the owner was shown.
    async fn hears_nothing(
        &mut self,
        sides: Sides,
        endpoint: &'static Endpoint,
        call: &Call,
        sent: &[String],
        secrets: &BTreeSet<String>,
    ) -> Option<Answer> {
        let answer = self.call(sides.caller, endpoint, call).await?;
        if let Some(fact) = found(secrets, &answer, sent) {
            let owner = self.company(sides.owner).id;
            let (method, status) = (&call.method, answer.status);
            let detail = format!("{method} was answered {status} with {fact:?} of {owner}");
            self.find(Kind::ForeignData, sides.caller, endpoint, detail);
        }
        Some(answer)
    }
}

/// `own` with one value of `foreign` at a time, where that one is a secret.
fn mixtures(own: &Value, foreign: &Value, secrets: &BTreeSet<String>) -> Vec<Value> {
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

fn replace(value: &mut Value, other: &impl Fn(&str) -> Option<String>) {
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
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Puts a text at a JSON pointer, making objects on the way.
fn put(value: &mut Value, pointer: &str, text: &str) {
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

/// Where careless handlers read a company: as query parameters, and as header fields with `x-`.
const CARELESS: &[&str] = &[
    "company",
    "company_id",
    "tenant",
    "tenant_id",
    "owner",
    "account_owner",
];

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
        let mut nobody = foreign;
        replace(&mut nobody, &|text| {
            secrets.contains(text).then(|| "?".to_owned())
        });
        assert_eq!(nobody, json!({"from": "?", "card": "?", "note": "m"}));
    }
}
