//! Bodies that are waited for.

use std::sync::Arc;
use std::time::Duration;

use countersign_core::CompanyId;
use dashmap::DashMap;

/// How long a body is waited for, and with how many others.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    pub(crate) time: Duration,
    pub(crate) most: usize,
    waiting: Arc<Waiting>,
}

/// How many bodies are waited for, by the company whose key called.
type Waiting = DashMap<CompanyId, usize>;

/// A place among those of a company. Dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Place {
    company: CompanyId,
    waiting: Arc<Waiting>,
}

impl Patience {
    /// A place for one more body of `company`, unless there are as many as there may be.
    pub(crate) fn place(&self, company: CompanyId) -> Option<Place> {
        let mut count = self.waiting.entry(company).or_default();
        // Also where there may be none: then the entry goes with this place.
        let is_full = *count >= self.most;
        *count += 1;
        drop(count);
        let waiting = Arc::clone(&self.waiting);
        let place = Place { company, waiting };
        (!is_full).then_some(place)
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(10),
            most: 256,
            waiting: Arc::default(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.remove_if_mut(&self.company, |_, count| {
            *count = count.saturating_sub(1);
            *count == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_a_companys_own_and_are_given_back() {
        let patience = Patience {
            most: 2,
            ..Patience::default()
        };
        let [ours, theirs] = ["company_12", "company_34"].map(|it| it.parse().unwrap());
        let held: Vec<_> = (0..3).map(|_| patience.place(ours)).collect();
        assert_eq!(held.iter().flatten().count(), 2);
        assert!(patience.place(theirs).is_some());
        assert!(patience.place(ours).is_none(), "it is full again and again");
        drop(held);
        assert!(patience.place(ours).is_some());
        assert!(
            patience.waiting.is_empty(),
            "nothing is kept of companies that don't wait"
        );
    }
}
