//! Which scopes an endpoint asks for.

use std::fmt;

use crate::{Scope, ScopeSet};

/// The scopes that an endpoint asks for: one of several alternatives, each of which names scopes
/// that a caller must have all together. `OpenAPI`'s `security` is read in the same way.
///
/// ```
/// use countersign_core::{RequiredScopes, ScopeSet};
///
/// let rule = RequiredScopes::any([
///     vec!["payments:admin".parse()?],
///     vec!["payments:read".parse()?, "accounts:read".parse()?],
/// ])
/// .expect("each alternative names a scope");
/// assert!(!rule.is_met_by(&ScopeSet::from_names(["payments:read"])?));
/// assert!(rule.is_met_by(&ScopeSet::from_names(["payments:read", "accounts:read"])?));
/// assert!(rule.is_met_by(&ScopeSet::from_names(["payments:admin"])?));
/// # Ok::<(), countersign_core::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequiredScopes(Rule);

/// Nearly every endpoint asks for one scope, and that is one bit to test.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Rule {
    One(Scope),
    Alternatives(Box<[Box<[Scope]>]>),
}

impl RequiredScopes {
    /// This scope.
    #[must_use]
    pub const fn one(scope: Scope) -> Self {
        Self(Rule::One(scope))
    }

    /// All of these scopes; `None` where there is none, for that would let everybody in.
    pub fn all(scopes: impl IntoIterator<Item = Scope>) -> Option<Self> {
        Self::any([scopes])
    }

    /// All scopes of any one of these alternatives; `None` where there is no alternative, or one
    /// without a scope, for that would let everybody in. What is said twice counts once.
    pub fn any<A: IntoIterator<Item = Scope>>(
        alternatives: impl IntoIterator<Item = A>,
    ) -> Option<Self> {
        let mut rule: Vec<Box<[Scope]>> = Vec::new();
        for alternative in alternatives {
            let mut scopes: Vec<Scope> = Vec::new();
            for scope in alternative {
                if !scopes.contains(&scope) {
                    scopes.push(scope);
                }
            }
            if scopes.is_empty() {
                return None;
            }
            if !rule.iter().any(|known| same(known, &scopes)) {
                rule.push(scopes.into());
            }
        }
        match &rule[..] {
            [] => None,
            [only] if only.len() == 1 => Some(Self::one(only[0])),
            _ => Some(Self(Rule::Alternatives(rule.into()))),
        }
    }

    /// Whether a caller that has `scopes` may go on.
    #[must_use]
    #[inline]
    pub fn is_met_by(&self, scopes: &ScopeSet) -> bool {
        match &self.0 {
            Rule::One(scope) => scopes.contains(*scope),
            Rule::Alternatives(all) => all
                .iter()
                .any(|alternative| alternative.iter().all(|scope| scopes.contains(*scope))),
        }
    }

    /// What lets a caller that has `scopes` in: of the alternatives that it meets, the one that was
    /// declared first.
    #[must_use]
    #[inline]
    pub fn met_by(&self, scopes: &ScopeSet) -> Option<&[Scope]> {
        let has = |alternative: &&[Scope]| alternative.iter().all(|scope| scopes.contains(*scope));
        match &self.0 {
            Rule::One(scope) => Some(std::slice::from_ref(scope)).filter(has),
            Rule::Alternatives(all) => all.iter().map(|all| &all[..]).find(has),
        }
    }

    /// The alternatives, in the order in which they were declared. None of them is empty.
    pub fn alternatives(&self) -> impl Iterator<Item = &[Scope]> {
        let (one, more) = match &self.0 {
            Rule::One(scope) => (Some(std::slice::from_ref(scope)), None),
            Rule::Alternatives(all) => (None, Some(all.iter().map(|all| &all[..]))),
        };
        one.into_iter().chain(more.into_iter().flatten())
    }

