//! What can be asked for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Parser, Subcommand};
use clap_complete::Shell;
use countersign::{CompanyId, Environment, LimitOverride, RevocationReason};
use ipnet::IpNet;

use crate::audit::AuditCommand;
use crate::contract::ContractCommand;
use crate::import::Import;
use crate::review::Review;
use crate::values::{Expiry, duration, environments, expiry, limit, network, reasons};

/// Keys and companies of a countersign store.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, propagate_version = true)]
pub(crate) struct Args {
    /// Where keys are kept; a password for PostgreSQL is better given in PGPASSWORD
    #[arg(
        long,
        env = "COUNTERSIGN_STORE",
        hide_env_values = true,
        value_name = "sqlite:FILE|postgres://…",
        global = true
    )]
    pub(crate) store: Option<String>,
    /// Who acts, for the audit log
    #[arg(long, env = "USER", value_name = "NAME", global = true)]
    pub(crate) actor: Option<String>,
    /// A file of peppers, where digests are made with some: one a line, `<id>:<hex>`, the one for
    /// new keys first
    #[arg(long, env = "COUNTERSIGN_PEPPERS", value_name = "FILE", global = true)]
    pub(crate) peppers: Option<PathBuf>,
    /// The external contract, an OpenAPI document: no scope is granted that no endpoint asks for.
    /// Without it every well-formed scope is
    #[arg(long, env = "COUNTERSIGN_CONTRACT", value_name = "FILE", global = true)]
    pub(crate) contract: Option<PathBuf>,
    /// The longest life of a key, 400d unless set
    #[arg(long, env = "COUNTERSIGN_MAX_LIFETIME", value_name = "TIME", value_parser = duration, global = true)]
    pub(crate) max_lifetime: Option<Duration>,
    /// Answers in JSON on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Keys: issue, look at, change, end
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Companies: create, look at, suspend, reactivate
    #[command(subcommand)]
    Companies(CompaniesCommand),
    /// Names the keys that somebody should look at: unused, about to end, or able to do more than
    /// they need
    Review(Review),
    /// The audit log: verify it, ask it, draw it
    #[command(subcommand)]
    Audit(AuditCommand),
    /// The external contract: check a document, compare two, publish one, see who uses what
    #[command(subcommand)]
    Contract(ContractCommand),
    /// Writes a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

