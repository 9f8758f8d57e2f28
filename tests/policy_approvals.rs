//! Which calls somebody has to approve first, through the public API.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use mcp_policy::{Action, ApprovalDemand, Approver, Caller, Decision, Outcome, Policy};
use serde_json::{Value, json};

/// A policy with these members.
fn policy(members: Value) -> Policy {
    let mut document = json!({ "version": "1", "default": "deny" });
    let all = document.as_object_mut().unwrap();
    all.extend(members.as_object().unwrap().clone());
    document.to_string().parse().unwrap()
}

fn condition(path: &str, op: &str, value: Value) -> Value {
    json!({ "path": path, "op": op, "value": value })
}

fn decide<'p>(policy: &'p Policy, tool: &str, arguments: &str) -> Decision<'p> {
    policy.decide(&Action::call_tool(tool).with_arguments(arguments).unwrap())
}

/// The places of the rules that ask about a call; empty if it is allowed.
#[track_caller]
fn asking<'p>(decision: &Decision<'p>) -> Vec<&'p str> {
    let Some(demand) = decision.approval() else {
        assert!(decision.is_allowed(), "{decision:?}");
        return Vec::new();
    };
    assert_eq!(decision.outcome(), Outcome::Ask);
    assert!(!decision.is_allowed());
    let rules: Vec<&str> = demand.rules().collect();
    assert_eq!(rules.first(), Some(&decision.rule()));
    rules
}

/// What is asked about a call of the tool `t` with this rule.
fn demand_of(rule: Value) -> (Approver, Duration, Option<String>) {
    let policy = policy(json!({ "tools": { "t": rule } }));
    let decision = decide(&policy, "t", "{}");
    assert_eq!(asking(&decision), ["/tools/t/require_approval"]);
    let demand = decision.approval().unwrap();
    let reason = demand.reason().map(str::to_owned);
    (demand.approver(), demand.expires(), reason)
}

#[test]
fn what_is_not_written_is_an_operator_and_ten_minutes() {
    let default = (Approver::Operator, Duration::from_secs(600), None);
    assert_eq!(demand_of(json!({ "require_approval": true })), default);
    assert_eq!(demand_of(json!({ "require_approval": {} })), default);
    assert_eq!(demand_of(json!({ "action": "require_approval" })), default);
    let written = json!({ "reason": "R", "expires": 5, "approver": "caller" });
    let expected = (
        Approver::Caller,
        Duration::from_secs(5),
        Some("R".to_owned()),
    );
    assert_eq!(demand_of(json!({ "require_approval": written })), expected);
    let short = json!({ "action": "require_approval", "reason": "S" });
    assert_eq!(demand_of(short).2.as_deref(), Some("S"));
    // That reason is of an action that does not ask.
    let beside = json!({ "require_approval": true, "reason": "S" });
    assert_eq!(demand_of(beside).2, None);
}

/// With these conditions.
fn asks_if(conditions: Value, arguments: &str) -> bool {
    let approval = json!({ "conditions": conditions });
    let policy = policy(json!({ "tools": { "t": { "require_approval": approval } } }));
    !asking(&decide(&policy, "t", arguments)).is_empty()
}

