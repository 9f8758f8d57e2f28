//! What can be wrong with a text before anything in it has a meaning: too much of
//! it, or a name twice.

use std::collections::HashSet;
use std::ops::Range;

use unicode_normalization::char::decompose_compatible;

use super::super::diagnostic::{Place, Problem, Problems, join, quote};
use super::super::document::{PolicyDocument, Rule};
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

/// The most characters that others may stand for in all names and texts, beyond
/// the three or fewer of ordinary writing. A name is compared in the form in
/// which they are written out, and one of them can be eighteen.
const MAX_EXPANDED: usize = 1 << 20;

pub(super) fn expands_too_much(root: &Node, problems: &mut Problems) -> bool {
    let mut left = MAX_EXPANDED;
    let Err(bytes) = expand(root, &mut left) else {
        return false;
    };
    problems.report(|| {
        let message = "too many characters of this document stand for several others each";
        Problem::at_bytes(bytes, message)
            .with_help("write the letters that they stand for, such as `ffi` instead of U+FB03")
    });
    true
}

/// Where nothing is left. Recursion is bounded by the depth of a document.
fn expand(node: &Node, left: &mut usize) -> Result<(), Range<usize>> {
    match &node.value {
        Value::String(text) => spend(text, left).ok_or_else(|| node.span.clone()),
        Value::Array(items) => items.iter().try_for_each(|item| expand(item, left)),
        Value::Object(members) => members.iter().try_for_each(|member| {
            spend(&member.key, left).ok_or_else(|| member.key_span.clone())?;
            expand(&member.value, left)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn spend(text: &str, left: &mut usize) -> Option<()> {
    for c in text.chars().filter(|c| !c.is_ascii()) {
        let mut count = 0_usize;
        decompose_compatible(c, |_| count += 1);
        *left = left.checked_sub(count.saturating_sub(3))?;
    }
    Some(())
}

/// The most bytes that the places of all checks and conditions may take together.
const MAX_PLACES: usize = 64 << 20;

/// The place of every check, condition and limit has the name of its rule in it,
/// so that a long name costs as often as it has any.
pub(super) fn names_are_too_long(document: &PolicyDocument, problems: &mut Problems) -> bool {
    if name_is_too_long(document, problems) {
        return true;
    }
    let sections = [
        ("/tools", &document.tools),
        ("/resources", &document.resources),
        ("/prompts", &document.prompts),
    ];
    let rules = sections.into_iter().flat_map(|(section, rules)| {
        let rules = rules.iter();
        rules.map(move |(name, rule)| (section, name, name.len().saturating_mul(places_of(rule))))
    });
    let total = rules
        .clone()
        .fold(0_usize, |sum, (_, _, cost)| sum.saturating_add(cost));
    if total <= MAX_PLACES {
        return false;
    }
    if let Some((section, name, _)) = rules.max_by_key(|(_, _, cost)| *cost) {
        problems.report(|| {
            let message = "this name is too long for a rule with so many checks";
            Problem::at_key(join(section, name), message)
                .with_help("use a pattern, such as `begin*`, or fewer checks")
        });
    }
    true
}

/// The name of the policy is part of what tells every limit from all others.
fn name_is_too_long(document: &PolicyDocument, problems: &mut Problems) -> bool {
    let name = document.name.as_ref().map_or(0, String::len);
    let limits: usize = document.rules().map(limits_of).sum();
    let is_too_long = name.saturating_mul(limits) > MAX_PLACES;
    if is_too_long {
        problems.report(|| {
            let message = "this name is too long for a policy with so many limits";
            Problem::at_value("/name".to_owned(), message)
                .with_help("it is for records: a word or two will do")
        });
    }
    is_too_long
}

fn places_of(rule: &Rule) -> usize {
    let checks = rule.require.iter().chain(&rule.deny_if);
    let checks: usize = checks.map(|check| 1 + check.conditions.len()).sum();
    let approval = rule.require_approval.iter();
    let approval: usize = approval.map(|asks| 1 + asks.conditions.len()).sum();
    checks + approval + limits_of(rule)
}

fn limits_of(rule: &Rule) -> usize {
    let short = [rule.rate_limit.is_some(), rule.max_concurrent.is_some()];
    rule.limits.len() + short.into_iter().filter(|there| *there).count()
}

/// Reports every name that one object has twice, at any depth. The reader of
/// the tree bounds the depth.
pub(super) fn report_duplicates(root: &Node, problems: &mut Problems) {
    report_below(root, &Place::Document, problems);
}

fn report_below(node: &Node, place: &Place<'_>, problems: &mut Problems) {
    match &node.value {
        Value::Object(members) => {
            let mut seen = HashSet::new();
            for member in members {
                let place = Place::Member(place, &member.key);
                if !seen.insert(member.key.as_str()) {
                    problems.report(|| {
                        let message = format!("{} is here twice", quote(&member.key));
                        Problem::in_text(member.key_span.clone(), &place, message)
                            .with_help("JSON readers differ in which one they take: keep one")
                    });
                }
                report_below(&member.value, &place, problems);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                report_below(item, &Place::Item(place, index), problems);
            }
        }
        _ => {}
    }
}
