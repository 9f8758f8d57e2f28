//! What a rule asks of a call, through the public API: the language page,
//! sections 1, 2 and 7.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use mcp_policy::{Action, Caller, Decision, Outcome, Policy, Truth};
use serde_json::json;

use Outcome::{Allow, Deny, Hide};

#[track_caller]
fn policy(document: serde_json::Value) -> Policy {
    let text = document.to_string();
    text.parse()
        .unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// A document that denies by default, with these tools.
#[track_caller]
fn tools(tools: serde_json::Value) -> Policy {
    policy(json!({ "version": "1", "default": "deny", "tools": tools }))
}

/// A document that denies by default, with these sections.
#[track_caller]
fn tools_and(mut sections: serde_json::Value) -> Policy {
    sections["version"] = "1".into();
    sections["default"] = "deny".into();
    policy(sections)
}

fn call<'p>(policy: &'p Policy, name: &str, arguments: &str) -> Decision<'p> {
    policy.decide(&Action::call_tool(name).with_arguments(arguments).unwrap())
}

#[track_caller]
fn check(policy: &Policy, rows: &[(&str, &str, Outcome, &str)]) {
    for (name, arguments, outcome, rule) in rows {
        let decision = call(policy, name, arguments);
        assert_eq!(
            (decision.outcome(), decision.rule()),
            (*outcome, *rule),
            "{name} {arguments} under\n{}",
            policy.document().to_json_string()
        );
    }
}

fn when(path: &str, op: &str, value: impl Into<serde_json::Value>) -> serde_json::Value {
    json!({ "path": path, "op": op, "value": value.into() })
}

