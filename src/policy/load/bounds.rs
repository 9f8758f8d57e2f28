//! What can be wrong with a text before anything in it has a meaning: too much of
//! it, or a name twice.

use std::collections::HashSet;

use super::super::diagnostic::{Problem, Problems, join, quote};
use crate::json::tree::{Node, Value};

/// The most entries that the sections of a document may have together.
const MAX_ENTRIES: usize = 100_000;

/// Counts before anything else is done, so that a document with millions of
/// entries costs no more than reading it.
pub(super) fn too_many_entries(root: &Node, problems: &mut Problems) -> bool {
    let Value::Object(members) = &root.value else {
        return false;
    };
    let entries = |value: &Value| match value {
        Value::Object(members) => members.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    };
    let count: usize = members
        .iter()
        .map(|member| entries(&member.value.value))
        .sum();
    let count = count.max(members.len());
    if count > MAX_ENTRIES {
        problems.report(|| {
            let message =
                format!("the document has {count} entries, at most {MAX_ENTRIES} are read");
            let brace = root.span.start..root.span.start + 1;
            Problem::at_bytes(brace, message).with_help("use patterns, such as `read_*`")
        });
    }
    count > MAX_ENTRIES
}

/// Reports every name that one object has twice, at any depth. The reader of
/// the tree bounds the depth.
pub(super) fn report_duplicates(root: &Node, problems: &mut Problems) {
    report_below(root, &Path::Document, problems);
}

fn report_below(node: &Node, path: &Path<'_>, problems: &mut Problems) {
    match &node.value {
        Value::Object(members) => {
            let mut seen = HashSet::new();
            for member in members {
                let path = Path::Member(path, &member.key);
                if !seen.insert(member.key.as_str()) {
                    problems.report(|| {
                        let message = format!("{} is here twice", quote(&member.key));
                        let mut problem = Problem::at_bytes(member.key_span.clone(), message);
                        problem.pointer = path.pointer();
                        problem.with_help("JSON readers differ in which one they take: keep one")
                    });
                }
                report_below(&member.value, &path, problems);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                report_below(item, &Path::Item(path, index), problems);
            }
        }
        _ => {}
    }
}

/// A JSON Pointer that is only written out where there is something to report.
enum Path<'p> {
    Document,
    Member(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl Path<'_> {
    fn pointer(&self) -> String {
        match self {
            Self::Document => String::new(),
            Self::Member(parent, key) => join(&parent.pointer(), key),
            Self::Item(parent, index) => join(&parent.pointer(), &index.to_string()),
        }
    }
}
