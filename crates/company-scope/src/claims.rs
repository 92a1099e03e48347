//! What callers say about a company, and the comparison with who they are.

use countersign_core::{
    AccessContext, ClaimPlace, CompanyId, ConfigError, Denial, Endpoint, Reason,
};
use http::{HeaderName, Request};

use crate::chosen::{Choice, Foreign};
use crate::json::{ClaimTree, Finding};
use crate::params::{Unreadable, has_parameter, path_value, query_values};

/// The places in which callers may name a company.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims {
    pub(crate) path: Vec<Box<str>>,
    pub(crate) query: Vec<Box<str>>,
    pub(crate) headers: Vec<HeaderName>,
    pub(crate) json: ClaimTree,
}

impl Claims {
    /// Whether each name can be found in requests for `endpoints`.
    pub(crate) fn check_names(&self, endpoints: &[&Endpoint]) -> Result<(), ConfigError> {
        for (place, names) in [("path", &self.path), ("query", &self.query)] {
            if names.iter().any(|name| name.is_empty()) {
                return Err(ConfigError::new(
                    format!("{place} claim"),
                    "its name is empty",
                ));
            }
        }
        let has = |name: &str| {
            let mut endpoints = endpoints.iter();
            endpoints.any(|endpoint| has_parameter(endpoint.template(), name))
        };
        match self.path.iter().find(|name| !has(name)) {
            None => Ok(()),
            Some(name) => Err(ConfigError::new(
                format!("path claim {name}"),
                "no template of the contract has this parameter",
            )),
        }
    }

    /// Takes every claim outside the body into `choice`.
    ///
    /// # Errors
    /// The refusal: `company_mismatch` for the first claim that differs, `misconfigured_stack`
    /// where path claims are expected and nobody found the endpoint.
    pub(crate) fn check_head<B>(
        &self,
        request: &Request<B>,
        context: &AccessContext,
        choice: &mut Choice<'_>,
    ) -> Result<(), Denial> {
        let mut compared = Comparison { context, choice };
        if !self.path.is_empty() {
            self.check_path(&mut compared)?;
        }
        for name in &self.query {
            let query = request.uri().query().unwrap_or("");
            for value in query_values(query, name) {
                compared.see(ClaimPlace::Query, &value)?;
            }
        }
        for name in &self.headers {
            for value in request.headers().get_all(name) {
                compared.see(ClaimPlace::Header, value.as_bytes())?;
            }
        }
        Ok(())
    }

    fn check_path(&self, compared: &mut Comparison<'_, '_, '_>) -> Result<(), Denial> {
        let context = compared.context;
        for name in &self.path {
            let matched = context.matched().ok_or_else(|| {
                let missing = "endpoint: a contract layer outside this one, for its path claims";
                context.misconfigured("company-scope", missing)
            })?;
            match path_value(matched.endpoint.template(), matched.target.path(), name) {
                Ok(None) => {}
                Ok(Some(value)) => compared.see(ClaimPlace::Path, &value)?,
                Err(Unreadable) => return Err(mismatch(context, ClaimPlace::Path, None)),
            }
        }
        Ok(())
    }

    /// Takes every claim in a body into `choice`.
    ///
    /// # Errors
    /// The refusal: `company_mismatch`, or `malformed_request` for a broken document.
    pub(crate) fn check_document(
        &self,
        document: &[u8],
        context: &AccessContext,
        choice: &mut Choice<'_>,
    ) -> Result<(), Denial> {
        match self.json.check(document, choice) {
            Finding::Agreed => Ok(()),
            Finding::Other(claimed) => Err(mismatch(context, ClaimPlace::Body, claimed)),
            Finding::Malformed => Err(Reason::MalformedRequest.into()),
        }
    }
}

struct Comparison<'a, 'c, 'i> {
    context: &'a AccessContext,
    choice: &'c mut Choice<'i>,
}

impl Comparison<'_, '_, '_> {
    fn see(&mut self, place: ClaimPlace, value: &[u8]) -> Result<(), Denial> {
        let seen = self.choice.see(value);
        seen.map_err(|Foreign(claimed)| mismatch(self.context, place, claimed))
    }
}

fn mismatch(context: &AccessContext, place: ClaimPlace, claimed: Option<CompanyId>) -> Denial {
    if let Some(company) = claimed {
        context.claim_company(company);
    }
    Denial::new(Reason::CompanyMismatch).with_claim(place)
}
