//! Why a policy says what it says.

use std::fmt;

use serde::Serialize;

use super::Policy;
use super::action::Action;
use super::approval::Considered;
use super::check::{Asked, Looked};
use super::compile::Rules;
use super::condition::Truth;
use super::decide::{Names, Watch};
use super::decision::{Decision, Outcome};
use super::diagnostic::{printable, quote, unescape};
use super::document::{Approver, Condition, Limit, PolicyDocument, Rule};
use super::pins::Seen;
use super::quota::{Amount, CalendarUnit, LimitScope, Period, Quota};
use super::section::{Kind, Section};

impl Policy {
    /// Decides like [`decide`](Self::decide), and tells everything that was
    /// looked at for it, in its order. What is in shadow is told as if it were
    /// not.
    ///
    /// It repeats what the document says, and of the action only names: the
    /// value of an argument is nowhere in it.
    ///
    /// ```
    /// use mcp_policy::{Action, Policy};
    ///
    /// let policy: Policy = r#"{
    ///     "version": "1",
    ///     "default": "deny",
    ///     "tools": { "refund": { "require": [ { "conditions": [
    ///         { "path": "args.currency", "op": "eq", "value": "EUR" },
    ///         { "path": "args.amount", "op": "lte", "value": 500 }
    ///     ] } ] } }
    /// }"#.parse()?;
    /// let call = Action::call_tool("refund").with_arguments(r#"{"currency":"EUR","amount":"9"}"#)?;
    ///
    /// assert_eq!(policy.explain(&call).to_string(), r#"tool `refund`
    ///   /tools/refund: names it exactly
    ///   /tools/refund/require/args.currency-eq+args.amount-lte: undecidable, so it refuses
    ///     args.currency eq "EUR": true
    ///     args.amount lte 500: undecidable
    /// denied by /tools/refund/require/args.currency-eq+args.amount-lte: The policy does not allow it like this."#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain(&self, action: &Action<'_>) -> Explanation<'_> {
        let rules = self.inner.written.as_ref().unwrap_or(&self.inner.rules);
        let mut watcher = Watcher {
            rules,
            document: &self.inner.document,
            steps: Vec::new(),
            approvals: Vec::new(),
            seen: action.seen,
        };
        let decided = rules.decide(action, Names::All, &mut watcher);
        let limits = decided.spending().iter();
        let limits = limits.map(|spending| limit_step(&self.inner.document, &spending.quota));
        watcher.steps.extend(limits);
        if decided.may_pass() {
            watcher.steps.append(&mut watcher.approvals);
        }
        Explanation {
            steps: watcher.steps,
            decision: self.decide(action),
        }
    }
}

/// A [`Decision`], and how it was come to. See [`Policy::explain`].
///
/// Displays as lines of text, and serialises to an object with the members
/// `steps` and `decision`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation<'p> {
    steps: Vec<ExplanationStep>,
    decision: Decision<'p>,
}

impl<'p> Explanation<'p> {
    /// What was looked at, in its order.
    pub fn steps(&self) -> &[ExplanationStep] {
        &self.steps
    }

    /// What came of it.
    pub fn decision(&self) -> &Decision<'p> {
        &self.decision
    }
}

/// One thing that was looked at for a decision.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum ExplanationStep {
    /// A name, and what the document says of it.
    #[non_exhaustive]
    Name {
        /// What it is the name of: `tool`, `prompt` or `resource`.
        kind: &'static str,
        /// The name.
        name: String,
        /// What speaks of it, as in [`Decision::rule`].
        rule: String,
        /// Why that does, and nothing else.
        because: String,
    },
    /// A check.
    #[non_exhaustive]
    Check {
        /// Its place in the document.
        place: String,
        /// Each of its conditions.
        conditions: Vec<ConditionStep>,
        /// What they come to.
        truth: Truth,
        /// Whether the action is refused by it.
        refuses: bool,
    },
    /// A limit that is asked once all else allows. Whether it admits the action
    /// depends on what was used up before.
    #[non_exhaustive]
    Limit {
        /// Its place, as in [`Decision::rule`].
        place: String,
        /// What the action counts: a number, or the path where it stands.
        counts: String,
        /// How much it admits, as in `10000 in a day for each caller`.
        admits: String,
    },
    /// A rule that asks for an approval, or does not, once all else allows.
    #[non_exhaustive]
    Approval {
        /// Its place, as in [`Decision::rule`].
        place: String,
        /// Each of its conditions.
        conditions: Vec<ConditionStep>,
        /// What they come to.
        truth: Truth,
        /// Whether the action has to be approved for it.
        asks: bool,
    },
}

/// One condition of a [`ExplanationStep::Check`] or a [`ExplanationStep::Approval`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConditionStep {
    /// Its place in the document.
    pub place: String,
    /// What it asks, as in `args.amount lte 500`.
    pub asks: String,
    /// What it came to.
    pub truth: Truth,
}

struct Watcher<'p, 's> {
    rules: &'p Rules,
    document: &'p PolicyDocument,
    seen: Seen<'s>,
    steps: Vec<ExplanationStep>,
    /// Those that come behind all others.
    approvals: Vec<ExplanationStep>,
}

