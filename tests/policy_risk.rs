//! What a document says of tools by what they do.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "these are tests"
)]

use mcp_policy::{
    Action, Decision, DefaultAction, ListedTools, Outcome, Pins, Policy, PolicyDocument,
    RiskCategory, Rule, RuleAction,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Each category says which it is.
fn told() -> Value {
    let rules = RiskCategory::ALL.map(|category| {
        let rule = json!({ "action": "deny", "reason": format!("It is {category}.") });
        (category.as_str().to_owned(), rule)
    });
    Value::Object(rules.into_iter().collect())
}

fn policy(default: &str, more: Value) -> Policy {
    let mut document = json!({ "version": "1", "default": default });
    let more = more.as_object().unwrap().clone();
    document.as_object_mut().unwrap().extend(more);
    document.to_string().parse().unwrap()
}

/// The place of the rule, or the words for what is refused otherwise.
fn rule(policy: &Policy, name: &str, tools: &[Value]) -> String {
    let tools = ListedTools::of(tools);
    let call = Action::call_tool(name).with_tools(&tools);
    let decision = policy.decide(&call);
    // What is said by the name alone is the same, where nothing else is asked.
    assert_eq!(policy.decide_name(&call).rule(), decision.rule());
    assert_eq!(policy.explain(&call).decision(), &decision);
    decision.rule().to_owned()
}

/// What a tool counts as.
fn category(name: &str, tools: &[Value]) -> String {
    let rule = rule(&policy("deny", json!({ "risk": told() })), name, tools);
    let category = rule.strip_prefix("/risk/").unwrap_or(&rule);
    category
        .strip_suffix("/action")
        .unwrap_or(category)
        .to_owned()
}

#[test]
fn rules_are_read_and_written() {
    let rules = json!({
        "read": {}, "write": { "rate_limit": "30/minute" },
        "execute": { "action": "require_approval", "reason": "It runs." },
        "destructive": { "action": "hide" }, "financial": { "mode": "shadow" },
        "unknown": { "action": "deny" },
    });
    let policy = policy("deny", json!({ "risk": rules }));
    let document = policy.document();
    let by_category = document.risk.keys().copied();
    assert!(by_category.eq(RiskCategory::ALL));
    assert_eq!(document.risk[&RiskCategory::Destructive], Rule::hide());
    let again: Policy = document.to_json_string().parse().unwrap();
    assert_eq!(again.document(), document);
    let mut built = PolicyDocument::new(DefaultAction::Deny);
    built.risk.insert(RiskCategory::Read, Rule::allow());
    let text = built.to_json_string();
    assert!(text.contains(r#""read": {}"#), "{text}");
    assert_eq!(Policy::try_from(built.clone()).unwrap().document(), &built);
}

#[test]
fn a_tool_is_as_bad_as_the_worse_of_its_name_and_its_definition() {
    let tool = |name: &str, more: Value| {
        let mut tool = json!({ "name": name });
        let more = more.as_object().unwrap().clone();
        tool.as_object_mut().unwrap().extend(more);
        tool
    };
    let reads = json!({ "description": "Reads a page.", "annotations": { "readOnlyHint": true } });
    let deletes = json!({ "description": "Deletes everything for good." });
    for (name, definition, expected) in [
        ("get_page", None, "unknown"),
        ("get_page", Some(&reads), "read"),
        // Glued together it says nothing.
        ("getPage", Some(&reads), "read"),
        ("get_page", Some(&deletes), "destructive"),
        // Its name says nothing, so that is not known.
        ("page", Some(&reads), "unknown"),
        ("page", None, "unknown"),
        ("update_page", None, "unknown"),
        ("update_page", Some(&json!({})), "write"),
        ("update_page", Some(&reads), "write"),
        ("delete_page", None, "destructive"),
        // A definition that lies makes nothing better.
        ("delete_page", Some(&reads), "destructive"),
        ("run_page", Some(&reads), "execute"),
        ("pay_invoice", Some(&reads), "financial"),
        ("pay_invoice", None, "financial"),
    ] {
        let tools: Vec<Value> = definition
            .into_iter()
            .map(|more| tool(name, more.clone()))
            .collect();
        assert_eq!(category(name, &tools), expected, "{name} {tools:?}");
        let other = tool("something_else", reads.clone());
        let tools: Vec<Value> = tools.into_iter().chain([other]).collect();
        assert_eq!(category(name, &tools), expected, "{name} beside another");
    }
    // The last definition counts, as in the lists that pass.
    let [better, worse] = [reads, deletes].map(|more| tool("get_page", more));
    let both = [better.clone(), worse.clone()];
    assert_eq!(category("get_page", &both), "destructive");
    assert_eq!(category("get_page", &[worse, better]), "read");
}

#[test]
fn what_siblings_have_in_common_makes_no_tool_better() {
    // Alone it posts; among others it is about posts.
    let names = ["post_list", "post_read", "post_wipe"];
    let all: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    let alone = category("post_list", &[json!({ "name": "post_list" })]);
    assert_eq!(category("post_list", &all), alone);
}

#[test]
fn entries_go_before_risk_and_risk_before_the_default() {
    let policy = policy(
        "allow",
        json!({
            "hide": ["delete_secret"],
            "tools": {
                "delete_draft": {}, "drop_*": {}, "update_*": { "action": "deny" },
                "Wipe": { "rate_limit": "1/minute" },
            },
            "risk": { "destructive": { "action": "deny" }, "unknown": { "action": "deny" } },
        }),
    );
    for (name, expected) in [
        ("delete_draft", "/tools/delete_draft"),
        ("drop_table", "/tools/drop_*"),
        ("update_page", "/tools/update_*/action"),
        ("delete_secret", "(hidden)"),
        ("delete_other", "/risk/destructive/action"),
        ("page", "/risk/unknown/action"),
        // A category that is left out follows the default.
        ("run_page", "/default"),
        // What looks like a name that is restricted is refused for that.
        ("wipe", "/tools/Wipe"),
        ("Update_page", "/tools/update_*"),
        // What looks like one that is allowed is judged by itself.
        ("Delete_draft", "/risk/destructive/action"),
        ("delete_\u{ff44}raft", "(protocol)"),
    ] {
        assert_eq!(rule(&policy, name, &[]), expected, "{name}");
    }
    // Others are no tools.
    assert_eq!(
        policy.decide(&Action::get_prompt("delete_x")).rule(),
        "/default"
    );
    let read = Action::read_resource("x://delete_x");
    assert_eq!(policy.decide(&read).rule(), "/default");
}

#[test]
fn what_is_left_out_follows_each_default() {
    let rules = json!({ "risk": { "read": {} } });
    for (default, outcome) in [
        ("allow", Outcome::Allow),
        ("deny", Outcome::Deny),
        ("hide", Outcome::Hide),
    ] {
        let policy = policy(default, rules.clone());
        let decision = policy.decide(&Action::call_tool("run_page"));
        assert_eq!(decision.outcome(), outcome);
        let tools = ListedTools::of(&[json!({ "name": "get_page" })]);
        let read = Action::call_tool("get_page").with_tools(&tools);
        assert_eq!(policy.decide(&read).rule(), "/risk/read");
    }
}

/// Servers that do not look at case and white space would run the other.
#[test]
fn another_spelling_of_a_bad_tool_is_no_better() {
    let purge = json!({ "name": "janitor", "description": "Deletes everything for good." });
    let tools = [purge];
    assert_eq!(category("janitor", &tools), "destructive");
    for other in ["Janitor", "JANITOR", "jani tor", " janitor"] {
        assert_eq!(category(other, &tools), "destructive", "{other}");
        assert_eq!(category(other, &[]), "unknown", "{other}");
    }
    for name in ["delete_page", "dElEtE_pAgE", "del ete_page", "DELETEPAGE"] {
        assert_eq!(category(name, &[]), "destructive", "{name}");
    }
    // What has been seen is judged by that.
    let both = [tools[0].clone(), json!({ "name": "get_Page" })];
    assert_eq!(category("get_Page", &both), "read");
    // What never passes without an entry cannot be another spelling either.
    let policy = policy(
        "allow",
        json!({ "risk": { "destructive": { "action": "deny" } } }),
    );
    for name in ["janitor\u{200b}", "\u{ff4a}anitor", "d\u{435}lete", ""] {
        assert_eq!(rule(&policy, name, &tools), "(protocol)", "{name}");
    }
    // Of a policy that refuses nothing every name passes.
    let free = policy_of_nothing();
    let any = Action::call_tool("janitor\u{200b}");
    assert!(free.decide(&any).is_allowed());
}

fn policy_of_nothing() -> Policy {
    policy("allow", json!({ "risk": { "destructive": {} } }))
}

#[test]
fn every_rule_works_there() {
    let policy = policy(
        "deny",
        json!({
            "risk": {
                "execute": {
                    "require": [ { "conditions": [
                        { "path": "args.where", "op": "in", "value": ["dev"] },
                        { "path": "tool.name", "op": "starts_with", "value": "run" },
                    ] } ],
                    "limits": [ { "counter": "runs", "window": "minute", "max": 1 } ],
                    "max_concurrent": { "max": 2 },
                },
                "financial": { "action": "require_approval", "reason": "It is money." },
                "destructive": { "action": "hide" },
            },
            "all_tools": { "limits": [ { "counter": "calls", "window": "minute", "max": 9 } ] },
        }),
    );
    let run = |arguments: &'static str| {
        let call = Action::call_tool("run_flow");
        call.with_arguments(arguments).unwrap()
    };
    let (dev, prod) = (run(r#"{"where":"dev"}"#), run(r#"{"where":"prod"}"#));
    assert!(policy.is_conditional(&dev));
    let allowed = policy.decide(&dev);
    assert_eq!(
        (allowed.outcome(), allowed.rule()),
        (Outcome::Allow, "/risk/execute")
    );
    let places = |decision: &Decision<'_>| -> Vec<String> {
        let quotas = decision.quotas();
        quotas.map(|(quota, _)| quota.place().to_owned()).collect()
    };
    let expected = [
        "/all_tools/limits/calls",
        "/risk/execute/limits/runs",
        "/risk/execute/max_concurrent",
    ];
    assert_eq!(places(&allowed), expected);
    // One budget for all of them.
    let other = Action::call_tool("run_task").with_arguments(r#"{"where":"dev"}"#);
    assert_eq!(places(&policy.decide(&other.unwrap())), expected);
    let place = "/risk/execute/require/args.where-in+tool.name-starts_with";
    assert_eq!(policy.decide(&prod).rule(), place);
    let asks = policy.decide(&Action::call_tool("pay_invoice"));
    assert_eq!(asks.outcome(), Outcome::Ask);
    assert_eq!(asks.rule(), "/risk/financial/require_approval");
    assert_eq!(asks.approval().unwrap().reason(), Some("It is money."));
    let hidden = policy.decide(&Action::call_tool("delete_flow"));
    assert_eq!(
        (hidden.outcome(), hidden.rule()),
        (Outcome::Hide, "(hidden)")
    );
    let explained = policy.explain(&prod).to_string();
    assert!(
        explained.contains("    args.where in [\"dev\"]: false\n"),
        "{explained}"
    );
    let explained = policy.explain(&dev).to_string();
    let limit = "/risk/execute/limits/runs: counts 1, at most 1 in a minute for each caller";
    assert!(explained.contains(limit), "{explained}");
}

#[test]
fn a_rule_in_shadow_counts_as_one_that_allows() {
    let rules = json!({ "destructive": { "action": "hide", "mode": "shadow" } });
    for (default, mode) in [("deny", "enforce"), ("deny", "shadow")] {
        let policy = policy(default, json!({ "mode": mode, "risk": rules }));
        let decision = policy.decide(&Action::call_tool("delete_flow"));
        assert!(decision.is_allowed());
        assert_eq!(decision.shadow().unwrap().rule(), "(hidden)");
    }
}

#[test]
fn a_dispatcher_cannot_call_what_risk_refuses() {
    let policy = policy(
        "deny",
        json!({
            "tools": {
                "invoke": { "unwrap": { "name": "args.calls[*].tool", "arguments": "args.calls[*].with" } },
            },
            "risk": { "read": {}, "destructive": { "action": "deny" } },
        }),
    );
    let tools = ListedTools::of(&[json!({ "name": "get_page" })]);
    let call = |names: &[&str]| {
        let calls: Vec<Value> = names.iter().map(|name| json!({ "tool": name })).collect();
        json!({ "calls": calls }).to_string()
    };
    for (names, expected) in [
        (&["get_page"][..], ("/tools/invoke", None)),
        (
            &["get_page", "delete_page"],
            ("/risk/destructive/action", Some("delete_page")),
        ),
        // What is not listed has no definition.
        (&["get_pages"], ("(default deny)", Some("get_pages"))),
    ] {
        let arguments = call(names);
        let call = Action::call_tool("invoke").with_arguments(&arguments);
        let call = call.unwrap().with_tools(&tools);
        let decision = policy.decide(&call);
        assert_eq!((decision.rule(), decision.inner()), expected, "{names:?}");
    }
}

#[test]
fn pins_go_before_what_risk_allows() {
    let tool = json!({ "name": "get_page", "description": "Gets a page." });
    let pin = Pins::digest_of(&tool.to_string()).unwrap();
    let policy = policy(
        "deny",
        json!({ "risk": { "read": {}, "unknown": { "action": "deny" } }, "pins": { "tools": { "get_page": pin } } }),
    );
    assert_eq!(rule(&policy, "get_page", &[tool]), "/risk/read");
    let changed = json!({ "name": "get_page", "description": "Gets a page!" });
    assert_eq!(rule(&policy, "get_page", &[changed]), "(drift)");
    let other = json!({ "name": "get_other" });
    assert_eq!(rule(&policy, "get_other", &[other]), "(not pinned)");
    assert_eq!(rule(&policy, "get_page", &[]), "/risk/unknown/action");
}

#[test]
fn it_is_explained_what_a_tool_counts_as_and_why() {
    let policy = policy(
        "deny",
        json!({
            "risk": { "write": {}, "destructive": { "action": "hide" } },
            "tools": { "update_this": {} },
        }),
    );
    let explain = |name: &str, tools: &[Value]| {
        let tools = ListedTools::of(tools);
        let call = Action::call_tool(name).with_tools(&tools);
        let text = policy.explain(&call).to_string();
        text.lines().nth(1).unwrap().trim().to_owned()
    };
    let deletes = json!({ "name": "update_page", "description": "Deletes everything for good." });
    let none = "nothing names it, and no pattern matches it. Its name says";
    for (name, tools, expected) in [
        (
            "update_this",
            vec![],
            "/tools/update_this: names it exactly".to_owned(),
        ),
        (
            "update_page",
            vec![],
            format!(
                "(default deny): {none} `write` (`update` in the name), and no definition of it \
                     was seen: it counts as `unknown`"
            ),
        ),
        (
            "update_page",
            vec![json!({ "name": "update_page" })],
            format!(
                "/risk/write: {none} `write` (`update` in the name), and its definition says \
                     nothing worse: it counts as `write`"
            ),
        ),
        (
            "update_page",
            vec![deletes.clone()],
            format!(
                "(hidden): {none} `write` (`update` in the name), and its definition says \
                     `destructive`: it counts as `destructive`"
            ),
        ),
        (
            "Update_Page",
            vec![deletes],
            format!(
                "(hidden): {none} `write` (`update` in the name), and no definition of it was \
                     seen, but of a tool that it can be mistaken for, which is `destructive`: it \
                     counts as `destructive`"
            ),
        ),
        (
            "page",
            vec![],
            format!(
                "(default deny): {none} `unknown`, and no definition of it was seen: it counts \
                     as `unknown`"
            ),
        ),
    ] {
        assert_eq!(explain(name, &tools), expected);
    }
}

#[test]
fn rules_are_compared_with_the_tools_that_they_apply_to() {
    let condition =
        |path: &str| json!([{ "conditions": [{ "path": path, "op": "exists", "value": true }] }]);
    let policy = policy(
        "deny",
        json!({
            "risk": { "read": { "require": condition("args.path") }, "execute": { "require": condition("args.flow") } },
        }),
    );
    let tool = |name: &str, argument: &str| json!({ "name": name, "inputSchema": { "type": "object", "properties": { argument: {} } } });
    let found = |tools: &[Value]| -> Vec<String> {
        let found = policy.check_tools(tools).into_iter();
        found.map(|found| found.pointer().to_owned()).collect()
    };
    let reads = tool("get_page", "path");
    assert!(found(&[reads, tool("run_flow", "flow")]).is_empty());
    let expected = "/risk/read/require/0/conditions/0/path";
    assert_eq!(found(&[tool("get_page", "paht")]), [expected]);
}

fn strictness(decision: &Decision<'_>) -> usize {
    match decision.outcome() {
        Outcome::Allow => 0,
        Outcome::Ask => 1,
        Outcome::Deny => 2,
        _ => 3,
    }
}

const NAMES: [&str; 8] = [
    "get_page",
    "update_page",
    "page",
    "run_page",
    "pay_invoice",
    "delete_page",
    "list_refunds",
    "x",
];
const DESCRIPTIONS: [&str; 6] = [
    "Reads a page.",
    "Updates a page.",
    "Runs a command.",
    "Deletes everything for good.",
    "Pays an invoice.",
    "",
];

proptest! {
    /// Of a policy whose rules for worse tools are never milder: a definition makes no
    /// tool better than its name, and what is worse in it makes it no better.
    #[test]
    fn nothing_worse_makes_a_verdict_better(
        mut rules in prop::collection::vec(0..4_usize, 6),
        leaves_out in any::<bool>(),
        name in prop::sample::select(&NAMES[..]),
        description in prop::sample::select(&DESCRIPTIONS[..]),
        is_destructive in any::<bool>(),
    ) {
        use RuleAction::{Allow, Deny, Hide, RequireApproval};
        rules.sort_unstable();
        let mut document = PolicyDocument::new(DefaultAction::Deny);
        for (category, strictness) in RiskCategory::ALL.into_iter().zip(rules) {
            let mut rule = Rule::allow();
            rule.action = [Allow, RequireApproval, Deny, Hide][strictness];
            if rule.action != Deny || !leaves_out {
                document.risk.insert(category, rule);
            }
        }
        let policy = Policy::try_from(document).unwrap();
        let bare = json!({ "name": name });
        let plain = json!({ "name": name, "description": description });
        let hints = json!({ "destructiveHint": is_destructive, "readOnlyHint": false });
        let worse = json!({ "name": name, "description": description, "annotations": hints });
        let said = |tool: Value| {
            let tools = ListedTools::of(&[tool]);
            strictness(&policy.decide(&Action::call_tool(name).with_tools(&tools)))
        };
        let verdicts = [bare, plain, worse].map(said);
        prop_assert!(verdicts.is_sorted(), "{verdicts:?}");
    }
}

/// Else a server could write what its tool does where nobody looks.
#[test]
fn what_is_too_much_to_be_read_whole_does_not_only_read() {
    let action = json!({ "action": { "enum": ["get", "delete"] } });
    let nested = |steps: usize| {
        let object = |properties: &Value| json!({ "type": "object", "properties": properties });
        (1..steps).fold(object(&action), |inside, _| {
            object(&json!({ "in": inside }))
        })
    };
    let listed = |schema: Value| {
        category(
            "get_page",
            &[json!({ "name": "get_page", "inputSchema": schema })],
        )
    };
    for steps in 1..=6 {
        assert_eq!(listed(nested(steps)), "destructive", "{steps}");
    }
    for steps in [7, 8, 40] {
        assert_eq!(listed(nested(steps)), "unknown", "{steps}");
    }
    let listing = |steps: usize| {
        let lists = (0..steps).fold(nested(1), |inside, _| json!({ "items": inside }));
        json!({ "properties": { "calls": lists } })
    };
    for (steps, expected) in [
        (4, "destructive"),
        (5, "unknown"),
        (6, "unknown"),
        (9, "unknown"),
    ] {
        assert_eq!(listed(listing(steps)), expected, "{steps}");
    }
    let many: Vec<String> = (0..257).map(|number| format!("a{number}")).collect();
    let members = many
        .iter()
        .map(|name| (name.clone(), json!({ "type": "number" })));
    let members = Value::Object(members.collect());
    assert_eq!(listed(json!({ "properties": members })), "unknown");
    assert_eq!(
        listed(json!({ "properties": { "of": { "enum": many } } })),
        "unknown"
    );
    // Nobody knows what this stands for.
    for elsewhere in [
        "https://example.com/schema.json",
        "#/$defs/nothing",
        "other.json#/a",
    ] {
        let schema = json!({ "properties": { "of": { "$ref": elsewhere } } });
        assert_eq!(listed(schema), "unknown", "{elsewhere}");
    }
    // What holds itself has an end.
    let tree = json!({
        "properties": { "of": { "$ref": "#/$defs/page" } },
        "$defs": { "page": { "properties": { "under": { "items": { "$ref": "#/$defs/page" } } } } },
    });
    assert_eq!(listed(tree), "read");
}

#[test]
fn another_spelling_is_as_bad_as_it_reads_itself() {
    let wipes = [json!({ "name": "run_wipeout" })];
    assert_eq!(category("run_wipeout", &wipes), "execute");
    assert_eq!(category("Run_wipeout", &wipes), "execute");
    assert_eq!(category("run_wipeOut", &wipes), "destructive");
    // What is left of a name when its words are glued together says nothing better,
    // and nothing worse than that.
    assert_eq!(category("getPage", &[json!({ "name": "getPage" })]), "read");
}

#[test]
fn what_is_asked_is_told_of_the_name_as_well() {
    let check = json!([{ "conditions": [{ "path": "args.a", "op": "exists", "value": true }] }]);
    let policy = policy(
        "deny",
        json!({ "risk": {
            "read": { "require": check }, "write": { "rate_limit": "9/minute" },
            "financial": { "require_approval": true }, "execute": {}, "unknown": {},
        } }),
    );
    let tools = ["get_page", "update_page", "pay_invoice", "run_page"];
    let listed = ListedTools::of(&tools.map(|name| json!({ "name": name })));
    let found = tools.map(|name| {
        let call = Action::call_tool(name).with_tools(&listed);
        let decision = policy.decide_name(&call);
        (decision.outcome(), policy.is_conditional(&call))
    });
    let expected = [
        (Outcome::Allow, true),
        (Outcome::Allow, true),
        (Outcome::Ask, false),
        (Outcome::Allow, false),
    ];
    assert_eq!(found, expected);
    // Nobody knows that it reads before it is listed.
    assert!(!policy.is_conditional(&Action::call_tool("get_page")));
}

#[test]
fn what_is_not_pinned_depends_on_nothing_else() {
    let check = json!([{ "conditions": [{ "path": "args.a", "op": "exists", "value": true }] }]);
    let tool = json!({ "name": "get_page" });
    let pin = Pins::digest_of(&tool.to_string()).unwrap();
    for on_drift in ["deny", "hide"] {
        let policy = policy(
            "deny",
            json!({
                "tools": { "see": { "require": check } }, "risk": { "read": { "require": check } },
                "pins": { "on_drift": on_drift, "tools": { "get_page": pin } },
            }),
        );
        let changed = json!({ "name": "get_page", "title": "A page" });
        for (tool, name, is_conditional) in [
            (&tool, "get_page", true),
            (&changed, "get_page", false),
            (&tool, "get_other", false),
            (&tool, "see", false),
        ] {
            let listed = ListedTools::of(&[tool.clone(), json!({ "name": "get_other" })]);
            let call = Action::call_tool(name).with_tools(&listed);
            assert_eq!(
                policy.is_conditional(&call),
                is_conditional,
                "{name} {tool}"
            );
            assert_eq!(
                policy.decide_name(&call).is_allowed(),
                is_conditional,
                "{name} {tool}"
            );
        }
    }
}

/// Nor by what nobody has approved.
#[test]
fn what_is_hidden_is_never_told_by_its_pin() {
    let policy = policy(
        "deny",
        json!({
            "hide": ["secret"], "tools": { "gone": { "action": "hide" } },
            "risk": { "destructive": { "action": "hide" }, "unknown": {} }, "pins": { "tools": {} },
        }),
    );
    for name in ["secret", "gone", "delete_page"] {
        assert_eq!(rule(&policy, name, &[]), "(hidden)", "{name}");
        let said = policy.decide(&Action::call_tool(name));
        assert_eq!(said.outcome(), Outcome::Hide, "{name}");
    }
    assert_eq!(rule(&policy, "other", &[]), "(not pinned)");
}

/// Only tools are judged by what they do.
#[test]
fn names_of_others_are_as_free_as_without_risk() {
    let policy = policy(
        "allow",
        json!({ "risk": { "unknown": { "action": "deny" }, "destructive": { "action": "deny" } } }),
    );
    let odd = "l\u{f6}schen\u{200b}";
    assert!(policy.decide(&Action::get_prompt(odd)).is_allowed());
    assert!(!policy.decide(&Action::call_tool(odd)).is_allowed());
}

/// Nor does a name slip by that no rule could be for, where somebody has to be asked.
#[test]
fn what_has_to_be_approved_has_no_other_spelling() {
    let asks = json!({ "require_approval": true });
    let counts = json!({ "rate_limit": "1/minute" });
    for rule in [asks, counts, json!({ "action": "hide" })] {
        let policy = policy("allow", json!({ "risk": { "destructive": rule } }));
        for name in ["d\u{435}lete_page", "delete_page\u{200b}", ""] {
            let refused = policy.decide(&Action::call_tool(name));
            assert_eq!(refused.rule(), "(protocol)", "{name:?} {rule}");
        }
    }
}
