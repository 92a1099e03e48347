//! Keys in every state of their life, put straight into a store.

use std::time::Duration;

use countersign::{
    Change, Clock, CompanyId, CompanyRecord, CompanyStatus, Digester, Environment, KeyId,
    KeyRecord, KeyStatus, KeyStore, ManualClock, MemoryKeyStore, RawKey, RevocationReason,
    ScopeSet, Write,
};

/// The raw keys of two companies, and of one that is suspended.
#[derive(Debug, Clone)]
pub struct Keys {
    pub full: String,
    pub read_only: String,
    pub pending: String,
    pub suspended: String,
    pub rotated: String,
    pub revoked: String,
    pub expired: String,
    pub sandbox: String,
    pub elsewhere: String,
    pub inactive_company: String,
    pub other_company: String,
    /// A key that no store holds.
    pub unknown: String,
    /// The prefix of `full` with another secret.
    pub wrong_secret: String,
}

impl Keys {
    pub async fn store(store: &MemoryKeyStore, clock: &ManualClock) -> Self {
        let mut maker = Maker::new(clock);
        for (company, status) in [
            ("company_12", CompanyStatus::Active),
            ("company_34", CompanyStatus::Active),
            ("company_56", CompanyStatus::Suspended),
        ] {
            maker.company(company, status);
        }
        let now = clock.now().wall;
        let full = maker.key("company_12", |_| {});
        let keys = Self {
            read_only: maker.key("company_12", |key| {
                key.scopes = ScopeSet::from_names(["accounts:read"]).unwrap();
            }),
            pending: maker.key("company_12", |key| key.status = KeyStatus::Pending),
            suspended: maker.key("company_12", |key| key.status = KeyStatus::Suspended),
            rotated: maker.key("company_12", |key| {
                key.status = KeyStatus::Rotated {
                    successor: KeyId::from_u128(1),
                    until: now,
                };
            }),
            revoked: maker.key("company_12", |key| {
                key.status = KeyStatus::Revoked {
                    at: now,
                    reason: RevocationReason::CompanyRequest,
                };
            }),
            expired: maker.key("company_12", |key| key.expires_at = now),
            sandbox: maker.raw("company_12", Environment::Test, |_| {}),
            elsewhere: maker.key("company_12", |key| {
                key.networks = vec!["192.0.2.0/24".parse().unwrap()];
            }),
            inactive_company: maker.key("company_56", |_| {}),
            other_company: maker.key("company_34", |_| {}),
            unknown: expose(&RawKey::generate("acme", Environment::Live).unwrap()),
            wrong_secret: with_another_secret(&full),
            full,
        };
        store.commit(&maker.change).await.unwrap();
        keys
    }

    /// Every raw key, to search for.
    pub fn all(&self) -> [&str; 13] {
        [
            &self.full,
            &self.read_only,
            &self.pending,
            &self.suspended,
            &self.rotated,
            &self.revoked,
            &self.expired,
            &self.sandbox,
            &self.elsewhere,
            &self.inactive_company,
            &self.other_company,
            &self.unknown,
            &self.wrong_secret,
        ]
    }
}

struct Maker<'a> {
    clock: &'a ManualClock,
    change: Change,
    next: u128,
}

impl<'a> Maker<'a> {
    fn new(clock: &'a ManualClock) -> Self {
        Self {
            clock,
            change: Change::default(),
            next: 100,
        }
    }

    fn company(&mut self, id: &str, status: CompanyStatus) {
        let id: CompanyId = id.parse().unwrap();
        let record = CompanyRecord {
            id,
            status,
            version: 1,
        };
        self.change.writes.push(Write::InsertCompany(record));
    }

    fn key(&mut self, company: &str, edit: impl FnOnce(&mut KeyRecord)) -> String {
        self.raw(company, Environment::Live, edit)
    }

    fn raw(
        &mut self,
        company: &str,
        environment: Environment,
        edit: impl FnOnce(&mut KeyRecord),
    ) -> String {
        let key = RawKey::generate("acme", environment).unwrap();
        let now = self.clock.now().wall;
        self.next += 1;
        let mut record = KeyRecord {
            id: KeyId::from_u128(self.next),
            prefix: *key.prefix(),
            company: company.parse().unwrap(),
            digest: Digester::sha256().digest(key.secret()),
            scopes: ScopeSet::from_names(["accounts:read", "payments:create"]).unwrap(),
            status: KeyStatus::Active,
            label: "test".to_owned(),
            created_at: now,
            expires_at: now.saturating_add(Duration::from_secs(86_400)),
            networks: Vec::new(),
            limits: Vec::new(),
            subsidiaries: Vec::new(),
            predecessor: None,
            origin: None,
            version: 1,
        };
        edit(&mut record);
        self.change.writes.push(Write::InsertKey(record));
        expose(&key)
    }
}

fn expose(key: &RawKey) -> String {
    key.expose().to_string()
}

/// A well-formed key with the prefix of `key` and a secret of all zeros.
fn with_another_secret(key: &str) -> String {
    const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let prefix = &key[..key.len() - 50];
    let body = format!("{prefix}_{}", "0".repeat(43));
    let mut crc = crc32fast::hash(body.as_bytes());
    let mut check = [b'0'; 6];
    for digit in check.iter_mut().rev() {
        *digit = DIGITS[(crc % 62) as usize];
        crc /= 62;
    }
    format!("{body}{}", String::from_utf8(check.to_vec()).unwrap())
}
