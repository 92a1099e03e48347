//! Answers: raw keys and tables on standard output, words on standard error.

pub(crate) mod reach;
mod text;
mod views;

use std::io::{self, Write};

use countersign::{CompanyRecord, IssuedKey, KeyRecord, KeyUse, Timestamp};
use serde::Serialize;

use self::text::aligned;
pub(crate) use self::text::printable;
use self::views::{Company, Issued, LastUse, Shown, WithUse};
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
            CliError::Untold(format!(
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

    /// A line for people, of which nothing steers their terminal.
    pub(crate) fn say(&mut self, line: impl std::fmt::Display) -> Result<(), CliError> {
        Ok(writeln!(self.err, "{}", printable(&line.to_string()))?)
    }

    pub(crate) fn value(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer(&mut *self.out, value)?;
        self.raw(b"\n")
    }

    /// A table for people, of which no cell steers their terminal.
    pub(crate) fn table(&mut self, rows: &[Vec<String>]) -> Result<(), CliError> {
        self.raw(aligned(rows).as_bytes())
    }
}
