//! Conditions that the tools of the server cannot meet, and numbers that their calls do
//! not have.

use serde_json::Value;

use super::super::condition::{Operator, Path, Root, Step};
use super::super::diagnostic::{Problem, Problems, join, quote};
use super::super::document::{Check, Condition, PolicyDocument, Rule, Unwrap};
use super::super::load::nearest;
use super::super::risk;
use super::schema::{Found, Types};
use super::{Applied, Tool};

/// Looks into schemas that are taken in all.
const MOST_LOOKS: usize = 300_000;

/// Names that one message lists.
const MOST_LISTED: usize = 5;

pub(super) fn warn(document: &PolicyDocument, applied: &Applied<'_>, problems: &mut Problems) {
    let mut checker = Checker {
        looks: MOST_LOOKS,
        problems,
    };
    if let Some(rule) = &document.all_tools {
        checker.rule(rule, "/all_tools", &applied.all);
    }
    for (key, rule) in &document.tools {
        let place = join("/tools", key);
        checker.rule(rule, &place, applied.by_rule(&place));
    }
    for (category, rule) in &document.risk {
        let place = risk::place(*category);
        checker.rule(rule, &place, applied.by_rule(&place));
    }
    if checker.looks == 0 {
        problems.report(|| {
            let message = "there are too many conditions for so many tools: not all of them were \
                           compared with what the tools take";
            Problem::at_value(String::new(), message)
        });
    }
}

struct Checker<'p> {
    /// How many are left.
    looks: usize,
    problems: &'p mut Problems,
}

/// What is asked of the value at a path.
struct Asked<'d> {
    path: &'d str,
    /// Where the path stands, and what it is compared with.
    path_place: String,
    value_place: String,
    comparison: Comparison<'d>,
    /// Whether each of the tools needs it, or only one of all.
    by_each: bool,
}

enum Comparison<'d> {
    With(&'d Condition),
    /// It has to be one of these.
    Being(Types),
}

