//! The platform's scopes, with what each of them allows.

use std::collections::BTreeMap;

use countersign_core::{Scope, ScopeSet};

/// The scopes that a platform knows, each with a sentence that says what it allows: what a key
/// may be issued with, and what a document shows to those who ask for a key.
///
/// ```
/// use countersign_scope_guard::ScopeRegistry;
///
/// let registry = ScopeRegistry::new([
///     ("accounts:read".parse()?, "See accounts and balances"),
///     ("accounts:write".parse()?, "Rename and close accounts"),
///     ("payments:create".parse()?, "Make payments"),
/// ]);
/// assert!(registry.resolve(["accounts:read"]).is_ok());
/// assert!(registry.resolve(["accounts:raed"]).is_err());
/// // A wildcard is refused until somebody switches it on.
/// assert!(registry.resolve(["accounts:*"]).is_err());
/// let all = registry.with_wildcards().resolve(["accounts:*"])?;
/// assert_eq!(all.names(), ["accounts:read", "accounts:write"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct ScopeRegistry {
    descriptions: BTreeMap<&'static str, (Scope, Box<str>)>,
    wildcards: bool,
}

/// A name that the registry does not know. It is the operator's text, not a caller's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct UnknownScope {
    name: String,
    problem: &'static str,
}

impl ScopeRegistry {
    /// A registry of these scopes. Of two descriptions of one scope the later stays.
    pub fn new<T: Into<Box<str>>>(scopes: impl IntoIterator<Item = (Scope, T)>) -> Self {
        let entry = |(scope, text): (Scope, T)| (scope.as_str(), (scope, text.into()));
        Self {
            descriptions: scopes.into_iter().map(entry).collect(),
            wildcards: false,
        }
    }

    /// Takes `resource:*` for every scope of the resource that the registry knows *now*: it is
    /// written out where it is resolved. No key ever holds a wildcard, so that a scope which is
    /// added later is granted to nobody by itself, and a key's record says all that it may do.
    pub fn with_wildcards(mut self) -> Self {
        self.wildcards = true;
        self
    }

    /// Whether [`ScopeRegistry::with_wildcards`] was called.
    #[must_use]
    pub const fn allows_wildcards(&self) -> bool {
        self.wildcards
    }

    /// The scopes of these names.
    ///
    /// # Errors
    /// When a name is no scope, not in the registry, or a wildcard that is not switched on or
    /// stands for nothing.
    pub fn resolve<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<ScopeSet, UnknownScope> {
        let mut set = ScopeSet::new();
        for name in names {
            let known = match name.strip_suffix('*') {
                Some(start) if start.ends_with(':') => self.expand(start),
                // The text is looked up, not parsed: a name that is unknown becomes no scope of
                // the process.
                _ => self
                    .descriptions
                    .get(name)
                    .map(|(s, _)| vec![*s])
                    .ok_or(UNKNOWN),
            };
            let scopes = known.map_err(|problem| UnknownScope {
                name: name.to_owned(),
                problem,
            })?;
            scopes.into_iter().for_each(|scope| set.insert(scope));
        }
        Ok(set)
    }

    /// All scopes.
    #[must_use]
    pub fn scopes(&self) -> ScopeSet {
        self.iter().map(|(scope, _)| scope).collect()
    }

    /// The wildcards that `scopes` amount to: `resource:*` for every resource of which it has all
    /// scopes, where there are several. A review shows by it who may do everything.
    #[must_use]
    pub fn wildcards_in(&self, scopes: &ScopeSet) -> Vec<String> {
        let mut resources: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
        for (name, (scope, _)) in &self.descriptions {
            let resource = name.split_once(':').map_or(*name, |(resource, _)| resource);
            let (count, has_all) = resources.entry(resource).or_insert((0, true));
            *count += 1;
            *has_all &= scopes.contains(*scope);
        }
        let whole = resources.into_iter().filter(|(_, (n, all))| *all && *n > 1);
        whole.map(|(resource, _)| format!("{resource}:*")).collect()
    }

    /// Whether `scope` is in the registry.
    #[must_use]
    pub fn contains(&self, scope: Scope) -> bool {
        self.descriptions.contains_key(scope.as_str())
    }

    /// What `scope` allows.
    #[must_use]
    pub fn describe(&self, scope: Scope) -> Option<&str> {
        let (_, text) = self.descriptions.get(scope.as_str())?;
        Some(text)
    }

    /// All scopes with what they allow, by name.
    pub fn iter(&self) -> impl Iterator<Item = (Scope, &str)> {
        self.descriptions
            .values()
            .map(|(scope, text)| (*scope, &**text))
    }

    /// Whether the registry knows no scope.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.descriptions.is_empty()
    }

    fn expand(&self, start: &str) -> Result<Vec<Scope>, &'static str> {
        if !self.wildcards {
            return Err("wildcards are not switched on: name each scope");
        }
        let of_resource = |(name, _): &(&&str, _)| name.starts_with(start);
        let found: Vec<_> = self.descriptions.iter().filter(of_resource).collect();
        if found.is_empty() {
            return Err("the registry has no scope of this resource");
        }
        Ok(found.into_iter().map(|(_, (scope, _))| *scope).collect())
    }
}

const UNKNOWN: &str = "the registry has no such scope";

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> ScopeRegistry {
        let scopes = ["accounts:read", "accounts:write", "accounts-x:read"];
        ScopeRegistry::new(scopes.map(|name| (name.parse().unwrap(), name.to_uppercase())))
    }

    #[test]
    fn a_wildcard_stands_for_its_resource_alone_and_only_when_switched_on() {
        assert!(registry().resolve(["accounts:*"]).is_err());
        let registry = registry().with_wildcards();
        let names = |wanted| registry.resolve([wanted]).map(|set| set.names());
        assert_eq!(
            names("accounts:*").unwrap(),
            ["accounts:read", "accounts:write"]
        );
        assert_eq!(names("accounts-x:*").unwrap(), ["accounts-x:read"]);
        for bad in [
            "*",
            "*:read",
            "acc*",
            "accounts:r*",
            ":*",
            "*:*",
            "banks:*",
            "accounts:**",
        ] {
            assert!(names(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_amounts_to_a_wildcard_is_named() {
        let held = |names: &[&str]| ScopeSet::from_names(names.iter().copied()).unwrap();
        let all = held(&["accounts:read", "accounts:write", "accounts-x:read"]);
        // One scope of one is no more than that scope.
        assert_eq!(registry().wildcards_in(&all), ["accounts:*"]);
        assert!(
            registry()
                .wildcards_in(&held(&["accounts:read"]))
                .is_empty()
        );
    }

    #[test]
    fn an_unknown_name_is_refused_and_does_not_become_a_scope() {
        let error = registry().resolve(["accounts:read", "accounts:nothing"]);
        assert_eq!(
            error.unwrap_err().to_string(),
            "accounts:nothing: the registry has no such scope"
        );
        assert!(registry().resolve([]).unwrap().is_empty());
        let scope = "accounts:read".parse().unwrap();
        assert_eq!(registry().describe(scope), Some("ACCOUNTS:READ"));
    }
}
