//! What a tool says of its arguments: JSON Schema, as far as it is plain.
//!
//! Whatever is not plain is unknown. A schema comes from the server, so that
//! nothing in it may take long.

use std::fmt;

use serde_json::{Map, Value};

use super::super::condition::Step;

/// Schemas that one look may come to: alternatives, and what they refer to.
const MOST_ALTERNATIVES: usize = 32;

/// The `inputSchema` of a tool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schema<'s>(&'s Value);

/// What a schema says of the value at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing that could be told.
    Unknown,
    /// There is none.
    Missing,
    /// It has one of these types.
    Types(Types),
}

impl<'s> Schema<'s> {
    pub(super) fn new(schema: &'s Value) -> Self {
        Self(schema)
    }

    pub(super) fn look_up(self, steps: &[Step]) -> Found {
        let mut found = vec![self.0];
        for step in steps {
            let Some(alternatives) = self.plain(&found) else {
                return Found::Unknown;
            };
            let mut inside = Vec::new();
            for schema in alternatives {
                match enter(schema, step) {
                    Entered::Unknown => return Found::Unknown,
                    Entered::Missing => {}
                    Entered::Schema(schema) => inside.push(schema),
                }
            }
            if inside.is_empty() {
                return Found::Missing;
            }
            found = inside;
        }
        let Some(alternatives) = self.plain(&found) else {
            return Found::Unknown;
        };
        let mut types = alternatives.into_iter().map(Types::of);
        let types = types.try_fold(Types::NONE, |all, types| Some(all.or(types?)));
        types.map_or(Found::Unknown, Found::Types)
    }

    /// The names of the arguments.
    pub(super) fn arguments(self) -> impl Iterator<Item = &'s str> {
        let alternatives = self.plain(&[self.0]).unwrap_or_default();
        let properties = alternatives.into_iter().filter_map(properties);
        properties.flat_map(|properties| properties.keys().map(String::as_str))
    }

    /// These schemas, with references followed and alternatives beside each
    /// other; `None` if one of them is not plain.
    fn plain(self, schemas: &[&'s Value]) -> Option<Vec<&'s Map<String, Value>>> {
        let mut waiting = schemas.to_vec();
        let mut plain = Vec::new();
        let mut seen = 0_usize;
        while let Some(schema) = waiting.pop() {
            seen += 1;
            if seen > MOST_ALTERNATIVES {
                return None;
            }
            let schema = schema.as_object()?;
            let mut combined = schema
                .iter()
                .filter(|(key, _)| COMBINING.contains(&key.as_str()));
            match (combined.next(), combined.next()) {
                (None, _) => plain.push(schema),
                // What stands beside it narrows it further.
                (Some(_), _) if SHAPING.iter().any(|key| schema.contains_key(*key)) => return None,
                (Some((key, value)), None) => match (key.as_str(), value) {
                    ("$ref", Value::String(text)) => {
                        waiting.push(self.0.pointer(text.strip_prefix('#')?)?);
                    }
                    ("anyOf" | "oneOf", Value::Array(all)) => {
                        waiting.extend(all.iter().take(MOST_ALTERNATIVES));
                    }
                    // How some generators write a reference beside a description.
                    ("allOf", Value::Array(all)) => match all.as_slice() {
                        [only] => waiting.push(only),
                        _ => return None,
                    },
                    _ => return None,
                },
                (Some(_), Some(_)) => return None,
            }
        }
        Some(plain)
    }
}

const COMBINING: [&str; 8] = [
    "$ref",
    "$dynamicRef",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "dependentSchemas",
];

const SHAPING: [&str; 5] = ["type", "properties", "items", "enum", "const"];

enum Entered<'s> {
    Unknown,
    Missing,
    Schema(&'s Value),
}

/// One step from a schema to that of what is inside.
fn enter<'s>(schema: &'s Map<String, Value>, step: &Step) -> Entered<'s> {
    let container = match step {
        Step::Field(_) => Types::OBJECT,
        Step::Index(_) | Step::Each => Types::ARRAY,
    };
    match Types::of(schema) {
        Some(types) if !types.has(container) => return Entered::Missing,
        _ => {}
    }
    match step {
        Step::Field(name) => {
            if let Some(inner) = properties(schema).and_then(|all| all.get(&**name)) {
                return Entered::Schema(inner);
            }
            if schema.contains_key("patternProperties") {
                return Entered::Unknown;
            }
            match (schema.get("additionalProperties"), properties(schema)) {
                (Some(Value::Bool(false)), _) | (None, Some(_)) => Entered::Missing,
                _ => Entered::Unknown,
            }
        }
        Step::Index(_) | Step::Each => match schema.get("items") {
            Some(items) if !schema.contains_key("prefixItems") => Entered::Schema(items),
            _ => Entered::Unknown,
        },
    }
}

fn properties(schema: &Map<String, Value>) -> Option<&Map<String, Value>> {
    schema.get("properties")?.as_object()
}

