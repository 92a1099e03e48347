//! The company that a request works for, as its claims choose it.

use countersign_core::{CompanyId, Identity};

/// Compares claims with the companies that a caller may act for. The first claim that names one
/// of them chooses it, and every other claim must name the same one. A key without subsidiaries
/// has one company to choose from: its owner.
#[derive(Debug)]
pub(crate) struct Choice<'a> {
    identity: &'a Identity,
    chosen: Option<&'a CompanyId>,
}

/// A claim that names no company that the caller may act for, or another one than an earlier
/// claim: the company, if it can be read as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Foreign(pub(crate) Option<CompanyId>);

impl<'a> Choice<'a> {
    /// `chosen` is what claims that were seen before said.
    pub(crate) const fn new(identity: &'a Identity, chosen: Option<&'a CompanyId>) -> Self {
        Self { identity, chosen }
    }

    /// Takes in a claim. What is not UTF-8 is no company's identifier, and so no match.
    ///
    /// # Errors
    /// When the claim may not be made.
    pub(crate) fn see(&mut self, claim: &[u8]) -> Result<(), Foreign> {
        let same = |company: &CompanyId| company.as_str().as_bytes() == claim;
        let found = match self.chosen {
            Some(chosen) => same(chosen).then_some(chosen),
            None => {
                let owner = Some(self.identity.company()).filter(|owner| same(owner));
                let granted = || self.identity.subsidiaries().iter().find(|one| same(one));
                owner.or_else(granted)
            }
        };
        let Some(company) = found else {
            let text = std::str::from_utf8(claim).ok();
            return Err(Foreign(text.and_then(|text| text.parse().ok())));
        };
        self.chosen = Some(company);
        Ok(())
    }

    /// The company that the claims so far chose; `None` where there was none.
    pub(crate) const fn chosen(&self) -> Option<&'a CompanyId> {
        self.chosen
    }
}

#[cfg(test)]
mod tests {
    use countersign_core::{Environment, ScopeSet};

    use super::*;

    fn company(text: &str) -> CompanyId {
        text.parse().unwrap()
    }

    fn identity(subsidiaries: &[&str]) -> Identity {
        let granted = subsidiaries.iter().map(|text| company(text)).collect();
        Identity::new(company("parent"), Environment::Live, ScopeSet::new())
            .with_subsidiaries(granted)
    }

    #[test]
    fn a_key_alone_has_only_its_owner_to_choose() {
        let identity = identity(&[]);
        let mut choice = Choice::new(&identity, None);
        assert_eq!(choice.see(b"child"), Err(Foreign(Some(company("child")))));
        assert_eq!(choice.chosen(), None);
        assert_eq!(choice.see(b"parent"), Ok(()));
        assert_eq!(choice.chosen(), Some(&company("parent")));
    }

    #[test]
    fn the_first_claim_chooses_and_the_others_must_agree() {
        let identity = identity(&["child", "other"]);
        for first in ["parent", "child", "other"] {
            let mut choice = Choice::new(&identity, None);
            choice.see(first.as_bytes()).unwrap();
            for second in ["parent", "child", "other"] {
                let agrees = choice.see(second.as_bytes()).is_ok();
                assert_eq!(agrees, first == second, "{first} {second}");
            }
            assert_eq!(choice.chosen(), Some(&company(first)));
        }
    }

    #[test]
    fn nobody_outside_the_set_is_chosen() {
        let identity = identity(&["child"]);
        for claim in [&b"stranger"[..], b"", b"chil", b"child ", b"CHILD", b"\xff"] {
            let mut choice = Choice::new(&identity, None);
            assert!(choice.see(claim).is_err(), "{claim:?}");
        }
    }
}
