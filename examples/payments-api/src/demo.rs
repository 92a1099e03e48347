//! Demo data: two companies, and keys in every state of their life. A real service issues keys
//! with the `countersign` command line and never writes one down.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign::{
    Actor, Clock, CompanyId, Environment, IssueRequest, KeyManager, KeyStore, ManageError,
    ManualClock, RevocationReason, ScopeSet, SystemClock,
};
use serde::Serialize;

use crate::data::Data;

/// The raw keys of the demo.
#[derive(Serialize)]
pub(crate) struct DemoKeys {
    company_12: Company12,
    company_34: Company34,
    /// For the sandbox, where it is company_12's.
    sandbox: Sandbox,
}

#[derive(Serialize)]
struct Company12 {
    full: String,
    read_only: String,
    expired: String,
    revoked: String,
    suspended: String,
    pending: String,
}

#[derive(Serialize)]
struct Company34 {
    full: String,
}

#[derive(Serialize)]
struct Sandbox {
    full: String,
}

/// Puts both companies, their data and fresh keys in place, and other data into the sandbox.
pub(crate) async fn seed(
    [live, sandbox]: [&Data; 2],
    store: &Arc<dyn KeyStore>,
    manager: &KeyManager,
) -> Result<DemoKeys, Box<dyn Error>> {
    let demo = Demo {
        manager,
        actor: Actor::operator("demo")?,
    };
    let twelve = demo.company(live, "company_12", 12).await?;
    let thirty_four = demo.company(live, "company_34", 34).await?;
    sandbox.seed(&twelve, 99)?;
    Ok(DemoKeys {
        company_12: Company12 {
            full: demo.issue(twelve, FULL, true).await?.1,
            read_only: demo.issue(twelve, READ_ONLY, true).await?.1,
            expired: demo.expired(twelve, store).await?,
            revoked: demo.revoked(twelve).await?,
            suspended: demo.suspended(twelve).await?,
            pending: demo.issue(twelve, FULL, false).await?.1,
        },
        company_34: Company34 {
            full: demo.issue(thirty_four, FULL, true).await?.1,
        },
        sandbox: Sandbox {
            full: demo.sandbox(twelve).await?,
        },
    })
}

struct Demo<'a> {
    manager: &'a KeyManager,
    actor: Actor,
}

impl Demo<'_> {
    async fn company(
        &self,
        data: &Data,
        name: &str,
        number: u32,
    ) -> Result<CompanyId, Box<dyn Error>> {
        let company = name.parse()?;
        match self.manager.create_company(&self.actor, company).await {
            Ok(_) | Err(ManageError::AlreadyExists) => {}
            Err(error) => return Err(error.into()),
        }
        data.seed(&company, number)?;
        Ok(company)
    }

    async fn issue(
        &self,
        company: CompanyId,
        scopes: &[&str],
        activate: bool,
    ) -> Result<(countersign::KeyId, String), Box<dyn Error>> {
        let request = request(company, LIVE, scopes, SystemClock.now().wall)?;
        let request = request.activate_now(activate);
        let issued = self.manager.issue(&self.actor, request).await?;
        Ok((issued.record.id, issued.key.expose().to_string()))
    }

    async fn sandbox(&self, company: CompanyId) -> Result<String, Box<dyn Error>> {
        let request = request(company, Environment::Test, FULL, SystemClock.now().wall)?;
        let issued = self.manager.issue(&self.actor, request).await?;
        Ok(issued.key.expose().to_string())
    }

    async fn revoked(&self, company: CompanyId) -> Result<String, Box<dyn Error>> {
        let (id, key) = self.issue(company, FULL, true).await?;
        let reason = RevocationReason::CompanyRequest;
        self.manager
            .revoke(&self.actor, &company, id, reason)
            .await?;
        Ok(key)
    }

    async fn suspended(&self, company: CompanyId) -> Result<String, Box<dyn Error>> {
        let (id, key) = self.issue(company, FULL, true).await?;
        self.manager.suspend(&self.actor, &company, id).await?;
        Ok(key)
    }

    /// A key that was issued two days ago for one day.
    async fn expired(
        &self,
        company: CompanyId,
        store: &Arc<dyn KeyStore>,
    ) -> Result<String, Box<dyn Error>> {
        let then = SystemClock.now().wall.saturating_sub(2 * DAY);
        let manager = KeyManager::builder(Arc::clone(store))
            .brand("acme")
            .clock(ManualClock::new(then))
            .build()?;
        let request = request(company, LIVE, FULL, then)?;
        let issued = manager.issue(&self.actor, request).await?;
        Ok(issued.key.expose().to_string())
    }
}

