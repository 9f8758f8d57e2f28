//! What a document says of definitions that somebody has approved.

use std::collections::BTreeMap;

use super::super::diagnostic::Place;
use super::super::document::{OnDrift, Pins};
use super::super::pins::read_digest;
use super::reader::{Choice, Fields, Reader};
use crate::json::tree::{Node, Value};

const PINS: Fields = Fields {
    known: &["on_drift", "tools", "instructions"],
    other_names: &[("drift", "on_drift"), ("tool", "tools")],
    elsewhere: &[],
};

const ON_DRIFT: Choice<OnDrift> = Choice {
    known: &[("deny", OnDrift::Deny), ("hide", OnDrift::Hide)],
    expected: r#""deny" or "hide""#,
};

const DIGEST: &str = "`sha256:` and 64 hexadecimal digits in lower case";

const ADVICE: &str = "`Pins::digest_of` makes it of what the server lists";

impl Reader<'_> {
    pub(super) fn pins(&mut self, node: &Node, place: &Place<'_>) -> Option<Pins> {
        let members = self.object(node, place)?;
        let mut pins = Pins::default();
        for member in members {
            let at = Place::Member(place, &member.key);
            let node = &member.value;
            match member.key.as_str() {
                "on_drift" => self.set(&ON_DRIFT, node, &at, &mut pins.on_drift),
                "tools" => pins.tools = self.pinned_tools(node, &at),
                "instructions" => pins.instructions = self.digest(node, &at),
                _ => self.no_field(&PINS, member, place),
            }
        }
        Some(pins)
    }

    fn pinned_tools(&mut self, node: &Node, place: &Place<'_>) -> Option<BTreeMap<String, String>> {
        let mut tools = BTreeMap::new();
        for member in self.object(node, place)? {
            let digest = self.digest(&member.value, &Place::Member(place, &member.key));
            tools.insert(member.key.clone(), digest.unwrap_or_default());
        }
        Some(tools)
    }

    fn digest(&mut self, node: &Node, place: &Place<'_>) -> Option<String> {
        match &node.value {
            Value::String(text) if read_digest(text).is_some() => Some(text.clone()),
            _ => {
                self.wrong_but(node, place, DIGEST, ADVICE);
                None
            }
        }
    }
}
