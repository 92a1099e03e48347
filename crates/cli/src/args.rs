//! The command line.

use std::time::Duration;

use clap::{Parser, Subcommand};
use countersign::{CompanyId, Environment, KeyId, KeyPrefix, RevocationReason, Scope, Timestamp};

/// Issue, look at and end the API keys of outside companies.
#[derive(Debug, Parser)]
#[command(name = "countersign", version)]
pub(crate) struct Args {
    /// Where keys are kept: `sqlite:FILE` or `postgres://user@host:5432/database`. A password is
    /// better given in PGPASSWORD.
    #[arg(long, env = "COUNTERSIGN_STORE", hide_env_values = true)]
    pub(crate) store: String,
    /// Your name, for the audit log.
    #[arg(long, env = "USER")]
    pub(crate) actor: String,
    /// Prints JSON instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Companies that own keys.
    #[command(subcommand)]
    Companies(Companies),
    /// Keys.
    #[command(subcommand)]
    Keys(Keys),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Companies {
    /// Makes a company known.
    Create { company: CompanyId },
    /// Shows whether a company may use its keys.
    Show { company: CompanyId },
    /// Stops all keys of a company at once.
    Suspend { company: CompanyId },
    /// Lets a company use its keys again.
    Reactivate { company: CompanyId },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Issues a key and prints it, once, alone on standard output.
    Issue {
        #[arg(long)]
        company: CompanyId,
        /// What the key may do; may be given several times.
        #[arg(long = "scope", required = true)]
        scopes: Vec<Scope>,
        /// When it ends: `90d`, `12h` or an RFC 3339 time.
        #[arg(long)]
        expires: Expiry,
        #[arg(long, default_value = "live")]
        environment: Environment,
        /// What the key begins with.
        #[arg(long, default_value = "cs")]
        brand: String,
        #[arg(long, default_value = "")]
        label: String,
        /// Issues the key without bringing it into use.
        #[arg(long)]
        pending: bool,
    },
    /// Lists a company's keys.
    List {
        #[arg(long)]
        company: CompanyId,
    },
    /// Shows one key.
    Show { key: KeyName },
    /// Brings a pending key into use.
    Activate { key: KeyName },
    /// Takes a key out of use for a while.
    Suspend { key: KeyName },
    /// Brings a suspended key back into use.
    Reactivate { key: KeyName },
    /// Gives a key a successor and prints it, once, alone on standard output.
    Rotate {
        key: KeyName,
        /// How long the old key goes on: `24h`, `7d`; 0 ends it at once.
        #[arg(long, default_value = "0h", value_parser = duration)]
        overlap: Duration,
    },
    /// Ends a key for ever.
    Revoke {
        key: KeyName,
        #[arg(long)]
        reason: RevocationReason,
        /// Yes, this can't be undone.
        #[arg(long)]
        yes: bool,
    },
    /// Replaces what a key may do.
    SetScopes {
        key: KeyName,
        #[arg(long = "scope", required = true)]
        scopes: Vec<Scope>,
    },
}

/// A key by its id or by its prefix.
#[derive(Debug, Clone)]
pub(crate) enum KeyName {
    Id(KeyId),
    Prefix(KeyPrefix),
    /// Something else, perhaps a whole key: it is not kept, so that no message can repeat it.
    Other,
}

impl std::str::FromStr for KeyName {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = text.parse().map(Self::Id);
        Ok(id
            .or_else(|_| text.parse().map(Self::Prefix))
            .unwrap_or(Self::Other))
    }
}

/// A time to come, or how far away it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expiry {
    In(Duration),
    At(Timestamp),
}

impl std::str::FromStr for Expiry {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length = duration(text).map(Self::In);
        length.or_else(|problem| text.parse().map(Self::At).map_err(|_| problem))
    }
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    let problem = "give a length like 90d, 12h or 30m";
    let unit = match text.chars().last() {
        Some('d') => 86_400,
        Some('h') => 3600,
        Some('m') => 60,
        _ => return Err(problem),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| problem)?;
    let seconds = count.checked_mul(unit).ok_or(problem)?;
    Ok(Duration::from_secs(seconds))
}
