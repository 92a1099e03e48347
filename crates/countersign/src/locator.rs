//! Where keys are kept, as services and operators write it down.

use std::fmt;
#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use countersign_core::{ConfigError, StoreError};
use countersign_key_verify::KeyStore;
#[cfg(feature = "postgres")]
use countersign_postgres::{PostgresKeyStore, PostgresOptions};
#[cfg(feature = "sqlite")]
use countersign_sqlite::SqliteKeyStore;

/// Where keys are kept, in the form that services and the command line share:
///
/// | text | store | feature |
/// |---|---|---|
/// | `sqlite:FILE` | one SQLite file | `sqlite` |
/// | `postgres://user@host:5432/database?…`, `postgresql://…` | PostgreSQL | `postgres` |
///
/// A PostgreSQL address without a password takes it from the environment variable `PGPASSWORD`,
/// as PostgreSQL's own programs do: what stands on a command line, others on the machine can read.
/// No error and no debug output repeats the text, which may hold a password.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// use countersign::StoreLocator;
///
/// let locator: StoreLocator = "sqlite:countersign.db".parse()?;
/// let store = locator.open().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct StoreLocator(Kind);

#[derive(Clone)]
enum Kind {
    #[cfg(feature = "sqlite")]
    Sqlite(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(Box<PostgresOptions>),
}

impl StoreLocator {
    /// A SQLite file.
    #[cfg(feature = "sqlite")]
    #[must_use]
    pub fn sqlite(file: impl Into<PathBuf>) -> Self {
        Self(Kind::Sqlite(file.into()))
    }

    /// Opens the store and brings its schema up to date.
    ///
    /// # Errors
    /// `Unavailable` when the file can't be opened or the server can't be reached or refuses the
    /// user, `Corrupt` when the file is not a database, `UnsupportedVersion` when a newer version
    /// made the schema.
    ///
    /// # Panics
    /// When called outside a tokio runtime with its timer and its I/O on.
    pub async fn open(&self) -> Result<Arc<dyn KeyStore>, StoreError> {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Kind::Sqlite(path) => Ok(Arc::new(SqliteKeyStore::open(path)?)),
            #[cfg(feature = "postgres")]
            Kind::Postgres(options) => {
                let options = PostgresOptions::clone(options);
                Ok(Arc::new(PostgresKeyStore::connect(options).await?))
            }
        }
    }
}

impl FromStr for StoreLocator {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        if let Some(file) = text.strip_prefix("sqlite:") {
            return sqlite(file);
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return postgres(text);
        }
        let problem = "give sqlite:FILE or postgres://user@host:5432/database";
        Err(ConfigError::new(SUBJECT, problem))
    }
}

impl fmt::Debug for StoreLocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Kind::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            #[cfg(feature = "postgres")]
            Kind::Postgres(options) => options.fmt(f),
        }
    }
}

#[cfg(feature = "sqlite")]
fn sqlite(file: &str) -> Result<StoreLocator, ConfigError> {
    if file.is_empty() || file.starts_with("//") {
        let problem = "a file's path stands behind sqlite:, without slashes of its own";
        return Err(ConfigError::new(SUBJECT, problem));
    }
    Ok(StoreLocator(Kind::Sqlite(file.into())))
}

#[cfg(not(feature = "sqlite"))]
fn sqlite(_: &str) -> Result<StoreLocator, ConfigError> {
    let problem = "this program was built without SQLite (feature `sqlite`)";
    Err(ConfigError::new(SUBJECT, problem))
}

#[cfg(feature = "postgres")]
fn postgres(address: &str) -> Result<StoreLocator, ConfigError> {
    let mut options: PostgresOptions = address.parse()?;
    if let Some(password) = std::env::var_os("PGPASSWORD").filter(|_| !options.has_password()) {
        options = options.password(password.as_encoded_bytes());
    }
    Ok(StoreLocator(Kind::Postgres(Box::new(options))))
}

#[cfg(not(feature = "postgres"))]
fn postgres(_: &str) -> Result<StoreLocator, ConfigError> {
    let problem = "this program was built without PostgreSQL (feature `postgres`)";
    Err(ConfigError::new(SUBJECT, problem))
}

const SUBJECT: &str = "key store";

#[cfg(all(test, feature = "sqlite", feature = "postgres"))]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_read_and_nothing_is_repeated() {
        let good = ["sqlite:a.db", "sqlite:/a/b.db", "postgres://u:hunter2@h/d"];
        for good in good {
            let shown = format!("{:?}", good.parse::<StoreLocator>().unwrap());
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        for bad in [
            "",
            "hunter2.db",
            "sqlite:",
            "sqlite://hunter2",
            "mysql://u:hunter2@h/d",
            "postgres://u:hunter2@h/d?x=hunter2",
        ] {
            let shown = bad.parse::<StoreLocator>().unwrap_err().to_string();
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
