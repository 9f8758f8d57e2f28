//! Checks that are easy to get around.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::super::condition::{Operator, Path, is_anchored};
use super::super::diagnostic::{Problem, Problems, join, quote};
use super::super::document::{Check, Condition, PolicyDocument, Rule};
use super::super::risk;
use super::super::section::Kind;

pub(super) fn warn(document: &PolicyDocument, problems: &mut Problems) {
    let mut warner = Warner {
        problems,
        anchored: HashMap::new(),
    };
    let none = Rule::default();
    let all_tools = document.all_tools.as_ref().unwrap_or(&none);
    warner.warn_of("/all_tools", all_tools, &none);
    for kind in Kind::ALL {
        let beside = match kind {
            Kind::Tools => all_tools,
            Kind::Resources | Kind::Prompts => &none,
        };
        for (key, rule) in kind.of(document) {
            if !rule.require.is_empty() || !rule.deny_if.is_empty() {
                warner.warn_of(&join(kind.place(), key), rule, beside);
            }
        }
    }
    for (category, rule) in &document.risk {
        warner.warn_of(&risk::place(*category), rule, all_tools);
    }
}

struct Warner<'d, 'p> {
    problems: &'p mut Problems,
    /// What is known of the regular expressions, each of which can be in the
    /// document very often.
    anchored: HashMap<&'d str, bool>,
}

impl<'d> Warner<'d, '_> {
    fn warn_of(&mut self, place: &str, rule: &'d Rule, beside: &Rule) {
        self.only_denied(place, rule, beside);
        self.not_anchored(place, rule);
        for (list, checks) in [("require", &rule.require), ("deny_if", &rule.deny_if)] {
            self.repeated_names(place, list, checks);
        }
    }

    /// There is always another spelling of a text.
    fn only_denied(&mut self, place: &str, rule: &Rule, beside: &Rule) {
        let mut denied = all(&rule.deny_if)
            .filter(|(_, condition)| is_about_text(condition))
            .peekable();
        if denied.peek().is_none() {
            return;
        }
        let required = all(&rule.require).chain(all(&beside.require));
        let required: Vec<Path> = required
            .filter_map(|(_, condition)| Path::parse(&condition.path).ok())
            .collect();
        let required: BTreeSet<_> = required
            .iter()
            .map(|path| (path.root(), path.steps()))
            .collect();
        for (at, condition) in denied {
            let path = Path::parse(&condition.path);
            if path.is_ok_and(|path| required.contains(&(path.root(), path.steps()))) {
                continue;
            }
            self.problems.report(|| {
                let path = quote(&condition.path);
                let message = format!(
                    "nothing but `deny_if` looks at {path}: whatever is not named here passes"
                );
                let help = format!(
                    "list what is allowed with a `require` on {path}; of a text there is always \
                     another spelling"
                );
                Problem::at_value(at.below(place, "deny_if"), message).with_help(help)
            });
        }
    }

    fn not_anchored(&mut self, place: &str, rule: &'d Rule) {
        for (at, condition) in all(&rule.require) {
            if condition.op != Operator::Regex {
                continue;
            }
            let pattern = condition.value.as_str().unwrap_or_default();
            let anchored = self.anchored.entry(pattern);
            if *anchored.or_insert_with(|| is_anchored(pattern)) {
                continue;
            }
            self.problems.report(|| {
                let message = "this regex also finds what it looks for inside something else";
                let place = at.below(place, "require") + "/value";
                Problem::at_value(place, message)
                    .with_help("begin every alternative with `^` and end it with `$`: `^(a|b)$`")
            });
        }
    }

    /// The first of a name is called by it, the others by their numbers.
    fn repeated_names(&mut self, place: &str, list: &str, checks: &[Check]) {
        let mut seen = HashSet::new();
        for (index, check) in checks.iter().enumerate() {
            let Some(name) = check.name.as_deref().filter(|name| !seen.insert(*name)) else {
                continue;
            };
            self.problems.report(|| {
                let place = format!("{}/{index}", join(place, list));
                let message = format!("another check of this list is named {}", quote(name));
                let help = format!("a refusal by this one names `{index}`: give it its own name");
                Problem::at_value(place + "/name", message).with_help(help)
            });
        }
    }
}

/// Where a condition stands in a list of checks.
struct At {
    check: usize,
    condition: usize,
}

impl At {
    fn below(&self, rule: &str, list: &str) -> String {
        let (check, condition) = (self.check, self.condition);
        format!("{rule}/{list}/{check}/conditions/{condition}")
    }
}

/// Every condition, with its place.
fn all(checks: &[Check]) -> impl Iterator<Item = (At, &Condition)> {
    checks.iter().enumerate().flat_map(|(check, of)| {
        let conditions = of.conditions.iter().enumerate();
        conditions.map(move |(number, condition)| {
            let at = At {
                check,
                condition: number,
            };
            (at, condition)
        })
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
