//! The drain of the outbox goes on.

use std::sync::Arc;
use std::time::Duration;

use countersign::{
    Actor, AuditSink, Contract, Countersign, Endpoint, KeyManager, KeyStore, MemoryBackend,
    MemoryLog, OutboxDrain, Policies,
};

use crate::flawed::{Flawed, Question, Way};

fn drain(store: &Arc<Flawed>, sink: &AuditSink) -> OutboxDrain {
    let endpoint = Endpoint::get("/a").scope("a:read".parse().unwrap());
    let stack = Countersign::builder()
        .contract(Contract::builder().endpoint(endpoint).build().unwrap())
        .key_store(Arc::clone(store))
        .limits(Policies::new([]).unwrap())
        .audit(sink.clone())
        .build()
        .unwrap();
    stack.drain_outbox(store.clone())
}

async fn suspend_a_company(store: &Arc<Flawed>) {
    let manager = KeyManager::builder(Arc::clone(store)).build().unwrap();
    let ada = Actor::operator("ada").unwrap();
    let company = "company_12".parse().unwrap();
    manager.create_company(&ada, company).await.unwrap();
    manager.suspend_company(&ada, company).await.unwrap();
}

async fn resume_and_suspend(store: &Arc<Flawed>) {
    let manager = KeyManager::builder(Arc::clone(store)).build().unwrap();
    let ada = Actor::operator("ada").unwrap();
    let company = "company_12".parse().unwrap();
    manager.reactivate_company(&ada, company).await.unwrap();
    manager.suspend_company(&ada, company).await.unwrap();
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    waited.expect(what);
}

fn times_told(log: &MemoryLog) -> usize {
    let lines = log.lines().into_iter();
    lines.filter(|it| it.contains("company.suspended")).count()
}

/// After one failure the drain goes on: the suspension gets into the log, once.
async fn a_suspension_is_told(question: Question, way: Way) {
    let store = Flawed::new(question, way, 1);
    let (backend, log) = MemoryBackend::new();
    let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
    suspend_a_company(&store).await;
    let drain = drain(&store, &sink);
    let telling = async {
        let waits = async || !store.inner.pending_events(1).await.unwrap().is_empty();
        while !store.has_failed() || waits().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), telling).await;
    assert!(told.is_ok(), "{question:?}, {way:?}: the drain goes on");
    drain.shutdown().await;
    writer.shutdown(Duration::from_secs(5)).await;
    assert_eq!(times_told(&log), 1, "{question:?}, {way:?}");
    // Nothing is certain of a claim after that: it is given back and asked for anew.
    if matches!(
        question,
        Question::Held | Question::Pending | Question::Acknowledge
    ) {
        assert_eq!(store.granted(), 2, "{question:?}, {way:?}");
    }
}

#[tokio::test]
async fn a_store_that_panics_once_does_not_end_the_outbox() {
    use Question::{Acknowledge, Claim, Due, Held, Pending};
    for question in [Claim, Held, Due, Pending, Acknowledge] {
        a_suspension_is_told(question, Way::Panics).await;
    }
}

#[tokio::test]
async fn a_store_that_hangs_once_does_not_end_the_outbox() {
    use Question::{Acknowledge, Claim, Due, Held, Pending};
    let tell = |question| a_suspension_is_told(question, Way::Hangs);
    tokio::join!(
        tell(Claim),
        tell(Held),
        tell(Due),
        tell(Pending),
        tell(Acknowledge)
    );
}

/// Whoever lost the claim reads nothing more out of the outbox, until it has it again.
#[tokio::test]
async fn a_claim_that_another_process_has_is_given_up() {
    let store = Flawed::new(Question::Held, Way::Hangs, 0);
    let (backend, log) = MemoryBackend::new();
    let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
    let drain = drain(&store, &sink);
    suspend_a_company(&store).await;
    until("it has the claim", || times_told(&log) == 1).await;
    store.give_away(true);
    until("it asks for another", || store.asked_in_vain() > 0).await;
    resume_and_suspend(&store).await;
    let asked = store.asked_in_vain();
    until("turns without it", || store.asked_in_vain() > asked + 1).await;
    assert_eq!(times_told(&log), 1);
    store.give_away(false);
    until("it has the claim again", || times_told(&log) == 2).await;
    drain.shutdown().await;
    writer.shutdown(Duration::from_secs(5)).await;
    assert_eq!(times_told(&log), 2);
}

/// Ends that can't be looked for keep no event from the log, however long that lasts.
#[tokio::test]
async fn events_do_not_wait_for_ends_that_can_not_be_looked_for() {
    let store = Flawed::new(Question::Due, Way::Panics, u32::MAX);
    let (backend, log) = MemoryBackend::new();
    let (sink, writer) = AuditSink::builder(backend).spawn().unwrap();
    suspend_a_company(&store).await;
    drain(&store, &sink).shutdown().await;
    writer.shutdown(Duration::from_secs(5)).await;
    assert_eq!(times_told(&log), 1);
}

/// The log's writer is shut down after the drain, so that it must be reached.
#[tokio::test]
async fn a_shutdown_ends_beside_a_store_that_never_answers() {
    for way in [Way::Hangs, Way::Panics] {
        let store = Flawed::new(Question::Pending, way, u32::MAX);
        let (backend, _log) = MemoryBackend::new();
        let (sink, _writer) = AuditSink::builder(backend).spawn().unwrap();
        let drain = drain(&store, &sink);
        let ended = tokio::time::timeout(Duration::from_secs(15), drain.shutdown()).await;
        assert!(ended.is_ok(), "{way:?}");
        suspend_a_company(&store).await;
        assert_eq!(store.inner.pending_events(9).await.unwrap().len(), 1);
    }
}
