//! What arguments say, and how much of a definition is read.

use serde_json::{Value, json};

use super::super::RiskCategory::{Destructive, Execute, Read, Unknown, Write};
use super::super::{Assessment, Confidence, ToolDefinition};
use super::{named, of, taking};

#[test]
fn each_action_is_judged_and_the_worst_counts() {
    let actions = json!({ "action": { "enum": ["list", "enable", "kill", "frob"] } });
    let found = taking("manage_flow", actions);
    let each: Vec<_> = found
        .actions()
        .iter()
        .map(|a| (a.value(), a.category()))
        .collect();
    let expected = [
        ("list", Read),
        ("enable", Write),
        ("kill", Execute),
        ("frob", Unknown),
    ];
    assert_eq!(each, expected);
    assert_eq!(
        (found.category(), found.confidence()),
        (Execute, Confidence::High)
    );
    // What the name says of all of them is true of each.
    let actions = json!({ "action": { "enum": ["list", "all"] } });
    let found = taking("purge_queue", actions);
    assert!(
        found
            .actions()
            .iter()
            .all(|action| action.category() == Destructive)
    );
    // These are no actions.
    let filter = json!({ "action": { "enum": ["created", "deleted"] } });
    assert_eq!(taking("list_events", filter).category(), Read);
    let mode = json!({ "mode": { "enum": ["delete", "keep"] } });
    assert!(taking("get_price", mode).actions().is_empty());
    let ways = json!({ "method": { "enum": ["card", "cash"] } });
    assert!(taking("get_price", ways).actions().is_empty());
}

#[test]
fn actions_are_found_behind_references_and_in_alternatives() {
    let tool = |schema: Value| of(json!({ "name": "thing", "inputSchema": schema }));
    let found = tool(json!({
        "properties": { "op": { "$ref": "#/$defs/Op" } },
        "$defs": { "Op": { "type": "string", "enum": ["get", "wipe"] } },
    }));
    assert_eq!(found.category(), Destructive);
    let either = |value: &str| json!({ "properties": { "operation": { "const": value } } });
    let found = tool(json!({ "properties": { "select": {
        "anyOf": [either("get-site"), either("deploy-site")],
    } } }));
    assert_eq!(found.category(), Execute);
    assert_eq!(found.actions()[1].path(), "args.select.operation");
    // What is not listed whole is not known.
    let found = tool(json!({ "properties": { "action": {
        "anyOf": [{ "enum": ["get"] }, { "type": "string" }],
    } } }));
    assert!(found.actions().is_empty());
}

#[test]
fn what_is_in_no_list_of_words_is_unknown() {
    for name in [
        "",
        "frobnicate",
        "___",
        "删除",
        "löschen_list",
        "get_dеlete",
    ] {
        assert_eq!(named(name), Unknown, "{name}");
    }
}

#[test]
fn evidence_is_quoted_and_cannot_pretend() {
    let found = of(
        json!({ "name": "x", "description": "Deletes\u{202e} it", "inputSchema": {
        "properties": { "sql\u{202e}": {}, "command": {} },
    } }),
    );
    let quotes: Vec<_> = found.evidence().iter().map(ToString::to_string).collect();
    assert_eq!(quotes[0], "`Deletes` in the description");
    assert!(quotes.iter().all(|quote| !quote.contains('\u{202e}')));
}

#[test]
fn odd_definitions_are_read_as_far_as_they_go() {
    for tool in [
        json!(null),
        json!([]),
        json!({}),
        json!({ "name": 7 }),
        json!("a"),
    ] {
        assert_eq!(ToolDefinition::from_value(&tool), None, "{tool}");
    }
    for odd in [
        json!(7),
        json!("a"),
        json!([1]),
        json!({ "properties": [] }),
        json!(true),
    ] {
        let tool = json!({
            "name": "get", "description": odd, "annotations": odd, "inputSchema": odd,
        });
        assert_eq!(of(tool).category(), Read, "{odd}");
    }
    let circle = json!({
        "properties": { "a": { "$ref": "#" }, "b": { "$ref": "#/properties/b" } },
        "anyOf": [{ "$ref": "#" }, { "$ref": "#" }],
    });
    assert_eq!(
        of(json!({ "name": "get", "inputSchema": circle })).category(),
        Read
    );
    let long = json!({ "name": "get", "description": "é".repeat(10_000) });
    assert!(ToolDefinition::from_value(&long).unwrap().description.len() <= 4_096);
}

#[test]
fn what_is_too_much_to_be_read_is_not_taken_for_harmless() {
    let members = |count: usize| -> serde_json::Map<_, _> {
        (0..count).map(|n| (format!("p{n}"), json!({}))).collect()
    };
    let of_members = |count| taking("get", Value::Object(members(count))).category();
    assert_eq!((of_members(256), of_members(257)), (Read, Unknown));
    let of_values = |count: usize| {
        let values: Vec<_> = (0..count).map(|n| format!("get_{n}")).collect();
        taking("get", json!({ "action": { "enum": values } })).category()
    };
    assert_eq!((of_values(256), of_values(257)), (Read, Unknown));
    let of_value = |length: usize| {
        taking(
            "get",
            json!({ "action": { "enum": [format!("get_{}", "a".repeat(length - 4))] } }),
        )
    };
    // Which is nothing to choose from any more.
    let choices = |length: usize| of_value(length).actions().len();
    assert_eq!((choices(256), choices(257)), (1, 0));
    assert_eq!(of_value(257).category(), Unknown);
    let of_argument = |length: usize| taking("get", json!({ "a".repeat(length): {} })).category();
    assert_eq!((of_argument(1_024), of_argument(1_025)), (Read, Unknown));
    let long = |count: usize| format!("get_{}", "a".repeat(count));
    assert_eq!((named(&long(1_020)), named(&long(1_021))), (Read, Unknown));
    let either: Vec<_> = (0..5_000).map(|_| json!({ "anyOf": [{}, {}] })).collect();
    let found = of(json!({ "name": "get", "inputSchema": { "anyOf": either } }));
    assert_eq!(found.category(), Unknown);
    assert_eq!(
        found.evidence()[0].to_string(),
        "`…` in a definition too long to be read whole"
    );
}

