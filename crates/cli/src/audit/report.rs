//! `audit report`: one page that needs nothing but a browser.

use std::path::Path;

use countersign::Timestamp;

use super::args::Filter;
use super::file::NewFile;
use super::stats::{Stats, most};
use crate::error::CliError;
use crate::output::Output;

pub(crate) fn run(
    directory: &Path,
    filter: &Filter,
    file: &Path,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    let report = NewFile::new(directory, file)?;
    let stats = Stats::of(directory, filter)?;
    report.write(page(&stats).as_bytes())?;
    stats.unread.tell(output)?;
    output.say(format_args!("{} is written", file.display()))
}

fn page(stats: &Stats) -> String {
    let mut body = format!("<p>{} events.", stats.events);
    if let (Some(half), Some(most)) = (stats.quantile(0.5), stats.quantile(0.99)) {
        body += &format!(" Latency: half within {half} µs, 99 of 100 within {most} µs.");
    }
    body += "</p>";
    body += &section("Requests by hour (UTC)", &hours(stats));
    body += &section("Decisions", &chart(&most(&stats.decisions)));
    body += &section("Reasons of refusals", &chart(&most(&stats.reasons)));
    body += &section("Busiest keys", &chart(&most(&stats.keys)));
    body += &section("Busiest endpoints", &chart(&most(&stats.routes)));
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Audit report</title><style>{STYLE}</style><h1>Audit report</h1>{body}</html>\n"
    )
}

fn section(title: &str, content: &str) -> String {
    format!("<h2>{}</h2>{content}", escaped(title))
}

/// Bars beside their names; of many the largest.
fn chart(counts: &[(String, u64)]) -> String {
    let shown = &counts[..counts.len().min(MOST)];
    let largest = shown
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or(0)
        .max(1);
    let mut rows = String::new();
    for (name, count) in shown {
        let width = count.saturating_mul(100).div_ceil(largest);
        rows += &format!(
            "<tr><td>{}</td><td class=\"bar\"><span style=\"width:{width}%\"></span></td><td class=\"n\">{count}</td></tr>",
            escaped(name)
        );
    }
    if shown.is_empty() {
        return "<p>None.</p>".to_owned();
    }
    format!("<table>{rows}</table>")
}

/// A column for each hour that had requests: allowed below, refused on top.
fn hours(stats: &Stats) -> String {
    let largest = stats
        .hours
        .values()
        .map(|h| h[0].saturating_add(h[1]))
        .max()
        .unwrap_or(0)
        .max(1);
    let height = |count: u64| count as f64 * HEIGHT / largest as f64;
    let mut columns = String::new();
    for (number, (hour, [allowed, refused])) in stats.hours.iter().enumerate() {
        let x = number as f64 * STEP;
        let (low, high) = (height(*allowed), height(*refused));
        let time = Timestamp::from_micros(*hour).to_string();
        columns += &format!(
            "<g><title>{}: {allowed} allowed, {refused} refused</title><rect class=\"ok\" x=\"{x}\" y=\"{:.1}\" width=\"10\" height=\"{low:.1}\"/><rect class=\"no\" x=\"{x}\" y=\"{:.1}\" width=\"10\" height=\"{high:.1}\"/></g>",
            escaped(&time),
            HEIGHT - low,
            HEIGHT - low - high,
        );
    }
    let width = (stats.hours.len() as f64 * STEP).max(STEP);
    format!(
        "<svg viewBox=\"0 0 {width} {HEIGHT}\" width=\"{width}\" height=\"{HEIGHT}\" role=\"img\">{columns}</svg>"
    )
}

/// Text as HTML shows it, whatever a log holds.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

const STYLE: &str = "body{font:15px system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;width:100%}td{padding:.2rem .5rem;white-space:nowrap}.n{text-align:right}\
.bar{width:60%}.bar span{display:block;height:.8rem;background:#4a78b5}svg{max-width:100%}\
.ok{fill:#4a78b5}.no{fill:#c4553b}";
const MOST: usize = 20;
const HEIGHT: f64 = 120.0;
const STEP: f64 = 12.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_log_is_markup() {
        let mut stats = Stats::default();
        let hostile = "<script>alert(1)</script>\"'&\u{1b}";
        stats.reasons.insert(hostile.to_owned(), 3);
        stats.routes.insert(hostile.to_owned(), 1);
        let page = page(&stats);
        assert!(!page.contains("<script"));
        assert!(page.contains("&lt;script&gt;"));
        assert!(!page.contains('\u{1b}'));
    }
}
