//! What a server says of a tool, as far as it is looked at.

use serde_json::Value;

use super::schema;
use crate::json::{Profile, Reader};

/// The most bytes of a text that are looked at.
const LONGEST_TEXT: usize = 4_096;
pub(super) const LONGEST_NAME: usize = 1_024;

/// A tool as a server lists it: what [`classify`](super::classify) looks at.
///
/// Of a description 4 096 bytes are looked at. A tool with a name longer than 1 024
/// bytes, with more than 256 arguments or 256 values of one, with a value longer than 256 bytes, with arguments more than six
/// deep in each other, or with a `$ref` that leads out of its `inputSchema`, is not read
/// whole: it is at least [`Unknown`](super::RiskCategory::Unknown).
///
/// ```
/// use mcp_policy::ToolDefinition;
/// use serde_json::json;
///
/// let tool = ToolDefinition::from_value(&json!({
///     "name": "refund",
///     "description": "Refund a payment.",
///     "inputSchema": { "type": "object", "properties": { "amount": { "type": "number" } } },
/// }));
/// assert_eq!(tool.unwrap().name(), "refund");
/// assert_eq!(ToolDefinition::from_value(&json!({ "title": "nameless" })), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolDefinition {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) parameters: Vec<Parameter>,
    pub(super) hints: Hints,
    /// Whether there is more than is looked at.
    pub(super) is_cut: bool,
}

/// What the server says of the tool for programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hints {
    pub(super) read_only: Option<bool>,
    pub(super) destructive: Option<bool>,
}

/// One argument, or what is in one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameter {
    /// `args.action`, as in a policy.
    pub(super) path: String,
    pub(super) name: String,
    pub(super) description: String,
    /// The texts that it may be; empty if it may be others.
    pub(super) values: Vec<String>,
    /// Whether it is no text, as far as that is said.
    pub(super) is_no_text: bool,
}

impl ToolDefinition {
    /// The tool of this name, of which nothing else is known.
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            is_cut: name.len() > LONGEST_NAME,
            name,
            ..Self::default()
        }
    }

    /// An entry of the `tools` of an answer to `tools/list`; `None` if it has no
    /// name. What is of another type than it should be is as if it were not there.
    pub fn from_value(tool: &Value) -> Option<Self> {
        let name = tool.get("name")?.as_str()?;
        let annotations = tool.get("annotations");
        let hint = |name| annotations?.get(name)?.as_bool();
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(shortened);
        let description = text(tool.get("description")).filter(|text| !text.trim().is_empty());
        let title = || text(tool.get("title"));
        let schema = tool.get("inputSchema").unwrap_or(&Value::Null);
        let (parameters, is_whole) = schema::parameters(schema);
        let named = Self::named(name);
        Some(Self {
            description: description.or_else(title).unwrap_or_default(),
            parameters,
            is_cut: named.is_cut || !is_whole,
            hints: Hints {
                read_only: hint("readOnlyHint"),
                destructive: hint("destructiveHint"),
            },
            ..named
        })
    }

    /// The same from the text of the entry; `None` also if that is not JSON, or such
    /// that JSON readers could take it for different things: with a key twice, say.
    pub fn from_json(text: &str) -> Option<Self> {
        let mut reader = Reader::new(text.as_bytes(), Profile::MESSAGE).ok()?;
        reader.skip().ok()?;
        reader.finish().ok()?;
        Self::from_value(&serde_json::from_str(text).ok()?)
    }

    /// What it is called by.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// As much of a text as is looked at.
pub(super) fn shortened(text: &str) -> String {
    cut(text, LONGEST_TEXT).to_owned()
}

/// As much of a name as is looked at.
pub(super) fn beginning(name: &str) -> &str {
    cut(name, LONGEST_NAME)
}

fn cut(text: &str, longest: usize) -> &str {
    let mut ends = (0..=longest.min(text.len())).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}