/// Some of the types of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const NONE: Self = Self(0);
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOL: Self = Self(2);
    pub(super) const NUMBER: Self = Self(4);
    pub(super) const STRING: Self = Self(8);
    pub(super) const ARRAY: Self = Self(16);
    pub(super) const OBJECT: Self = Self(32);

    const NAMES: [(Self, &'static str); 6] = [
        (Self::STRING, "a string"),
        (Self::NUMBER, "a number"),
        (Self::BOOL, "true or false"),
        (Self::ARRAY, "a list"),
        (Self::OBJECT, "an object"),
        (Self::NULL, "null"),
    ];

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there is one that is in both.
    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The type of a value.
    pub(super) fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOL,
            Value::Number(_) => Self::NUMBER,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    /// Those that a schema allows, if it names them.
    fn of(schema: &Map<String, Value>) -> Option<Self> {
        if let Some(value) = schema.get("const") {
            return Some(Self::of_value(value));
        }
        if let Some(Value::Array(values)) = schema.get("enum") {
            let types = values.iter().map(Self::of_value);
            return Some(types.fold(Self::NONE, Self::or));
        }
        match schema.get("type")? {
            Value::String(name) => Self::named(name),
            Value::Array(names) => names.iter().try_fold(Self::NONE, |all, name| {
                Some(all.or(Self::named(name.as_str()?)?))
            }),
            _ => None,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::NULL,
            "boolean" => Self::BOOL,
            "number" | "integer" => Self::NUMBER,
            "string" => Self::STRING,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => return None,
        })
    }
}

impl fmt::Display for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::NAMES.iter().filter(|(types, _)| self.has(*types));
        for (index, (_, name)) in named.enumerate() {
            if index > 0 {
                f.write_str(" or ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::condition::Path;
    use super::*;

    fn found(schema: &Value, path: &str) -> Found {
        Schema::new(schema).look_up(Path::parse(path).unwrap().steps())
    }

    #[test]
    fn what_a_schema_says_of_a_path() {
        let schema = json!({
            "type": "object",
            "properties": {
                "text": { "type": "string" },
                "maybe": { "anyOf": [{ "type": "integer" }, { "type": "null" }] },
                "either": { "type": ["string", "boolean"] },
                "same": { "anyOf": [{ "type": "string" }, { "type": "string" }] },
                "word": { "enum": ["a", 1] },
                "any": {},
                "yes": true,
                "to": { "$ref": "#/$defs/To" },
                "wrapped": { "allOf": [{ "$ref": "#/$defs/To" }], "description": "x" },
                "open": { "type": "object" },
                "extra": { "type": "object", "properties": {}, "additionalProperties": true },
                "mixed": { "type": "object", "oneOf": [{ "type": "string" }] },
                "loop": { "$ref": "#/properties/loop" },
                "gone": { "$ref": "#/$defs/Gone" },
                "else": { "$ref": "https://example.com/a" },
                "pair": { "prefixItems": [{ "type": "string" }], "items": { "type": "number" } },
            },
            "$defs": { "To": { "type": "object", "properties": {
                "all": { "type": "array", "items": { "type": "string" } },
            } } },
        });
        let number_or_null = Types::NUMBER.or(Types::NULL);
        for (path, expected) in [
            ("args", Found::Types(Types::OBJECT)),
            ("args.text", Found::Types(Types::STRING)),
            ("args.maybe", Found::Types(number_or_null)),
            ("args.either", Found::Types(Types::STRING.or(Types::BOOL))),
            ("args.same", Found::Types(Types::STRING)),
            ("args.word", Found::Types(Types::STRING.or(Types::NUMBER))),
            ("args.to.all[*]", Found::Types(Types::STRING)),
            ("args.wrapped.all[0]", Found::Types(Types::STRING)),
            ("args.other", Found::Missing),
            ("args.text.inner", Found::Missing),
            ("args.text[0]", Found::Missing),
            ("args.to.other", Found::Missing),
            ("args.any", Found::Unknown),
            ("args.yes", Found::Unknown),
            ("args.open.a", Found::Unknown),
            ("args.extra.a", Found::Unknown),
            ("args.mixed", Found::Unknown),
            ("args.loop", Found::Unknown),
            ("args.gone", Found::Unknown),
            ("args.else", Found::Unknown),
            ("args.pair[0]", Found::Unknown),
        ] {
            assert_eq!(found(&schema, path), expected, "{path}");
        }
    }

    #[test]
    fn a_schema_that_is_none_says_nothing() {
        for schema in [json!(null), json!(true), json!([]), json!({})] {
            assert_eq!(found(&schema, "args.a"), Found::Unknown, "{schema}");
        }
        let closed = json!({ "type": "object", "additionalProperties": false });
        assert_eq!(found(&closed, "args.a"), Found::Missing);
    }

    #[test]
    fn so_many_alternatives_are_looked_at() {
        let with = |alternatives: usize| {
            let schema = json!({ "anyOf": vec![json!({ "type": "string" }); alternatives] });
            found(&schema, "args")
        };
        // It counts as one itself.
        let most = MOST_ALTERNATIVES - 1;
        assert_eq!(with(most), Found::Types(Types::STRING));
        assert_eq!(with(most + 1), Found::Unknown);
        assert_eq!(with(10 * most), Found::Unknown);
    }

    #[test]
    fn types_are_said_in_words() {
        let words = |types: Types| types.to_string();
        assert_eq!(words(Types::STRING), "a string");
        assert_eq!(
            words(Types::NULL.or(Types::NUMBER).or(Types::OBJECT)),
            "a number or an object or null"
        );
    }

    #[test]
    fn a_schema_that_grows_is_given_up() {
        let both = json!([{ "$ref": "#/$defs/a" }, { "$ref": "#/$defs/a" }]);
        let schema = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "anyOf": both } } });
        assert_eq!(found(&schema, "args.a"), Found::Unknown);
        assert_eq!(Schema::new(&schema).arguments().count(), 0);
    }
}
