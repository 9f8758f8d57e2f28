//! One rule, with its checks and their conditions.

use super::super::condition::{Operator, value_of};
use super::super::diagnostic::{Problem, join, printable, quote};
use super::super::document::{Check, Condition, Rule, RuleAction, Unwrap};
use super::MODE;
use super::reader::{Choice, Fields, Reader, nearest};
use crate::json::tree::{Member, Node, Value};

/// Of a rule in `tools`.
pub(super) const TOOL: Fields = Fields {
    known: &[
        "action",
        "reason",
        "require",
        "deny_if",
        "unwrap",
        "mode",
        "description",
    ],
    later: LATER,
};

/// Of a rule in `resources` or `prompts`.
pub(super) const RULE: Fields = Fields {
    known: &[
        "action",
        "reason",
        "require",
        "deny_if",
        "mode",
        "description",
    ],
    later: LATER,
};

/// Of `all_tools`.
pub(super) const ALL_TOOLS: Fields = Fields {
    known: &["require", "deny_if", "mode", "description"],
    later: LATER,
};

const LATER: &[&str] = &["limits", "rate_limit", "max_concurrent", "require_approval"];

/// What may stand beside an action that refuses.
const BESIDE_REFUSAL: &[&str] = &["action", "reason", "mode", "description"];

const CHECK: Fields = Fields {
    known: &["conditions", "on_deny", "name"],
    later: &[],
};

const CONDITION: Fields = Fields {
    known: &["path", "op", "value"],
    later: &[],
};

const UNWRAP: Fields = Fields {
    known: &["name", "arguments"],
    later: &[],
};

const ACTION: Choice<RuleAction> = Choice {
    known: &[
        ("allow", RuleAction::Allow),
        ("deny", RuleAction::Deny),
        ("hide", RuleAction::Hide),
    ],
    later: &["require_approval"],
    expected: r#""allow", "deny" or "hide""#,
};

