//! The test, put together.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use countersign_core::ConfigError;
use countersign_scope_guard::Contract;
use http::{HeaderName, Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use crate::grpc::Methods;
use crate::read::Bounds;
use crate::report::LeakReport;
use crate::run::Run;
use crate::{TestCompany, fill};

/// Calls a service as two companies and looks for what crosses over.
#[derive(Debug, Clone)]
#[must_use]
pub struct LeakTest<S> {
    service: S,
    pub(crate) plan: Plan,
}

/// Everything but the service.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) contract: Contract,
    pub(crate) companies: Vec<TestCompany>,
    pub(crate) queries: Vec<String>,
    pub(crate) headers: Vec<HeaderName>,
    pub(crate) pointers: Vec<String>,
    pub(crate) paths: Vec<String>,
    pub(crate) public: BTreeSet<String>,
    pub(crate) skipped: Vec<(Method, String)>,
    pub(crate) methods: Methods,
    pub(crate) bounds: Bounds,
}

impl<S> LeakTest<S> {
    /// A test of `service`, which takes `Request<Full<Bytes>>` as an axum router does, with the
    /// whole stack around it. `contract` says what there is to call.
    pub fn new(contract: Contract, service: S) -> Self {
        Self {
            service,
            plan: Plan {
                contract,
                companies: Vec::new(),
                queries: Vec::new(),
                headers: Vec::new(),
                pointers: Vec::new(),
                paths: Vec::new(),
                public: BTreeSet::new(),
                skipped: Vec::new(),
                methods: Methods::default(),
                bounds: Bounds::default(),
            },
        }
    }

    /// Says what the messages of gRPC methods look like: what a protocol buffer compiler makes of
    /// their files, with all that they import. Without it no gRPC method can be called, and each is
    /// reported as unreached.
    ///
    /// # Errors
    /// When it can't be read, or is not whole.
    pub fn descriptor_set(mut self, encoded: &[u8]) -> Result<Self, ConfigError> {
        self.plan.methods.add(encoded)?;
        Ok(self)
    }

    /// Adds a company; two are needed.
    pub fn company(mut self, company: TestCompany) -> Self {
        self.plan.companies.push(company);
        self
    }

    /// The stack looks for claims in this query parameter: a foreign one must be refused.
    pub fn claim_query(mut self, name: impl Into<String>) -> Self {
        self.plan.queries.push(name.into());
        self
    }

    /// The stack looks for claims in this header field: a foreign one must be refused.
    pub fn claim_header(mut self, name: HeaderName) -> Self {
        self.plan.headers.push(name);
        self
    }

    /// The stack looks for claims at this JSON pointer (RFC 6901): a foreign one must be refused.
    /// Messages of gRPC calls are no JSON, and nobody looks for claims in them.
    pub fn claim_json(mut self, pointer: impl Into<String>) -> Self {
        self.plan.pointers.push(pointer.into());
        self
    }

    /// This path parameter, or field of a gRPC message, holds a company: it is filled with the
    /// companies' own identifiers.
    pub fn claim_path(mut self, name: impl Into<String>) -> Self {
        self.plan.paths.push(name.into());
        self
    }

    /// A text that everybody may be shown, though only one company happened to be: the name of a
    /// currency or of a status.
    pub fn public(mut self, text: impl Into<String>) -> Self {
        self.plan.public.insert(text.into());
        self
    }

    /// Doesn't call this endpoint. Whoever reads the test sees that nothing was shown of it.
    pub fn skip(mut self, method: Method, template: impl Into<String>) -> Self {
        self.plan.skipped.push((method, template.into()));
        self
    }

    /// How long one answer is waited for and read, from the call to its end: 5 seconds unless set. An
    /// endpoint whose answers never end costs as much with each of its calls, and has some dozens:
    /// give it just the time in which it says what it has.
    pub fn answer_time(mut self, time: Duration) -> Self {
        self.plan.bounds.time = time;
        self
    }

    /// How many bytes of one answer are read: 8 MiB unless set.
    pub fn answer_bytes(mut self, bytes: usize) -> Self {
        self.plan.bounds.bytes = bytes;
        self
    }

    /// Runs the test: both companies' own calls, each company's calls against the other, and a
    /// last look at what both have. One call after the other; a caller that is told to wait waits.
    ///
    /// # Errors
    /// When there are not two different companies, a skipped endpoint, a body, a message or an id is
    /// for nothing in the contract, or a message is not what the descriptors say.
    pub async fn run<R>(mut self) -> Result<LeakReport, ConfigError>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        R: Body,
        R::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        self.plan.read_messages()?;
        self.plan.check()?;
        Ok(Run::new(&self.service, &self.plan).all().await)
    }
}

impl Plan {
    /// Makes a document of each message, with the names that the files have.
    fn read_messages(&mut self) -> Result<(), ConfigError> {
        for company in &mut self.companies {
            for (path, message) in std::mem::take(&mut company.messages) {
                let codec = self.methods.find(&path);
                let codec = codec.ok_or_else(|| ConfigError::new(&path, NOT_DESCRIBED))?;
                let message = codec.document(&message);
                company.add_message(path, codec.takes_many(), message)?;
            }
            for (_, path, body) in &mut company.bodies {
                if let Some(codec) = self.methods.find(path) {
                    let frames = codec.encode(body);
                    *body = frames
                        .and_then(|frames| codec.documents(&frames))
                        .map_err(|problem| ConfigError::new(&*path, problem))?;
                }
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |subject: &str, problem: &str| Err(ConfigError::new(subject, problem));
        match &self.companies[..] {
            [one, other] if one.id != other.id && one.key != other.key => {}
            _ => {
                return refuse(
                    "leak test",
                    "give it two companies, each with a key of its own",
                );
            }
        }
        let bodies = self.companies.iter().flat_map(|company| &company.bodies);
        let bodies = bodies.map(|(method, template, _)| (method, template));
        let skipped = self
            .skipped
            .iter()
            .map(|(method, template)| (method, template));
        for (method, template) in bodies.chain(skipped) {
            if self.contract.find_template(method, template).is_none() {
                return refuse(&format!("{method} {template}"), "it is not in the contract");
            }
        }
        let ids = self.companies.iter().flat_map(|company| &company.ids);
        for (name, _) in ids {
            let mut endpoints = self.contract.endpoints();
            let has = |template| fill::parameters(template).contains(&name.as_str());
            let may = |path| self.methods.find(path).is_some_and(|it| it.has_id(name));
            if !endpoints.any(|endpoint| has(endpoint.template()) || may(endpoint.template())) {
                let problem = "no template of the contract has this parameter, and no message";
                return refuse(name, problem);
            }
        }
        Ok(())
    }
}

const NOT_DESCRIBED: &str = "no descriptor set has this method: give the test one";
