//! What a policy lets be seen, told apart from what another does.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::document::{PolicyDocument, Rule};
use super::{Inner, Policy};
use crate::digest::sha256;
use crate::mcp::changed::Lists;

/// What tells the view that one policy gives of each kind of list from the view
/// that another one gives. Views that are the same have the same mark; marks may
/// differ where the views do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Views {
    tools: Mark,
    prompts: Mark,
    resources: Mark,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Mark {
    Everything,
    Nothing,
    /// What a document with this digest shows.
    Part(Arc<str>),
}

impl Views {
    /// Of a caller without a policy.
    pub(crate) const NOTHING: Self = Self {
        tools: Mark::Nothing,
        prompts: Mark::Nothing,
        resources: Mark::Nothing,
    };

    /// The lists of which another view may differ.
    pub(crate) fn differ(&self, other: &Self) -> Lists {
        Lists {
            tools: self.tools != other.tools,
            prompts: self.prompts != other.prompts,
            resources: self.resources != other.resources,
        }
    }
}

impl Policy {
    /// What it lets be seen.
    pub(crate) fn views(&self) -> &Views {
        self.inner.views.get_or_init(|| Views {
            tools: mark(self.can_hide_tools(), &self.inner, |bare, whole| {
                bare.hide.clone_from(&whole.hide);
                bare.tools = silent(&whole.tools);
                bare.risk = silent(&whole.risk);
            }),
            prompts: mark(self.can_hide_prompts(), &self.inner, |bare, whole| {
                bare.prompts = silent(&whole.prompts);
            }),
            resources: mark(self.can_hide_resources(), &self.inner, |bare, whole| {
                bare.resources = silent(&whole.resources);
            }),
        })
    }
}

/// Everything in a document counts that is not known to be of no account for this
/// kind of list, so that a field which is new in the language counts, too.
fn mark(
    can_hide: bool,
    policy: &Inner,
    keep: impl FnOnce(&mut PolicyDocument, &PolicyDocument),
) -> Mark {
    if !can_hide {
        return Mark::Everything;
    }
    let whole = &policy.document;
    let mut bare = whole.clone();
    bare.schema = None;
    bare.name = None;
    bare.description = None;
    bare.hide.clear();
    bare.tools.clear();
    bare.prompts.clear();
    bare.risk.clear();
    bare.resources.clear();
    bare.methods.clear();
    bare.all_tools = bare.all_tools.as_ref().map(silent_rule);
    keep(&mut bare, whole);
    Mark::Part(sha256(bare.to_json_string().as_bytes()).into())
}

/// Rules without what they only say or count.
fn silent<K: Ord + Clone>(rules: &BTreeMap<K, Rule>) -> BTreeMap<K, Rule> {
    let rules = rules.iter();
    rules
        .map(|(name, rule)| (name.clone(), silent_rule(rule)))
        .collect()
}

fn silent_rule(rule: &Rule) -> Rule {
    Rule {
        reason: None,
        description: None,
        limits: Vec::new(),
        rate_limit: None,
        max_concurrent: None,
        require_approval: None,
        ..rule.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differ(one: &str, other: &str) -> [bool; 3] {
        let policy = |more: &str| -> Policy {
            let text = format!(r#"{{"version":"1",{more}}}"#);
            text.parse().unwrap()
        };
        let Lists {
            tools,
            prompts,
            resources,
        } = policy(one).views().differ(policy(other).views());
        [tools, prompts, resources]
    }

    #[test]
    fn only_what_may_be_seen_differs() {
        for (one, other, expected) in [
            // Neither hides anything.
            (r#""default":"allow""#, r#""default":"deny""#, [false; 3]),
            (
                r#""default":"deny","tools":{"a":{}}"#,
                r#""default":"deny","tools":{"a":{"action":"deny"}},"methods":{"x":"allow"}"#,
                [false; 3],
            ),
            (r#""default":"deny""#, r#""default":"hide""#, [true; 3]),
            (
                r#""default":"allow""#,
                r#""default":"allow","hide":["a"]"#,
                [true, false, false],
            ),
            (
                r#""default":"allow","hide":["a"],"name":"x""#,
                r#""default":"allow","hide":["a"],"description":"y""#,
                [false; 3],
            ),
            (
                r#""default":"hide","prompts":{"a":{}}"#,
                r#""default":"hide","prompts":{"b":{}}"#,
                [false, true, false],
            ),
            (
                r#""default":"hide","resources":{"a://b":{}}"#,
                r#""default":"hide","resources":{"a://b":{"action":"hide"}}"#,
                [false, false, true],
            ),
            (
                r#""default":"allow","tools":{"a":{"action":"hide"}}"#,
                r#""default":"allow","tools":{"a":{"action":"hide","reason":"why","description":"w"}}"#,
                [false; 3],
            ),
            (
                r#""default":"hide","all_tools":{},"tools":{"a":{"limits":[{"counter":"c","window":1,"max":1}]}}"#,
                r#""default":"hide","all_tools":{"rate_limit":"1/day"},"tools":{"a":{"max_concurrent":{"max":1}}}"#,
                [false; 3],
            ),
            (
                r#""default":"hide","all_tools":{},"tools":{"a":{}}"#,
                r#""default":"hide","all_tools":{"require_approval":{"conditions":[]}},"tools":{"a":{"require_approval":true}}"#,
                [false; 3],
            ),
            (
                r#""default":"deny""#,
                r#""default":"deny","risk":{"read":{"action":"hide"}}"#,
                [true, false, false],
            ),
            (
                r#""default":"deny","risk":{"read":{"action":"deny"}}"#,
                r#""default":"deny","risk":{"write":{}}"#,
                [false; 3],
            ),
            (
                r#""default":"hide","risk":{"read":{}}"#,
                r#""default":"hide","risk":{"write":{}}"#,
                [true, false, false],
            ),
            (
                r#""default":"hide","risk":{"read":{}}"#,
                r#""default":"hide","risk":{"read":{"rate_limit":"1/day","description":"x"}}"#,
                [false; 3],
            ),
        ] {
            assert_eq!(differ(one, other), expected, "{one} and {other}");
            assert_eq!(differ(other, one), expected, "{other} and {one}");
        }
        let policy: Policy = r#"{"version":"1","default":"deny"}"#.parse().unwrap();
        assert_eq!(policy.views().differ(&Views::NOTHING), Lists::ALL);
    }
}
