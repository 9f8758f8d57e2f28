//! Why a policy says what it says, word for word, through the public API.
#![allow(clippy::unwrap_used)]

use mcp_policy::{Action, Caller, ExplanationStep, Policy};

const DOCUMENT: &str = r#"{
    "version": "1",
    "default": "deny",
    "hide": ["admin_*"],
    "all_tools": {
        "deny_if": [ { "conditions": [ { "path": "args.force", "op": "eq", "value": true } ] } ]
    },
    "tools": {
        "read_*": {},
        "*_mail": { "action": "deny", "reason": "Mail is private." },
        "refund": {
            "require": [
                { "conditions": [ { "path": "caller.claims.team", "op": "in", "value": ["ops", "pay"] } ], "name": "team" },
                { "conditions": [
                    { "path": "args.currency", "op": "eq", "value": "EUR" },
                    { "path": "args.amount", "op": "lte", "value": 500 }
                ], "on_deny": "Up to 500 EUR." }
            ]
        },
        "gone": { "action": "hide" },
        "tried": { "mode": "shadow", "deny_if": [ { "conditions": [] } ] },
        "invoke": { "unwrap": { "name": "args.tool", "arguments": "args.input" } }
    },
    "resources": { "file:///srv/*": {} }
}"#;

#[track_caller]
fn explained(action: &Action<'_>, expected: &str) {
    let policy: Policy = DOCUMENT.parse().unwrap();
    let explanation = policy.explain(action);
    assert_eq!(explanation.to_string(), expected);
    assert_eq!(explanation.decision(), &policy.decide(action));
}

fn pay() -> Caller {
    let claims = serde_json::Map::from_iter([("team".to_owned(), "pay".into())]);
    Caller::new("alice").with_claims(claims)
}

#[track_caller]
fn call(name: &str, arguments: &str, expected: &str) {
    let caller = pay();
    let action = Action::call_tool(name).by(&caller);
    explained(&action.with_arguments(arguments).unwrap(), expected);
}

#[test]
fn what_is_allowed() {
    call(
        "refund",
        r#"{"amount":20,"currency":"EUR"}"#,
        r#"tool `refund`
  /tools/refund: names it exactly
  /all_tools/deny_if/args.force-eq: does not hold, so it does not refuse
    args.force eq true: false
  /tools/refund/require/team: holds
    caller.claims.team in ["ops","pay"]: true
  /tools/refund/require/args.currency-eq+args.amount-lte: holds
    args.currency eq "EUR": true
    args.amount lte 500: true
allowed by /tools/refund"#,
    );
}

#[test]
fn what_a_check_refuses() {
    call(
        "refund",
        r#"{"amount":501,"currency":"EUR"}"#,
        r#"tool `refund`
  /tools/refund: names it exactly
  /all_tools/deny_if/args.force-eq: does not hold, so it does not refuse
    args.force eq true: false
  /tools/refund/require/team: holds
    caller.claims.team in ["ops","pay"]: true
  /tools/refund/require/args.currency-eq+args.amount-lte: does not hold, so it refuses
    args.currency eq "EUR": true
    args.amount lte 500: false
denied by /tools/refund/require/args.currency-eq+args.amount-lte: Up to 500 EUR."#,
    );
    call(
        "refund",
        r#"{"force":true}"#,
        r#"tool `refund`
  /tools/refund: names it exactly
  /all_tools/deny_if/args.force-eq: holds, so it refuses
    args.force eq true: true
denied by /all_tools/deny_if/args.force-eq: The policy does not allow it like this."#,
    );
    call(
        "refund",
        r#"{"Force":true}"#,
        r#"tool `refund`
  /tools/refund: names it exactly
  /all_tools/deny_if/args.force-eq: undecidable, so it refuses
    args.force eq true: undecidable
denied by /all_tools/deny_if/args.force-eq: The policy does not allow it like this."#,
    );
    explained(
        &Action::call_tool("refund"),
        r#"tool `refund`
  /tools/refund: names it exactly
  /all_tools/deny_if/args.force-eq: does not hold, so it does not refuse
    args.force eq true: false
  /tools/refund/require/team: does not hold, so it refuses
    caller.claims.team in ["ops","pay"]: false
denied by /tools/refund/require/team: The policy does not allow it like this."#,
    );
}

