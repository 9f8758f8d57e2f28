//! The `replay` command: which recorded calls a new policy would decide otherwise.

use std::process::ExitCode;

use mcp_policy::{Decision, ListedTools, Policy};

use super::super::{load, offered};
use super::report;
use crate::{
    called::Target,
    cli::ReplayArgs,
    failure::Failure,
    recorded::call::{Call, Decided},
    verdicts::{
        Difference,
        calls::{Calls, label_of},
        compare::{Certainty, Compared, Said, is_by_name},
        word,
    },
};

pub(crate) fn run(args: &ReplayArgs, json: bool) -> Result<ExitCode, Failure> {
    let new = load(&args.policy)?;
    let digest = new.digest().to_owned();
    let (new, has_limits) = without_limits(new);
    let tools = offered::listed(args.tools.as_deref())?;
    let server = Server {
        tools: &tools,
        is_known: args.tools.is_some(),
    };
    let calls = Calls::read(&args.audit, |call, decided| {
        let Decided {
            outcome,
            rule,
            policy_digest,
        } = decided;
        let outcome = outcome.ok_or("calls that a limit refused; limits are not replayed")?;
        let by_the_same = policy_digest.is_some_and(|policy| policy == digest);
        Ok(Key {
            call,
            by_the_same,
            outcome: word(outcome),
            rule,
        })
    })?;
    let compared = calls
        .times
        .into_iter()
        .map(|(key, times)| key.compare(&new, server, times))
        .collect();
    let difference = Difference {
        noun: "call",
        compared,
        skipped: calls.skipped,
        note: has_limits.then_some("limits are not replayed: they may refuse some of these calls"),
    };
    Ok(report(&difference, json))
}

/// What recorded calls have in common that are counted together.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    call: Call,
    outcome: &'static str,
    rule: String,
    /// Whether the new policy is the one that decided.
    by_the_same: bool,
}

/// What is known of the server that was called.
#[derive(Clone, Copy)]
struct Server<'s> {
    tools: &'s ListedTools,
    is_known: bool,
}

impl Server<'_> {
    /// Whether a policy would have to know what the server says of the tool, by which it
    /// is judged where no entry names it.
    fn is_wanted(&self, new: &Policy, call: &Call, decision: &Decision<'_>) -> bool {
        let by_risk = call.target == Target::Tool && !new.document().risk.is_empty();
        by_risk && !is_by_name(decision) && !self.is_known
    }
}

impl Key {
    fn compare(self, new: &Policy, server: Server<'_>, times: usize) -> Compared {
        let action = self.call.action().with_tools(server.tools);
        let (decision, asks) = match self.call.is_by_name() {
            true => (new.decide(&action), false),
            false => (new.decide_name(&action), new.is_conditional(&action)),
        };
        let known = if self.by_the_same {
            Certainty::Same
        } else if asks || self.call.is_altered() || server.is_wanted(new, &self.call, &decision) {
            Certainty::NeedsArguments
        } else if self.outcome == word(decision.outcome()) {
            Certainty::Same
        } else {
            Certainty::Changed
        };
        Compared {
            label: label_of(&self.call),
            old: Said::recorded(self.outcome, self.rule),
            new: Said::new(&decision, asks),
            known,
            times,
        }
    }
}

/// The same policy without limits, and whether there were any. What was called before is in
/// the records, but not how much of a limit that took.
fn without_limits(policy: Policy) -> (Policy, bool) {
    let mut document = policy.document().clone();
    let rules = document
        .tools
        .values_mut()
        .chain(document.resources.values_mut())
        .chain(document.prompts.values_mut())
        .chain(document.risk.values_mut())
        .chain(&mut document.all_tools);
    rules.for_each(|rule| rule.limits.clear());
    if document == *policy.document() {
        return (policy, false);
    }
    // One that does not load without them keeps them.
    (Policy::try_from(document).unwrap_or(policy), true)
}
