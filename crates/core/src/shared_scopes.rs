//! A set of scopes that many threads add to.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Scope, ScopeSet};

/// Scopes that were used, put in by many threads at once: adding one takes no lock, allocates
/// nothing, and writes only if the scope is new, so that a busy set stays shared between cores.
#[derive(Debug)]
pub struct SharedScopes(Box<[AtomicU64]>);

impl SharedScopes {
    /// An empty set with room for each of `scopes`.
    #[must_use]
    pub fn with_room_for(scopes: &ScopeSet) -> Self {
        let words = scopes.iter().map(|scope| place(scope).0 + 1).max();
        let words = 0..words.unwrap_or(0);
        Self(words.map(|_| AtomicU64::new(0)).collect())
    }

    /// Whether each of `scopes` has room.
    #[must_use]
    pub fn has_room_for(&self, scopes: &ScopeSet) -> bool {
        scopes.iter().all(|scope| place(scope).0 < self.0.len())
    }

    /// Adds `scope`; one without room is passed over.
    pub fn insert(&self, scope: Scope) {
        let (word, bit) = place(scope);
        if let Some(word) = self.0.get(word)
            && word.load(Ordering::Relaxed) & bit == 0
        {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Empties the set and returns what was in it.
    #[must_use]
    pub fn take(&self) -> ScopeSet {
        let words = self.0.iter().enumerate();
        words
            .flat_map(|(word, bits)| {
                let bits = bits.swap(0, Ordering::Relaxed);
                (0..64_usize)
                    .filter(move |bit| bits >> bit & 1 == 1)
                    .filter_map(move |bit| Scope::from_number(word * 64 + bit))
            })
            .collect()
    }
}

fn place(scope: Scope) -> (usize, u64) {
    let number = scope.number();
    (number / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_taken_out_once() {
        let scopes: Vec<Scope> = (0..200)
            .map(|n| format!("shared:s{n}").parse().unwrap())
            .collect();
        let known: ScopeSet = scopes[..150].iter().copied().collect();
        let shared = SharedScopes::with_room_for(&known);
        assert!(shared.has_room_for(&known));
        std::thread::scope(|threads| {
            for start in 0..4 {
                let (shared, scopes) = (&shared, &scopes);
                threads.spawn(move || {
                    let some = scopes[..150].iter().skip(start).step_by(2);
                    some.for_each(|scope| shared.insert(*scope));
                });
            }
        });
        assert_eq!(shared.take(), known);
        assert!(shared.take().is_empty());
    }

    #[test]
    fn a_scope_without_room_is_passed_over() {
        let shared = SharedScopes::with_room_for(&ScopeSet::new());
        let scope: Scope = "shared:none".parse().unwrap();
        shared.insert(scope);
        assert!(shared.take().is_empty());
        assert!(!shared.has_room_for(&[scope].into_iter().collect()));
    }
}
