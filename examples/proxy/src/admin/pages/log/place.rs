//! The text of a policy at the place that a record names.

use std::collections::BTreeMap;

use mcp_policy::Policy;
use serde_json::{Value, value::RawValue};

use crate::{
    json_text::{beginning_in_lines, indented, one_line, visible},
    names::cut,
    pointer::{escape, unescape},
};

/// Characters of a rule that are shown.
const LONGEST: usize = 10_000;

/// Characters of a condition that are shown.
const LONGEST_CONDITION: usize = 400;

/// Steps from the document to a place, at most.
const DEEPEST: usize = 16;

/// A part of a policy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// A JSON Pointer.
    pub(super) pointer: String,
    /// From 1.
    pub(super) line: usize,
    /// Indented, and without anything in it that could fool a reader.
    pub(super) text: String,
}

/// What stands there: the rule, and before it what of it decided, if that is less.
pub(super) fn parts(policy: &Policy, rule: &str) -> Vec<Part> {
    let text = policy.source_text();
    let Some(way) = way(text, rule) else {
        return Vec::new();
    };
    let whole = match rule.split('/').nth(1) {
        Some("tools" | "resources" | "prompts" | "risk" | "methods") => 2,
        _ => 1,
    };
    let mut parts = Vec::new();
    if let (Some(last), true) = (way.last(), way.len() > whole)
        && last.raw.get().starts_with(['{', '['])
    {
        parts.push(last.part(text));
    }
    let whole = way.get(whole.saturating_sub(1));
    parts.extend(whole.map(|place| place.part(text)));
    parts
}

/// One line of what stands at the place of a condition.
pub(super) fn condition(policy: &Policy, place: &str) -> Option<String> {
    let way = way(policy.source_text(), place)?;
    // Nothing less will do.
    let is_there = way.len() == place.split('/').skip(1).count();
    let last = way.last().filter(|_| is_there)?;
    Some(cut(&one_line(last.raw.get()), LONGEST_CONDITION))
}

/// The reason that the parts give, the first of them that gives one.
pub(super) fn reason(policy: &Policy, rule: &str) -> Option<String> {
    let way = way(policy.source_text(), rule)?;
    way.iter().rev().find_map(|place| {
        let members = members(place.raw)?;
        let text = |name| {
            let text = members.get(name)?;
            serde_json::from_str::<String>(text.get()).ok()
        };
        text("on_deny").or_else(|| text("reason"))
    })
}

/// A place in a text.
struct Place<'t> {
    pointer: String,
    raw: &'t RawValue,
    /// The last member on the way, for what is no object or list.
    name: String,
}

impl Place<'_> {
    fn part(&self, text: &str) -> Part {
        // It is a part of that text.
        let start = self.raw.get().as_ptr().addr();
        let start = start.saturating_sub(text.as_ptr().addr());
        let before = text.get(..start).unwrap_or_default();
        let shown = match self.raw.get().starts_with(['{', '[']) {
            true => indented(self.raw.get()),
            false => format!("{}: {}", Value::from(&*self.name), self.raw.get()),
        };
        // It is one line for each member by now.
        Part {
            pointer: visible(&self.pointer),
            line: before.matches('\n').count().saturating_add(1),
            text: cut(&beginning_in_lines(&shown, usize::MAX), LONGEST),
        }
    }
}

/// Everything from the document to a place, without that itself; as far as there is
/// something. `None` for what is no place.
fn way<'t>(text: &'t str, place: &str) -> Option<Vec<Place<'t>>> {
    let rest = place.strip_prefix('/')?;
    let mut raw: &RawValue = serde_json::from_str(text).ok()?;
    let mut way: Vec<Place<'_>> = Vec::new();
    let mut pointer = String::new();
    let mut tokens = rest.split('/').take(DEEPEST).peekable();
    while let Some(token) = tokens.next() {
        let name = unescape(token);
        // A counter can be written out or not.
        let counter = tokens.peek().copied();
        let next = shorthand(raw, &name, counter).or_else(|| child(raw, &name));
        let Some((step, next)) = next else {
            break;
        };
        raw = next;
        pointer += "/";
        pointer += &escape(&step);
        way.push(Place {
            pointer: pointer.clone(),
            raw,
            name: step,
        });
    }
    Some(way)
}

fn members(raw: &RawValue) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// A member, or an element by its name or its number.
fn child<'t>(raw: &'t RawValue, name: &str) -> Option<(String, &'t RawValue)> {
    if raw.get().starts_with('{') {
        let found = *members(raw)?.get(name)?;
        return Some((name.to_owned(), found));
    }
    let elements: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
    let named = elements
        .iter()
        .position(|element| name_of(element).as_deref() == Some(name));
    let index = named.or_else(|| name.parse().ok())?;
    Some((index.to_string(), *elements.get(index)?))
}