#[test]
fn deny_if_and_require() {
    let policy = tools(json!({
        "manage": {
            "deny_if": [ { "conditions": [when("args.action", "eq", "delete")],
                           "on_deny": "Nothing is deleted from here." } ],
            "require": [ { "conditions": [when("args.ns", "in", json!(["dev", "test"]))] } ],
        }
    }));
    check(
        &policy,
        &[
            ("manage", r#"{"ns":"dev"}"#, Allow, "/tools/manage"),
            (
                "manage",
                r#"{"ns":"dev","action":"delete"}"#,
                Deny,
                "/tools/manage/deny_if/args.action-eq",
            ),
            // Not a string, so nobody knows what the server makes of it.
            (
                "manage",
                r#"{"ns":"dev","action":["delete"]}"#,
                Deny,
                "/tools/manage/deny_if/args.action-eq",
            ),
            (
                "manage",
                r#"{"ns":"dev","Action":"delete"}"#,
                Deny,
                "/tools/manage/deny_if/args.action-eq",
            ),
            (
                "manage",
                r#"{"ns":"prod"}"#,
                Deny,
                "/tools/manage/require/args.ns-in",
            ),
            ("manage", "{}", Deny, "/tools/manage/require/args.ns-in"),
        ],
    );
    let delete = call(&policy, "manage", r#"{"action":"delete"}"#);
    assert_eq!(delete.reason(), Some("Nothing is deleted from here."));
    let prod = call(&policy, "manage", r#"{"ns":"prod"}"#);
    assert_eq!(
        prod.conditions().collect::<Vec<_>>(),
        [
            ("/tools/manage/deny_if/0/conditions/0", Truth::False),
            ("/tools/manage/require/0/conditions/0", Truth::False),
        ]
    );
    // What was not reached was not looked at.
    assert_eq!(delete.conditions().count(), 1);
}

#[test]
fn names_of_checks() {
    let yes = || when("args.y", "exists", true);
    let policy = tools(json!({ "a/b": { "require": [
        { "conditions": [when("args[\"k~/\"]", "exists", true), yes()] },
        { "conditions": [] },
        { "conditions": [yes()], "name": "mine" },
        { "conditions": [yes()], "name": "mine" },
        { "conditions": [when("args.x", "eq", 1)] },
        { "conditions": [when("args.x", "eq", 1)] },
    ] } }));
    let rules: Vec<_> = [r#"{"y":1}"#, r#"{"k~/":1}"#, r#"{"k~/":1,"y":1}"#]
        .iter()
        .map(|arguments| call(&policy, "a/b", arguments).rule())
        .collect();
    assert_eq!(
        rules,
        [
            "/tools/a~1b/require/args[\"k~0~1\"]-exists+args.y-exists",
            "/tools/a~1b/require/args[\"k~0~1\"]-exists+args.y-exists",
            "/tools/a~1b/require/args.x-eq",
        ]
    );
    let never = tools(json!({
        "x": { "deny_if": [ { "conditions": [] } ] },
        "y": { "deny_if": [
            { "conditions": [when("args.a", "eq", 1)] },
            { "conditions": [when("args.a", "eq", 2)] },
        ] },
        "e": { "deny_if": [ { "conditions": [], "name": "" } ] },
        "z": { "require": [ { "conditions": [], "name": "n" }, { "conditions": [when("args.a", "eq", 2)], "name": "n" } ] },
    }));
    check(
        &never,
        &[
            ("x", "{}", Deny, "/tools/x/deny_if/0"),
            ("e", "{}", Deny, "/tools/e/deny_if/0"),
            ("y", r#"{"a":1}"#, Deny, "/tools/y/deny_if/args.a-eq"),
            ("y", r#"{"a":2}"#, Deny, "/tools/y/deny_if/1"),
            ("y", r#"{"a":3}"#, Allow, "/tools/y"),
            ("z", "{}", Deny, "/tools/z/require/1"),
        ],
    );
}

#[test]
fn all_tools_goes_before_the_rule_of_the_tool() {
    let policy = policy(json!({
        "version": "1",
        "default": "deny",
        "all_tools": {
            "deny_if": [ { "conditions": [when("args.a", "eq", 1)] } ],
            "require": [ { "conditions": [when("args.b", "neq", 1)], "name": "b" } ],
        },
        "tools": {
            "x": {
                "deny_if": [ { "conditions": [when("args.c", "eq", 1)] } ],
                "require": [ { "conditions": [when("args.d", "neq", 1)] } ],
            },
            "y": {},
            "no": { "action": "deny" },
        },
        "prompts": { "*": {} },
    }));
    check(
        &policy,
        &[
            ("y", r#"{"b":2}"#, Allow, "/tools/y"),
            (
                "y",
                r#"{"b":2,"a":1}"#,
                Deny,
                "/all_tools/deny_if/args.a-eq",
            ),
            ("y", "{}", Deny, "/all_tools/require/b"),
            (
                "x",
                r#"{"a":1,"b":1,"c":1,"d":1}"#,
                Deny,
                "/all_tools/deny_if/args.a-eq",
            ),
            (
                "x",
                r#"{"b":1,"c":1,"d":1}"#,
                Deny,
                "/tools/x/deny_if/args.c-eq",
            ),
            ("x", r#"{"b":1,"d":1}"#, Deny, "/all_tools/require/b"),
            ("x", r#"{"b":2,"d":1}"#, Deny, "/tools/x/require/args.d-neq"),
            ("x", r#"{"b":2,"d":2}"#, Allow, "/tools/x"),
            // It rescues nothing.
            ("unlisted", r#"{"b":2}"#, Deny, "(default deny)"),
            ("no", r#"{"b":2}"#, Deny, "/tools/no/action"),
        ],
    );
    let prompt = Action::get_prompt("p").with_arguments("{}").unwrap();
    assert!(policy.decide(&prompt).is_allowed(), "it is for tools");
}

#[test]
fn all_tools_is_for_what_the_default_allows_too() {
    let policy = policy(json!({
        "version": "1",
        "default": "allow",
        "all_tools": { "require": [ { "conditions": [when("args.dry_run", "eq", true)] } ] },
    }));
    check(
        &policy,
        &[
            ("any", r#"{"dry_run":true}"#, Allow, "/default"),
            (
                "any",
                r#"{"dry_run":"true"}"#,
                Deny,
                "/all_tools/require/args.dry_run-eq",
            ),
        ],
    );
}

#[test]
fn what_is_conditional() {
    let sections = json!({
        "tools": {
            "checked": { "require": [ { "conditions": [when("args.a", "eq", 1)] } ] },
            "dispatches": { "unwrap": { "name": "args.tool", "arguments": "args.input" } },
            "plain": {},
            "gone": { "action": "hide" },
        },
        "prompts": { "plain": {}, "checked": { "deny_if": [ { "conditions": [] } ] } },
        "methods": { "plain": "allow" },
    });
    let mut with_all = sections.clone();
    with_all["all_tools"] = json!({ "deny_if": [ { "conditions": [] } ] });
    let (bare, with_all) = (tools_and(sections), tools_and(with_all));
    for (action, in_bare, in_all) in [
        (Action::call_tool("checked"), true, true),
        (Action::call_tool("dispatches"), true, true),
        (Action::call_tool("plain"), false, true),
        // Refused whatever the arguments.
        (Action::call_tool("gone"), false, false),
        (Action::call_tool("other"), false, false),
        (Action::call_tool("Checked"), false, false),
        (Action::get_prompt("checked"), true, true),
        (Action::get_prompt("plain"), false, false),
        (Action::other_method("plain"), false, false),
    ] {
        let found = [&bare, &with_all].map(|policy| policy.is_conditional(&action));
        assert_eq!(found, [in_bare, in_all], "{action:?}");
    }
}

#[test]
fn callers_tools_resources_and_clients_are_looked_at() {
    let policy = policy(json!({
        "version": "1",
        "default": "deny",
        "tools": {
            "team_*": { "require": [ { "conditions": [when("caller.claims.team", "eq", "ops")] } ] },
            "mine": { "require": [ { "conditions": [when("caller.id", "in", json!(["alice"]))] } ] },
            "any_*": { "require": [ { "conditions": [when("tool.name", "ends_with", "_x")] } ] },
            "app": { "deny_if": [ { "conditions": [when("client.name", "eq", "evil")] } ] },
        },
        "resources": {
            "file:///*": { "deny_if": [ { "conditions": [when("resource.uri", "contains", "secret")] } ] },
            "https://*": { "require": [ { "conditions": [when("resource.uri", "starts_with", "https://a.dev/")] } ] },
        },
        "prompts": {
            "p": { "require": [ { "conditions": [when("args.lang", "eq", "en")] } ] },
            "q": { "deny_if": [ { "conditions": [when("args.lang", "eq", "en")] } ] },
        },
    }));
    let claims = |team: &str| serde_json::Map::from_iter([("team".to_owned(), team.into())]);
    let ops = Caller::new("bob").with_claims(claims("ops"));
    let dev = Caller::new("alice").with_claims(claims("dev"));
    let by = |name, caller| {
        policy
            .decide(&Action::call_tool(name).by(caller))
            .is_allowed()
    };
    assert!(by("team_x", &ops) && !by("team_x", &dev));
    assert!(by("mine", &dev) && !by("mine", &ops));
    assert!(!policy.decide(&Action::call_tool("mine")).is_allowed());
    assert!(by("any_x", &dev) && !by("any_y", &dev));

    let client = |text| {
        let action = Action::call_tool("app").with_client(text).unwrap();
        policy.decide(&action).is_allowed()
    };
    assert!(client(r#"{"name":"good"}"#) && !client(r#"{"name":"evil"}"#));
    // Of a client that says nothing of itself nothing is known.
    assert!(!by("app", &dev));

    let read = |uri| policy.decide(&Action::read_resource(uri)).is_allowed();
    assert!(read("file:///a") && !read("file:///a/secret"));
    assert!(read("https://a.dev/x") && read("HTTPS://A.dev/x") && !read("https://b.dev/x"));

    let cased = tools_and(json!({ "resources": {
        "notes://*": { "deny_if": [ { "conditions": [
            when("resource.uri", "starts_with", "Notes://Private") ] } ] },
        "https://*": { "require": [ { "conditions": [
            when("resource.uri", "in", json!(["https://A.dev/X"])) ] } ] },
        "urn:*": { "deny_if": [ { "conditions": [when("resource.uri", "starts_with", "URN")] } ] },
        "NOTE": { "require": [ { "conditions": [when("resource.uri", "eq", "NOTE")] } ] },
    } }));
    let read = |uri| cased.decide(&Action::read_resource(uri)).is_allowed();
    assert!(!read("notes://Private/x") && !read("notes://private/x") && read("notes://public/"));
    assert!(read("https://a.dev/X") && read("HTTPS://A.dev/X") && !read("https://a.dev/x"));
    // A scheme may end later; what has none is no URI.
    assert!(!read("urn:a") && read("NOTE"));

    let english = Action::get_prompt("p").with_arguments(r#"{"lang":"en"}"#);
    assert!(policy.decide(&english.unwrap()).is_allowed());
    assert!(!policy.decide(&Action::get_prompt("p")).is_allowed());
    // There are no arguments to look at.
    let complete = policy.decide(&Action::complete_prompt("p"));
    assert_eq!(complete.rule(), "/prompts/p/require/args.lang-eq");
    assert!(policy.decide(&Action::get_prompt("q")).is_allowed());
    let complete = policy.decide(&Action::complete_prompt("q"));
    assert_eq!(complete.rule(), "/prompts/q/deny_if/args.lang-eq");
}

#[test]
fn a_name_like_that_of_a_rule_with_checks_is_refused() {
    let policy = tools(json!({
        "transfer": { "require": [ { "conditions": [when("args.amount", "lte", 10)] } ] },
        "*_transfer": { "require": [ { "conditions": [when("args.amount", "lte", 20)] } ] },
        "Trans*": {},
        "t*": {},
    }));
    let small = r#"{"amount":5}"#;
    check(
        &policy,
        &[
            ("transfer", small, Allow, "/tools/transfer"),
            ("Transfer", small, Deny, "/tools/transfer"),
            ("a_transfer", small, Allow, "/tools/*_transfer"),
            ("t_transfer", small, Allow, "/tools/*_transfer"),
            ("t_Transfer", small, Deny, "/tools/*_transfer"),
            ("tell", small, Allow, "/tools/t*"),
        ],
    );
}

/// A pattern that has the say is no excuse for a name that looks like another
/// restricted one.
#[test]
fn a_pattern_with_checks_does_not_rescue_a_look_alike() {
    let policy = tools(json!({
        "Delete_Flow": { "action": "deny" },
        "delete_*": { "require": [ { "conditions": [when("args.a", "eq", 1)] } ] },
    }));
    check(
        &policy,
        &[
            ("delete_log", r#"{"a":1}"#, Allow, "/tools/delete_*"),
            ("delete_flow", r#"{"a":1}"#, Deny, "/tools/Delete_Flow"),
        ],
    );
}

#[test]
fn shadow_changes_nothing_and_is_told() {
    let rule =
        json!({ "require": [ { "conditions": [when("args.a", "eq", 1)] } ], "mode": "shadow" });
    let rules = tools(json!({
        "x": rule,
        "gone": { "action": "hide", "mode": "shadow" },
        "no_*": { "action": "deny", "mode": "shadow" },
        "no_way": { "action": "deny" },
    }));
    check(
        &rules,
        &[
            ("x", "{}", Allow, "/tools/x"),
            ("gone", "{}", Allow, "/tools/gone"),
            ("no_1", "{}", Allow, "/tools/no_*"),
            ("no_way", "{}", Deny, "/tools/no_way/action"),
            ("other", "{}", Deny, "(default deny)"),
        ],
    );
    let would = |name, arguments| {
        let decision = call(&rules, name, arguments);
        let shadow = decision.shadow()?;
        Some((shadow.outcome(), shadow.rule().to_owned()))
    };
    let place = "/tools/x/require/args.a-eq".to_owned();
    assert_eq!(would("x", "{}"), Some((Deny, place)));
    assert_eq!(would("x", r#"{"a":1}"#), None);
    assert_eq!(would("gone", "{}"), Some((Hide, "(hidden)".to_owned())));
    assert_eq!(
        would("no_1", "{}"),
        Some((Deny, "/tools/no_*/action".to_owned()))
    );
    assert_eq!(would("no_way", "{}"), None);
    assert_eq!(would("other", "{}"), None);
    let looked = call(&rules, "x", "{}");
    assert_eq!(
        looked.conditions().collect::<Vec<_>>(),
        [("/tools/x/require/0/conditions/0", Truth::False)]
    );
}

#[test]
fn another_reason_to_refuse_is_told_too() {
    let refuses = || json!([ { "conditions": [] } ]);
    let policy = tools_and(json!({
        "all_tools": { "deny_if": refuses(), "mode": "shadow" },
        "tools": { "x": { "deny_if": refuses() }, "y": {} },
    }));
    let refused = call(&policy, "x", "{}");
    assert_eq!(refused.rule(), "/tools/x/deny_if/0");
    let shadow = refused.shadow().map(Decision::rule);
    assert_eq!(shadow, Some("/all_tools/deny_if/0"));
    // Nothing in shadow is asked of what nothing names.
    assert_eq!(call(&policy, "z", "{}").shadow(), None);
}

#[test]
fn a_document_in_shadow_lets_everything_pass() {
    let policy = policy(json!({
        "version": "1",
        "default": "hide",
        "mode": "shadow",
        "hide": ["secret"],
        "all_tools": { "deny_if": [ { "conditions": [] } ] },
        "tools": { "x": {}, "y": { "action": "deny" } },
        "methods": { "a": "deny" },
    }));
    for (action, outcome) in [
        (Action::call_tool("secret"), Hide),
        (Action::call_tool("x"), Deny),
        (Action::call_tool("y"), Deny),
        (Action::call_tool("other"), Hide),
        (Action::get_prompt("p"), Hide),
        (Action::read_resource("file:///x"), Hide),
        (Action::other_method("a"), Deny),
        (Action::other_method("b"), Deny),
    ] {
        let decision = policy.decide(&action);
        assert_eq!(
            (decision.outcome(), decision.rule()),
            (Allow, "/mode"),
            "{action:?}"
        );
        assert_eq!(decision.shadow().unwrap().outcome(), outcome, "{action:?}");
    }
}

fn dispatcher() -> Policy {
    policy(json!({
        "version": "1",
        "default": "deny",
        "hide": ["secret"],
        "all_tools": { "deny_if": [ { "conditions": [when("args.force", "eq", true)] } ] },
        "tools": {
            "invoke": { "unwrap": { "name": "args.tool", "arguments": "args.input" },
                        "deny_if": [ { "conditions": [when("args.tool", "eq", "never")] } ] },
            "batch": { "unwrap": { "name": "args.calls[*].tool", "arguments": "args.calls[*].input" } },
            "read": { "require": [ { "conditions": [when("args.path", "path_within", "/srv")] } ] },
            "never": {},
        },
    }))
}

#[test]
fn a_dispatcher_is_judged_as_what_it_calls() {
    let policy = dispatcher();
    check(
        &policy,
        &[
            (
                "invoke",
                r#"{"tool":"read","input":{"path":"/srv/a"}}"#,
                Allow,
                "/tools/invoke",
            ),
            // A string that holds one object.
            (
                "invoke",
                r#"{"tool":"read","input":"{\"path\":\"/srv/a\"}"}"#,
                Allow,
                "/tools/invoke",
            ),
            (
                "invoke",
                r#"{"tool":"read","input":{"path":"/etc/a"}}"#,
                Deny,
                "/tools/read/require/args.path-path_within",
            ),
            (
                "invoke",
                r#"{"tool":"read"}"#,
                Deny,
                "/tools/read/require/args.path-path_within",
            ),
            (
                "invoke",
                r#"{"tool":"delete","input":{}}"#,
                Deny,
                "(default deny)",
            ),
            (
                "invoke",
                r#"{"tool":"secret","input":{}}"#,
                Hide,
                "(hidden)",
            ),
            (
                "invoke",
                r#"{"tool":"never","input":{}}"#,
                Deny,
                "/tools/invoke/deny_if/args.tool-eq",
            ),
            (
                "invoke",
                r#"{"tool":"read","input":{"path":"/srv/a","force":true}}"#,
                Deny,
                "/all_tools/deny_if/args.force-eq",
            ),
            (
                "invoke",
                r#"{"tool":"READ","input":{}}"#,
                Deny,
                "/tools/read",
            ),
        ],
    );
    let inner = call(&policy, "invoke", r#"{"tool":"delete"}"#);
    assert_eq!(inner.inner(), Some("delete"));
}

#[test]
fn what_cannot_be_read_of_an_inner_call_is_refused() {
    let policy = dispatcher();
    for arguments in [
        "{}",
        r#"{"input":{}}"#,
        r#"{"tool":null}"#,
        r#"{"tool":7}"#,
        r#"{"tool":["read"]}"#,
        r#"{"Tool":"read"}"#,
        r#"{"tool":"read","Tool":"delete"}"#,
        r#"{"tool":"read","input":[]}"#,
        r#"{"tool":"read","input":7}"#,
        r#"{"tool":"read","input":"path=/srv"}"#,
        r#"{"tool":"read","input":"[]"}"#,
        r#"{"tool":"read","input":"{} {}"}"#,
        r#"{"tool":"read","input":"{\"path\":\"/srv\",\"path\":\"/etc\"}"}"#,
        r#"{"tool":"read","Input":{"path":"/srv"}}"#,
        r#"{"tool":"read","input":"{\"path\":NaN}"}"#,
    ] {
        let decision = call(&policy, "invoke", arguments);
        let refused_by_check = decision.rule() == "/tools/invoke/deny_if/args.tool-eq";
        assert!(
            decision.rule() == "/tools/invoke/unwrap" || refused_by_check,
            "{arguments}: {}",
            decision.rule()
        );
        assert_eq!(decision.outcome(), Deny);
    }
}

#[test]
fn every_element_is_a_call_of_its_own() {
    let policy = dispatcher();
    let ok = r#"{"tool":"read","input":{"path":"/srv/a"}}"#;
    let calls = |calls: &[&str]| format!(r#"{{"calls":[{}]}}"#, calls.join(","));
    let bad = r#"{"tool":"read","input":{"path":"/etc"}}"#;
    check(
        &policy,
        &[
            ("batch", &calls(&[]), Allow, "/tools/batch"),
            ("batch", &calls(&[ok, ok, ok]), Allow, "/tools/batch"),
            (
                "batch",
                &calls(&[ok, bad]),
                Deny,
                "/tools/read/require/args.path-path_within",
            ),
            (
                "batch",
                &calls(&[ok, r#"{"tool":"delete"}"#]),
                Deny,
                "(default deny)",
            ),
            (
                "batch",
                &calls(&[ok, r#"{"input":{}}"#]),
                Deny,
                "/tools/batch/unwrap",
            ),
            ("batch", &calls(&[ok, "7"]), Deny, "/tools/batch/unwrap"),
            ("batch", &calls(&[ok; 1000]), Allow, "/tools/batch"),
            ("batch", &calls(&[ok; 1001]), Deny, "/tools/batch/unwrap"),
            ("batch", "{}", Deny, "/tools/batch/unwrap"),
            ("batch", r#"{"calls":{}}"#, Deny, "/tools/batch/unwrap"),
        ],
    );
}

#[test]
fn dispatchers_in_dispatchers() {
    let policy = tools(json!({
        "invoke": { "unwrap": { "name": "args.tool", "arguments": "args.input" } },
        "ok": {},
    }));
    let nested = |depth: usize| {
        let mut arguments = r#"{"tool":"ok"}"#.to_owned();
        for _ in 1..depth {
            arguments = format!(r#"{{"tool":"invoke","input":{arguments}}}"#);
        }
        arguments
    };
    check(
        &policy,
        &[
            ("invoke", &nested(1), Allow, "/tools/invoke"),
            ("invoke", &nested(4), Allow, "/tools/invoke"),
            ("invoke", &nested(5), Deny, "/tools/invoke/unwrap"),
            ("invoke", &nested(30), Deny, "/tools/invoke/unwrap"),
        ],
    );
}

#[test]
fn arguments_have_to_be_one_readable_object() {
    for arguments in [
        "",
        "[]",
        "7",
        "null",
        "{",
        "{} {}",
        r#"{"a":1,"a":2}"#,
        "{\"a\":1e999}",
    ] {
        let action = Action::call_tool("x").with_arguments(arguments);
        let error = action.unwrap_err().to_string();
        assert!(
            error.starts_with("this is not the text of one JSON object"),
            "{arguments}"
        );
    }
}
