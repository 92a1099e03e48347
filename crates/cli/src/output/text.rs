//! Tables, lists and labels as text.

use std::fmt::Write as _;
use std::time::Duration;

use countersign::LimitOverride;

pub(super) fn join(items: &[impl ToString]) -> String {
    let texts: Vec<_> = items.iter().map(ToString::to_string).collect();
    texts.join(",")
}

/// A quota as `set-limits` takes it, in the shortest unit in which it is a whole number.
pub(super) fn limit(limit: &LimitOverride) -> String {
    let LimitOverride { policy, quota } = limit;
    let interval = u128::from(quota.interval_nanos());
    let whole = |(unit, nanos): (&str, u128)| {
        // Rounded as the interval was, when the quota was made.
        let count = nanos / interval;
        (nanos.checked_div(count) == Some(interval)).then(|| format!("{count}/{unit}"))
    };
    let units = [("s", 1), ("m", 60), ("h", 3600)];
    let mut units = units
        .map(|(unit, seconds)| (unit, seconds * 1_000_000_000))
        .into_iter();
    let rate = units.find_map(whole);
    let rate = rate
        .unwrap_or_else(|| format!("1 every {:?}", Duration::from_nanos(quota.interval_nanos())));
    format!("{policy}={}:{rate}", quota.burst())
}

/// A text as a terminal may show it: what would move the cursor, end the line, turn the text or
/// hide in it is spelled out. What is spelled out stays as it is.
pub(crate) fn printable(raw: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let mut text = String::with_capacity(raw.len());
    for c in raw.chars() {
        if hidden(c) {
            text.extend(c.escape_unicode());
        } else {
            text.push(c);
        }
    }
    text
}

/// Cells under each other, each as a terminal may show it.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let shown = rows
        .iter()
        .map(|row| row.iter().map(|cell| printable(cell)));
    let rows: Vec<Vec<String>> = shown.map(Iterator::collect).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell: &String| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string can't fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use countersign::Quota;

    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [["a", "bb", "c"], ["üüü", "d", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&rows), "a    bb  c\nüüü  d\n");
    }

    #[test]
    fn a_quota_is_shown_as_it_was_given() {
        let shown = |burst, rate, seconds| {
            let quota = Quota::per(burst, rate, Duration::from_secs(seconds)).unwrap();
            let policy = "key".to_owned();
            limit(&LimitOverride { policy, quota })
        };
        for (count, seconds, text) in [
            (5, 1, "5/s"),
            (7, 1, "7/s"),
            (60, 60, "1/s"),
            (7, 60, "7/m"),
            (1, 60, "1/m"),
            (100, 3600, "100/h"),
            (1, 86_400, "1 every 86400s"),
        ] {
            assert_eq!(shown(20, count, seconds), format!("key=20:{text}"));
        }
    }

    #[test]
    fn no_text_can_steer_the_terminal() {
        let shown = printable("Bücher \u{1b}[2J\u{202e}x\u{2028}");
        assert_eq!(shown, "Bücher \\u{1b}[2J\\u{202e}x\\u{2028}");
        assert_eq!(printable(&shown), shown);
        let rows = [["a\u{7}", "b"], ["c", "d\n"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&rows), "a\\u{7}  b\nc       d\\u{a}\n");
    }
}