impl Reader<'_> {
    /// A rule with a mistake in it is read as one that denies: two of those
    /// never contradict each other, so nothing is reported that may be no
    /// mistake once this one is mended.
    pub(super) fn rule(&mut self, fields: &Fields, node: &Node, pointer: &str) -> Rule {
        let mut rule = Rule::allow();
        let Some(members) = self.object(node, pointer) else {
            rule.action = RuleAction::Deny;
            return rule;
        };
        let known = |member: &Member| fields.known.contains(&member.key.as_str());
        for member in members {
            if !known(member) {
                self.no_field(fields, member, pointer);
                continue;
            }
            let at = || join(pointer, &member.key);
            let node = &member.value;
            match member.key.as_str() {
                "action" => {
                    let action = self.choose(&ACTION, node, &at());
                    rule.action = action.unwrap_or(RuleAction::Deny);
                }
                "reason" => rule.reason = self.text(node, &at()),
                "require" => rule.require = self.checks(node, &at()),
                "deny_if" => rule.deny_if = self.checks(node, &at()),
                "unwrap" => rule.unwrap = self.unwrap(node, &at()),
                "mode" => self.set(&MODE, node, &at(), &mut rule.mode),
                _ => rule.description = self.text(node, &at()),
            }
        }
        self.refuse_beside(&rule, members, pointer);
        if !members.iter().all(known) {
            rule.action = RuleAction::Deny;
        }
        rule
    }

    /// What a rule that refuses says of calls that pass is a mistake.
    fn refuse_beside(&mut self, rule: &Rule, members: &[Member], pointer: &str) {
        let action = match rule.action {
            RuleAction::Allow => return,
            RuleAction::Deny => "deny",
            RuleAction::Hide => "hide",
        };
        // The action may also be one that could not be read.
        let written = members.iter().any(|member| {
            member.key == "action"
                && matches!(&member.value.value, Value::String(word) if word == action)
        });
        let beside = members.iter().filter(|member| {
            let key = member.key.as_str();
            !BESIDE_REFUSAL.contains(&key) && TOOL.known.contains(&key)
        });
        for member in beside.filter(|_| written) {
            self.problems.report(|| {
                let key = &member.key;
                let message = format!("{} cannot stand beside the action \"{action}\"", quote(key));
                let help = format!(
                    "a rule that refuses everything looks at nothing: drop `{key}`, or the action"
                );
                Problem::at_key(join(pointer, key), message).with_help(help)
            });
        }
    }

    fn checks(&mut self, node: &Node, pointer: &str) -> Vec<Check> {
        let items = self.list(node, pointer, "a list of checks");
        let items = items.unwrap_or_default().iter().enumerate();
        items
            .map(|(index, item)| self.check(item, &join(pointer, &index.to_string())))
            .collect()
    }

    fn check(&mut self, node: &Node, pointer: &str) -> Check {
        let mut check = Check::default();
        for member in self.object(node, pointer).unwrap_or_default() {
            let at = join(pointer, &member.key);
            let node = &member.value;
            match member.key.as_str() {
                "conditions" => check.conditions = self.conditions(node, &at),
                "on_deny" => check.on_deny = self.text(node, &at),
                "name" => check.name = self.check_name(node, &at),
                _ => self.no_field(&CHECK, member, pointer),
            }
        }
        self.demand(
            node,
            pointer,
            "conditions",
            r#"write `"conditions": [ { "path": "args.…", "op": "eq", "value": … } ]`; an empty list always holds"#,
        );
        check
    }

    fn check_name(&mut self, node: &Node, pointer: &str) -> Option<String> {
        let name = self.text(node, pointer)?;
        if name.is_empty() {
            self.problems.report(|| {
                Problem::at_value(pointer.to_owned(), "the name of a check cannot be empty")
                    .with_help("leave it out to have one made of its conditions")
            });
        }
        Some(name)
    }

    fn conditions(&mut self, node: &Node, pointer: &str) -> Vec<Condition> {
        let items = self.list(node, pointer, "a list of conditions");
        let items = items.unwrap_or_default().iter().enumerate();
        items
            .map(|(index, item)| self.condition(item, &join(pointer, &index.to_string())))
            .collect()
    }

    /// One with a mistake in it is read as one without any, so that no other is
    /// reported for it.
    fn condition(&mut self, node: &Node, pointer: &str) -> Condition {
        let (mut path, mut operator, mut value) = (None, None, None);
        for member in self.object(node, pointer).unwrap_or_default() {
            let at = join(pointer, &member.key);
            match member.key.as_str() {
                "path" => path = self.text(&member.value, &at),
                "op" => operator = self.operator(&member.value, &at),
                "value" => value = self.value(&member.value, &at),
                _ => self.no_field(&CONDITION, member, pointer),
            }
        }
        for (field, help) in [
            (
                "path",
                r#"write where the value is, such as `"path": "args.amount"`"#,
            ),
            ("op", r#"write how it is compared, such as `"op": "eq"`"#),
            ("value", "write what it is compared with"),
        ] {
            self.demand(node, pointer, field, help);
        }
        match (path, operator, value) {
            (Some(path), Some(op), Some(value)) => Condition { path, op, value },
            (path, _, _) => Condition::new(
                path.unwrap_or_else(|| "args".to_owned()),
                Operator::Exists,
                true,
            ),
        }
    }

    fn operator(&mut self, node: &Node, pointer: &str) -> Option<Operator> {
        let Value::String(word) = &node.value else {
            self.wrong(node, pointer, "the name of an operator");
            return None;
        };
        let operator = Operator::from_name(word);
        if operator.is_none() {
            self.problems.report(|| {
                let names = Operator::ALL.map(Operator::name);
                let help = match nearest(word, names.into_iter()) {
                    Some(known) => format!("did you mean \"{known}\"?"),
                    None => format!("the operators are `{}`", names.join("`, `")),
                };
                let message = format!("there is no operator \"{}\"", printable(word));
                Problem::at_value(pointer.to_owned(), message).with_help(help)
            });
        }
        operator
    }

    fn value(&mut self, node: &Node, pointer: &str) -> Option<serde_json::Value> {
        match value_of(node) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problems.report(|| {
                    let mut problem = Problem::at_bytes(error.span, error.message);
                    problem.pointer = pointer.to_owned();
                    problem.with_help(error.help)
                });
                None
            }
        }
    }

    fn unwrap(&mut self, node: &Node, pointer: &str) -> Option<Unwrap> {
        let (mut name, mut arguments) = (None, None);
        for member in self.object(node, pointer)? {
            let at = join(pointer, &member.key);
            match member.key.as_str() {
                "name" => name = self.text(&member.value, &at),
                "arguments" => arguments = self.text(&member.value, &at),
                _ => self.no_field(&UNWRAP, member, pointer),
            }
        }
        for (field, help) in [
            (
                "name",
                r#"write where the inner tool is named, such as `"name": "args.tool_name"`"#,
            ),
            (
                "arguments",
                r#"write where its arguments are, such as `"arguments": "args.parameters"`"#,
            ),
        ] {
            self.demand(node, pointer, field, help);
        }
        Some(Unwrap {
            name: name?,
            arguments: arguments?,
        })
    }
}