#[test]
fn whatever_is_not_surely_false_asks() {
    for (path, op, value, arguments, asks) in [
        ("args.a", "gt", json!(5), r#"{"a":6}"#, true),
        ("args.a", "gt", json!(5), r#"{"a":5}"#, false),
        ("args.a", "gt", json!(5), r#"{"a":"4"}"#, true),
        ("args.a", "gt", json!(5), r#"{"A":4}"#, true),
        ("args.a", "gt", json!(5), r#"{"a":4,"A":4}"#, true),
        (
            "args.a",
            "gt",
            json!(5),
            r#"{"a":4.00000000000000000001}"#,
            true,
        ),
        // What is missing is undecidable here, whatever the operator is,
        ("args.a", "gt", json!(5), "{}", true),
        ("args.a.b", "eq", json!(5), "{}", true),
        ("args.a", "neq", json!(5), "{}", true),
        ("args.a", "regex", json!("x"), "{}", true),
        ("args.a[1]", "eq", json!(5), r#"{"a":[4]}"#, true),
        // but whether it exists.
        ("args.a", "exists", json!(true), "{}", false),
        ("args.a", "exists", json!(false), "{}", true),
        ("args.a", "exists", json!(true), r#"{"a":1}"#, true),
        // Any element asks, and none does not.
        ("args.a[*]", "eq", json!(5), r#"{"a":[4,5]}"#, true),
        ("args.a[*]", "eq", json!(5), r#"{"a":[4,4]}"#, false),
        ("args.a[*]", "eq", json!(5), r#"{"a":[4,"5"]}"#, true),
        ("args.a[*].b", "eq", json!(5), r#"{"a":[{"b":4},{}]}"#, true),
        ("args.a[*]", "eq", json!(5), r#"{"a":[]}"#, false),
        ("args.a[*]", "eq", json!(5), r#"{"a":4}"#, true),
        ("args.a[*]", "eq", json!(5), "{}", true),
        ("caller.id", "eq", json!("x"), "{}", false),
        ("tool.name", "eq", json!("t"), "{}", true),
    ] {
        let said = format!("{path} {op} {value} of {arguments}");
        let conditions = json!([condition(path, op, value)]);
        assert_eq!(asks_if(conditions, arguments), asks, "{said}");
    }
}

#[test]
fn one_condition_that_is_false_asks_nobody() {
    let both = json!([
        condition("args.a", "eq", json!(1)),
        condition("args.b", "eq", json!(1)),
    ]);
    assert!(asks_if(both.clone(), r#"{"a":1,"b":1}"#));
    assert!(asks_if(both.clone(), r#"{"a":1}"#));
    assert!(!asks_if(both.clone(), r#"{"a":1,"b":2}"#));
    assert!(!asks_if(both, r#"{"b":2}"#));
}

#[test]
fn who_calls_can_tell_whether_to_ask() {
    let approval = json!({ "conditions": [condition("caller.id", "neq", json!("ann"))] });
    let policy = policy(json!({ "tools": { "t": { "require_approval": approval } } }));
    let (ann, bob) = (Caller::new("ann"), Caller::new("bob"));
    assert!(policy.decide(&Action::call_tool("t").by(&ann)).is_allowed());
    assert!(!asking(&policy.decide(&Action::call_tool("t").by(&bob))).is_empty());
}

#[test]
fn every_refusal_goes_before_every_question() {
    let check = |path: &str| json!([{ "conditions": [condition(path, "eq", json!(true))] }]);
    let by = json!({ "counter": "c", "window": "day", "max": 1, "increment_from": "args.n" });
    let policy = policy(json!({
        "all_tools": { "require_approval": true },
        "tools": {
            "t": { "deny_if": check("args.denied"), "require": check("args.required"),
                   "limits": [by], "require_approval": true },
            "denied": { "action": "deny" },
        },
    }));
    for (tool, arguments, rule) in [
        ("other", "{}", "(default deny)"),
        ("denied", "{}", "/tools/denied/action"),
        ("t", r#"{"denied":true}"#, "/tools/t/deny_if/args.denied-eq"),
        ("t", "{}", "/tools/t/require/args.required-eq"),
        ("t", r#"{"required":true}"#, "/tools/t/limits/c"),
    ] {
        let decision = decide(&policy, tool, arguments);
        assert_eq!(decision.outcome(), Outcome::Deny, "{tool} {arguments}");
        assert_eq!(decision.rule(), rule);
        assert_eq!(decision.approval(), None);
        assert_eq!(decision.quotas().count(), 0);
    }
    // Whoever asks later whether there is enough left has to know how much.
    let decision = decide(&policy, "t", r#"{"required":true,"n":3}"#);
    let expected = ["/all_tools/require_approval", "/tools/t/require_approval"];
    assert_eq!(asking(&decision), expected);
    let spent: Vec<String> = decision.quotas().map(|(_, n)| n.to_string()).collect();
    assert_eq!(spent, ["3"]);
    assert_eq!(decision.reason(), None);
}

#[test]
fn several_rules_ask_for_one_approval() {
    let demand = |all: Value, own: Value| {
        let policy = policy(json!({
            "all_tools": { "require_approval": all },
            "tools": { "t": { "require_approval": own } },
        }));
        let decision = decide(&policy, "t", r#"{"a":1}"#);
        let demand = decision.approval().unwrap();
        (
            demand.approver(),
            demand.expires().as_secs(),
            demand.reason().map(str::to_owned),
        )
    };
    let caller = |expires: u32, reason: &str| json!({ "approver": "caller", "expires": expires, "reason": reason });
    let operator = |expires: u32, reason: &str| json!({ "expires": expires, "reason": reason });
    let said = |text: &str| Some(text.to_owned());
    assert_eq!(
        demand(caller(9, "A."), operator(7, "B.")),
        (Approver::Operator, 7, said("A. B."))
    );
    assert_eq!(
        demand(operator(7, "A."), caller(9, "A.")),
        (Approver::Operator, 7, said("A."))
    );
    assert_eq!(
        demand(caller(7, "A."), caller(9, "B.")),
        (Approver::Caller, 7, said("A. B."))
    );
    // Ten minutes are shorter than an hour, and longer than one.
    assert_eq!(demand(caller(3_600, "A."), json!(true)).1, 600);
    assert_eq!(demand(json!(true), caller(60, "A.")).1, 60);
    // The one that does not ask has no say.
    let silent = json!({ "expires": 1, "reason": "B.", "conditions": [condition("args.a", "eq", json!(2))] });
    assert_eq!(
        demand(caller(9, "A."), silent),
        (Approver::Caller, 9, said("A."))
    );
}

fn digest(policy: &Policy, tool: &str, arguments: &str) -> String {
    let decision = decide(policy, tool, arguments);
    decision
        .approval()
        .map_or_else(String::new, |demand| demand.digest().to_owned())
}

#[test]
fn the_digest_changes_with_what_asks_and_with_nothing_else() {
    let of = |document: Value| digest(&policy(document), "t", r#"{"a":1}"#);
    let asks = json!({ "reason": "R", "conditions": [condition("args.a", "eq", json!(1))] });
    let one = of(json!({ "tools": { "t": { "require_approval": asks } } }));
    assert!(one.starts_with("sha256:") && one.len() == 71, "{one}");
    let elsewhere = json!({
        "name": "n", "description": "d", "default": "allow", "hide": ["z"],
        "all_tools": { "limits": [], "require_approval":
            { "conditions": [condition("args.a", "eq", json!(2))] } },
        "tools": { "*": { "require_approval": asks, "description": "d", "rate_limit": "9/day",
                          "deny_if": [{ "conditions": [condition("args.x", "eq", json!(1))] }] } },
    });
    assert_eq!(of(elsewhere), one);
    let text = r#"{"version":"1","default":"deny","tools":{"t":{"require_approval":{
        "conditions":[{"value":1.0e0,"op":"eq","path":"args.a"}], "approver":"operator",
        "\u0072eason":"R"}}}}"#;
    assert_eq!(digest(&text.parse().unwrap(), "t", r#"{"a":1}"#), one);
    for edit in [
        json!({ "reason": "S" }),
        json!({ "expires": 599 }),
        json!({ "approver": "caller" }),
        json!({ "conditions": [] }),
        json!({ "conditions": [condition("args.a", "eq", json!(1)), condition("args.a", "exists", json!(true))] }),
        json!({ "conditions": [condition("args.a", "lte", json!(1))] }),
    ] {
        let mut edited = asks.clone();
        let members = edited.as_object_mut().unwrap();
        members.extend(edit.as_object().unwrap().clone());
        let edited = of(json!({ "tools": { "t": { "require_approval": edited } } }));
        assert!(!edited.is_empty());
        assert_ne!(edited, one, "{edit}");
    }
    // Of several each counts, and their order.
    let two = |all: &Value, own: &Value| {
        of(json!({ "all_tools": { "require_approval": all },
                   "tools": { "t": { "require_approval": own } } }))
    };
    let other = json!({ "reason": "O" });
    let all = [
        one,
        two(&asks, &other),
        two(&other, &asks),
        two(&other, &json!(true)),
        two(&other, &other),
    ];
    for (index, digest) in all.iter().enumerate() {
        assert!(digest.len() == 71 && !all[..index].contains(digest));
    }
}

fn dispatching(all_tools: Value) -> Policy {
    policy(json!({
        "hide": ["secret", "pay_secret"],
        "all_tools": all_tools,
        "tools": {
            "batch": { "unwrap": { "name": "args.calls[*].tool", "arguments": "args.calls[*].input" } },
            "asking_batch": { "unwrap": { "name": "args.calls[*].tool", "arguments": "args.calls[*].input" },
                              "require_approval": { "reason": "B.", "approver": "caller", "expires": 50 } },
            "read": {},
            "pay": { "require_approval": { "conditions": [condition("args.sum", "gt", json!(5))],
                                           "reason": "P.", "expires": 70 } },
            "pay_*": { "action": "require_approval", "reason": "N." },
            "no": { "action": "deny" },
        },
    }))
}

fn calls(calls: &[(&str, &str)]) -> String {
    let calls: Vec<String> = calls
        .iter()
        .map(|(tool, input)| format!(r#"{{"tool":"{tool}","input":{input}}}"#))
        .collect();
    format!(r#"{{"calls":[{}]}}"#, calls.join(","))
}

#[test]
fn the_calls_inside_a_call_are_approved_with_it() {
    let policy = dispatching(json!({}));
    let (large, small) = (("pay", r#"{"sum":6}"#), ("pay", r#"{"sum":5}"#));
    let read = ("read", "{}");
    let decide = |tool: &str, inside: &[(&str, &str)]| decide(&policy, tool, &calls(inside));

    assert!(decide("batch", &[read, small]).is_allowed());
    let decision = decide("batch", &[read, small, large, ("pay_x", "{}"), large]);
    let expected = [
        "/tools/pay/require_approval",
        "/tools/pay_*/require_approval",
    ];
    assert_eq!(asking(&decision), expected);
    assert_eq!(decision.inner(), Some("pay"));
    let demand = decision.approval().unwrap();
    assert_eq!(demand.reason(), Some("P. N."));
    assert_eq!(demand.expires(), Duration::from_secs(70));

    // A dispatcher asks for itself, whatever it calls.
    let decision = decide("asking_batch", &[large]);
    let expected = [
        "/tools/asking_batch/require_approval",
        "/tools/pay/require_approval",
    ];
    assert_eq!(
        (asking(&decision), decision.inner()),
        (expected.into(), None)
    );
    let demand = decision.approval().unwrap();
    assert_eq!(demand.approver(), Approver::Operator);
    assert_eq!(demand.reason(), Some("B. P."));
    assert_eq!(demand.expires(), Duration::from_secs(50));
    let decision = decide("asking_batch", &[small]);
    assert_eq!(
        decision.approval().map(ApprovalDemand::approver),
        Some(Approver::Caller)
    );

    // The innermost is named.
    let inner = calls(&[read, large]);
    let decision = decide("batch", &[read, ("batch", &inner)]);
    assert_eq!(asking(&decision), ["/tools/pay/require_approval"]);
    assert_eq!(decision.inner(), Some("pay"));

    // One that is refused refuses the whole, though others ask.
    let decision = decide("asking_batch", &[large, ("no", "{}")]);
    assert_eq!(
        (decision.outcome(), decision.rule()),
        (Outcome::Deny, "/tools/no/action")
    );
    assert_eq!(decision.inner(), Some("no"));
    let decision = decide("asking_batch", &[large, ("secret", "{}")]);
    assert_eq!(decision.outcome(), Outcome::Hide);
    assert_eq!(decision.approval(), None);
}

#[test]
fn all_tools_ask_about_the_calls_inside_as_well() {
    let policy = dispatching(json!({ "require_approval": {
        "conditions": [condition("args.force", "exists", json!(true))], "reason": "F."
    } }));
    let decide = |inside: &str| decide(&policy, "batch", &calls(&[("read", inside)]));
    assert!(decide("{}").is_allowed());
    let decision = decide(r#"{"force":1}"#);
    assert_eq!(asking(&decision), ["/all_tools/require_approval"]);
    assert_eq!(decision.inner(), Some("read"));
}

#[test]
fn nobody_is_asked_in_shadow_and_it_is_told_who_would_be() {
    for members in [
        json!({ "tools": { "t": { "require_approval": true, "mode": "shadow" } } }),
        json!({ "tools": { "t": { "action": "require_approval", "mode": "shadow" } } }),
        json!({ "tools": { "t": {} }, "all_tools": { "require_approval": true, "mode": "shadow" } }),
        json!({ "tools": { "t": { "require_approval": true } }, "mode": "shadow" }),
    ] {
        let policy = policy(members);
        let decision = decide(&policy, "t", "{}");
        assert!(decision.is_allowed() && decision.approval().is_none());
        let shadow = decision.shadow().unwrap();
        assert_eq!(asking(shadow).len(), 1, "{shadow:?}");
    }
}

#[test]
fn what_is_asked_besides_in_shadow_is_told() {
    let rule = json!({
        "mode": "shadow",
        "rate_limit": "9/minute",
        "require_approval": { "conditions": [condition("args.a", "eq", json!(1))] },
    });
    let policy = policy(json!({
        "all_tools": { "require_approval": { "conditions": [condition("args.b", "eq", json!(1))] } },
        "tools": { "t": rule },
    }));
    let all = "/all_tools/require_approval";
    let own = "/tools/t/require_approval";
    for (arguments, enforced, written) in [
        (r#"{"a":0,"b":0}"#, vec![], None),
        (r#"{"a":0,"b":1}"#, vec![all], None),
        (r#"{"a":1,"b":0}"#, vec![], Some(vec![own])),
        (r#"{"a":1,"b":1}"#, vec![all], Some(vec![all, own])),
    ] {
        let decision = decide(&policy, "t", arguments);
        assert_eq!(asking(&decision), enforced, "{arguments}");
        assert_eq!(decision.shadow().map(asking), written, "{arguments}");
        // What is in shadow adds up, whoever would be asked.
        assert_eq!(decision.quotas().count(), 1, "{arguments}");
    }
}

#[test]
fn prompts_and_resources_ask_as_well() {
    let policy = policy(json!({
        "all_tools": { "require_approval": true },
        "resources": { "db:*": { "require_approval":
            { "conditions": [condition("resource.uri", "starts_with", json!("db:secret"))] } } },
        "prompts": {
            "letter": { "require_approval": { "conditions": [condition("args.to", "eq", json!("eve"))] } },
            "always": { "action": "require_approval" },
            "free": {},
        },
    }));
    let uri = |uri| policy.decide(&Action::read_resource(uri));
    assert!(uri("db:open").is_allowed());
    assert_eq!(
        asking(&uri("DB:secret/1")),
        ["/resources/db:*/require_approval"]
    );
    let get = |arguments| {
        let action = Action::get_prompt("letter").with_arguments(arguments);
        policy.decide(&action.unwrap())
    };
    assert!(get(r#"{"to":"bob"}"#).is_allowed());
    assert_eq!(
        asking(&get(r#"{"to":"eve"}"#)),
        ["/prompts/letter/require_approval"]
    );
    // Of a completion nothing is known, so that nothing is surely false.
    for name in ["letter", "always"] {
        let decision = policy.decide(&Action::complete_prompt(name));
        assert_eq!(decision.outcome(), Outcome::Ask, "{name}");
    }
    assert!(policy.decide(&Action::complete_prompt("free")).is_allowed());
}

#[test]
fn the_name_alone_asks_where_nothing_else_is_looked_at() {
    let conditional = json!({ "conditions": [condition("args.a", "eq", json!(1))] });
    let policy = policy(json!({ "tools": {
        "always": { "require_approval": true },
        "short": { "action": "require_approval" },
        "sometimes": { "require_approval": conditional },
        "limited": { "require_approval": true, "rate_limit": "1/day" },
        "tried": { "require_approval": true, "mode": "shadow" },
        "free": {},
    } }));
    for (name, outcome, is_conditional) in [
        ("always", Outcome::Ask, false),
        ("short", Outcome::Ask, false),
        ("sometimes", Outcome::Allow, true),
        ("limited", Outcome::Ask, true),
        ("tried", Outcome::Allow, false),
        ("free", Outcome::Allow, false),
        ("other", Outcome::Deny, false),
    ] {
        let action = Action::call_tool(name);
        assert_eq!(policy.decide_name(&action).outcome(), outcome, "{name}");
        assert_eq!(policy.is_conditional(&action), is_conditional, "{name}");
    }
    let for_all = |approval: Value| {
        self::policy(json!({ "default": "allow", "all_tools": { "require_approval": approval } }))
    };
    let action = Action::call_tool("any");
    let always = for_all(json!(true));
    assert_eq!(always.decide_name(&action).outcome(), Outcome::Ask);
    assert!(!always.is_conditional(&action));
    assert!(always.decide_name(&Action::get_prompt("any")).is_allowed());
    let sometimes = for_all(conditional);
    assert!(sometimes.decide_name(&action).is_allowed() && sometimes.is_conditional(&action));
}

#[test]
fn a_name_like_one_that_asks_is_refused() {
    let policy = policy(json!({
        "default": "allow",
        "tools": { "pay": { "require_approval": true }, "free": {} },
    }));
    let said = |name: &str| decide(&policy, name, "{}").outcome();
    assert_eq!(said("pay"), Outcome::Ask);
    assert_eq!([said("PAY"), said("pa y")], [Outcome::Deny; 2]);
    assert_eq!([said("FREE"), said("other")], [Outcome::Allow; 2]);
}

#[test]
fn a_pattern_that_asks_is_chosen_like_one_that_allows() {
    let policy = policy(json!({ "tools": {
        "r*": { "require_approval": true }, "read_*": {}, "write_*": { "action": "require_approval" },
        "w*": {}, "write_no*": { "action": "deny" },
    } }));
    let said = |name: &str| decide(&policy, name, "{}").outcome();
    assert_eq!([said("rest"), said("write_x")], [Outcome::Ask; 2]);
    assert_eq!([said("read_x"), said("wait")], [Outcome::Allow; 2]);
    assert_eq!(said("write_now"), Outcome::Deny);
}

#[test]
fn what_was_looked_at_to_ask_is_remembered_unless_it_was_in_vain() {
    let policy = policy(json!({ "tools": { "t": {
        "require": [{ "conditions": [condition("args.ok", "eq", json!(true))] }],
        "require_approval": { "conditions": [condition("args.a", "eq", json!(1))] },
    } } }));
    let places = |arguments: &str| {
        let decision = decide(&policy, "t", arguments);
        let places: Vec<String> = decision
            .conditions()
            .map(|(place, _)| place.to_owned())
            .collect();
        places
    };
    let require = "/tools/t/require/0/conditions/0";
    let approval = "/tools/t/require_approval/conditions/0";
    assert_eq!(places(r#"{"ok":true,"a":1}"#), [require, approval]);
    assert_eq!(places(r#"{"ok":true,"a":2}"#), [require, approval]);
    assert_eq!(places(r#"{"a":1}"#), [require]);
}

#[test]
fn a_decision_is_written_with_what_it_asks() {
    let policy = policy(json!({
        "all_tools": { "require_approval": { "approver": "caller", "expires": 60 } },
        "tools": { "t": {}, "u": { "action": "require_approval", "reason": "R." } },
    }));
    let written = |tool| serde_json::to_value(decide(&policy, tool, "{}")).unwrap();
    assert_eq!(
        written("t"),
        json!({
            "outcome": "ask", "rule": "/all_tools/require_approval",
            "approval": { "approver": "caller", "expires": 60, "rules": ["/all_tools/require_approval"] },
        })
    );
    assert_eq!(
        written("u")["approval"],
        json!({
            "approver": "operator", "expires": 60, "reason": "R.",
            "rules": ["/all_tools/require_approval", "/tools/u/require_approval"],
        })
    );
}

#[test]
fn a_condition_on_what_no_tool_takes_is_told() {
    let tools = [
        json!({ "name": "pay", "inputSchema": { "type": "object", "properties": {
        "sum": { "type": "number" } } } }),
    ];
    let found = |path: &str, value: Value| {
        let approval = json!({ "conditions": [condition(path, "eq", value)] });
        let policy = policy(json!({ "tools": { "pay": { "require_approval": approval } } }));
        let found = policy.check_tools(&tools);
        let places: Vec<String> = found.iter().map(|told| told.pointer().to_owned()).collect();
        places
    };
    let place = "/tools/pay/require_approval/conditions/0";
    assert_eq!(found("args.sum", json!(1)), [""; 0]);
    assert_eq!(found("args.smu", json!(1)), [format!("{place}/path")]);
    assert_eq!(found("args.sum", json!("1")), [format!("{place}/value")]);
}

#[test]
fn a_hidden_call_inside_is_named_like_one_that_nothing_names() {
    // By a pattern that asks, and by a dispatcher that cannot be counted.
    let policy = policy(json!({ "hide": ["pay_secret"], "tools": {
        "pay_*": { "action": "require_approval" },
        "batch": { "unwrap": { "name": "args.calls[*].tool", "arguments": "args.calls[*].input" } },
    } }));
    let decision = decide(&policy, "batch", &calls(&[("pay_secret", "{}")]));
    assert_eq!(
        (decision.outcome(), decision.inner()),
        (Outcome::Hide, Some("pay_secret"))
    );
    assert!(decision.approval().is_none() && decision.quotas().count() == 0);
}
