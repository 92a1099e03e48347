//! Digests that change hands: keys of another system, peppers that follow each other.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use countersign_core::{Clock, Environment, ScopeSet};
use countersign_key_verify::{
    Actor, Digester, ImportRequest, ImportedHash, IssueRequest, KeyManager, KeyStore,
    KeyVerifyLayer, ManageError, PepperId, SecretDigest,
};
use sha2::{Digest, Sha256};
use support::{World, request, with_key};

const THEIRS: &str = "sk_live_51H8aQz9vTgYcXw0";
const OLD: (PepperId, &[u8]) = (PepperId(1), b"an older pepper, long enough");
const NEW: (PepperId, &[u8]) = (PepperId(2), b"a newer pepper, long enough");

fn hash(text: &str) -> ImportedHash {
    ImportedHash::new(Sha256::digest(text).into())
}

async fn status(world: &World, layer: &KeyVerifyLayer, key: &str) -> (u16, Option<&'static str>) {
    let seen = world.send(layer, request(&[("x-api-key", key)])).await;
    (seen.status(), seen.reason())
}

/// Waits for the task that renews a digest; its end is seen in the store alone.
async fn renewed(world: &World, prefix: &str, digester: &Digester) -> SecretDigest {
    let prefix = prefix.parse().unwrap();
    let look = async {
        loop {
            let digest = world
                .store
                .find(&prefix)
                .await
                .unwrap()
                .unwrap()
                .record
                .digest;
            if digester.is_current(&digest) {
                return digest;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), look)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_key_of_another_format_works_by_its_hash_where_that_is_wanted() {
    let world = World::new().await;
    let draft = world.draft(Environment::Live);
    let record = world
        .manager
        .import(&world.operator, ImportRequest::new(draft, hash(THEIRS)))
        .await
        .unwrap();
    let strict = world.layer(|builder| builder);
    assert_eq!(
        status(&world, &strict, THEIRS).await,
        (401, Some("malformed_api_key"))
    );
    let open = world.layer(|builder| builder.accept_imported_keys());
    assert_eq!(status(&world, &open, THEIRS).await, (200, None));
    let mistyped = THEIRS.replace("51H8", "51H9");
    assert_eq!(
        status(&world, &open, &mistyped).await,
        (401, Some("unknown_api_key"))
    );
    for short in ["short", "blank in the middle of it"] {
        assert_eq!(
            status(&world, &open, short).await,
            (401, Some("malformed_api_key"))
        );
    }
    let sandbox = world.layer(|b| b.accept_imported_keys().environment(Environment::Test));
    assert_eq!(
        status(&world, &sandbox, THEIRS).await,
        (401, Some("unknown_api_key"))
    );

    let digester = Digester::with_peppers(NEW, []).unwrap();
    let renewing = world.layer(|builder| {
        builder
            .accept_imported_keys()
            .redigest_on_use()
            .digester(digester.clone())
    });
    assert_eq!(status(&world, &renewing, THEIRS).await, (200, None));
    renewed(&world, record.prefix.as_str(), &digester).await;
    assert_eq!(
        status(&world, &renewing, THEIRS).await,
        (200, None),
        "with its new digest"
    );
}

#[tokio::test]
async fn a_rotation_ends_the_move() {
    let world = World::new().await;
    let draft = world.draft(Environment::Live);
    let theirs = world
        .manager
        .import(&world.operator, ImportRequest::new(draft, hash(THEIRS)));
    let theirs = theirs.await.unwrap();
    let rotated = world
        .manager
        .rotate(&world.operator, &theirs.company, theirs.id, Duration::ZERO);
    let ours = rotated.await.unwrap();
    assert_eq!(ours.record.prefix.brand(), "cs");
    let layer = world.layer(|builder| builder.accept_imported_keys());
    assert!(world.send(&layer, with_key(&ours)).await.passed);
    assert_eq!(
        status(&world, &layer, THEIRS).await,
        (401, Some("rotated_api_key"))
    );
}

#[tokio::test]
async fn many_keys_are_taken_over_together_or_not_at_all() {
    let world = World::new().await;
    let import = |n: u32| {
        let draft = world.draft(Environment::Live);
        ImportRequest::new(draft, hash(&format!("{THEIRS}{n}")))
    };
    let all = |numbers: &[u32]| {
        let imports = numbers.iter().map(|n| import(*n)).collect();
        world.manager.import_all(&world.operator, imports)
    };
    let first = all(&[1]).await.unwrap();
    assert_eq!(first.len(), 1);
    let before = world.store.pending_events(1000).await.unwrap().len();
    for (numbers, wrong) in [(&[2, 3, 2][..], 3), (&[2, 3, 1], 3), (&[1, 2], 1)] {
        let error = all(numbers).await.unwrap_err();
        assert!(
            matches!(&error, ManageError::InList { number, problem }
                if *number == wrong && matches!(**problem, ManageError::AlreadyExists)),
            "{error}"
        );
    }
    let late = world.clock.now().wall;
    let past = IssueRequest::new(world.company, Environment::Live, ScopeSet::new(), late);
    let mixed = vec![
        import(2),
        ImportRequest::new(past, hash("another system's")),
    ];
    let error = world.manager.import_all(&world.operator, mixed).await;
    assert!(
        error
            .unwrap_err()
            .to_string()
            .starts_with("number 2 of the list: ")
    );
    let keys = world
        .manager
        .list(&world.operator, &world.company, None, 10);
    assert_eq!(keys.await.unwrap(), first, "nothing was half taken over");
    let events = world.store.pending_events(1000).await.unwrap().len();
    assert_eq!(events, before);

    let numbers: Vec<u32> = (10..310).collect();
    assert_eq!(all(&numbers).await.unwrap().len(), 300);
    let layer = world.layer(|builder| builder.accept_imported_keys());
    assert_eq!(status(&world, &layer, &format!("{THEIRS}309")).await.0, 200);
    let company = Actor::company(world.company, first[0].prefix);
    let own = world.manager.import_all(&company, vec![import(9)]).await;
    assert!(matches!(own, Err(ManageError::NotFound)));
}

#[tokio::test]
async fn a_key_of_our_format_comes_with_its_prefix() {
    let world = World::new().await;
    let elsewhere = World::new().await.key().await;
    let text = elsewhere.key.expose();
    let (draft, prefix) = (world.draft(Environment::Live), *elsewhere.key.prefix());
    let import = ImportRequest::new(draft, hash(&text)).prefix(prefix);
    let imported = world.manager.import(&world.operator, import).await;
    assert_eq!(imported.unwrap().prefix, prefix);
    let layer = world.layer(|builder| builder.redigest_on_use());
    assert_eq!(status(&world, &layer, &text).await, (200, None));
    renewed(&world, prefix.as_str(), &Digester::sha256()).await;
    assert_eq!(status(&world, &layer, &text).await, (200, None));
    assert_eq!(
        status(&world, &layer, &support::wrong_secret(&elsewhere)).await,
        (401, Some("invalid_api_key"))
    );
}

#[tokio::test]
async fn a_digest_under_an_older_pepper_is_renewed_on_use_and_stays_without() {
    let world = World::new().await;
    let old = Digester::with_peppers(OLD, []).unwrap();
    let manager = KeyManager::builder(world.store.clone())
        .clock(world.clock.clone())
        .digester(old.clone())
        .build()
        .unwrap();
    let draft = world.draft(Environment::Live);
    let issued = manager.issue(&world.operator, draft).await.unwrap();
    let both = Digester::with_peppers(NEW, [OLD]).unwrap();
    let quiet = world.layer(|builder| builder.digester(both.clone()));
    assert!(world.send(&quiet, with_key(&issued)).await.passed);
    let prefix = issued.record.prefix;
    let stored = world.store.find(&prefix).await.unwrap().unwrap().record;
    assert_eq!(
        stored, issued.record,
        "nothing is written unless it is wanted"
    );
    let events = world.store.pending_events(100).await.unwrap().len();

    let renewing = world.layer(|builder| builder.digester(both.clone()).redigest_on_use());
    assert!(
        !world
            .send(
                &renewing,
                request(&[("x-api-key", &support::wrong_secret(&issued))])
            )
            .await
            .passed
    );
    assert!(world.send(&renewing, with_key(&issued)).await.passed);
    renewed(&world, prefix.as_str(), &both).await;
    assert!(world.send(&renewing, with_key(&issued)).await.passed);
    let new = Digester::with_peppers(NEW, []).unwrap();
    let later = world.layer(|builder| builder.digester(new));
    assert!(
        world.send(&later, with_key(&issued)).await.passed,
        "the older pepper can go"
    );
    assert_eq!(world.store.pending_events(100).await.unwrap().len(), events);
}
