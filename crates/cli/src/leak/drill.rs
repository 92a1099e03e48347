//! `keys revoke-all`: every key that is named ends, and whatever took its place meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead};
use std::path::Path;

use countersign::{
    CompanyId, KeyId, KeyPrefix, KeyRecord, KeyStatus, ManageError, RevocationReason,
};

use super::scan::may_be_used;
use crate::args::KeysCommand;
use crate::error::CliError;
use crate::keys;
use crate::output::Output;
use crate::session::Session;
use crate::shape::shown_path;

pub(crate) async fn revoke_all(
    session: &Session,
    command: &KeysCommand,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    let KeysCommand::RevokeAll {
        company,
        prefixes,
        reason,
        yes,
    } = command
    else {
        return Ok(());
    };
    let (which, mut records) = match (company, prefixes) {
        (Some(company), _) => (
            Which::Company(*company),
            keys::list(session, company).await?,
        ),
        (None, Some(file)) => {
            let mut records = named_in(session, file).await?;
            records.retain(may_be_used);
            (Which::Named(Named::new(&records)), records)
        }
        (None, None) => return Ok(()),
    };
    records.retain(may_be_used);
    if !yes {
        return Err(CliError::Refused(format!(
            "{} keys would end for ever: look at them first, then add --yes",
            records.len()
        )));
    }
    let mut drill = Drill::new(session, which, *reason);
    drill.run(records).await;
    drill.tell(output)
}

/// Which keys end.
enum Which {
    Company(CompanyId),
    Named(Named),
}

impl Which {
    /// The keys that are still to end.
    async fn left(&mut self, session: &Session) -> Result<Vec<KeyRecord>, CliError> {
        let mut left = match self {
            Self::Company(company) => keys::list(session, company).await?,
            Self::Named(named) => named.all(session).await?,
        };
        left.retain(may_be_used);
        Ok(left)
    }
}

/// The keys of a list, and those that take their place while it is worked off.
#[derive(Default)]
struct Named {
    companies: BTreeSet<CompanyId>,
    keys: BTreeSet<KeyId>,
    /// Successors that were there before: the list names them or leaves them.
    before: BTreeMap<KeyId, KeyPrefix>,
    since: BTreeSet<KeyId>,
}

impl Named {
    fn new(records: &[KeyRecord]) -> Self {
        let mut named = Self::default();
        for record in records {
            named.companies.insert(record.company);
            named.keys.insert(record.id);
            if let KeyStatus::Rotated { successor, .. } = record.status {
                named.before.insert(successor, record.prefix);
            }
        }
        for id in &named.keys {
            named.before.remove(id);
        }
        named
    }

    async fn all(&mut self, session: &Session) -> Result<Vec<KeyRecord>, CliError> {
        let mut all = Vec::new();
        for company in &self.companies {
            all.extend(keys::list(session, company).await?);
        }
        self.follow(&all);
        all.retain(|record| self.keys.contains(&record.id));
        Ok(all)
    }

    /// Adds the keys that took the place of one of these since, and those that took theirs.
    fn follow(&mut self, records: &[KeyRecord]) {
        let mut found = true;
        while found {
            found = false;
            for record in records {
                let follows = record.predecessor.is_some_and(|id| self.keys.contains(&id));
                if follows && !self.before.contains_key(&record.id) && self.keys.insert(record.id) {
                    found = self.since.insert(record.id);
                }
            }
        }
    }

    fn tell(&self, ended: &[KeyRecord], output: &mut Output<'_>) -> Result<(), CliError> {
        for record in ended.iter().filter(|it| self.since.contains(&it.id)) {
            let prefix = record.prefix;
            output.say(format_args!(
                "{prefix} took the place of a key of the list meanwhile, and is revoked too"
            ))?;
        }
        for (successor, prefix) in &self.before {
            output.say(format_args!(
                "{prefix} was rotated before: look whether its successor {successor} got out too"
            ))?;
        }
        Ok(())
    }
}

