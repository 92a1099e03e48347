//! `countersign review`: which keys somebody should look at.

mod findings;

use std::collections::HashMap;
use std::time::Duration;

use countersign::{CompanyId, Contract, KeyId, KeyPrefix, KeyRecord, KeyUse, ScopeSet, Timestamp};
use serde::Serialize;

use self::findings::{Finding, Kind, Window, findings};
use crate::error::CliError;
use crate::output::Output;
use crate::session::Session;
use crate::values::duration;
use crate::{companies, keys};

#[derive(Debug, clap::Args)]
pub(crate) struct Review {
    /// Only this company's keys
    #[arg(long)]
    company: Option<CompanyId>,
    /// Names keys that nobody used for so long, and scopes that a key of that age never needed
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "90d")]
    unused_for: Duration,
    /// Names keys that end within this time
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30d")]
    expires_within: Duration,
}

pub(crate) async fn run(
    session: &Session,
    review: &Review,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    let window = Window {
        now: keys::now(),
        unused_for: review.unused_for,
        expires_within: review.expires_within,
    };
    let companies = match &review.company {
        Some(company) => vec![*company],
        None => {
            let all = companies::all(session).await?;
            all.into_iter().map(|company| company.id).collect()
        }
    };
    let mut report = Report::default();
    for company in &companies {
        report.add(session, company, &window).await?;
    }
    report.tell(companies.len(), output)
}

#[derive(Default)]
struct Report {
    rows: Vec<Row>,
    keys: usize,
    used: bool,
}

/// One finding about one key.
#[derive(Serialize)]
struct Row {
    company: CompanyId,
    prefix: KeyPrefix,
    id: KeyId,
    label: String,
    finding: Kind,
    detail: String,
    /// The scopes that it is about, where it is about scopes.
    #[serde(skip_serializing_if = "ScopeSet::is_empty")]
    scopes: ScopeSet,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Timestamp>,
    /// A command, or what to do where no command does it.
    advice: String,
}

impl Report {
    async fn add(
        &mut self,
        session: &Session,
        company: &CompanyId,
        window: &Window,
    ) -> Result<(), CliError> {
        let records = keys::list(session, company).await?;
        self.keys += records.len();
        let uses = uses(session, &records).await?;
        self.used |= !uses.is_empty();
        // A successor is made when its predecessor is rotated.
        let issued = |id: KeyId| {
            let found = records.binary_search_by_key(&id, |record| record.id);
            found.ok().map(|index| records[index].created_at)
        };
        let writes = |scope| findings::writes(session.contract(), scope);
        let registry = session.contract().and_then(Contract::registry);
        let registry = registry.filter(|registry| registry.allows_wildcards());
        let whole =
            |scopes: &ScopeSet| registry.map_or_else(Vec::new, |it| it.wildcards_in(scopes));
        for record in &records {
            let last = uses.get(&record.id);
            let found = findings(record, last, issued, writes, whole, window);
            let rows = found.into_iter().map(|finding| row(record, last, finding));
            self.rows.extend(rows);
        }
        Ok(())
    }

    fn tell(&self, companies: usize, output: &mut Output<'_>) -> Result<(), CliError> {
        if output.is_json() {
            output.value(&self.rows)?;
        } else if !self.rows.is_empty() {
            let head = [
                "COMPANY",
                "PREFIX",
                "LABEL",
                "FINDING",
                "DETAIL",
                "WHAT TO DO",
            ];
            let mut table = vec![head.map(str::to_owned).to_vec()];
            table.extend(self.rows.iter().map(Row::cells));
            output.table(&table)?;
        }
        let (findings, keys) = (self.rows.len(), self.keys);
        output.say(format_args!(
            "findings: {findings}; keys: {keys}; companies: {companies}"
        ))?;
        if keys > 0 && !self.used {
            output.say("no use of a key is in this store: does the service call `track_uses`?")?;
        }
        Ok(())
    }
}

impl Row {
    fn cells(&self) -> Vec<String> {
        vec![
            self.company.to_string(),
            self.prefix.to_string(),
            self.label.clone(),
            self.finding.as_str().to_owned(),
            self.detail.clone(),
            self.advice.clone(),
        ]
    }
}

async fn uses(
    session: &Session,
    records: &[KeyRecord],
) -> Result<HashMap<KeyId, KeyUse>, CliError> {
    let mut all = HashMap::new();
    for page in records.chunks(PAGE) {
        let ids: Vec<KeyId> = page.iter().map(|record| record.id).collect();
        let found = session.manager.last_uses(&session.actor, &ids).await?;
        all.extend(found.into_iter().map(|uses| (uses.key, uses)));
    }
    Ok(all)
}

fn row(record: &KeyRecord, last: Option<&KeyUse>, finding: Finding) -> Row {
    Row {
        company: record.company,
        prefix: record.prefix,
        id: record.id,
        label: record.label.clone(),
        finding: finding.kind,
        detail: finding.detail,
        scopes: finding.scopes,
        expires_at: record.expires_at,
        last_used_at: last.map(|uses| uses.at),
        advice: finding.advice,
    }
}

const PAGE: usize = 1000;
