//! What callers say about a company, and the comparison with who they are.

use countersign_core::{AccessContext, ClaimPlace, CompanyId, Denial, Reason};
use http::{HeaderName, Request};

use crate::json::{ClaimTree, Finding};
use crate::params::{Unreadable, path_value, query_values};

/// The places in which callers may name a company.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims {
    pub(crate) path: Vec<Box<str>>,
    pub(crate) query: Vec<Box<str>>,
    pub(crate) headers: Vec<HeaderName>,
    pub(crate) json: ClaimTree,
}

impl Claims {
    /// Compares every claim outside the body with `owner`; whether there was one.
    ///
    /// # Errors
    /// The refusal: `company_mismatch` for the first claim that differs, `misconfigured_stack`
    /// where path claims are expected and nobody found the endpoint.
    pub(crate) fn check_head<B>(
        &self,
        request: &Request<B>,
        context: &AccessContext,
        owner: &CompanyId,
    ) -> Result<bool, Denial> {
        let mut compared = Comparison {
            context,
            owner,
            claimed: false,
        };
        self.check_path(&mut compared)?;
        let query = request.uri().query().unwrap_or("");
        for name in &self.query {
            for value in query_values(query, name) {
                compared.see(ClaimPlace::Query, &value)?;
            }
        }
        for name in &self.headers {
            for value in request.headers().get_all(name) {
                compared.see(ClaimPlace::Header, value.as_bytes())?;
            }
        }
        Ok(compared.claimed)
    }

    fn check_path(&self, compared: &mut Comparison<'_>) -> Result<(), Denial> {
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

    /// Compares every claim in a body; whether there was one.
    ///
    /// # Errors
    /// The refusal: `company_mismatch`, or `malformed_request` for a broken document.
    pub(crate) fn check_document(
        &self,
        document: &[u8],
        context: &AccessContext,
        owner: &CompanyId,
    ) -> Result<bool, Denial> {
        match self.json.check(document, owner) {
            Finding::Absent => Ok(false),
            Finding::Owner => Ok(true),
            Finding::Other(claimed) => Err(mismatch(context, ClaimPlace::Body, claimed)),
            Finding::Malformed => Err(Reason::MalformedRequest.into()),
        }
    }
}

struct Comparison<'a> {
    context: &'a AccessContext,
    owner: &'a CompanyId,
    claimed: bool,
}

impl Comparison<'_> {
    /// Compares bytes: what is not UTF-8 is no company's identifier, and so no match.
    fn see(&mut self, place: ClaimPlace, value: &[u8]) -> Result<(), Denial> {
        if value == self.owner.as_str().as_bytes() {
            self.claimed = true;
            return Ok(());
        }
        let text = std::str::from_utf8(value).ok();
        let claimed = text.and_then(|text| text.parse().ok());
        Err(mismatch(self.context, place, claimed))
    }
}

fn mismatch(context: &AccessContext, place: ClaimPlace, claimed: Option<CompanyId>) -> Denial {
    if let Some(company) = claimed {
        context.claim_company(company);
    }
    Denial::new(Reason::CompanyMismatch).with_claim(place)
}
