//! `countersign keys import`: a team moves in with the keys that its companies have.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fmt, fs};

use countersign::{
    CompanyId, Environment, ImportRequest, ImportedHash, IssueRequest, ManageError, Scope,
    Timestamp,
};
use ipnet::IpNet;
use serde::Deserialize;

use crate::error::CliError;
use crate::output::Output;
use crate::session::Session;
use crate::values::{Expiry, environments, expiry, network};
use crate::{companies, keys};

/// Texts that may be a whole key by mistake are looked at later: an error that clap makes would
/// repeat them.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Import {
    /// The SHA-256 of the whole key, as the other system kept it: 64 hex digits, or base64. Never
    /// the key itself
    #[arg(value_name = "HASH", required_unless_present = "file")]
    hash: Option<String>,
    /// The key's prefix, where it is a key of countersign's own format
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// The company that owns the key
    #[arg(long, required_unless_present = "file")]
    company: Option<CompanyId>,
    /// A scope, `resource:action`; again for each
    #[arg(long = "scope", value_name = "SCOPE", required_unless_present = "file")]
    scopes: Vec<Scope>,
    /// When the key ends: 90d, 12h, or a time such as 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = expiry, required_unless_present = "file")]
    expires: Option<Expiry>,
    /// Production or sandbox
    #[arg(long, default_value = "live", value_parser = environments())]
    environment: Environment,
    /// What people call the key
    #[arg(long, default_value = "")]
    label: String,
    /// A network that the key may be used from, for example 203.0.113.0/24; again for each
    #[arg(long = "network", value_name = "CIDR", value_parser = network)]
    networks: Vec<IpNet>,
    /// The key is not in use until `keys activate`
    #[arg(long)]
    pending: bool,
    /// Many keys, all or none of them: one a line, each a JSON object of hash, company, scopes and
    /// expires_at, and where wanted environment, prefix, label, networks and pending; `-` reads
    /// standard input
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["hash", "prefix", "company", "scopes", "expires", "environment",
                              "label", "networks", "pending"]
    )]
    file: Option<PathBuf>,
}

pub(crate) async fn run(
    session: &Session,
    import: Import,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    if let Some(file) = &import.file {
        return many(session, file, output).await;
    }
    // Clap lets nobody through without all three.
    let (Some(hash), Some(company), Some(expires)) = (import.hash, import.company, import.expires)
    else {
        return Ok(());
    };
    let hash = read::<ImportedHash>("HASH", &hash).map_err(CliError::Failed)?;
    let prefix = import.prefix.map(|prefix| read("--prefix", &prefix));
    let prefix = prefix.transpose().map_err(CliError::Failed)?;
    companies::known(session, &company).await?;
    let scopes = import.scopes.into_iter().collect();
    let expires_at = expires.from(keys::now());
    let key = IssueRequest::new(company, import.environment, scopes, expires_at)
        .label(import.label)
        .networks(import.networks)
        .activate_now(!import.pending);
    let mut request = ImportRequest::new(key, hash);
    if let Some(prefix) = prefix {
        request = request.prefix(prefix);
    }
    let imported = session.manager.import(&session.actor, request).await;
    output.changed(&imported.map_err(explained)?, keys::now())
}

async fn many(session: &Session, file: &Path, output: &mut Output<'_>) -> Result<(), CliError> {
    let failed =
        |error: &dyn fmt::Display| CliError::Failed(format!("{}: {error}", file.display()));
    let text = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    let text = text.map_err(|error| failed(&error))?;
    let lines = text.lines().enumerate();
    let lines: Vec<_> = lines.filter(|(_, line)| !line.trim().is_empty()).collect();
    let at = |number: usize, problem: &dyn fmt::Display| {
        format!("{}, line {}: {problem}", file.display(), number + 1)
    };
    let mut requests = Vec::new();
    for (number, line) in &lines {
        let request = Line::request(line);
        requests.push(request.map_err(|e| CliError::Refused(at(*number, &e)))?);
    }
    let imported = session.manager.import_all(&session.actor, requests).await;
    let records = imported.map_err(|error| match error {
        ManageError::InList { number, problem } => {
            let problem = explained(*problem);
            let line = lines.get(number - 1).map_or(number, |(line, _)| *line);
            CliError::Refused(at(line, &format!("{problem}; no key was taken over")))
        }
        error => error.into(),
    })?;
    output.list(&records, keys::now())?;
    output.say(format_args!("{} keys are taken over", records.len()))
}

fn explained(error: ManageError) -> CliError {
    CliError::Refused(match error {
        ManageError::AlreadyExists => {
            "the key was taken over before; a key is taken over once".to_owned()
        }
        ManageError::NotFound => {
            "there is no such company; create it first with `companies create COMPANY`".to_owned()
        }
        error => return error.into(),
    })
}

/// Everything is a text here: what serde says of a value of another type repeats the value, and
/// that may be a whole key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    hash: String,
    company: String,
    scopes: Vec<String>,
    expires_at: String,
    #[serde(default)]
    environment: Option<String>,
    #[serde(default)]
    prefix: Option<String>,
    #[serde(default)]
    label: String,
    #[serde(default)]
    networks: Vec<String>,
    #[serde(default)]
    pending: bool,
}

impl Line {
    fn request(text: &str) -> Result<ImportRequest, String> {
        let line: Self = serde_json::from_str(text).map_err(|error| {
            format!(
                "column {}: not an object of hash, company, scopes and expires_at, and perhaps \
                 environment, prefix, label, networks, pending",
                error.column()
            )
        })?;
        let company: CompanyId = read("company", &line.company)?;
        let scopes = line.scopes.iter().map(|scope| read("scopes", scope));
        let scopes = scopes.collect::<Result<_, _>>()?;
        let expires_at: Timestamp = read("expires_at", &line.expires_at)?;
        let environment = line.environment.as_deref().unwrap_or("live");
        let environment = read("environment", environment)?;
        let networks = line.networks.iter();
        let networks = networks.map(|text| network(text).map_err(|e| format!("networks: {e}")));
        let key = IssueRequest::new(company, environment, scopes, expires_at)
            .label(line.label)
            .networks(networks.collect::<Result<Vec<_>, _>>()?)
            .activate_now(!line.pending);
        let request = ImportRequest::new(key, read("hash", &line.hash)?);
        Ok(match line.prefix {
            Some(prefix) => request.prefix(read("prefix", &prefix)?),
            None => request,
        })
    }
}

/// Parse errors of ours say what is wanted and never repeat what was given.
fn read<T: FromStr<Err: fmt::Display>>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{name}: {error}"))
}