impl Watcher<'_, '_> {
    fn conditions(&self, looked: &[Looked]) -> Vec<ConditionStep> {
        let steps = looked.iter().map(|looked| ConditionStep {
            place: looked.place.to_string(),
            asks: condition_at(self.document, &looked.place).map_or_else(String::new, asks),
            truth: looked.truth,
        });
        steps.collect()
    }
}

impl Watch for Watcher<'_, '_> {
    fn named(&mut self, kind: Kind, name: &str, decision: &Decision<'_>) {
        self.steps.push(ExplanationStep::Name {
            kind: kind.noun(),
            name: printable(name),
            rule: decision.rule().to_owned(),
            because: because(self.rules, kind, name, decision, self.seen),
        });
    }

    fn asked(&mut self, asked: &Asked<'_, '_>) {
        self.steps.push(ExplanationStep::Check {
            place: asked.check.place().to_owned(),
            conditions: self.conditions(asked.conditions),
            truth: asked.truth,
            refuses: asked.refuses,
        });
    }

    fn considered(&mut self, considered: &Considered<'_>) {
        self.approvals.push(ExplanationStep::Approval {
            place: considered.approval.place().to_owned(),
            conditions: self.conditions(&considered.conditions),
            truth: considered.truth,
            asks: considered.asks(),
        });
    }
}

fn limit_step(document: &PolicyDocument, quota: &Quota) -> ExplanationStep {
    let counts = limit_at(document, quota.place()).map(|limit| {
        let path = limit.increment_from.as_deref().map(printable);
        path.unwrap_or_else(|| limit.increment.unwrap_or(Amount::ONE).to_string())
    });
    ExplanationStep::Limit {
        place: quota.place().to_owned(),
        // Of the short forms one call is one.
        counts: counts.unwrap_or_else(|| Amount::ONE.to_string()),
        admits: admits(quota),
    }
}

/// How much a quota admits, in which time and for whom.
fn admits(quota: &Quota) -> String {
    let time = match quota.period() {
        Period::Rolling(window) => match window.as_secs() {
            60 => "in a minute".to_owned(),
            3_600 => "in an hour".to_owned(),
            86_400 => "in a day".to_owned(),
            seconds => format!("in {seconds} s"),
        },
        Period::Calendar(CalendarUnit::Minute) => "in each minute of the clock".to_owned(),
        Period::Calendar(CalendarUnit::Hour) => "in each hour of the clock".to_owned(),
        Period::Calendar(CalendarUnit::Day) => "in each day of the calendar (UTC)".to_owned(),
        Period::Concurrent => "at once".to_owned(),
    };
    let whose = match quota.scope() {
        LimitScope::Session => "for each session",
        LimitScope::Caller => "for each caller",
        LimitScope::Server => "for all callers together",
    };
    format!("{} {time} {whose}", quota.max())
}

/// Why a decision about a name is what it is.
fn because(
    rules: &Rules,
    kind: Kind,
    name: &str,
    decision: &Decision<'_>,
    seen: Seen<'_>,
) -> String {
    let section = rules.section(kind);
    let by_risk = rules.known_risk(section, name, Names::All, seen);
    if let Some(known) = by_risk.filter(|_| is_unnamed(rules, section, name)) {
        return known.why(name);
    }
    let spelled = kind.spelled(name);
    let bytes = spelled.as_bytes();
    let exact = section.entries.exact(bytes);
    match decision.rule() {
        "(hidden)" if section.hide.contains(bytes) => "`hide` names or matches it".to_owned(),
        "(hidden)" if exact.is_some() => "the entry that names it hides it".to_owned(),
        "(hidden)" => "a pattern hides it, or one that it can be mistaken for".to_owned(),
        "(protocol)" => decision.reason().unwrap_or_default().to_owned(),
        _ if exact.is_some() => "names it exactly".to_owned(),
        rule => {
            let matching = section.entries.patterns(bytes);
            let mut others: Vec<_> = matching.map(|entry| entry.rule.place()).collect();
            others.sort_unstable();
            let found = others.iter().position(|place| {
                let rest = rule.strip_prefix(place);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            match found {
                Some(found) => {
                    others.remove(found);
                    won_over(&others)
                }
                None if rule.starts_with('/') && rule != rules.default_place => {
                    "it can be mistaken for this".to_owned()
                }
                None => "nothing names it, and no pattern matches it".to_owned(),
            }
        }
    }
}

/// Whether nothing but the default, and `risk`, speaks of it.
fn is_unnamed(rules: &Rules, section: &Section, name: &str) -> bool {
    rules.judge_named(section, name, Names::All).is_none()
}

fn won_over(others: &[&str]) -> String {
    if others.is_empty() {
        return "the pattern matches it".to_owned();
    }
    let others: Vec<_> = others.iter().take(5).map(|place| quote(place)).collect();
    format!(
        "the pattern matches it, and is stricter or has more literal characters than {}",
        others.join(", ")
    )
}

/// What a condition asks, in the words of the document.
fn asks(condition: &Condition) -> String {
    let value = condition.value.to_string();
    let (path, op) = (printable(&condition.path), condition.op);
    format!("{path} {op} {}", printable(&value))
}

/// The rule that a place is in, whose other tokens are these; they are left at
/// what is in the rule.
fn rule_at<'d>(
    document: &'d PolicyDocument,
    tokens: &mut impl Iterator<Item = String>,
) -> Option<&'d Rule> {
    let section = tokens.next()?;
    match &*section {
        "all_tools" => return document.all_tools.as_ref(),
        "risk" => {
            let category = tokens.next()?.parse().ok()?;
            return document.risk.get(&category);
        }
        _ => {}
    }
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| kind.place() == format!("/{section}"));
    kind?.of(document).get(&tokens.next()?)
}

