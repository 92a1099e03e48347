//! What the clients saw, beside what the audit log says.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::Failure;
use crate::stage::Answer;

/// One call, as its client saw it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) at: Duration,
    pub(crate) who: &'static str,
    pub(crate) answer: Answer,
    pub(crate) request_id: String,
}

/// A drill from its beginning to its end.
#[derive(Debug)]
pub struct Timeline(Vec<Row>);

/// Calls of one client that went alike, up to one that gave a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// When the first of them was, from the beginning of the drill.
    pub from: Duration,
    /// When the last of them was.
    pub to: Duration,
    /// Who called.
    pub who: &'static str,
    /// How many calls it were.
    pub calls: usize,
    /// The status that the client saw.
    pub status: u16,
    /// When the first of them was told to come back, in seconds.
    pub retry_after: Option<u64>,
    /// The audit event's type, without what all types begin with.
    pub event: String,
    /// The audit event's reason, if it has one.
    pub reason: Option<String>,
    /// The signals that the last of them gave, each in one line.
    pub signals: Vec<String>,
}

impl Timeline {
    /// Every call has one outcome in the log; signals are found by the request that gave them.
    pub(crate) fn of(calls: &[Call], lines: &[String]) -> Result<Self, Failure> {
        let mut outcomes = HashMap::new();
        let mut signals: HashMap<String, Vec<String>> = HashMap::new();
        for line in lines {
            let event: Value = serde_json::from_str(line)?;
            let Some(id) = event["request_id"].as_str().map(str::to_owned) else {
                continue;
            };
            if event["type"] == "external_api.abuse.signal" {
                signals.entry(id).or_default().push(tell(&event));
            } else if outcomes.insert(id, event).is_some() {
                return Err("a request has two outcomes in the log".into());
            }
        }
        let mut rows: Vec<Row> = Vec::new();
        for call in calls {
            let event = outcomes.remove(&call.request_id);
            let event = event.ok_or("a request is missing in the log")?;
            let row = Row::of(call, &event, signals.remove(&call.request_id));
            // A client at its limit is let through now and then: two rows, not one for each change.
            let own = rows
                .iter()
                .enumerate()
                .rev()
                .filter(|(_, earlier)| earlier.who == row.who);
            let open = own
                .take_while(|(_, earlier)| earlier.signals.is_empty())
                .take(2);
            let alike = open
                .filter(|(_, earlier)| earlier.is_like(&row))
                .map(|(at, _)| at)
                .next();
            match alike {
                Some(at) => rows[at].add(row),
                None => rows.push(row),
            }
        }
        Ok(Self(rows))
    }

    /// All rows, by the time of their first call.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.0
    }

    /// The rows of one client.
    pub fn of_client(&self, who: &str) -> impl Iterator<Item = &Row> {
        self.0.iter().filter(move |row| row.who == who)
    }

    /// When which signals were given, and about whose call.
    pub fn signals(&self) -> impl Iterator<Item = (Duration, &'static str, &str)> {
        self.0.iter().flat_map(|row| {
            let signals = row.signals.iter();
            signals.map(move |signal| (row.to, row.who, signal.as_str()))
        })
    }
}

impl Row {
    fn of(call: &Call, event: &Value, signals: Option<Vec<String>>) -> Self {
        let kind = event["type"].as_str().unwrap_or_default();
        Self {
            from: call.at,
            to: call.at,
            who: call.who,
            calls: 1,
            status: call.answer.status.as_u16(),
            retry_after: call.answer.retry_after.map(|after| after.as_secs()),
            event: kind.trim_start_matches("external_api.request.").to_owned(),
            reason: event["reason"].as_str().map(str::to_owned),
            signals: signals.unwrap_or_default(),
        }
    }

    fn is_like(&self, next: &Self) -> bool {
        (self.status, &self.event, &self.reason) == (next.status, &next.event, &next.reason)
    }

    fn add(&mut self, next: Self) {
        self.calls += 1;
        self.to = next.to;
        self.signals = next.signals;
    }
}

/// A signal in one line: what, of whom, and what is done.
fn tell(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &event["metadata"];
    let mut line = format!(
        "{} ({})",
        text(&event["reason"]),
        text(&metadata["subject"])
    );
    line += &format!(": {}", text(&metadata["reaction"]));
    if let (Some(millis), Some(level)) =
        (metadata["penalty_ms"].as_u64(), metadata["level"].as_u64())
    {
        line += &format!(" for {} s, level {level}", millis / 1000);
    }
    line
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>17}  {:<9} {:>5}  {:<16} {:<42} signal",
            "seconds", "who", "calls", "client saw", "audit log says"
        )?;
        for row in &self.0 {
            let (from, to) = (row.from.as_secs_f64(), row.to.as_secs_f64());
            let seen = match row.retry_after {
                Some(after) => format!("{}, wait {after} s", row.status),
                None => row.status.to_string(),
            };
            let audit = match &row.reason {
                Some(reason) => format!("{}, {reason}", row.event),
                None => row.event.clone(),
            };
            let signals = row.signals.join("; ");
            let line = format!(
                "{from:>8.2}-{to:<8.2}  {:<9} {:>5}  {seen:<16} {audit:<42} {signals}",
                row.who, row.calls
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
