//! The drills end as they are told.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use abuse_drills::{Row, Timeline, storm, stuffing};

fn shows(timeline: &Timeline, signal: &str) -> f64 {
    let found = timeline.signals().find(|(_, _, told)| *told == signal);
    let (at, _, _) = found.unwrap_or_else(|| panic!("{signal} is not in\n{timeline}"));
    at.as_secs_f64()
}

fn reasons<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<(u16, Option<&'a str>)> {
    let mut seen: Vec<_> = rows
        .map(|row| (row.status, row.reason.as_deref()))
        .collect();
    seen.dedup();
    seen
}

#[tokio::test]
async fn stuffing_is_noticed_stopped_and_hurts_no_partner() {
    let timeline = stuffing().await.unwrap();
    let served = timeline.of_client("partner").all(|row| row.status == 200);
    assert!(served, "a correct key is served at all times:\n{timeline}");

    let first = shows(
        &timeline,
        "source_failures (source): throttle for 60 s, level 1",
    );
    assert!(
        (5.7..5.9).contains(&first),
        "the 30th guess, at five a second: {first}"
    );
    let ignored = shows(&timeline, "ignored_retry_after (source): throttle");
    assert!(
        (first..first + 5.0).contains(&ignored),
        "it is told at once: {ignored}"
    );
    let longer = "ignored_retry_after (source): throttle for 120 s, level 2";
    let longer = shows(&timeline, longer);
    assert!(
        (first + 30.0..first + 60.0).contains(&longer),
        "it goes on regardless: {longer}"
    );
    let attacker = timeline.of_client("attacker").collect::<Vec<_>>();
    let guessed: usize = attacker
        .iter()
        .filter(|r| r.status == 401)
        .map(|r| r.calls)
        .sum();
    assert_eq!(
        guessed, 31,
        "of 401 guesses so many were looked at\n{timeline}"
    );
    let away = attacker.iter().find(|row| row.status == 429).unwrap();
    assert_eq!(
        (away.event.as_str(), away.retry_after),
        ("abuse_denied", Some(60))
    );
    assert_eq!(
        attacker.last().unwrap().reason.as_deref(),
        Some("unknown_api_key")
    );

    shows(&timeline, "platform_failures (platform): notify");
    let botnet = reasons(timeline.of_client("botnet"));
    assert_eq!(
        botnet,
        [(401, Some("unknown_api_key"))],
        "no address of it stands out"
    );
}

#[tokio::test]
async fn a_retry_storm_is_noticed_damped_and_over_when_the_client_waits() {
    let timeline = storm().await.unwrap();
    let served = timeline.of_client("neighbour").all(|row| row.status == 200);
    assert!(
        served,
        "a key of the same company is served at all times:\n{timeline}"
    );

    let usual = timeline.of_client("client").next().unwrap();
    assert!(usual.status == 200 && usual.calls >= 240, "{usual:?}");
    let first = shows(
        &timeline,
        "ignored_retry_after (key): throttle for 60 s, level 1",
    );
    let second = shows(
        &timeline,
        "ignored_retry_after (key): throttle for 120 s, level 2",
    );
    let began = 720.0;
    assert!((began + 1.0..began + 6.0).contains(&first), "{first}");
    assert!((first + 30.0..first + 70.0).contains(&second), "{second}");
    let spike = shows(&timeline, "spike (key): notify");
    assert!(
        (began + 9.0..began + 14.0).contains(&spike),
        "200 calls in a minute: {spike}"
    );

    let told = reasons(timeline.of_client("client"));
    assert!(told.contains(&(429, Some("limit_key"))), "{timeline}");
    assert!(told.contains(&(429, Some("abuse_denied"))), "{timeline}");
    let mended = timeline.of_client("client").last().unwrap();
    assert_eq!(
        (mended.status, mended.calls),
        (200, 5),
        "who waits is served\n{timeline}"
    );
}
