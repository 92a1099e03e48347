//! What can be asked of a log.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Subcommand};
use countersign::{CompanyId, KeyId, KeyPrefix, LoggedEvent, SourceForm, SourceKey, Timestamp};

use crate::error::{CliError, chain};
use crate::values::{EventTypes, decisions, event_types, logged_reason, moment, route};

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Verifies a log: every line, the tree over them, and every checkpoint
    ///
    /// Exit codes: 0 ok, 1 tampered, 2 could not check, 3 torn tail, 4 truncated, 5 bad signature,
    /// 6 what nothing signed accounts for: lines unsigned for too long, a removal that is not told.
    Verify(Verify),
    /// Writes the proof that one event stands in a log, and the event's line beside it
    Prove {
        /// The log: a directory, or `postgres://…`
        directory: PathBuf,
        /// The event's number
        seq: u64,
        /// Where to write the proof; the line goes to the same name with `.jsonl` behind it
        #[arg(short = 'o', long = "output", value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        reading: Reading,
    },
    /// Checks the proof that one event stands in a log
    ///
    /// Exit codes: 0 proved, 1 another event or changed, 2 could not check, 5 bad signature.
    CheckProof {
        /// The log's verifier key, one line
        #[arg(long, value_name = "FILE")]
        vkey: PathBuf,
        /// The event's line
        #[arg(long, value_name = "FILE")]
        event: PathBuf,
        /// The proof
        #[arg(long, value_name = "FILE")]
        proof: PathBuf,
    },
    /// Lists events
    Query {
        /// The log: a directory, or `postgres://…`
        directory: PathBuf,
        #[command(flatten)]
        filter: Filter,
    },
    /// Shows the last events, and with -f those that come
    Tail {
        /// The log: a directory, or `postgres://…`
        directory: PathBuf,
        #[command(flatten)]
        filter: Filter,
        /// Goes on with what is written from now on
        #[arg(short, long)]
        follow: bool,
        /// How many of the last events are shown first
        #[arg(short = 'n', long, default_value_t = 10)]
        lines: usize,
    },
    /// Counts decisions and reasons over time
    Stats {
        /// The log: a directory, or `postgres://…`
        directory: PathBuf,
        #[command(flatten)]
        filter: Filter,
    },
    /// Puts a company's events, their proofs and what is needed to check them into one archive
    #[command(group = ArgGroup::new("whose").required(true).args(["company", "all_companies"]))]
    Export {
        /// The log: a directory, or `postgres://…`
        directory: PathBuf,
        #[command(flatten)]
        filter: Filter,
        /// Events of every company, and those of none: for whoever may see all of the log
        #[arg(long)]
        all_companies: bool,
        /// Where to write the archive, a `.tar`
        #[arg(short = 'o', long = "output", value_name = "FILE")]
        file: PathBuf,
    },
    /// Copies a log out of PostgreSQL into a new directory, which needs no server to be verified
    Pull {
        /// `postgres://…`
        directory: PathBuf,
        /// The directory to make
        to: PathBuf,
        #[command(flatten)]
        reading: Reading,
    },
    /// Deletes the oldest lines of a log in PostgreSQL; their hashes stay, and it verifies as before
    Remove {
        /// `postgres://…`
        directory: PathBuf,
        /// Lines before the first that is not older than this, as `2026-09-21T14:13:20.000000Z`
        #[arg(long, value_name = "TIME")]
        before: Timestamp,
        /// Lines that are deleted never come back
        #[arg(long)]
        yes: bool,
    },
    /// Makes a signing key, in a file that its owner alone may read, and prints the verifier key
    Keygen {
        /// The log's name, for example `payments.example.com/audit`
        origin: String,
        /// Where to write the key
        #[arg(short = 'o', long = "output", value_name = "FILE")]
        file: PathBuf,
    },
    /// Writes a page that a browser shows: volumes, refusals, keys, endpoints, latency
    Report {
        /// The log: a directory, or `postgres://…`
        directory: PathBuf,
        #[command(flatten)]
        filter: Filter,
        /// Where to write it
        #[arg(short = 'o', long = "output", value_name = "FILE")]
        file: PathBuf,
    },
}

