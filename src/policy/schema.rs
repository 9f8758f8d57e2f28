//! The JSON Schema of the document, which is generated from its types.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::{PolicyDocument, RequireApproval};
use crate::risk::RiskCategory;

/// `schema.json`, as it has to be.
fn generated() -> String {
    // What a document may leave out is what is left out when one is written.
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let generator = settings.into_generator();
    let mut schema = generator
        .into_root_schema_for::<PolicyDocument>()
        .to_value();
    tidy(&mut schema);
    narrow_rules(&mut schema);
    tell_limits(&mut schema["$defs"]);
    tell_approvals(&mut schema["$defs"]);
    serde_json::to_string_pretty(&schema).unwrap() + "\n"
}

/// Makes a schema of types into one of documents: no other members, no `null`
/// for what is left out, and of the comments only the words for users.
fn tidy(schema: &mut Value) {
    let members = match schema {
        Value::Object(members) => members,
        Value::Array(items) => return items.iter_mut().for_each(tidy),
        _ => return,
    };
    if members.contains_key("properties") {
        members.insert("additionalProperties".to_owned(), false.into());
    }
    if let Some(Value::String(text)) = members.get_mut("description") {
        let first = text.split("\n\n").next().unwrap_or_default();
        *text = first
            .replace('\n', " ")
            .replace("[`", "`")
            .replace("`]", "`");
    }
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            members.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = members.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
    }
    members.values_mut().for_each(tidy);
}

/// One type has the fields of every rule; where it stands not all of them may be.
fn narrow_rules(schema: &mut Value) {
    let rule = schema["$defs"]["Rule"].clone();
    let without = |fields: &[&str]| {
        let mut rule = rule.clone();
        for field in fields {
            rule["properties"].as_object_mut().unwrap().remove(*field);
        }
        rule
    };
    let beside_refusal = json!({
        "if": { "properties": { "action": { "enum": ["deny", "hide"] } }, "required": ["action"] },
        "then": { "properties": {
            "require": false, "deny_if": false, "unwrap": false,
            "limits": false, "rate_limit": false, "max_concurrent": false,
            "require_approval": false,
        } },
    });
    let beside_asking = json!({
        "if": { "properties": { "action": { "const": "require_approval" } }, "required": ["action"] },
        "then": { "properties": { "require_approval": false } },
    });
    let defs = &mut schema["$defs"];
    for (name, fields, has_action) in [
        ("Rule", &[] as &[&str], true),
        ("RuleWithoutUnwrap", &["unwrap"], true),
        ("RuleOfAllTools", &["action", "reason", "unwrap"], false),
    ] {
        defs[name] = without(fields);
        if has_action {
            defs[name]["allOf"] = json!([beside_refusal, beside_asking]);
        }
    }
    let refer = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
    for section in ["resources", "prompts"] {
        schema["properties"][section]["additionalProperties"] = refer("RuleWithoutUnwrap");
    }
    let by_risk = &mut schema["properties"]["risk"];
    let categories = RiskCategory::ALL.map(RiskCategory::as_str);
    let categories = categories.map(|name| (name.to_owned(), refer("RuleWithoutUnwrap")));
    by_risk["properties"] = serde_json::Map::from_iter(categories).into();
    by_risk["additionalProperties"] = false.into();
    schema["properties"]["all_tools"]["anyOf"] = json!([refer("RuleOfAllTools")]);
}

/// What the types do not say: bounds, an alias, a short form, and what does not stand
/// beside each other.
fn tell_limits(defs: &mut Value) {
    let grant =
        json!({ "const": "grant", "description": "Another word for `caller`.", "type": "string" });
    defs["Scope"]["oneOf"].as_array_mut().unwrap().push(grant);
    defs["MaxConcurrent"]["properties"]["max"]["minimum"] = json!(1);
    defs["MaxConcurrent"]["properties"]["max"]["maximum"] = json!(10_000);
    let limit = &mut defs["Limit"];
    limit["properties"]["counter"]["minLength"] = json!(1);
    limit["properties"]["sessions"]["minimum"] = json!(1);
    limit["properties"]["sessions"]["maximum"] = json!(1_000);
    limit["allOf"] = json!([
        { "not": { "required": ["increment", "increment_from"] } },
        {
            "if": { "required": ["sessions"] },
            "then": { "properties": { "scope": { "const": "session" } }, "required": ["scope"] },
        },
        {
            "if": { "properties": { "reset": { "const": "calendar" } }, "required": ["reset"] },
            "then": { "properties": {
                "window": { "enum": ["minute", "hour", "day", 60, 3_600, 86_400] },
            } },
        },
    ]);
    let mut object = defs["RateLimit"].take();
    let description = object["description"].take();
    object.as_object_mut().unwrap().remove("description");
    let short = json!({ "type": "string", "pattern": "^[0-9]+/(minute|hour|day)$" });
    defs["RateLimit"] = json!({ "description": description, "anyOf": [short, object] });
}

/// Likewise.
fn tell_approvals(defs: &mut Value) {
    let mut object = defs["RequireApproval"].take();
    let description = object["description"].take();
    object.as_object_mut().unwrap().remove("description");
    object["properties"]["expires"]["minimum"] = json!(RequireApproval::SHORTEST);
    object["properties"]["expires"]["maximum"] = json!(RequireApproval::LONGEST);
    let every = json!({ "const": true, "description": "An operator is asked about every call." });
    defs["RequireApproval"] = json!({ "description": description, "anyOf": [every, object] });
}

/// To write it anew: `MCP_POLICY_WRITE_SCHEMA=1 cargo test -p mcp-policy --lib schema`.
#[test]
fn the_file_is_what_the_types_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/policy/schema.json");
    if std::env::var_os("MCP_POLICY_WRITE_SCHEMA").is_some() {
        std::fs::write(path, generated()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), generated());
}
