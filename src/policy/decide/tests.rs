use proptest::prelude::*;

use super::*;
use crate::mcp::message::Message;
use crate::mcp::params::Param;

/// Where a pattern lets unknown names pass, and counts them.
#[test]
fn what_is_hidden_is_counted_like_what_does_not_exist() {
    let policy: Policy = r#"{"version":"1","default":"deny","hide":["read_secret"],"tools":{
        "read_*":{"limits":[{"counter":"c","window":1,"max":1,"increment_from":"args.a"}]},
        "all":{"limits":[{"counter":"c","window":1,"max":1,"increment_from":"args.b"}],
               "unwrap":{"name":"args.n","arguments":"args.p"}}}}"#
        .parse()
        .unwrap();
    for arguments in ["{}", r#"{"a":1}"#, r#"{"a":"1"}"#] {
        let decide = |name| {
            let call = Action::call_tool(name).with_arguments(arguments).unwrap();
            policy.decide(&call)
        };
        let (hidden, unknown) = (decide("read_secret"), decide("read_other"));
        assert_eq!(hidden.outcome(), Outcome::Hide);
        assert!(hidden.spending().is_empty());
        let said = (!unknown.is_allowed()).then_some(&unknown);
        assert_eq!(hidden.unnamed(), said, "{arguments}");
        // Inside of a call that cannot be counted itself.
        let inside = |name: &str| {
            let arguments = format!(r#"{{"n":"{name}","p":{arguments}}}"#);
            let call = Action::call_tool("all").with_arguments(&arguments).unwrap();
            let decision = policy.decide(&call);
            let said = decision.unnamed().unwrap_or(&decision);
            (said.rule().to_owned(), said.reason().map(str::to_owned))
        };
        assert_eq!(inside("read_secret"), inside("read_other"), "{arguments}");
    }
}

