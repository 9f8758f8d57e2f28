//! The pieces that every part of a document is read with, and what is said where
//! one of them does not fit.

use super::super::diagnostic::{Problem, Problems, join, printable, quote};
use crate::json::tree::{Member, Node, Value};

/// The fields of one kind of object.
pub(super) struct Fields {
    pub(super) known: &'static [&'static str],
    /// Those of the language that this build does not enforce yet.
    pub(super) later: &'static [&'static str],
}

/// The words that a field takes, and what each of them means.
pub(super) struct Choice<T: 'static> {
    pub(super) known: &'static [(&'static str, T)],
    pub(super) later: &'static [&'static str],
    pub(super) expected: &'static str,
}

/// Reads nodes and reports what it did not expect.
pub(super) struct Reader<'p> {
    pub(super) problems: &'p mut Problems,
}

impl Reader<'_> {
    pub(super) fn object<'n>(&mut self, node: &'n Node, pointer: &str) -> Option<&'n [Member]> {
        match &node.value {
            Value::Object(members) => Some(members),
            _ => {
                self.wrong(node, pointer, "an object");
                None
            }
        }
    }

    pub(super) fn list<'n>(
        &mut self,
        node: &'n Node,
        pointer: &str,
        expected: &str,
    ) -> Option<&'n [Node]> {
        match &node.value {
            Value::Array(items) => Some(items),
            _ => {
                self.wrong(node, pointer, expected);
                None
            }
        }
    }

    pub(super) fn text(&mut self, node: &Node, pointer: &str) -> Option<String> {
        match &node.value {
            Value::String(text) => Some(text.clone()),
            _ => {
                self.wrong(node, pointer, "a string");
                None
            }
        }
    }

    /// Takes one of several words for `field`; leaves it alone if it is none.
    pub(super) fn set<T: Copy>(
        &mut self,
        choice: &Choice<T>,
        node: &Node,
        pointer: &str,
        field: &mut T,
    ) {
        if let Some(meaning) = self.choose(choice, node, pointer) {
            *field = meaning;
        }
    }

    pub(super) fn choose<T: Copy>(
        &mut self,
        choice: &Choice<T>,
        node: &Node,
        pointer: &str,
    ) -> Option<T> {
        let Value::String(word) = &node.value else {
            self.wrong(node, pointer, choice.expected);
            return None;
        };
        let meaning = choice.known.iter().find(|(known, _)| known == word);
        if meaning.is_none() {
            self.problems.report(|| {
                let found = printable(word);
                if choice.later.contains(&word.as_str()) {
                    let message = format!("\"{found}\" is not supported yet");
                    return Problem::at_value(pointer.to_owned(), message).with_help(LATER);
                }
                let message = format!("found \"{found}\", expected {}", choice.expected);
                let problem = Problem::at_value(pointer.to_owned(), message);
                match nearest(word, choice.known.iter().map(|(known, _)| *known)) {
                    Some(known) => problem.with_help(format!("did you mean \"{known}\"?")),
                    None => problem,
                }
            });
        }
        meaning.map(|(_, meaning)| *meaning)
    }

    pub(super) fn no_field(&mut self, fields: &Fields, member: &Member, parent: &str) {
        let key = member.key.as_str();
        self.problems.report(|| {
            let pointer = join(parent, key);
            if fields.later.contains(&key) {
                let message = format!("field {} is not supported yet", quote(key));
                return Problem::at_key(pointer, message).with_help(LATER);
            }
            let all = fields.known.iter().chain(fields.later).copied();
            let help = match nearest(key, all) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("the fields here are `{}`", fields.known.join("`, `")),
            };
            Problem::at_key(pointer, format!("unknown field {}", quote(key))).with_help(help)
        });
    }

    /// Reports an object without this field. What is no object has been
    /// reported for that.
    pub(super) fn demand(&mut self, node: &Node, pointer: &str, field: &str, help: &str) {
        match &node.value {
            Value::Object(members) if !members.iter().any(|member| member.key == field) => {}
            _ => return,
        }
        // The brace that opens the object, rather than all of it.
        let brace = node.span.start..node.span.start + 1;
        self.problems.report(|| {
            let mut problem = Problem::at_bytes(brace, format!("the field `{field}` is missing"));
            problem.pointer = pointer.to_owned();
            problem.with_help(help)
        });
    }

    pub(super) fn wrong(&mut self, node: &Node, pointer: &str, expected: &str) {
        self.problems.report(|| {
            let message = format!("found {}, expected {expected}", describe(&node.value));
            Problem::at_value(pointer.to_owned(), message)
        });
    }
}

const LATER: &str = "this build does not enforce it, and nothing in a policy is ever read and \
                     ignored: leave it out, or use a build that does";

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(token) => format!("the number {}", printable(token)),
        Value::String(text) => format!("the string \"{}\"", printable(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The known word that `word` was probably meant to be.
pub(in crate::policy) fn nearest<'k>(
    word: &str,
    known: impl Iterator<Item = &'k str>,
) -> Option<&'k str> {
    let length = word.chars().take(LONGEST_WORD + 1).count();
    if length > LONGEST_WORD {
        return None;
    }
    let word = word.to_lowercase();
    known
        .map(|known| (strsim::damerau_levenshtein(&word, known), known))
        .filter(|(distance, known)| *distance <= (length.max(known.len()) / 3).max(1))
        .min()
        .map(|(_, known)| known)
}

/// Longer than any word of the language; the distance to such a word tells
/// nothing and takes long to find.
const LONGEST_WORD: usize = 40;