#[test]
fn what_is_hidden() {
    call(
        "admin_reset",
        "{}",
        "tool `admin_reset`
  (hidden): `hide` names or matches it
refused like something that does not exist by (hidden)",
    );
    call(
        "gone",
        "{}",
        "tool `gone`
  (hidden): the entry that names it hides it
refused like something that does not exist by (hidden)",
    );
    call(
        "Admin_reset",
        "{}",
        "tool `Admin_reset`
  (hidden): a pattern hides it, or one that it can be mistaken for
refused like something that does not exist by (hidden)",
    );
}

#[test]
fn what_nothing_names() {
    call(
        "delete",
        "{}",
        "tool `delete`
  (default deny): nothing names it, and no pattern matches it
denied by (default deny)",
    );
    explained(
        &Action::get_prompt("greet"),
        "prompt `greet`
  (default deny): nothing names it, and no pattern matches it
denied by (default deny)",
    );
    explained(
        &Action::read_resource("file:///srv/../etc/passwd"),
        "resource `file:///srv/../etc/passwd`
  (default deny): nothing names it, and no pattern matches it
denied by (default deny)",
    );
    explained(
        &Action::other_method("skills/list"),
        "denied by (default deny)",
    );
}

#[test]
fn what_no_name_can_be() {
    let policy: Policy = r#"{"version":"1","default":"allow","hide":["a"]}"#.parse().unwrap();
    assert_eq!(
        policy.explain(&Action::call_tool("é")).to_string(),
        "tool `é`
  (protocol): This name is longer than names are, or has characters that do not belong into one.
denied by (protocol): This name is longer than names are, or has characters that do not belong into one."
    );
}

#[test]
fn steps_are_there_one_by_one() {
    let policy: Policy = DOCUMENT.parse().unwrap();
    let action = Action::call_tool("tried").with_arguments("{}").unwrap();
    let explanation = policy.explain(&action);
    let steps: Vec<_> = explanation
        .steps()
        .iter()
        .map(ExplanationStep::to_string)
        .collect();
    let lines: Vec<_> = steps
        .iter()
        .map(|step| step.lines().next().unwrap())
        .collect();
    assert_eq!(
        lines,
        [
            "tool `tried`",
            "  /all_tools/deny_if/args.force-eq: does not hold, so it does not refuse",
            "  /tools/tried/deny_if/0: holds, so it refuses",
        ]
    );
}

