//! What the demo prints: what its policy makes of the tools, and a command to
//! try each part of it.
//!
//! All of it comes from the policy and the tools at hand, so it is as true of
//! somebody's own policy as of the one that comes with the demo.

use std::net::SocketAddr;

use mcp_policy::{Action, Outcome, Policy};
use serde_json::Value;

use super::Entry;
use crate::admin::Opened;

/// Hidden tools that are named; of the others only the number is told.
const MOST_NAMED: usize = 5;

/// `policy_name` is where the reader finds the policy.
pub(super) fn text(
    address: SocketAddr,
    policy_name: &str,
    policy: &Policy,
    tools: &[Entry],
    console: &Opened,
) -> String {
    let sorted = Sorted::new(policy, tools);
    let mut steps = vec![(
        format!("What may be seen: {}.", sorted.seen(tools.len())),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#.to_owned(),
    )];
    if let Some(entry) = sorted.allowed.first() {
        let says = "A call that is allowed: answered by the server, and printed here.";
        steps.push((says.to_owned(), call(2, entry)));
    }
    if let Some(entry) = sorted.refused(policy) {
        let says =
            "A call that is refused: it never reaches the server, and nothing is printed here.";
        steps.push((says.to_owned(), call(3, entry)));
    }
    let steps: String = (1..)
        .zip(steps)
        .map(|(number, (says, message))| {
            format!(
                "{number}. {says}\n   curl -s http://{address}/mcp \
                 -H 'content-type: application/json' -d '{message}'\n\n"
            )
        })
        .collect();
    let console_address = console.address;
    let token = console
        .token
        .as_deref()
        .unwrap_or("the token of an operator");
    format!(
        "
A workflow server with {} tools runs behind the policy {policy_name}.
It only pretends: each call that reaches it is printed here as `executed: NAME`.
Try in another terminal:

{steps}The console is at http://{console_address}/: sign in with {token}

ctrl-c ends it.
",
        tools.len()
    )
}

/// The call that the fixture has for a tool. Nothing in it has a quote that
/// would end a shell's.
fn call(id: u32, entry: &Entry) -> String {
    let name = Value::from(&*entry.tool.name);
    let arguments = Value::from(entry.arguments.clone());
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":{name},"arguments":{arguments}}}}}"#
    )
}

/// The tools, by what the policy makes of them.
struct Sorted<'a> {
    allowed: Vec<&'a Entry>,
    denied: Vec<&'a Entry>,
    hidden: Vec<&'a Entry>,
}

impl<'a> Sorted<'a> {
    fn new(policy: &Policy, tools: &'a [Entry]) -> Self {
        let mut sorted = Self {
            allowed: Vec::new(),
            denied: Vec::new(),
            hidden: Vec::new(),
        };
        for entry in tools {
            let decision = policy.decide(&Action::call_tool(&entry.tool.name));
            match decision.outcome() {
                Outcome::Allow => sorted.allowed.push(entry),
                Outcome::Hide => sorted.hidden.push(entry),
                _ => sorted.denied.push(entry),
            }
        }
        sorted
    }

    fn seen(&self, all: usize) -> String {
        let hidden: Vec<_> = self.hidden.iter().map(|entry| &*entry.tool.name).collect();
        let visible = all.saturating_sub(hidden.len());
        match hidden.as_slice() {
            [] => format!("all {all} tools"),
            names if names.len() <= MOST_NAMED => {
                format!("{visible} of the {all} tools; hidden: {}", names.join(", "))
            }
            names => format!("{visible} of the {all} tools; {} are hidden", names.len()),
        }
    }

    /// One that shows what a refusal says: rather with a reason than without,
    /// rather denied than hidden.
    fn refused(&self, policy: &Policy) -> Option<&'a Entry> {
        let has_reason = |entry: &&&Entry| {
            let decision = policy.decide(&Action::call_tool(&entry.tool.name));
            decision.reason().is_some()
        };
        let with_reason = self.denied.iter().find(has_reason);
        with_reason
            .or(self.denied.first())
            .or(self.hidden.first())
            .copied()
    }
}
