//! A Redis server of our own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::process;

/// A running server; it stops when this is dropped.
#[derive(Debug)]
pub(super) struct Redis {
    port: u16,
    server: Child,
    // Held for its end: the directory goes after the server.
    _home: TempDir,
}

impl Redis {
    /// Starts `program` without persistence.
    ///
    /// # Errors
    /// When that fails.
    pub(super) fn start(program: &Path) -> Result<Self> {
        let home = tempfile::Builder::new()
            .prefix("countersign-redis-")
            .tempdir()?;
        let port = process::free_port()?;
        let server = Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--dir")
            .arg(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("can't start {}", program.display()))?;
        let mut redis = Self {
            port,
            server,
            _home: home,
        };
        process::wait_until(&mut redis.server, || ping(port))?;
        Ok(redis)
    }

    /// The address of the server's first database.
    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It holds nothing that an orderly end would save.
        let ended = self.server.kill().and_then(|()| self.server.wait());
        if let Err(error) = ended {
            eprintln!("Redis did not stop: {error}");
        }
    }
}

fn ping(port: u16) -> bool {
    let answer = || -> std::io::Result<[u8; 5]> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    answer().is_ok_and(|answer| answer == *b"+PONG")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::install;

    /// Does nothing where Redis is not installed.
    #[test]
    fn starts_answers_and_stops() {
        let Some(program) = install::find_redis() else {
            return;
        };
        let redis = Redis::start(&program).unwrap();
        let port = redis.port;
        assert!(ping(port));
        drop(redis);
        assert!(!ping(port));
    }
}
