use countersign_core::ManualClock;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Receipt {
    payment: String,
}

impl Job for Receipt {
    const KIND: &'static str = "send-receipt";
}

/// The same data, for another purpose.
#[derive(Debug, Serialize, Deserialize)]
struct Refund {
    payment: String,
}

impl Job for Refund {
    const KIND: &'static str = "refund";
}

#[derive(Debug, Serialize, Deserialize)]
struct BadlyNamed;

impl Job for BadlyNamed {
    const KIND: &'static str = "Not a kind";
}

const HOUR: Duration = Duration::from_secs(3600);

fn scope(company: &str) -> CompanyScope {
    CompanyScope::for_tests(company.parse().unwrap())
}

fn sealer(clock: &ManualClock) -> JobSealer {
    JobSealer::new(JobKeys::new(7, [7; 32])).with_clock(clock.clone())
}

fn receipt() -> Receipt {
    Receipt {
        payment: "pay_1201".to_owned(),
    }
}

fn sealed() -> (JobSealer, String) {
    let sealer = sealer(&ManualClock::default());
    let text = sealer.seal(&scope("company_12"), &receipt(), HOUR).unwrap();
    (sealer, text)
}

#[test]
fn a_job_keeps_its_company_and_its_data() {
    let (sealer, text) = sealed();
    let url_safe = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    assert!(text.bytes().all(url_safe), "{text}");
    let job = sealer.open::<Receipt>(&text).unwrap();
    assert_eq!(*job.scope(), scope("company_12"));
    assert_eq!(*job.payload(), receipt());
    assert_eq!(job.id(), sealer.open::<Receipt>(&text).unwrap().id());
    assert_eq!(job.into_parts().1, receipt());
    let again = sealer.seal(&scope("company_12"), &receipt(), HOUR).unwrap();
    let again = sealer.open::<Receipt>(&again).unwrap();
    assert_ne!(again.id(), sealer.open::<Receipt>(&text).unwrap().id());
}

#[test]
fn both_companies_of_a_parents_key_are_kept() {
    let (owner, company) = ("parent".parse().unwrap(), "child".parse().unwrap());
    let scope = CompanyScope::of_job(company, owner, countersign_core::Environment::Live);
    let sealer = sealer(&ManualClock::default());
    let text = sealer.seal(&scope, &receipt(), HOUR).unwrap();
    assert_eq!(*sealer.open::<Receipt>(&text).unwrap().scope(), scope);
}

#[test]
fn a_job_opens_as_its_own_kind_alone() {
    let (sealer, text) = sealed();
    let other = sealer.open::<Refund>(&text);
    assert!(matches!(other, Err(JobError::OtherKind)));
    let unnamed = sealer.seal(&scope("company_12"), &BadlyNamed, HOUR);
    assert!(matches!(unnamed, Err(JobError::Kind)));
}

#[test]
fn a_job_expires() {
    let clock = ManualClock::default();
    let sealer = sealer(&clock);
    let text = sealer.seal(&scope("company_12"), &receipt(), HOUR).unwrap();
    clock.advance(HOUR - Duration::from_micros(1));
    assert!(sealer.open::<Receipt>(&text).is_ok());
    clock.advance(Duration::from_micros(1));
    let late = sealer.open::<Receipt>(&text);
    assert!(matches!(late, Err(JobError::Expired)));
    for bad in [Duration::ZERO, JobSealer::MAX_LIFETIME + HOUR] {
        let refused = sealer.seal(&scope("company_12"), &receipt(), bad);
        assert!(matches!(refused, Err(JobError::Lifetime)));
    }
}

#[test]
fn secrets_are_replaced_by_their_versions() {
    let clock = ManualClock::default();
    let (old, text) = sealed();
    let new = |keys: JobKeys| JobSealer::new(keys).with_clock(clock.clone());
    let both = new(JobKeys::new(8, [8; 32]).accept(7, [7; 32]));
    assert!(both.open::<Receipt>(&text).is_ok());
    let fresh = both.seal(&scope("company_12"), &receipt(), HOUR).unwrap();
    assert!(fresh.starts_with("csj1.8."));
    let unknown = old.open::<Receipt>(&fresh);
    assert!(matches!(unknown, Err(JobError::UnknownSecret)));
    // The same version with another secret, and the right secret under another name.
    for keys in [JobKeys::new(7, [8; 32]), JobKeys::new(8, [7; 32])] {
        assert!(new(keys).open::<Receipt>(&text).is_err());
    }
    let shadowed = new(JobKeys::new(7, [7; 32]).accept(7, [9; 32]));
    assert!(shadowed.open::<Receipt>(&text).is_ok());
}