/// Nothing is said before all is done: in a leak the rest must end, whoever can be told of it.
struct Drill<'a> {
    session: &'a Session,
    which: Which,
    reason: RevocationReason,
    ended: Vec<KeyRecord>,
    /// The keys of the last pass that could not be revoked, each with why.
    failed: Vec<(KeyRecord, ManageError)>,
    /// What made the drill end before a pass found nothing left.
    stopped: Option<CliError>,
}

impl<'a> Drill<'a> {
    const fn new(session: &'a Session, which: Which, reason: RevocationReason) -> Self {
        Self {
            session,
            which,
            reason,
            ended: Vec::new(),
            failed: Vec::new(),
            stopped: None,
        }
    }

    /// Keys are rotated and issued while others are revoked: it goes on until none is left.
    async fn run(&mut self, mut left: Vec<KeyRecord>) {
        for _ in 0..MAX_PASSES {
            let before = self.ended.len();
            self.pass(&left).await;
            let stuck = !left.is_empty() && self.ended.len() == before && !self.failed.is_empty();
            left = match self.which.left(self.session).await {
                Ok(left) if left.is_empty() => return self.failed.clear(),
                Ok(left) => left,
                Err(error) => return self.stopped = Some(error),
            };
            if stuck {
                return;
            }
        }
        self.stopped = Some(CliError::Failed(format!(
            "new keys are made as fast as they are revoked, {} are left: suspend the company \
             (`companies suspend`), then do this again",
            left.len()
        )));
    }

    async fn pass(&mut self, records: &[KeyRecord]) {
        self.failed.clear();
        let (manager, actor) = (&self.session.manager, &self.session.actor);
        for record in records {
            let revoked = manager.revoke(actor, &record.company, record.id, self.reason);
            match revoked.await {
                Ok(record) => self.ended.push(record),
                // Somebody else was faster: it has ended.
                Err(ManageError::IllegalTransition { .. }) => {}
                Err(error) => self.failed.push((record.clone(), error)),
            }
        }
    }

    fn tell(self, output: &mut Output<'_>) -> Result<(), CliError> {
        let told = self.list(output);
        // What could not be done comes before what could not be said.
        if let Some(stopped) = self.stopped {
            return Err(stopped);
        }
        match self.failed.len() {
            0 => told,
            some => Err(CliError::Failed(format!(
                "{some} keys could not be revoked; {} are",
                self.ended.len()
            ))),
        }
    }

    fn list(&self, output: &mut Output<'_>) -> Result<(), CliError> {
        output.list(&self.ended, keys::now())?;
        for (record, error) in &self.failed {
            output.say(format_args!("{}: {error}", record.prefix))?;
        }
        if let Which::Named(named) = &self.which {
            named.tell(&self.ended, output)?;
        }
        output.say(format_args!("{} keys are revoked", self.ended.len()))
    }
}

/// The keys whose prefixes stand in a file, each once. A line that can't be read or a key that is
/// not known ends the command before anything is changed.
async fn named_in(session: &Session, file: &Path) -> Result<Vec<KeyRecord>, CliError> {
    let (mut records, mut seen) = (Vec::new(), BTreeSet::new());
    for (number, line) in lines(file)?.iter().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        // The text is not repeated: it may be a whole key.
        let problem = || format!("{}, line {}: no key's prefix", shown_path(file), number + 1);
        let prefix: KeyPrefix = line.parse().map_err(|_| CliError::Refused(problem()))?;
        let found = session.manager.find(&session.actor, &prefix).await;
        let record = found.map_err(|error| match error {
            ManageError::NotFound => CliError::Refused(format!("there is no key {prefix}")),
            error => error.into(),
        })?;
        if seen.insert(record.id) {
            records.push(record);
        }
    }
    Ok(records)
}

fn lines(file: &Path) -> Result<Vec<String>, CliError> {
    let lines: io::Result<Vec<String>> = if file == Path::new("-") {
        io::stdin().lock().lines().collect()
    } else {
        fs::read_to_string(file).map(|text| text.lines().map(str::to_owned).collect())
    };
    lines.map_err(|error| CliError::Failed(format!("{}: {error}", shown_path(file))))
}

/// Each pass ends all that the one before left: only who makes keys without an end needs more.
const MAX_PASSES: usize = 100;