impl AuditCommand {
    /// The log that the command is about.
    pub(crate) fn log(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Verify(Verify { directory, .. })
            | Self::Prove { directory, .. }
            | Self::Query { directory, .. }
            | Self::Tail { directory, .. }
            | Self::Stats { directory, .. }
            | Self::Export { directory, .. }
            | Self::Report { directory, .. }
            | Self::Pull { directory, .. } => Some(directory),
            Self::CheckProof { .. } | Self::Keygen { .. } | Self::Remove { .. } => None,
        }
    }

    /// Whether the command makes no file and changes no log.
    pub(crate) const fn answers_alone(&self) -> bool {
        match self {
            Self::Verify(_)
            | Self::CheckProof { .. }
            | Self::Query { .. }
            | Self::Tail { .. }
            | Self::Stats { .. } => true,
            Self::Prove { .. }
            | Self::Export { .. }
            | Self::Report { .. }
            | Self::Pull { .. }
            | Self::Remove { .. }
            | Self::Keygen { .. } => false,
        }
    }

    /// Which events the command is about.
    pub(crate) fn filter(&mut self) -> Option<&mut Filter> {
        match self {
            Self::Query { filter, .. }
            | Self::Tail { filter, .. }
            | Self::Stats { filter, .. }
            | Self::Export { filter, .. }
            | Self::Report { filter, .. } => Some(filter),
            _ => None,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// The log: a directory, or `postgres://…`
    pub(crate) directory: PathBuf,
    /// A checkpoint that was kept elsewhere: it shows a log that was written anew
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Vec<PathBuf>,
    /// The verifier key to believe, in place of the one in the log's directory
    #[arg(long, value_name = "FILE")]
    pub(crate) vkey: Option<PathBuf>,
}

/// Which events. One must pass every condition that is given.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Filter {
    /// The key's prefix or id
    #[arg(long)]
    key: Option<String>,
    /// The company that owns the key, whose data it was, or that was claimed
    #[arg(long)]
    company: Option<CompanyId>,
    /// The route template, such as `/accounts/{id}`
    #[arg(long, value_parser = route)]
    route: Option<String>,
    /// allowed, denied, `rate_limited` or `lifecycle_changed`
    #[arg(long, value_parser = decisions())]
    decision: Option<String>,
    /// The reason, for example `invalid_api_key`
    #[arg(long, value_parser = logged_reason)]
    reason: Option<String>,
    /// The event's type, or its end from a dot on: `request.allowed`
    #[arg(long = "type", value_name = "TYPE", value_parser = event_types)]
    kind: Option<EventTypes>,
    /// The request's id
    #[arg(long)]
    request_id: Option<String>,
    /// The first time that counts, RFC 3339
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Timestamp>,
    /// The time from which on events don't count; it is after `--from`
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Timestamp>,
    /// The source address, in whichever form the log has it
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    /// The key of hashed source addresses, where the log has those
    #[arg(long, value_name = "FILE", requires = "source")]
    source_key: Option<PathBuf>,
    /// What `source` looks like in the log
    #[arg(skip)]
    sources: Vec<String>,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// Whether the log is told that it is read.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Reading {
    /// Leaves no word of this reading in the log: for a copy, or one that can only be read
    #[arg(long)]
    pub(crate) unrecorded: bool,
}

impl Filter {
    /// Makes out what the source address looks like in the log, and refuses what names no key and
    /// what no event can pass.
    pub(crate) fn prepare(&mut self) -> Result<(), CliError> {
        if self.from.zip(self.to).is_some_and(|(from, to)| from >= to) {
            let problem = "--to is not after --from: there is no time between them";
            return Err(CliError::Failed(problem.to_owned()));
        }
        if self.key.as_ref().is_some_and(|key| !names_a_key(key)) {
            // The text is not repeated: it may be a whole key.
            let problem = "--key is a key's prefix, such as cs_live_ and 12 characters, or its id, \
                           such as key_ and 26; never the whole key";
            return Err(CliError::Failed(problem.to_owned()));
        }
        let Some(address) = self.source else {
            return Ok(());
        };
        let mut forms = vec![SourceForm::Plain, SourceForm::Truncated];
        if let Some(file) = &self.source_key {
            let failed = |problem| CliError::Failed(format!("{}: {problem}", file.display()));
            if !file.is_file() {
                return Err(failed("there is no such key".to_owned()));
            }
            let key = SourceKey::open(file).map_err(|error| failed(chain(&error)))?;
            forms.push(SourceForm::KeyedHash(key));
        }
        let sources = forms.iter().map(|form| form.of(address));
        // Refusals that are told together have the network of several addresses.
        self.sources = sources
            .flat_map(|source| [source.to_string(), source.network().to_string()])
            .collect();
        Ok(())
    }

    /// Whether an event passes that is to be handed over. A company is given what it or its data
    /// had part in, and not what another company tried when it named this one.
    pub(crate) fn hands_over(&self, event: &LoggedEvent) -> bool {
        let parties = [event.text("owner_company"), event.text("effective_company")];
        let company = self.company.as_ref().map(CompanyId::as_str);
        company.is_none_or(|company| parties.contains(&Some(company))) && self.passes(event)
    }

    /// What is asked for, for the event that tells of it.
    pub(crate) fn purpose(&self, verb: &str) -> String {
        match &self.company {
            Some(company) => format!("{verb} of company {company}"),
            None => verb.to_owned(),
        }
    }

    pub(crate) fn passes(&self, event: &LoggedEvent) -> bool {
        let is = |wanted: Option<&str>, names: &[&str]| {
            wanted.is_none_or(|wanted| names.iter().any(|n| event.text(n) == Some(wanted)))
        };
        let kind = |wanted: &EventTypes| event.text("type").is_some_and(|it| wanted.contain(it));
        is(self.key.as_deref(), &["key_prefix", "key_id"])
            && is(self.company.as_ref().map(CompanyId::as_str), COMPANIES)
            && is(self.route.as_deref(), &["route"])
            && is(self.decision.as_deref(), &["decision"])
            && is(self.reason.as_deref(), &["reason"])
            && is(self.request_id.as_deref(), &["request_id"])
            && self.kind.as_ref().is_none_or(kind)
            && self.is_from_source(event)
            && self.is_in_time(event)
    }

    fn is_from_source(&self, event: &LoggedEvent) -> bool {
        let one_of = |source: &str| self.sources.iter().any(|known| known == source);
        self.source.is_none() || event.text("source").is_some_and(one_of)
    }

    fn is_in_time(&self, event: &LoggedEvent) -> bool {
        if self.from.is_none() && self.to.is_none() {
            return true;
        }
        let time = event.text("time").and_then(|time| time.parse().ok());
        time.is_some_and(|time: Timestamp| {
            self.from.is_none_or(|from| time >= from) && self.to.is_none_or(|to| time < to)
        })
    }
}

fn names_a_key(text: &str) -> bool {
    text.parse::<KeyId>().is_ok() || text.parse::<KeyPrefix>().is_ok()
}

const COMPANIES: &[&str] = &["owner_company", "effective_company", "claimed_company"];
