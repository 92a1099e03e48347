//! `audit tail`: the last events, and those that come.

use std::collections::VecDeque;
use std::path::Path;
use std::thread;
use std::time::Duration;

use countersign::{LogEvents, LoggedEvent};

use super::args::Filter;
use super::{Unread, query};
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
    let mut unread = Unread::default();
    for event in LogEvents::open(directory)? {
        let event = event?;
        next = event.seq().saturating_add(1);
        if unread.reads(&event) && filter.passes(&event) {
            last.push_back(event);
            if last.len() > lines {
                last.pop_front();
            }
        }
    }
    for event in &last {
        show(event, output)?;
    }
    unread.tell(output)?;
    if !follow {
        return Ok(());
    }
    loop {
        rest();
        let mut unread = Unread::default();
        for event in LogEvents::from_index(directory, next)? {
            let event = event?;
            if event.seq() < next {
                continue;
            }
            next = event.seq().saturating_add(1);
            if unread.reads(&event) && filter.passes(&event) {
                show(&event, output)?;
            }
        }
        unread.tell(output)?;
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