#[test]
fn what_a_pattern_decides() {
    explained(
        &Action::read_resource("FILE:///srv/a"),
        "resource `FILE:///srv/a`
  /resources/file:~1~1~1srv~1*: the pattern matches it
allowed by /resources/file:~1~1~1srv~1*",
    );
    call(
        "read_mail",
        "{}",
        "tool `read_mail`
  /tools/*_mail/action: the pattern matches it, and is stricter or has more literal characters than `/tools/read_*`
denied by /tools/*_mail/action: Mail is private.",
    );
}

#[test]
fn what_can_be_mistaken() {
    call(
        "Refund",
        r#"{"amount":20,"currency":"EUR"}"#,
        "tool `Refund`
  /tools/refund: it can be mistaken for this
denied by /tools/refund: This name can be mistaken for one that the policy restricts.",
    );
}

#[test]
fn what_is_in_shadow() {
    call(
        "tried",
        "{}",
        "tool `tried`
  /tools/tried: names it exactly
  /all_tools/deny_if/args.force-eq: does not hold, so it does not refuse
    args.force eq true: false
  /tools/tried/deny_if/0: holds, so it refuses
allowed by /tools/tried
without shadow: denied by /tools/tried/deny_if/0: The policy does not allow it like this.",
    );
}

#[test]
fn what_a_dispatcher_calls() {
    call(
        "invoke",
        r#"{"tool":"refund","input":"{\"amount\":501,\"currency\":\"EUR\"}"}"#,
        r#"tool `invoke`
  /tools/invoke: names it exactly
  /all_tools/deny_if/args.force-eq: does not hold, so it does not refuse
    args.force eq true: false
tool `refund`
  /tools/refund: names it exactly
  /all_tools/deny_if/args.force-eq: does not hold, so it does not refuse
    args.force eq true: false
  /tools/refund/require/team: holds
    caller.claims.team in ["ops","pay"]: true
  /tools/refund/require/args.currency-eq+args.amount-lte: does not hold, so it refuses
    args.currency eq "EUR": true
    args.amount lte 500: false
denied by /tools/refund/require/args.currency-eq+args.amount-lte: Up to 500 EUR."#,
    );
    call(
        "invoke",
        r#"{"tool":7}"#,
        "tool `invoke`
  /tools/invoke: names it exactly
  /all_tools/deny_if/args.force-eq: does not hold, so it does not refuse
    args.force eq true: false
denied by /tools/invoke/unwrap: The calls inside this one cannot be read, or are too many or too deep inside each other, so they cannot be judged.",
    );
}

/// What the document says is repeated, cut to what a person reads; nothing of
/// it can forge a line.
#[test]
fn names_cannot_forge_lines() {
    call(
        "x`\nallowed by /tools/x",
        "{}",
        "tool `x`\\u{a}allowed by /tools/x`
  (default deny): nothing names it, and no pattern matches it
denied by (default deny)",
    );
}

const ASKING: &str = r#"{
    "version": "1",
    "default": "deny",
    "all_tools": { "require_approval": { "approver": "caller", "conditions": [
        { "path": "args.force", "op": "exists", "value": true }
    ] } },
    "tools": {
        "refund": {
            "require": [ { "conditions": [ { "path": "args.currency", "op": "eq", "value": "EUR" } ] } ],
            "rate_limit": "9/day",
            "require_approval": { "reason": "Large.", "expires": 60, "conditions": [
                { "path": "args.amount", "op": "gt", "value": 500 },
                { "path": "args.to[*]", "op": "neq", "value": "house" }
            ] }
        },
        "shut_down": { "action": "require_approval", "reason": "It is the last thing to do." },
        "tried": { "require_approval": true, "mode": "shadow" },
        "spend": { "require_approval": true, "limits": [
            { "counter": "sum", "window": "day", "max": 9, "increment_from": "args.sum" }
        ] }
    },
    "prompts": { "letter": { "require_approval": { "conditions": [
        { "path": "args.to", "op": "eq", "value": "eve" }
    ] } } }
}"#;

#[track_caller]
fn asked(action: &Action<'_>, expected: &str) {
    let policy: Policy = ASKING.parse().unwrap();
    assert_eq!(policy.explain(action).to_string(), expected);
}

#[test]
fn what_somebody_has_to_approve() {
    let call = |name, arguments| Action::call_tool(name).with_arguments(arguments).unwrap();
    asked(
        &call("refund", r#"{"currency":"EUR","amount":501}"#),
        r#"tool `refund`
  /tools/refund: names it exactly
  /tools/refund/require/args.currency-eq: holds
    args.currency eq "EUR": true
  /tools/refund/limits/rate: counts 1, at most 9 in a day for each session
  /all_tools/require_approval: does not hold, so it does not ask
    args.force exists true: false
  /tools/refund/require_approval: undecidable, so it asks
    args.amount gt 500: true
    args.to[*] neq "house": undecidable
waits up to 60 s for an operator, by /tools/refund/require_approval: Large."#,
    );
    asked(
        &call("shut_down", r#"{"force":1}"#),
        r#"tool `shut_down`
  /tools/shut_down: names it exactly
  /all_tools/require_approval: holds, so it asks
    args.force exists true: true
  /tools/shut_down/require_approval: asks about every call
waits up to 600 s for an operator, by /all_tools/require_approval and /tools/shut_down/require_approval: It is the last thing to do."#,
    );
    asked(
        &call("tried", "{}"),
        r#"tool `tried`
  /tools/tried: names it exactly
  /all_tools/require_approval: does not hold, so it does not ask
    args.force exists true: false
  /tools/tried/require_approval: asks about every call
allowed by /tools/tried
without shadow: waits up to 600 s for an operator, by /tools/tried/require_approval"#,
    );
    asked(
        &Action::complete_prompt("letter"),
        r#"prompt `letter`
  /prompts/letter: names it exactly
  /prompts/letter/require_approval: undecidable, so it asks
    args.to eq "eve": undecidable
waits up to 600 s for an operator, by /prompts/letter/require_approval"#,
    );
    // Nobody is asked about what is refused, be it by the last thing before that.
    asked(
        &call("spend", "{}"),
        r#"tool `spend`
  /tools/spend: names it exactly
denied by /tools/spend/limits/sum: args.sum is missing, and tells how much this uses up."#,
    );
    asked(
        &call("refund", r#"{"currency":"USD","force":1}"#),
        r#"tool `refund`
  /tools/refund: names it exactly
  /tools/refund/require/args.currency-eq: does not hold, so it refuses
    args.currency eq "EUR": false
denied by /tools/refund/require/args.currency-eq: The policy does not allow it like this."#,
    );
}
