//! One of the companies of a test.

use std::fmt;

use countersign_core::CompanyId;
use http::Method;
use serde_json::Value;

/// A company, a key of it, and what the test can't find out by itself.
#[derive(Clone)]
#[must_use]
pub struct TestCompany {
    pub(crate) id: CompanyId,
    pub(crate) key: String,
    pub(crate) ids: Vec<(String, String)>,
    pub(crate) owned: Vec<String>,
    pub(crate) bodies: Vec<(Method, String, Value)>,
}

impl TestCompany {
    /// The company `id`, with a raw key that may call every endpoint. It goes into `X-Api-Key`.
    pub fn new(id: CompanyId, key: impl Into<String>) -> Self {
        Self {
            id,
            key: key.into(),
            ids: Vec::new(),
            owned: Vec::new(),
            bodies: Vec::new(),
        }
    }

    /// An id of the company's for the path parameter `name`, where no answer tells one. A resource
    /// that the endpoint may end.
    pub fn id(mut self, name: impl Into<String>, id: impl Into<String>) -> Self {
        self.ids.push((name.into(), id.into()));
        self
    }

    /// A text that is this company's and no other company may be shown.
    pub fn owns(mut self, text: impl Into<String>) -> Self {
        self.owned.push(text.into());
        self
    }

    /// A body with which this company may call an endpoint, with its own ids in it.
    pub fn body(mut self, method: Method, template: impl Into<String>, body: Value) -> Self {
        self.bodies.push((method, template.into(), body));
        self
    }

    pub(crate) fn body_for(&self, method: &Method, template: &str) -> Option<&Value> {
        let mut bodies = self.bodies.iter();
        bodies
            .find(|(known, path, _)| known == method && path == template)
            .map(|(_, _, body)| body)
    }
}

impl fmt::Debug for TestCompany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCompany")
            .field("id", &self.id)
            .field("key", &"[redacted]")
            .finish_non_exhaustive()
    }
}
