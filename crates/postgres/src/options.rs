//! Where the server is, and how it is asked.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use countersign_core::ConfigError;
use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// How [`PostgresKeyStore`](crate::PostgresKeyStore) reaches its server.
///
/// Read from a connection address, `postgres://user@host:5432/database?…`, with the parameters that
/// PostgreSQL's own programs take (`sslmode`, `connect_timeout`, `application_name`, …) and
///
/// | parameter | means |
/// |---|---|
/// | `schema=NAME` | the schema that holds the tables; `countersign` unless given |
/// | `sslmode=disable` | no TLS; the default for a server on this machine |
/// | `sslmode=prefer` | TLS where the server has it, verified too |
/// | `sslmode=require`, `verify-full` | TLS, certificate and host name verified; the default elsewhere |
/// | `sslrootcert=FILE` | the certificate authorities to believe, PEM |
///
/// TLS always verifies the server's certificate: a connection that anybody could answer protects
/// nothing. The password may be left out of the address and given to
/// [`PostgresOptions::password`]. Debug output and errors never hold it.
#[derive(Clone)]
#[must_use]
pub struct PostgresOptions {
    pub(crate) config: Config,
    pub(crate) schema: String,
    pub(crate) roots: Option<PathBuf>,
    pub(crate) readers: usize,
    pub(crate) writers: usize,
    pub(crate) checkout: Duration,
    pub(crate) statement: Duration,
    pub(crate) migrate: bool,
}

impl PostgresOptions {
    /// The password, where it shall not stand in the address.
    pub fn password(mut self, password: impl AsRef<[u8]>) -> Self {
        self.config.password(password);
        self
    }

    /// Whether the address named a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// The schema that holds the tables: 1 to 40 characters of `a-z 0-9 _`, no digit first.
    ///
    /// # Errors
    /// When the name is another.
    pub fn schema(mut self, name: &str) -> Result<Self, ConfigError> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let first_is_digit = name.starts_with(|c: char| c.is_ascii_digit());
        if !(1..=40).contains(&name.len()) || first_is_digit || !name.bytes().all(good) {
            let problem = "the schema is 1 to 40 characters of a-z 0-9 _, no digit first";
            return Err(ConfigError::new(SUBJECT, problem));
        }
        name.clone_into(&mut self.schema);
        Ok(self)
    }

    /// Connections that look keys up, each used by many requests at once: 2 unless set.
    pub fn readers(mut self, connections: usize) -> Self {
        self.readers = connections.max(1);
        self
    }

    /// Connections for everything else, each used by one caller at a time: 2 unless set. Changes
    /// are made one after the other all the same.
    pub fn writers(mut self, connections: usize) -> Self {
        self.writers = connections.max(1);
        self
    }

    /// How long a caller waits for a free connection before it is told `Unavailable`: 2 seconds
    /// unless set.
    pub fn checkout_deadline(mut self, deadline: Duration) -> Self {
        self.checkout = deadline;
        self
    }

    /// How long the server works on one statement, waiting for others included, before it gives up:
    /// 5 seconds unless set, one at least.
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement = timeout.max(Duration::from_secs(1));
        self
    }

    /// Whether the schema is made and brought up to date, as it is unless set. Without it a store
    /// whose schema is older is refused, which suits a role that may not change it.
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// How long one piece of work may take, several statements.
    pub(crate) fn patience(&self) -> Duration {
        self.statement * 2
    }

    fn new(config: Config) -> Self {
        Self {
            config,
            schema: "countersign".to_owned(),
            roots: None,
            readers: 2,
            writers: 2,
            checkout: Duration::from_secs(2),
            statement: Duration::from_secs(5),
            migrate: true,
        }
    }

    /// Bounds that the address left open: nothing waits for ever for a peer that is gone.
    fn bounded(mut self, sslmode_given: bool) -> Self {
        let config = &mut self.config;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(5));
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(10));
        }
        config.keepalives_idle(Duration::from_secs(10));
        if config.get_keepalives_interval().is_none() {
            config.keepalives_interval(Duration::from_secs(5));
        }
        if config.get_application_name().is_none() {
            config.application_name("countersign");
        }
        if !sslmode_given {
            // What never leaves this machine needs no TLS, and a database on it has often a
            // certificate that nobody vouches for.
            let here = config.get_hosts().iter().all(is_here);
            config.ssl_mode(if here {
                SslMode::Disable
            } else {
                SslMode::Require
            });
        }
        self
    }
}

