//! Callers who use one key without pause and take down what became of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::http::{Answer, Caller};

/// Callers at work.
#[derive(Debug)]
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    logs: Vec<Arc<Mutex<Log>>>,
    callers: Vec<JoinHandle<()>>,
}

/// What one caller, or all of them, saw.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Log {
    /// When the last answer came that only a key that was believed is given.
    pub(super) last_accepted: Option<Instant>,
    pub(super) accepted: u64,
    /// Answers 401, or 429 because of too many of them.
    pub(super) refused: u64,
    /// Answers 503, and how many of them did not say when to come back.
    pub(super) unavailable: u64,
    pub(super) without_retry_after: u64,
    /// A key that was accepted after it had been refused by the same node.
    pub(super) accepted_again: u64,
    /// Calls without an answer.
    pub(super) failed: u64,
}

impl Load {
    /// Two callers for each node, all with one key and from one address that no other load has.
    pub(super) fn start(nodes: &[SocketAddr], key: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut logs, mut callers) = (Vec::new(), Vec::new());
        let source = next_source();
        for node in nodes.iter().flat_map(|node| [*node; 2]) {
            let log = Arc::new(Mutex::new(Log::default()));
            logs.push(Arc::clone(&log));
            let (stop, key) = (Arc::clone(&stop), key.to_owned());
            callers.push(thread::spawn(move || {
                let mut caller = Caller::from(source, node);
                while !stop.load(Ordering::Relaxed) {
                    let answer = caller.accounts(&key).ok();
                    lock(&log).take_down(answer);
                    let refused = answer.is_some_and(|answer| answer.status == 401);
                    thread::sleep(if refused { PAUSE * 10 } else { PAUSE });
                }
            }));
        }
        Self {
            stop,
            logs,
            callers,
        }
    }

    /// What all callers together saw up to now.
    pub(super) fn log(&self) -> Log {
        let logs = self.logs.iter().map(|log| *lock(log));
        logs.reduce(Log::and).unwrap_or_default()
    }

    /// Waits until `holds` of what each caller saw.
    ///
    /// # Errors
    /// When it does not within `patience`.
    pub(super) fn wait(
        &self,
        what: &str,
        patience: Duration,
        holds: impl Fn(&Log) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !self.logs.iter().all(|log| holds(&lock(log))) {
            if Instant::now() > deadline {
                bail!("{what}: not within {patience:?}: {:?}", self.log());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Lets the callers go and gives what they saw.
    pub(super) fn end(self) -> Log {
        self.stop.store(true, Ordering::Relaxed);
        let log = self.log();
        for caller in self.callers {
            // A caller that panicked has said so.
            let _ = caller.join();
        }
        log
    }
}

impl Log {
    fn take_down(&mut self, answer: Option<Answer>) {
        match answer {
            None => self.failed += 1,
            Some(Answer { status: 401, .. }) => self.refused += 1,
            Some(Answer {
                status: 429,
                limits: false,
                ..
            }) => self.refused += 1,
            Some(Answer {
                status: 503,
                retry_after,
                ..
            }) => {
                self.unavailable += 1;
                self.without_retry_after += u64::from(retry_after.is_none_or(|wait| wait == 0));
            }
            // A limit, too, is met only by a key that was believed.
            Some(_) => {
                self.last_accepted = Some(Instant::now());
                self.accepted += 1;
                self.accepted_again += u64::from(self.refused > 0);
            }
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            last_accepted: self.last_accepted.max(other.last_accepted),
            accepted: self.accepted + other.accepted,
            refused: self.refused + other.refused,
            unavailable: self.unavailable + other.unavailable,
            without_retry_after: self.without_retry_after + other.without_retry_after,
            accepted_again: self.accepted_again + other.accepted_again,
            failed: self.failed + other.failed,
        }
    }
}

fn lock(log: &Mutex<Log>) -> std::sync::MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn next_source() -> Ipv4Addr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(127, 1, high, low.max(1))
}

const PAUSE: Duration = Duration::from_millis(1);
