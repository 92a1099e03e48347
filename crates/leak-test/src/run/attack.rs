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

use super::bodies::{mixtures, put, replace};
use super::listen::Trial;
use super::{CARELESS, Run, Sides, reads};
use crate::answer::Call;
use crate::facts::scalars;
use crate::fill::nobodys;
use crate::form::Form;
use crate::report::Kind;
use crate::secrets::Secrets;

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
        self.report.facts += secrets.all().len();
        if secrets.all().is_empty() {
            self.nothing_known(sides.owner);
        }
        for (at, endpoint) in self.endpoints() {
            let methods: &[Method] = if reads(endpoint) && !endpoint.is_grpc() {
                &[Method::GET, Method::HEAD]
            } else {
                std::slice::from_ref(endpoint.method())
            };
            for method in methods {
                self.foreign_ids(sides, (at, endpoint), method, &secrets)
                    .await;
                self.foreign_bodies(sides, endpoint, method, &secrets).await;
                self.foreign_claims(sides, (at, endpoint), method, &secrets)
                    .await;
            }
        }
    }

    /// Ids of the owner in the path or in a message, beside ids of nobody.
    async fn foreign_ids(
        &mut self,
        sides: Sides,
        (at, endpoint): (usize, &'static Endpoint),
        method: &Method,
        secrets: &Secrets,
    ) {
        let Some(form) = self.form(sides.caller, endpoint) else {
            return;
        };
        let form = form.with_method(method);
        let own = self.own_values(sides.caller, &form);
        let first = self.own_call(sides.caller, at, endpoint);
        let owner = self.company(sides.owner).id;
        let is_foreign = |value: &String| secrets.contains(value) || *value == owner.as_str();
        for values in self.foreign_values(sides, endpoint, &form, &own) {
            if !values.iter().any(is_foreign) {
                continue;
            }
            let other = |value: &String| match is_foreign(value) {
                true => self.nobodys(value),
                false => value.clone(),
            };
            let others: Vec<String> = values.iter().map(other).collect();
            let alone = [form.fill(&values), form.fill(&others)];
            // A handler may look whose the first message's things are, and no further.
            let after = |call: &Option<Call>| first.as_ref()?.then(call.as_ref()?);
            let after = alone.each_ref().map(after);
            for (calls, is_mixed) in [(alone, false), (after, true)] {
                let [Some(call), Some(twin)] = calls else {
                    continue;
                };
                let trial = Trial {
                    call: (&call, &values),
                    twin: (&twin, &others),
                    is_mixed,
                };
                self.compare(sides, endpoint, trial, secrets).await;
                if call.body.is_some() && call.codec.is_none() {
                    let broken = Call {
                        body: Some(Bytes::from_static(b"{")),
                        ..call
                    };
                    self.hears_nothing(sides, endpoint, &broken, &values, secrets)
                        .await;
                }
            }
        }
    }

    /// An id that neither company was shown.
    fn nobodys(&self, id: &str) -> String {
        nobodys(id, |id| self.facts.iter().any(|facts| facts.names(id)))
    }

    /// What the caller puts into the blanks of a call of its own, where its message leaves them open.
    fn own_values(&self, caller: usize, form: &Form) -> Vec<String> {
        let blanks = form.blanks().iter();
        let own = blanks.map(|blank| {
            let is_open = form.is_open() && !CARELESS.contains(&blank.name.as_str());
            let own = is_open.then(|| self.values(caller, form, blank));
            own.into_iter().flatten().next().unwrap_or_default()
        });
        own.collect()
    }

    /// The owner's ids in all parameters of a path; in the fields of messages one at a time, with
    /// nothing in the others, and with what is the caller's `own`.
    fn foreign_values(
        &self,
        sides: Sides,
        endpoint: &Endpoint,
        form: &Form,
        own: &[String],
    ) -> Vec<Vec<String>> {
        if !form.is_grpc() {
            return self.choices(sides.owner, form);
        }
        let mut all = Vec::new();
        for (at, blank) in form.blanks().iter().enumerate() {
            // A call that changes something, and whose claim nobody looks for, is the caller's own.
            let is_claim = CARELESS.contains(&blank.name.as_str());
            let is_declared = self.plan.paths.contains(&blank.name);
            if is_claim && !is_declared && !reads(endpoint) {
                continue;
            }
            let most = if reads(endpoint) {
                usize::MAX
            } else {
                MOST_WRITES
            };
            let values = self.values(sides.owner, form, blank).into_iter();
            for value in values.take(most) {
                let mut values = vec![String::new(); own.len()];
                values[at] = value;
                all.push(values.clone());
                let others = own.iter().enumerate().filter(|(other, _)| *other != at);
                for (other, own) in others {
                    values[other].clone_from(own);
                }
                all.push(values);
                all.dedup();
            }
        }
        all
    }

    /// The owner's body, and the caller's with one value of the owner's in it, beside bodies with
    /// values of nobody.
    async fn foreign_bodies(
        &mut self,
        sides: Sides,
        endpoint: &'static Endpoint,
        method: &Method,
        secrets: &Secrets,
    ) {
        let template = endpoint.template();
        let body_of = |company: usize| self.company(company).body_for(endpoint.method(), template);
        let (Some(own), Some(foreign)) = (body_of(sides.caller), body_of(sides.owner)) else {
            return;
        };
        let (own, foreign) = (own.clone(), foreign.clone());
        let Some(form) = self.form(sides.caller, endpoint) else {
            return;
        };
        let form = form.with_method(method);
        // A company may well use another one's words; the names of its things it may not.
        let facts = &self.facts[sides.owner];
        let names = secrets.all().into_iter().filter(|text| facts.names(text));
        let names: BTreeSet<String> = names.map(str::to_owned).collect();
        let mut bodies = vec![foreign.clone()];
        bodies.extend(mixtures(&own, &foreign, &names));
        let values = if form.is_grpc() {
            Vec::new()
        } else {
            let own = self.choices(sides.caller, &form).into_iter().next();
            let Some(values) = own else { return };
            values
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
                names.contains(text).then(|| self.nobodys(text))
            });
            let others: Vec<String> = taken.iter().map(|text| self.nobodys(text)).collect();
            let call = form.clone().with_body(&body).fill(&values);
            let twin = form.clone().with_body(&nobody).fill(&values);
            let (Some(call), Some(twin)) = (call, twin) else {
                continue;
            };
            let trial = Trial {
                call: (&call, &taken),
                twin: (&twin, &others),
                is_mixed: own.is_array(),
            };
            self.compare(sides, endpoint, trial, secrets).await;
        }
    }

    /// The caller's own calls, without a claim and with claims to be the owner, where the stack looks
    /// for them and where it doesn't.
    async fn foreign_claims(
        &mut self,
        sides: Sides,
        (at, endpoint): (usize, &'static Endpoint),
        method: &Method,
        secrets: &Secrets,
    ) {
        let Some(call) = self.own_call(sides.caller, at, endpoint) else {
            return;
        };
        let call = Call {
            method: method.clone(),
            ..call
        };
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
                let detail = format!("a claim to be {owner} was answered {}", answer.told());
                self.find(Kind::ForeignAccess, sides.caller, endpoint, detail);
            }
        }
    }

    fn claims(&self, call: &Call, company: &str, careless: &[&str]) -> Vec<(Call, bool)> {
        let mut claims = Vec::new();
        let is_grpc = call.codec.is_some();
        let query = |name: &str| Call {
            target: format!("{}?{name}={company}", call.target),
            ..call.clone()
        };
        let header = |name: HeaderName| Call {
            header: Some((name, company.to_owned())),
            ..call.clone()
        };
        let queries = self.plan.queries.iter().filter(|_| !is_grpc);
        claims.extend(queries.map(|name| (query(name), true)));
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
        for pointer in self.plan.pointers.iter().filter(|_| !is_grpc) {
            let mut body: Value = body.clone().unwrap_or_else(|| Value::Object(Map::new()));
            put(&mut body, pointer, company);
            claims.push((call.clone().with_body(Some(&body)), true));
        }
        for name in careless {
            claims.extend((!is_grpc).then(|| (query(name), false)));
            let field = format!("x-{}", name.replace('_', "-"));
            claims.extend(field.parse().ok().map(|name| (header(name), false)));
        }
        claims
    }
}

/// So many ids are tried for one field of a message that changes something: those of its name come
/// first, and such calls are limited more.
const MOST_WRITES: usize = 6;
