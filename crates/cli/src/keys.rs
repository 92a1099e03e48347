//! `countersign keys …`

use countersign::{
    Clock, CompanyId, IssueRequest, IssuedKey, KeyId, KeyManager, KeyPrefix, KeyRecord,
    LimitOverride, ManageError, RevocationReason, SystemClock,
};

use crate::args::{Args, Issue, Key, KeysCommand};
use crate::error::CliError;
use crate::output::{Output, reach};
use crate::peppers::Peppers;
use crate::session::Session;
use crate::{companies, import, leak};

pub(crate) async fn run(
    args: &Args,
    command: &KeysCommand,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    match command {
        KeysCommand::ScanRule { brand } => leak::rule(brand.as_deref(), output),
        KeysCommand::Scan { path } => leak::scan(args, path, output).await,
        KeysCommand::RevokeAll { .. } => {
            leak::revoke_all(&Session::open(args).await?, command, output).await
        }
        KeysCommand::Expire => expire(&Session::open(args).await?, output).await,
        _ => change(&Session::open(args).await?, command.clone(), output).await,
    }
}

/// Commands about one key, or about those of one company.
async fn change(
    session: &Session,
    command: KeysCommand,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    let (m, actor) = (&session.manager, &session.actor);
    let record = match command {
        KeysCommand::Issue(request) => return issue(session, request, output).await,
        KeysCommand::Import(import) => return import::run(session, import, output).await,
        KeysCommand::Rotate { key, overlap, yes } => {
            let old = find(session, &key).await?;
            if overlap.is_zero() && !yes {
                return Err(CliError::Refused(format!(
                    "without an overlap {} ends now: leave --overlap away, or add --yes",
                    old.prefix
                )));
            }
            Peppers::check(session, &old.company).await?;
            reach::check()?;
            let issued = m.rotate(actor, &old.company, old.id, overlap).await?;
            return output.issued(&issued);
        }
        KeysCommand::List { company } => {
            return output.list(&list(session, &company).await?, now());
        }
        KeysCommand::Show(key) => {
            let record = find(session, &key).await?;
            let uses = m.last_uses(actor, &[record.id]).await?;
            return output.show(&record, uses.first(), now());
        }
        KeysCommand::Activate(key) => {
            let (company, id) = name(session, &key).await?;
            m.activate(actor, &company, id).await?
        }
        KeysCommand::Suspend(key) => {
            let (company, id) = name(session, &key).await?;
            m.suspend(actor, &company, id).await?
        }
        KeysCommand::Reactivate(key) => {
            let (company, id) = name(session, &key).await?;
            m.reactivate(actor, &company, id).await?
        }
        KeysCommand::Revoke { key, reason, yes } => revoke(session, &key, reason, yes).await?,
        KeysCommand::SetScopes { key, scopes } => {
            let (company, id) = name(session, &key).await?;
            let scopes = session.scopes(&scopes)?;
            let changed = m.set_scopes(actor, &company, id, scopes).await?;
            return output.replaced(&changed, "scopes", now());
        }
        // Clap lets exactly one of `--limit` and `--none` through.
        KeysCommand::SetLimits { key, limits, .. } => {
            one_each(&limits)?;
            let (company, id) = name(session, &key).await?;
            let changed = m.set_limits(actor, &company, id, limits).await?;
            return output.replaced(&changed, "limits", now());
        }
        // Clap lets exactly one of `--company` and `--none` through.
        KeysCommand::SetSubsidiaries { key, companies, .. } => {
            let (company, id) = name(session, &key).await?;
            let changed = m.set_subsidiaries(actor, &company, id, companies).await?;
            return output.replaced(&changed, "acts for", now());
        }
        // These four don't come here.
        KeysCommand::ScanRule { .. }
        | KeysCommand::Scan { .. }
        | KeysCommand::RevokeAll { .. }
        | KeysCommand::Expire => return Ok(()),
        // Clap lets exactly one of `--network` and `--any` through.
        KeysCommand::SetNetworks { key, networks, .. } => {
            let (company, id) = name(session, &key).await?;
            let changed = m.set_networks(actor, &company, id, networks).await?;
            return output.replaced(&changed, "networks", now());
        }
    };
    output.changed(&record, now())
}

