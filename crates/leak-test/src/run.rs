//! The test under way.

mod attack;
mod bodies;
mod learn;
mod listen;

use std::collections::BTreeMap;
use std::error::Error;

use bytes::Bytes;
use countersign_core::{Endpoint, OperationType};
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use crate::TestCompany;
use crate::answer::{Answer, Call};
use crate::facts::Facts;
use crate::fill::choices;
use crate::form::{Blank, Form};
use crate::report::{Finding, Kind, LeakReport};
use crate::test::Plan;

pub(crate) struct Run<'a, S> {
    service: &'a S,
    plan: &'a Plan,
    /// What each company was shown.
    facts: [Facts; 2],
    /// Which endpoints each company reached, and with which call.
    reached: [BTreeMap<usize, Call>; 2],
    /// What each company's own readings looked like before anybody attacked.
    before: [Vec<(usize, Call, String)>; 2],
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
            reached: [BTreeMap::new(), BTreeMap::new()],
            before: [Vec::new(), Vec::new()],
            report: LeakReport::default(),
        }
    }

    pub(crate) async fn all(mut self) -> LeakReport {
        for company in 0..2 {
            self.learn(company).await;
        }
        for (caller, owner) in [(0, 1), (1, 0)] {
            self.look(owner).await;
            self.attack(Sides { caller, owner }).await;
            self.look_again(owner).await;
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

    /// What `company` calls `endpoint` with, but for ids. `None` for a gRPC method that no descriptor
    /// set told of.
    fn form(&self, company: usize, endpoint: &Endpoint) -> Option<Form> {
        let (method, template) = (endpoint.method(), endpoint.template());
        let body = self.company(company).body_for(method, template);
        if endpoint.is_grpc() {
            let codec = self.plan.methods.find(template)?;
            return Some(Form::grpc(codec, template, body, CARELESS));
        }
        Some(Form::http(method, template, body))
    }

    /// What `company` could put into a blank, of its own.
    fn values(&self, company: usize, form: &Form, blank: &Blank) -> Vec<String> {
        let declared = self.plan.paths.contains(&blank.name);
        if declared || (form.is_grpc() && CARELESS.contains(&blank.name.as_str())) {
            vec![self.company(company).id.to_string()]
        } else {
            self.facts[company].ids_for(&blank.name)
        }
    }

    /// Everything that `company` could put into the blanks of a form.
    fn choices(&self, company: usize, form: &Form) -> Vec<Vec<String>> {
        let blanks = form.blanks().iter();
        let lists: Vec<_> = blanks
            .map(|blank| self.values(company, form, blank))
            .collect();
        choices(&lists)
    }

    /// The calls of `endpoint` that `company` makes for itself. Of a gRPC method the message that it
    /// gave comes first; a method that changes something is called with that one alone.
    fn calls(&self, company: usize, endpoint: &Endpoint) -> Vec<Call> {
        let Some(form) = self.form(company, endpoint) else {
            return Vec::new();
        };
        let chosen = if form.is_grpc() {
            let is_given = form.blanks().iter().any(|blank| blank.given.is_some());
            let own = form.blanks().iter().map(|blank| {
                let others = !is_given || (reads(endpoint) && blank.given.is_some());
                let others = others.then(|| self.values(company, &form, blank));
                let mut list = vec![String::new()];
                list.extend(others.into_iter().flatten());
                list
            });
            choices(&own.collect::<Vec<_>>())
        } else {
            self.choices(company, &form)
        };
        chosen
            .iter()
            .filter_map(|values| form.fill(values))
            .collect()
    }

    /// The call of `endpoint` that `company` made with success, or one that it could make.
    fn own_call(&self, company: usize, at: usize, endpoint: &Endpoint) -> Option<Call> {
        let known = self.reached[company].get(&at).cloned();
        known.or_else(|| self.calls(company, endpoint).into_iter().next())
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
        let why = match call.send(self.service, key, self.plan.bounds).await {
            Ok(answer) if !answer.is_failure() => return Some(answer),
            Ok(answer) => format!("answered {}", answer.told()),
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
    let is_reading_call = endpoint.is_grpc() && endpoint.operation() == OperationType::Read;
    is_reading_call || *endpoint.method() == Method::GET
}

/// Where careless handlers read a company: as query parameters, as header fields with `x-`, and as
/// fields of messages.
const CARELESS: &[&str] = &[
    "company",
    "company_id",
    "tenant",
    "tenant_id",
    "owner",
    "account_owner",
];
