//! The monitor of abuse and the key store: keys are stopped, and their last uses remembered.

use std::fmt::Display;
use std::time::Duration;

use countersign_core::{
    AbuseKind, AbuseObserver, AbuseReaction, AbuseSignal, AbuseSubject, CompanyId, ConfigError,
    KeyId, Moment, RequestId, StoreError,
};
use countersign_key_verify::{
    Actor, KeyManager, KeyRecord, KeyStore, ManageError, RevocationReason, UseStore,
};
use countersign_rate_limit::AbuseMonitor;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::stuck::{finish, in_time};

/// Stops, off the request path, the keys that signals of abuse name. An active key is suspended, and
/// an operator brings it back. One that was rotated and goes on for an overlap has no such state: it is
/// revoked, for `excessive_denied_requests`, `rate_limit_abuse` or, after an unusual use,
/// `suspected_leakage`; its successor goes on. The lifecycle event names the actor `abuse:` and
/// the signal's kind.
///
/// Until the key is stopped, its penalty keeps it away from this process. A store that fails, panics
/// or does not answer within five seconds is asked again, five times with seven seconds of pauses in
/// between; then, and for every other key that can't be stopped, an error line says that it still
/// stands, and the next one's turn comes.
#[derive(Debug)]
pub struct AbuseSuspender {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// A key to be stopped, and why.
#[derive(Debug, Clone)]
struct Sentence {
    key: KeyId,
    company: CompanyId,
    kind: AbuseKind,
    request: RequestId,
}

/// The end of the queue at which signals come in.
#[derive(Debug)]
struct Clerk(mpsc::Sender<Sentence>);

impl AbuseSuspender {
    pub(crate) fn spawn(monitor: &AbuseMonitor, manager: KeyManager) -> Self {
        let (queue, sentences) = mpsc::channel(WAITING);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(run(manager, sentences, stopped));
        monitor.add_observer(Clerk(queue));
        Self { stop, task }
    }

    /// Stops the keys that are waiting, and itself. Takes ten seconds at most; where keys wait for longer,
    /// because the store fails, an error line says that they may still stand.
    pub async fn shutdown(mut self) {
        // The task ends by itself only when it is told to, so somebody is listening.
        let _ = self.stop.send(true);
        if let Err(error) = finish(&mut self.task).await {
            tracing::error!(target: "countersign", error, "keys that were to be stopped may not be");
        }
    }
}

impl AbuseObserver for Clerk {
    fn signal(&self, signal: &AbuseSignal) {
        let (AbuseReaction::Suspend, AbuseSubject::Key(_)) = (signal.reaction, signal.subject)
        else {
            return;
        };
        let (Some(key), Some(company)) = (signal.key_id, signal.company) else {
            return;
        };
        let sentence = Sentence {
            key,
            company,
            kind: signal.kind,
            request: signal.request_id.clone(),
        };
        if self.0.try_send(sentence).is_err() {
            let why = "the queue is full or shut down";
            not_stopped(key, signal.kind, &signal.request_id, &why);
        }
    }
}

async fn run(
    manager: KeyManager,
    mut sentences: mpsc::Receiver<Sentence>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            biased;
            sentence = sentences.recv() => match sentence {
                Some(sentence) => stop(&manager, &sentence).await,
                None => return,
            },
            changed = stopped.changed() => {
                sentences.close();
                if changed.is_err() {
                    // The handle was dropped without a shutdown.
                    return;
                }
            }
        }
    }
}

async fn stop(manager: &KeyManager, sentence: &Sentence) {
    let Sentence {
        key,
        company,
        kind,
        request,
    } = sentence;
    let actor = Actor::system(&format!("abuse:{kind}"))
        .expect("a kind is a short word of printable characters");
    let mut pause = FIRST_PAUSE;
    for attempt in 1..=ATTEMPTS {
        let stopped = in_time(manager.stop(&actor, company, *key, reason(*kind))).await;
        // Whether the failure may pass, and what it is.
        let (passing, why): (bool, &dyn Display) = match &stopped {
            // Or somebody was faster: it is not accepted any more.
            Ok(Ok(_) | Err(ManageError::IllegalTransition { .. })) => return,
            Ok(Err(error @ (ManageError::Store(_) | ManageError::Conflict))) => (true, error),
            Ok(Err(error)) => (false, error),
            Err(stuck) => (true, stuck),
        };
        if !passing || attempt == ATTEMPTS {
            return not_stopped(*key, *kind, request, why);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

/// Why a key that can't be suspended is revoked.
const fn reason(kind: AbuseKind) -> RevocationReason {
    match kind {
        AbuseKind::IgnoredRetryAfter => RevocationReason::RateLimitAbuse,
        AbuseKind::SuddenUse | AbuseKind::NewNetwork | AbuseKind::Spike => {
            RevocationReason::SuspectedLeakage
        }
        _ => RevocationReason::ExcessiveDeniedRequests,
    }
}

fn not_stopped(key: KeyId, kind: AbuseKind, request: &RequestId, why: &dyn Display) {
    tracing::error!(
        target: "countersign",
        key_id = %key,
        kind = kind.as_str(),
        request_id = %request,
        error = %why,
        "a key that a rule against abuse suspends was not stopped and still stands"
    );
}

/// Tells `monitor` when each key in `store` was used last. How many were ever used.
pub(crate) async fn remember_uses(
    monitor: &AbuseMonitor,
    store: &dyn KeyStore,
    now: Moment,
) -> Result<u64, StoreError> {
    let Some(uses) = store.uses() else {
        return Ok(0);
    };
    let (mut company, mut remembered) = (None, 0);
    loop {
        let companies = store.companies(company.as_ref(), PAGE).await?;
        for record in &companies {
            let mut after = None;
            loop {
                let keys = store.list(&record.id, after, PAGE).await?;
                remembered += remember_keys(monitor, uses, &keys, now).await?;
                after = keys.last().map(|key| key.id);
                if after.is_none() {
                    break;
                }
            }
        }
        company = companies.last().map(|record| record.id);
        if company.is_none() {
            return Ok(remembered);
        }
    }
}

async fn remember_keys(
    monitor: &AbuseMonitor,
    uses: &dyn UseStore,
    keys: &[KeyRecord],
    now: Moment,
) -> Result<u64, StoreError> {
    let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
    let mut remembered = 0;
    for last in uses.last_uses(&ids).await? {
        if let Some(key) = keys.iter().find(|key| key.id == last.key) {
            monitor.remember(&key.prefix, last.at, [], now);
            remembered += 1;
        }
    }
    Ok(remembered)
}

pub(crate) fn no_monitor() -> ConfigError {
    ConfigError::new("abuse monitor", "give the builder one")
}

const PAGE: u32 = 100;
/// How many keys may wait to be stopped.
const WAITING: usize = 1024;
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(450);
