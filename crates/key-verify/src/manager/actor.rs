//! Who changes a key.

use countersign_core::{
    ActorType, CompanyId, Identity, KeyPrefix, ParseError, ScopeSet, Subsidiaries, is_printable,
};

use crate::record::KeyRecord;

/// Who makes a change, for the audit log and for what it may touch: an operator of the platform
/// and the service itself any key, a company its own keys of one environment: a sandbox key touches no
/// production key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Operator(String),
    System(String),
    Company(CompanyId, KeyPrefix, Option<Bounds>),
}

/// What a key was verified with for a request, and may hand on: a successor that could do more would
/// be a way to have more. Its networks, limits and end are those of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bounds {
    scopes: ScopeSet,
    subsidiaries: Subsidiaries,
}

impl Actor {
    /// An operator of the platform, by name.
    ///
    /// # Errors
    /// When the name is not 1 to 64 characters that [show as what they are](is_printable).
    pub fn operator(name: &str) -> Result<Self, ParseError> {
        named("operator's name", name).map(|name| Self(Kind::Operator(name)))
    }

    /// A part of the service that acts by itself, by name: a rule against abuse, for example. It may
    /// do what a company may do with its own keys, to any key.
    ///
    /// # Errors
    /// When the name is not 1 to 64 characters that [show as what they are](is_printable).
    pub fn system(name: &str) -> Result<Self, ParseError> {
        named("system actor's name", name).map(|name| Self(Kind::System(name)))
    }

    /// A company, by the name of a key. What that key may do bounds nothing: for the company's
    /// administrators, whom you authenticated yourself. For requests with a key take
    /// [`Actor::caller`].
    #[must_use]
    pub const fn company(company: CompanyId, key: KeyPrefix) -> Self {
        Self(Kind::Company(company, key, None))
    }

    /// A company, by the key that was verified for a request: it rotates no key that may do more
    /// than this one, or it would be handed a secret for what it may not do, see
    /// [`KeyManager::rotate`](super::KeyManager::rotate). The key must be one of the manager's store.
    /// `None` where no key was verified.
    #[must_use]
    pub fn caller(identity: &Identity) -> Option<Self> {
        let bounds = Bounds {
            scopes: identity.scopes().clone(),
            subsidiaries: identity.subsidiaries().clone(),
        };
        let (company, key) = (*identity.company(), *identity.key_prefix()?);
        Some(Self(Kind::Company(company, key, Some(bounds))))
    }

    pub(super) const fn is_operator(&self) -> bool {
        matches!(self.0, Kind::Operator(_))
    }

    pub(super) const fn is_company(&self) -> bool {
        matches!(self.0, Kind::Company(..))
    }

    /// Whether this record is any of the actor's business.
    pub(super) fn may_touch(&self, record: &KeyRecord) -> bool {
        match &self.0 {
            Kind::Operator(_) | Kind::System(_) => true,
            Kind::Company(own, key, _) => {
                *own == record.company && key.environment() == record.environment()
            }
        }
    }

    pub(super) fn may_touch_company(&self, company: &CompanyId) -> bool {
        match &self.0 {
            Kind::Operator(_) | Kind::System(_) => true,
            Kind::Company(own, ..) => own == company,
        }
    }

    /// The scopes of this key that the actor can't hand on; whether it can't hand on the companies
    /// that the key acts for.
    pub(super) fn lacks(&self, record: &KeyRecord) -> (ScopeSet, bool) {
        let Kind::Company(.., Some(bounds)) = &self.0 else {
            return (ScopeSet::new(), false);
        };
        let scopes = record.scopes.iter();
        let missing = scopes.filter(|scope| !bounds.scopes.contains(*scope));
        let acts_for = |company| bounds.subsidiaries.contains(company);
        let more = !record.subsidiaries.iter().all(acts_for);
        (missing.collect(), more)
    }

    /// The key whose record bounds what the actor may hand on.
    pub(super) const fn bounding_key(&self) -> Option<&KeyPrefix> {
        match &self.0 {
            Kind::Company(_, key, Some(_)) => Some(key),
            _ => None,
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
            Kind::Company(_, key, _) => key.to_string(),
        }
    }
}

fn named(what: &'static str, name: &str) -> Result<String, ParseError> {
    let count = name.chars().count();
    if !(1..=64).contains(&count) || !name.chars().all(is_printable) {
        return Err(ParseError::new(what, "1 to 64 printable characters"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_shows_as_what_it_is() {
        for name in ["ada", "Zoë O'Néill <z@example.com>", &"x".repeat(64)] {
            assert_eq!(Actor::operator(name).unwrap().name(), name);
        }
        for name in ["", "a\nb", "a\u{202e}b", "a\u{200b}b", &"x".repeat(65)] {
            assert!(Actor::operator(name).is_err(), "{name:?}");
            assert!(Actor::system(name).is_err(), "{name:?}");
        }
    }
}
