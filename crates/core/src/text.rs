//! What people read.

/// Whether a character shows as what it is: it is no control character, is not invisible, and does
/// not turn the text around it. Names of people in an audit log are made of such.
#[must_use]
pub fn is_printable(c: char) -> bool {
    let hidden = matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    !c.is_control() && !hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printable_and_what_hides_is_not() {
        assert!(
            "Zoë O'Néill <z@example.com>, 会社 №7"
                .chars()
                .all(is_printable)
        );
        for c in [
            '\n', '\u{7f}', '\u{85}', '\u{200b}', '\u{202e}', '\u{2066}', '\u{feff}',
        ] {
            assert!(!is_printable(c), "{c:?}");
        }
    }
}
