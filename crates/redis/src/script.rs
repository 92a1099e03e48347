//! Scripts on the server.

use redis::{Cmd, ErrorKind, RedisResult, Script as Source, ServerErrorKind, Value};

use crate::link::Connection;

/// A script, known to servers by the hash of its text.
#[derive(Debug)]
pub(crate) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    pub(crate) fn new(text: &'static str) -> Self {
        let hash = Source::new(text).get_hash().to_owned();
        Self { text, hash }
    }

    /// A call, to which its keys and its argument are added.
    pub(crate) fn call(&self, keys: usize) -> Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.hash).arg(keys);
        call
    }

    /// Runs a call. A server that does not know the script yet, because it was started anew or is
    /// another one after a failover, is given its text.
    pub(crate) async fn run(&self, call: &Cmd, connection: &mut Connection) -> RedisResult<Value> {
        let answer = connection.send(call).await;
        match answer {
            Err(error) if error.kind() == UNKNOWN => connection.send(&self.with_text(call)).await,
            answer => answer,
        }
    }

    /// The same call for a server that does not know the script.
    pub(crate) fn with_text(&self, call: &Cmd) -> Cmd {
        let mut whole = redis::cmd("EVAL");
        whole.arg(self.text);
        for argument in call.args_iter().skip(2) {
            if let redis::Arg::Simple(argument) = argument {
                whole.arg(argument);
            }
        }
        whole
    }
}

const UNKNOWN: ErrorKind = ErrorKind::Server(ServerErrorKind::NoScript);
