//! `audit stats`: decisions and reasons, counted and drawn.

use std::collections::BTreeMap;
use std::path::Path;

use countersign::{LogEvents, LoggedEvent, Timestamp};
use serde_json::json;

use super::Unread;
use super::args::Filter;
use crate::error::CliError;
use crate::output::{Output, printable};

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Stats {
    pub(super) events: u64,
    pub(super) decisions: BTreeMap<String, u64>,
    pub(super) reasons: BTreeMap<String, u64>,
    pub(super) keys: BTreeMap<String, u64>,
    pub(super) routes: BTreeMap<String, u64>,
    /// By the microsecond at which an hour begins: allowed, refused.
    pub(super) hours: BTreeMap<i64, [u64; 2]>,
    pub(super) latencies: Vec<u64>,
    pub(super) unread: Unread,
}

impl Stats {
    pub(super) fn of(directory: &Path, filter: &Filter) -> Result<Self, CliError> {
        let mut stats = Self::default();
        for event in LogEvents::open(directory)? {
            let event = event?;
            if stats.unread.reads(&event) && filter.passes(&event) {
                stats.count(&event);
            }
        }
        stats.latencies.sort_unstable();
        Ok(stats)
    }

    fn count(&mut self, event: &LoggedEvent) {
        self.events += 1;
        // An intent is not an outcome: the same request has one of those too.
        let kind = event.text("type").unwrap_or_default();
        let is_intent = kind.ends_with(".intent");
        let Some(decision) = event.text("decision").filter(|_| !is_intent) else {
            return;
        };
        let requests = requests(event);
        add(&mut self.decisions, Some(decision), requests);
        add(&mut self.reasons, event.text("reason"), requests);
        add(&mut self.keys, event.text("key_prefix"), requests);
        let route = event.text("route").zip(event.text("method"));
        let route = route.map(|(route, method)| format!("{method} {route}"));
        add(&mut self.routes, route.as_deref(), requests);
        let latency = event.fields.get("latency_us");
        self.latencies
            .extend(latency.and_then(serde_json::Value::as_u64));
        if kind.contains(".request.") {
            self.count_hour(event, decision != "allowed", requests);
        }
    }

    fn count_hour(&mut self, event: &LoggedEvent, is_refused: bool, requests: u64) {
        let time = event.text("time").and_then(|time| time.parse().ok());
        if let Some(time) = time.map(Timestamp::as_micros) {
            let hour = self.hours.entry(time - time.rem_euclid(HOUR)).or_default();
            let count = &mut hour[usize::from(is_refused)];
            *count = count.saturating_add(requests);
        }
    }

    /// The latency that this share of the requests stayed within, in microseconds.
    pub(super) fn quantile(&self, share: f64) -> Option<u64> {
        let last = self.latencies.len().checked_sub(1)?;
        let index = (last as f64 * share).round() as usize;
        self.latencies.get(index).copied()
    }
}

fn add(counts: &mut BTreeMap<String, u64>, name: Option<&str>, requests: u64) {
    if let Some(name) = name {
        let count = counts.entry(name.to_owned()).or_default();
        *count = count.saturating_add(requests);
    }
}

/// How many requests an event stands for: more than one where refusals of nobody were told
/// together. A handler may use the same word for something else.
fn requests(event: &LoggedEvent) -> u64 {
    let is_refusal_of_nobody =
        event.text("actor") == Some("anonymous") && event.text("decision") != Some("allowed");
    let metadata = event
        .fields
        .get("metadata")
        .filter(|_| is_refusal_of_nobody);
    metadata
        .and_then(|metadata| metadata.get("coalesced")?.as_u64())
        .map_or(1, |count| count.max(1))
}

pub(crate) fn run(
    directory: &Path,
    filter: &Filter,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    let stats = Stats::of(directory, filter)?;
    stats.unread.tell(output)?;
    if output.is_json() {
        let hours = stats.hours.iter().map(|(hour, [allowed, refused])| {
            json!({"hour": Timestamp::from_micros(*hour), "allowed": allowed, "refused": refused})
        });
        return output.value(&json!({
            "events": stats.events,
            "decisions": stats.decisions,
            "reasons": stats.reasons,
            "keys": stats.keys,
            "routes": stats.routes,
            "hours": hours.collect::<Vec<_>>(),
            "latency_us": {"p50": stats.quantile(0.5), "p99": stats.quantile(0.99)},
        }));
    }
    let mut text = format!("{} events\n", stats.events);
    text += &bars("decisions", &most(&stats.decisions));
    text += &bars("reasons", &most(&stats.reasons));
    let hours = stats.hours.iter().map(|(hour, counts)| {
        let time = Timestamp::from_micros(*hour).to_string();
        let name = time.get(..13).unwrap_or(&time).replace('T', " ");
        (name + "h", counts[0].saturating_add(counts[1]))
    });
    text += &bars("requests by hour (UTC)", &hours.collect::<Vec<_>>());
    output.raw(text.as_bytes())
}

/// The largest counts first.
pub(super) fn most(counts: &BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let mut most: Vec<_> = counts
        .iter()
        .map(|(name, count)| (name.clone(), *count))
        .collect();
    most.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    most
}

fn bars(title: &str, counts: &[(String, u64)]) -> String {
    let shown = counts.iter().map(|(name, count)| (printable(name), count));
    let shown: Vec<_> = shown.collect();
    let longest = shown
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    let largest = counts
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or(0)
        .max(1);
    let mut text = format!("\n{title}\n");
    for (name, count) in shown {
        let width = usize::try_from(count.saturating_mul(WIDTH).div_ceil(largest)).unwrap_or(0);
        text += &format!("  {name:longest$}  {}  {count}\n", "█".repeat(width));
    }
    text
}

const HOUR: i64 = 3_600_000_000;
const WIDTH: u64 = 40;
