//! What holds for every document and every name, through the public API.
#![allow(clippy::unwrap_used)]

use mcp_policy::{
    Action, Decision, DefaultAction, MethodRule, Outcome, Policy, PolicyDocument, Rule, RuleAction,
};
use proptest::prelude::*;

fn call<'p>(policy: &'p Policy, name: &str) -> Decision<'p> {
    policy.decide(&Action::call_tool(name))
}

fn rule() -> impl Strategy<Value = Rule> {
    let action = prop::sample::select(vec![RuleAction::Allow, RuleAction::Deny, RuleAction::Hide]);
    let text = || prop::option::of("[a-z\u{e9}\"\\\\\n]{0,4}");
    (action, text(), text()).prop_map(|(action, reason, description)| {
        let mut rule = Rule::allow();
        rule.action = action;
        rule.reason = reason;
        rule.description = description;
        rule
    })
}

fn document() -> impl Strategy<Value = PolicyDocument> {
    let name = r"([abAB _\u{e9}~/]|\*|\\\*|\\\\){1,5}";
    (
        prop::sample::select(vec![
            DefaultAction::Allow,
            DefaultAction::Deny,
            DefaultAction::Hide,
        ]),
        prop::option::of(".{0,4}"),
        prop::collection::vec(name, 0..3),
        prop::collection::btree_map(name, rule(), 0..5),
        prop::collection::btree_map("[xyXY]{1,2}/", prop::bool::ANY, 0..3),
    )
        .prop_map(|(default, text, hide, tools, methods)| {
            let mut document = PolicyDocument::new(default);
            document.schema = text.clone();
            document.name = text.clone();
            document.description = text;
            document.hide = hide;
            document.tools = tools;
            let method = |allow| {
                if allow {
                    MethodRule::Allow
                } else {
                    MethodRule::Deny
                }
            };
            let methods = methods
                .into_iter()
                .map(|(name, allow)| (name, method(allow)));
            document.methods = methods.collect();
            document
        })
}

/// The members of every object in the opposite order.
fn reversed(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .rev()
                .map(|(key, value)| format!("{} :\n{}", Value::from(key.as_str()), reversed(value)))
                .collect();
            format!("{{\t{}\r\n}}", members.join(" ,\n"))
        }
        value => value.to_string(),
    }
}

proptest! {
    #[test]
    fn a_document_survives_being_written_and_read(document in document()) {
        // Ties are refused, and nothing else can be wrong with these.
        match Policy::try_from(document.clone()) {
            Ok(policy) => {
                prop_assert_eq!(policy.document(), &document);
                let again: Policy = document.to_json_string().parse().unwrap();
                prop_assert_eq!(again.document(), &document);
            }
            Err(error) => {
                for diagnostic in error.diagnostics() {
                    prop_assert!(diagnostic.message().contains("same name"), "{}", error);
                }
            }
        }
    }

    #[test]
    fn key_order_and_white_space_change_nothing(
        document in document(),
        names in prop::collection::vec("[abAB _\u{e9}*\u{200b}]{0,5}", 20),
    ) {
        let text = document.to_json_string();
        let other = reversed(&serde_json::from_str(&text).unwrap());
        let (one, other) = (text.parse::<Policy>(), other.parse::<Policy>());
        prop_assert_eq!(one.is_ok(), other.is_ok());
        if let (Ok(one), Ok(other)) = (one, other) {
            prop_assert_eq!(one.document(), other.document());
            for name in &names {
                prop_assert_eq!(call(&one, name), call(&other, name));
                let method = Action::other_method(name);
                prop_assert_eq!(one.decide(&method), other.decide(&method));
            }
        }
    }

    #[test]
    fn a_hidden_name_tells_nothing(
        document in document(),
        names in prop::collection::vec("[abAB _\u{e9}*\u{200b}]{0,5}", 20),
    ) {
        if let Ok(policy) = Policy::try_from(document) {
            for name in &names {
                let decision = call(&policy, name);
                match decision.outcome() {
                    Outcome::Hide => {
                        prop_assert_eq!(decision.rule(), "(hidden)");
                        prop_assert_eq!(decision.reason(), None);
                    }
                    outcome => {
                        prop_assert_ne!(decision.rule(), "(hidden)");
                        let protocol = decision.rule() == "(protocol)";
                        prop_assert!(!protocol || policy.document().default == DefaultAction::Allow);
                        prop_assert_eq!(outcome == Outcome::Allow, decision.is_allowed());
                    }
                }
            }
        }
    }
}
