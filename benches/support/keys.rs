//! API keys and the records that a store holds of them.

use countersign::{
    Change, CompanyRecord, CompanyStatus, Digester, Environment, KeyId, KeyRecord, KeyStatus,
    KeyStore, MemoryKeyStore, RawKey, ScopeSet, Timestamp, Write,
};
use fastrand::Rng;

use super::api::SCOPE;

/// A key in clear and its record. Each belongs to a company of its own.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    record: KeyRecord,
}

/// `count` different keys.
pub(crate) fn generate(count: usize) -> Vec<Key> {
    let digester = Digester::sha256();
    let scopes = ScopeSet::from_names([SCOPE, "accounts:write"]).expect("names of scopes");
    let key = |number: usize| {
        let raw = RawKey::generate("bench", Environment::Live).expect("random numbers");
        let record = KeyRecord {
            id: KeyId::from_u128(number as u128),
            prefix: *raw.prefix(),
            company: format!("company_{number}").parse().expect("a company's id"),
            digest: digester.digest(raw.secret()),
            scopes: scopes.clone(),
            status: KeyStatus::Active,
            label: String::new(),
            created_at: Timestamp::from_micros(0),
            expires_at: Timestamp::from_micros(4_102_444_800_000_000),
            networks: Vec::new(),
            limits: Vec::new(),
            subsidiaries: Vec::new(),
            predecessor: None,
            origin: None,
            version: 1,
        };
        let text = raw.expose().to_string();
        Key { text, record }
    };
    (1..=count).map(key).collect()
}

/// A store with `keys` and their companies.
pub(crate) async fn store(keys: &[Key]) -> MemoryKeyStore {
    let store = MemoryKeyStore::default();
    fill(&store, keys).await;
    store
}

/// Puts `keys` and their companies into `store`.
pub(crate) async fn fill(store: &dyn KeyStore, keys: &[Key]) {
    for keys in keys.chunks(1000) {
        let company = |key: &Key| {
            Write::InsertCompany(CompanyRecord {
                id: key.record.company,
                status: CompanyStatus::Active,
                version: 1,
            })
        };
        let key = |key: &Key| Write::InsertKey(key.record.clone());
        let writes = keys.iter().map(company).chain(keys.iter().map(key));
        let change = Change {
            writes: writes.collect(),
            events: Vec::new(),
        };
        store.commit(&change).await.expect("nothing exists twice");
    }
}

/// The same keys, none of which has the checksum that it needs.
pub(crate) fn garbage(keys: &[Key]) -> Vec<Key> {
    let change = |key: &Key| Key {
        text: garble(&key.text),
        record: key.record.clone(),
    };
    keys.iter().map(change).collect()
}

/// A key with one character of its checksum changed.
pub(crate) fn garble(key: &str) -> String {
    let (rest, last) = key.split_at(key.len() - 1);
    let other = if last == "0" { "1" } else { "0" };
    format!("{rest}{other}")
}

/// Keys in random order. The sequence is far longer than any set of keys: a short one that
/// repeats would stay in the processor's caches.
#[derive(Debug)]
pub(crate) struct Draw<'a> {
    keys: &'a [Key],
    rng: Rng,
}

impl<'a> Draw<'a> {
    pub(crate) fn from(keys: &'a [Key]) -> Self {
        Self {
            keys,
            rng: Rng::new(),
        }
    }

    pub(crate) fn next(&mut self) -> &'a str {
        &self.keys[self.rng.usize(..self.keys.len())].text
    }
}
