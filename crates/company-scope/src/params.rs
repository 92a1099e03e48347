//! Path and query parameters, decoded as handlers will see them.

use std::borrow::Cow;

use percent_encoding::{percent_decode, percent_decode_str};

/// The value of the parameter `name` of `template` in `path`, percent-decoded. `Ok(None)` when the
/// template has no such parameter.
///
/// # Errors
/// When the template names the parameter in a way that this crate doesn't read, or `path` is not
/// one of the template's.
pub(crate) fn path_value<'p>(
    template: &str,
    path: &'p str,
    name: &str,
) -> Result<Option<Cow<'p, [u8]>>, Unreadable> {
    let mut rest = path.strip_prefix('/').ok_or(Unreadable)?;
    for segment in template.strip_prefix('/').ok_or(Unreadable)?.split('/') {
        let (here, after) = match rest.split_once('/') {
            Some((here, after)) => (here, Some(after)),
            None => (rest, None),
        };
        match parameter(segment) {
            Parameter::One(found) if found == name => return Ok(Some(decode(here))),
            Parameter::Tail(found) => return Ok((found == name).then(|| decode(rest))),
            Parameter::Unknown => return Err(Unreadable),
            Parameter::One(_) | Parameter::None => {}
        }
        // An absent segment is an empty one: the template's later parameters are then empty too.
        rest = after.unwrap_or("");
    }
    Ok(None)
}

/// Whether `template` has the parameter `name`.
pub(crate) fn has_parameter(template: &str, name: &str) -> bool {
    template.split('/').any(|segment| match parameter(segment) {
        Parameter::One(found) | Parameter::Tail(found) => found == name,
        Parameter::None | Parameter::Unknown => false,
    })
}

/// The values of the query parameter `name`, decoded as `application/x-www-form-urlencoded`:
/// pairs end at `&`, `+` is a blank, a parameter without `=` is empty.
pub(crate) fn query_values<'q>(
    query: &'q str,
    name: &'q str,
) -> impl Iterator<Item = Cow<'q, [u8]>> {
    query.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (form_decode(key) == name.as_bytes()).then(|| form_decode(value))
    })
}

/// A template or a path that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

enum Parameter<'t> {
    None,
    One(&'t str),
    Tail(&'t str),
    Unknown,
}

fn parameter(segment: &str) -> Parameter<'_> {
    if !segment.contains(['{', '}']) {
        return Parameter::None;
    }
    let inner = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}'));
    match inner {
        Some(inner) if !inner.contains(['{', '}']) => match inner.strip_prefix('*') {
            Some(tail) => Parameter::Tail(tail),
            None => Parameter::One(inner),
        },
        _ => Parameter::Unknown,
    }
}

fn decode(text: &str) -> Cow<'_, [u8]> {
    percent_decode_str(text).into()
}

fn form_decode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('+') {
        return decode(text);
    }
    let blanks = text.replace('+', " ");
    Cow::Owned(percent_decode(blanks.as_bytes()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(template: &str, path: &str) -> Result<Option<String>, Unreadable> {
        let value = path_value(template, path, "id")?;
        Ok(value.map(|v| String::from_utf8_lossy(&v).into_owned()))
    }

    #[test]
    fn finds_a_path_parameter_wherever_it_stands() {
        let found = |template, target| path(template, target).unwrap().unwrap();
        assert_eq!(found("/{id}", "/7"), "7");
        assert_eq!(found("/a/{id}/b", "/a/7/b"), "7");
        assert_eq!(found("/{a}/{id}", "/x/7"), "7");
        assert_eq!(found("/a/{id}/{*rest}", "/a/7/b/c"), "7");
        assert_eq!(found("/a/{*id}", "/a/7/b"), "7/b");
        assert_eq!(found("/a/{id}", "/a/com%70any%20x"), "company x");
        assert_eq!(found("/a/{id}/", "/a/7/"), "7");
        assert_eq!(found("/a/{id}", "/a/"), "");
    }

    #[test]
    fn a_template_without_the_parameter_has_no_value() {
        for template in ["/", "/a/b", "/{other}/7", "/{*rest}", "/id"] {
            assert_eq!(path(template, "/a/7"), Ok(None), "{template}");
        }
    }

    #[test]
    fn a_template_has_its_parameters_and_no_others() {
        for template in ["/{id}", "/a/{id}/b", "/a/{x}/{*id}", "/{id}/{*rest}"] {
            assert!(has_parameter(template, "id"), "{template}");
        }
        for template in ["/", "/id", "/{ID}", "/{id_}", "/{*ids}", "/{}"] {
            assert!(!has_parameter(template, "id"), "{template}");
        }
    }

    #[test]
    fn what_it_cannot_read_is_an_error_and_not_an_absent_claim() {
        for template in ["a/{id}", "/v{id}", "/{id}.json", "/{{id}}", "/{{{id}"] {
            assert_eq!(path(template, "/a/7"), Err(Unreadable), "{template}");
        }
        assert_eq!(path("/{id}", "7"), Err(Unreadable));
    }

    #[test]
    fn query_names_and_values_are_decoded_before_they_are_compared() {
        let all = |query| {
            let values = query_values(query, "company id");
            values
                .map(|v| String::from_utf8_lossy(&v).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(all("company+id=a&company%20id=b+c"), ["a", "b c"]);
        assert_eq!(all("c%6Fmpany+id=%61"), ["a"]);
        assert_eq!(all("company+id"), [""]);
        assert_eq!(all("company+id=a=b"), ["a=b"]);
        assert_eq!(all("x=1;company+id=a"), [""; 0]);
        assert_eq!(
            all("company+id=a;company+id=b"),
            ["a;company+id=b"].map(|s| s.replace('+', " "))
        );
        assert_eq!(all("company%2Bid=a&=b&&"), [""; 0]);
    }
}
