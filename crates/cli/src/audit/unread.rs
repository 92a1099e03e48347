//! Lines of a log that can't be read as events.

use countersign::LoggedEvent;

use crate::error::CliError;
use crate::output::Output;

/// How many lines no answer could be made of. They are told, so that none is missed in silence.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    lines: u64,
    first: u64,
}

impl Unread {
    /// Whether the event can be read; counts it if not.
    pub(crate) fn reads(&mut self, event: &LoggedEvent) -> bool {
        let reads = event.is_readable();
        if !reads && self.lines == 0 {
            self.first = event.seq();
        }
        self.lines += u64::from(!reads);
        reads
    }

    pub(crate) fn tell(&self, output: &mut Output<'_>) -> Result<(), CliError> {
        let Self { lines, first } = self;
        if *lines == 0 {
            return Ok(());
        }
        output.say(format_args!(
            "lines that can't be read as events: {lines}, the first at {first}; verify the log"
        ))
    }
}
