//! The policy that is recommended for tools.

use mcp_policy::{
    Action, Outcome, Policy, PolicyDocument, RiskCategory, Siblings, ToolDefinition, classify,
    recommend,
};
use serde_json::{Value, json};

use crate::labels;

fn definitions(tools: &[Value]) -> Vec<ToolDefinition> {
    tools
        .iter()
        .filter_map(ToolDefinition::from_value)
        .collect()
}

fn recommended(tools: &[Value]) -> (PolicyDocument, Policy) {
    let document = recommend(&definitions(tools));
    let text = document.to_json_string();
    let policy: Policy = text
        .parse()
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    (document, policy)
}

/// What `check --strict` fails for.
fn assert_no_warning(policy: &Policy, tools: &[Value], of: &str) {
    let found = policy.warnings().to_vec();
    let found = found.into_iter().chain(policy.check_tools(tools));
    let found: Vec<_> = found.map(|found| found.to_string()).collect();
    assert!(found.is_empty(), "{of}: {}", found.join("\n"));
}

fn outcome(policy: &Policy, tool: &str, arguments: &str) -> Outcome {
    let action = Action::call_tool(tool).with_arguments(arguments).unwrap();
    policy.decide(&action).outcome()
}

fn limit(policy: &Policy, tool: &str) -> Option<String> {
    let decision = policy.decide(&Action::call_tool(tool));
    let (quota, _) = decision.quotas().next()?;
    Some(quota.max().to_string())
}

#[test]
fn every_labelled_server_gets_a_policy_without_a_warning() {
    let labels = labels::all();
    for (server, labels) in labels::by_server(&labels) {
        let tools: Vec<Value> = labels.iter().map(|label| label.listed.clone()).collect();
        let (document, policy) = recommended(&tools);
        assert_no_warning(&policy, &tools, server);
        assert_eq!(document.tools.len(), tools.len(), "{server}");
        let siblings = Siblings::of(&definitions(&tools));
        for label in labels {
            let found = classify(&label.tool, &siblings);
            if found.actions().is_empty() {
                let expected = match found.category() {
                    RiskCategory::Destructive => Outcome::Hide,
                    RiskCategory::Financial => Outcome::Ask,
                    _ => Outcome::Allow,
                };
                let got = outcome(&policy, label.tool.name(), "{}");
                assert_eq!(got, expected, "{label}");
            }
            for action in found
                .actions()
                .iter()
                .filter(|action| action.path() == "args.action")
            {
                let arguments = json!({ "action": action.value() }).to_string();
                let got = outcome(&policy, label.tool.name(), &arguments);
                let expected = match action.category() {
                    RiskCategory::Destructive => vec![Outcome::Deny, Outcome::Hide],
                    RiskCategory::Financial => vec![Outcome::Ask],
                    _ => vec![Outcome::Allow],
                };
                assert!(expected.contains(&got), "{label} {arguments}: {got:?}");
            }
        }
    }
}

