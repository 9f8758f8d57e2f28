//! The same JSON text, written otherwise.

use std::fmt::{self, Write as _};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// With the members of every object in the opposite order, and with white space;
/// numbers and strings keep what they are written with.
pub fn json(text: &str) -> String {
    let mut out = String::from(" ");
    write(text.trim(), &mut out);
    out
}

fn write(text: &str, out: &mut String) {
    if text.starts_with('{') {
        let members: Members<'_> = serde_json::from_str(text).expect("it was read before");
        out.push('{');
        for (index, (key, value)) in members.0.iter().rev().enumerate() {
            out.push_str(if index == 0 { "\n" } else { " ,\r\n" });
            escaped(key, out);
            out.push_str("\t: ");
            write(value.get(), out);
        }
        out.push('}');
    } else if text.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).expect("it was read before");
        out.push('[');
        for (index, item) in items.iter().enumerate() {
            out.push_str(if index == 0 { "\t" } else { "\n," });
            write(item.get(), out);
        }
        out.push_str(" ]");
    } else {
        out.push_str(text);
    }
}

/// Every character as an escape.
fn escaped(key: &str, out: &mut String) {
    out.push('"');
    for unit in key.encode_utf16() {
        write!(out, "\\u{unit:04x}").expect("a string takes everything");
    }
    out.push('"');
}

/// The members of an object in their order.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'de: 't, 't> Deserialize<'de> for Members<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor).map(Members)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}
