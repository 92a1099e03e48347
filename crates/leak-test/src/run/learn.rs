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
use crate::fill::{fill, parameters};
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
        let plain = |endpoint: &Endpoint| parameters(endpoint.template()).is_empty();
        let (lists, with_ids): (Vec<_>, Vec<_>) = self
            .endpoints()
            .into_iter()
            .partition(|(_, endpoint)| plain(endpoint));
        let (lists, makes): (Vec<_>, Vec<_>) =
            lists.into_iter().partition(|(_, endpoint)| reads(endpoint));
        for (at, endpoint) in lists.iter().chain(&makes).chain(&lists) {
            self.own(company, *at, endpoint, endpoint.template().to_owned())
                .await;
        }
        // What one reading told may be what the next one is asked for.
        for _ in 0..2 {
            for (at, endpoint) in with_ids.iter().filter(|(_, endpoint)| reads(endpoint)) {
                for values in self.paths(company, endpoint) {
                    let target = fill(endpoint.template(), &values);
                    self.own(company, *at, endpoint, target).await;
                }
            }
        }
    }

    /// Takes down what the company's readings look like; those that differ by themselves are left
    /// out.
    pub(super) async fn look(&mut self, company: usize) {
        for (at, endpoint) in self.readings() {
            for target in self.targets(company, endpoint) {
                let mut outlines = Vec::new();
                for _ in 0..2 {
                    if let Some(answer) = self.own(company, at, endpoint, target.clone()).await {
                        outlines.push(answer.outline(&[]));
                    }
                }
                if let [first, second] = &outlines[..]
                    && first == second
                {
                    self.before[company].insert((at, target), second.clone());
                }
            }
        }
    }

    /// Whether the company's readings are what they were before.
    pub(super) async fn look_again(&mut self, company: usize) {
        for ((at, target), before) in self.before[company].clone() {
            let Some((_, endpoint)) = self.readings().into_iter().find(|(known, _)| *known == at)
            else {
                continue;
            };
            let answer = self.own(company, at, endpoint, target).await;
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
            let targets = self.targets(company, endpoint);
            for target in targets {
                if self.reached[company].contains(&at) {
                    break;
                }
                self.own(company, at, endpoint, target).await;
            }
            if !self.reached[company].contains(&at) {
                let detail =
                    "no call of its own succeeded: give the company a body or an id for it";
                self.find(Kind::Unreached, company, endpoint, detail.to_owned());
            }
        }
    }

    fn readings(&self) -> Vec<(usize, &'static Endpoint)> {
        let all = self.endpoints().into_iter();
        all.filter(|(_, endpoint)| reads(endpoint)).collect()
    }

    fn targets(&self, company: usize, endpoint: &Endpoint) -> Vec<String> {
        let paths = self.paths(company, endpoint).into_iter();
        paths
            .map(|values| fill(endpoint.template(), &values))
            .collect()
    }

    /// A call of a company for itself. What it is shown, it knows.
    async fn own(
        &mut self,
        company: usize,
        at: usize,
        endpoint: &'static Endpoint,
        target: String,
    ) -> Option<Answer> {
        let body = self
            .company(company)
            .body_for(endpoint.method(), endpoint.template());
        let call = Call::new(endpoint.method().clone(), target).with_body(body);
        let answer = self.call(company, endpoint, &call).await?;
        if answer.is_success() {
            self.reached[company].insert(at);
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
