//! What a scan found, for programs.

use serde_json::{Map, Value, json};

use super::{
    approved::State,
    files,
    inventory::{All, Inventory, Tool},
    report::Report,
};

/// One server stands at the top; several are in a list.
pub(super) fn of(report: &Report<'_>) -> Value {
    let servers = report.judged.servers.iter().zip(report.written);
    let servers = servers.map(|(server, written)| {
        let mut members = match server.offered() {
            Ok(inventory) => members(inventory, report.pins),
            Err(reason) => Map::from_iter([("error".to_owned(), json!(reason))]),
        };
        members.insert("name".to_owned(), json!(server.name));
        if let Some(path) = written {
            members.insert("written".to_owned(), json!(path.to_string_lossy()));
        }
        members
    });
    let mut servers: Vec<Map<String, Value>> = servers.collect();
    let mut answer = match servers.pop() {
        Some(alone) if report.is_alone => alone,
        last => {
            servers.extend(last);
            Map::from_iter([("servers".to_owned(), json!(servers))])
        }
    };
    let collisions = json!(report.judged.collisions);
    answer.insert("collisions".to_owned(), collisions);
    answer.insert("totals".to_owned(), totals(report.judged));
    answer.into()
}

fn members(inventory: &Inventory, pins: bool) -> Map<String, Value> {
    let tools: Vec<Value> = inventory.tools.iter().map(tool).collect();
    let instructions = inventory.instructions.as_ref().map(|own| {
        json!({
            "warnings": own.warnings,
            "digest": own.digest,
            "state": own.state.map(State::word),
            "changes": own.changes,
        })
    });
    let members = json!({
        "tools": tools,
        "removed": inventory.removed,
        "nameless": inventory.nameless,
        "instructions": instructions,
        "prompts": inventory.prompts,
        "resources": inventory.resources,
        "resourceTemplates": inventory.resource_templates,
        "policy": files::document(inventory, pins),
    });
    match members {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn tool(tool: &Tool) -> Value {
    let found = &tool.found;
    let verdict = tool.verdict.as_ref();
    json!({
        "name": tool.name,
        "category": found.category(),
        "severity": found.severity(),
        "confidence": found.confidence(),
        "evidence": found.evidence(),
        "actions": found.actions(),
        "rule": tool.rule,
        "warnings": tool.warnings,
        "digest": tool.digest,
        "state": tool.state.map(State::word),
        "changes": tool.changes,
        "verdict": verdict.map(|(outcome, rule)| json!({ "outcome": outcome, "rule": rule })),
    })
}

fn totals(all: &All) -> Value {
    let sum =
        |count: fn(&Inventory) -> Option<usize>| -> usize { all.offered().filter_map(count).sum() };
    let severities = all.severities();
    let severities =
        severities.map(|(severity, number)| (severity.as_str().to_owned(), json!(number)));
    json!({
        "servers": all.servers.len(),
        "failed": all.servers.len().saturating_sub(all.offered().count()),
        "tools": all.tools(),
        "severity": Map::from_iter(severities),
        "prompts": sum(|own| own.prompts),
        "resources": sum(|own| own.resources),
        "resourceTemplates": sum(|own| own.resource_templates),
        "warnings": all.warnings(),
    })
}