/// By what a check or a limit is called in records.
fn name_of(raw: &RawValue) -> Option<String> {
    let element: Value = serde_json::from_str(raw.get()).ok()?;
    let text = |name| element.get(name).and_then(Value::as_str).map(str::to_owned);
    if let Some(name) = text("name").or_else(|| text("counter")) {
        return Some(name);
    }
    let conditions = element.get("conditions")?.as_array()?.iter();
    let names = conditions.map(|condition| {
        let part = |name| condition.get(name).and_then(Value::as_str);
        Some(format!("{}-{}", part("path")?, part("op")?))
    });
    Some(names.collect::<Option<Vec<_>>>()?.join("+"))
}

/// What is written shorter than the place says.
fn shorthand<'t>(
    raw: &'t RawValue,
    name: &str,
    next: Option<&str>,
) -> Option<(String, &'t RawValue)> {
    let (short, counter) = match (name, next) {
        ("limits", Some("rate")) => ("rate_limit", "rate"),
        ("limits", Some("concurrent")) => ("max_concurrent", "concurrent"),
        _ => return None,
    };
    let written_out = child(raw, "limits").and_then(|(_, limits)| child(limits, counter));
    match written_out {
        Some(_) => None,
        None => child(raw, short),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{
  "version": "1",
  "default": "deny",
  "tools": {
    "a/b": { "action": "deny", "reason": "No." },
    "run": {
      "rate_limit": "2/minute",
      "require": [
        { "conditions": [{ "path": "args.x", "op": "eq", "value": 1 }], "on_deny": "Not\u202e so." },
        { "name": "small", "conditions": [{ "path": "args.y", "op": "lt", "value": 1 }] }
      ]
    },
    "pay": { "limits": [{ "counter": "calls", "max": 1, "window": "day" }], "rate_limit": "9/minute" }
  }
}"#;

    fn places(rule: &str) -> Vec<(String, usize)> {
        let policy: Policy = TEXT.parse().unwrap();
        let parts = parts(&policy, rule).into_iter();
        parts.map(|part| (part.pointer, part.line)).collect()
    }

    #[test]
    fn a_rule_is_found_by_what_records_call_it() {
        let at = |places: &[(&str, usize)]| -> Vec<(String, usize)> {
            let places = places.iter();
            places
                .map(|(text, line)| ((*text).to_owned(), *line))
                .collect()
        };
        for (rule, expected) in [
            ("/tools/a~1b/action", at(&[("/tools/a~1b", 5)])),
            ("/tools/run", at(&[("/tools/run", 6)])),
            (
                "/tools/run/require/args.x-eq",
                at(&[("/tools/run/require/0", 9), ("/tools/run", 6)]),
            ),
            (
                "/tools/run/require/small",
                at(&[("/tools/run/require/1", 10), ("/tools/run", 6)]),
            ),
            ("/tools/run/limits/rate", at(&[("/tools/run", 6)])),
            (
                "/tools/pay/limits/calls",
                at(&[("/tools/pay/limits/0", 13), ("/tools/pay", 13)]),
            ),
            ("/default", at(&[("/default", 3)])),
            ("/tools/gone/action", at(&[])),
            ("/tools/pay/limits/rate", at(&[("/tools/pay", 13)])),
            ("(default deny)", at(&[])),
            ("/nothing", at(&[])),
        ] {
            assert_eq!(places(rule), expected, "{rule}");
        }
    }

    #[test]
    fn the_text_is_as_it_is_written_and_harmless() {
        let policy: Policy = TEXT.parse().unwrap();
        let default = parts(&policy, "/default");
        assert_eq!(default[0].text, r#""default": "deny""#);
        let check = &parts(&policy, "/tools/run/require/args.x-eq")[0].text;
        assert!(check.contains(r#""on_deny": "Not\u202e so.""#), "{check}");
        let place = "/tools/run/require/0/conditions/0";
        let expected = r#"{"path":"args.x","op":"eq","value":1}"#;
        assert_eq!(condition(&policy, place).as_deref(), Some(expected));
        assert_eq!(
            condition(&policy, "/tools/run/require/0/conditions/7"),
            None
        );
        let reason = |rule| reason(&policy, rule);
        assert_eq!(reason("/tools/a~1b/action").as_deref(), Some("No."));
        let said = reason("/tools/run/require/args.x-eq").unwrap();
        assert_eq!(said, "Not\u{202e} so.");
        assert_eq!(reason("/tools/run/require/small"), None);
    }
}
