//! What a policy says of one tool.

use mcp_policy::{Action, Decision, ListedTools, Policy};
use serde_json::{Value, json};

use super::word;
use crate::names::shown;

/// What the policy says of one tool.
pub(crate) struct Said<'p> {
    name: &'p str,
    decision: Decision<'p>,
    is_conditional: bool,
}

impl<'p> Said<'p> {
    /// Of a tool, of which the server says what is listed.
    pub(crate) fn of(policy: &'p Policy, name: &'p str, listed: &ListedTools) -> Self {
        let call = Action::call_tool(name).with_tools(listed);
        Self {
            name,
            decision: policy.decide_name(&call),
            is_conditional: policy.is_conditional(&call),
        }
    }

    pub(crate) fn rule(&self) -> &'p str {
        self.decision.rule()
    }

    pub(crate) fn outcome(&self) -> &'static str {
        if self.is_conditional {
            "conditions"
        } else {
            word(self.decision.outcome())
        }
    }

    pub(crate) fn as_row(&self) -> [String; 3] {
        let mut rule = shown(self.decision.rule());
        if let Some(shadow) = self.decision.shadow() {
            let (outcome, place) = (word(shadow.outcome()), shown(shadow.rule()));
            rule += &format!(" (without shadow: {outcome}, {place})");
        }
        [shown(self.name), self.outcome().to_owned(), rule]
    }

    pub(crate) fn as_json(&self) -> Value {
        let mut said = json!({
            "name": self.name, "outcome": self.outcome(), "rule": self.decision.rule(),
        });
        if let (Some(shadow), Some(members)) = (self.decision.shadow(), said.as_object_mut()) {
            members.insert("shadow".to_owned(), json!(shadow));
        }
        said
    }
}
