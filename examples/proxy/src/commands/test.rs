//! The `test` command: whether a policy decides as expected.

use std::process::ExitCode;

use mcp_policy::{Decision, ListedTools, Outcome, Policy};
use serde_json::{Value, json};

use super::{
    cases::{self, Case},
    load, offered,
    show::{print, print_json},
};
use crate::{
    cli::TestArgs,
    failure::Failure,
    names::{count, shown},
    verdicts::word,
};

pub(crate) fn run(args: &TestArgs, json: bool) -> Result<ExitCode, Failure> {
    let policy = load(&args.policy)?;
    let text = cases::text(&args.cases).map_err(Failure::input)?;
    let cases = cases::read(&args.cases, &text).map_err(Failure::input)?;
    let tools = offered::listed(args.tools.as_deref())?;
    let mut tried = Vec::new();
    for case in &cases {
        let place = || format!("{}: {}", args.cases.display(), case.name);
        let Some(expected) = case.expected else {
            let file = place();
            return Err(Failure::input(format!(
                "{file}: the member `expect` is missing"
            )));
        };
        let tried_one = Tried::of(&policy, &tools, case, expected);
        tried.push(tried_one.map_err(|error| Failure::input(format!("{}: {error}", place())))?);
    }
    let failed = tried.iter().filter(|tried| !tried.passed()).count();
    if json {
        print_json(&json!({
            "ok": failed == 0,
            "passed": tried.len().saturating_sub(failed),
            "failed": failed,
            "cases": tried.iter().map(Tried::as_json).collect::<Vec<_>>(),
        }));
    } else {
        print(&text_of(&tried, failed));
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A case, and what the policy says of it.
struct Tried<'c> {
    case: &'c Case<'c>,
    expected: Outcome,
    decision: Decision<'c>,
}

impl<'c> Tried<'c> {
    fn of(
        policy: &'c Policy,
        tools: &ListedTools,
        case: &'c Case<'c>,
        expected: Outcome,
    ) -> Result<Self, String> {
        Ok(Self {
            case,
            expected,
            decision: policy.decide(&case.action()?.with_tools(tools)),
        })
    }

    fn passed(&self) -> bool {
        let rule = self.case.rule.as_deref();
        self.decision.outcome() == self.expected
            && rule.is_none_or(|rule| rule == self.decision.rule())
    }

    fn as_json(&self) -> Value {
        let mut expected = json!({ "outcome": self.expected });
        if let (Some(rule), Some(members)) = (&self.case.rule, expected.as_object_mut()) {
            members.insert("rule".to_owned(), json!(rule));
        }
        json!({
            "name": self.case.name,
            "passed": self.passed(),
            "expected": expected,
            "got": self.decision,
        })
    }
}

fn text_of(tried: &[Tried<'_>], failed: usize) -> String {
    let mut text = String::new();
    for tried in tried.iter().filter(|tried| !tried.passed()) {
        let by = |rule: &str| format!(" by {}", shown(rule));
        let expected_rule = tried.case.rule.as_deref().map(by).unwrap_or_default();
        text += &format!(
            "FAILED {} ({}): expected {}{expected_rule}, got {}{}\n",
            tried.case.name,
            tried.case.call.label(),
            word(tried.expected),
            word(tried.decision.outcome()),
            by(tried.decision.rule()),
        );
    }
    let all = count(tried.len(), "case");
    text + &match failed {
        0 => format!("{all} passed"),
        _ => format!("{failed} of {all} failed"),
    }
}
