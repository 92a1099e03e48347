//! What looks like a whole key, and how it is kept out of what is said.

use std::path::Path;
use std::sync::LazyLock;

use regex::bytes::Regex;

use crate::output::printable;

/// A key's shape, with its prefix as the first group.
pub(crate) static KEY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"([a-z0-9]{2,10}_(?:live|test)_[0-9A-Za-z]{12})_[0-9A-Za-z]{49}")
        .expect("the expression is well-formed")
});

/// The text without the secrets of keys that stand in it.
pub(crate) fn redacted(text: &str) -> String {
    let redacted = KEY.replace_all(text.as_bytes(), &b"${1}_[redacted]"[..]);
    String::from_utf8_lossy(&redacted).into_owned()
}

/// A file's name as a terminal may show it.
pub(crate) fn shown_path(path: &Path) -> String {
    printable(&redacted(&path.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_without_secrets_and_without_what_steers_the_terminal() {
        let secret = "0".repeat(49);
        let path = format!("a\n\u{1b}[2J/cs_live_000000000000_{secret}.txt");
        assert_eq!(
            shown_path(Path::new(&path)),
            "a\\u{a}\\u{1b}[2J/cs_live_000000000000_[redacted].txt"
        );
    }
}