    /// Every scope that is named, each once or more often.
    pub fn scopes(&self) -> impl Iterator<Item = Scope> + '_ {
        self.alternatives().flatten().copied()
    }

    /// The scope that was declared first. Audits and limits name an endpoint's scope by it.
    #[must_use]
    pub fn first(&self) -> Scope {
        match &self.0 {
            Rule::One(scope) => *scope,
            Rule::Alternatives(all) => all[0][0],
        }
    }

    /// What a caller with `scopes` is told to ask for: the whole alternative of which it lacks the
    /// fewest scopes, of several the one that was declared first.
    #[must_use]
    pub fn nearest(&self, scopes: &ScopeSet) -> &[Scope] {
        match &self.0 {
            Rule::One(scope) => std::slice::from_ref(scope),
            Rule::Alternatives(all) => {
                let lacks = |a: &[Scope]| a.iter().filter(|s| !scopes.contains(**s)).count();
                all.iter()
                    .min_by_key(|alternative| lacks(alternative))
                    .expect("`any` makes no rule without an alternative")
            }
        }
    }
}

impl From<Scope> for RequiredScopes {
    fn from(scope: Scope) -> Self {
        Self::one(scope)
    }
}

/// `a:read`, `a:read + b:read`, `a:read + b:read | c:admin`.
impl fmt::Display for RequiredScopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, alternative) in self.alternatives().enumerate() {
            f.write_str(if number == 0 { "" } else { " | " })?;
            for (number, scope) in alternative.iter().enumerate() {
                f.write_str(if number == 0 { "" } else { " + " })?;
                f.write_str(scope.as_str())?;
            }
        }
        Ok(())
    }
}

fn same(a: &[Scope], b: &[Scope]) -> bool {
    a.len() == b.len() && a.iter().all(|scope| b.contains(scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(names: &[&str]) -> Vec<Scope> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn held(names: &[&str]) -> ScopeSet {
        ScopeSet::from_names(names.iter().copied()).unwrap()
    }

    #[test]
    fn what_would_let_everybody_in_is_no_rule() {
        assert_eq!(RequiredScopes::all([]), None);
        assert_eq!(RequiredScopes::any::<Vec<Scope>>([]), None);
        assert_eq!(RequiredScopes::any([scopes(&["a:read"]), vec![]]), None);
    }

    #[test]
    fn all_of_needs_every_scope_and_any_of_one() {
        let all = RequiredScopes::all(scopes(&["a:read", "b:read"])).unwrap();
        let any = RequiredScopes::any([scopes(&["a:read"]), scopes(&["b:read"])]).unwrap();
        for (given, all_met, any_met) in [
            (&[][..], false, false),
            (&["a:read"], false, true),
            (&["b:read", "c:read"], false, true),
            (&["a:read", "b:read"], true, true),
            (&["c:read"], false, false),
        ] {
            assert_eq!(all.is_met_by(&held(given)), all_met, "{given:?}");
            assert_eq!(any.is_met_by(&held(given)), any_met, "{given:?}");
            assert_eq!(all.met_by(&held(given)).is_some(), all_met, "{given:?}");
            assert_eq!(any.met_by(&held(given)).is_some(), any_met, "{given:?}");
        }
        let both = held(&["a:read", "b:read"]);
        assert_eq!(all.met_by(&both), Some(&scopes(&["a:read", "b:read"])[..]));
        assert_eq!(any.met_by(&both), Some(&scopes(&["a:read"])[..]));
    }

    #[test]
    fn what_is_said_twice_counts_once() {
        let twice = RequiredScopes::any([scopes(&["a:read", "a:read"]), scopes(&["a:read"])]);
        assert_eq!(twice, Some(RequiredScopes::one("a:read".parse().unwrap())));
        let turned = [scopes(&["a:read", "b:read"]), scopes(&["b:read", "a:read"])];
        assert_eq!(
            RequiredScopes::any(turned).unwrap().alternatives().count(),
            1
        );
    }

    #[test]
    fn a_caller_is_told_the_alternative_that_it_lacks_least_of() {
        let rule = RequiredScopes::any([
            scopes(&["a:read", "b:read"]),
            scopes(&["c:read", "d:read", "e:read"]),
        ])
        .unwrap();
        assert_eq!(rule.nearest(&held(&[])), scopes(&["a:read", "b:read"]));
        let more = held(&["c:read", "d:read"]);
        let second = scopes(&["c:read", "d:read", "e:read"]);
        assert_eq!(rule.nearest(&more), second);
        assert_eq!(
            rule.to_string(),
            "a:read + b:read | c:read + d:read + e:read"
        );
        assert_eq!(rule.first().as_str(), "a:read");
    }
}
