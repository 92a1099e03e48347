//! What several processes on one store rely on: the change feed, and the claim of the outbox.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::KeyPrefix;
use tokio::time::timeout;

use super::support::{add_company, company, record, update, write};
use crate::feed::{ChangeStream, Changed, FeedPosition};
use crate::record::{CompanyRecord, CompanyStatus};
use crate::store::{Change, KeyStore, Write};

/// The feed tells of each kind of change, soon, and from wherever it is asked. A store without a
/// feed passes.
pub async fn changes_are_told<S: KeyStore>(store: Arc<S>) {
    let Some(feed) = store.change_feed() else {
        return;
    };
    add_company(&*store, "company_12").await;
    let mut stream = feed.open().await.expect("the feed opens");
    let first = stream.read(None).await.expect("read");
    let everything = vec![Changed::Everything];
    assert_eq!(first.changed, everything, "nothing is known at the start");
    let mut key = record("company_12", 1);
    let insert = Write::InsertKey(key.clone());
    let (inserted, after) = told(&store, &mut *stream, first.position, insert).await;
    assert_eq!(inserted, [Changed::Key(key.prefix)], "an insert is told");
    key.version = 2;
    let (updated, after) = told(&store, &mut *stream, after, update(&key, 1)).await;
    assert_eq!(updated, [Changed::Key(key.prefix)], "an update is told");
    let suspend = Write::UpdateCompany {
        record: CompanyRecord {
            status: CompanyStatus::Suspended,
            ..company("company_12", 2)
        },
        expected: 1,
    };
    let (suspended, last) = told(&store, &mut *stream, after, suspend).await;
    let id = "company_12".parse().expect("a company id");
    assert_eq!(suspended, [Changed::Company(id)], "a suspension is told");
    let quiet = stream.read(Some(last)).await.expect("read");
    assert_eq!(quiet.changed, [], "what was told is not told again");

    // A stream that is opened later goes on from where another one stopped.
    let mut again = feed.open().await.expect("the feed opens again");
    let missed = again.read(Some(after)).await.expect("read");
    assert!(missed.changed.contains(&Changed::Company(id)), "catch-up");
    let strange = again
        .read(Some(FeedPosition(u64::MAX)))
        .await
        .expect("read");
    assert_eq!(strange.changed, everything, "a place that never was");
}

/// Whoever reads while many commit at once, and goes on from position to position, is told of every
/// one of them: a position never stands for a commit that can't be seen yet.
pub async fn no_change_is_missed_among_many<S: KeyStore>(store: Arc<S>) {
    let Some(feed) = store.change_feed() else {
        return;
    };
    add_company(&*store, "company_12").await;
    let mut stream = feed.open().await.expect("the feed opens");
    let mut position = stream.read(None).await.expect("read").position;
    let keys: Vec<_> = (0..200).map(|n| record("company_12", n)).collect();
    let writers: Vec<_> = keys
        .chunks(25)
        .map(|keys| {
            let (store, keys) = (Arc::clone(&store), keys.to_vec());
            tokio::spawn(async move {
                for key in keys {
                    write(&*store, Write::InsertKey(key)).await.expect("a key");
                }
            })
        })
        .collect();
    let mut seen: HashSet<KeyPrefix> = HashSet::new();
    while seen.len() < keys.len() {
        let read = timeout(SOON, stream.read(Some(position))).await;
        let changes = read.expect("an answer").expect("read");
        position = changes.position;
        seen.extend(changes.changed.iter().filter_map(|changed| match changed {
            Changed::Key(prefix) => Some(*prefix),
            _ => None,
        }));
        if seen.len() < keys.len() {
            // A change that was missed is never told again: this wait would not end.
            let woken = timeout(SOON, stream.wait()).await;
            woken.expect("every change is told").expect("wait");
        }
    }
    for writer in writers {
        writer.await.expect("a writer ends");
    }
}

/// One at a time has the right to bring events over; who drops it gives it to the next.
pub async fn one_at_a_time_claims_the_outbox<S: KeyStore>(store: Arc<S>) {
    let claim = store.claim_events().await.expect("claim");
    let claim = claim.expect("nobody else may bring events over");
    assert!(claim.is_held().await);
    if claim.is_sole() && store.change_feed().is_none() {
        // The store of one process, which has the right always.
        return;
    }
    let second = store.claim_events().await.expect("claim");
    assert!(second.is_none(), "two have it");
    drop(claim);
    let again = timeout(SOON, async {
        loop {
            if let Some(claim) = store.claim_events().await.expect("claim") {
                return claim;
            }
            tokio::task::yield_now().await;
        }
    });
    again.await.expect("it is free again");
}

/// Makes a change and waits until it is told.
async fn told<S: KeyStore>(
    store: &Arc<S>,
    stream: &mut dyn ChangeStream,
    after: FeedPosition,
    write: Write,
) -> (Vec<Changed>, FeedPosition) {
    let change = Change {
        writes: vec![write],
        events: Vec::new(),
    };
    store.commit(&change).await.expect("a change");
    let woken = timeout(SOON, stream.wait()).await;
    woken.expect("a change is told").expect("wait");
    let changes = stream.read(Some(after)).await.expect("read");
    (changes.changed, changes.position)
}

const SOON: Duration = Duration::from_secs(5);
