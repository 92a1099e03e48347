//! Who changes a key.

use countersign_core::{ActorType, CompanyId, KeyPrefix, ParseError};

use crate::record::KeyRecord;

/// Who makes a change, for the audit log and for what it may touch: an operator of the platform
/// and the service itself any key, a company its own keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Operator(String),
    System(String),
    Company(CompanyId, KeyPrefix),
}

impl Actor {
    /// An operator of the platform, by name.
    ///
    /// # Errors
    /// When the name is not 1 to 64 printable characters.
    pub fn operator(name: &str) -> Result<Self, ParseError> {
        named("operator's name", name).map(|name| Self(Kind::Operator(name)))
    }

    /// A part of the service that acts by itself, by name: a rule against abuse, for example. It may
    /// do what a company may do with its own keys, to any key.
    ///
    /// # Errors
    /// When the name is not 1 to 64 printable characters.
    pub fn system(name: &str) -> Result<Self, ParseError> {
        named("system actor's name", name).map(|name| Self(Kind::System(name)))
    }

    /// A company, by the key that it used.
    #[must_use]
    pub const fn company(company: CompanyId, key: KeyPrefix) -> Self {
        Self(Kind::Company(company, key))
    }

    pub(super) const fn is_operator(&self) -> bool {
        matches!(self.0, Kind::Operator(_))
    }

    /// Whether this record is any of the actor's business.
    pub(super) fn may_touch(&self, record: &KeyRecord) -> bool {
        self.may_touch_company(&record.company)
    }

    pub(super) fn may_touch_company(&self, company: &CompanyId) -> bool {
        match &self.0 {
            Kind::Operator(_) | Kind::System(_) => true,
            Kind::Company(own, _) => own == company,
        }
    }

    pub(super) const fn kind(&self) -> ActorType {
        match self.0 {
            Kind::Operator(_) => ActorType::Operator,
            Kind::System(_) => ActorType::System,
            Kind::Company(..) => ActorType::ApiKey,
        }
    }

    pub(super) fn name(&self) -> String {
        match &self.0 {
            Kind::Operator(name) | Kind::System(name) => name.clone(),
            Kind::Company(_, key) => key.to_string(),
        }
    }
}

fn named(what: &'static str, name: &str) -> Result<String, ParseError> {
    let count = name.chars().count();
    if !(1..=64).contains(&count) || name.chars().any(char::is_control) {
        return Err(ParseError::new(what, "1 to 64 printable characters"));
    }
    Ok(name.to_owned())
}