/// Writes the keys where only the owner of this process can read them.
pub(crate) fn write(keys: &impl Serialize, path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    // The mode above is for a new file; one that was there may be open to others.
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    serde_json::to_writer_pretty(&mut file, keys)?;
    writeln!(file)
}

/// Prints the keys and lines to try them with, over HTTP.
pub(crate) fn print(
    keys: &DemoKeys,
    production: SocketAddr,
    sandbox: Option<SocketAddr>,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "Demo only: a real service shows a key once, to the company that it is for.\n\
         export API=http://{production}\n\
         export FULL={}\n\
         export READ_ONLY={}\n\
         export EXPIRED={}\n\
         export REVOKED={}\n\
         export SUSPENDED={}\n\
         export PENDING={}\n\
         export OTHER_COMPANY={}\n\
         export SANDBOX_KEY={}",
        keys.company_12.full,
        keys.company_12.read_only,
        keys.company_12.expired,
        keys.company_12.revoked,
        keys.company_12.suspended,
        keys.company_12.pending,
        keys.company_34.full,
        keys.sandbox.full,
    )?;
    if let Some(sandbox) = sandbox {
        writeln!(out, "export SANDBOX=http://{sandbox}")?;
    }
    writeln!(
        out,
        "\nPaste the lines above into another terminal, then try:\n"
    )?;
    let trials = TRY_SANDBOX.iter().filter(|_| sandbox.is_some());
    for line in TRY.iter().chain(trials) {
        writeln!(out, "  {line}")?;
    }
    writeln!(out)
}

fn request(
    company: CompanyId,
    environment: Environment,
    scopes: &[&str],
    now: countersign::Timestamp,
) -> Result<IssueRequest, Box<dyn Error>> {
    let scopes = ScopeSet::from_names(scopes.iter().copied())?;
    let request = IssueRequest::new(company, environment, scopes, now.saturating_add(DAY));
    Ok(request.label("demo").activate_now(true))
}

const LIVE: Environment = Environment::Live;

const DAY: Duration = Duration::from_secs(86_400);

const READ_ONLY: &[&str] = &[
    "banks:read",
    "accounts:read",
    "payments:read",
    "payment-status:read",
    "notifications:read",
];

const FULL: &[&str] = &[
    "banks:read",
    "accounts:read",
    "payments:read",
    "payment-status:read",
    "notifications:read",
    "payments:create",
    "webhooks:manage",
    "tokens:manage",
];

const TRY: &[&str] = &[
    r#"curl -i $API/external/v1/accounts -H "X-Api-Key: $FULL""#,
    r#"curl -i $API/external/v1/accounts"#,
    r#"curl -i $API/external/v1/accounts -H "X-Api-Key: $REVOKED""#,
    r#"curl -i $API/external/v1/payments -H "X-Api-Key: $READ_ONLY" --json '{}'"#,
    r#"curl -i $API/external/v1/payments/pay_1201 -H "X-Api-Key: $OTHER_COMPANY""#,
    r#"curl -i $API/internal/v1/health -H "X-Api-Key: $FULL""#,
];

const TRY_SANDBOX: &[&str] = &[
    r#"curl -i $SANDBOX/external/v1/accounts -H "X-Api-Key: $SANDBOX_KEY""#,
    r#"curl -i $SANDBOX/external/v1/accounts -H "X-Api-Key: $FULL""#,
    r#"curl -i $API/external/v1/accounts -H "X-Api-Key: $SANDBOX_KEY""#,
];