#[test]
fn the_kestra_tools_may_be_looked_at_and_not_deleted() {
    let labels = labels::all();
    let kestra: Vec<Value> = labels::by_server(&labels)["kestra"]
        .iter()
        .map(|label| label.listed.clone())
        .collect();
    let (_, policy) = recommended(&kestra);
    for (tool, arguments, expected) in [
        ("list_executions", "{}", Outcome::Allow),
        ("manage_flow", r#"{ "action": "get_yaml" }"#, Outcome::Allow),
        ("manage_flow", r#"{ "action": "disable" }"#, Outcome::Allow),
        ("manage_flow", r#"{ "action": "delete" }"#, Outcome::Deny),
        ("manage_flow", r#"{ "action": "Delete" }"#, Outcome::Deny),
        ("manage_flow", "{}", Outcome::Deny),
        (
            "namespace_file_action",
            r#"{ "action": "delete" }"#,
            Outcome::Deny,
        ),
        ("delete_flow_logs", "{}", Outcome::Hide),
        ("execute_flow", "{}", Outcome::Allow),
        ("not_there", "{}", Outcome::Deny),
    ] {
        assert_eq!(
            outcome(&policy, tool, arguments),
            expected,
            "{tool} {arguments}"
        );
    }
    assert_eq!(limit(&policy, "execute_flow").as_deref(), Some("10"));
    assert_eq!(limit(&policy, "invite_user").as_deref(), Some("30"));
    assert_eq!(limit(&policy, "list_executions"), None);
}

#[test]
fn every_entry_says_why() {
    let tools = [
        json!({ "name": "get_a" }),
        json!({ "name": "pay_a" }),
        json!({ "name": "drop_a" }),
        json!({ "name": "frob_a" }),
    ];
    let (document, _) = recommended(&tools);
    let why = |tool: &str| {
        let rule = &document.tools[tool];
        rule.description
            .as_deref()
            .or(rule.reason.as_deref())
            .unwrap()
    };
    assert_eq!(why("get_a"), "read: `get` in the name");
    assert_eq!(why("pay_a"), "financial: `pay` in the name");
    assert_eq!(why("drop_a"), "destructive: `drop` in the name");
    assert_eq!(
        why("frob_a"),
        "unknown: nothing in the definition tells what it does"
    );
}

#[test]
fn the_order_in_which_tools_are_listed_changes_nothing() {
    let labels = labels::all();
    for (server, labels) in labels::by_server(&labels) {
        let tools: Vec<Value> = labels.iter().map(|label| label.listed.clone()).collect();
        let turned: Vec<Value> = tools.iter().rev().cloned().collect();
        assert_eq!(recommended(&tools).0, recommended(&turned).0, "{server}");
    }
}

#[test]
fn what_moves_money_by_an_action_asks_for_that_action_alone() {
    let tool = json!({ "name": "manage_payments", "inputSchema": { "properties": {
        "action": { "enum": ["list", "refund", "delete"] },
    } } });
    let (_, policy) = recommended(std::slice::from_ref(&tool));
    for (value, expected) in [
        ("list", Outcome::Allow),
        ("refund", Outcome::Ask),
        ("delete", Outcome::Deny),
        ("wipe", Outcome::Deny),
    ] {
        let arguments = json!({ "action": value }).to_string();
        assert_eq!(
            outcome(&policy, "manage_payments", &arguments),
            expected,
            "{value}"
        );
    }
    assert_no_warning(&policy, &[tool], "payments");
}

#[test]
fn what_the_server_says_of_a_whole_tool_holds_for_each_action() {
    let tool = |values: Value| {
        json!({ "name": "cluster", "annotations": { "destructiveHint": true }, "inputSchema": {
            "properties": { "action": { "enum": values } },
        } })
    };
    let (_, policy) = recommended(&[tool(json!(["pause", "resume"]))]);
    assert_eq!(
        outcome(&policy, "cluster", r#"{ "action": "pause" }"#),
        Outcome::Hide
    );
    // One of them explains it.
    let (_, policy) = recommended(&[tool(json!(["pause", "delete"]))]);
    assert_eq!(
        outcome(&policy, "cluster", r#"{ "action": "pause" }"#),
        Outcome::Allow
    );
}

#[test]
fn names_that_could_be_read_as_something_else_get_no_entry() {
    let names = [
        "get_*",
        "get\\",
        "get\u{202e}a",
        "",
        &"g".repeat(257),
        "get_a",
    ];
    let tools = names.map(|name| json!({ "name": name }));
    let (document, policy) = recommended(&tools);
    assert_eq!(document.tools.keys().collect::<Vec<_>>(), ["get_a"]);
    assert_eq!(outcome(&policy, "get_*", "{}"), Outcome::Deny);
}

#[test]
fn of_two_tools_of_one_name_the_worse_counts() {
    let good = json!({ "name": "thing", "description": "Lists things" });
    let bad = json!({ "name": "thing", "description": "Deletes things" });
    for tools in [[good.clone(), bad.clone()], [bad, good]] {
        let (_, policy) = recommended(&tools);
        assert_eq!(outcome(&policy, "thing", "{}"), Outcome::Hide);
    }
}

#[test]
fn what_is_too_long_to_be_read_whole_asks_at_least() {
    let tool = |name: &str, values: usize| {
        let values = (0..values).map(|number| format!("get_{number}"));
        let values: Vec<_> = values.chain(["delete".to_owned()]).collect();
        json!({ "name": name, "inputSchema": {
            "type": "object", "properties": { "action": { "enum": values } } } })
    };
    let mut long = tool("manage_long", 3);
    for number in 0..256 {
        long["inputSchema"]["properties"][format!("p{number}")] = json!({});
    }
    let tools = [
        tool("manage_some", 255),
        tool("manage_many", 256),
        tool("delete_all", 256),
        long,
    ];
    let (_, policy) = recommended(&tools);
    assert_no_warning(&policy, &tools, "long definitions");
    for (name, of_get, of_delete) in [
        ("manage_some", Outcome::Allow, Outcome::Deny),
        ("manage_many", Outcome::Ask, Outcome::Ask),
        ("delete_all", Outcome::Hide, Outcome::Hide),
        ("manage_long", Outcome::Hide, Outcome::Hide),
    ] {
        let outcomes = ["get_1", "delete"]
            .map(|action| outcome(&policy, name, &format!(r#"{{"action":"{action}"}}"#)));
        assert_eq!(outcomes, [of_get, of_delete], "{name}");
    }
}
