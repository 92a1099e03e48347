//! The contract from an `OpenAPI` document, and back: 3.0 and 3.1, in YAML or JSON.
//!
//! A document is read as it is written, member by member, and what is not understood is a
//! located fault ([`DocumentError`]): an endpoint is never open because of a member that was
//! passed over. References lead to places of the same document alone; nothing is ever fetched.
//!
//! | of an operation | says |
//! |---|---|
//! | `security` | scopes: any of its alternatives, all of the scopes of one (in 3.0 only of `oauth2` and `openIdConnect` schemes) |
//! | `x-countersign-scope` | the same where `security` can't: `accounts:read`, `{allOf: […]}`, `{anyOf: […]}` |
//! | `x-countersign-operation` | `read`, `write`, `webhook`, `administration`; by the method unless given |
//! | `x-countersign-sensitivity` | `normal`, `sensitive` |
//! | `x-countersign-cost` | how many times the units of every limit a call takes |
//! | `x-countersign-limit` | a quota of its own: `{burst: 20, refill: 5, seconds: 60}` |
//! | `x-countersign-stage` | `draft`, `beta`, `ga`, `deprecated`, `retired` |
//! | `deprecated`, `x-countersign-deprecation` | `{since: …, sunset: …, link: …}` |
//!
//! | of the document | says |
//! |---|---|
//! | `x-countersign-scopes`, and the scopes of `OAuth` flows | the [`ScopeRegistry`](crate::ScopeRegistry) |
//! | `x-countersign-wildcards` | `true` switches wildcards on |
//! | `servers` | the path before every template |
//!
//! ```
//! use countersign_scope_guard::openapi::OpenApi;
//!
//! let document = OpenApi::parse("payments.yaml", r#"
//! openapi: 3.1.0
//! info: {title: Payments, version: "1"}
//! servers: [{url: https://api.example.com/v1}]
//! components:
//!   securitySchemes:
//!     key: {type: apiKey, in: header, name: X-Api-Key}
//! paths:
//!   /accounts:
//!     get:
//!       security: [{key: ["accounts:read"]}]
//!       responses: {"200": {description: All accounts}}
//! "#)?;
//! let contract = document.contract()?;
//! let endpoint = contract.endpoints().next().expect("the document has one operation");
//! assert_eq!(endpoint.template(), "/v1/accounts");
//! assert_eq!(endpoint.required_scope().map(|it| it.as_str()), Some("accounts:read"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod changes;
mod closed;
mod describe;
mod endpoints;
mod error;
mod extension;
mod keywords;
mod node;
mod overlaps;
mod parts;
mod publish;
mod read;
mod refs;
mod refusals;
mod same;
mod schema;
mod scopes;
mod style;
mod text;

use std::fmt;
use std::path::Path;

use countersign_core::Endpoint;

use self::error::Faults;
use self::node::Node;
use self::scopes::Scopes;
use crate::Contract;

pub use changes::Change;
pub use error::{DocumentError, Fault};
pub use text::MAX_DOCUMENT;

/// An `OpenAPI` document whose text, version and references are in order.
#[derive(Clone)]
pub struct OpenApi {
    name: Box<str>,
    version: Version,
    root: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V30,
    V31,
}

impl OpenApi {
    /// Reads the document in a file.
    ///
    /// # Errors
    /// When the file can't be read, and as [`OpenApi::parse`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, DocumentError> {
        let path = path.as_ref();
        let text = text::read(path)?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads a document; `name` stands in errors.
    ///
    /// # Errors
    /// When the text is longer than [`MAX_DOCUMENT`], neither JSON nor YAML, nested more than a
    /// hundred levels deep, or says a member twice; when its version is none of 3.0 and 3.1; when a
    /// reference leads out of the document, nowhere or back to itself; when it has an extension
    /// `x-countersign-…` that means nothing.
    pub fn parse(name: &str, text: &str) -> Result<Self, DocumentError> {
        let root = text::parse(name, text)?;
        let version =
            version(&root).map_err(|(at, problem)| DocumentError::one(name, at, problem))?;
        let mut faults = Faults::default();
        refs::check(&root, &mut faults);
        faults.into_result(name)?;
        Ok(Self {
            name: name.into(),
            version,
            root,
        })
    }

    /// The contract that the document says.
    ///
    /// # Errors
    /// Everything in the document that can't be taken as it stands: an endpoint without a scope,
    /// or with one that the document's list lacks; one that stands twice, or whose template
    /// overlaps another so that readers differ; a template that no permitted target can match, or
    /// whose parameters are not described; a security scheme by which no key is ever read; an
    /// extension with a value that it can't have.
    pub fn contract(&self) -> Result<Contract, DocumentError> {
        let mut faults = Faults::default();
        let endpoints = self.endpoints(&mut faults);
        let scopes = Scopes::read(&self.root, self.version, &mut Faults::default());
        faults.into_result(&self.name)?;
        let mut builder = Contract::builder().endpoints(endpoints);
        if let Some(registry) = scopes.into_registry() {
            builder = builder.registry(registry);
        }
        builder.build().map_err(|error| {
            // What is checked here was checked with its place before.
            DocumentError::one(&self.name, "#/paths", error.to_string())
        })
    }

    /// The document as YAML.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(&self.root).expect("texts, numbers, lists and maps can be written")
    }

    /// The document as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(&self.root);
        text.expect("texts, numbers, lists and maps can be written")
    }

    /// The endpoints that can be taken; faults for the others.
    fn endpoints(&self, faults: &mut Faults) -> Vec<Endpoint> {
        self.operations(faults)
            .into_iter()
            .map(|(_, endpoint)| endpoint)
            .collect()
    }

    /// The operations and their endpoints.
    fn operations(&self, faults: &mut Faults) -> Vec<(read::Operation<'_>, Endpoint)> {
        let scopes = Scopes::read(&self.root, self.version, faults);
        let mut found = Vec::new();
        for operation in read::operations(&self.root, faults) {
            let rule = scopes.of(operation.node, &operation.at, faults);
            let endpoint = Endpoint::new(operation.method.clone(), &*operation.template);
            let endpoint = extension::apply(endpoint, operation.node, &operation.at, faults);
            if let (Some(rule), Some(endpoint)) = (rule, endpoint) {
                found.push((operation, endpoint.scopes(rule)));
            }
        }
        found
    }
}

impl fmt::Debug for OpenApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenApi")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// What a document is called does not count.
impl PartialEq for OpenApi {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root
    }
}

fn version(root: &Node) -> Result<Version, (&'static str, String)> {
    if root.as_map().is_none() {
        return Err(("#", "an OpenAPI document is a map".to_owned()));
    }
    let advice = "documents of OpenAPI 3.0 and 3.1 are read";
    let Some(version) = root.get("openapi") else {
        let at = if root.get("swagger").is_some() {
            "#/swagger"
        } else {
            "#"
        };
        let problem =
            format!("there is no member `openapi`: {advice}, which begin with its version");
        return Err((at, problem));
    };
    let number = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
    let text = version.as_text().unwrap_or_default();
    let rest = |start| text.strip_prefix(start).is_some_and(number);
    match (rest("3.0."), rest("3.1.")) {
        (true, _) => Ok(Version::V30),
        (_, true) => Ok(Version::V31),
        _ if version.as_text().is_none() => Err((
            "#/openapi",
            "the version is a text with three numbers: \"3.1.0\"".to_owned(),
        )),
        _ => Err((
            "#/openapi",
            format!("version `{text}` is not known: {advice}, such as \"3.1.0\""),
        )),
    }
}