/// Else its refusal would tell it from one that is nowhere in the document.
#[test]
fn the_calls_inside_a_hidden_one_count_with_those_before_it() {
    let policy: Policy = r#"{
        "version": "1",
        "default": "deny",
        "hide": ["d_secret"],
        "tools": {
            "ok": {},
            "d_*": { "unwrap": { "name": "args.calls[*].tool", "arguments": "args.calls[*].input" } }
        }
    }"#
    .parse()
    .unwrap();
    let ok = r#"{"tool":"ok"}"#;
    for (within, is_too_many) in [(499, false), (500, true)] {
        let inner = format!(r#"{{"calls":[{}]}}"#, vec![ok; within].join(","));
        let said = |name: &str| {
            let last = format!(r#"{{"tool":"{name}","input":{inner}}}"#);
            let calls = format!(r#"{{"calls":[{},{last}]}}"#, vec![ok; 500].join(","));
            let call = Action::call_tool("d_batch").with_arguments(&calls).unwrap();
            let decision = policy.decide(&call);
            let said = match decision.outcome() {
                Outcome::Hide => decision.unnamed().cloned(),
                _ => Some(decision).filter(|decision| !decision.is_allowed()),
            };
            said.map(|said| said.rule().to_owned())
        };
        let expected = is_too_many.then(|| "/tools/d_*/unwrap".to_owned());
        assert_eq!(
            [said("d_other"), said("d_secret")],
            [expected.clone(), expected]
        );
    }
}

fn value_of_an_argument() -> impl Strategy<Value = String> {
    let short = prop::sample::select(vec!["1", "-7.5", "null", "[]", r#""x""#, r#"{"c":2}"#]);
    let text = "(\\\\[\"n\\\\]|[a-c{}\\[\\]:, \u{e9}]){30,80}";
    let text = text.prop_map(|text| format!("\"{text}\""));
    let leaf = prop_oneof![2 => short.prop_map(str::to_owned), 1 => text];
    leaf.prop_recursive(3, 40, 12, |inner| {
        let member = (key_of_an_argument(), inner.clone());
        let member = member.prop_map(|(key, value)| format!("\"{key}\" :{value}"));
        let list = prop::collection::vec(inner, 0..12);
        prop_oneof![
            list.prop_map(|items| format!("[ {} ]", items.join(" ,"))),
            prop::collection::vec(member, 0..4)
                .prop_map(|members| format!("{{{}}}", members.join(", "))),
        ]
    })
}

fn key_of_an_argument() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a", "\\u0061", "A", "b", "c", "d", "", "calls", "tool", "input",
    ])
}

proptest! {
    /// Its long values are not read again then.
    #[test]
    fn what_was_read_in_a_message_is_judged_like_what_is_read_first(
        members in prop::collection::vec((key_of_an_argument(), value_of_an_argument()), 0..6),
        calls in prop::collection::vec(value_of_an_argument(), 0..4),
        space in prop::sample::select(vec!["", " ", "\n\t"]),
        name in prop::sample::select(vec!["run", "each"]),
    ) {
        let policy: Policy = r#"{"version": "1", "default": "deny", "tools": {
            "run": {
                "require": [{ "conditions": [
                    { "path": "args.a", "op": "exists", "value": true },
                    { "path": "args.b[*].c", "op": "lte", "value": 5 },
                    { "path": "args.d", "op": "contains", "value": 1 }
                ] }],
                "limits": [{ "counter": "n", "window": 1, "max": 9, "increment_from": "args.c" }]
            },
            "each": {
                "limits": [{ "counter": "n", "window": 1, "max": 9, "increment_from": "args.b[*]" }],
                "unwrap": { "name": "args.calls[*].tool", "arguments": "args.calls[*].input" }
            }
        }}"#
        .parse()
        .unwrap();
        let calls = calls.iter().map(|input| {
            format!(r#"{{"tool": "run", "input": {{"a":1,"b":{input},"d":[1],"c":2}}}}"#)
        });
        let calls = calls.collect::<Vec<_>>().join(",");
        let members = members.iter().map(|(key, value)| {
            format!("{space}\"{key}\"{space}:{space}{value}{space}")
        });
        let calls = (name == "each").then(|| format!("\"calls\":[{calls}]"));
        let members = members.chain(calls).collect::<Vec<_>>().join(",");
        let body = format!(
            r#"{space}{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"arguments":{space}{{{members}}}{space},"name":"{name}"}}}}"#
        );
        // A name may stand there twice.
        let Ok(Message::Request(_, call)) = Message::parse(body.as_bytes()) else {
            return Ok(());
        };
        let params = call.params.unwrap();
        let arguments = params.span(Param::Arguments).unwrap();
        let text = std::str::from_utf8(arguments).unwrap();
        let first = Action::call_tool(name).with_arguments(text).unwrap();
        let again = Action::call_tool(name).with_read_arguments(arguments, params.long_arguments());
        prop_assert_eq!(policy.decide(&again), policy.decide(&first), "{}", text);
    }
}

proptest! {
    /// A list asks only whether a name is hidden, and a call how it is refused.
    #[test]
    fn a_list_hides_what_is_refused_as_hidden(
        hide in prop::collection::vec("[ab]{0,2}[*]?[ab]{1,2}", 0..3),
        entries in prop::collection::btree_map("[abB]{0,2}[*]?[abB]{1,2}", 0..5_usize, 0..5),
        risks in prop::collection::btree_map("read|write|unknown", 0..4_usize, 0..3),
        pins in prop::option::of(prop::sample::select(vec!["deny", "hide"])),
        default in prop::sample::select(vec!["allow", "deny", "hide"]),
        name in "[abAB ]{1,4}|get_a|[ab\u{e9}]{1,3}",
    ) {
        let rule = |action: usize| match action {
            0 => serde_json::json!({}),
            1 => serde_json::json!({ "action": "deny" }),
            2 => serde_json::json!({ "action": "hide" }),
            3 => serde_json::json!({ "require": [{ "conditions": [
                { "path": "args.a", "op": "lte", "value": 5 }
            ] }] }),
            _ => serde_json::json!({ "action": "require_approval" }),
        };
        let rules = |of: &std::collections::BTreeMap<String, usize>| {
            let rules = of.iter().map(|(key, action)| (key.clone(), rule(*action)));
            rules.collect::<serde_json::Map<_, _>>()
        };
        let mut document = serde_json::json!({
            "version": "1", "default": default, "hide": hide, "tools": rules(&entries),
        });
        if !risks.is_empty() {
            document["risk"] = rules(&risks).into();
        }
        if let Some(on_drift) = pins {
            document["pins"] = serde_json::json!({ "on_drift": on_drift, "tools": {} });
        }
        let Ok(policy) = document.to_string().parse::<Policy>() else {
            return Ok(());
        };
        for action in [
            Action::call_tool(&name),
            Action::get_prompt(&name),
            Action::read_resource(&name),
            Action::other_method(&name),
        ] {
            let slow = policy.inner.rules.decide_name(&action).outcome();
            prop_assert_eq!(policy.shows(&action), slow != Outcome::Hide, "{}", document);
        }
    }
}

