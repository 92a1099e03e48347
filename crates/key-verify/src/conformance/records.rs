//! What is written is read again, and refused where it is not to be written.

use std::collections::HashSet;

use countersign_core::{CompanyId, StoreErrorKind};

use super::support::{add_company, company, expect, record, update, write};
use crate::record::{CompanyStatus, KeyRecord, KeyStatus};
use crate::store::{Change, KeyStore, Write};

/// A record is read back by id and by prefix as it was written, whatever its label holds.
pub async fn reads_what_was_written(store: &impl KeyStore) {
    add_company(store, "company_12").await;
    let mut key = record("company_12", 1);
    key.label = "Überweisung \u{1f4b8} \u{202e}x ".repeat(5);
    key.networks = vec!["2001:db8::/32".parse().expect("a network")];
    let (first, second) = (record("company_12", 3), record("company_12", 4));
    (key.predecessor, key.origin) = (Some(second.id), Some(first.id));
    for new in [&first, &second, &key] {
        write(store, Write::InsertKey(new.clone()))
            .await
            .expect("a new key is stored");
    }
    let found = store
        .find(&key.prefix)
        .await
        .expect("find")
        .expect("it was stored");
    assert_eq!(found.record, key, "find gives what was stored");
    assert_eq!(found.company, CompanyStatus::Active);
    let got = store.get(key.id).await.expect("get");
    assert_eq!(got.as_ref(), Some(&key), "get gives what was stored");
    let other = record("company_12", 2);
    assert!(store.find(&other.prefix).await.expect("find").is_none());
    assert!(store.get(other.id).await.expect("get").is_none());
    key.version = 2;
    key.status = KeyStatus::Suspended;
    let update = update(&key, 1);
    write(store, update).await.expect("the version is right");
    assert_eq!(store.get(key.id).await.expect("get"), Some(key));
}

/// `AlreadyExists`, `Conflict` and `NotFound` are told apart, and leave everything as it was.
pub async fn refuses_what_exists_and_what_does_not(store: &impl KeyStore) {
    add_company(store, "company_12").await;
    let key = record("company_12", 1);
    let insert = Write::InsertKey(key.clone());
    write(store, insert.clone()).await.expect("a new key");
    expect(
        write(store, insert).await,
        StoreErrorKind::AlreadyExists,
        "the same id",
    );
    let mut same_prefix = record("company_12", 2);
    same_prefix.prefix = key.prefix;
    let insert = Write::InsertKey(same_prefix);
    expect(
        write(store, insert).await,
        StoreErrorKind::AlreadyExists,
        "the same prefix",
    );
    let nobody = Write::InsertKey(record("company_99", 3));
    expect(
        write(store, nobody).await,
        StoreErrorKind::NotFound,
        "an unknown company",
    );
    let mut next = key.clone();
    next.version = 6;
    next.status = KeyStatus::Suspended;
    expect(
        write(store, update(&next, 5)).await,
        StoreErrorKind::Conflict,
        "another version",
    );
    add_company(store, "company_34").await;
    let mut moved = key.clone();
    moved.version = 2;
    moved.company = "company_34".parse().expect("a company id");
    expect(
        write(store, update(&moved, 1)).await,
        StoreErrorKind::Conflict,
        "another owner",
    );
    let missing = update(&record("company_12", 4), 1);
    expect(
        write(store, missing).await,
        StoreErrorKind::NotFound,
        "no such key",
    );
    let company = Write::InsertCompany(company("company_12", 1));
    expect(
        write(store, company).await,
        StoreErrorKind::AlreadyExists,
        "the company",
    );
    assert_eq!(
        store.get(key.id).await.expect("get"),
        Some(key),
        "nothing was written"
    );
}

/// A company whose id another's begins with has keys of its own, and sees none of the other's.
pub async fn a_company_is_not_one_whose_id_begins_alike(store: &impl KeyStore) {
    let keys = ["company_1", "company_12"].map(|company| record(company, company.len() as u128));
    for key in &keys {
        add_company(store, key.company.as_str()).await;
        let insert = Write::InsertKey(key.clone());
        write(store, insert).await.expect("a new key");
    }
    for key in keys {
        let listed = store.list(&key.company, None, 10).await.expect("list");
        assert_eq!(listed, [key], "keys of another company");
    }
}

/// A prefix or a company's id in other letters of the alphabet's two cases is another one: it finds
/// nothing, and can be stored beside.
pub async fn names_are_compared_to_the_letter(store: &impl KeyStore) {
    let [upper, lower] = [
        ("acme_live_AbCdEfGhIjKl", "Company_12"),
        ("acme_live_aBcDeFgHiJkL", "company_12"),
    ];
    let key = |(prefix, company): (&str, &str), n| {
        let mut key = record(company, n);
        key.prefix = prefix.parse().expect("a prefix");
        key
    };
    let (first, second) = (key(upper, 1), key(lower, 2));
    add_company(store, upper.1).await;
    let insert = Write::InsertKey(first.clone());
    write(store, insert).await.expect("a new key");
    let found = store.find(&second.prefix).await.expect("find");
    assert_eq!(found, None, "a prefix in other letters is another one");
    let found = store.company(&second.company).await.expect("company");
    assert_eq!(found, None, "an id in other letters is another company's");
    let listed = store.list(&second.company, None, 10).await.expect("list");
    assert_eq!(listed, [], "a key of another company");
    add_company(store, lower.1).await;
    let insert = Write::InsertKey(second.clone());
    write(store, insert).await.expect("another prefix");
    for key in [first, second] {
        let found = store.find(&key.prefix).await.expect("find");
        assert_eq!(found.map(|found| found.record), Some(key));
    }
}

/// Ten thousand keys of one company are listed in pages by ascending id, each once, and none of
/// another company among them.
pub async fn pages_ten_thousand_keys(store: &impl KeyStore) {
    add_company(store, "company_12").await;
    add_company(store, "company_34").await;
    let all: Vec<KeyRecord> = (0..10_000).map(|n| record("company_12", n)).collect();
    for keys in all.chunks(1000) {
        let writes = keys.iter().cloned().map(Write::InsertKey).collect();
        let change = Change {
            writes,
            events: Vec::new(),
        };
        store.commit(&change).await.expect("a thousand new keys");
    }
    let foreign = record("company_34", 20_000);
    write(store, Write::InsertKey(foreign))
        .await
        .expect("a new key");
    let id: CompanyId = "company_12".parse().expect("a company id");
    let (mut after, mut seen) = (None, HashSet::new());
    loop {
        let page = store.list(&id, after, 700).await.expect("a page");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 700, "a page is no longer than asked");
        assert!(page.is_sorted_by_key(|key| key.id), "pages ascend");
        assert!(after.is_none_or(|after| page[0].id > after), "pages go on");
        after = Some(last.id);
        seen.extend(page.iter().map(|key| key.id));
    }
    assert_eq!(
        seen,
        all.iter().map(|key| key.id).collect(),
        "each key once"
    );
}
