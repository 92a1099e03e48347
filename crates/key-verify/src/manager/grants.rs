//! What a key may do: scopes, quotas, networks, subsidiaries.

use countersign_core::source::canonical_network;
use countersign_core::{CompanyId, KeyId, LifecycleKind, LimitOverride, ScopeSet};
use ipnet::IpNet;

use super::{Actor, Edited, KeyManager, ManageError, operators_only, transition};
use crate::record::KeyRecord;

impl KeyManager {
    /// Replaces what a key may do.
    ///
    /// # Errors
    /// `Invalid` for no scope or an unknown one, `IllegalTransition` for a key at its end.
    pub async fn set_scopes(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
        scopes: ScopeSet,
    ) -> Result<KeyRecord, ManageError> {
        // A company that could widen its own scopes would have all of them.
        operators_only(actor)?;
        self.check_scopes(&scopes)?;
        let kind = LifecycleKind::TokenScopesChanged;
        self.change(actor, company, id, kind, |record, now| {
            transition::in_life(record, now, "given other scopes")?;
            record.scopes = scopes.clone();
            Ok(Edited::default())
        })
        .await
    }

    /// Replaces a key's own quotas. The event is `limits_changed`, with `quotas` as what changed.
    ///
    /// # Errors
    /// `IllegalTransition` for a key at its end.
    pub async fn set_limits(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
        limits: Vec<LimitOverride>,
    ) -> Result<KeyRecord, ManageError> {
        operators_only(actor)?;
        let kind = LifecycleKind::TokenLimitsChanged;
        self.change(actor, company, id, kind, |record, now| {
            transition::in_life(record, now, "given other limits")?;
            record.limits = limits.clone();
            Ok(Edited::part("quotas"))
        })
        .await
    }

    /// Replaces the networks that a key may be used from; none means any. They limit a key as its
    /// quotas do: the event is `limits_changed`, with `networks` as what changed.
    ///
    /// # Errors
    /// `IllegalTransition` for a key at its end.
    pub async fn set_networks(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
        networks: Vec<IpNet>,
    ) -> Result<KeyRecord, ManageError> {
        operators_only(actor)?;
        let kind = LifecycleKind::TokenLimitsChanged;
        let networks: Vec<_> = networks.into_iter().map(canonical_network).collect();
        self.change(actor, company, id, kind, |record, now| {
            transition::in_life(record, now, "given other networks")?;
            record.networks = networks.clone();
            Ok(Edited::part("networks"))
        })
        .await
    }

    /// Replaces the companies that a parent's key may act for besides its owner; none takes all
    /// grants back. The event is `scopes_changed`, with `subsidiaries` as what changed, and names
    /// them all.
    ///
    /// # Errors
    /// `NotFound` when the actor is a company: nobody grants itself another company's data.
    /// `Invalid` when a company is not known to the store, is the owner itself, or when there are
    /// more than 64; `IllegalTransition` for a key at its end.
    pub async fn set_subsidiaries(
        &self,
        actor: &Actor,
        company: &CompanyId,
        id: KeyId,
        subsidiaries: Vec<CompanyId>,
    ) -> Result<KeyRecord, ManageError> {
        operators_only(actor)?;
        let subsidiaries = self.check_subsidiaries(company, subsidiaries).await?;
        let kind = LifecycleKind::TokenScopesChanged;
        self.change(actor, company, id, kind, |record, now| {
            transition::in_life(record, now, "given other subsidiaries")?;
            record.subsidiaries.clone_from(&subsidiaries);
            Ok(Edited::part("subsidiaries"))
        })
        .await
    }

    /// In order and each one once.
    pub(super) async fn check_subsidiaries(
        &self,
        owner: &CompanyId,
        mut companies: Vec<CompanyId>,
    ) -> Result<Vec<CompanyId>, ManageError> {
        companies.sort_unstable();
        companies.dedup();
        let refuse = |problem: String| Err(ManageError::Invalid(problem));
        if companies.len() > MAX_SUBSIDIARIES {
            return refuse(format!("{MAX_SUBSIDIARIES} subsidiaries at most"));
        }
        for company in &companies {
            if company == owner {
                return refuse("a key acts for its owner anyway".to_owned());
            }
            if self.0.store.company(company).await?.is_none() {
                return refuse(format!(
                    "the company {company} is not known; create it first"
                ));
            }
        }
        Ok(companies)
    }

    pub(super) fn check_scopes(&self, scopes: &ScopeSet) -> Result<(), ManageError> {
        if scopes.is_empty() {
            let problem = "a key needs one scope at least".to_owned();
            return Err(ManageError::Invalid(problem));
        }
        let Some(known) = &self.0.known_scopes else {
            return Ok(());
        };
        match scopes.iter().find(|scope| !known.contains(*scope)) {
            None => Ok(()),
            Some(unknown) => Err(ManageError::Invalid(format!(
                "no endpoint asks for the scope {unknown}; known are {}",
                known.names().join(", ")
            ))),
        }
    }
}

/// How many companies one key may act for besides its owner: each request compares its claim with
/// all of them.
const MAX_SUBSIDIARIES: usize = 64;