impl FromStr for PostgresOptions {
    type Err = ConfigError;

    /// Reads `postgres://…` or `postgresql://…`. The error never repeats the address: it may hold a
    /// password.
    fn from_str(address: &str) -> Result<Self, ConfigError> {
        let known = ["postgres://", "postgresql://"];
        if !known.iter().any(|scheme| address.starts_with(scheme)) {
            return Err(ConfigError::new(SUBJECT, ADVICE));
        }
        let (base, query) = address.split_once('?').unwrap_or((address, ""));
        let (mut passed_on, mut sslmode_given) = (Vec::new(), false);
        let (mut schema, mut roots) = (None, None);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match (name, value) {
                ("schema", _) => schema = Some(decode(value)?),
                ("sslrootcert", _) => roots = Some(PathBuf::from(decode(value)?)),
                ("sslmode", "verify-ca" | "verify-full") => {
                    sslmode_given = true;
                    passed_on.push("sslmode=require");
                }
                _ => {
                    sslmode_given |= name == "sslmode";
                    passed_on.push(parameter);
                }
            }
        }
        let address = format!("{base}?{}", passed_on.join("&"));
        // The parser's own error may repeat a part of the address.
        let config: Config = address
            .parse()
            .map_err(|_| ConfigError::new(SUBJECT, ADVICE))?;
        if config.get_hosts().is_empty() || config.get_user().is_none() {
            return Err(ConfigError::new(SUBJECT, "it names a user and a host"));
        }
        let options = Self {
            roots,
            ..Self::new(config)
        };
        match schema {
            Some(schema) => options.schema(&schema),
            None => Ok(options),
        }
        .map(|options| options.bounded(sslmode_given))
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("hosts", &self.config.get_hosts())
            .field("ports", &self.config.get_ports())
            .field("user", &self.config.get_user())
            .field("database", &self.config.get_dbname())
            .field("password", &"[redacted]")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// Whether a connection to this host stays on this machine.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            let address = name.parse::<std::net::IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn decode(value: &str) -> Result<String, ConfigError> {
    let decoded = percent_decode_str(value).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| ConfigError::new(SUBJECT, ADVICE))
}

const SUBJECT: &str = "PostgreSQL address";
const ADVICE: &str = "give postgres://user@host:5432/database, special characters in it \
                      percent-encoded, and only parameters that are known";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str) -> Result<PostgresOptions, ConfigError> {
        address.parse()
    }

    #[test]
    fn an_address_is_read() {
        let options = read("postgres://ada:s%40cret@db.example.com:6432/keys?schema=cs_2&sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem").unwrap();
        assert_eq!(options.config.get_user(), Some("ada"));
        assert_eq!(options.config.get_password(), Some(&b"s@cret"[..]));
        assert_eq!(options.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(options.schema, "cs_2");
        assert_eq!(options.roots, Some(PathBuf::from("/etc/ca.pem")));
        assert!(!format!("{options:?}").contains("cret"));
    }

    #[test]
    fn another_machine_is_asked_over_tls() {
        let mode = |address: &str| read(address).unwrap().config.get_ssl_mode();
        assert_eq!(mode("postgres://u@db.example.com/k"), SslMode::Require);
        assert_eq!(
            mode("postgres://u@db.example.com/k?sslmode=disable"),
            SslMode::Disable
        );
        for here in [
            "postgres://u@localhost/k",
            "postgresql://u@127.0.0.1:5433/k",
            "postgres://u@%2Fvar%2Frun%2Fpostgresql/k",
        ] {
            assert_eq!(mode(here), SslMode::Disable, "{here}");
        }
        let mixed = "postgres://u@localhost,db.example.com/k";
        assert_eq!(mode(mixed), SslMode::Require);
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for bad in [
            "",
            "sqlite:hunter2.db",
            "host=localhost password=hunter2",
            "postgres://u:hunter2@h:port/k",
            "postgres://u:hunter2@h/k?hunter2=1",
            "postgres://u:hunter2@h/k?schema=Robert'); --hunter2",
            "postgres://u:hunter2@h/k?schema=%FF",
            "postgres://u:hunter2@h/k?schema=",
            "postgres://u:hunter2@h/k?sslmode=hunter2",
            "postgres:///k?password=hunter2",
        ] {
            let error = read(bad).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2"), "{bad}: {shown}");
        }
    }
}
