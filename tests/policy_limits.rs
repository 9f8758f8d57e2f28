//! What a call uses up of the limits of its policy, through the public API.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use mcp_policy::{
    Action, Amount, CalendarUnit, Caller, Decision, DefaultAction, Limit, LimitScope, LimitWindow,
    MaxConcurrent, OnStoreError, Outcome, Period, Policy, PolicyDocument, RateLimit, Rule,
    WindowReset,
};
use serde_json::{Value, json};

/// A policy with these members.
fn policy(members: Value) -> Policy {
    let mut document = json!({ "version": "1", "default": "deny" });
    let all = document.as_object_mut().unwrap();
    all.extend(members.as_object().unwrap().clone());
    document.to_string().parse().unwrap()
}

/// A limit that counts by this path.
fn by(path: &str) -> Value {
    json!({ "counter": "spend", "window": "day", "max": 10, "increment_from": path })
}

/// Place and amount of everything that is used up.
fn spent(decision: &Decision<'_>) -> Vec<(String, String)> {
    let quotas = decision.quotas();
    let all = quotas.map(|(quota, amount)| (quota.place().to_owned(), amount.to_string()));
    all.collect()
}

fn spends<const N: usize>(decision: &Decision<'_>, expected: [(&str, &str); N]) {
    assert!(decision.is_allowed(), "{decision:?}");
    let expected = expected.map(|(place, amount)| (place.to_owned(), amount.to_owned()));
    assert_eq!(spent(decision), expected);
}

/// What a call with these arguments counts by this path, or why it is refused.
fn counted(path: &str, arguments: &str) -> Result<String, String> {
    let policy = policy(json!({ "tools": { "t": { "limits": [by(path)] } } }));
    let call = Action::call_tool("t").with_arguments(arguments).unwrap();
    let decision = policy.decide(&call);
    if decision.is_allowed() {
        let all = spent(&decision);
        // What counts nothing is not asked for.
        let amount = all.first().map(|(_, amount)| amount.clone());
        return Ok(amount.unwrap_or_else(|| "0".to_owned()));
    }
    assert_eq!(decision.outcome(), Outcome::Deny);
    assert_eq!(decision.rule(), "/tools/t/limits/spend");
    assert!(spent(&decision).is_empty());
    Err(decision.reason().unwrap().to_owned())
}

