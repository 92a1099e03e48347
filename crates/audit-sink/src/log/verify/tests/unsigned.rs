//! Lines that no checkpoint covers: how old they may be.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn after(log: &Log, passed: Duration) -> Finding {
    let clock = ManualClock::new(TIME.parse().unwrap());
    clock.advance(passed);
    let verifier = LogVerifier::new(log.path()).clock(clock);
    verifier.verify().unwrap().finding
}

#[test]
fn lines_without_any_checkpoint_could_not_be_checked() {
    for events in [0, 3] {
        let told = verifier(Log::new(events, &[], &[0]).path()).verify();
        let told = told.unwrap_err().to_string();
        assert!(told.ends_with("it has no checkpoint"), "{told}");
    }
    let log = Log::new(9, &[3, 9], &[0, 4]);
    fs::remove_file(log.path().join("checkpoint")).unwrap();
    fs::remove_file(log.path().join("checkpoints.jsonl")).unwrap();
    verifier(log.path()).verify().unwrap_err();
    // What is torn behind lines that nothing signs is no better.
    let mut text = fs::read(log.segment(4)).unwrap();
    text.extend(b"torn");
    fs::write(log.segment(4), text).unwrap();
    verifier(log.path()).verify().unwrap_err();
    // What was kept elsewhere still tells what is missing.
    let kept = Log::new(9, &[9], &[0]);
    let empty = kept.again("", 0, &[]);
    let against = verifier(empty.path()).against(kept.note());
    assert_eq!(against.verify().unwrap().finding, truncated(9, 0));
}

#[test]
fn lines_that_nobody_signs_for_minutes_are_not_ok() {
    let log = Log::new(9, &[3], &[0, 4]);
    assert_eq!(after(&log, 2 * MINUTE), Finding::UnsignedTail(6));
    let late = after(&log, 2 * MINUTE + Duration::from_secs(1));
    assert_eq!(late, Finding::UnsignedTooLong(6));
    let signed = Log::new(9, &[3, 9], &[0, 4]);
    assert_eq!(after(&signed, 1000 * MINUTE), Finding::Ok);
    let patient = verifier(log.path()).unsigned_for(Duration::ZERO);
    assert_eq!(
        patient.verify().unwrap().finding,
        Finding::UnsignedTail(6),
        "all of one moment"
    );
}

#[test]
fn lines_that_came_in_over_minutes_are_not_ok_though_the_newest_is_new() {
    let log = Log::new(20, &[3], &[0, 4]);
    let text = fs::read_to_string(log.segment(4)).unwrap();
    let newest = |count: usize| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let from = lines.len() - count;
        for line in &mut lines[from..] {
            *line = line.replace("12:00:00Z", "12:03:00Z");
        }
        fs::write(log.segment(4), lines.join("\n") + "\n").unwrap();
        after(&log, 3 * MINUTE)
    };
    assert_eq!(newest(1), Finding::UnsignedTooLong(17));
    // A few that waited long before they were written are nothing.
    assert_eq!(newest(12), Finding::UnsignedTail(17));
}

#[test]
fn lines_whose_time_is_not_told_are_not_ok() {
    let log = Log::new(9, &[3], &[0, 4]);
    let text = fs::read_to_string(log.segment(4)).unwrap();
    fs::write(log.segment(4), text.replace(TIME, "yesterday")).unwrap();
    let text = fs::read_to_string(log.segment(0)).unwrap();
    let (signed, rest) = text.split_at(text.len() / 4 * 3);
    let rest = rest.replace(TIME, "yesterday");
    fs::write(log.segment(0), format!("{signed}{rest}")).unwrap();
    assert_eq!(verify(log.path()), Finding::UnsignedTooLong(6));
}

#[test]
fn a_log_that_is_signed_further_meanwhile_is_written_and_not_left() {
    let log = Log::new(9, &[3], &[0, 4]);
    let identity = verifier(log.path()).identity().unwrap();
    let notes = Notes::read(log.path(), &identity, &[]).unwrap().unwrap();
    assert!(!notes.is_outdated(log.path(), &identity));
    let after = |goes_on| After {
        goes_on,
        now: TIME.parse().unwrap(),
        unsigned_for: Duration::ZERO,
    };
    let newest = log.again("", 9, &[9]).note();
    fs::write(log.path().join("checkpoint"), newest).unwrap();
    assert!(notes.is_outdated(log.path(), &identity));
    let text = fs::read_to_string(log.segment(4)).unwrap();
    fs::write(log.segment(4), text.replace(TIME, "2026-04-01T12:00:00Z")).unwrap();
    let text = fs::read_to_string(log.segment(0)).unwrap();
    let (signed, rest) = text.split_at(text.len() / 4 * 3);
    let rest = rest.replace(TIME, "2026-04-01T12:00:00Z");
    fs::write(log.segment(0), format!("{signed}{rest}")).unwrap();
    for (goes_on, finding) in [
        (true, Finding::UnsignedTail(6)),
        (false, Finding::UnsignedTooLong(6)),
    ] {
        let walk = Walk::over(log.path(), ORIGIN, &notes).unwrap();
        let report = walk.report(ORIGIN, &notes, &after(goes_on));
        assert_eq!(report.finding, finding);
    }
}
