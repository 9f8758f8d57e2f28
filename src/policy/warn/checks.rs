//! Checks that are easy to get around.

use std::collections::HashSet;

use serde_json::Value;

use super::super::condition::{Operator, is_anchored};
use super::super::diagnostic::{Problem, Problems, join, quote};
use super::super::document::{Check, Condition, PolicyDocument, Rule};
use super::super::section::Kind;

pub(super) fn warn(document: &PolicyDocument, problems: &mut Problems) {
    if let Some(rule) = &document.all_tools {
        warn_of(rule, "/all_tools", problems);
    }
    for kind in Kind::ALL {
        for (key, rule) in kind.of(document) {
            if !rule.require.is_empty() || !rule.deny_if.is_empty() {
                warn_of(rule, &join(kind.place(), key), problems);
            }
        }
    }
}

fn warn_of(rule: &Rule, place: &str, problems: &mut Problems) {
    let required: HashSet<&str> = all(&rule.require)
        .map(|(_, condition)| condition.path.as_str())
        .collect();
    for (at, condition) in all(&rule.deny_if) {
        if is_about_text(condition) && !required.contains(condition.path.as_str()) {
            problems.report(|| {
                let path = quote(&condition.path);
                let message = format!(
                    "nothing but `deny_if` looks at {path}: whatever is not named here passes"
                );
                let help = format!(
                    "list what is allowed with a `require` on {path}; of a text there is always \
                     another spelling"
                );
                Problem::at_value(join(place, "deny_if") + &at, message).with_help(help)
            });
        }
    }
    for (at, condition) in all(&rule.require) {
        let pattern = condition.value.as_str().unwrap_or_default();
        if condition.op == Operator::Regex && !is_anchored(pattern) {
            problems.report(|| {
                let message = "this regex also finds what it looks for inside something else";
                let place = join(place, "require") + &at + "/value";
                Problem::at_value(place, message)
                    .with_help("begin every alternative with `^` and end it with `$`: `^(a|b)$`")
            });
        }
    }
}

/// Every condition, with its place in the list of checks.
fn all(checks: &[Check]) -> impl Iterator<Item = (String, &Condition)> {
    checks.iter().enumerate().flat_map(|(index, check)| {
        let conditions = check.conditions.iter().enumerate();
        conditions
            .map(move |(number, condition)| (format!("/{index}/conditions/{number}"), condition))
    })
}

/// Whether what it looks at is text, which a caller can write in many ways.
fn is_about_text(condition: &Condition) -> bool {
    let is_text = |value: &Value| match value {
        Value::String(_) => true,
        Value::Array(items) => items.iter().any(Value::is_string),
        _ => false,
    };
    match condition.op {
        Operator::Eq | Operator::In | Operator::Contains => is_text(&condition.value),
        Operator::Regex | Operator::StartsWith | Operator::EndsWith => true,
        Operator::PathWithin | Operator::HostIn => true,
        // These refuse all but what they name, or what is not text.
        _ => false,
    }
}