async fn issue(session: &Session, request: Issue, output: &mut Output<'_>) -> Result<(), CliError> {
    let manager: KeyManager = session
        .branded(&request.brand)
        .map_err(|error| CliError::Failed(format!("--brand: {error}")))?;
    companies::known(session, &request.company).await?;
    Peppers::check(session, &request.company).await?;
    let scopes = session.scopes(&request.scopes)?;
    let expires_at = request.expires.from(now());
    let wanted = IssueRequest::new(request.company, request.environment, scopes, expires_at)
        .label(request.label)
        .networks(request.networks)
        .activate_now(!request.pending);
    reach::check()?;
    let issued: IssuedKey = manager.issue(&session.actor, wanted).await?;
    output.issued(&issued)
}

/// Of two quotas for one policy nobody can say which is meant.
fn one_each(limits: &[LimitOverride]) -> Result<(), CliError> {
    for (i, limit) in limits.iter().enumerate() {
        let policy = &limit.policy;
        if limits[..i].iter().any(|other| other.policy == *policy) {
            let problem = format!("--limit: the policy {policy} stands there twice");
            return Err(CliError::Failed(problem));
        }
    }
    Ok(())
}

async fn revoke(
    session: &Session,
    key: &Key,
    reason: RevocationReason,
    yes: bool,
) -> Result<KeyRecord, CliError> {
    let record = find(session, key).await?;
    if !yes {
        return Err(CliError::Refused(format!(
            "a revoked key never works again: look at it with `keys show {}`, then add --yes",
            record.prefix
        )));
    }
    let (manager, actor) = (&session.manager, &session.actor);
    let revoked = manager.revoke(actor, &record.company, record.id, reason);
    Ok(revoked.await?)
}

/// A hundred at a time, however many there are: services change keys meanwhile.
async fn expire(session: &Session, output: &mut Output<'_>) -> Result<(), CliError> {
    let (m, actor) = (&session.manager, &session.actor);
    let (now, mut expired) = (now(), 0_u64);
    loop {
        let swept = m.expire_due(actor, now, 100).await?;
        expired += u64::from(swept.expired);
        if !swept.more {
            return output.expired(expired);
        }
    }
}

pub(crate) async fn list(
    session: &Session,
    company: &CompanyId,
) -> Result<Vec<KeyRecord>, CliError> {
    companies::known(session, company).await?;
    let mut all: Vec<KeyRecord> = Vec::new();
    loop {
        let after = all.last().map(|record| record.id);
        let page = session
            .manager
            .list(&session.actor, company, after, PAGE)
            .await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// Whose key it is, and which: operators name keys, and every verb asks for both.
async fn name(session: &Session, key: &Key) -> Result<(CompanyId, KeyId), CliError> {
    let record = find(session, key).await?;
    Ok((record.company, record.id))
}

async fn find(session: &Session, key: &Key) -> Result<KeyRecord, CliError> {
    let (m, actor) = (&session.manager, &session.actor);
    let found = if let Ok(id) = key.name.parse::<KeyId>() {
        m.locate(actor, id).await
    } else if let Ok(prefix) = key.name.parse::<KeyPrefix>() {
        m.find(actor, &prefix).await
    } else {
        // The text is not repeated: it may be a whole key.
        return Err(CliError::Refused(
            "KEY is a key's prefix, such as cs_live_ and 12 characters, or its id, such as key_ \
             and 26; never the whole key. `keys list --company COMPANY` shows both"
                .to_owned(),
        ));
    };
    found.map_err(|error| match error {
        ManageError::NotFound => CliError::Refused(format!(
            "there is no key {}; `keys list --company COMPANY` shows a company's keys",
            key.name
        )),
        error => error.into(),
    })
}

pub(crate) fn now() -> countersign::Timestamp {
    SystemClock.now().wall
}

const PAGE: u32 = 1000;
