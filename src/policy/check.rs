//! The checks of a rule: compiled, named, and asked in their order.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;
use smallvec::SmallVec;

use super::condition::{Operator, Path, Plan, Regexes, Root, Test, Truth, Truths, Use};
use super::diagnostic::{Problem, Problems, join};
use super::document::{Check, Condition, Rule};
use super::uri;

/// What `deny_if` and `require` of one rule say.
#[derive(Debug)]
pub(super) struct Checks {
    plan: Plan,
    /// Those of `deny_if` first.
    list: Vec<Compiled>,
    /// The places of the conditions, in the order of the plan.
    places: Vec<Arc<str>>,
}

/// One check.
#[derive(Debug)]
pub(super) struct Compiled {
    purpose: Use,
    conditions: Range<usize>,
    place: String,
    on_deny: Option<String>,
}

impl Compiled {
    /// The place that a refusal names.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn on_deny(&self) -> Option<&str> {
        self.on_deny.as_deref()
    }

    /// Undecidable never helps the caller.
    fn refuses(&self, truth: Truth) -> bool {
        match self.purpose {
            Use::DenyIf => truth != Truth::False,
            // There is no check that asks for an approval.
            Use::Require | Use::Approval => truth != Truth::True,
        }
    }
}

/// A condition that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Looked {
    pub(super) place: Arc<str>,
    pub(super) truth: Truth,
}

/// Conditions that a decision remembers.
pub(super) const MOST_LOOKED: usize = 64;

/// All that were looked at for one decision: few, nearly always.
pub(super) type AllLooked = SmallVec<[Looked; 2]>;

/// A check that was looked at, and what came of it.
#[derive(Debug)]
pub(super) struct Asked<'c, 'l> {
    pub(super) check: &'c Compiled,
    pub(super) conditions: &'l [Looked],
    pub(super) truth: Truth,
    pub(super) refuses: bool,
}

impl Checks {
    /// `None` for a rule without checks. What does not make sense is reported.
    pub(super) fn compile(
        rule: &Rule,
        place: &str,
        roots: &'static [Root],
        regexes: &mut Regexes,
        problems: &mut Problems,
    ) -> Option<Self> {
        if rule.deny_if.is_empty() && rule.require.is_empty() {
            return None;
        }
        let mut compiler = Compiler {
            roots,
            regexes,
            problems,
            conditions: Vec::new(),
            places: Vec::new(),
            list: Vec::new(),
        };
        compiler.checks(Use::DenyIf, &rule.deny_if, &join(place, "deny_if"));
        compiler.checks(Use::Require, &rule.require, &join(place, "require"));
        Some(Self {
            plan: Plan::new(compiler.conditions),
            list: compiler.list,
            places: compiler.places,
        })
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The first of them, in the order in which they are asked.
    pub(super) fn first(&self) -> Option<&Compiled> {
        self.list.first()
    }

    fn of(&self, purpose: Use) -> impl Iterator<Item = &Compiled> {
        self.list
            .iter()
            .filter(move |check| check.purpose == purpose)
    }
}

/// Asks the checks of several rules, `deny_if` of all of them before `require`
/// of any, and tells `each` what came of it, until one refuses. Gives that one.
/// Of the conditions as many are remembered as a decision remembers.
///
/// The truths are those of the conditions of each rule, in the order of its plan.
pub(super) fn ask<'c>(
    rules: &[&'c Checks],
    truths: &[Truths],
    all_looked: &mut AllLooked,
    mut each: impl FnMut(&Asked<'c, '_>),
) -> Option<&'c Compiled> {
    for purpose in [Use::DenyIf, Use::Require] {
        for (checks, truths) in rules.iter().zip(truths) {
            for check in checks.of(purpose) {
                let before = all_looked.len();
                let mut truth = Truth::True;
                for index in check.conditions.clone() {
                    let looked = Looked {
                        place: checks.places.get(index).cloned().unwrap_or_default(),
                        truth: truths.get(index).copied().unwrap_or(Truth::Undecidable),
                    };
                    truth = truth.and(looked.truth);
                    all_looked.push(looked);
                }
                let refuses = check.refuses(truth);
                each(&Asked {
                    check,
                    conditions: all_looked.get(before..).unwrap_or_default(),
                    truth,
                    refuses,
                });
                all_looked.truncate(MOST_LOOKED);
                if refuses {
                    return Some(check);
                }
            }
        }
    }
    None
}

/// The conditions at this place that make sense, and the place of each of them.
pub(super) fn conditions(
    purpose: Use,
    conditions: &[Condition],
    place: &str,
    roots: &'static [Root],
    regexes: &mut Regexes,
    problems: &mut Problems,
) -> (Plan, Vec<Arc<str>>) {
    let mut compiler = Compiler {
        roots,
        regexes,
        problems,
        conditions: Vec::new(),
        places: Vec::new(),
        list: Vec::new(),
    };
    compiler.conditions(purpose, conditions, place);
    (Plan::new(compiler.conditions), compiler.places)
}

