//! A value and the company that it belongs to.

use std::fmt;

use countersign_core::{CompanyId, Denial};

use crate::CompanyScope;

/// A value that only its company's scope can open. Repositories return it where a look-up can't
/// be limited to one company in the store itself.
///
/// ```
/// use countersign_company_scope::{CompanyScope, Owned};
/// use countersign_core::Denial;
///
/// struct Payment { amount: u64 }
///
/// fn amount(payment: Owned<Payment>, scope: &CompanyScope) -> Result<u64, Denial> {
///     Ok(payment.open(scope)?.amount)
/// }
/// ```
#[derive(Clone)]
pub struct Owned<T> {
    company: CompanyId,
    value: T,
}

impl<T> Owned<T> {
    /// `value`, which belongs to `company`: what the store says, never what a caller says.
    #[must_use]
    pub const fn new(company: CompanyId, value: T) -> Self {
        Self { company, value }
    }

    /// The value, for its company's scope.
    ///
    /// # Errors
    /// `resource_not_found` for every other scope, as if there were no such value; the audit's
    /// reason is `resource_outside_company`.
    pub fn open(self, scope: &CompanyScope) -> Result<T, Denial> {
        self.check(scope)?;
        Ok(self.value)
    }

    /// A look at the value, for its company's scope.
    ///
    /// # Errors
    /// As [`Owned::open`].
    pub fn get(&self, scope: &CompanyScope) -> Result<&T, Denial> {
        self.check(scope)?;
        Ok(&self.value)
    }

    fn check(&self, scope: &CompanyScope) -> Result<(), Denial> {
        if self.company == *scope.company() {
            Ok(())
        } else {
            Err(Denial::not_found())
        }
    }
}

/// Shows neither the value nor its company: either would tell a log of another company's data.
impl<T> fmt::Debug for Owned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owned([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use countersign_core::Reason;

    use super::*;

    #[test]
    fn opens_for_its_company_and_is_not_found_for_others() {
        let scope = |company: &str| CompanyScope::for_tests(company.parse().unwrap());
        let owned = Owned::new("company_12".parse().unwrap(), 7);
        assert_eq!(owned.get(&scope("company_12")), Ok(&7));
        assert_eq!(owned.clone().open(&scope("company_12")), Ok(7));
        for other in ["company_34", "company_1", "COMPANY_12"] {
            let denial = owned.get(&scope(other)).unwrap_err();
            assert_eq!(denial.reason(), Reason::ResourceOutsideCompany);
            assert_eq!(denial.error().status(), 404);
            assert!(owned.clone().open(&scope(other)).is_err());
        }
    }

    #[test]
    fn debug_output_tells_nothing() {
        let owned = Owned::new("company_12".parse().unwrap(), "iban");
        assert_eq!(format!("{owned:?}"), "Owned([redacted])");
    }
}