/// Where one alternative takes any text, the values that another lists are none to
/// choose from.
#[test]
fn what_alternatives_say_of_one_argument_is_put_together() {
    let either = |one: Value, other: Value| {
        let of = |argument: Value| json!({ "properties": { "command": argument } });
        let schema = json!({ "anyOf": [of(one), of(other)] });
        let found = of_schema(schema);
        (found.category(), found.actions().len())
    };
    let lists = |value: &str| json!({ "enum": [value] });
    assert_eq!(either(lists("get"), lists("list")), (Read, 2));
    assert_eq!(either(lists("get"), lists("delete")), (Destructive, 2));
    assert_eq!(either(lists("get"), lists("get")), (Read, 1));
    for texts in [json!({}), json!({ "type": "string" })] {
        assert_eq!(either(lists("get"), texts.clone()), (Execute, 0));
        assert_eq!(either(texts, lists("get")), (Execute, 0));
    }
}

fn of_schema(schema: Value) -> Assessment {
    of(json!({ "name": "get", "inputSchema": schema }))
}

/// Each of these takes minutes for whoever looks at all of it again and again.
#[test]
fn what_is_written_to_be_slow_to_read_is_read_in_time() {
    let members = |count: usize| -> serde_json::Map<_, _> {
        (0..count).map(|n| (format!("{n:06}"), json!({}))).collect()
    };
    let refer = |count: usize, to: &str| -> serde_json::Map<_, _> {
        let parameter = json!({ "$ref": to });
        let all = (0..count).map(|n| (format!("{n}"), parameter.clone()));
        all.collect()
    };
    let alternatives: Vec<_> = (0..9_000)
        .map(|n| json!({ "enum": (0..250).map(|v| format!("{n}.{v}")).collect::<Vec<_>>() }))
        .collect();
    for (what, schema) in [
        (
            "a long name before many",
            json!({ "properties": { "a".repeat(1 << 20): { "properties": members(100_000) } } }),
        ),
        (
            "a value of many words",
            json!({ "properties": { "action": { "enum": ["pay ".repeat(1 << 18)] } } }),
        ),
        (
            "many values in many alternatives",
            json!({ "properties": { "action": { "anyOf": alternatives } } }),
        ),
        (
            "many that are no schemas, again and again",
            json!({ "properties": refer(9_000, "#/none"), "none": { "anyOf": vec![1; 1 << 20] } }),
        ),
        (
            "a reference that is long to follow, again and again",
            json!({
                "properties": refer(4_000, "#/next"),
                "next": { "$ref": format!("#/{}", "~1".repeat(1 << 20)) },
            }),
        ),
    ] {
        let found = of(json!({ "name": "get", "inputSchema": schema }));
        assert_eq!(found.category(), Unknown, "{what}");
    }
}

#[test]
fn actions_beyond_those_that_are_judged_are_the_worst() {
    let selector = |n: usize| {
        let values: Vec<_> = (0..256).map(|v| format!("get_{v}")).collect();
        (
            format!("o{n}"),
            json!({ "properties": { "op": { "enum": values } } }),
        )
    };
    let of_selectors = |count: usize| {
        let all: serde_json::Map<_, _> = (0..count).map(selector).collect();
        taking("get", Value::Object(all)).category()
    };
    assert_eq!((of_selectors(4), of_selectors(5)), (Read, Destructive));
}

#[test]
fn what_a_list_holds_is_looked_at() {
    let found = taking(
        "thing",
        json!({ "operations": { "type": "array", "items": {
        "properties": { "op": { "enum": ["get", "purge"] } },
    } } }),
    );
    assert_eq!(found.category(), Destructive);
    assert_eq!(found.actions()[1].path(), "args.operations[*].op");
    let found = taking(
        "thing",
        json!({ "actions": { "items": { "enum": ["start"] } } }),
    );
    assert_eq!(found.actions()[0].path(), "args.actions[*]");
    let found = taking("get", json!({ "command": { "type": "array" } }));
    assert_eq!(found.category(), Execute);
    let found = taking("get", json!({ "command": { "type": "integer" } }));
    assert_eq!(found.category(), Read);
}

#[test]
fn a_text_that_readers_read_differently_is_no_definition() {
    assert!(ToolDefinition::from_json(r#"{ "name": "a" }"#).is_some());
    for text in [
        r#"{ "name": "a", "name": "b" }"#,
        "[]",
        "{",
        "",
        r#"{ "name": "a" } {}"#,
    ] {
        assert_eq!(ToolDefinition::from_json(text), None, "{text}");
    }
}
