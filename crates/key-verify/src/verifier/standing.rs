//! Whether the caller of a call that is under way still stands.

use countersign_core::{AccessContext, CallerStanding, Denial, Reason, Standing, Timestamp};

use super::{Settings, address};
use crate::cache::Outcome;
use crate::cached::CachedKey;

impl CallerStanding for Settings {
    /// As for a new call with the same key: what another process changed is seen when it is for new
    /// calls. The secret was compared when the call began.
    fn check(&self, context: &AccessContext) -> Standing {
        let Some(prefix) = context.identity().and_then(|it| it.key_prefix().copied()) else {
            return Standing::Fallen(Reason::UnknownApiKey.into());
        };
        let now = context.edge().now();
        let stands = |found: &CachedKey| stands(context, found, now.wall);
        match self.cache.peek(&prefix, now.monotonic, stands) {
            Some(Ok(())) => Standing::Good,
            Some(Err(denial)) => Standing::Fallen(denial),
            None => {
                let (cache, context) = (self.cache.clone(), context.clone());
                Standing::Ask(Box::pin(async move {
                    match cache.look_up(prefix).await {
                        Outcome::Found(found) => self::stands(&context, &found, now.wall),
                        Outcome::Unavailable => Err(Reason::KeyStoreUnavailable.into()),
                    }
                }))
            }
        }
    }
}

fn stands(context: &AccessContext, found: &CachedKey, now: Timestamp) -> Result<(), Denial> {
    let is_its = |it: &&countersign_core::Identity| it.key_id() == found.identity.key_id();
    if !found.known || context.identity().filter(is_its).is_none() {
        return Err(Reason::UnknownApiKey.into());
    }
    found.standing(now, address(context))?;
    let required = context.endpoint().and_then(|it| it.required_scopes());
    if let Some(required) = required.filter(|it| !it.is_met_by(found.identity.scopes())) {
        let nearest = required.nearest(found.identity.scopes());
        return Err(Denial::new(Reason::ScopeMissing).with_required_scopes(nearest));
    }
    match context.effective_company() {
        Some(company) if !found.identity.may_act_for(company) => {
            Err(Reason::CompanyMismatch.into())
        }
        _ => Ok(()),
    }
}
