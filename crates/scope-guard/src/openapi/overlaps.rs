//! Templates that one path could match.

use std::collections::HashMap;

use http::Method;

use super::error::Faults;
use super::read::{Operation, parent};

/// Notes endpoints that stand twice, and templates of which readers would take different ones:
/// the same with other names, or two that each fix a segment which the other leaves open. A fixed
/// segment beside a parameter is no fault: everybody takes it first.
pub(super) fn check(operations: &[Operation<'_>], faults: &mut Faults) {
    let mut known: HashMap<(&str, &Method), &str> = HashMap::new();
    let mut tree = Tree(vec![Branch::default()]);
    for operation in operations {
        let template = operation.template.as_str();
        let first = known.insert((template, &operation.method), &operation.at);
        if let Some(first) = first {
            let advice = format!("the same endpoint stands at {first}: keep one of them");
            faults.add::<()>(&operation.at, advice);
        }
        let at = parent(&operation.at);
        if !tree.insert(template, at) {
            continue;
        }
        let segments: Vec<&str> = template.split('/').collect();
        let mut found = Vec::new();
        tree.find(0, &segments, Fixes::default(), &mut found);
        // Maps have no order, and faults of one document should.
        found.sort_unstable_by_key(|(other, ..)| *other);
        for (other, first, fixes) in found {
            let advice = match (fixes.ours, fixes.theirs) {
                _ if other == template => continue,
                (false, false) => format!("it is {other} of {first} with other names: keep one"),
                (true, true) => format!(
                    "a path could match both {template} and {other} of {first}, and readers differ \
                     in which they take: change a fixed segment of one of them"
                ),
                _ => continue,
            };
            faults.add::<()>(at, advice);
        }
    }
}

/// Whether one of two templates fixes a segment that the other leaves open.
#[derive(Debug, Clone, Copy, Default)]
struct Fixes {
    ours: bool,
    theirs: bool,
}

/// Templates by their segments.
struct Tree<'d>(Vec<Branch<'d>>);

#[derive(Debug, Default)]
struct Branch<'d> {
    fixed: HashMap<&'d str, usize>,
    parameter: Option<usize>,
    /// The templates that end here, each with its place: several where only names differ.
    ends: Vec<(&'d str, &'d str)>,
}

impl<'d> Tree<'d> {
    /// Whether the template is new.
    fn insert(&mut self, template: &'d str, at: &'d str) -> bool {
        let mut number = 0;
        for segment in template.split('/') {
            let new = self.0.len();
            let branch = &mut self.0[number];
            number = if segment.starts_with('{') {
                *branch.parameter.get_or_insert(new)
            } else {
                *branch.fixed.entry(segment).or_insert(new)
            };
            if number == new {
                self.0.push(Branch::default());
            }
        }
        let ends = &mut self.0[number].ends;
        let is_new = !ends.iter().any(|(known, _)| *known == template);
        if is_new {
            ends.push((template, at));
        }
        is_new
    }

    fn find(
        &self,
        number: usize,
        segments: &[&str],
        fixes: Fixes,
        found: &mut Vec<(&'d str, &'d str, Fixes)>,
    ) {
        let branch = &self.0[number];
        let Some((segment, rest)) = segments.split_first() else {
            let ends = branch.ends.iter();
            found.extend(ends.map(|(template, at)| (*template, *at, fixes)));
            return;
        };
        let is_open = segment.starts_with('{');
        // A parameter does not match an empty segment.
        if let Some(next) = branch.parameter.filter(|_| !segment.is_empty()) {
            let ours = fixes.ours | !is_open;
            self.find(next, rest, Fixes { ours, ..fixes }, found);
        }
        if is_open {
            for (_, next) in branch.fixed.iter().filter(|(text, _)| !text.is_empty()) {
                let theirs = true;
                self.find(*next, rest, Fixes { theirs, ..fixes }, found);
            }
        } else if let Some(next) = branch.fixed.get(segment) {
            self.find(*next, rest, fixes, found);
        }
    }
}
