//! A directory for a copy of a log, which goes when the program does.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tempfile::{Builder, TempDir};

use crate::error::CliError;

/// A directory of its owner alone. It is deleted with the value, and when the program is ended by
/// SIGINT, SIGTERM or SIGHUP: what was audited is not left behind where nobody looks for it.
pub(super) struct Scratch(TempDir);

impl Scratch {
    /// A directory in `parent`, or where this machine keeps what is temporary.
    pub(super) fn new(parent: Option<&Path>) -> Result<Self, CliError> {
        let failed = |error| CliError::Failed(format!("no place for a copy of the log: {error}"));
        let signals = signals::Signals::new().map_err(failed)?;
        let mut builder = Builder::new();
        builder.prefix("countersign-");
        let place = match parent {
            Some(parent) => builder.tempdir_in(parent),
            None => builder.tempdir(),
        };
        let place = place.map_err(failed)?;
        let path = place.path().to_owned();
        thread::Builder::new()
            .spawn(move || signals.end_with(&path))
            .map_err(failed)?;
        Ok(Self(place))
    }

    /// Where the copy stands in it.
    pub(super) fn log(&self) -> PathBuf {
        self.0.path().join("log")
    }
}

/// The command may be writing into the directory at the same time.
fn delete(path: &Path) {
    for _ in 0..TRIES {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => rest(),
            _ => return,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing else runs on this thread"
)]
fn rest() {
    thread::sleep(PAUSE);
}

const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(5);

#[cfg(unix)]
mod signals {
    use std::future::poll_fn;
    use std::path::Path;
    use std::task::Poll;
    use std::{fs, io, process};

    use tokio::runtime::{Builder, Runtime};
    use tokio::signal::unix::{Signal, SignalKind, signal};

    /// The signals that end a program, from now on held back.
    pub(super) struct Signals {
        runtime: Runtime,
        held: Vec<(SignalKind, Signal)>,
    }

    impl Signals {
        pub(super) fn new() -> io::Result<Self> {
            let runtime = Builder::new_current_thread().enable_io().build()?;
            let mut held = Vec::new();
            {
                let _inside = runtime.enter();
                let interrupt = SignalKind::interrupt();
                for kind in [interrupt, SignalKind::terminate(), SignalKind::hangup()] {
                    // `nohup` stays what it is.
                    if !is_ignored(kind) {
                        held.push((kind, signal(kind)?));
                    }
                }
            }
            Ok(Self { runtime, held })
        }

        /// Waits for one, deletes the directory and ends the program, with the exit code that a
        /// shell gives one that a signal ended.
        pub(super) fn end_with(mut self, path: &Path) {
            let kind = self.runtime.block_on(poll_fn(|context| {
                let mut held = self.held.iter_mut();
                let come = held.find_map(|(kind, signal)| {
                    signal.poll_recv(context).is_ready().then_some(*kind)
                });
                come.map_or(Poll::Pending, Poll::Ready)
            }));
            super::delete(path);
            process::exit(128 + kind.as_raw_value());
        }
    }

    /// Whether whoever started the program had it ignore the signal, as far as that can be read.
    fn is_ignored(kind: SignalKind) -> bool {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
    }
}

#[cfg(not(unix))]
mod signals {
    use std::io;
    use std::path::Path;

    pub(super) struct Signals;

    impl Signals {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        /// Here nothing is told of its end.
        pub(super) fn end_with(self, _: &Path) {}
    }
}
