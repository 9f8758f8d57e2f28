//! The tools of a server, as it defines them.

use mcp_policy::ToolDefinition;
use serde_json::{Value, value::RawValue};

/// Tools with a name, each of them three times, in the same order.
pub(crate) struct Definitions {
    pub(crate) definitions: Vec<ToolDefinition>,
    pub(crate) values: Vec<Value>,
    pub(crate) texts: Vec<Box<RawValue>>,
    /// Entries of the list that have no name.
    pub(crate) nameless: usize,
}

impl Definitions {
    /// Reads the entries of a list of tools.
    pub(crate) fn read(list: Vec<Box<RawValue>>) -> Result<Self, String> {
        let (mut definitions, mut values, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        let mut nameless = 0_usize;
        for text in list {
            let value: Value = serde_json::from_str(text.get())
                .map_err(|error| format!("a tool cannot be read: {error}"))?;
            match ToolDefinition::from_value(&value) {
                Some(definition) => {
                    definitions.push(definition);
                    values.push(value);
                    texts.push(text);
                }
                None => nameless = nameless.saturating_add(1),
            }
        }
        Ok(Self {
            definitions,
            values,
            texts,
            nameless,
        })
    }
}
