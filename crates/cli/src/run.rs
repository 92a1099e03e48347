//! What the commands do.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use countersign::{
    Actor, Clock, CompanyRecord, IssueRequest, IssuedKey, KeyId, KeyManager, KeyRecord,
    ManageError, ScopeSet, StoreLocator, SystemClock,
};
use serde_json::{Value, json};

use crate::args::{Args, Command, Companies, Expiry, KeyName, Keys};

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    pub(crate) fn could_not(error: &dyn Error) -> Self {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            text = format!("{text}: {cause}");
            next = cause.source();
        }
        Self { text, code: 2 }
    }

    fn refused(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, code: 1 }
    }

    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<ManageError> for Failure {
    fn from(error: ManageError) -> Self {
        match error {
            ManageError::Store(_) | ManageError::Conflict => Self::could_not(&error),
            refused => Self::refused(refused.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::could_not(&error)
    }
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let locator = args.store.parse::<StoreLocator>();
    let locator = locator.map_err(|e| Failure::refused(e.to_string()))?;
    let store = locator.open().await;
    let store = store.map_err(|error| Failure::could_not(&error))?;
    let mut manager = KeyManager::builder(store);
    if let Command::Keys(Keys::Issue { brand, .. }) = &args.command {
        manager = manager.brand(brand);
    }
    let operator = Operator {
        manager: manager
            .build()
            .map_err(|e| Failure::refused(e.to_string()))?,
        actor: Actor::operator(&args.actor).map_err(|e| Failure::refused(e.to_string()))?,
        json: args.json,
    };
    match args.command {
        Command::Companies(command) => operator.companies(command).await,
        Command::Keys(command) => operator.keys(command).await,
    }
}

struct Operator {
    manager: KeyManager,
    actor: Actor,
    json: bool,
}

impl Operator {
    async fn companies(&self, command: Companies) -> Result<(), Failure> {
        let (manager, actor) = (&self.manager, &self.actor);
        let record: CompanyRecord = match command {
            Companies::Create { company } => manager.create_company(actor, company).await?,
            Companies::Show { company } => manager.company(actor, &company).await?,
            Companies::Suspend { company } => manager.suspend_company(actor, company).await?,
            Companies::Reactivate { company } => manager.reactivate_company(actor, company).await?,
        };
        let shown = json!({"company": record.id, "status": record.status.as_str()});
        self.print(&[shown], &["company", "status"])
    }

    async fn keys(&self, command: Keys) -> Result<(), Failure> {
        let (manager, actor) = (&self.manager, &self.actor);
        let record = match command {
            Keys::Issue { .. } => return self.issue(command).await,
            Keys::List { company } => return self.list(&company).await,
            Keys::Rotate { key, overlap } => {
                let id = self.id(&key).await?;
                return self.hand_over(&manager.rotate(actor, id, overlap).await?);
            }
            Keys::Revoke { yes: false, .. } => {
                let text = "a revoked key never comes back; say --yes to revoke it";
                return Err(Failure::refused(text));
            }
            Keys::Revoke { key, reason, .. } => {
                manager.revoke(actor, self.id(&key).await?, reason).await?
            }
            Keys::Show { key } => manager.show(actor, self.id(&key).await?).await?,
            Keys::Activate { key } => manager.activate(actor, self.id(&key).await?).await?,
            Keys::Suspend { key } => manager.suspend(actor, self.id(&key).await?).await?,
            Keys::Reactivate { key } => manager.reactivate(actor, self.id(&key).await?).await?,
            Keys::SetScopes { key, scopes } => {
                let (id, scopes) = (self.id(&key).await?, ScopeSet::from_iter(scopes));
                manager.set_scopes(actor, id, scopes).await?
            }
        };
        self.print(&[describe(&record)], COLUMNS)
    }

    async fn issue(&self, command: Keys) -> Result<(), Failure> {
        let Keys::Issue {
            company,
            scopes,
            expires,
            environment,
            label,
            pending,
            ..
        } = command
        else {
            return Ok(());
        };
        let expires = match expires {
            Expiry::At(time) => time,
            Expiry::In(length) => SystemClock.now().wall.saturating_add(length),
        };
        let scopes = ScopeSet::from_iter(scopes);
        let request = IssueRequest::new(company, environment, scopes, expires)
            .label(label)
            .activate_now(!pending);
        self.hand_over(&self.manager.issue(&self.actor, request).await?)
    }

    async fn list(&self, company: &countersign::CompanyId) -> Result<(), Failure> {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page = self.manager.list(&self.actor, company, after, 500).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            rows.extend(page.iter().map(describe));
        }
        self.print(&rows, COLUMNS)
    }

    async fn id(&self, name: &KeyName) -> Result<KeyId, Failure> {
        match name {
            KeyName::Other => Err(Failure::refused(
                "give a key's id (key_…) or its prefix (brand_live_…), never the whole key",
            )),
            KeyName::Id(id) => Ok(*id),
            KeyName::Prefix(prefix) => Ok(self.manager.find(&self.actor, prefix).await?.id),
        }
    }

    /// The one place where a raw key leaves the program.
    fn hand_over(&self, issued: &IssuedKey) -> Result<(), Failure> {
        let key = issued.key.expose();
        let mut described = describe(&issued.record);
        if self.json {
            described["key"] = Value::String(key.to_string());
            return self.print(&[described], COLUMNS);
        }
        writeln!(io::stdout(), "{}", *key)?;
        let mut err = io::stderr();
        writeln!(err, "This key is shown once. Hand it over safely:")?;
        table(&mut err, &[described], COLUMNS)?;
        Ok(())
    }

    fn print(&self, rows: &[Value], columns: &[&str]) -> Result<(), Failure> {
        let mut out = io::stdout();
        if self.json {
            rows.iter().try_for_each(|row| writeln!(out, "{row}"))?;
        } else {
            table(&mut out, rows, columns)?;
        }
        Ok(())
    }
}

/// What may be shown of a key: never its digest.
fn describe(record: &KeyRecord) -> Value {
    json!({
        "id": record.id,
        "prefix": record.prefix,
        "company": record.company,
        "scopes": record.scopes,
        "environment": record.environment(),
        "status": record.status_at(SystemClock.now().wall),
        "expires_at": record.expires_at,
        "label": record.label,
    })
}

fn table(out: &mut impl Write, rows: &[Value], columns: &[&str]) -> io::Result<()> {
    let cell = |row: &Value, column: &str| match &row[column] {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().filter_map(Value::as_str).collect();
            items.join(",")
        }
        other => other.to_string(),
    };
    let mut lines = vec![columns.iter().map(|c| c.to_uppercase()).collect::<Vec<_>>()];
    lines.extend(
        rows.iter()
            .map(|row| columns.iter().map(|c| cell(row, c)).collect()),
    );
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0)
    };
    for line in &lines {
        let cells = line.iter().enumerate();
        let cells: Vec<_> = cells
            .map(|(c, text)| format!("{text:<w$}", w = width(c)))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

const COLUMNS: &[&str] = &[
    "id",
    "prefix",
    "company",
    "scopes",
    "environment",
    "status",
    "expires_at",
];
