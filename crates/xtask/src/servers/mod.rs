//! Throw-away servers for tests. Each lives in a directory of its own, listens on a free port of
//! the loopback interface and ends with the value that stands for it.

mod install;
mod postgres;
mod process;
mod redis;

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

pub(crate) use install::{require_python, require_tool};
use postgres::Disk;
pub(crate) use postgres::Postgres;
use redis::Cluster;
pub(crate) use redis::Redis;

use crate::workspace::Workspace;

/// The servers that tests were given.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    postgres: Option<Postgres>,
    redis: Option<Redis>,
    cluster: Option<Cluster>,
    /// A program: its test stops and starts the server by itself.
    nats: Option<PathBuf>,
}

impl Servers {
    /// Starts what the workspace's members are tested against, and nothing where there is none.
    /// A server that the caller named in the environment is used instead of a new one.
    ///
    /// # Errors
    /// When a server can't be found, installed or started.
    pub(crate) fn for_members(workspace: &Workspace) -> Result<Self> {
        let needed = |member, variable| workspace.has_member(member) && !is_given(variable);
        Self::start(
            needed("countersign-postgres", POSTGRES),
            needed("countersign-redis", REDIS),
            needed("audit-to-nats", NATS),
        )
    }

    /// Starts a Redis if its program is there, unless the caller named one in the environment.
    ///
    /// # Errors
    /// When it can't be started.
    pub(crate) fn installed_redis() -> Result<Option<Self>> {
        if is_given(REDIS) {
            return Ok(Some(Self::default()));
        }
        let start = |program: PathBuf| {
            let redis = Redis::start(&program).context("Redis")?;
            Ok(Self {
                redis: Some(redis),
                ..Self::default()
            })
        };
        install::find_redis().map(start).transpose()
    }

    /// Starts a PostgreSQL that keeps what it acknowledges, if its programs are there, unless the
    /// caller named one in the environment.
    ///
    /// # Errors
    /// When it can't be started.
    pub(crate) fn installed_postgres() -> Result<Option<Self>> {
        if is_given(POSTGRES) {
            return Ok(Some(Self::default()));
        }
        let start = |programs: PathBuf| {
            let postgres = Postgres::start(&programs, Disk::Synced).context("PostgreSQL")?;
            Ok(Self {
                postgres: Some(postgres),
                ..Self::default()
            })
        };
        install::find_postgres().map(start).transpose()
    }

    fn start(postgres: bool, redis: bool, nats: bool) -> Result<Self> {
        let mut servers = Self {
            nats: nats.then(install::nats).transpose()?,
            ..Self::default()
        };
        if postgres {
            let binaries = install::postgres()?;
            servers.postgres =
                Some(Postgres::start(&binaries, Disk::Unsynced).context("PostgreSQL")?);
        }
        if redis {
            let server = install::redis()?;
            servers.redis = Some(Redis::start(&server).context("Redis")?);
            if !is_given(CLUSTER) {
                servers.cluster = Some(Cluster::start(&server).context("a cluster")?);
            }
        }
        Ok(servers)
    }

    /// The variables by which tests find the servers.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let postgres = self.postgres.iter();
        let postgres = postgres.flat_map(|it| [(POSTGRES, it.url()), (AUTHORITY, it.authority())]);
        let redis = self.redis.as_ref().map(|it| (REDIS, it.url()));
        let cluster = self.cluster.as_ref().map(|it| (CLUSTER, it.urls()));
        let nats = self
            .nats
            .as_ref()
            .map(|it| (NATS, it.display().to_string()));
        postgres.chain(redis).chain(cluster).chain(nats).collect()
    }
}

/// A PostgreSQL server for one chore alone.
///
/// # Errors
/// When it can't be found, installed or started.
pub(crate) fn postgres() -> Result<Postgres> {
    Postgres::start(&install::postgres()?, Disk::Unsynced).context("PostgreSQL")
}

/// The program of Redis's or Valkey's server.
///
/// # Errors
/// When it can't be found or installed.
pub(crate) fn redis_program() -> Result<PathBuf> {
    install::redis()
}

/// `cargo xtask servers COMMAND…`
pub(crate) fn run(command: &[&str]) -> Result<ExitCode> {
    let servers = Servers::start(!is_given(POSTGRES), !is_given(REDIS), !is_given(NATS))?;
    let environment = servers.environment();
    for (name, value) in &environment {
        println!("{name}={value}");
    }
    let status = Command::new(command[0])
        .args(&command[1..])
        .envs(environment)
        .status()
        .with_context(|| format!("can't start {}", command[0]))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn is_given(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty())
}

const POSTGRES: &str = "COUNTERSIGN_TEST_POSTGRES";
const AUTHORITY: &str = "COUNTERSIGN_TEST_POSTGRES_CA";
const REDIS: &str = "COUNTERSIGN_TEST_REDIS";
const CLUSTER: &str = "COUNTERSIGN_TEST_REDIS_CLUSTER";
const NATS: &str = "COUNTERSIGN_TEST_NATS_SERVER";
