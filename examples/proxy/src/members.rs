//! JSON that people write for a command, read strictly and with its places.
//!
//! Nothing that is said of it repeats a value, because the values are those of
//! calls.

use std::fmt;

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::names::shown;

/// The members of an object in their order, each of them known and once there.
#[derive(Debug)]
pub(crate) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads an object that may have these members.
    pub(crate) fn read(raw: &'a RawValue, known: &[&str]) -> Result<Self, String> {
        if kind(raw) != "an object" {
            return Err(format!("found {}, expected an object", kind(raw)));
        }
        let AsWritten(members) = serde_json::from_str(raw.get())
            .map_err(|_| "it cannot be read as an object".to_owned())?;
        for (index, (name, _)) in members.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(format!(
                    "unknown member `{}`: the members here are `{}`",
                    shown(name),
                    known.join("`, `")
                ));
            }
            if members.iter().take(index).any(|(other, _)| other == name) {
                return Err(format!("`{name}` is here twice"));
            }
        }
        Ok(Self(members))
    }

    /// Reads an object that may have any members, also twice.
    pub(crate) fn any(raw: &'a RawValue) -> Option<Self> {
        let AsWritten(members) = serde_json::from_str(raw.get()).ok()?;
        Some(Self(members))
    }

    /// The member that is written last.
    pub(crate) fn last(&self) -> Option<&'a RawValue> {
        self.0.last().map(|(_, value)| *value)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let member = self.0.iter().find(|(own, _)| own == name)?;
        Some(member.1)
    }

    /// A member that is a text, if it is there.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, String> {
        let Some(raw) = self.get(name) else {
            return Ok(None);
        };
        if kind(raw) != "a string" {
            return Err(format!("`{name}`: found {}, expected a string", kind(raw)));
        }
        let text = serde_json::from_str(raw.get());
        text.map(Some)
            .map_err(|_| format!("`{name}`: this is not a readable string"))
    }

    /// A member that is an object, if it is there, as it is written.
    pub(crate) fn object(&self, name: &str) -> Result<Option<&'a str>, String> {
        match self.get(name) {
            Some(raw) if kind(raw) == "an object" => Ok(Some(raw.get())),
            Some(raw) => Err(format!("`{name}`: found {}, expected an object", kind(raw))),
            None => Ok(None),
        }
    }
}

/// Reads a whole text, which can hold any value.
pub(crate) fn parse(text: &str) -> Result<&RawValue, String> {
    // Says where it goes wrong, and repeats nothing.
    serde_json::from_str(text).map_err(|error| format!("this is not JSON: {error}"))
}

/// What kind of value it is.
pub(crate) fn kind(raw: &RawValue) -> &'static str {
    match raw.get().trim_start().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// All members, the same name more than once if it is there so.
pub(crate) struct AsWritten<'a>(pub(crate) Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for AsWritten<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = AsWritten<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(AsWritten(members))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}
