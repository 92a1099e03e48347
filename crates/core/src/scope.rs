//! Scopes, as symbols and as sets of bits.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{LazyLock, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::ParseError;

/// A named permission, `resource:action`: each part 1 to 48 characters of `a-z 0-9 - . _`,
/// beginning with a letter. No wildcards.
///
/// Scopes are held once for the whole process, and a `Scope` is a number into that table: a copy
/// is free and a set of scopes is a set of bits. Scopes come from contracts and key stores, which
/// operators own; the table ends at [`Scope::MAX_NAMES`] names, after which a *new* name is
/// refused, so that no other source of names can grow it without bound.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scope(u16);

impl Scope {
    /// How many different scopes one process can know.
    pub const MAX_NAMES: usize = 16_384;

    /// The scope as text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
        table.names[usize::from(self.0)]
    }

    pub(crate) fn number(self) -> usize {
        usize::from(self.0)
    }

    /// The scope of this number, if a name has it.
    pub(crate) fn from_number(number: usize) -> Option<Self> {
        let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
        let number = u16::try_from(number).ok();
        number
            .filter(|n| usize::from(*n) < table.names.len())
            .map(Self)
    }

    fn check(text: &str) -> Result<(), ParseError> {
        let part = |part: &str| {
            (1..=48).contains(&part.len())
                && part.starts_with(|c: char| c.is_ascii_lowercase())
                && part.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_')
                })
        };
        match text.split_once(':') {
            Some((resource, action)) if part(resource) && part(action) => Ok(()),
            _ => Err(ParseError::new(
                "scope",
                "lowercase `resource:action`, for example accounts:read",
            )),
        }
    }
}

impl FromStr for Scope {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::check(text)?;
        let known = |table: &Table| table.numbers.get(text).copied().map(Self);
        if let Some(scope) = known(&TABLE.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(scope);
        }
        let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(scope) = known(&table) {
            return Ok(scope);
        }
        if table.names.len() >= Self::MAX_NAMES {
            return Err(ParseError::new(
                "scope",
                "this process knows too many already",
            ));
        }
        // The table is never emptied, so a name may live as long as the process.
        let name: &'static str = Box::leak(text.to_owned().into_boxed_str());
        let number = u16::try_from(table.names.len())
            .map_err(|_| ParseError::new("scope", "this process knows too many already"))?;
        table.names.push(name);
        table.numbers.insert(name, number);
        Ok(Self(number))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({self})")
    }
}

impl Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of scopes: one bit each. The first 128 scopes of a process stand inline, so that the set
/// of a usual platform is copied without an allocation.
#[derive(Clone, Default)]
pub struct ScopeSet {
    low: u128,
    high: Option<Box<[u128]>>,
}

impl ScopeSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { low: 0, high: None }
    }

    /// The set of the scopes with these names.
    ///
    /// # Errors
    /// When a name is not a scope.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, ParseError> {
        names.into_iter().map(str::parse::<Scope>).collect()
    }

    /// Whether `scope` is in the set.
    #[must_use]
    pub fn contains(&self, scope: Scope) -> bool {
        let (block, bit) = place(scope);
        let bits = match block.checked_sub(1) {
            None => self.low,
            Some(index) => {
                let high = self.high.as_deref().unwrap_or_default();
                high.get(index).copied().unwrap_or(0)
            }
        };
        bits & bit != 0
    }

    /// Adds `scope`.
    pub fn insert(&mut self, scope: Scope) {
        let (block, bit) = place(scope);
        let Some(index) = block.checked_sub(1) else {
            self.low |= bit;
            return;
        };
        let mut high = self.high.take().unwrap_or_default().into_vec();
        if high.len() <= index {
            high.resize(index + 1, 0);
        }
        high[index] |= bit;
        self.high = Some(high.into_boxed_slice());
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The scopes in the set, in no stated order.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        let blocks = std::iter::once(self.low).chain(self.high.iter().flatten().copied());
        blocks.enumerate().flat_map(|(block, bits)| {
            (0..128u32)
                .filter(move |bit| bits >> bit & 1 == 1)
                .filter_map(move |bit| u16::try_from(block * 128 + bit as usize).ok())
                .map(Scope)
        })
    }

    /// The names in the set, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.iter().map(Scope::as_str).collect();
        names.sort_unstable();
        names
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut set = Self::new();
        for scope in scopes {
            set.insert(scope);
        }
        set
    }
}

impl PartialEq for ScopeSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for ScopeSet {}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Scope>::deserialize(deserializer).map(Self::from_iter)
    }
}

fn place(scope: Scope) -> (usize, u128) {
    (usize::from(scope.0) / 128, 1 << (scope.0 % 128))
}

static TABLE: LazyLock<RwLock<Table>> = LazyLock::new(RwLock::default);

#[derive(Default)]
struct Table {
    names: Vec<&'static str>,
    numbers: HashMap<&'static str, u16>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_is_the_same_scope() {
        let a: Scope = "accounts:read".parse().unwrap();
        let b: Scope = "accounts:read".parse().unwrap();
        let c: Scope = "accounts:write".parse().unwrap();
        assert_eq!(a, b);
        assert_ne!(a, c);
        assert_eq!(c.as_str(), "accounts:write");
    }

    #[test]
    fn refuses_wildcards_blanks_and_upper_case() {
        for bad in [
            "", ":", "a:", ":b", "a:*", "*", "A:b", "a:b:c", "a b:c", "1a:b", "é:r",
        ] {
            assert!(bad.parse::<Scope>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_set_of_many_scopes_holds_exactly_what_was_put_in() {
        let scopes: Vec<Scope> = (0..600)
            .map(|i| format!("many:s{i}").parse().unwrap())
            .collect();
        let set: ScopeSet = scopes.iter().copied().step_by(3).collect();
        for (i, scope) in scopes.iter().enumerate() {
            assert_eq!(set.contains(*scope), i % 3 == 0, "{scope}");
        }
        assert_eq!(set.iter().count(), 200);
        assert_eq!(set, set.iter().collect());
    }
}
