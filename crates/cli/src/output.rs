//! Answers: raw keys and tables on standard output, words on standard error.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use countersign::{
    CompanyId, CompanyRecord, Environment, IssuedKey, KeyId, KeyPrefix, KeyRecord, KeyStatus,
    KeyUse, LimitOverride, RevocationReason, ScopeSet, Timestamp,
};
use ipnet::IpNet;
use serde::Serialize;

use crate::error::CliError;

/// Where answers go. Nothing that it writes holds a digest.
pub(crate) struct Output<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    json: bool,
}

impl<'a> Output<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, err: &'a mut dyn Write, json: bool) -> Self {
        Self { out, err, json }
    }

    /// The one time that a raw key is seen.
    pub(crate) fn issued(&mut self, issued: &IssuedKey) -> Result<(), CliError> {
        let record = &issued.record;
        self.raw_key(issued).map_err(|error| {
            CliError::Failed(format!(
                "the key {} was issued, but could not be written and is lost ({error}); \
                 revoke it and issue another",
                record.prefix
            ))
        })?;
        if !self.json {
            writeln!(
                self.err,
                "{} ({}) of {} is {} until {}. This is the only time the key is shown.",
                record.prefix,
                record.id,
                record.company,
                record.status.as_str(),
                record.expires_at
            )?;
        }
        Ok(())
    }

    fn raw_key(&mut self, issued: &IssuedKey) -> io::Result<()> {
        let key = issued.key.expose();
        if self.json {
            serde_json::to_writer(&mut *self.out, &Issued::new(&issued.record, &key))?;
        } else {
            self.out.write_all(key.as_bytes())?;
        }
        self.out.write_all(b"\n")?;
        self.out.flush()
    }

    /// A key after a change.
    pub(crate) fn changed(&mut self, record: &KeyRecord, now: Timestamp) -> Result<(), CliError> {
        if self.json {
            return self.value(&Shown::new(record, now));
        }
        let (prefix, status) = (record.prefix, record.status_at(now));
        Ok(writeln!(self.err, "{prefix} ({}) is {status}", record.id)?)
    }

    /// A key after one of its parts, called as `show` calls it, was replaced.
    pub(crate) fn replaced(
        &mut self,
        record: &KeyRecord,
        part: &str,
        now: Timestamp,
    ) -> Result<(), CliError> {
        let shown = Shown::new(record, now);
        if self.json {
            return self.value(&shown);
        }
        let rows = shown.rows();
        let row = rows.iter().find(|row| row[0] == part);
        let value = row.map_or("nobody else", |row| &row[1]);
        let (prefix, status) = (record.prefix, record.status_at(now));
        self.say(format_args!(
            "{prefix} ({}) is {status}, {part}: {value}",
            record.id
        ))
    }

    /// How many keys were stored as expired.
    pub(crate) fn expired(&mut self, expired: u64) -> Result<(), CliError> {
        if self.json {
            return self.value(&serde_json::json!({"expired": expired}));
        }
        self.say(format_args!("keys expired: {expired}"))
    }

    pub(crate) fn show(
        &mut self,
        record: &KeyRecord,
        last_use: Option<&KeyUse>,
        now: Timestamp,
    ) -> Result<(), CliError> {
        let key = Shown::new(record, now);
        let last_use = last_use.map(LastUse::new);
        if self.json {
            return self.value(&WithUse { key, last_use });
        }
        let mut rows = key.rows();
        rows.extend(last_use.iter().flat_map(LastUse::rows));
        self.table(&rows)
    }

    pub(crate) fn list(&mut self, records: &[KeyRecord], now: Timestamp) -> Result<(), CliError> {
        let shown: Vec<_> = records.iter().map(|key| Shown::new(key, now)).collect();
        if self.json {
            return self.value(&shown);
        }
        let head = ["PREFIX", "ID", "STATUS", "EXPIRES", "SCOPES", "LABEL"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(shown.iter().map(Shown::row));
        self.table(&rows)
    }

    pub(crate) fn company(&mut self, record: &CompanyRecord) -> Result<(), CliError> {
        if self.json {
            return self.value(&Company::new(record));
        }
        self.table(&[
            vec!["company".to_owned(), record.id.to_string()],
            vec!["status".to_owned(), record.status.as_str().to_owned()],
        ])
    }

    pub(crate) fn companies(&mut self, records: &[CompanyRecord]) -> Result<(), CliError> {
        if self.json {
            let all: Vec<_> = records.iter().map(Company::new).collect();
            return self.value(&all);
        }
        let head = ["COMPANY", "STATUS"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        let row = |record: &CompanyRecord| {
            let status = record.status.as_str().to_owned();
            vec![record.id.to_string(), status]
        };
        rows.extend(records.iter().map(row));
        self.table(&rows)
    }

    /// A company after a change.
    pub(crate) fn company_changed(&mut self, record: &CompanyRecord) -> Result<(), CliError> {
        if self.json {
            return self.value(&Company::new(record));
        }
        let status = record.status.as_str();
        Ok(writeln!(self.err, "{} is {status}", record.id)?)
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.out.write_all(bytes)?;
        Ok(self.out.flush()?)
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// A line for people.
    pub(crate) fn say(&mut self, line: impl std::fmt::Display) -> Result<(), CliError> {
        Ok(writeln!(self.err, "{line}")?)
    }

    pub(crate) fn value(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer(&mut *self.out, value)?;
        self.raw(b"\n")
    }

    pub(crate) fn table(&mut self, rows: &[Vec<String>]) -> Result<(), CliError> {
        self.raw(aligned(rows).as_bytes())
    }
}

#[derive(Serialize)]
struct Issued<'a> {
    id: KeyId,
    prefix: KeyPrefix,
    key: &'a str,
    company: CompanyId,
    scopes: &'a ScopeSet,
    environment: Environment,
    status: &'static str,
    expires_at: Timestamp,
}

impl<'a> Issued<'a> {
    fn new(record: &'a KeyRecord, key: &'a str) -> Self {
        Self {
            id: record.id,
            prefix: record.prefix,
            key,
            company: record.company,
            scopes: &record.scopes,
            environment: record.environment(),
            status: record.status.as_str(),
            expires_at: record.expires_at,
        }
    }
}

/// A record as people may see it: field by field, so that no new field of a record gets out by
/// itself.
#[derive(Serialize)]
struct Shown<'a> {
    id: KeyId,
    prefix: KeyPrefix,
    company: CompanyId,
    environment: Environment,
    status: &'static str,
    scopes: &'a ScopeSet,
    label: &'a str,
    networks: &'a [IpNet],
    limits: &'a [LimitOverride],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    subsidiaries: &'a [CompanyId],
    created_at: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    predecessor: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    successor: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<RevocationReason>,
}

