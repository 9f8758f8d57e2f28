//! Two policies, asked about the same.

use std::fmt;

use mcp_policy::{Action, ApprovalDemand, Approver, Decision, ListedTools, Policy, Rule};
use serde_json::{Value, json};

use super::word;
use crate::{called::Target, names::shown, pointer::unescape};

/// The policy as it was, and as it is to be.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'p> {
    pub(crate) old: &'p Policy,
    pub(crate) new: &'p Policy,
    /// What is known of the server.
    pub(crate) tools: &'p ListedTools,
    /// Whether nothing more could be known of it that matters.
    pub(crate) knows_tools: bool,
}

/// What is known of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    Same,
    Changed,
    /// One of the policies looks at more than is known.
    NeedsArguments,
}

/// What both policies say of the same.
pub(crate) struct Compared {
    pub(crate) label: String,
    pub(crate) old: Said,
    pub(crate) new: Said,
    pub(crate) known: Certainty,
    /// How often it was there.
    pub(crate) times: usize,
}

/// What one policy says.
pub(crate) struct Said {
    outcome: &'static str,
    rule: String,
}

impl Pair<'_> {
    /// The same, to be asked about one of these: only tools have definitions.
    pub(crate) fn about(self, target: Target) -> Self {
        Self {
            knows_tools: self.knows_tools || target != Target::Tool,
            ..self
        }
    }

    /// By everything that there is to know.
    pub(crate) fn decide(self, action: &Action<'_>, label: String) -> Compared {
        let action = &action.clone().with_tools(self.tools);
        let (old, new) = (self.old.decide(action), self.new.decide(action));
        let known = if is_same(&old, &new) {
            self.same(&old, &new)
        } else {
            Certainty::Changed
        };
        Compared {
            label,
            old: Said::new(&old, false),
            new: Said::new(&new, false),
            known,
            times: 1,
        }
    }

    /// By the name alone, as far as that goes.
    pub(crate) fn decide_name(self, action: &Action<'_>, label: String) -> Compared {
        let action = &action.clone().with_tools(self.tools);
        let (old, new) = (self.old.decide_name(action), self.new.decide_name(action));
        let old_asks = self.old.is_conditional(action);
        let new_asks = self.new.is_conditional(action);
        let known = if old_asks || new_asks {
            if self.asks_the_same(old.rule(), new.rule()) {
                self.same(&old, &new)
            } else {
                Certainty::NeedsArguments
            }
        } else if is_same(&old, &new) {
            self.same(&old, &new)
        } else {
            Certainty::Changed
        };
        Compared {
            label,
            old: Said::new(&old, old_asks),
            new: Said::new(&new, new_asks),
            known,
            times: 1,
        }
    }

    /// Of what both say the same of: a tool of whose definition nothing is known counts
    /// as unknown in both, and may be something of which they do not say the same. So may
    /// one that is pinned.
    fn same(self, old: &Decision<'_>, new: &Decision<'_>) -> Certainty {
        let [one, other] = [self.old, self.new].map(Policy::document);
        let pins_differ = one.pins != other.pins;
        let judges_by_risk = !(one.risk.is_empty() && other.risk.is_empty());
        let risks_differ = judges_by_risk
            && (one.risk != other.risk
                || one.all_tools != other.all_tools
                || one.default != other.default);
        let differ = pins_differ || risks_differ && !(is_by_name(old) && is_by_name(new));
        match differ && !self.knows_tools {
            true => Certainty::NeedsArguments,
            false => Certainty::Same,
        }
    }

    /// Whether both policies say the same of a name that these rules speak of,
    /// whatever is asked besides.
    fn asks_the_same(self, old_rule: &str, new_rule: &str) -> bool {
        let (old, new) = (self.old.document(), self.new.document());
        let same_place = old_rule == new_rule
            && old.mode == new.mode
            && rule_at(self.old, old_rule) == rule_at(self.new, new_rule);
        // What a dispatcher calls is judged by all of the tools.
        let dispatches = rule_at(self.old, old_rule).is_some_and(|rule| rule.unwrap.is_some());
        let same_tools = old.tools == new.tools
            && old.hide == new.hide
            && old.default == new.default
            && old.risk == new.risk
            && old.pins == new.pins;
        same_place && old.all_tools == new.all_tools && (!dispatches || same_tools)
    }
}

/// Whether an entry for the tool itself has decided, whatever the server says of it.
pub(crate) fn is_by_name(decision: &Decision<'_>) -> bool {
    decision.inner().is_none() && decision.rule().starts_with("/tools/")
}

/// Whether two policies let the same pass, and ask the same about the rest.
fn is_same(old: &Decision<'_>, new: &Decision<'_>) -> bool {
    old.outcome() == new.outcome() && approver(old) == approver(new)
}

fn approver(decision: &Decision<'_>) -> Option<Approver> {
    decision.approval().map(ApprovalDemand::approver)
}

/// The rule at a place like `/tools/NAME`; `None` at any other.
pub(crate) fn rule_at<'p>(policy: &'p Policy, place: &str) -> Option<&'p Rule> {
    let document = policy.document();
    let (section, key) = place.strip_prefix('/')?.split_once('/')?;
    let key = unescape(key);
    match section {
        "tools" => document.tools.get(&key),
        "risk" => {
            let mut rules = document.risk.iter();
            let found = rules.find(|(category, _)| category.as_str() == key);
            found.map(|(_, rule)| rule)
        }
        "resources" => document.resources.get(&key),
        "prompts" => document.prompts.get(&key),
        _ => None,
    }
}

impl Said {
    /// What some policy has said.
    pub(crate) fn recorded(outcome: &'static str, rule: String) -> Self {
        Self { outcome, rule }
    }

    pub(crate) fn new(decision: &Decision<'_>, is_conditional: bool) -> Self {
        Self {
            outcome: match approver(decision) {
                _ if is_conditional => "conditions",
                Some(Approver::Caller) => "ask the caller",
                _ => word(decision.outcome()),
            },
            rule: decision.rule().to_owned(),
        }
    }

    fn as_json(&self) -> Value {
        json!({ "outcome": self.outcome, "rule": self.rule })
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.outcome, shown(&self.rule))
    }
}

impl Compared {
    pub(crate) fn as_json(&self) -> Value {
        json!({
            "what": self.label,
            "times": self.times,
            "old": self.old.as_json(),
            "new": self.new.as_json(),
        })
    }
}
