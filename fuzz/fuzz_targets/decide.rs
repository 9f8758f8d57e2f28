//! Whatever a policy asks of a call: its decision is the same on every run,
//! however document and arguments are written, and is the one that is explained;
//! and nothing that is refused is allowed once nothing is in shadow.
//!
//! A policy document, a NUL, the name of a tool, a NUL, and its arguments.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use mcp_policy::{Action, Caller, Decision, Policy};
use mcp_policy_fuzz::{mutate, rewrite};
use serde_json::{Map, Value, json};

static CALLER: LazyLock<Caller> = LazyLock::new(|| {
    let claims = json!({ "team": "ops", "level": 3, "groups": ["a", "b"] });
    let claims = claims.as_object().cloned().unwrap_or_default();
    Caller::new("alice").with_claims(claims)
});

const CLIENT: &str = r#"{"name":"client","version":"1"}"#;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::in_place(data, size, max_size, seed)
});

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut parts = text.splitn(3, '\0');
    let (Some(document), Some(name), arguments) = (parts.next(), parts.next(), parts.next()) else {
        return;
    };
    let Ok(policy) = document.parse::<Policy>() else {
        return;
    };
    let arguments = arguments.unwrap_or("{}");
    let Some(call) = call(name, arguments) else {
        return;
    };
    let decision = policy.decide(&call);
    assert_eq!(policy.decide(&call), decision);
    assert_eq!(policy.explain(&call).decision(), &decision);
    assert!(!policy.explain(&call).to_string().is_empty());
    assert_writing_changes_nothing(document, name, arguments, &decision);
    assert_shadow_only_allows(&policy, &call, &decision);
});

/// None if the arguments are nothing that is judged.
fn call<'a>(name: &'a str, arguments: &'a str) -> Option<Action<'a>> {
    let call = Action::call_tool(name).with_arguments(arguments).ok()?;
    let call = call.with_client(CLIENT).expect("a client of our own");
    Some(call.by(&CALLER))
}

/// The order of keys, white space, and escapes of names.
fn assert_writing_changes_nothing(
    document: &str,
    name: &str,
    arguments: &str,
    decision: &Decision<'_>,
) {
    let other: Policy = rewrite::json(document).parse().expect("it loaded once");
    let arguments = rewrite::json(arguments);
    let call = call(name, &arguments).expect("it was judged once");
    assert_eq!(&other.decide(&call), decision, "{name} {arguments}");
}

fn assert_shadow_only_allows(policy: &Policy, call: &Action<'_>, decision: &Decision<'_>) {
    let text = policy.document().to_json_string();
    let mut document: Value = serde_json::from_str(&text).expect("we wrote it");
    enforce(&mut document);
    let enforced: Policy = document.to_string().parse().expect("it loaded in shadow");
    let without = enforced.decide(call);
    assert!(without.shadow().is_none());
    assert!(decision.is_allowed() || !without.is_allowed());
    let told = decision.shadow().unwrap_or(decision);
    assert_eq!(told.outcome(), without.outcome());
    if !without.is_allowed() {
        assert_eq!(told.rule(), without.rule());
    }
}

/// Takes everything out of shadow.
fn enforce(document: &mut Value) {
    let Some(document) = document.as_object_mut() else {
        return;
    };
    document.remove("mode");
    let mut rules: Vec<&mut Value> = Vec::new();
    for (key, value) in document.iter_mut() {
        match (key.as_str(), value) {
            ("all_tools", rule) => rules.push(rule),
            ("tools" | "resources" | "prompts" | "risk", Value::Object(section)) => {
                rules.extend(section.values_mut());
            }
            _ => {}
        }
    }
    for rule in rules.into_iter().filter_map(Value::as_object_mut) {
        Map::remove(rule, "mode");
    }
}
