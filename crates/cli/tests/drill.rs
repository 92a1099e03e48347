//! The leak drill ends every key that is named, whatever happens meanwhile.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[cfg(target_os = "linux")]
use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use countersign::sqlite::SqliteKeyStore;
use countersign::{
    Actor, Clock, Environment, IssueRequest, KeyManager, KeyRecord, KeyStatus, KeyStore, ScopeSet,
    SystemClock,
};
use support::Desk;

const END: &str = "keys revoke-all --reason suspected_leakage --yes";

/// A company's keys, and who issues and rotates them while others look after the store.
struct World {
    desk: Desk,
    store: SqliteKeyStore,
    manager: KeyManager,
    ada: Actor,
}

impl World {
    fn new() -> Self {
        let desk = Desk::new();
        let store = SqliteKeyStore::open(desk.store()).unwrap();
        let manager = KeyManager::builder(store.clone()).build().unwrap();
        let ada = Actor::operator("ada").unwrap();
        Self {
            desk,
            store,
            manager,
            ada,
        }
    }

    async fn issue(&self) -> KeyRecord {
        let scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
        let expiry = SystemClock.now().wall;
        let expiry = expiry.saturating_add(Duration::from_secs(86_400));
        let company = "company_12".parse().unwrap();
        let request = IssueRequest::new(company, Environment::Live, scopes, expiry);
        let request = request.activate_now(true);
        self.manager.issue(&self.ada, request).await.unwrap().record
    }

    async fn many(&self) -> Vec<KeyRecord> {
        let mut keys = Vec::new();
        for _ in 0..300 {
            keys.push(self.issue().await);
        }
        keys
    }

    async fn rotate(&self, key: &KeyRecord) -> KeyRecord {
        let hour = Duration::from_secs(3600);
        let rotated = self.manager.rotate(&self.ada, &key.company, key.id, hour);
        rotated.await.unwrap().record
    }

    async fn is_revoked(&self, key: &KeyRecord) -> bool {
        let found = self.store.get(key.id).await.unwrap().unwrap();
        matches!(found.status, KeyStatus::Revoked { .. })
    }

    /// A file that names the keys.
    fn list(&self, keys: &[&KeyRecord]) -> String {
        let text: String = keys.iter().map(|it| format!("{}\n", it.prefix)).collect();
        let path = self.desk.write("leaked", &text);
        path.display().to_string()
    }

    /// Rotates the last of these keys once the first is seen to end, and returns its successor and
    /// what the drill said.
    async fn rotate_during(&self, arguments: &str, keys: &[KeyRecord]) -> (KeyRecord, String) {
        let mut drill = self.desk.command(arguments);
        let drill = drill.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        while !self.is_revoked(&keys[0]).await {
            tokio::task::yield_now().await;
        }
        let successor = self.rotate(&keys[keys.len() - 1]).await;
        let ended = drill.unwrap().wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.success(), "{said}");
        (successor, said)
    }
}

#[tokio::test]
async fn a_company_s_key_that_is_made_meanwhile_ends_too() {
    let world = World::new();
    let keys = world.many().await;
    let end = format!("{END} --company company_12");
    let (successor, said) = world.rotate_during(&end, &keys).await;
    assert!(world.is_revoked(&successor).await, "{said}");
    assert_eq!(said, "301 keys are revoked\n");
}

#[tokio::test]
async fn whatever_takes_the_place_of_a_named_key_meanwhile_ends_too_and_is_named() {
    let world = World::new();
    let keys = world.many().await;
    let other = world.issue().await;
    let end = format!(
        "{END} --prefixes {}",
        world.list(&keys.iter().collect::<Vec<_>>())
    );
    let (successor, said) = world.rotate_during(&end, &keys).await;
    assert!(world.is_revoked(&successor).await, "{said}");
    assert!(said.contains(successor.prefix.as_str()), "{said}");
    assert!(!world.is_revoked(&other).await, "nobody named it");
}

#[tokio::test]
async fn what_took_a_key_s_place_before_is_named_and_left() {
    let world = World::new();
    let old = world.issue().await;
    let successor = world.rotate(&old).await;
    let end = format!("{END} --prefixes {}", world.list(&[&old]));
    let ended = world.desk.run(&end);
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success(), "{said}");
    assert!(said.contains(&successor.id.to_string()), "{said}");
    assert!(world.is_revoked(&old).await);
    assert!(!world.is_revoked(&successor).await);
}

#[tokio::test]
async fn a_key_that_is_listed_twice_or_ended_before_is_no_failure() {
    let world = World::new();
    let (first, second) = (world.issue().await, world.issue().await);
    let list = world.list(&[&first, &first, &second, &first]);
    let end = format!("{END} --prefixes {list}");
    assert_eq!(world.desk.json(&end).as_array().unwrap().len(), 2);
    assert_eq!(world.desk.json(&end).as_array().unwrap().len(), 0);
    assert!(world.is_revoked(&first).await && world.is_revoked(&second).await);
}

/// In a leak the rest must end all the same: a list names a key twice, and nobody reads what is
/// said.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_leak_drill_ends_every_key_that_is_named() {
    let world = World::new();
    let (first, second) = (world.issue().await, world.issue().await);
    let list = world.list(&[&first, &first, &second]);
    let mut command = world.desk.command(&format!("{END} --prefixes {list}"));
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let ended = command.stdout(full()).stderr(full()).output().unwrap();
    assert!(!ended.status.success(), "nobody was told");
    assert!(world.is_revoked(&first).await && world.is_revoked(&second).await);
}
