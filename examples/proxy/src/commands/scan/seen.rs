//! What was seen at a server, and what is kept of it for the next time.

use std::collections::BTreeMap;

use mcp_policy::{OnDrift, Pins};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The definitions of a server, each with its digest.
#[derive(Default)]
pub(super) struct Seen {
    /// `None` where one name has several definitions, or one that readers could take
    /// for different things: neither can be approved.
    tools: BTreeMap<String, Option<Definition>>,
    instructions: Option<Definition>,
}

/// A JSON text and its digest.
#[derive(Clone)]
pub(super) struct Definition {
    pub(super) text: Box<RawValue>,
    pub(super) digest: String,
}

impl Definition {
    pub(super) fn of(text: &RawValue) -> Option<Self> {
        Some(Self {
            digest: Pins::digest_of(text.get()).ok()?,
            text: text.to_owned(),
        })
    }
}

impl Seen {
    pub(super) fn add_tool(&mut self, name: &str, text: &RawValue) {
        let definition = Definition::of(text);
        let known = self.tools.get(name);
        let is_other = known.is_some_and(|known| {
            let digest = |definition: &Option<Definition>| {
                definition
                    .as_ref()
                    .map(|definition| definition.digest.clone())
            };
            digest(known) != digest(&definition)
        });
        let definition = definition.filter(|_| !is_other);
        self.tools.insert(name.to_owned(), definition);
    }

    pub(super) fn set_instructions(&mut self, text: &RawValue) {
        self.instructions = Definition::of(text);
    }

    pub(super) fn tool(&self, name: &str) -> Option<&Definition> {
        self.tools.get(name)?.as_ref()
    }

    pub(super) fn instructions(&self) -> Option<&Definition> {
        self.instructions.as_ref()
    }

    pub(super) fn has_tool(&self, name: &str) -> bool {
        self.tools.contains_key(name)
    }

    fn definitions(&self) -> impl Iterator<Item = (&String, &Definition)> {
        let tools = self.tools.iter();
        tools.filter_map(|(name, definition)| Some((name, definition.as_ref()?)))
    }

    /// The pins of exactly this. Models do not get to see what is another one.
    pub(super) fn pins(&self) -> Pins {
        let tools = self.definitions();
        let tools = tools.map(|(name, definition)| (name.clone(), definition.digest.clone()));
        let mut pins = Pins::default();
        pins.on_drift = OnDrift::Hide;
        pins.tools = Some(tools.collect());
        pins.instructions = self.instructions().map(|text| text.digest.clone());
        pins
    }

    /// What is kept beside the policy, so that it can be shown later what has changed.
    pub(super) fn kept(&self) -> Kept {
        let tools = self.definitions();
        let tools = tools.map(|(name, definition)| (name.clone(), definition.text.clone()));
        Kept {
            tools: tools.collect(),
            instructions: self.instructions().map(|text| text.text.clone()),
        }
    }
}

/// Definitions as they were approved. It is no authority: what does not fit the digest
/// in the policy is as if it were not there.
#[derive(Default, Deserialize, Serialize)]
pub(super) struct Kept {
    #[serde(default)]
    pub(super) tools: BTreeMap<String, Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) instructions: Option<Box<RawValue>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn what_is_not_clear_is_not_pinned() {
        let mut seen = Seen::default();
        seen.add_tool("a", &raw(r#"{"name":"a","x":1}"#));
        seen.add_tool("a", &raw(r#"{"x":1.0,"name":"a"}"#));
        seen.add_tool("b", &raw(r#"{"name":"b"}"#));
        seen.add_tool("b", &raw(r#"{"name":"b","x":1}"#));
        seen.add_tool("b", &raw(r#"{"name":"b"}"#));
        seen.add_tool("c", &raw(r#"{"name":"c","x":1,"x":2}"#));
        let pins = seen.pins();
        let tools = pins.tools.unwrap();
        let digest = Pins::digest_of(r#"{"name":"a","x":1}"#).unwrap();
        assert_eq!(tools, [("a".to_owned(), digest)].into());
        assert_eq!(pins.on_drift, OnDrift::Hide);
        assert!(seen.has_tool("c") && seen.tool("c").is_none());
    }
}
