//! One rule, with its checks and their conditions.

use super::super::condition::{HELP_UNREADABLE, Operator, UNREADABLE, value_of};
use super::super::diagnostic::{Place, Problem, printable, quote};
use super::super::document::{Check, Condition, Rule, RuleAction, Unwrap};
use super::MODE;
use super::reader::{Choice, Elsewhere, Fields, Reader, brace, nearest};
use crate::json::tree::{Member, Node, Value};

/// Of a rule in `tools`.
pub(super) const TOOL: Fields = Fields {
    known: &[
        "action",
        "reason",
        "require",
        "deny_if",
        "limits",
        "rate_limit",
        "max_concurrent",
        "require_approval",
        "unwrap",
        "mode",
        "description",
    ],
    other_names: OTHER_FIELDS,
    elsewhere: &[],
};

/// Of a rule in `resources` or `prompts`.
pub(super) const RULE: Fields = Fields {
    known: &[
        "action",
        "reason",
        "require",
        "deny_if",
        "limits",
        "rate_limit",
        "max_concurrent",
        "require_approval",
        "mode",
        "description",
    ],
    other_names: OTHER_FIELDS,
    elsewhere: &[Elsewhere {
        field: "unwrap",
        message: "only a tool can be a dispatcher",
        help: "write `unwrap` into the rule of a tool, in `tools`",
    }],
};

/// Of `all_tools`.
pub(super) const ALL_TOOLS: Fields = Fields {
    known: &[
        "require",
        "deny_if",
        "limits",
        "rate_limit",
        "max_concurrent",
        "require_approval",
        "mode",
        "description",
    ],
    other_names: OTHER_FIELDS,
    elsewhere: &[
        Elsewhere {
            field: "action",
            message: "`all_tools` has no action: it is asked besides the rule of the tool",
            help: r#"say what happens to tools in `tools` or by `default`; `"deny_if": [ { "conditions": [] } ]` refuses every call"#,
        },
        Elsewhere {
            field: "reason",
            message: "`all_tools` has no reason, because it has no action",
            help: "a check says in `on_deny` why it refuses",
        },
        Elsewhere {
            field: "unwrap",
            message: "`all_tools` cannot unwrap: no path is the same in all tools",
            help: "write `unwrap` into the rule of each dispatcher, in `tools`",
        },
    ],
};

/// What may stand beside an action that refuses.
const BESIDE_REFUSAL: &[&str] = &["action", "reason", "mode", "description"];

pub(super) const OTHER_FIELDS: &[(&str, &str)] = &[
    ("effect", "action"),
    ("decision", "action"),
    ("message", "reason"),
    ("on_deny", "reason"),
    ("conditions", "require"),
    ("allow_if", "require"),
    ("deny", "deny_if"),
    ("forbid", "deny_if"),
    ("approval", "require_approval"),
    ("ask", "require_approval"),
    ("confirm", "require_approval"),
    ("quota", "limits"),
    ("quotas", "limits"),
    ("rate", "rate_limit"),
    ("ratelimit", "rate_limit"),
    ("concurrency", "max_concurrent"),
];

const CHECK: Fields = Fields {
    known: &["conditions", "on_deny", "name"],
    other_names: &[
        ("when", "conditions"),
        ("if", "conditions"),
        ("all", "conditions"),
        ("reason", "on_deny"),
        ("message", "on_deny"),
        ("id", "name"),
    ],
    elsewhere: &[],
};

pub(super) const CONDITION: Fields = Fields {
    known: &["path", "op", "value"],
    other_names: &[
        ("operator", "op"),
        ("operation", "op"),
        ("field", "path"),
        ("argument", "path"),
        ("arg", "path"),
        ("key", "path"),
        ("expected", "value"),
    ],
    elsewhere: &[],
};

const UNWRAP: Fields = Fields {
    known: &["name", "arguments"],
    other_names: &[
        ("tool", "name"),
        ("tool_name", "name"),
        ("args", "arguments"),
        ("input", "arguments"),
        ("params", "arguments"),
        ("parameters", "arguments"),
    ],
    elsewhere: &[],
};

const ACTION: Choice<RuleAction> = Choice {
    known: &[
        ("allow", RuleAction::Allow),
        ("deny", RuleAction::Deny),
        ("hide", RuleAction::Hide),
        ("require_approval", RuleAction::RequireApproval),
    ],
    expected: r#""allow", "deny", "hide" or "require_approval""#,
};

/// Operators as other languages write them.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("=", "eq"),
    ("==", "eq"),
    ("===", "eq"),
    ("equals", "eq"),
    ("is", "eq"),
    ("!=", "neq"),
    ("!==", "neq"),
    ("<>", "neq"),
    ("ne", "neq"),
    ("not_eq", "neq"),
    ("<", "lt"),
    ("<=", "lte"),
    ("le", "lte"),
    (">", "gt"),
    (">=", "gte"),
    ("ge", "gte"),
    ("one_of", "in"),
    ("nin", "not_in"),
    ("match", "regex"),
    ("matches", "regex"),
    ("like", "regex"),
    ("pattern", "regex"),
    ("startswith", "starts_with"),
    ("prefix", "starts_with"),
    ("endswith", "ends_with"),
    ("suffix", "ends_with"),
];

