use super::*;

fn quota() -> Quota {
    Quota::per_second(10, 10).unwrap()
}

fn policy(name: &str) -> Policy {
    Policy::new(name, Dimension::Key, quota())
}

fn subject_of_error<const N: usize>(policies: [Policy; N]) -> String {
    Policies::new(policies).unwrap_err().subject().to_owned()
}

#[test]
fn a_mistake_names_its_policy() {
    assert_eq!(subject_of_error([policy("Key")]), "policy Key");
    assert_eq!(subject_of_error([policy("")]), "policy ");
    assert_eq!(
        subject_of_error([policy(&"x".repeat(33))]),
        format!("policy {}", "x".repeat(33))
    );
    assert_eq!(
        subject_of_error([policy("a"), policy("b"), policy("a")]),
        "policy a"
    );
    assert_eq!(subject_of_error([policy("a").cost(11)]), "policy a");
    assert_eq!(subject_of_error([policy("a").cost(0)]), "policy a");
    let write = OperationType::Write;
    let small = Quota::per_second(4, 1).unwrap();
    assert_eq!(
        subject_of_error([policy("a").cost(5).for_operation(write, small)]),
        "policy a"
    );
    let twice = policy("a")
        .for_operation(write, quota())
        .for_operation(write, quota());
    assert_eq!(subject_of_error([twice]), "policy a");
    let unused = policy("a")
        .only(OperationType::Read)
        .for_operation(write, quota());
    assert_eq!(subject_of_error([unused]), "policy a");
    assert!(Policies::new([policy("a-1"), policy("b")]).is_ok());
    assert!(Policies::new([]).is_ok());
}

#[test]
fn eight_policies_apply_to_one_request_and_no_more() {
    let named = |i: usize| policy(&format!("p{i}"));
    assert!(Policies::new((0..8).map(named)).is_ok());
    let error = Policies::new((0..9).map(named)).unwrap_err();
    assert_eq!(error.subject(), "policy p8");
    // Nine in all, but no more than eight of them meet.
    let apart = (0..9).map(|i| match i {
        0 => named(i).only(OperationType::Read),
        1 => named(i).only(OperationType::Write),
        _ => named(i),
    });
    assert!(Policies::new(apart).is_ok());
}