#[test]
fn a_job_is_not_given_another_companys_seal() {
    let (sealer, text) = sealed();
    let other = sealer.seal(&scope("company_34"), &receipt(), HOUR).unwrap();
    let parts = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (mut own, other) = (parts(&text), parts(&other));
    own[3].clone_from(&other[3]);
    let forged = sealer.open::<Receipt>(&own.join("."));
    assert!(matches!(forged, Err(JobError::Forged)));
}

#[test]
fn what_is_no_sealed_job_is_told_apart_and_never_read() {
    let (sealer, text) = sealed();
    for bad in ["", ".", "...", "csj1.7", "csj1.7.e30", "csj1.7.e30."] {
        assert!(sealer.open::<Receipt>(bad).is_err(), "{bad:?}");
    }
    for head in ["csj2.7.", "csj1.07.", "csj1.+7.", "CSJ1.7.", "csj1.65536."] {
        let changed = text.replacen("csj1.7.", head, 1);
        assert!(sealer.open::<Receipt>(&changed).is_err(), "{head}");
    }
    let long = "x".repeat(JobSealer::MAX_LENGTH + 1);
    assert!(matches!(
        sealer.open::<Receipt>(&long),
        Err(JobError::TooLong)
    ));
    let payload = Receipt { payment: long };
    let refused = sealer.seal(&scope("company_12"), &payload, HOUR);
    assert!(matches!(refused, Err(JobError::TooLong)));
}

#[test]
fn nothing_shows_a_secret() {
    let (sealer, _) = sealed();
    let shown = format!("{sealer:?}");
    assert!(shown.contains("[redacted]"), "{shown}");
    assert!(!shown.contains("7, 7"), "{shown}");
}

/// Every byte, each to every other value that a text can hold.
#[test]
fn no_byte_can_be_changed() {
    let (sealer, text) = sealed();
    for at in 0..text.len() {
        for byte in 0_u8..128 {
            let mut bytes = text.clone().into_bytes();
            if bytes[at] == byte {
                continue;
            }
            bytes[at] = byte;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(sealer.open::<Receipt>(&changed).is_err(), "{at} {byte}");
        }
    }
}

proptest! {
    #[test]
    fn every_scope_and_every_payload_comes_back(
        company in "[A-Za-z0-9._-]{1,64}",
        payment in any::<String>(),
        seconds in 1_u64..=604_800,
    ) {
        let sealer = sealer(&ManualClock::default());
        let job = Receipt { payment };
        let lifetime = Duration::from_secs(seconds);
        let text = sealer.seal(&scope(&company), &job, lifetime).unwrap();
        let opened = sealer.open::<Receipt>(&text).unwrap();
        prop_assert_eq!(opened.scope().company().as_str(), company);
        prop_assert_eq!(opened.payload(), &job);
    }

    #[test]
    fn no_edit_is_taken(
        company in "[A-Za-z0-9._-]{1,64}",
        cut in any::<prop::sample::Index>(),
        removed in 0_usize..4,
        put in "[A-Za-z0-9._=+/ -]{0,4}",
    ) {
        let sealer = sealer(&ManualClock::default());
        let text = sealer.seal(&scope(&company), &receipt(), HOUR).unwrap();
        let start = cut.index(text.len() + 1);
        let end = (start + removed).min(text.len());
        let edited = format!("{}{put}{}", &text[..start], &text[end..]);
        prop_assume!(edited != text);
        prop_assert!(sealer.open::<Receipt>(&edited).is_err(), "{}", edited);
    }

    #[test]
    fn no_bytes_are_a_job(text in any::<String>()) {
        let (sealer, _) = sealed();
        prop_assert!(sealer.open::<Receipt>(&text).is_err());
        let text = format!("csj1.7.{text}");
        prop_assert!(sealer.open::<Receipt>(&text).is_err());
    }
}
