//! What a record says of a call. It has names and no arguments.

use std::borrow::Cow;

use mcp_policy::{Action, Outcome};
use serde::Deserialize;

use crate::called::Target;

/// What is called, and whether only a completion was asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    pub(crate) target: Target,
    pub(crate) name: String,
    completes: bool,
}

/// What was decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    /// `None` if a limit refused it.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) rule: String,
    pub(crate) policy_digest: Option<String>,
}

/// What a line records.
pub(crate) enum Row {
    Call(Call, Decided),
    /// What came of a message that another line is about.
    Outcome,
    /// A message that a policy does not decide, or not by one name.
    Other,
}

impl Call {
    pub(crate) fn action(&self) -> Action<'_> {
        match (self.target, self.completes) {
            (Target::Prompt, true) => Action::complete_prompt(&self.name),
            _ => self.target.action(&self.name),
        }
    }

    /// Whether nothing but the name is looked at, whatever the rule asks for else.
    pub(crate) fn is_by_name(&self) -> bool {
        self.completes && self.target == Target::Prompt
    }

    /// Whether what was called had a name that this only resembles.
    pub(crate) fn is_altered(&self) -> bool {
        self.name.ends_with('…') || self.name.contains("\\u{")
    }
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
    policy_digest: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    verdict: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    rule: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    approval: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    decided_by: Option<Cow<'a, str>>,
}

impl Record<'_> {
    /// What the policy said. `None` of what could not be read or recorded, and of what
    /// has no policy.
    fn decided(&self) -> Option<Decided> {
        let (verdict, rule) = (self.verdict.as_deref()?, self.rule.as_deref()?);
        if matches!(
            rule,
            "(no policy)" | "(session)" | "(store)" | "(audit)" | "(limits full)"
        ) {
            return None;
        }
        let asked = self.approval.is_some() || self.decided_by.is_some();
        let outcome = match verdict {
            "allowed" | "denied" if asked => Some(Outcome::Ask),
            "allowed" => Some(Outcome::Allow),
            "denied" => Some(Outcome::Deny),
            "hidden" => Some(Outcome::Hide),
            "waiting" => Some(Outcome::Ask),
            "limited" => None,
            _ => return None,
        };
        Some(Decided {
            outcome,
            rule: rule.to_owned(),
            policy_digest: self.policy_digest.as_deref().map(str::to_owned),
        })
    }
}

/// `None` if it is no record.
pub(crate) fn read(line: &[u8]) -> Option<Row> {
    let record: Record<'_> = serde_json::from_slice(line).ok()?;
    match &*record.event {
        "outcome" => return Some(Row::Outcome),
        "decision" => {}
        _ => return None,
    }
    let (_, rule) = (record.verdict.as_ref()?, record.rule.as_deref()?);
    let (Some(decided), Some(method)) = (record.decided(), &record.method) else {
        return Some(Row::Other);
    };
    let target = match &**method {
        "tools/call" => Target::Tool,
        "prompts/get" => Target::Prompt,
        "resources/read" | "resources/subscribe" => Target::Resource,
        "completion/complete" => match &record.name {
            Some(name) if rule.starts_with("/resources/") || name.contains(':') => Target::Resource,
            _ => Target::Prompt,
        },
        _ if is_by_method(rule) && record.name.is_none() => {
            let call = Call {
                target: Target::Method,
                name: method.to_string(),
                completes: false,
            };
            return Some(Row::Call(call, decided));
        }
        _ => return Some(Row::Other),
    };
    let completes = method == "completion/complete";
    Some(match record.name {
        Some(name) => {
            let call = Call {
                target,
                name: name.into_owned(),
                completes,
            };
            Row::Call(call, decided)
        }
        None => Row::Other,
    })
}

/// Whether such a rule speaks of the method itself.
fn is_by_method(rule: &str) -> bool {
    rule.starts_with("/methods/") || matches!(rule, "(default deny)" | "/mode")
}