proptest! {
    /// Where all that restricts is folded, a name that is, too, is not compared again.
    #[test]
    fn a_folded_name_looks_like_nothing_but_itself(
        hide in prop::collection::vec("[ab]{0,2}[*]?[ab]{1,2}", 0..3),
        entries in prop::collection::btree_map("[abB]{0,2}[*]?[ab]{1,2}", 0..3_usize, 0..4),
        default in prop::sample::select(vec!["allow", "deny", "hide"]),
        name in "[ab]{1,4}|[abAB ]{1,4}",
    ) {
        let actions = ["allow", "deny", "hide"];
        let rule = |action: usize| serde_json::json!({ "action": actions[action] });
        let entries = entries.iter().map(|(key, action)| (key.clone(), rule(*action)));
        let entries: serde_json::Map<_, _> = entries.collect();
        let document = serde_json::json!({
            "version": "1", "default": default, "hide": hide,
            "tools": entries, "prompts": entries,
        });
        let document = document.to_string();
        // Some have ties, and are no policies.
        let (Ok(policy), Ok(mut slow)) = (document.parse::<Policy>(), document.parse::<Policy>()) else {
            return Ok(());
        };
        let rules = &mut std::sync::Arc::get_mut(&mut slow.inner).unwrap().rules;
        rules.tools.is_folded = false;
        rules.prompts.is_folded = false;
        for action in [Action::call_tool(&name), Action::get_prompt(&name)] {
            for names in [Names::All, Names::Patterns] {
                let decide = |policy: &Policy| {
                    let decision = policy.inner.rules.decide(&action, names, &mut Unwatched);
                    format!("{decision:?}")
                };
                prop_assert_eq!(decide(&policy), decide(&slow), "{}", document);
            }
        }
    }
}

proptest! {
    /// A hidden name is answered in the words for one that is nowhere in the
    /// document: so these have to be the words that such a name gets.
    #[test]
    fn a_name_that_nothing_names_is_refused_in_the_same_words(
        hide in prop::collection::vec("[ab]{0,2}[*]?[ab]{1,2}", 0..3),
        entries in prop::collection::btree_map("[abB]{0,2}[*]?[abB]{1,2}", 0..3_usize, 0..4),
        default in prop::sample::select(vec!["deny", "hide"]),
        name in "[abAB]{1,4}",
    ) {
        let actions = ["allow", "deny", "hide"];
        let tools: serde_json::Map<_, _> = entries
            .iter()
            .map(|(key, action)| (key.clone(), serde_json::json!({ "action": actions[*action] })))
            .collect();
        let document = serde_json::json!({
            "version": "1", "default": default, "hide": hide, "tools": tools,
        });
        // Some have ties, and are no policies.
        let Ok(policy) = document.to_string().parse::<Policy>() else {
            return Ok(());
        };
        let action = Action::call_tool(&name);
        let decision = policy.decide(&action);
        if decision.outcome() == Outcome::Deny && !entries.contains_key(&name) {
            let rules = &policy.inner.rules;
            let unnamed = rules.decide(&action, Names::Patterns, &mut Unwatched);
            prop_assert_eq!(unnamed, decision, "{}", document);
        }
    }
}
