//! A server that a test may stop, kill and start again.
#![allow(
    clippy::disallowed_methods,
    reason = "a real server is waited for in real time"
)]

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server on a port of its own; it ends with this.
pub(crate) struct Server {
    port: u16,
    /// The directory of its certificates, if it speaks TLS.
    tls: Option<PathBuf>,
    child: Option<Child>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// One that speaks nothing but TLS; `directory` gets its authority's certificate, `ca.pem`.
    pub(crate) fn start_tls(directory: &Path) -> Self {
        std::fs::write(directory.join("san"), "subjectAltName=DNS:localhost\n").unwrap();
        for line in CERTIFICATES {
            let mut command = Command::new("openssl");
            command.args(line.split(' ')).current_dir(directory);
            let output = command.output().expect("openssl is installed");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{errors}");
        }
        Self::start_with(Some(directory.into()))
    }

    fn start_with(tls: Option<PathBuf>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = Self {
            port: listener.local_addr().unwrap().port(),
            tls,
            child: None,
        };
        drop(listener);
        server.start_again();
        server
    }

    pub(crate) fn address(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn tls_address(&self, host: &str) -> String {
        format!("rediss://{host}:{}/", self.port)
    }

    /// An empty server on the same port.
    pub(crate) fn start_again(&mut self) {
        let port = self.port.to_string();
        let mut arguments = vec!["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        match self.tls {
            Some(_) => arguments.extend(["--port", "0", "--tls-port", &port]),
            None => arguments.extend(["--port", &port]),
        }
        if self.tls.is_some() {
            arguments.extend(["--tls-cert-file", "server.pem"]);
            arguments.extend(["--tls-key-file", "server.key"]);
            arguments.extend(["--tls-ca-cert-file", "ca.pem", "--tls-auth-clients", "no"]);
        }
        let home = self.tls.clone().unwrap_or_else(std::env::temp_dir);
        let start = |program: &str| {
            let mut command = Command::new(program);
            command.args(&arguments).current_dir(&home);
            command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()
        };
        let child = start("redis-server").or_else(|_| start("valkey-server"));
        self.child = Some(child.expect("redis-server or valkey-server is installed"));
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "the server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The server accepts and answers nothing, until it goes on.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

const CERTIFICATES: [&str; 3] = [
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
     -keyout ca.key -out ca.pem",
    "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
     -keyout server.key -out server.csr",
    "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san \
     -out server.pem",
];
