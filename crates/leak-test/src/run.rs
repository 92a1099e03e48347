//! The test under way.

mod attack;
mod learn;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use bytes::Bytes;
use countersign_core::Endpoint;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use crate::TestCompany;
use crate::answer::{Answer, Call};
use crate::facts::Facts;
use crate::fill::{choices, parameters};
use crate::report::{Finding, Kind, LeakReport};
use crate::test::Plan;

pub(crate) struct Run<'a, S> {
    service: &'a S,
    plan: &'a Plan,
    /// What each company was shown.
    facts: [Facts; 2],
    /// Which endpoints each company reached.
    reached: [BTreeSet<usize>; 2],
    /// What each company's own readings looked like before anybody attacked.
    before: [BTreeMap<(usize, String), String>; 2],
    report: LeakReport,
}

/// Who calls, and about whose things.
#[derive(Debug, Clone, Copy)]
struct Sides {
    caller: usize,
    owner: usize,
}

impl<'a, S, R> Run<'a, S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    R: Body,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(crate) fn new(service: &'a S, plan: &'a Plan) -> Self {
        Self {
            service,
            plan,
            facts: [Facts::default(), Facts::default()],
            reached: [BTreeSet::new(), BTreeSet::new()],
            before: [BTreeMap::new(), BTreeMap::new()],
            report: LeakReport::default(),
        }
    }

    pub(crate) async fn all(mut self) -> LeakReport {
        for company in 0..2 {
            self.learn(company).await;
        }
        for company in 0..2 {
            self.look(company).await;
        }
        for (caller, owner) in [(0, 1), (1, 0)] {
            self.attack(Sides { caller, owner }).await;
        }
        for company in 0..2 {
            self.look_again(company).await;
        }
        for company in 0..2 {
            self.end(company).await;
        }
        self.report
    }

    /// The endpoints that are tested, by their number.
    fn endpoints(&self) -> Vec<(usize, &'static Endpoint)> {
        let skipped = |endpoint: &Endpoint| {
            let mut skipped = self.plan.skipped.iter();
            skipped.any(|(method, path)| endpoint.method() == method && endpoint.template() == path)
        };
        let all = self.plan.contract.endpoints().enumerate();
        all.filter(|(_, endpoint)| !skipped(endpoint)).collect()
    }

    fn company(&self, at: usize) -> &'a TestCompany {
        &self.plan.companies[at]
    }

    /// Everything that `company` could put into the path of `endpoint`.
    fn paths(&self, company: usize, endpoint: &Endpoint) -> Vec<Vec<String>> {
        let lists: Vec<Vec<String>> = parameters(endpoint.template())
            .into_iter()
            .map(|name| {
                if self.plan.paths.iter().any(|path| path == name) {
                    vec![self.company(company).id.to_string()]
                } else {
                    self.facts[company].ids_for(name)
                }
            })
            .collect();
        choices(&lists)
    }

    /// Calls, and reports a failure: a call that failed shows nothing.
    async fn call(
        &mut self,
        caller: usize,
        endpoint: &'static Endpoint,
        call: &Call,
    ) -> Option<Answer> {
        self.report.calls += 1;
        let key = &self.company(caller).key;
        let why = match call.send(self.service, key).await {
            Ok(answer) if !answer.is_failure() => return Some(answer),
            Ok(answer) => format!("answered {}", answer.status),
            Err(error) => error,
        };
        self.find(Kind::Failed, caller, endpoint, why);
        None
    }

    fn find(&mut self, kind: Kind, caller: usize, endpoint: &'static Endpoint, detail: String) {
        let caller = self.company(caller).id;
        self.report.add(Finding {
            kind,
            endpoint,
            caller,
            detail,
        });
    }
}

fn reads(endpoint: &Endpoint) -> bool {
    *endpoint.method() == Method::GET
}