/// The limit at a place like `/tools/NAME/limits/COUNTER`, unless it is a short
/// form of one.
fn limit_at<'d>(document: &'d PolicyDocument, place: &str) -> Option<&'d Limit> {
    let mut tokens = place.split('/').skip(1).map(unescape);
    let rule = rule_at(document, &mut tokens)?;
    let counter = tokens.nth(1)?;
    rule.limits.iter().find(|limit| limit.counter == counter)
}

/// The condition at a place like `/tools/NAME/require/0/conditions/1` or
/// `/tools/NAME/require_approval/conditions/1`.
fn condition_at<'d>(document: &'d PolicyDocument, place: &str) -> Option<&'d Condition> {
    let mut tokens = place.split('/').skip(1).map(unescape);
    let rule = rule_at(document, &mut tokens)?;
    let checks = match &*tokens.next()? {
        "require_approval" => {
            let index = tokens.nth(1)?.parse::<usize>().ok()?;
            return rule.require_approval.as_ref()?.conditions.get(index);
        }
        "require" => &rule.require,
        _ => &rule.deny_if,
    };
    let check = checks.get(tokens.next()?.parse::<usize>().ok()?)?;
    let index = tokens.nth(1)?;
    check.conditions.get(index.parse::<usize>().ok()?)
}

impl fmt::Display for ExplanationStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name {
                kind,
                name,
                rule,
                because,
            } => write!(f, "{kind} `{name}`\n  {}: {because}", printable(rule)),
            Self::Check {
                place,
                conditions,
                truth,
                refuses,
            } => {
                let then = match (truth, refuses) {
                    (Truth::Undecidable, _) => "undecidable, so it refuses",
                    (Truth::True, true) => "holds, so it refuses",
                    (Truth::False, true) => "does not hold, so it refuses",
                    (Truth::True, false) => "holds",
                    (Truth::False, false) => "does not hold, so it does not refuse",
                };
                write!(f, "  {}: {then}", printable(place))?;
                write_conditions(f, conditions)
            }
            Self::Limit {
                place,
                counts,
                admits,
            } => {
                let place = printable(place);
                write!(f, "  {place}: counts {counts}, at most {admits}")
            }
            Self::Approval {
                place,
                conditions,
                truth,
                ..
            } => {
                let then = match truth {
                    Truth::True if conditions.is_empty() => "asks about every call",
                    Truth::True => "holds, so it asks",
                    Truth::Undecidable => "undecidable, so it asks",
                    Truth::False => "does not hold, so it does not ask",
                };
                write!(f, "  {}: {then}", printable(place))?;
                write_conditions(f, conditions)
            }
        }
    }
}

fn write_conditions(f: &mut fmt::Formatter<'_>, conditions: &[ConditionStep]) -> fmt::Result {
    for condition in conditions {
        write!(f, "\n    {}: {}", condition.asks, condition.truth)?;
    }
    Ok(())
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        said(f, &self.decision)?;
        if let Some(shadow) = self.decision.shadow() {
            f.write_str("\nwithout shadow: ")?;
            said(f, shadow)?;
        }
        Ok(())
    }
}

fn said(f: &mut fmt::Formatter<'_>, decision: &Decision<'_>) -> fmt::Result {
    if let Some(demand) = decision.approval() {
        let whom = match demand.approver() {
            Approver::Operator => "an operator",
            Approver::Caller => "the caller",
        };
        let rules: Vec<String> = demand.rules().map(printable).collect();
        let (rules, expires) = (rules.join(" and "), demand.expires().as_secs());
        write!(f, "waits up to {expires} s for {whom}, by {rules}")?;
        return because_of(f, demand.reason());
    }
    let verb = match decision.outcome() {
        Outcome::Allow => "allowed",
        Outcome::Deny => "denied",
        Outcome::Hide => "refused like something that does not exist",
        Outcome::Ask => "waits for an approval",
    };
    write!(f, "{verb} by {}", printable(decision.rule()))?;
    because_of(f, decision.reason())
}

fn because_of(f: &mut fmt::Formatter<'_>, reason: Option<&str>) -> fmt::Result {
    match reason {
        Some(reason) => write!(f, ": {}", printable(reason)),
        None => Ok(()),
    }
}