struct Compiler<'p> {
    /// What conditions here may look at.
    roots: &'static [Root],
    regexes: &'p mut Regexes,
    problems: &'p mut Problems,
    conditions: Vec<(Path, Test, Use)>,
    places: Vec<Arc<str>>,
    list: Vec<Compiled>,
}

impl Compiler<'_> {
    fn checks(&mut self, purpose: Use, checks: &[Check], place: &str) {
        let mut taken = HashSet::new();
        for (index, check) in checks.iter().enumerate() {
            let index = index.to_string();
            let start = self.conditions.len();
            let at = join(&join(place, &index), "conditions");
            self.conditions(purpose, &check.conditions, &at);
            let name = name_of(check).filter(|name| !taken.contains(name));
            let place = join(place, name.as_deref().unwrap_or(&index));
            taken.extend(name);
            self.list.push(Compiled {
                purpose,
                conditions: start..self.conditions.len(),
                place,
                on_deny: check.on_deny.clone(),
            });
        }
    }

    fn conditions(&mut self, purpose: Use, conditions: &[Condition], place: &str) {
        for (number, condition) in conditions.iter().enumerate() {
            let at = join(place, &number.to_string());
            if let Some((path, test)) = self.condition(purpose, condition, &at) {
                self.conditions.push((path, test, purpose));
                self.places.push(at.into());
            }
        }
    }

    fn condition(
        &mut self,
        purpose: Use,
        condition: &Condition,
        place: &str,
    ) -> Option<(Path, Test)> {
        let path = match Path::parse(&condition.path) {
            Ok(path) => self.allowed(purpose, path, place),
            Err(error) => {
                self.problems.report(|| {
                    Problem::at_value(join(place, "path"), error.message).with_help(error.help)
                });
                None
            }
        };
        let of_uri = path
            .as_ref()
            .is_some_and(|path| path.root() == Root::Resource);
        let value = if of_uri {
            as_in_uris(condition)
        } else {
            Cow::Borrowed(&condition.value)
        };
        match Test::compile(condition.op, &value, self.regexes) {
            Ok(test) => Some((path?, test)),
            Err(errors) => {
                for error in errors {
                    self.problems.report(|| {
                        let place = join(place, "value");
                        let place = match error.item {
                            Some(index) => join(&place, &index.to_string()),
                            None => place,
                        };
                        Problem::at_value(place, error.message).with_help(error.help)
                    });
                }
                None
            }
        }
    }

    /// The path of the condition at this place, if those of this rule may look at
    /// its root.
    fn allowed(&mut self, purpose: Use, path: Path, place: &str) -> Option<Path> {
        let root = path.root();
        if !self.roots.contains(&root) {
            self.problems.report(|| {
                let message = format!("there is no `{}` here", root.name());
                let roots: Vec<_> = self.roots.iter().map(|root| root.name()).collect();
                let help = format!("conditions here look at `{}`", roots.join("`, `"));
                Problem::at_value(join(place, "path"), message).with_help(help)
            });
            return None;
        }
        if root == Root::Client && purpose != Use::DenyIf {
            self.problems.report(|| {
                let message = match purpose {
                    Use::Approval => "what a client says of itself cannot spare it an approval",
                    _ => "what a client says of itself cannot be required",
                };
                Problem::at_value(join(place, "path"), message).with_help(
                    "any client can say it: use `client` in `deny_if`, or `caller` instead",
                )
            });
            return None;
        }
        Some(path)
    }
}

/// The value of a condition on a URI, spelt as URIs are compared: scheme and host
/// in lower case.
fn as_in_uris(condition: &Condition) -> Cow<'_, Value> {
    let spelled = |value: &Value| match value {
        Value::String(text) if condition.op == Operator::StartsWith => {
            Value::String(uri::spelled_beginning(text).into_owned())
        }
        Value::String(text) => Value::String(uri::spelled(text).into_owned()),
        other => other.clone(),
    };
    match (condition.op, &condition.value) {
        (Operator::Eq | Operator::Neq | Operator::StartsWith, value) => Cow::Owned(spelled(value)),
        (Operator::In | Operator::NotIn, Value::Array(items)) => {
            Cow::Owned(Value::Array(items.iter().map(spelled).collect()))
        }
        (_, value) => Cow::Borrowed(value),
    }
}

/// The name of a check in its place: its own, or one made of its conditions.
fn name_of(check: &Check) -> Option<String> {
    if let Some(name) = &check.name {
        return Some(name.clone()).filter(|name| !name.is_empty());
    }
    let names: Vec<String> = check
        .conditions
        .iter()
        .map(|condition| format!("{}-{}", condition.path, condition.op.as_str()))
        .collect();
    (!names.is_empty()).then(|| names.join("+"))
}
