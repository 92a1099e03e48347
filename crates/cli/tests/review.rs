//! A review names what somebody should look at, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use countersign::sqlite::SqliteKeyStore;
use countersign::{
    Actor, Clock, Environment, IssueRequest, KeyManager, KeyRecord, KeyStore, KeyUse,
    LifecycleKind, ManualClock, ScopeSet, SystemClock, Timestamp,
};
use support::Desk;

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

fn ago(ago: u64) -> Timestamp {
    SystemClock.now().wall.saturating_sub(days(ago))
}

struct World {
    desk: Desk,
    store: SqliteKeyStore,
    ada: Actor,
}

impl World {
    fn new() -> Self {
        let desk = Desk::new();
        let store = SqliteKeyStore::open(desk.store()).unwrap();
        let ada = Actor::operator("ada").unwrap();
        Self { desk, store, ada }
    }

    /// As it was so many days ago.
    fn manager(&self, ago_days: u64) -> KeyManager {
        let builder = KeyManager::builder(self.store.clone());
        builder
            .clock(ManualClock::new(ago(ago_days)))
            .build()
            .unwrap()
    }

    /// A key that was issued so many days ago and lives for as many as given.
    async fn key(&self, label: &str, age: u64, life: u64, scopes: &[&str]) -> KeyRecord {
        let scopes = ScopeSet::from_names(scopes.iter().copied()).unwrap();
        let company = "company_12".parse().unwrap();
        let expiry = ago(age).saturating_add(days(life));
        let request = IssueRequest::new(company, Environment::Live, scopes, expiry);
        let request = request.label(label).activate_now(true);
        let issued = self.manager(age).issue(&self.ada, request).await;
        issued.unwrap().record
    }

    async fn used(&self, key: &KeyRecord, ago_days: u64, scopes: &[&str]) {
        let uses = KeyUse {
            key: key.id,
            at: ago(ago_days),
            route: Some("/external/v1/accounts".into()),
            count: 3,
            scopes: ScopeSet::from_names(scopes.iter().copied()).unwrap(),
        };
        let kept = self.store.uses().unwrap();
        kept.record_uses(&[uses]).await.unwrap();
    }

