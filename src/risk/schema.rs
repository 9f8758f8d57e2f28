//! The arguments that an `inputSchema` tells of.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::definition::{LONGEST_NAME, Parameter, beginning, shortened};

/// The most schemas that are looked at in one, so that references that lead to
/// each other come to an end.
const MOST_SCHEMAS: usize = 10_000;
const MOST_PARAMETERS: usize = 256;
pub(super) const MOST_VALUES: usize = 256;
/// The most bytes of a value that is judged: what is longer chooses nothing.
const LONGEST_VALUE: usize = 256;
/// How deep arguments are looked into.
const MOST_STEPS: usize = 6;

/// All of them, in the order in which they stand, and whether these are all.
pub(super) fn parameters(root: &Value) -> (Vec<Parameter>, bool) {
    let mut walk = Walk {
        root,
        seen: 0,
        found: Vec::new(),
        places: HashMap::new(),
        around: Vec::new(),
        is_whole: true,
    };
    walk.members(root, "args", 0);
    let parameters = walk.found.into_iter().map(|found| found.parameter);
    (parameters.collect(), walk.is_whole)
}

struct Walk<'s> {
    root: &'s Value,
    seen: usize,
    found: Vec<Found>,
    /// Where in these the argument with a path is.
    places: HashMap<String, usize>,
    /// The schemas in which this one stands.
    around: Vec<Plain<'s>>,
    is_whole: bool,
}

struct Found {
    parameter: Parameter,
    /// Whether it may also be a text that is not listed.
    is_open: bool,
}

/// What a schema leads to.
#[derive(Clone, Copy)]
struct Plain<'s>(&'s Map<String, Value>);

