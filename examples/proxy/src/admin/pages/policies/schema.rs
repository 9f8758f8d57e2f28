//! What a tool says of its arguments.

use serde_json::Value;

use super::edit::quoted;

/// Arguments of which a page tells.
const MOST: usize = 60;
/// Values of one of them that can be chosen from.
const MOST_CHOICES: usize = 50;
/// Characters of a description that are shown.
const LONGEST: usize = 160;
/// Objects within each other whose members are told of.
const DEEPEST: usize = 3;

/// An argument.
pub(super) struct Property {
    /// As a condition names it.
    pub(super) path: String,
    /// What type it has; empty if that is not said, or several.
    pub(super) kind: &'static str,
    pub(super) is_required: bool,
    /// The values that it can have, as JSON.
    pub(super) choices: Vec<String>,
    pub(super) description: String,
}

/// All that a condition can ask of any value.
const ALL: [&str; 17] = [
    "eq",
    "neq",
    "in",
    "not_in",
    "lt",
    "lte",
    "gt",
    "gte",
    "regex",
    "starts_with",
    "ends_with",
    "contains",
    "length_lte",
    "path_within",
    "host_in",
    "keys_in",
    "exists",
];

/// What a condition can ask of a value that is one of a few.
pub(super) const OF_CHOICES: [&str; 5] = ["in", "not_in", "eq", "neq", "exists"];

/// What a condition can ask of a value of a type.
pub(super) fn operators(kind: &str) -> &'static [&'static str] {
    match kind {
        "string" => &[
            "in",
            "not_in",
            "eq",
            "neq",
            "regex",
            "starts_with",
            "ends_with",
            "contains",
            "length_lte",
            "path_within",
            "host_in",
            "exists",
        ],
        "number" | "integer" => &[
            "lte", "lt", "gte", "gt", "eq", "neq", "in", "not_in", "exists",
        ],
        "boolean" => &["eq", "neq", "exists"],
        "array" => &["length_lte", "contains", "exists"],
        "object" => &["keys_in", "length_lte", "exists"],
        _ => &ALL,
    }
}

/// What an operator asks, in words.
pub(super) fn words(operator: &str) -> &str {
    match operator {
        "eq" => "is",
        "neq" => "is not",
        "in" => "is one of",
        "not_in" => "is none of",
        "lt" => "is less than",
        "lte" => "is at most",
        "gt" => "is more than",
        "gte" => "is at least",
        "regex" => "matches",
        "starts_with" => "begins with",
        "ends_with" => "ends with",
        "contains" => "contains",
        "length_lte" => "is no longer than",
        "path_within" => "is a path within",
        "host_in" => "is a URL of host",
        "keys_in" => "has no keys but",
        "exists" => "is there",
        other => other,
    }
}

/// The arguments of a tool, those first that it needs.
pub(super) fn properties(tool: &Value) -> Vec<Property> {
    let mut found = Vec::new();
    if let Some(schema) = tool.get("inputSchema") {
        collect(schema, "args", DEEPEST, &mut found);
    }
    found.sort_by_key(|one| !one.is_required);
    found
}

fn collect(schema: &Value, path: &str, depth: usize, found: &mut Vec<Property>) {
    let Some(members) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    let required = schema.get("required").and_then(Value::as_array);
    for (name, own) in members {
        if found.len() >= MOST {
            return;
        }
        let path = below(path, name);
        let kind = kind(own);
        let values = own.get("enum").and_then(Value::as_array);
        let description = own.get("description").and_then(Value::as_str);
        let description = description.unwrap_or_default();
        found.push(Property {
            kind,
            is_required: required
                .is_some_and(|all| all.iter().any(|one| one.as_str() == Some(name))),
            choices: values
                .map(|all| {
                    all.iter()
                        .take(MOST_CHOICES)
                        .map(Value::to_string)
                        .collect()
                })
                .unwrap_or_default(),
            description: description.chars().take(LONGEST).collect(),
            path: path.clone(),
        });
        if kind == "object" && depth > 1 {
            collect(own, &path, depth.saturating_sub(1), found);
        }
    }
}

fn kind(schema: &Value) -> &'static str {
    const KINDS: [&str; 6] = ["string", "number", "integer", "boolean", "array", "object"];
    let named = |value: &Value| KINDS.into_iter().find(|kind| value.as_str() == Some(kind));
    match schema.get("type") {
        Some(Value::Array(several)) => {
            let mut others = several.iter().filter(|one| one.as_str() != Some("null"));
            let first = others.next().and_then(named);
            first
                .filter(|_| others.next().is_none())
                .unwrap_or_default()
        }
        Some(one) => named(one).unwrap_or_default(),
        None => "",
    }
}

/// The path of a member.
fn below(path: &str, name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match !name.is_empty() && name.chars().all(is_plain) {
        true => format!("{path}.{name}"),
        false => format!("{path}[{}]", quoted(name)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_told_of_as_conditions_name_them() {
        let tool = json!({ "name": "a", "inputSchema": { "type": "object", "required": ["to"],
            "properties": {
                "to": { "type": ["string", "null"], "enum": ["a", "b"], "description": "Who." },
                "odd \"name\"": { "type": ["string", "number"] },
                "deep": { "type": "object", "properties": { "x": { "type": "integer" } } },
            },
        } });
        let found = properties(&tool);
        let told: Vec<_> = found
            .iter()
            .map(|one| (&*one.path, one.kind, one.is_required))
            .collect();
        let expected = [
            ("args.deep", "object", false),
            ("args.deep.x", "integer", false),
            (r#"args["odd \"name\""]"#, "", false),
            ("args.to", "string", true),
        ];
        assert_eq!(told.len(), expected.len());
        for one in expected {
            assert!(told.contains(&one), "{one:?} in {told:?}");
        }
        let to = found.iter().find(|one| one.path == "args.to").unwrap();
        assert_eq!(to.choices, ["\"a\"", "\"b\""]);
        // Every path is one that a policy understands.
        for one in &found {
            let text = json!({ "version": "1", "default": "deny", "tools": { "a": { "require": [
                { "conditions": [{ "path": one.path, "op": "exists", "value": true }] },
            ] } } });
            assert!(text.to_string().parse::<mcp_policy::Policy>().is_ok());
        }
    }

    #[test]
    fn there_is_an_end_to_what_a_server_says() {
        let many: serde_json::Map<_, _> = (0..1_000)
            .map(|index| (format!("a{index}"), json!({ "type": "string" })))
            .collect();
        let tool = json!({ "inputSchema": { "properties": many } });
        assert_eq!(properties(&tool).len(), MOST);
        for odd in [
            json!(1),
            json!({ "inputSchema": 1 }),
            json!({ "inputSchema": { "properties": { "a": 1 } } }),
        ] {
            assert!(properties(&odd).len() <= 1);
        }
    }
}