impl<'a> Shown<'a> {
    fn new(record: &'a KeyRecord, now: Timestamp) -> Self {
        let (successor, accepted_until) = match record.status {
            KeyStatus::Rotated { successor, until } => (Some(successor), Some(until)),
            _ => (None, None),
        };
        let (revoked_at, reason) = match record.status {
            KeyStatus::Revoked { at, reason } => (Some(at), Some(reason)),
            _ => (None, None),
        };
        Self {
            id: record.id,
            prefix: record.prefix,
            company: record.company,
            environment: record.environment(),
            status: record.status_at(now),
            scopes: &record.scopes,
            label: &record.label,
            networks: &record.networks,
            limits: &record.limits,
            subsidiaries: &record.subsidiaries,
            created_at: record.created_at,
            expires_at: record.expires_at,
            predecessor: record.predecessor,
            successor,
            accepted_until,
            revoked_at,
            reason,
        }
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.prefix.to_string(),
            self.id.to_string(),
            self.status.to_owned(),
            self.expires_at.to_string(),
            self.scopes.names().join(","),
            printable(self.label),
        ]
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let networks = match self.networks {
            [] => "any".to_owned(),
            some => join(some),
        };
        let limits = match self.limits {
            [] => "the policies' own".to_owned(),
            some => some.iter().map(limit).collect::<Vec<_>>().join(","),
        };
        let acts_for = match self.subsidiaries {
            [] => None,
            some => Some(join(some)),
        };
        let always = [
            ("prefix", Some(self.prefix.to_string())),
            ("id", Some(self.id.to_string())),
            ("company", Some(self.company.to_string())),
            ("environment", Some(self.environment.to_string())),
            ("status", Some(self.status.to_owned())),
            ("scopes", Some(self.scopes.names().join(","))),
            ("networks", Some(networks)),
            ("limits", Some(limits)),
            ("label", Some(printable(self.label))),
            ("created", Some(self.created_at.to_string())),
            ("expires", Some(self.expires_at.to_string())),
        ];
        let sometimes = [
            ("acts for", acts_for),
            ("predecessor", self.predecessor.map(|id| id.to_string())),
            ("successor", self.successor.map(|id| id.to_string())),
            ("accepted until", self.accepted_until.map(|t| t.to_string())),
            ("revoked", self.revoked_at.map(|time| time.to_string())),
            ("reason", self.reason.map(|reason| reason.to_string())),
        ];
        let rows = always.into_iter().chain(sometimes);
        rows.filter_map(|(name, value)| Some(vec![name.to_owned(), value?]))
            .collect()
    }
}

