//! Where the server is and how it is used.

use std::fmt;
use std::time::Duration;

use countersign_core::ConfigError;
use redis::{ConnectionInfo, IntoConnectionInfo};

/// Where the server is, and how long it is waited for.
#[derive(Clone)]
#[must_use]
pub struct RedisOptions {
    pub(crate) nodes: Nodes,
    pub(crate) prefix: Box<str>,
    pub(crate) deadline: Duration,
    pub(crate) connect_timeout: Duration,
    #[cfg(feature = "tls")]
    authorities: Option<Box<[u8]>>,
}

#[derive(Clone)]
pub(crate) enum Nodes {
    Server(Box<ConnectionInfo>),
    Cluster(Vec<ConnectionInfo>),
}

impl RedisOptions {
    /// One server, `redis://user:password@host:6379/0`, or `rediss://…` for TLS (feature `tls`).
    ///
    /// TLS uses the process's default cryptography of `rustls`; where a program chose none, it is
    /// made to be `ring` when the first connection is made.
    ///
    /// # Errors
    /// When the address is none. The error never repeats it: it may hold a password.
    pub fn server(address: &str) -> Result<Self, ConfigError> {
        Ok(Self::new(Nodes::Server(Box::new(parse(address)?))))
    }

    /// A cluster, by some of its nodes.
    ///
    /// All counters of one company are on one node and decided about by one script. The platform's
    /// counters are on another, so a request that draws on both is decided in two steps: the
    /// company's first, and if the platform then refuses, the company's draws are given back by
    /// exactly their amount. Between the two nobody is admitted who should not be; somebody may be
    /// refused who would have been admitted a moment later. A node that ends between the two leaves
    /// the company's units taken.
    ///
    /// # Errors
    /// When there is no address, or one is none.
    pub fn cluster<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigError> {
        let nodes: Vec<_> = addresses.into_iter().map(parse).collect::<Result<_, _>>()?;
        if nodes.is_empty() {
            return Err(ConfigError::new(
                SUBJECT,
                "name at least one node of the cluster",
            ));
        }
        Ok(Self::new(Nodes::Cluster(nodes)))
    }

    /// What the names of all keys on the server begin with: `countersign` unless said otherwise.
    /// Platforms that share a server need different ones.
    ///
    /// # Errors
    /// When it is not 1 to 32 characters of `a-z A-Z 0-9 . _ -`.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !(1..=32).contains(&prefix.len()) || !prefix.bytes().all(good) {
            let problem = "a prefix is 1 to 32 characters of a-z A-Z 0-9 . _ -";
            return Err(ConfigError::new(SUBJECT, problem));
        }
        self.prefix = prefix.into();
        Ok(self)
    }

    /// How long an answer is waited for; 200 ms unless said otherwise. A decision that takes longer
    /// counts as a failure of the server, and those that follow don't wait for it: the connection is
    /// made anew.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long one attempt to connect may take; 1 s unless said otherwise. No request waits for it.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Believes these certificate authorities (PEM) and no others; those of the operating system
    /// unless said otherwise. Certificate and host name are always verified.
    ///
    /// # Errors
    /// When there is no certificate in it.
    #[cfg(feature = "tls")]
    pub fn certificate_authorities(mut self, pem: &[u8]) -> Result<Self, ConfigError> {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        if certificates.is_ok_and(|all| !all.is_empty()) {
            self.authorities = Some(pem.into());
            Ok(self)
        } else {
            let problem = "certificate authorities are given as PEM";
            Err(ConfigError::new(SUBJECT, problem))
        }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn certificates(&self) -> Option<redis::TlsCertificates> {
        let authorities = self.authorities.as_deref()?;
        Some(redis::TlsCertificates {
            client_tls: None,
            root_cert: Some(authorities.to_vec()),
        })
    }

    pub(crate) const fn is_cluster(&self) -> bool {
        matches!(self.nodes, Nodes::Cluster(_))
    }

    fn new(nodes: Nodes) -> Self {
        Self {
            nodes,
            prefix: "countersign".into(),
            deadline: Duration::from_millis(200),
            connect_timeout: Duration::from_secs(1),
            #[cfg(feature = "tls")]
            authorities: None,
        }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = match &self.nodes {
            Nodes::Server(node) => std::slice::from_ref(&**node),
            Nodes::Cluster(nodes) => nodes,
        };
        let addresses: Vec<String> = nodes.iter().map(|node| node.addr().to_string()).collect();
        f.debug_struct("RedisOptions")
            .field("nodes", &addresses)
            .field("cluster", &self.is_cluster())
            .field("prefix", &self.prefix)
            .field("deadline", &self.deadline)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

fn parse(address: &str) -> Result<ConnectionInfo, ConfigError> {
    if address.contains('#') {
        let problem = "nothing follows the database: TLS always verifies its peer";
        return Err(ConfigError::new(SUBJECT, problem));
    }
    // The client's own error may repeat parts of the address.
    address.into_connection_info().map_err(|_| {
        let problem = if address.starts_with("rediss:") && cfg!(not(feature = "tls")) {
            "this program was built without TLS (feature `tls`)"
        } else {
            "give redis://user:password@host:port/database"
        };
        ConfigError::new(SUBJECT, problem)
    })
}

const SUBJECT: &str = "redis";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_repeated() {
        let options = RedisOptions::server("redis://u:hunter2@127.0.0.1:6379/0").unwrap();
        let shown = format!("{options:?}");
        assert!(
            shown.contains("127.0.0.1:6379") && !shown.contains("hunter2"),
            "{shown}"
        );
        for bad in [
            "",
            "hunter2",
            "http://u:hunter2@h",
            "redis://u:hunter2@h/hunter2",
            "rediss://u:hunter2@h/#insecure",
        ] {
            let error = RedisOptions::server(bad).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_cluster_has_nodes_and_a_prefix_is_a_word() {
        assert!(RedisOptions::cluster([]).is_err());
        let options = || RedisOptions::cluster(["redis://a:1", "redis://b:2"]).unwrap();
        assert!(options().is_cluster());
        assert!(options().prefix("payments-1").is_ok());
        for bad in ["", "a:b", "a{b", "é"] {
            assert!(options().prefix(bad).is_err(), "{bad}");
        }
    }
}
