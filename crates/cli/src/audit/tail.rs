//! `audit tail`: the last events, and those that come.

use std::collections::VecDeque;
use std::path::Path;
use std::thread;
use std::time::Duration;

use countersign::{LogEvents, LoggedEvent};

use super::args::Filter;
use super::query;
use crate::error::CliError;
use crate::output::{Output, printable};

pub(crate) fn run(
    directory: &Path,
    filter: &Filter,
    follow: bool,
    lines: usize,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    let mut last = VecDeque::new();
    let mut next = 0;
    for event in LogEvents::open(directory)? {
        let event = event?;
        next = event.seq().map_or(next, |seq| seq + 1);
        if filter.passes(&event) {
            last.push_back(event);
            if last.len() > lines {
                last.pop_front();
            }
        }
    }
    for event in &last {
        show(event, output)?;
    }
    if !follow {
        return Ok(());
    }
    loop {
        rest();
        for event in LogEvents::from_index(directory, next)? {
            let event = event?;
            let Some(seq) = event.seq().filter(|seq| *seq >= next) else {
                continue;
            };
            next = seq + 1;
            if filter.passes(&event) {
                show(&event, output)?;
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing else runs on this thread"
)]
fn rest() {
    thread::sleep(PAUSE);
}

fn show(event: &LoggedEvent, output: &mut Output<'_>) -> Result<(), CliError> {
    if output.is_json() {
        return query::line(event, output);
    }
    // One event at a time: columns can't wait for what is still to come.
    let line = printable(&query::row(event).join("  ")) + "\n";
    output.raw(line.as_bytes())
}

const PAUSE: Duration = Duration::from_millis(250);
