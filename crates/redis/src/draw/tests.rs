//! The script itself, with the time given instead of read.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use serde::Deserialize;

use super::*;
use crate::batch::Batch;

#[derive(Deserialize)]
struct Vectors {
    redis_cell_published_table: Vec<CellRow>,
    sequences: Vec<Sequence>,
}

/// A row of the table that redis-cell publishes, for a limit of five and one unit a second.
#[derive(Deserialize)]
struct CellRow {
    t_ms: u64,
    quantity: u32,
    remaining: u32,
    reset_after_ms: u64,
    retry_after_ms: i64,
    limited: bool,
}

#[derive(Deserialize)]
struct Sequence {
    #[serde(rename = "T_ns")]
    interval: u64,
    burst: u32,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    t_ns: u64,
    cost: u32,
    allowed: bool,
    remaining: u32,
    retry_after_ns: u64,
    reset_after_ns: u64,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../tests/vectors/gcra.json")).unwrap()
}

/// One counter on the server, and the script with a clock that the test sets.
struct Counter {
    connection: MultiplexedConnection,
    script: Script,
    quota: Quota,
    name: String,
}

impl Counter {
    async fn new(name: &str, quota: Quota) -> Self {
        let address = std::env::var("COUNTERSIGN_TEST_REDIS").unwrap();
        let client = redis::Client::open(address).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let name = format!("countersign-vectors:{name}");
        let forget = redis::cmd("DEL").arg(&name).to_owned();
        forget.exec_async(&mut connection).await.unwrap();
        let mut text = include_str!("../lua/draw.lua").to_owned();
        // The test's time, and expiry by no clock at all.
        for (read, given) in [
            ("call('TIME')", "{ARGV[2], ARGV[3]}"),
            ("time[2] * 1000", "tonumber(time[2])"),
            ("'PX', left", "'EX', 3600"),
        ] {
            assert_eq!(text.matches(read).count(), 1, "{read}");
            text = text.replace(read, given);
        }
        Self {
            connection,
            script: Script::new(text.leak()),
            quota,
            name,
        }
    }

    async fn draw(&mut self, cost: u32, now: u64) -> LimitOutcome {
        let (draw, said) = self.draw_with(cost, 0, now).await;
        decision(&[draw], &[said]).unwrap().outcomes()[0]
    }

    async fn draw_with(&mut self, cost: u32, extra: u32, now: u64) -> (Draw, Said) {
        let part = Part {
            place: 0,
            quota: self.quota,
            cost,
            paid: 0,
            extra,
        };
        let draw = Draw::of(self.name.clone(), part);
        let draws = [&draw];
        let batch = Batch::new(&draws);
        let mut call = self.script.with_text(&batch.call(&self.script));
        call.arg(now / NANOS).arg(now % NANOS);
        let answer = call.query_async(&mut self.connection).await.unwrap();
        let Value::Array(answer) = answer else {
            panic!("{answer:?}");
        };
        let [_, _, taken, held] = &answer[..] else {
            panic!("{answer:?}");
        };
        let mut said = batch.read_at(now, taken, held).unwrap();
        let said = said.pop().unwrap().unwrap();
        (draw, said)
    }
}

#[tokio::test]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn the_script_follows_the_published_table() {
    let quota = Quota::per_second(5, 1).unwrap();
    let mut counter = Counter::new("cell", quota).await;
    for row in vectors().redis_cell_published_table {
        let now = START + row.t_ms * 1_000_000;
        let outcome = counter.draw(row.quantity, now).await;
        assert_eq!(outcome.is_allowed(), !row.limited);
        assert_eq!(outcome.remaining(), row.remaining);
        assert_eq!(
            outcome.reset_after(),
            Duration::from_millis(row.reset_after_ms)
        );
        // The table says -1 where there is nothing to wait for, or where waiting is no use.
        let wait = match outcome.retry_after() {
            None | Some(Duration::ZERO) => -1,
            Some(wait) => i64::try_from(wait.as_millis()).unwrap(),
        };
        assert_eq!(wait, row.retry_after_ms);
    }
}

#[tokio::test]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn the_script_follows_the_sequences() {
    for (number, sequence) in vectors().sequences.into_iter().enumerate() {
        let interval = Duration::from_nanos(sequence.interval);
        let quota = Quota::new(sequence.burst, interval).unwrap();
        let mut counter = Counter::new(&number.to_string(), quota).await;
        for row in sequence.rows {
            let outcome = counter.draw(row.cost, START + row.t_ns).await;
            let wait = outcome
                .retry_after()
                .unwrap_or(Duration::from_nanos(u64::MAX));
            let found = (outcome.is_allowed(), outcome.remaining());
            assert_eq!(found, (row.allowed, row.remaining));
            assert_eq!(wait, Duration::from_nanos(row.retry_after_ns));
            assert_eq!(
                outcome.reset_after(),
                Duration::from_nanos(row.reset_after_ns)
            );
        }
    }
}

/// What is drawn beside the cost is drawn whole or not at all, to the nanosecond.
#[tokio::test]
#[ignore = "needs a Redis server: cargo xtask test gives it one"]
async fn the_script_draws_ahead_as_the_integers_do() {
    let (mut with, mut without) = (0, 0);
    for _ in 0..40 {
        let interval = Duration::from_nanos(fastrand::u64(1..20_000_000_000));
        let quota = Quota::new(fastrand::u32(1..200), interval).unwrap();
        let mut counter = Counter::new("ahead", quota).await;
        let (mut tat, mut now) = (0, START);
        for _ in 0..20 {
            let (cost, extra) = (fastrand::u32(0..4), fastrand::u32(0..40));
            now += fastrand::u64(0..quota.interval_nanos() * 8);
            let (draw, said) = counter.draw_with(cost, extra, now).await;
            assert_eq!(said.tats[0], tat);
            if said.taken && cost > 0 {
                let units = draw.parts[0].drawn(tat, now);
                tat = decide(tat, now, quota, units).new_tat;
                let ahead = if units == cost {
                    &mut without
                } else {
                    &mut with
                };
                *ahead += 1;
            }
        }
    }
    assert!(with > 20 && without > 20, "{with} with, {without} without");
}

/// The vectors begin at zero; this is in 2033.
const START: u64 = 2_000_000_000 * NANOS;