impl Checker<'_> {
    fn rule(&mut self, rule: &Rule, place: &str, tools: &[Tool<'_>]) {
        if tools.is_empty() {
            return;
        }
        // A rule for many can forbid what only some of them take, but it
        // requires something of all.
        self.checks(&rule.deny_if, &join(place, "deny_if"), false, tools);
        self.checks(&rule.require, &join(place, "require"), true, tools);
        for (index, limit) in rule.limits.iter().enumerate() {
            if let Some(path) = &limit.increment_from {
                let place = join(&join(place, "limits"), &index.to_string());
                self.being(Types::NUMBER, path, &join(&place, "increment_from"), tools);
            }
        }
        // What is missing asks, so that a tool without it always does.
        if let Some(approval) = &rule.require_approval {
            let place = join(&join(place, "require_approval"), "conditions");
            self.conditions(&approval.conditions, &place, true, tools);
        }
        if let Some(unwrap) = &rule.unwrap {
            self.unwrap(unwrap, &join(place, "unwrap"), tools);
        }
    }

    fn unwrap(&mut self, unwrap: &Unwrap, place: &str, tools: &[Tool<'_>]) {
        let inner = Types::OBJECT.or(Types::STRING).or(Types::NULL);
        for (member, path, types) in [
            ("name", &unwrap.name, Types::STRING),
            ("arguments", &unwrap.arguments, inner),
        ] {
            self.being(types, path, &join(place, member), tools);
        }
    }

    /// Each of the tools needs a value of these types at the path that stands at
    /// this place.
    fn being(&mut self, types: Types, path: &str, place: &str, tools: &[Tool<'_>]) {
        let asked = Asked {
            path,
            path_place: place.to_owned(),
            value_place: place.to_owned(),
            comparison: Comparison::Being(types),
            by_each: true,
        };
        self.look(&asked, tools);
    }

    fn checks(&mut self, checks: &[Check], place: &str, by_each: bool, tools: &[Tool<'_>]) {
        for (index, check) in checks.iter().enumerate() {
            let place = join(&join(place, &index.to_string()), "conditions");
            self.conditions(&check.conditions, &place, by_each, tools);
        }
    }

    fn conditions(
        &mut self,
        conditions: &[Condition],
        place: &str,
        by_each: bool,
        tools: &[Tool<'_>],
    ) {
        for (number, condition) in conditions.iter().enumerate() {
            let place = join(place, &number.to_string());
            let asked = Asked {
                path: &condition.path,
                path_place: join(&place, "path"),
                value_place: join(&place, "value"),
                comparison: Comparison::With(condition),
                by_each,
            };
            self.look(&asked, tools);
        }
    }

    fn look(&mut self, asked: &Asked<'_>, tools: &[Tool<'_>]) {
        let Ok(path) = Path::parse(asked.path) else {
            return;
        };
        if path.root() != Root::Args || path.steps().is_empty() {
            return;
        }
        let mut without = Vec::new();
        for tool in tools {
            self.looks = self.looks.saturating_sub(1);
            if self.looks == 0 {
                return;
            }
            match tool.arguments.look_up(path.steps()) {
                Found::Unknown => {}
                Found::Missing => without.push(tool),
                Found::Types(types) => {
                    if let Some(message) = asked.comparison.misses(types) {
                        self.problems.report(|| {
                            let message = format!(
                                "{message}, but {} of {} is {types}",
                                quote(asked.path),
                                quote(tool.name)
                            );
                            Problem::at_value(asked.value_place.clone(), message)
                        });
                        return;
                    }
                }
            }
        }
        let enough = if asked.by_each { 1 } else { tools.len() };
        if without.len() >= enough {
            self.problems.report(|| missing(asked, &path, &without));
        }
    }
}

/// That tools do not take what is asked of them.
fn missing(asked: &Asked<'_>, path: &Path, tools: &[&Tool<'_>]) -> Problem {
    let names: Vec<String> = tools
        .iter()
        .take(MOST_LISTED)
        .map(|tool| quote(tool.name))
        .collect();
    let more = match tools.len().saturating_sub(names.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names = names.join(", ");
    let path_text = quote(asked.path);
    let message = format!("there is no {path_text} in the `inputSchema` of {names}{more}");
    let problem = Problem::at_value(asked.path_place.clone(), message);
    match help(path, tools) {
        Some(help) => problem.with_help(help),
        None => problem,
    }
}

/// What the argument could be called instead.
fn help(path: &Path, tools: &[&Tool<'_>]) -> Option<String> {
    let tool = tools.first()?;
    let arguments: Vec<&str> = tool.arguments.arguments().take(100).collect();
    let [Step::Field(name), ..] = path.steps() else {
        return None;
    };
    if arguments.contains(&&**name) {
        return None;
    }
    if let Some(near) = nearest(name, arguments.iter().copied()) {
        return Some(format!("did you mean {}?", quote(near)));
    }
    let listed: Vec<String> = arguments
        .iter()
        .take(MOST_LISTED)
        .map(|name| quote(name))
        .collect();
    let more = if arguments.len() > MOST_LISTED {
        ", …"
    } else {
        ""
    };
    (!listed.is_empty()).then(|| format!("it takes {}{more}", listed.join(", ")))
}

impl Comparison<'_> {
    /// Why a value of none of these types can be what is asked, if so.
    fn misses(&self, types: Types) -> Option<String> {
        match self {
            Self::Being(wanted) => {
                (!types.has(*wanted)).then(|| format!("this has to be {wanted}"))
            }
            Self::With(condition) => misses(condition, types),
        }
    }
}

fn misses(condition: &Condition, types: Types) -> Option<String> {
    let op = condition.op;
    let same = |value: &Value| {
        let own = Types::of_value(value);
        (!types.has(own)).then(|| format!("this is {own}"))
    };
    let reads = match op {
        Operator::Eq | Operator::Neq => return same(&condition.value),
        Operator::In | Operator::NotIn => {
            let values = condition.value.as_array()?;
            return values.iter().find_map(|value| {
                let own = Types::of_value(value);
                (!types.has(own)).then(|| format!("this list has {own} in it"))
            });
        }
        Operator::Lt | Operator::Lte | Operator::Gt | Operator::Gte => Types::NUMBER,
        Operator::Regex
        | Operator::StartsWith
        | Operator::EndsWith
        | Operator::PathWithin
        | Operator::HostIn => Types::STRING,
        Operator::Contains if condition.value.is_string() => Types::STRING.or(Types::ARRAY),
        Operator::Contains => Types::ARRAY,
        Operator::KeysIn => Types::OBJECT,
        Operator::LengthLte => Types::STRING.or(Types::ARRAY).or(Types::OBJECT),
        Operator::Exists => return None,
    };
    (!types.has(reads)).then(|| format!("`{op}` looks at {reads}"))
}
