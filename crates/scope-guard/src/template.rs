//! The syntax of route templates, as far as matchit, axum and this crate agree on it.

use crate::target::is_normal_path;

/// Whether `template` can be matched by targets that pass the target rules: segments in normal
/// form, `{name}` as a whole segment, `{*rest}` as the last one.
///
/// # Errors
/// What is wrong and how it is written right.
pub(crate) fn check(template: &str) -> Result<(), &'static str> {
    let Some(rest) = template.strip_prefix('/') else {
        return Err("a template begins with `/`");
    };
    let mut names = Vec::new();
    let mut example = String::with_capacity(template.len());
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        example.push('/');
        match parameter(segment)? {
            None => example.push_str(segment),
            Some(Parameter { name, is_tail }) => {
                if is_tail && segments.peek().is_some() {
                    return Err("`{*rest}` stands only at the end");
                }
                if names.contains(&name) {
                    return Err("a parameter's name stands once in a template");
                }
                names.push(name);
                example.push('x');
            }
        }
    }
    if is_normal_path(&example) {
        Ok(())
    } else {
        Err("the path is not in the normal form of RFC 3986, so no target can match it")
    }
}

/// Whether a template that passed [`check`] is that of one gRPC method: a service, a method.
pub(crate) fn is_grpc_path(template: &str) -> bool {
    let mut segments = template.split('/').skip(1);
    let mut next = || segments.next().is_some_and(is_name);
    next() && next() && segments.next().is_none()
}

fn is_name(segment: &str) -> bool {
    !segment.is_empty() && !segment.contains('{')
}

struct Parameter<'a> {
    name: &'a str,
    is_tail: bool,
}

fn parameter(segment: &str) -> Result<Option<Parameter<'_>>, &'static str> {
    if segment.starts_with([':', '*']) {
        return Err("parameters are written `{name}`, the rest of a path `{*rest}`");
    }
    if !segment.contains(['{', '}']) {
        return Ok(None);
    }
    let Some(inner) = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) else {
        return Err("a parameter is a whole segment: `{name}`");
    };
    let name = inner.strip_prefix('*').unwrap_or(inner);
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if name.is_empty() || !name.bytes().all(good) {
        return Err("a parameter's name is made of A-Z a-z 0-9 _ -");
    }
    Ok(Some(Parameter {
        name,
        is_tail: inner.len() != name.len(),
    }))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn takes_what_targets_can_match() {
        for good in [
            "/",
            "/a",
            "/a/",
            "/a/{id}",
            "/a/{id}/b/{other-id}/",
            "/a/{*rest}",
            "/{*rest}",
            "/pkg.Service/Method",
            "/a%20b",
            "/a:cancel",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn refuses_what_no_target_can_match_or_two_readers_read_differently() {
        for bad in [
            "",
            "a",
            "//",
            "/a//b",
            "/a/./b",
            "/a/..",
            "/a b",
            "/é",
            "/%61",
            "/a%2f",
            "/a;b",
            "/a?b",
            "/a#b",
            "/:id",
            "/*rest",
            "/{id",
            "/id}",
            "/{}",
            "/{*}",
            "/{**rest}",
            "/{*rest}/a",
            "/{*rest}/",
            "/{id}.json",
            "/v{id}",
            "/{{id}}",
            "/{id}/{id}",
            "/{a b}",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
