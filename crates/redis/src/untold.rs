//! Changes that are committed, and could not be told yet.

use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_key_verify::Changed;
use tokio::sync::watch;

/// A bounded list, and whether somebody works at it.
#[derive(Debug, Default)]
pub(crate) struct Untold {
    changed: Mutex<Vec<Changed>>,
    /// From the first change that could not be told until all of them are. Changed by who holds the
    /// list.
    telling: watch::Sender<bool>,
}

impl Untold {
    /// Adds what could not be told. True for the first who does: who is to tell it.
    pub(crate) fn add(&self, changed: Vec<Changed>) -> bool {
        let mut list = self.lock();
        list.extend(changed);
        if list.len() > MOST {
            *list = vec![Changed::Everything];
        }
        !self.telling.send_replace(true)
    }

    /// What is to be told now; none where all is told.
    pub(crate) fn take(&self) -> Option<Vec<Changed>> {
        let mut list = self.lock();
        let changed = std::mem::take(&mut *list);
        self.telling.send_replace(!changed.is_empty());
        (!changed.is_empty()).then_some(changed)
    }

    /// Whether all is told.
    pub(crate) fn is_empty(&self) -> bool {
        !*self.telling.borrow()
    }

    /// Waits until all is told.
    pub(crate) async fn emptied(&self) {
        let mut telling = self.telling.subscribe();
        // The sender lives as long as this does.
        let _ = telling.wait_for(|telling| !telling).await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Changed>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Beyond so many changes the caches had better begin anew.
const MOST: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Changed {
        Changed::Key(format!("acme_test_{number:012}").parse().unwrap())
    }

    #[test]
    fn the_first_tells_for_all_until_all_is_told() {
        let untold = Untold::default();
        assert!(untold.is_empty());
        assert!(untold.add(vec![key(1)]));
        assert!(!untold.add(vec![key(2)]), "somebody is at it");
        assert_eq!(untold.take(), Some(vec![key(1), key(2)]));
        assert!(!untold.is_empty(), "nobody knows yet that it was heard");
        assert!(!untold.add(vec![key(3)]));
        assert_eq!(untold.take(), Some(vec![key(3)]));
        assert_eq!(untold.take(), None);
        assert!(untold.is_empty());
        assert!(untold.add(vec![key(4)]), "the next one begins again");
    }

    #[test]
    fn it_never_grows_beyond_its_bound() {
        let untold = Untold::default();
        for number in 0..=MOST {
            untold.add(vec![key(number)]);
        }
        assert_eq!(untold.take(), Some(vec![Changed::Everything]));
    }
}