impl Reader<'_> {
    /// A rule with a mistake in it is read as one that denies: two of those
    /// never contradict each other, so nothing is reported that may be no
    /// mistake once this one is mended.
    pub(super) fn rule(&mut self, fields: &Fields, node: &Node, place: &Place<'_>) -> Rule {
        let mut rule = Rule::allow();
        let Value::Object(members) = &node.value else {
            self.no_rule(fields, node, place);
            rule.action = RuleAction::Deny;
            return rule;
        };
        let known = |member: &Member| fields.known.contains(&member.key.as_str());
        for member in members {
            if !known(member) {
                self.no_field(fields, member, place);
                continue;
            }
            let at = Place::Member(place, &member.key);
            let node = &member.value;
            match member.key.as_str() {
                "action" => {
                    let action = self.choose(&ACTION, node, &at);
                    rule.action = action.unwrap_or(RuleAction::Deny);
                }
                "reason" => rule.reason = self.text(node, &at),
                "require" => rule.require = self.checks(node, &at),
                "deny_if" => rule.deny_if = self.checks(node, &at),
                "limits" => rule.limits = self.limits(node, &at),
                "rate_limit" => rule.rate_limit = self.rate_limit(node, &at),
                "max_concurrent" => rule.max_concurrent = self.max_concurrent(node, &at),
                "require_approval" => rule.require_approval = self.approval(node, &at),
                "unwrap" => rule.unwrap = self.unwrap(node, &at),
                "mode" => self.set(&MODE, node, &at, &mut rule.mode),
                _ => rule.description = self.text(node, &at),
            }
        }
        self.no_second_rate(members, place);
        self.no_second_approval(&rule, members, place);
        self.refuse_beside(fields, &rule, members, place);
        if !members.iter().all(known) {
            rule.action = RuleAction::Deny;
        }
        rule
    }

    fn no_rule(&mut self, fields: &Fields, node: &Node, place: &Place<'_>) {
        let help = if fields.known.contains(&"action") {
            r#"a rule is `{}` to allow, `{ "action": "deny" }` to refuse, or has `require` or `deny_if`"#
        } else {
            "write the checks for every tool into it, as `require` or `deny_if`"
        };
        self.wrong_but(node, place, "an object", help);
    }

    /// What a rule that refuses says of calls that pass is a mistake.
    fn refuse_beside(
        &mut self,
        fields: &Fields,
        rule: &Rule,
        members: &[Member],
        place: &Place<'_>,
    ) {
        let action = match rule.action {
            RuleAction::Allow | RuleAction::RequireApproval => return,
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
            !BESIDE_REFUSAL.contains(&key) && fields.known.contains(&key)
        });
        for member in beside.filter(|_| written) {
            self.problems.report(|| {
                let key = &member.key;
                let message = format!("{} cannot stand beside the action \"{action}\"", quote(key));
                let help = format!(
                    "a rule that refuses everything looks at nothing: drop `{key}`, or the action"
                );
                let place = Place::Member(place, key);
                Problem::in_text(member.key_span.clone(), &place, message).with_help(help)
            });
        }
    }

    fn checks(&mut self, node: &Node, place: &Place<'_>) -> Vec<Check> {
        let items = self.list(node, place, "a list of checks");
        let items = items.unwrap_or_default().iter().enumerate();
        items
            .map(|(index, item)| self.check(item, &Place::Item(place, index)))
            .collect()
    }

    fn check(&mut self, node: &Node, place: &Place<'_>) -> Check {
        let mut check = Check::default();
        let members = self.object(node, place).unwrap_or_default();
        if has_one_of(members, CONDITION.known) && !has_one_of(members, &["conditions"]) {
            self.problems.report(|| {
                Problem::in_text(brace(node), place, "this is a condition, expected a check")
                    .with_help(r#"write the condition into one: `{ "conditions": [ … ] }`"#)
            });
            return check;
        }
        for member in members {
            let at = Place::Member(place, &member.key);
            let node = &member.value;
            match member.key.as_str() {
                "conditions" => check.conditions = self.conditions(node, &at),
                "on_deny" => check.on_deny = self.text(node, &at),
                "name" => check.name = self.text(node, &at),
                _ => self.no_field(&CHECK, member, place),
            }
        }
        self.demand(
            &CHECK,
            node,
            place,
            "conditions",
            r#"write `"conditions": [ { "path": "args.…", "op": "eq", "value": … } ]`; an empty list always holds"#,
        );
        check
    }

    pub(super) fn conditions(&mut self, node: &Node, place: &Place<'_>) -> Vec<Condition> {
        let items = self.list(node, place, "a list of conditions");
        let items = items.unwrap_or_default().iter().enumerate();
        items
            .map(|(index, item)| self.condition(item, &Place::Item(place, index)))
            .collect()
    }

    /// One with a mistake in it is read as one without any, so that no other is
    /// reported for it.
    fn condition(&mut self, node: &Node, place: &Place<'_>) -> Condition {
        let (mut path, mut operator, mut value) = (None, None, None);
        let members = self.object(node, place).unwrap_or_default();
        if self.is_no_condition(node, members, place) {
            return of_mistake(None);
        }
        for member in members {
            let at = Place::Member(place, &member.key);
            match member.key.as_str() {
                "path" => path = self.text(&member.value, &at),
                "op" => operator = self.operator(&member.value, &at),
                "value" => value = self.value(&member.value, &at),
                _ => self.no_field(&CONDITION, member, place),
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
            self.demand(&CONDITION, node, place, field, help);
        }
        match (path, operator, value) {
            (Some(path), Some(op), Some(value)) => Condition { path, op, value },
            (path, _, _) => of_mistake(path),
        }
    }

    /// Reports what is so far from a condition that all that it lacks would only
    /// confuse.
    fn is_no_condition(&mut self, node: &Node, members: &[Member], place: &Place<'_>) -> bool {
        if has_one_of(members, &["conditions"]) && !has_one_of(members, CONDITION.known) {
            self.problems.report(|| {
                Problem::in_text(brace(node), place, "this is a check, expected a condition")
                    .with_help("checks do not nest: write it beside the others")
            });
            return true;
        }
        let is_operator = |member: &&Member| operator_like(&member.key).is_some();
        let operator = members.iter().find(is_operator);
        let operator = operator.filter(|_| !has_one_of(members, &["op", "value"]));
        let Some((member, name)) =
            operator.and_then(|member| Some((member, operator_like(&member.key)?)))
        else {
            return false;
        };
        self.problems.report(|| {
            let message = format!("{} is an operator, not a field", quote(&member.key));
            let help = format!(r#"write `"op": "{name}", "value": …`"#);
            let place = Place::Member(place, &member.key);
            Problem::in_text(member.key_span.clone(), &place, message).with_help(help)
        });
        true
    }

    fn operator(&mut self, node: &Node, place: &Place<'_>) -> Option<Operator> {
        let Value::String(word) = &node.value else {
            self.wrong(node, place, "the name of an operator");
            return None;
        };
        let operator = Operator::from_name(word);
        if operator.is_none() {
            self.problems.report(|| {
                let names = Operator::ALL.map(Operator::as_str);
                let help = match operator_like(word).or_else(|| nearest(word, names.into_iter())) {
                    Some(known) => format!("did you mean \"{known}\"?"),
                    None => format!("the operators are `{}`", names.join("`, `")),
                };
                let message = format!("there is no operator \"{}\"", printable(word));
                Problem::in_text(node.span.clone(), place, message).with_help(help)
            });
        }
        operator
    }

    fn value(&mut self, node: &Node, place: &Place<'_>) -> Option<serde_json::Value> {
        let mut is_readable = true;
        let value = value_of(node, &mut |span| {
            is_readable = false;
            self.problems
                .report(|| Problem::in_text(span, place, UNREADABLE).with_help(HELP_UNREADABLE));
        });
        is_readable.then_some(value)
    }

    fn unwrap(&mut self, node: &Node, place: &Place<'_>) -> Option<Unwrap> {
        let (mut name, mut arguments) = (None, None);
        for member in self.object(node, place)? {
            let at = Place::Member(place, &member.key);
            match member.key.as_str() {
                "name" => name = self.text(&member.value, &at),
                "arguments" => arguments = self.text(&member.value, &at),
                _ => self.no_field(&UNWRAP, member, place),
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
            self.demand(&UNWRAP, node, place, field, help);
        }
        Some(Unwrap {
            name: name?,
            arguments: arguments?,
        })
    }
}

pub(super) fn has_one_of(members: &[Member], fields: &[&str]) -> bool {
    members
        .iter()
        .any(|member| fields.contains(&member.key.as_str()))
}

/// The operator of that name, or of one that means the same elsewhere.
fn operator_like(word: &str) -> Option<&'static str> {
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == word);
    let known = Operator::from_name(word).map(Operator::as_str);
    known.or(other.map(|(_, name)| *name))
}

/// Stands for a condition that could not be read: no other mistake is found in
/// it, in whichever section it is, but in its path if that is known.
fn of_mistake(path: Option<String>) -> Condition {
    let path = path.unwrap_or_else(|| "caller".to_owned());
    Condition::new(path, Operator::Exists, true)
}