#[derive(Serialize)]
struct WithUse<'a> {
    #[serde(flatten)]
    key: Shown<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_use: Option<LastUse<'a>>,
}

/// When and for what a key was used, as far as services told of it.
#[derive(Serialize)]
struct LastUse<'a> {
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    count: u64,
    scopes: &'a ScopeSet,
}

impl<'a> LastUse<'a> {
    fn new(uses: &'a KeyUse) -> Self {
        Self {
            at: uses.at,
            route: uses.route.as_deref(),
            count: uses.count,
            scopes: &uses.scopes,
        }
    }

    fn rows(&self) -> [Vec<String>; 3] {
        let last = match self.route {
            Some(route) => format!("{} {route}", self.at),
            None => self.at.to_string(),
        };
        let exercised = self.scopes.names().join(",");
        [
            ("last used", last),
            ("uses", self.count.to_string()),
            ("exercised", exercised),
        ]
        .map(|(name, value)| vec![name.to_owned(), value])
    }
}

#[derive(Serialize)]
struct Company {
    company: CompanyId,
    status: &'static str,
}

impl Company {
    fn new(record: &CompanyRecord) -> Self {
        Self {
            company: record.id,
            status: record.status.as_str(),
        }
    }
}

fn join(items: &[impl ToString]) -> String {
    let texts: Vec<_> = items.iter().map(ToString::to_string).collect();
    texts.join(",")
}

/// A quota as `set-limits` takes it, in the shortest unit in which it is a whole number.
fn limit(limit: &LimitOverride) -> String {
    let LimitOverride { policy, quota } = limit;
    let interval = u128::from(quota.interval_nanos());
    let whole = |(unit, nanos): (&str, u128)| {
        // Rounded as the interval was, when the quota was made.
        let count = nanos / interval;
        (nanos.checked_div(count) == Some(interval)).then(|| format!("{count}/{unit}"))
    };
    let units = [("s", 1), ("m", 60), ("h", 3600)];
    let mut units = units
        .map(|(unit, seconds)| (unit, seconds * 1_000_000_000))
        .into_iter();
    let rate = units.find_map(whole);
    let rate = rate
        .unwrap_or_else(|| format!("1 every {:?}", Duration::from_nanos(quota.interval_nanos())));
    format!("{policy}={}:{rate}", quota.burst())
}

/// A label as a terminal may show it: what would move the cursor or turn the text is spelled out.
pub(crate) fn printable(label: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    };
    let mut text = String::with_capacity(label.len());
    for c in label.chars() {
        if hidden(c) {
            text.extend(c.escape_unicode());
        } else {
            text.push(c);
        }
    }
    text
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell: &String| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string can't fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use countersign::Quota;

    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [["a", "bb", "c"], ["üüü", "d", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&rows), "a    bb  c\nüüü  d\n");
    }

    #[test]
    fn a_quota_is_shown_as_it_was_given() {
        let shown = |burst, rate, seconds| {
            let quota = Quota::per(burst, rate, Duration::from_secs(seconds)).unwrap();
            let policy = "key".to_owned();
            limit(&LimitOverride { policy, quota })
        };
        for (count, seconds, text) in [
            (5, 1, "5/s"),
            (7, 1, "7/s"),
            (60, 60, "1/s"),
            (7, 60, "7/m"),
            (1, 60, "1/m"),
            (100, 3600, "100/h"),
            (1, 86_400, "1 every 86400s"),
        ] {
            assert_eq!(shown(20, count, seconds), format!("key=20:{text}"));
        }
    }

    #[test]
    fn a_label_can_t_steer_the_terminal() {
        assert_eq!(
            printable("Bücher \u{1b}[2J\u{202e}x"),
            "Bücher \\u{1b}[2J\\u{202e}x"
        );
    }
}