impl Command {
    /// Whether the command changes nothing and makes no file: its answer is all of it.
    pub(crate) const fn answers_alone(&self) -> bool {
        match self {
            Self::Keys(command) => matches!(
                command,
                KeysCommand::List { .. }
                    | KeysCommand::Show(_)
                    | KeysCommand::Scan { .. }
                    | KeysCommand::ScanRule { .. }
            ),
            Self::Companies(command) => {
                matches!(
                    command,
                    CompaniesCommand::Show { .. } | CompaniesCommand::List
                )
            }
            Self::Audit(command) => command.answers_alone(),
            Self::Review(_) | Self::Contract(_) | Self::Completions { .. } => true,
        }
    }
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum KeysCommand {
    /// Issues a key and writes it, once, to standard output
    Issue(Issue),
    /// Takes over keys that another system issued, by their hashes
    Import(Import),
    /// Lists a company's keys
    List {
        /// The company
        #[arg(long)]
        company: CompanyId,
    },
    /// Shows a key's record; the key itself is never to be had again
    Show(Key),
    /// Brings a pending key into use
    Activate(Key),
    /// Replaces an active key by a new one and writes that, once, to standard output
    Rotate {
        #[command(flatten)]
        key: Key,
        /// How long the old key goes on: 24h, 7d, or 0h to end it now
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "24h")]
        overlap: Duration,
        /// Confirms that the old key ends now, where there is no overlap
        #[arg(long)]
        yes: bool,
    },
    /// Takes an active key out of use for a while
    Suspend(Key),
    /// Brings a suspended key back into use
    Reactivate(Key),
    /// Ends a key for ever
    Revoke {
        #[command(flatten)]
        key: Key,
        /// Why
        #[arg(long, value_parser = reasons())]
        reason: RevocationReason,
        /// Confirms that the key ends for ever
        #[arg(long)]
        yes: bool,
    },
    /// Ends many keys for ever: the leak drill
    #[command(group = ArgGroup::new("which").required(true))]
    RevokeAll {
        /// Every key of this company that has not ended yet
        #[arg(long, group = "which")]
        company: Option<CompanyId>,
        /// The keys whose prefixes stand in this file, one a line; `-` reads standard input
        #[arg(long, value_name = "FILE", group = "which")]
        prefixes: Option<PathBuf>,
        /// Why
        #[arg(long, value_parser = reasons())]
        reason: RevocationReason,
        /// Confirms that the keys end for ever
        #[arg(long)]
        yes: bool,
    },
    /// Stores keys whose time has come as expired, and lets the audit log tell of it; no refusal
    /// waits for this. A service that brings events into its audit log does it by itself
    Expire,
    /// Prints a rule by which a secret scanner finds keys
    ScanRule {
        /// Only keys that begin with this brand
        #[arg(long)]
        brand: Option<String>,
    },
    /// Looks for keys in a file or a tree of files, and says whether they still work; exit code 1
    /// when one may
    Scan {
        /// Where to look
        path: PathBuf,
    },
    /// Replaces a key's own quotas, which take the place of policies' quotas
    #[command(group = ArgGroup::new("quotas").required(true))]
    SetLimits {
        #[command(flatten)]
        key: Key,
        /// A policy's name, how many at once, and how many a second, minute or hour after that:
        /// key=200:50/s; again for each
        #[arg(long = "limit", value_name = "POLICY=BURST:N/UNIT", value_parser = limit, group = "quotas")]
        limits: Vec<LimitOverride>,
        /// The key has the policies' quotas
        #[arg(long, group = "quotas")]
        none: bool,
    },
    /// Replaces what a key may do
    SetScopes {
        #[command(flatten)]
        key: Key,
        /// A scope, `resource:action`; again for each. Where --contract switches wildcards on,
        /// `resource:*` is all that the resource has now
        #[arg(long = "scope", required = true, value_name = "SCOPE")]
        scopes: Vec<String>,
    },
    /// Replaces the companies that a parent's key may act for besides its owner
    #[command(group = ArgGroup::new("group").required(true))]
    SetSubsidiaries {
        #[command(flatten)]
        key: Key,
        /// A subsidiary; again for each
        #[arg(long = "company", value_name = "COMPANY", group = "group")]
        companies: Vec<CompanyId>,
        /// The key acts for its owner alone
        #[arg(long, group = "group")]
        none: bool,
    },
    /// Replaces the networks that a key may be used from
    #[command(group = ArgGroup::new("from").required(true))]
    SetNetworks {
        #[command(flatten)]
        key: Key,
        /// A network, for example 203.0.113.0/24; again for each
        #[arg(long = "network", value_name = "CIDR", value_parser = network, group = "from")]
        networks: Vec<IpNet>,
        /// The key may be used from anywhere
        #[arg(long, group = "from")]
        any: bool,
    },
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Issue {
    /// The company that will own the key
    #[arg(long)]
    pub(crate) company: CompanyId,
    /// A scope, `resource:action`; again for each. Where --contract switches wildcards on,
    /// `resource:*` is all that the resource has now
    #[arg(long = "scope", required = true, value_name = "SCOPE")]
    pub(crate) scopes: Vec<String>,
    /// When the key ends: 90d, 12h, or a time such as 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = expiry)]
    pub(crate) expires: Expiry,
    /// Production or sandbox
    #[arg(long, default_value = "live", value_parser = environments())]
    pub(crate) environment: Environment,
    /// What the key begins with: 2 to 10 characters of a-z 0-9
    #[arg(long, default_value = "cs")]
    pub(crate) brand: String,
    /// What people call the key
    #[arg(long, default_value = "")]
    pub(crate) label: String,
    /// A network that the key may be used from, for example 203.0.113.0/24; again for each
    #[arg(long = "network", value_name = "CIDR", value_parser = network)]
    pub(crate) networks: Vec<IpNet>,
    /// The key is not in use until `keys activate`
    #[arg(long)]
    pub(crate) pending: bool,
}

/// The text is looked at later: an error made here would repeat it, and it may be a whole key.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Key {
    /// The key's prefix (cs_live_…) or id (key_…), never the whole key
    #[arg(value_name = "KEY")]
    pub(crate) name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CompaniesCommand {
    /// Makes a company known, and the store's file if there is none
    Create {
        /// The company
        company: CompanyId,
    },
    /// Suspends a company and with it all of its keys
    Suspend {
        /// The company
        company: CompanyId,
    },
    /// Brings a suspended company back
    Reactivate {
        /// The company
        company: CompanyId,
    },
    /// Shows a company
    Show {
        /// The company
        company: CompanyId,
    },
    /// Lists all companies
    List,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        Args::command().debug_assert();
    }
}
