//! What can be asked for.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Parser, Subcommand};
use clap_complete::Shell;
use countersign::{
    CompanyId, Environment, LimitOverride, ParseError, Quota, RevocationReason, Timestamp,
};
use ipnet::IpNet;

use crate::audit::AuditCommand;
use crate::contract::ContractCommand;
use crate::import::Import;
use crate::review::Review;

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    In(Duration),
    At(Timestamp),
}

impl Expiry {
    pub(crate) fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::In(duration) => now.saturating_add(duration),
            Self::At(time) => time,
        }
    }
}

pub(crate) fn expiry(text: &str) -> Result<Expiry, ParseError> {
    let time = || text.parse().map(Expiry::At);
    duration(text)
        .map(Expiry::In)
        .or_else(|_| time())
        .map_err(|_: ParseError| {
            ParseError::new("time", "90d, 12h, or RFC 3339 such as 2027-01-31T00:00:00Z")
        })
}

pub(crate) fn duration(text: &str) -> Result<Duration, ParseError> {
    let error = ParseError::new("length of time", "a number and a unit: 90d, 12h or 30m");
    let units = [('d', 86_400), ('h', 3600), ('m', 60)];
    let found = units
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let (number, seconds) = found.ok_or(error)?;
    // `parse` alone would take a sign.
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error);
    }
    let number: u64 = number.parse().map_err(|_| error)?;
    let total = number.checked_mul(seconds).ok_or(error)?;
    Ok(Duration::from_secs(total))
}

fn limit(text: &str) -> Result<LimitOverride, ParseError> {
    let error = ParseError::new("limit", "POLICY=BURST:N/UNIT, for example key=200:50/s");
    let (policy, quota) = text.split_once('=').ok_or(error)?;
    let (burst, rate) = quota.split_once(':').ok_or(error)?;
    let (count, unit) = rate.split_once('/').ok_or(error)?;
    let period = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(error),
    };
    let number = |text: &str| text.parse().map_err(|_| error);
    let period = Duration::from_secs(period);
    let quota = Quota::per(number(burst)?, number(count)?, period).map_err(|_| error)?;
    let policy = Some(policy.to_owned()).filter(|policy| !policy.is_empty());
    let policy = policy.ok_or(error)?;
    Ok(LimitOverride { policy, quota })
}

pub(crate) fn network(text: &str) -> Result<IpNet, ParseError> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let network = text.parse::<IpNet>().or_else(|_| address());
    network
        .map(|network| network.trunc())
        .map_err(|_| ParseError::new("network", "an address and a length: 203.0.113.0/24"))
}

pub(crate) fn environments() -> impl TypedValueParser<Value = Environment> {
    PossibleValuesParser::new(["live", "test"]).try_map(|name| name.parse::<Environment>())
}

fn reasons() -> impl TypedValueParser<Value = RevocationReason> {
    let names = RevocationReason::ALL.map(RevocationReason::as_str);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<RevocationReason>())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn times_are_lengths_or_points() {
        let hour = Duration::from_secs(3600);
        assert_eq!(expiry("12h"), Ok(Expiry::In(12 * hour)));
        assert_eq!(expiry("90d"), Ok(Expiry::In(90 * 24 * hour)));
        assert_eq!(duration("0h"), Ok(Duration::ZERO));
        let time: Timestamp = "2027-01-31T00:00:00Z".parse().unwrap();
        assert_eq!(expiry("2027-01-31T00:00:00Z"), Ok(Expiry::At(time)));
        for bad in [
            "",
            "d",
            "90",
            "+9d",
            "-1d",
            "1.5h",
            "9 d",
            "99999999999999999999d",
            "é",
            "tomorrow",
        ] {
            assert!(expiry(bad).is_err(), "{bad}");
        }
        assert!(duration("18446744073709551615d").is_err(), "no overflow");
    }

    #[test]
    fn a_limit_names_its_policy_and_both_numbers() {
        let good = limit("key=200:50/s").unwrap();
        assert_eq!(good.policy, "key");
        assert_eq!(good.quota, Quota::per_second(200, 50).unwrap());
        for bad in [
            "",
            "key",
            "key=200",
            "key=200:50",
            "key=200:50/d",
            "=1:1/s",
            "key=0:1/s",
        ] {
            assert!(limit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_lose_their_host_bits() {
        assert_eq!(network("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(
            network("203.0.113.7").unwrap().to_string(),
            "203.0.113.7/32"
        );
        assert_eq!(
            network("2001:db8::1").unwrap().to_string(),
            "2001:db8::1/128"
        );
        assert!(network("10.0.0.0/33").is_err());
        assert!(network("everywhere").is_err());
    }
}
