//! Templates made into targets, and ids that nobody has.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The names of a template's parameters.
pub(crate) fn parameters(template: &str) -> Vec<&str> {
    let segments = template.split('/');
    segments
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| name.strip_prefix('*').unwrap_or(name))
        .collect()
}

/// The target with these values for the parameters, in their order.
pub(crate) fn fill(template: &str, values: &[String]) -> String {
    let mut values = values.iter();
    let segments = template.split('/').map(|segment| {
        if segment.starts_with('{') {
            let value = values.next().map_or("", String::as_str);
            utf8_percent_encode(value, KEPT).to_string()
        } else {
            segment.to_owned()
        }
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Every way to choose one of each list, up to a bound.
pub(crate) fn choices(lists: &[Vec<String>]) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    for list in lists {
        all = all
            .into_iter()
            .flat_map(|begun: Vec<String>| {
                list.iter().map(move |one| {
                    let mut next = begun.clone();
                    next.push(one.clone());
                    next
                })
            })
            .take(MOST_CHOICES)
            .collect();
    }
    all
}

/// An id of the same shape that nobody was shown; a longer one where all of that shape are known.
pub(crate) fn nobodys(id: &str, is_known: impl Fn(&str) -> bool) -> String {
    let mut other = changed(id);
    for _ in 0..MOST_CHANGES {
        if !is_known(&other) {
            return other;
        }
        other = changed(&other);
    }
    while is_known(&other) {
        other.push('7');
    }
    other
}

/// The last digits, or letters where there are too few digits, are others.
fn changed(id: &str) -> String {
    let digits = id.bytes().filter(u8::is_ascii_digit).count();
    let is_number = digits == id.len();
    let hex = id
        .bytes()
        .all(|b| !b.is_ascii_alphabetic() || b.is_ascii_hexdigit());
    let mut left = 6;
    let mut bytes: Vec<u8> = id.bytes().collect();
    for byte in bytes.iter_mut().rev() {
        let changed = match *byte {
            b if b.is_ascii_digit() => b'0' + (b - b'0' + 7) % 10,
            b if digits >= 3 || !b.is_ascii_alphabetic() => b,
            b if hex => other_of(b, b"abcdef"),
            b => other_of(b, b"abcdefghjkmnpqrstvwxyz"),
        };
        if changed != *byte && left > 0 {
            *byte = changed;
            left -= 1;
        }
    }
    // A number begins with no zero.
    if is_number && bytes.first() == Some(&b'0') && !id.starts_with('0') {
        bytes[0] = b'7';
    }
    // Bytes of ASCII were replaced by bytes of ASCII.
    String::from_utf8(bytes).unwrap_or_default()
}

fn other_of(letter: u8, alphabet: &[u8]) -> u8 {
    let lower = letter.to_ascii_lowercase();
    let at = alphabet.iter().position(|b| *b == lower).unwrap_or(0);
    let other = alphabet[(at + 3) % alphabet.len()];
    if letter.is_ascii_uppercase() {
        other.to_ascii_uppercase()
    } else {
        other
    }
}

/// What need not be encoded in a path must not be: RFC 3986's unreserved characters.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const MOST_CHOICES: usize = 64;
/// After so many a change comes back to where it began.
const MOST_CHANGES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in_their_order() {
        let template = "/a/{x}/b/{*rest}";
        assert_eq!(parameters(template), ["x", "rest"]);
        let values = ["1 2".to_owned(), "é-._~".to_owned()];
        assert_eq!(fill(template, &values), "/a/1%202/b/%C3%A9-._~");
        assert_eq!(fill("/plain", &[]), "/plain");
    }

    #[test]
    fn an_id_of_nobody_has_the_same_shape() {
        let nobodys = |id| nobodys(id, |_| false);
        assert_eq!(nobodys("pay_1201"), "pay_8978");
        assert_eq!(nobodys("3401"), "7178");
        let uuid = "6f1c0e2a-9b1d-4c55-8e21-0123456789ab";
        let other = nobodys(uuid);
        assert_eq!(other.len(), uuid.len());
        assert_ne!(other, uuid);
        assert_eq!(nobodys("deadbeef").len(), 8);
        assert_ne!(nobodys("deadbeef"), "deadbeef");
        assert_ne!(nobodys("XYZ"), "XYZ");
    }

    #[test]
    fn an_id_of_nobody_is_none_that_anybody_was_shown() {
        assert_eq!(nobodys("2", |_| false), "9");
        assert_eq!(nobodys("2", |id| id == "9"), "6");
        let few = |id: &str| id.parse::<u32>().is_ok_and(|id| id < 10);
        assert!(nobodys("2", few).len() > 1);
        assert_ne!(nobodys("é", |id| id == "é"), "é");
    }

    #[test]
    fn choices_are_bounded() {
        let list: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        assert_eq!(choices(&[list.clone(), list]).len(), 64);
        assert_eq!(choices(&[]), [Vec::<String>::new()]);
        assert!(choices(&[Vec::new()]).is_empty());
    }
}
