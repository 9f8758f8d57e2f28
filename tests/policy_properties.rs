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
        // No two that are the same once scheme and host are in lower case.
        prop::collection::btree_map(r"x:(//[ab])?/([abAB%\u{e9}/]|\*){1,4}", rule(), 0..4),
        prop::collection::btree_map(name, rule(), 0..3),
        prop::collection::btree_map("[xyXY]{1,2}/", prop::bool::ANY, 0..3),
    )
        .prop_map(
            |(default, text, hide, tools, resources, prompts, methods)| {
                let mut document = PolicyDocument::new(default);
                document.schema = text.clone();
                document.name = text.clone();
                document.description = text;
                document.hide = hide;
                document.tools = tools;
                document.resources = resources;
                document.prompts = prompts;
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
            },
        )
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
                let uri = format!("X:/{name}");
                for action in [
                    Action::other_method(name),
                    Action::get_prompt(name),
                    Action::read_resource(&uri),
                ] {
                    prop_assert_eq!(one.decide(&action), other.decide(&action));
                }
            }
        }
    }

    #[test]
    fn a_hidden_name_tells_nothing(
        document in document(),
        names in prop::collection::vec("[abAB _\u{e9}*\u{200b}]{0,5}", 20),
    ) {
        if let Ok(policy) = Policy::try_from(document) {
            let uris: Vec<String> = names.iter().map(|name| format!("X:/{name}")).collect();
            let actions = names.iter().zip(&uris).flat_map(|(name, uri)| {
                [Action::call_tool(name), Action::get_prompt(name), Action::read_resource(uri)]
            });
            for action in actions {
                let decision = policy.decide(&action);
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
