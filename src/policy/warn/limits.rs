//! Limits that admit nothing, count nothing, or are soon forgotten.

use super::super::Policy;
use super::super::diagnostic::{Diagnostic, Problem, Problems, Severity, join};
use super::super::document::{Limit, LimitWindow, PolicyDocument, Rule};
use super::super::quota::Amount;
use super::rules;
use crate::json::tree;

pub(super) fn warn(document: &PolicyDocument, problems: &mut Problems) {
    for (place, rule) in rules(document) {
        for (index, limit) in rule.limits.iter().enumerate() {
            let place = || limit_at(&place, index);
            let increment = limit.increment.unwrap_or(Amount::ONE);
            if increment == Amount::ZERO {
                problems.report(|| {
                    Problem::at_value(join(&place(), "increment"), "this limit counts nothing")
                        .with_help("write how much one call counts, or drop the limit")
                });
            } else if admits_nothing(limit, increment) {
                problems.report(|| never(join(&place(), "max")));
            }
        }
        let rate = rule.rate_limit.as_ref();
        if rate.is_some_and(|rate| rate.max < Amount::ONE) {
            problems.report(|| never(join(&place, "rate_limit")));
        }
    }
}

fn admits_nothing(limit: &Limit, increment: Amount) -> bool {
    match limit.increment_from {
        Some(_) => limit.max == Amount::ZERO,
        None => limit.max < increment,
    }
}

fn never(place: String) -> Problem {
    Problem::at_value(
        place,
        "this is less than one call counts, so that none is admitted",
    )
    .with_help(r#"to refuse every call write `"action": "deny"`; else raise it"#)
}

fn limit_at(rule: &str, index: usize) -> String {
    join(&join(rule, "limits"), &index.to_string())
}

impl Policy {
    /// The limits whose windows are an hour or longer, as warnings for a store that
    /// forgets what it counted when the process ends: each restart gives all of it
    /// again.
    ///
    /// ```
    /// use mcp_policy::Policy;
    ///
    /// let policy: Policy = r#"{
    ///     "version": "1",
    ///     "default": "deny",
    ///     "tools": { "refund": { "rate_limit": "10/minute", "limits": [
    ///         { "counter": "spend", "window": "day", "max": 10000, "increment_from": "args.amount" }
    ///     ] } }
    /// }"#.parse()?;
    ///
    /// let found = policy.check_forgetful_store();
    /// assert_eq!(found.len(), 1);
    /// assert_eq!(found[0].pointer(), "/tools/refund/limits/0/window");
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// ```
    pub fn check_forgetful_store(&self) -> Vec<Diagnostic> {
        let mut problems = Problems::default();
        for (place, rule) in rules(self.document()) {
            for window in long_windows(&place, rule) {
                problems.report(|| {
                    let message = "what this limit counted is forgotten when the process ends";
                    Problem::at_value(window, message)
                        .with_help("count in a store that outlives the process")
                });
            }
        }
        let root = tree::parse(self.source_text().as_bytes()).ok();
        problems.locate(Severity::Warning, self.source_text(), root.as_ref())
    }
}

/// The places of windows of an hour or more.
fn long_windows(place: &str, rule: &Rule) -> impl Iterator<Item = String> {
    let is_long = |window: LimitWindow| window.as_secs() >= LimitWindow::HOUR.as_secs();
    let limits = rule.limits.iter().enumerate();
    let limits = limits.filter(move |(_, limit)| is_long(limit.window));
    let limits = limits.map(move |(index, _)| join(&limit_at(place, index), "window"));
    let rate = rule.rate_limit.iter();
    let rate = rate.filter(move |rate| is_long(rate.window));
    limits.chain(rate.map(move |_| join(place, "rate_limit")))
}
