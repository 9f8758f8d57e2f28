//! The calls of an audit file. It has names and no arguments.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use mcp_policy::Action;
use serde::Deserialize;

use super::super::call::Target;
use super::{
    Difference,
    compare::{Compared, Known, Pair},
    label,
};
use crate::failure::Failure;

/// The longest line that is read; the records that the proxy writes are shorter.
const LONGEST_LINE: u64 = 1 << 20;

/// The most names that are told apart. Whoever calls can make them up.
const MOST_NAMES: usize = 100_000;

/// Reads the file line by line, however large it is.
pub(super) fn compare(path: &Path, pair: Pair<'_>) -> Result<Difference, Failure> {
    let unreadable =
        |error: io::Error| Failure::input(format!("cannot read {}: {error}", path.display()));
    let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut calls: BTreeMap<(Target, String, bool), usize> = BTreeMap::new();
    let (mut torn, mut others, mut too_many) = (0_usize, 0_usize, 0_usize);
    while let Some(line) = next_line(&mut reader).map_err(unreadable)? {
        match line.as_deref().and_then(read) {
            None => torn = torn.saturating_add(1),
            Some(Row::Outcome) => {}
            Some(Row::Other) => others = others.saturating_add(1),
            Some(Row::Call(call)) if calls.len() < MOST_NAMES || calls.contains_key(&call) => {
                let times = calls.entry(call).or_default();
                *times = times.saturating_add(1);
            }
            Some(Row::Call(_)) => too_many = too_many.saturating_add(1),
        }
    }
    let compared = calls
        .into_iter()
        .map(|(call, times)| one(pair, &call, times))
        .collect();
    Ok(Difference {
        noun: "call",
        compared,
        skipped: vec![
            ("lines that are torn or no records", torn),
            ("messages that no rule of a policy decides by name", others),
            ("calls of names beyond the first 100000", too_many),
        ],
    })
}

fn one(
    pair: Pair<'_>,
    (target, name, completes): &(Target, String, bool),
    times: usize,
) -> Compared {
    let action = match (target, completes) {
        (Target::Prompt, true) => Action::complete_prompt(name),
        _ => target.action(name),
    };
    let label = label(*target, name);
    let pair = pair.about(*target);
    let mut compared = if *completes && *target == Target::Prompt {
        // Nothing but the name is looked at.
        pair.decide(&action, format!("completion of {label}"))
    } else {
        pair.decide_name(&action, label)
    };
    // What was called had a name that this only resembles.
    if name.ends_with('…') || name.contains("\\u{") {
        compared.known = Known::NeedsArguments;
    }
    compared.times = times;
    compared
}

/// What a line records.
enum Row {
    /// What is called, its name, and whether only a completion was asked for.
    Call((Target, String, bool)),
    /// What came of a message that another line is about.
    Outcome,
    /// A message that a policy does not decide, or not by one name.
    Other,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    verdict: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    rule: Option<Cow<'a, str>>,
}

/// `None` if it is no record.
fn read(line: &[u8]) -> Option<Row> {
    let record: Record<'_> = serde_json::from_slice(line).ok()?;
    match &*record.event {
        "outcome" => return Some(Row::Outcome),
        "decision" => {}
        _ => return None,
    }
    let (verdict, rule) = (record.verdict?, record.rule?);
    // What could not be read or recorded, and what has no policy.
    let decided = matches!(&*verdict, "allowed" | "denied" | "hidden");
    let by_policy = !matches!(&*rule, "(no policy)" | "(session)" | "(store)" | "(audit)");
    let Some(method) = record.method.filter(|_| decided && by_policy) else {
        return Some(Row::Other);
    };
    let target = match &*method {
        "tools/call" => Target::Tool,
        "prompts/get" => Target::Prompt,
        "resources/read" | "resources/subscribe" => Target::Resource,
        "completion/complete" => match &record.name {
            Some(name) if rule.starts_with("/resources/") || name.contains(':') => Target::Resource,
            _ => Target::Prompt,
        },
        _ if is_by_method(&rule) && record.name.is_none() => {
            return Some(Row::Call((Target::Method, method.into_owned(), false)));
        }
        _ => return Some(Row::Other),
    };
    let completes = method == "completion/complete";
    Some(match record.name {
        Some(name) => Row::Call((target, name.into_owned(), completes)),
        None => Row::Other,
    })
}

/// Whether such a rule speaks of the method itself.
fn is_by_method(rule: &str) -> bool {
    rule.starts_with("/methods/") || matches!(rule, "(default deny)" | "/mode")
}

/// The next line, or nothing in place of one that is too long.
fn next_line(reader: &mut impl BufRead) -> io::Result<Option<Option<Vec<u8>>>> {
    let mut line = Vec::new();
    let mut is_too_long = false;
    loop {
        let taken = reader.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        if taken == 0 && line.is_empty() && !is_too_long {
            return Ok(None);
        }
        if taken == 0 || line.ends_with(b"\n") {
            return Ok(Some((!is_too_long).then_some(line)));
        }
        if line.len() as u64 >= LONGEST_LINE {
            is_too_long = true;
            line.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_skipped_to_its_end() {
        let long = "x".repeat((LONGEST_LINE as usize) * 2 + 5);
        let text = format!("a\n{long}\nb");
        let mut reader = text.as_bytes();
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut reader).unwrap() {
            lines.push(line.map(|line| String::from_utf8(line).unwrap()));
        }
        assert_eq!(lines, [Some("a\n".to_owned()), None, Some("b".to_owned())]);
    }
}