impl<'s> Walk<'s> {
    /// The schema and its alternatives, with references followed, each once.
    fn plain(&mut self, schema: &'s Value) -> Vec<Plain<'s>> {
        let mut waiting = vec![schema];
        let mut plain: Vec<Plain<'s>> = Vec::new();
        let mut known: HashSet<*const Map<String, Value>> = HashSet::new();
        while let Some(schema) = waiting.pop() {
            self.seen += 1;
            if self.has_seen_enough() {
                self.is_whole = false;
                break;
            }
            let Some(schema) = schema.as_object().map(Plain) else {
                continue;
            };
            if !known.insert(schema.0) {
                continue;
            }
            plain.push(schema);
            let reference = schema.text("$ref");
            if let Some(reference) = reference {
                let pointer = reference.strip_prefix('#');
                let pointer = pointer.filter(|pointer| pointer.len() <= LONGEST_NAME);
                let found = pointer.and_then(|pointer| self.root.pointer(pointer));
                // What stands elsewhere is not read.
                self.is_whole &= found.is_some();
                waiting.extend(found);
            }
            for key in ["allOf", "oneOf", "anyOf"] {
                let alternatives = schema.0.get(key).and_then(Value::as_array);
                waiting.extend(alternatives.into_iter().flatten().rev());
            }
        }
        plain
    }

    fn has_seen_enough(&self) -> bool {
        self.seen > MOST_SCHEMAS
    }

    fn members(&mut self, schema: &'s Value, path: &str, steps: usize) {
        for plain in self.plain(schema) {
            // What holds itself holds nothing new.
            if self.around.iter().any(|around| around.is(plain)) {
                continue;
            }
            if steps >= MOST_STEPS {
                self.is_whole &= !plain.holds_any();
                continue;
            }
            self.around.push(plain);
            let properties = plain.0.get("properties").and_then(Value::as_object);
            for (name, value) in properties.into_iter().flatten() {
                // Nothing more would be learnt, and there can be any number.
                if self.has_seen_enough() {
                    break;
                }
                self.is_whole &= name.len() <= LONGEST_NAME;
                let name = beginning(name);
                let path = step(path, name);
                self.parameter(name, value, &path);
                self.inside(name, value, &path, steps + 1);
            }
            if let Some(items) = plain.0.get("items") {
                self.members(items, &format!("{path}[*]"), steps + 1);
            }
            self.around.pop();
        }
    }

    /// What an argument holds that is no object itself, or one.
    fn inside(&mut self, name: &str, schema: &'s Value, path: &str, steps: usize) {
        for Plain(schema) in self.plain(schema) {
            if let Some(items) = schema.get("items") {
                self.parameter(name, items, &format!("{path}[*]"));
            }
        }
        self.members(schema, path, steps);
    }

    /// What alternatives say of one argument is added up.
    fn parameter(&mut self, name: &str, schema: &'s Value, path: &str) {
        let plain = self.plain(schema);
        let description = plain.iter().find_map(|plain| plain.text("description"));
        let mut values: Vec<&str> = Vec::new();
        let mut is_open = plain.is_empty();
        let mut is_no_text = !plain.is_empty();
        for plain in plain {
            values.extend(plain.values());
            is_open |= plain.takes_any_text();
            is_no_text &= plain.is_no_text();
        }
        let Some(found) = self.found_at(name, path) else {
            return;
        };
        let parameter = &mut found.parameter;
        found.is_open |= is_open;
        parameter.is_no_text &= is_no_text;
        if parameter.description.is_empty() {
            parameter.description = shortened(description.unwrap_or_default());
        }
        let mut are_many = values.iter().any(|value| value.len() > LONGEST_VALUE);
        for value in values {
            if parameter.values.len() > MOST_VALUES {
                break;
            }
            if !parameter.values.iter().any(|known| known == value) {
                parameter.values.push(value.to_owned());
            }
        }
        // What is not listed whole lists nothing.
        are_many |= parameter.values.len() > MOST_VALUES;
        found.is_open |= are_many;
        if found.is_open {
            parameter.values.clear();
        }
        self.is_whole &= !are_many;
    }
}

impl Walk<'_> {
    /// What is known of the argument, which may be known from another alternative.
    fn found_at(&mut self, name: &str, path: &str) -> Option<&mut Found> {
        let known = self.places.get(path).copied();
        let at = known.unwrap_or(self.found.len());
        if known.is_none() {
            if at >= MOST_PARAMETERS {
                self.is_whole = false;
                return None;
            }
            self.places.insert(path.to_owned(), at);
            self.found.push(Found {
                parameter: Parameter {
                    path: path.to_owned(),
                    name: shortened(name),
                    is_no_text: true,
                    ..Parameter::default()
                },
                is_open: false,
            });
        }
        self.found.get_mut(at)
    }
}

impl<'s> Plain<'s> {
    fn is(self, other: Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }

    fn text(self, key: &str) -> Option<&'s str> {
        self.0.get(key)?.as_str()
    }

    /// Whether there are arguments in it.
    fn holds_any(self) -> bool {
        self.0.contains_key("properties") || self.0.contains_key("items")
    }

    /// The texts that it lists.
    fn values(self) -> impl Iterator<Item = &'s str> {
        let listed = self.0.get("enum").and_then(Value::as_array);
        let only = self.0.get("const");
        let all = listed.into_iter().flatten().chain(only);
        all.filter_map(Value::as_str).take(MOST_VALUES + 1)
    }

    fn takes_any_text(self) -> bool {
        let lists = ["enum", "const", "$ref", "anyOf", "oneOf", "allOf"];
        !lists.iter().any(|key| self.0.contains_key(*key)) && !self.is_no_text()
    }

    /// Whether it is a number, true or false, or nothing. A list may be of texts.
    fn is_no_text(self) -> bool {
        let is_plain = |kind: &Value| {
            let kind = kind.as_str().unwrap_or_default();
            matches!(kind, "boolean" | "integer" | "null" | "number")
        };
        match self.0.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().all(is_plain),
            Some(kind) => is_plain(kind),
            None => false,
        }
    }
}

/// The path of a member, as it is written in a policy.
fn step(path: &str, name: &str) -> String {
    let is_plain = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    if is_plain(name) {
        format!("{path}.{name}")
    } else {
        format!("{path}[{}]", Value::from(name))
    }
}