#[test]
fn amounts_are_exact() {
    for (token, amount) in [
        ("0", "0"),
        ("-0", "0"),
        ("-0.0e2", "0"),
        ("1", "1"),
        ("1.0", "1"),
        ("12.5", "12.5"),
        ("1e2", "100"),
        ("0.1", "0.1"),
        ("0.000001", "0.000001"),
        // Never less than was asked for.
        ("0.0000001", "0.000001"),
        ("5e-324", "0.000001"),
        ("1.0000001", "1.000001"),
        ("0.30000000000000004", "0.300001"),
        ("2000000.123456", "2000000.123456"),
        ("9000000000000", "9000000000000"),
        ("9e12", "9000000000000"),
        ("8999999999999.5", "8999999999999.5"),
    ] {
        let arguments = format!(r#"{{"a":{token}}}"#);
        assert_eq!(
            counted("args.a", &arguments),
            Ok(amount.to_owned()),
            "{token}"
        );
    }
}

#[test]
fn what_does_not_tell_how_much_is_refused() {
    let missing = "args.a is missing, and tells how much this uses up.";
    let unreadable = "args.a tells how much this uses up: it has to be a JSON number that every \
                      reader takes for the same value, and no other member may look like it.";
    let negative = "args.a tells how much this uses up, so it cannot be less than 0.";
    let too_much = "args.a tells how much this uses up, and is too much to count.";
    for (arguments, reason) in [
        ("{}", missing),
        (r#"{"b":1}"#, missing),
        (r#"{"a":null}"#, unreadable),
        (r#"{"a":"100"}"#, unreadable),
        (r#"{"a":true}"#, unreadable),
        (r#"{"a":[1]}"#, unreadable),
        (r#"{"a":{"a":1}}"#, unreadable),
        (r#"{"a":9007199254740993}"#, unreadable),
        (r#"{"a":1.00000000000000000001}"#, unreadable),
        (r#"{"a":1,"A":2}"#, unreadable),
        (r#"{"a_":1}"#, unreadable),
        (r#"{"a":1,"__proto__":{}}"#, unreadable),
        (r#"{"a":-1}"#, negative),
        (r#"{"a":-0.0000001}"#, negative),
        (r#"{"a":-1e308}"#, negative),
        (r#"{"a":9000000000000.5}"#, too_much),
        (r#"{"a":9000000000001}"#, too_much),
        (r#"{"a":1e300}"#, too_much),
        (r#"{"a":1e308}"#, too_much),
    ] {
        assert_eq!(
            counted("args.a", arguments),
            Err(reason.to_owned()),
            "{arguments}"
        );
    }
    // No reader of messages lets it come so far.
    let infinite = Action::call_tool("t").with_arguments(r#"{"a":1e400}"#);
    assert!(infinite.is_err());
}

#[test]
fn lists_are_added_up() {
    let many = |count: usize| format!(r#"{{"a":[{}]}}"#, vec!["0.1"; count].join(","));
    for (path, arguments, amount) in [
        ("args.a[*]", r#"{"a":[]}"#, "0"),
        ("args.a[*]", r#"{"a":[1,2.5,1e-6]}"#, "3.500001"),
        ("args.a[*].b", r#"{"a":[{"b":1},{"b":2,"c":9}]}"#, "3"),
        ("args.a[1]", r#"{"a":[1,2]}"#, "2"),
        ("args[\"a.b\"]", r#"{"a.b":4}"#, "4"),
        ("args.a[*]", &many(1_000), "100"),
        // Each is rounded up by itself.
        ("args.a[*]", r#"{"a":[1e-7,1e-7]}"#, "0.000002"),
        ("args.a[*]", r#"{"a":[9e12,0]}"#, "9000000000000"),
    ] {
        assert_eq!(counted(path, arguments), Ok(amount.to_owned()), "{path}");
    }
    for (path, arguments, word) in [
        ("args.a[*]", "{}", "missing"),
        ("args.a[*]", r#"{"a":1}"#, "JSON number"),
        ("args.a[*]", r#"{"a":[1,"2"]}"#, "JSON number"),
        ("args.a[*]", r#"{"a":[5,-1]}"#, "less than 0"),
        ("args.a[*].b", r#"{"a":[{"b":1},{}]}"#, "missing"),
        (
            "args.a[*].b",
            r#"{"a":[{"b":1},{"b":1,"B":2}]}"#,
            "look like it",
        ),
        ("args.a[1]", r#"{"a":[1]}"#, "missing"),
        ("args.a[*]", r#"{"a":[9e12,0.000001]}"#, "too much"),
        ("args.a[*]", &many(1_001), "more than 1000 elements"),
    ] {
        let reason = counted(path, arguments).unwrap_err();
        assert!(reason.contains(word), "{path} in {arguments}: {reason}");
        assert!(reason.starts_with(path), "{reason}");
    }
}

#[test]
fn a_reason_has_no_value_in_it() {
    for arguments in [r#"{"a":-4711}"#, r#"{"a":"4711"}"#, r#"{"a":4711e300}"#] {
        assert!(!counted("args.a", arguments).unwrap_err().contains("4711"));
    }
    let policy = policy(json!({ "tools": { "t": { "limits": [by("args.a")] } } }));
    let call = Action::call_tool("t")
        .with_arguments(r#"{"a":4711}"#)
        .unwrap();
    let explanation = policy.explain(&call);
    for text in [
        format!("{:?}", policy.decide(&call)),
        format!("{explanation:?}"),
        explanation.to_string(),
        serde_json::to_string(&explanation).unwrap(),
    ] {
        assert!(!text.contains("4711"), "{text}");
    }
}

#[test]
fn callers_can_weigh_more_and_clients_cannot_say_so() {
    let policy = policy(json!({
        "tools": { "t": { "limits": [by("caller.claims.weight")] } },
        "resources": { "x:/*": { "limits": [by("caller.claims.weight")] } },
    }));
    let claims = json!({ "weight": 3 });
    let heavy = Caller::new("a").with_claims(claims.as_object().unwrap().clone());
    let of = |action: Action<'_>| policy.decide(&action.by(&heavy));
    spends(
        &of(Action::call_tool("t")),
        [("/tools/t/limits/spend", "3")],
    );
    let place = "/resources/x:~1*/limits/spend";
    spends(&of(Action::read_resource("x:/a")), [(place, "3")]);
    let anonymous = policy.decide(&Action::read_resource("x:/a"));
    assert_eq!(anonymous.rule(), place);
}

#[test]
fn every_limit_becomes_a_quota() {
    let policy = policy(json!({ "name": "team", "tools": { "t": {
        "limits": [
            { "counter": "a", "window": 30, "max": 0.5, "increment": 0.25, "scope": "server",
              "on_deny": "Wait.", "on_store_error": "allow" },
            { "counter": "b", "window": 3600, "max": 7, "scope": "session", "sessions": 9,
              "reset": "calendar" },
            { "counter": "c", "window": "hour", "max": 8, "scope": "grant" },
            { "counter": "d", "window": "hour", "max": 8, "increment": 0 },
        ],
        "rate_limit": "10/minute",
        "max_concurrent": { "max": 3, "scope": "session" },
    } } }));
    let decision = policy.decide(&Action::call_tool("t"));
    let quotas: Vec<_> = decision.quotas().collect();
    let rolling = |seconds| Period::Rolling(Duration::from_secs(seconds));
    let found: Vec<_> = quotas
        .iter()
        .map(|(quota, amount)| {
            let amounts = (quota.max().to_string(), amount.to_string());
            (quota.place(), quota.period(), amounts, quota.scope())
        })
        .collect();
    let of = |max: &str, amount: &str| (max.to_owned(), amount.to_owned());
    let hour = Period::Calendar(CalendarUnit::Hour);
    assert_eq!(
        found,
        [
            (
                "/tools/t/limits/a",
                rolling(30),
                of("0.5", "0.25"),
                LimitScope::Server
            ),
            ("/tools/t/limits/b", hour, of("7", "1"), LimitScope::Session),
            (
                "/tools/t/limits/c",
                rolling(3600),
                of("8", "1"),
                LimitScope::Caller
            ),
            (
                "/tools/t/limits/rate",
                rolling(60),
                of("10", "1"),
                LimitScope::Session
            ),
            (
                "/tools/t/max_concurrent",
                Period::Concurrent,
                of("3", "1"),
                LimitScope::Session
            ),
        ]
    );
    assert!(quotas.iter().all(|(quota, _)| quota.policy() == "team"));
    assert_eq!(quotas[0].0.on_deny(), Some("Wait."));
    assert_eq!(quotas[0].0.on_store_error(), OnStoreError::Allow);
    assert_eq!(quotas[1].0.on_store_error(), OnStoreError::Deny);
    assert_eq!((quotas[1].0.sessions(), quotas[3].0.sessions()), (9, 4));
}

/// Editing how much is allowed keeps what was counted; another window does not.
#[test]
fn what_is_counted_is_told_apart() {
    let id = |name: &str, tool: &str, limit: Value| {
        let policy = policy(json!({ "name": name, "tools": { tool: { "limits": [limit] } } }));
        let decision = policy.decide(&Action::call_tool("t"));
        decision.quotas().next().unwrap().0.id()
    };
    let limit = |counter: &str, window: Value, scope: &str, max: u32| json!({ "counter": counter, "window": window, "scope": scope, "max": max });
    let one = id("n", "t", limit("c", json!("day"), "caller", 1));
    assert_eq!(one, id("n", "t", limit("c", json!(86_400), "grant", 2)));
    for other in [
        id("m", "t", limit("c", json!("day"), "caller", 1)),
        id("n", "t*", limit("c", json!("day"), "caller", 1)),
        id("n", "t", limit("d", json!("day"), "caller", 1)),
        id("n", "t", limit("c", json!("hour"), "caller", 1)),
        id("n", "t", limit("c", json!("day"), "server", 1)),
    ] {
        assert_ne!(one, other);
    }
}

fn calls(max: u32) -> Value {
    json!([{ "counter": "calls", "window": "minute", "max": max }])
}

#[test]
fn limits_of_all_tools_come_first() {
    let policy = policy(json!({
        "all_tools": { "limits": calls(5), "max_concurrent": { "max": 2 } },
        "tools": { "t": { "limits": calls(1) }, "u": {} },
        "prompts": { "p": { "limits": calls(1) }, "q": {} },
        "resources": { "x:/a": { "rate_limit": "1/day" } },
        "methods": { "m": "allow" },
    }));
    let of = |action| policy.decide(&action);
    let all = [
        ("/all_tools/limits/calls", "1"),
        ("/all_tools/max_concurrent", "1"),
    ];
    let [first, second] = all;
    let own = ("/tools/t/limits/calls", "1");
    spends(&of(Action::call_tool("t")), [first, second, own]);
    spends(&of(Action::call_tool("u")), all);
    spends(
        &of(Action::get_prompt("p")),
        [("/prompts/p/limits/calls", "1")],
    );
    spends(
        &of(Action::complete_prompt("p")),
        [("/prompts/p/limits/calls", "1")],
    );
    spends(&of(Action::get_prompt("q")), []);
    let place = "/resources/x:~1a/limits/rate";
    spends(&of(Action::read_resource("x:/a")), [(place, "1")]);
    spends(&of(Action::other_method("m")), []);
    // What is refused costs nothing.
    assert!(spent(&of(Action::call_tool("v"))).is_empty());
}

#[test]
fn a_completion_has_nothing_to_count_by() {
    let policy = policy(json!({ "prompts": { "p": { "limits": [by("args.a")] } } }));
    let refused = policy.decide(&Action::complete_prompt("p"));
    assert_eq!(refused.rule(), "/prompts/p/limits/spend");
    assert!(refused.reason().unwrap().contains("not there"));
    let got = Action::get_prompt("p")
        .with_arguments(r#"{"a":2}"#)
        .unwrap();
    spends(&policy.decide(&got), [("/prompts/p/limits/spend", "2")]);
}

#[test]
fn checks_go_before_limits() {
    let policy = policy(json!({ "tools": {
        "t": {
            "require": [ { "conditions": [ { "path": "args.b", "op": "eq", "value": 1 } ] } ],
            "limits": [by("args.a")],
        },
        "d": { "limits": [by("args.a")], "unwrap": { "name": "args.n", "arguments": "args.p" } },
    } }));
    let decide = |tool, arguments| {
        let call = Action::call_tool(tool).with_arguments(arguments).unwrap();
        policy.decide(&call)
    };
    assert_eq!(decide("t", "{}").rule(), "/tools/t/require/args.b-eq");
    assert_eq!(decide("t", r#"{"b":1}"#).rule(), "/tools/t/limits/spend");
    let inner = decide("d", r#"{"n":"t","p":{}}"#);
    assert_eq!(
        (inner.rule(), inner.inner()),
        ("/tools/t/require/args.b-eq", Some("t"))
    );
    // The outermost call is the first that cannot be counted.
    let outer = decide("d", r#"{"n":"t","p":{"b":1}}"#);
    assert_eq!(
        (outer.rule(), outer.inner()),
        ("/tools/d/limits/spend", None)
    );
    let inner = decide("d", r#"{"a":1,"n":"t","p":{"b":1}}"#);
    assert_eq!(
        (inner.rule(), inner.inner()),
        ("/tools/t/limits/spend", Some("t"))
    );
}

fn dispatching() -> Policy {
    policy(json!({
        "all_tools": { "limits": [ { "counter": "all", "window": "day", "max": 100 } ] },
        "tools": {
            "batch": { "rate_limit": "3/minute",
                       "unwrap": { "name": "args.calls[*].tool", "arguments": "args.calls[*].input" } },
            "pay": { "limits": [by("args.amount")], "max_concurrent": { "max": 2 } },
            "pay_*": { "limits": [by("args.amount")] },
            "look": {},
        },
    }))
}

#[test]
fn every_call_inside_counts_in_every_limit() {
    let policy = dispatching();
    let arguments = r#"{"calls":[
        {"tool":"pay","input":{"amount":1.5}}, {"tool":"look"}, {"tool":"pay_a","input":{"amount":1}},
        {"tool":"pay","input":"{\"amount\":2}"}, {"tool":"pay_b","input":{"amount":4}} ]}"#;
    let call = Action::call_tool("batch")
        .with_arguments(arguments)
        .unwrap();
    // A pattern is one budget for everything that it matches.
    spends(
        &policy.decide(&call),
        [
            ("/all_tools/limits/all", "6"),
            ("/tools/batch/limits/rate", "1"),
            ("/tools/pay/limits/spend", "3.5"),
            ("/tools/pay/max_concurrent", "2"),
            ("/tools/pay_*/limits/spend", "5"),
        ],
    );
}

#[test]
fn one_call_inside_that_cannot_be_counted_refuses_all() {
    let policy = dispatching();
    for (last, word) in [
        ("-1", "less than 0"),
        (r#""1""#, "JSON number"),
        // Each can be counted, and not both together.
        ("9e12", "more at once than can be counted"),
    ] {
        let arguments = format!(
            r#"{{"calls":[{{"tool":"pay","input":{{"amount":1}}}},
                          {{"tool":"pay","input":{{"amount":{last}}}}}]}}"#
        );
        let call = Action::call_tool("batch")
            .with_arguments(&arguments)
            .unwrap();
        let refused = policy.decide(&call);
        let said = (refused.rule(), refused.inner());
        assert_eq!(said, ("/tools/pay/limits/spend", Some("pay")), "{last}");
        assert!(refused.reason().unwrap().contains(word), "{refused:?}");
        assert!(spent(&refused).is_empty());
    }
}

#[test]
fn one_call_cannot_ask_for_very_many_limits() {
    let limits: Vec<_> = (0..32)
        .map(|n| json!({ "counter": n.to_string(), "window": 1, "max": 1 }))
        .collect();
    let mut tools: serde_json::Map<_, _> = (0..20)
        .map(|n| (format!("t{n}"), json!({ "limits": limits })))
        .collect();
    let unwrap = json!({ "name": "args.c[*].n", "arguments": "args.c[*].a" });
    tools.insert("d".to_owned(), json!({ "unwrap": unwrap }));
    let policy = policy(json!({ "tools": tools }));
    let decide = |count: usize| {
        let calls: Vec<_> = (0..count)
            .map(|n| json!({ "n": format!("t{n}") }))
            .collect();
        let arguments = json!({ "c": calls }).to_string();
        let call = Action::call_tool("d").with_arguments(&arguments).unwrap();
        let decision = policy.decide(&call);
        (decision.rule().to_owned(), spent(&decision).len())
    };
    assert_eq!(decide(8), ("/tools/d".to_owned(), 256));
    assert_eq!(decide(9), ("/tools/t8/limits/0".to_owned(), 0));
}

#[test]
fn limits_restrict_as_checks_do() {
    for rule in [
        json!({ "limits": calls(1) }),
        json!({ "rate_limit": "1/day" }),
        json!({ "max_concurrent": { "max": 1 } }),
    ] {
        let policy = policy(json!({ "default": "allow", "tools": { "refund": rule } }));
        let call = Action::call_tool("refund");
        assert!(policy.is_conditional(&call) && policy.decide_name(&call).is_allowed());
        assert!(!policy.is_conditional(&Action::call_tool("other")));
        // A budget of its own would be a way around.
        for other in ["Refund", "ref\u{200b}und", "refund "] {
            assert!(
                !policy.decide(&Action::call_tool(other)).is_allowed(),
                "{other:?}"
            );
        }
    }
    let of_all = policy(json!({ "all_tools": { "limits": calls(1) }, "tools": { "t": {} } }));
    assert!(of_all.is_conditional(&Action::call_tool("t")));
}

#[test]
fn what_is_told_of_limits() {
    let policy = policy(json!({
        "all_tools": { "limits": calls(100) },
        "tools": { "t": {
            "limits": [
                by("args.amount"),
                { "counter": "odd/~", "window": 90, "max": 2.5, "increment": 0.5, "scope": "server" },
                { "counter": "day", "window": "day", "reset": "calendar", "max": 3, "scope": "session" },
            ],
            "max_concurrent": { "max": 2 },
        } },
    }));
    let call = Action::call_tool("t")
        .with_arguments(r#"{"amount":2}"#)
        .unwrap();
    let expected = "tool `t`
  /tools/t: names it exactly
  /all_tools/limits/calls: counts 1, at most 100 in a minute for each caller
  /tools/t/limits/spend: counts args.amount, at most 10 in a day for each caller
  /tools/t/limits/odd~1~0: counts 0.5, at most 2.5 in 90 s for all callers together
  /tools/t/limits/day: counts 1, at most 3 in each day of the calendar (UTC) for each session
  /tools/t/max_concurrent: counts 1, at most 2 at once for each caller
allowed by /tools/t";
    assert_eq!(policy.explain(&call).to_string(), expected);
    let steps = serde_json::to_value(policy.explain(&call)).unwrap();
    let step = json!({ "step": "limit", "place": "/tools/t/limits/spend", "counts": "args.amount",
                       "admits": "10 in a day for each caller" });
    assert_eq!(steps["steps"][2], step);

    let unclear = policy.explain(&Action::call_tool("t")).to_string();
    let expected = "tool `t`
  /tools/t: names it exactly
denied by /tools/t/limits/spend: args.amount is missing, and tells how much this uses up.";
    assert_eq!(unclear, expected);
}

#[test]
fn long_windows_on_a_store_that_forgets() {
    let policy = policy(json!({
        "all_tools": { "limits": calls(9), "rate_limit": { "max": 1, "window": 3600 } },
        "tools": { "a": { "limits": [
            { "counter": "a", "window": 3599, "max": 1 },
            { "counter": "b", "window": "day", "max": 1, "reset": "calendar" },
        ] } },
        "resources": { "x:/a": { "rate_limit": "5/hour" } },
        "prompts": { "p": { "rate_limit": "5/minute", "max_concurrent": { "max": 1 } } },
    }));
    let found = policy.check_forgetful_store();
    let mut places: Vec<_> = found.iter().map(|found| found.pointer()).collect();
    places.sort_unstable();
    let expected = [
        "/all_tools/rate_limit",
        "/resources/x:~1a/rate_limit",
        "/tools/a/limits/1/window",
    ];
    assert_eq!(places, expected);
    assert!(
        found
            .iter()
            .all(|found| !found.span().is_empty() && found.help().is_some())
    );
}

/// Whether each of what is used up is more than tried cannot be seen from outside;
/// what is used up can.
#[test]
fn what_is_in_shadow_counts_and_refuses_nothing() {
    let limits = |tool_mode: &str, all_mode: &str, mode: &str| {
        policy(json!({
            "mode": mode,
            "all_tools": { "limits": calls(9), "mode": all_mode },
            "tools": { "t": { "limits": [by("args.a")], "mode": tool_mode } },
        }))
    };
    let call = Action::call_tool("t").with_arguments(r#"{"a":2}"#).unwrap();
    let unclear = Action::call_tool("t");
    for (tool, all, document) in [
        ("shadow", "enforce", "enforce"),
        ("shadow", "shadow", "enforce"),
        ("enforce", "enforce", "shadow"),
    ] {
        let policy = limits(tool, all, document);
        let both = [
            ("/all_tools/limits/calls", "1"),
            ("/tools/t/limits/spend", "2"),
        ];
        spends(&policy.decide(&call), both);
        assert_eq!(policy.decide(&call).shadow(), None);
        // Only what is enforced is used up by what would be refused.
        let tried = policy.decide(&unclear);
        assert!(tried.is_allowed());
        let would = tried.shadow().unwrap();
        assert_eq!(would.rule(), "/tools/t/limits/spend");
        let enforced = usize::from(all == "enforce" && document == "enforce");
        assert_eq!(spent(&tried).len(), enforced);
    }
    let policy = limits("enforce", "shadow", "enforce");
    assert_eq!(policy.decide(&unclear).rule(), "/tools/t/limits/spend");
    assert!(spent(&policy.decide(&unclear)).is_empty());
}

#[test]
fn what_shadow_would_refuse_for_another_reason_is_not_counted() {
    let policy = policy(json!({ "tools": { "t": {
        "mode": "shadow",
        "limits": calls(1),
        "deny_if": [ { "conditions": [ { "path": "args.a", "op": "eq", "value": 1 } ] } ],
    } } }));
    let decide = |arguments| {
        let call = Action::call_tool("t").with_arguments(arguments).unwrap();
        policy.decide(&call)
    };
    spends(&decide(r#"{"a":1}"#), []);
    spends(&decide(r#"{"a":2}"#), [("/tools/t/limits/calls", "1")]);
}

#[test]
fn a_document_built_in_rust_is_read_as_it_was_meant() {
    let mut limit = Limit::new(
        "spend",
        LimitWindow::from_secs(90),
        Amount::from_millionths(1),
    );
    limit.increment_from = Some("args.a".to_owned());
    limit.reset = WindowReset::Rolling;
    limit.scope = LimitScope::Session;
    limit.sessions = Some(2);
    limit.on_store_error = OnStoreError::Allow;
    limit.on_deny = Some("Wait.".to_owned());
    let mut rule = Rule::allow();
    rule.limits = vec![limit, Limit::new("day", LimitWindow::DAY, Amount::MAX)];
    rule.rate_limit = Some(RateLimit::new(Amount::from(10), LimitWindow::MINUTE));
    rule.max_concurrent = Some(MaxConcurrent::new(3));
    let mut document = PolicyDocument::new(DefaultAction::Deny);
    document.tools.insert("t".to_owned(), rule.clone());
    let policy = Policy::try_from(document.clone()).unwrap();
    assert_eq!(policy.document(), &document);
    let short = r#"{"version":"1","default":"deny","tools":{"t":{"rate_limit":"10/minute"}}}"#;
    let short: Policy = short.parse().unwrap();
    assert_eq!(short.document().tools["t"].rate_limit, rule.rate_limit);

    // What cannot be written as a number that every reader takes for the same is
    // refused, rather than taken for another.
    let odd = Amount::from_millionths(Amount::MAX.millionths() - 1);
    document.tools.get_mut("t").unwrap().limits[1].max = odd;
    let error = Policy::try_from(document).unwrap_err();
    assert_eq!(error.diagnostics()[0].pointer(), "/tools/t/limits/1/max");
    for seconds in [0, 2_678_401, u32::MAX] {
        let limit = Limit::new("c", LimitWindow::from_secs(seconds), Amount::ONE);
        rule.limits = vec![limit];
        let mut document = PolicyDocument::new(DefaultAction::Deny);
        document.tools.insert("t".to_owned(), rule.clone());
        assert!(Policy::try_from(document).is_err(), "{seconds}");
    }
}

#[test]
fn each_limit_counts_by_its_own_path() {
    let limits: Vec<_> = [("a", "args.a"), ("b", "args.b"), ("c", "args.a")]
        .map(|(counter, path)| json!({ "counter": counter, "window": 1, "max": 9, "increment_from": path }))
        .into();
    let policy = policy(json!({ "tools": { "t": { "limits": limits } } }));
    let call = Action::call_tool("t")
        .with_arguments(r#"{"a":1,"b":2}"#)
        .unwrap();
    spends(
        &policy.decide(&call),
        [
            ("/tools/t/limits/a", "1"),
            ("/tools/t/limits/b", "2"),
            ("/tools/t/limits/c", "1"),
        ],
    );
}

/// A policy that is tried first has counted already when it is enforced; but what is
/// only tried beside what is enforced uses up nothing of that.
#[test]
fn what_is_only_tried_has_a_quota_of_its_own_beside_what_is_enforced() {
    let id_of = |policy: &Policy, place: &str, arguments: &str| {
        let call = Action::call_tool("t").with_arguments(arguments).unwrap();
        let decision = policy.decide(&call);
        let mut quotas = decision.quotas();
        let (quota, _) = quotas.find(|(quota, _)| quota.place() == place).unwrap();
        quota.id()
    };
    let [enforced, tried @ ..] = [
        ("enforce", "enforce"),
        ("enforce", "shadow"),
        ("shadow", "enforce"),
    ]
    .map(|(document, rule)| {
        let policy = policy(json!({
            "mode": document,
            "tools": { "t": { "mode": rule, "limits": calls(1) } },
        }));
        id_of(&policy, "/tools/t/limits/calls", "{}")
    });
    assert_eq!(tried, [enforced; 2]);

    let tools = |mode: &str| {
        policy(json!({ "tools": {
            "t": { "mode": mode, "unwrap": { "name": "args.n", "arguments": "args.a" } },
            "u": { "limits": calls(1) },
        } }))
    };
    let of_inner = |mode| id_of(&tools(mode), "/tools/u/limits/calls", r#"{"n":"u"}"#);
    assert_ne!(of_inner("shadow"), of_inner("enforce"));
}

#[test]
fn more_than_the_most_is_the_most() {
    let most = Amount::MAX.millionths();
    assert_eq!(most, 9_000_000_000_000_000_000);
    assert_eq!(Amount::from_millionths(most + 1), Amount::MAX);
    assert_eq!(Amount::from_millionths(u64::MAX), Amount::MAX);
    assert_eq!(Amount::from_millionths(most - 1).millionths(), most - 1);
}

#[test]
fn a_limit_that_admits_one_call_is_no_reason_to_warn() {
    let policy = policy(json!({
        "tools": { "t": { "limits": calls(1), "rate_limit": "1/minute" } },
    }));
    assert_eq!(policy.warnings().len(), 0, "{:?}", policy.warnings());
}

/// Stores outlive processes, and what counts in them does not change its name.
#[test]
fn the_id_of_a_quota_stays_the_same() {
    let policy = policy(json!({ "name": "team", "tools": { "t": { "limits": calls(1) } } }));
    let decision = policy.decide(&Action::call_tool("t"));
    let id = decision.quotas().next().unwrap().0.id();
    assert_eq!(id.to_string(), "c7b8b085929f72fea4bde18b985ff5bb");
    let digits: String = id
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(digits, id.to_string());
}

#[test]
fn a_scope_that_does_not_exist_is_one_mistake() {
    let limit = json!({ "counter": "c", "window": 1, "max": 1, "scope": "sesion", "sessions": 3 });
    let text =
        json!({ "version": "1", "default": "deny", "tools": { "t": { "limits": [limit] } } });
    let error = text.to_string().parse::<Policy>().unwrap_err();
    let places: Vec<_> = error
        .diagnostics()
        .iter()
        .map(|found| found.pointer())
        .collect();
    assert_eq!(places, ["/tools/t/limits/0/scope"]);
}

#[test]
fn only_windows_of_the_calendar_begin_with_it() {
    let period = |window: &str, reset: &str| {
        let limit = json!({ "counter": "c", "window": window, "max": 1, "reset": reset });
        let policy = policy(json!({ "tools": { "t": { "limits": [limit] } } }));
        let decision = policy.decide(&Action::call_tool("t"));
        decision.quotas().next().unwrap().0.period()
    };
    for (window, unit, seconds) in [
        ("minute", CalendarUnit::Minute, 60),
        ("hour", CalendarUnit::Hour, 3_600),
        ("day", CalendarUnit::Day, 86_400),
    ] {
        let length = Duration::from_secs(seconds);
        let (calendar, rolling) = (period(window, "calendar"), period(window, "rolling"));
        assert_eq!(calendar, Period::Calendar(unit));
        assert_eq!(rolling, Period::Rolling(length));
        assert_eq!([calendar.window(), rolling.window()], [Some(length); 2]);
    }
    assert_eq!(Period::Concurrent.window(), None);
}

#[test]
fn limits_that_are_built_in_rust_are_written_as_short_as_can_be() {
    let written = |rule: Rule| {
        let mut document = PolicyDocument::new(DefaultAction::Deny);
        document.tools.insert("t".to_owned(), rule);
        let text = document.to_json_string();
        let document: Value = serde_json::from_str(&text).unwrap();
        document["tools"]["t"].to_string()
    };
    let mut rule = Rule::allow();
    rule.limits = vec![Limit::new(
        "c",
        LimitWindow::from_secs(90),
        Amount::from(10),
    )];
    rule.rate_limit = Some(RateLimit::new(Amount::from(5), LimitWindow::HOUR));
    rule.max_concurrent = Some(MaxConcurrent::new(3));
    let short = json!({
        "limits": [{ "counter": "c", "window": 90, "max": 10 }],
        "rate_limit": { "max": 5, "window": "hour" },
        "max_concurrent": { "max": 3 },
    });
    assert_eq!(written(rule.clone()), short.to_string());
    // What is not the default is written.
    rule.limits[0].max = Amount::from_millionths(1_500_000);
    rule.limits[0].scope = LimitScope::Server;
    rule.limits[0].reset = WindowReset::Calendar;
    rule.limits[0].on_store_error = OnStoreError::Allow;
    rule.limits[0].window = LimitWindow::DAY;
    rule.rate_limit.as_mut().unwrap().scope = LimitScope::Caller;
    rule.max_concurrent.as_mut().unwrap().scope = LimitScope::Session;
    let long = json!({
        "limits": [{ "counter": "c", "window": "day", "max": 1.5, "scope": "server",
                     "reset": "calendar", "on_store_error": "allow" }],
        "rate_limit": { "max": 5, "window": "hour", "scope": "caller" },
        "max_concurrent": { "max": 3, "scope": "session" },
    });
    assert_eq!(written(rule), long.to_string());
}

/// Where a number can never be, or never tells how much.
#[test]
fn limits_count_only_by_what_can_be_a_number() {
    let problem = |section: &str, name: &str, path: &str| {
        let document = json!({ "version": "1", "default": "deny",
                               section: { name: { "limits": [by(path)] } } });
        let error = document.to_string().parse::<Policy>().unwrap_err();
        let [found] = error.diagnostics() else {
            panic!("{error}");
        };
        let ending = "/limits/0/increment_from";
        assert!(found.pointer().ends_with(ending), "{}", found.pointer());
        found.message().to_owned()
    };
    let never = "there is never a number at this path";
    for path in ["args", "caller.id", "caller.claims", "caller"] {
        assert_eq!(problem("tools", "t", path), never, "{path}");
    }
    for path in ["tool.name", "resource.uri"] {
        assert_ne!(problem("tools", "t", path), "", "{path}");
    }
    assert_eq!(problem("resources", "x:/a", "resource.uri"), never);
}
