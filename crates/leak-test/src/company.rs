//! One of the companies of a test.

use std::fmt;

use countersign_core::{CompanyId, ConfigError};
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
    pub(crate) messages: Vec<(String, Vec<u8>)>,
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
            messages: Vec::new(),
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

    /// A body with which this company may call an endpoint, with its own ids in it. For a gRPC method
    /// ([`Method::POST`] and its path) it is the message in the JSON form of protocol buffers, or a
    /// list of messages.
    pub fn body(mut self, method: Method, template: impl Into<String>, body: Value) -> Self {
        self.bodies.push((method, template.into(), body));
        self
    }

    /// A message with which this company may call a gRPC method (`/package.Service/Method`), with its
    /// own ids in it: what `prost::Message::encode_to_vec` gives. Where a call may have several
    /// messages, all that are given here go into one call, in this order.
    pub fn message(mut self, path: impl Into<String>, encoded: impl Into<Vec<u8>>) -> Self {
        self.messages.push((path.into(), encoded.into()));
        self
    }

    pub(crate) fn add_message(
        &mut self,
        path: String,
        is_one_of_many: bool,
        message: Result<Value, String>,
    ) -> Result<(), ConfigError> {
        let message = message.map_err(|problem| ConfigError::new(&*path, problem))?;
        let mut known = self.bodies.iter_mut();
        match known.find(|(method, known, _)| *method == Method::POST && *known == path) {
            Some((_, _, Value::Array(messages))) if is_one_of_many => messages.push(message),
            Some(_) => {
                let problem = "a call has one message, and the company gave more than that";
                return Err(ConfigError::new(path, problem));
            }
            None if is_one_of_many => {
                let messages = Value::Array(vec![message]);
                self.bodies.push((Method::POST, path, messages));
            }
            None => self.bodies.push((Method::POST, path, message)),
        }
        Ok(())
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
