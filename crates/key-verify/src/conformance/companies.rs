//! A company and its keys.

use std::sync::Arc;

use countersign_core::StoreErrorKind;

use super::support::{add_company, company, expect, race, record, update, write};
use crate::record::{CompanyRecord, CompanyStatus};
use crate::store::{KeyStore, Write};

/// `find` tells the company's standing as it is now.
pub async fn a_company_s_standing_is_seen_at_once(store: &impl KeyStore) {
    add_company(store, "company_12").await;
    let key = record("company_12", 1);
    write(store, Write::InsertKey(key.clone()))
        .await
        .expect("a new key");
    let suspended = Write::UpdateCompany {
        record: CompanyRecord {
            status: CompanyStatus::Suspended,
            ..company("company_12", 2)
        },
        expected: 1,
    };
    write(store, suspended).await.expect("the version is right");
    let found = store
        .find(&key.prefix)
        .await
        .expect("find")
        .expect("the key");
    assert_eq!(found.company, CompanyStatus::Suspended);
}

/// A company is updated from the version that is stored, and from no other; one that is not there
/// is `NotFound`.
pub async fn refuses_a_company_s_other_versions(store: &impl KeyStore) {
    add_company(store, "company_12").await;
    let suspended = |id, expected| Write::UpdateCompany {
        record: CompanyRecord {
            status: CompanyStatus::Suspended,
            ..company(id, expected + 1)
        },
        expected,
    };
    let early = write(store, suspended("company_12", 2)).await;
    expect(early, StoreErrorKind::Conflict, "a company's other version");
    let missing = write(store, suspended("company_99", 1)).await;
    expect(missing, StoreErrorKind::NotFound, "no such company");
    let id = "company_12".parse().expect("a company id");
    let stored = store.company(&id).await.expect("company");
    assert_eq!(
        stored,
        Some(company("company_12", 1)),
        "nothing was written"
    );
    let other = "company_99".parse().expect("a company id");
    assert_eq!(store.company(&other).await.expect("company"), None);
}

/// A company is suspended while one of its keys is changed: neither undoes the other.
pub async fn a_suspended_company_and_a_changed_key_are_both_kept<S: KeyStore>(store: Arc<S>) {
    for n in 0..20 {
        let name = format!("company_{n}");
        add_company(&*store, &name).await;
        let key = record(&name, n);
        let insert = Write::InsertKey(key.clone());
        write(&*store, insert).await.expect("a new key");
        let suspended = Write::UpdateCompany {
            record: CompanyRecord {
                status: CompanyStatus::Suspended,
                ..company(&name, 2)
            },
            expected: 1,
        };
        let mut changed = key.clone();
        changed.version = 2;
        changed.label = "changed".to_owned();
        let writes = [suspended, update(&changed, 1)].into_iter();
        let made = race(&store, writes, StoreErrorKind::Conflict).await;
        assert_eq!(made, 2, "a company and its key are changed side by side");
        let found = store.find(&key.prefix).await.expect("find");
        let found = found.expect("the key");
        assert_eq!(found.company, CompanyStatus::Suspended);
        assert_eq!(found.record, changed);
    }
}

/// Companies are listed by ascending id, in pages, each once.
pub async fn companies_are_paged(store: &impl KeyStore) {
    let names: Vec<String> = (0..25).map(|n| format!("Company-{n:02}")).collect();
    for name in names.iter().rev() {
        add_company(store, name).await;
    }
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.companies(after.as_ref(), 10).await.expect("a page");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 10, "a page is no longer than asked");
        after = Some(last.id);
        seen.extend(page.iter().map(|company| company.id.to_string()));
    }
    assert_eq!(seen, names, "each company once, by ascending id");
}