    /// The findings, as label, finding and detail.
    fn review(&self, arguments: &str) -> Vec<(String, String, String)> {
        let rows = self.desk.json(&format!("review{arguments}"));
        let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap().to_owned();
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| {
            (
                text(row, "label"),
                text(row, "finding"),
                text(row, "detail"),
            )
        })
        .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_is_named_for_what_is_wrong_with_it() {
    let world = World::new();
    let read = &["accounts:read"][..];
    let fine = world.key("fine", 100, 365, read).await;
    world.used(&fine, 1, read).await;
    world.key("young", 5, 365, read).await;
    world.key("never", 100, 365, read).await;
    let idle = world.key("idle", 200, 365, read).await;
    world.used(&idle, 95, read).await;
    let ending = world.key("ending", 50, 70, read).await;
    world.used(&ending, 1, read).await;
    let two = ["accounts:read", "tokens:read"];
    let broad = world.key("broad", 100, 365, &two).await;
    world.used(&broad, 1, read).await;
    let writer = world.key("writer", 100, 365, &["payments:create"]).await;
    world.used(&writer, 1, &["payments:create"]).await;
    let old = world.key("old", 20, 365, read).await;
    let ada = &world.ada;
    let then = world.manager(10);
    let rotation = then.rotate(ada, &old.company, old.id, days(30)).await;
    let successor = rotation.unwrap().record;
    world.used(&successor, 1, read).await;
    world.used(&old, 2, read).await;
    // Both ended: there is nothing left to look at.
    world.key("expired", 300, 100, &["payments:create"]).await;
    let gone = world.key("gone", 300, 365, &["payments:create"]).await;
    let reason = "operational_mistake".parse().unwrap();
    let yesterday = world.manager(1);
    let revoked = yesterday.revoke(ada, &gone.company, gone.id, reason).await;
    revoked.unwrap();

    let found = world.review("");
    let mut short: Vec<_> = found.iter().map(|row| (&row.0[..], &row.1[..])).collect();
    short.sort_unstable();
    assert_eq!(
        short,
        [
            ("broad", "scopes_never_exercised"),
            ("ending", "expiring"),
            ("idle", "unused"),
            ("never", "unused"),
            ("old", "rotated_still_used"),
            ("writer", "write_from_anywhere"),
        ],
        "{found:?}"
    );
    let detail = |finding: &str| &found.iter().find(|row| row.1 == finding).unwrap().2;
    assert_eq!(detail("scopes_never_exercised"), "tokens:read");
    assert_eq!(detail("write_from_anywhere"), "payments:create");
    assert!(detail("unused").contains("/external/v1/accounts"));
    let long = world.review(" --unused-for 300d");
    assert!(long.iter().all(|row| row.1 != "unused"), "{long:?}");
    let soon = world.review(" --expires-within 300d");
    let soon = soon.iter().filter(|row| row.1 == "expiring").count();
    assert_eq!(soon, 6);
    world.desk.refused("review --company company_99", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_says_which_scopes_write() {
    let world = World::new();
    world.key("mail", 1, 365, &["mail:read"]).await;
    world.key("odd", 1, 365, &["accounts:close"]).await;
    let named = |found: Vec<(String, String, String)>| found.into_iter().map(|row| row.0);
    assert_eq!(
        named(world.review("")).collect::<Vec<_>>(),
        ["odd"],
        "by its name"
    );
    let contract = world.desk.write("contract.yaml", support::CONTRACT);
    let found = world.review(&format!(" --contract {}", contract.display()));
    assert_eq!(
        named(found).collect::<Vec<_>>(),
        ["mail"],
        "by what it opens"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn advice_can_be_followed() {
    let world = World::new();
    let broad = &["accounts:read", "payments:create"][..];
    let key = world.key("broad", 100, 365, broad).await;
    world.used(&key, 1, &["accounts:read"]).await;
    let rows = world.desk.json("review");
    let rows = rows.as_array().unwrap().iter();
    let advice: Vec<_> = rows.map(|row| row["advice"].as_str().unwrap()).collect();
    assert_eq!(advice.len(), 2);
    for command in advice {
        let command = command.replace("CIDR", "203.0.113.0/24");
        world.desk.done(&command);
    }
    assert_eq!(world.review(""), []);
    let shown = world.desk.done(&format!("keys show {}", key.prefix));
    assert!(
        shown.contains("last used") && shown.contains("/external/v1/accounts"),
        "{shown}"
    );
    let table = world.desk.run("review");
    assert_eq!(
        String::from_utf8(table.stderr).unwrap(),
        "findings: 0; keys: 1; companies: 1\n"
    );
}

/// A key that is not in use can't be rotated as it is.
#[tokio::test(flavor = "multi_thread")]
async fn advice_about_a_key_that_is_not_in_use_can_be_followed() {
    let world = World::new();
    let read = &["accounts:read"][..];
    let asleep = world.key("asleep", 50, 70, read).await;
    world.desk.done(&format!("keys suspend {}", asleep.prefix));
    let issue = "keys issue --company company_12 --scope accounts:read --expires 20d --pending";
    world.desk.json(issue);
    let rows = world.desk.json("review");
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 2, "{rows:?}");
    for row in rows {
        let advice = row["advice"].as_str().unwrap();
        let commands = advice.strip_prefix("let it end, or ").unwrap();
        for command in commands.split(" and then ") {
            world.desk.done(command);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_tells_nothing_of_uses_is_not_a_company_that_calls_nothing() {
    let world = World::new();
    world.key("never", 100, 365, &["accounts:read"]).await;
    let output = world.desk.run("review");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("track_uses"), "{said}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("keys revoke"), "{table}");
}

/// Whether their end was stored or not, keys are shown as expired and passed over; what is stored is
/// told the audit log, once.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_ended_are_stored_as_expired_and_nothing_to_look_at() {
    let world = World::new();
    let read = &["accounts:read"][..];
    let ended = world.key("ended", 100, 90, read).await;
    let asleep = world.key("asleep", 100, 90, read).await;
    let then = world.manager(50);
    let slept = then.suspend(&world.ada, &asleep.company, asleep.id).await;
    slept.unwrap();
    let fine = world.key("fine", 1, 90, read).await;
    let states = || {
        let shown = [&ended, &asleep, &fine].map(|key| {
            let shown = world.desk.json(&format!("keys show {}", key.prefix));
            shown["status"].as_str().unwrap().to_owned()
        });
        shown.to_vec()
    };
    let listed = || {
        let list = world.desk.done("keys list --company company_12");
        list.matches(" expired ").count()
    };
    let before = (states(), listed(), world.review("").len());
    assert_eq!(
        before,
        (
            vec!["expired".into(), "expired".into(), "active".into()],
            2,
            0
        )
    );
    assert_eq!(
        world.desk.json("keys expire"),
        serde_json::json!({"expired": 1})
    );
    assert_eq!((states(), listed(), world.review("").len()), before);
    let output = world.desk.run("keys expire");
    assert!(output.status.success() && output.stdout.is_empty());
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "keys expired: 0\n"
    );
    let told = world.store.pending_events(100).await.unwrap();
    let told: Vec<_> = told
        .iter()
        .filter(|event| event.kind == LifecycleKind::TokenExpired)
        .map(|event| (event.key_id, &event.actor[..]))
        .collect();
    assert_eq!(told, [(Some(ended.id), "ada")]);
    let refused = format!("keys suspend {}", ended.prefix);
    let said = world.desk.refused(&refused, 1);
    assert!(
        said.contains("a key that is expired can't be suspended; issue a new one"),
        "{said}"
    );
    let revoke = format!(
        "keys revoke {} --reason scheduled_hygiene --yes",
        ended.prefix
    );
    world.desk.done(&revoke);
    assert_eq!(states()[0], "revoked");
}
