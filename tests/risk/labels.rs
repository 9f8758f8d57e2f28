//! The labelled tools.

use std::collections::BTreeMap;
use std::fmt;

use mcp_policy::{RiskCategory, Siblings, ToolDefinition};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// One line of the set.
pub(crate) struct Label {
    pub(crate) server: String,
    pub(crate) tool: ToolDefinition,
    pub(crate) listed: Value,
    pub(crate) category: RiskCategory,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.server, self.tool.name())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// That the word lists were made with.
    Worked,
    /// That nobody looked at meanwhile.
    Kept,
}

impl Label {
    pub(crate) fn half(&self) -> Half {
        let text = format!("{}\n{}", self.server, self.tool.name());
        match Sha256::digest(text.as_bytes()).last() {
            Some(byte) if byte & 1 == 1 => Half::Kept,
            _ => Half::Worked,
        }
    }
}

pub(crate) fn all() -> Vec<Label> {
    let mut lines = include_str!("labelled.tsv").lines();
    let heads = "server\ttool\tparameters\tsays\tcategory\twhy";
    assert_eq!(lines.next(), Some(heads));
    lines.map(read).collect()
}

fn read(line: &str) -> Label {
    let fields: Vec<&str> = line.split('\t').collect();
    let [server, name, parameters, says, category, _why] = fields[..] else {
        panic!("{line}");
    };
    let listed = json!({
        "name": name,
        "description": says,
        "inputSchema": schema(parameters),
    });
    let mut categories = RiskCategory::ALL.into_iter();
    let category = categories.find(|known| known.as_str() == category);
    Label {
        server: server.to_owned(),
        tool: ToolDefinition::from_value(&listed).unwrap(),
        listed,
        category: category.unwrap_or_else(|| panic!("{line}")),
    }
}

/// `name?=a/b` is an enum, `name{…}` an object.
fn schema(parameters: &str) -> Value {
    let mut properties = Map::new();
    for part in parts(parameters) {
        let (name, value) = if let Some((name, inner)) = part.split_once('{') {
            (name, schema(inner.trim_end_matches('}')))
        } else if let Some((name, values)) = part.split_once('=') {
            let values: Vec<&str> = values.split('/').collect();
            (name, json!({ "type": "string", "enum": values }))
        } else {
            (part, json!({}))
        };
        properties.insert(name.trim_end_matches('?').to_owned(), value);
    }
    json!({ "type": "object", "properties": properties })
}

/// At the commas that stand in no object.
fn parts(parameters: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let parts = parameters.split(move |character| {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts.filter(|part| !part.is_empty())
}

pub(crate) fn siblings(labels: &[Label]) -> BTreeMap<String, Siblings> {
    by_server(labels)
        .into_iter()
        .map(|(server, labels)| {
            let tools: Vec<_> = labels.iter().map(|label| label.tool.clone()).collect();
            (server.to_owned(), Siblings::of(&tools))
        })
        .collect()
}

pub(crate) fn by_server(labels: &[Label]) -> BTreeMap<&str, Vec<&Label>> {
    let mut servers: BTreeMap<&str, Vec<&Label>> = BTreeMap::new();
    for label in labels {
        servers.entry(&label.server).or_default().push(label);
    }
    servers
}
