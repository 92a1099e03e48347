//! What each company's own calls show.

use std::error::Error;

use bytes::Bytes;
use countersign_core::Endpoint;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::{Run, reads};
use crate::answer::{Answer, Call};
use crate::report::Kind;

impl<S, R> Run<'_, S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    R: Body,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Reads everything, makes everything that needs no id, and reads with the ids that came out.
    pub(super) async fn learn(&mut self, company: usize) {
        let given = self.company(company);
        for text in &given.owned {
            self.facts[company].add_owned(text);
        }
        for (name, id) in &given.ids {
            self.facts[company].add_owned(id);
            self.facts[company].add_id(name, id);
        }
        for (_, _, body) in &given.bodies {
            self.facts[company].own(body);
        }
        let (lists, rest): (Vec<_>, Vec<_>) = self
            .endpoints()
            .into_iter()
            .partition(|(_, endpoint)| reads(endpoint) && self.has_no_blank(company, endpoint));
        let (with_ids, makes): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|(_, endpoint)| reads(endpoint));
        let makes = makes.into_iter();
        let makes: Vec<_> = makes
            .filter(|(_, endpoint)| self.makes(company, endpoint))
            .collect();
        for (at, endpoint) in lists.iter().chain(&makes).chain(&lists) {
            if let Some(call) = self.calls(company, endpoint).into_iter().next() {
                self.own(company, *at, endpoint, call).await;
            }
        }
        // What one reading told may be what the next one is asked for.
        for _ in 0..2 {
            for (at, endpoint) in &with_ids {
                for call in self.calls(company, endpoint) {
                    self.own(company, *at, endpoint, call).await;
                }
            }
        }
    }

    fn has_no_blank(&self, company: usize, endpoint: &Endpoint) -> bool {
        let form = self.form(company, endpoint);
        form.is_some_and(|form| form.blanks().is_empty())
    }

    /// Whether it makes something, so that calling it ends nothing that is still to be looked at. Of a
    /// gRPC method only its name tells.
    fn makes(&self, company: usize, endpoint: &Endpoint) -> bool {
        if !endpoint.is_grpc() {
            return self.has_no_blank(company, endpoint);
        }
        let name = endpoint.template().rsplit('/').next();
        name.is_some_and(|name| MAKERS.iter().any(|maker| name.starts_with(maker)))
    }

    /// Takes down what the company's readings look like; those that differ by themselves, or have no
    /// end to compare, are left out.
    pub(super) async fn look(&mut self, company: usize) {
        for (at, endpoint) in self.readings() {
            for call in self.calls(company, endpoint) {
                let mut outlines = Vec::new();
                for _ in 0..2 {
                    let answer = self.own(company, at, endpoint, call.clone()).await;
                    let answer = answer.filter(Answer::is_whole);
                    outlines.extend(answer.map(|answer| answer.outline(&[])));
                }
                if let [first, second] = &outlines[..]
                    && first == second
                {
                    self.before[company].push((at, call, second.clone()));
                }
            }
        }
    }

    /// Whether the company's readings are what they were before.
    pub(super) async fn look_again(&mut self, company: usize) {
        for (at, call, before) in self.before[company].clone() {
            let Some((_, endpoint)) = self.readings().into_iter().find(|(known, _)| *known == at)
            else {
                continue;
            };
            let answer = self.own(company, at, endpoint, call).await;
            if answer.is_some_and(|answer| answer.outline(&[]) != before) {
                let detail = "its own reading is not what it was before the other company's calls";
                self.find(Kind::Touched, company, endpoint, detail.to_owned());
            }
        }
    }

    /// Uses up what the company has, so that each endpoint was reached by somebody who may; and
    /// reports those that were not.
    pub(super) async fn end(&mut self, company: usize) {
        for (at, endpoint) in self.endpoints() {
            for call in self.calls(company, endpoint) {
                if self.reached[company].contains_key(&at) {
                    break;
                }
                self.own(company, at, endpoint, call).await;
            }
            if !self.reached[company].contains_key(&at) {
                let detail = if self.form(company, endpoint).is_none() {
                    "no descriptor set has this method: give the test one"
                } else if endpoint.is_grpc() {
                    "no call of its own succeeded: give the company a message or an id for it"
                } else {
                    "no call of its own succeeded: give the company a body or an id for it"
                };
                self.find(Kind::Unreached, company, endpoint, detail.to_owned());
            }
        }
    }

    /// Reports that nothing is known of a company that is its alone.
    pub(super) fn nothing_known(&mut self, company: usize) {
        let readings = self.readings();
        let of = if readings.is_empty() {
            self.endpoints()
        } else {
            readings
        };
        for (_, endpoint) in of {
            let detail = "it told nothing that is this company's alone, so nothing was looked for: name \
                          something with TestCompany::owns or TestCompany::id";
            self.find(Kind::NothingKnown, company, endpoint, detail.to_owned());
        }
    }

    fn readings(&self) -> Vec<(usize, &'static Endpoint)> {
        let all = self.endpoints().into_iter();
        all.filter(|(_, endpoint)| reads(endpoint)).collect()
    }

    /// A call of a company for itself. What it is shown, it knows.
    async fn own(
        &mut self,
        company: usize,
        at: usize,
        endpoint: &'static Endpoint,
        call: Call,
    ) -> Option<Answer> {
        let answer = self.call(company, endpoint, &call).await?;
        if answer.is_success() {
            self.reached[company].entry(at).or_insert(call);
            if let Some(json) = answer.json() {
                self.facts[company].learn(&json);
                if !reads(endpoint) {
                    self.facts[company].own(&json);
                }
            }
        }
        Some(answer)
    }
}

/// What the names of gRPC methods begin with that make something.
const MAKERS: &[&str] = &["Add", "Create", "Insert", "Issue", "Make", "Register"];
