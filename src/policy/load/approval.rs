//! What a rule says of calls that wait until somebody approves them.

use super::super::diagnostic::{Place, Problem};
use super::super::document::{Approver, RequireApproval, Rule, RuleAction};
use super::reader::{Choice, Elsewhere, Fields, Reader, brace};
use super::rule::{CONDITION, has_one_of};
use crate::json::tree::{Member, Node, Value};

const APPROVAL: Fields = Fields {
    known: &["conditions", "reason", "expires", "approver"],
    other_names: &[
        ("when", "conditions"),
        ("if", "conditions"),
        ("all", "conditions"),
        ("message", "reason"),
        ("text", "reason"),
        ("timeout", "expires"),
        ("ttl", "expires"),
        ("seconds", "expires"),
        ("by", "approver"),
        ("from", "approver"),
    ],
    elsewhere: &[Elsewhere {
        field: "on_deny",
        message: "nothing is denied here: somebody is asked",
        help: "say in `reason` why",
    }],
};

const APPROVER: Choice<Approver> = Choice {
    known: &[
        ("operator", Approver::Operator),
        ("caller", Approver::Caller),
    ],
    expected: r#""operator" or "caller""#,
};

const FORMS: &str = "`true` or an object";

const EXPIRES: &str = "a whole number of seconds from 1 to 604800";

impl Reader<'_> {
    pub(super) fn approval(&mut self, node: &Node, place: &Place<'_>) -> Option<RequireApproval> {
        let members = match &node.value {
            Value::Bool(true) => return Some(RequireApproval::default()),
            Value::Object(members) => members,
            Value::Bool(false) | Value::Null => {
                self.wrong_but(node, place, FORMS, "leave it out to ask nobody");
                return None;
            }
            _ => {
                self.wrong(node, place, FORMS);
                return None;
            }
        };
        if has_one_of(members, CONDITION.known) && !has_one_of(members, &["conditions"]) {
            self.problems.report(|| {
                Problem::in_text(
                    brace(node),
                    place,
                    "this is a condition, expected an approval",
                )
                .with_help("write the condition into one: `{ \"conditions\": [ … ] }`")
            });
            return None;
        }
        let mut approval = RequireApproval::default();
        for member in members {
            let at = Place::Member(place, &member.key);
            let node = &member.value;
            match member.key.as_str() {
                "conditions" => approval.conditions = self.conditions(node, &at),
                "reason" => approval.reason = self.text(node, &at),
                "expires" => approval.expires = self.expires(node, &at),
                "approver" => self.set(&APPROVER, node, &at, &mut approval.approver),
                _ => self.no_field(&APPROVAL, member, place),
            }
        }
        Some(approval)
    }

    fn expires(&mut self, node: &Node, place: &Place<'_>) -> Option<u32> {
        let seconds = RequireApproval::SHORTEST..=RequireApproval::LONGEST;
        self.whole(node, place, seconds, EXPIRES)
    }

    /// A rule says once when it asks, in one form or in the other.
    pub(super) fn no_second_approval(
        &mut self,
        rule: &Rule,
        members: &[Member],
        place: &Place<'_>,
    ) {
        let mut members = members.iter();
        let second = members.find(|member| member.key == "require_approval");
        let Some(member) = second.filter(|_| rule.action == RuleAction::RequireApproval) else {
            return;
        };
        self.problems.report(|| {
            let place = Place::Member(place, &member.key);
            let message = r#"`require_approval` cannot stand beside the action "require_approval""#;
            Problem::in_text(member.key_span.clone(), &place, message)
                .with_help("the action asks about every call: drop one of them")
        });
    }
}
