//! A Redis server of our own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::process;

/// A running server; it stops when this is dropped.
#[derive(Debug)]
pub(crate) struct Redis {
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
    pub(crate) fn start(program: &Path) -> Result<Self> {
        Self::start_at(program, process::free_port()?, &[])
    }

    /// Starts it again, empty and on the same port, after it was killed.
    ///
    /// # Errors
    /// When that fails.
    pub(crate) fn start_again(&mut self, program: &Path) -> Result<()> {
        *self = Self::start_at(program, self.port, &[])?;
        Ok(())
    }

    /// Ends the server as a crash would.
    ///
    /// # Errors
    /// When it can't be ended.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.server.kill()?;
        self.server.wait()?;
        Ok(())
    }

    fn start_at(program: &Path, port: u16, more: &[&str]) -> Result<Self> {
        let home = tempfile::Builder::new()
            .prefix("countersign-redis-")
            .tempdir()?;
        let server = Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(more)
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
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The port that the server listens on.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Tells the server to do something.
    fn call(&self, command: &str) -> Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        ensure!(line.starts_with("+OK"), "{command}: {}", line.trim());
        Ok(())
    }
}

/// Three servers that share the slots of one cluster.
#[derive(Debug)]
pub(super) struct Cluster([Redis; 3]);

impl Cluster {
    /// Starts them with `program` and waits until each of them knows the others.
    ///
    /// # Errors
    /// When that fails.
    pub(super) fn start(program: &Path) -> Result<Self> {
        let bus = process::free_port()?.to_string();
        let nodes = [
            Self::node(program, &bus)?,
            Self::node(program, &process::free_port()?.to_string())?,
            Self::node(program, &process::free_port()?.to_string())?,
        ];
        let shares = ["0 5460", "5461 10922", "10923 16383"];
        for ((node, share), epoch) in nodes.iter().zip(shares).zip(1..) {
            node.call(&format!("CLUSTER ADDSLOTSRANGE {share}"))?;
            node.call(&format!("CLUSTER SET-CONFIG-EPOCH {epoch}"))?;
        }
        for node in &nodes[1..] {
            node.call(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", nodes[0].port))?;
        }
        let mut cluster = Self(nodes);
        for i in 0..cluster.0.len() {
            let port = cluster.0[i].port;
            let whole = || cluster_is_whole(port);
            process::wait_until(&mut cluster.0[i].server, whole)?;
        }
        Ok(cluster)
    }

    /// A server that speaks to others of its kind on the port `bus`.
    fn node(program: &Path, bus: &str) -> Result<Redis> {
        let settings = ["--cluster-enabled", "yes", "--cluster-port", bus];
        Redis::start_at(program, process::free_port()?, &settings)
    }

    /// The addresses of its nodes, with commas between them.
    pub(super) fn urls(&self) -> String {
        self.0.each_ref().map(Redis::url).join(",")
    }
}

/// The first line of `CLUSTER INFO`.
fn cluster_is_whole(port: u16) -> bool {
    let answer = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"CLUSTER INFO\r\n")?;
        let mut answer = [0; 64];
        let read = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
    };
    answer().is_ok_and(|answer| answer.contains("cluster_state:ok"))
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
    fn three_servers_become_a_cluster() {
        let Some(program) = install::find_redis() else {
            return;
        };
        let cluster = Cluster::start(&program).unwrap();
        assert_eq!(cluster.urls().split(',').count(), 3);
        assert!(cluster.0.iter().all(|node| cluster_is_whole(node.port)));
    }

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
