//! The pieces that every part of a document is read with, and what is said where
//! one of them does not fit.

use std::ops::Range;

use super::super::diagnostic::{Place, Problem, Problems, printable, quote};
use crate::json::tree::{Member, Node, Value};

/// The fields of one kind of object.
pub(super) struct Fields {
    pub(super) known: &'static [&'static str],
    /// What people call some of them who know other policies.
    pub(super) other_names: &'static [(&'static str, &'static str)],
    /// Those that stand in objects like this one, but not here.
    pub(super) elsewhere: &'static [Elsewhere],
}

/// Why a field is not where somebody looked for it.
pub(super) struct Elsewhere {
    pub(super) field: &'static str,
    pub(super) message: &'static str,
    pub(super) help: &'static str,
}

impl Fields {
    fn has(&self, key: &str) -> bool {
        self.known.contains(&key)
    }

    fn nearest(&self, key: &str) -> Option<&'static str> {
        let other = self.other_names.iter().find(|(other, _)| *other == key);
        let meant = other.map(|(_, known)| *known);
        meant.or_else(|| nearest(key, self.known.iter().copied()))
    }
}

/// The words that a field takes, and what each of them means.
pub(super) struct Choice<T: 'static> {
    pub(super) known: &'static [(&'static str, T)],
    pub(super) expected: &'static str,
}

/// Reads nodes and reports what it did not expect.
pub(super) struct Reader<'p> {
    pub(super) problems: &'p mut Problems,
}

impl Reader<'_> {
    pub(super) fn object<'n>(&mut self, node: &'n Node, place: &Place<'_>) -> Option<&'n [Member]> {
        match &node.value {
            Value::Object(members) => Some(members),
            _ => {
                self.wrong(node, place, "an object");
                None
            }
        }
    }

    pub(super) fn list<'n>(
        &mut self,
        node: &'n Node,
        place: &Place<'_>,
        expected: &str,
    ) -> Option<&'n [Node]> {
        match &node.value {
            Value::Array(items) => Some(items),
            _ => {
                self.wrong(node, place, expected);
                None
            }
        }
    }

    pub(super) fn text(&mut self, node: &Node, place: &Place<'_>) -> Option<String> {
        match &node.value {
            Value::String(text) => Some(text.clone()),
            _ => {
                self.wrong(node, place, "a string");
                None
            }
        }
    }

    /// Takes one of several words for `field`; leaves it alone if it is none.
    pub(super) fn set<T: Copy>(
        &mut self,
        choice: &Choice<T>,
        node: &Node,
        place: &Place<'_>,
        field: &mut T,
    ) {
        if let Some(meaning) = self.choose(choice, node, place) {
            *field = meaning;
        }
    }

    pub(super) fn choose<T: Copy>(
        &mut self,
        choice: &Choice<T>,
        node: &Node,
        place: &Place<'_>,
    ) -> Option<T> {
        let Value::String(word) = &node.value else {
            self.wrong(node, place, choice.expected);
            return None;
        };
        let meaning = choice.known.iter().find(|(known, _)| known == word);
        if meaning.is_none() {
            self.problems.report(|| {
                let found = printable(word);
                let message = format!("found \"{found}\", expected {}", choice.expected);
                let problem = Problem::in_text(node.span.clone(), place, message);
                match nearest(word, choice.known.iter().map(|(known, _)| *known)) {
                    Some(known) => problem.with_help(format!("did you mean \"{known}\"?")),
                    None => problem,
                }
            });
        }
        meaning.map(|(_, meaning)| *meaning)
    }

    pub(super) fn no_field(&mut self, fields: &Fields, member: &Member, parent: &Place<'_>) {
        let key = member.key.as_str();
        let span = || member.key_span.clone();
        self.problems.report(|| {
            let place = Place::Member(parent, key);
            if let Some(why) = fields.elsewhere.iter().find(|why| why.field == key) {
                return Problem::in_text(span(), &place, why.message).with_help(why.help);
            }
            let help = match fields.nearest(key) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("the fields here are `{}`", fields.known.join("`, `")),
            };
            let message = format!("unknown field {}", quote(key));
            Problem::in_text(span(), &place, message).with_help(help)
        });
    }

    /// Reports an object without this field. What is no object has been
    /// reported for that, and a field that is probably this one for its name.
    pub(super) fn demand(
        &mut self,
        fields: &Fields,
        node: &Node,
        place: &Place<'_>,
        field: &str,
        help: &str,
    ) {
        let Value::Object(members) = &node.value else {
            return;
        };
        let keys = members.iter().map(|member| member.key.as_str());
        // Of very many others none is looked at twice: they are reported anyway.
        let mut others = keys
            .clone()
            .filter(|key| !fields.has(key))
            .take(MOST_OTHERS);
        let is_meant = |key: &str| fields.nearest(key) == Some(field);
        if keys.clone().any(|key| key == field) || others.any(is_meant) {
            return;
        }
        self.problems.report(|| {
            let message = format!("the field `{field}` is missing");
            Problem::in_text(brace(node), place, message).with_help(help)
        });
    }

    pub(super) fn wrong(&mut self, node: &Node, place: &Place<'_>, expected: &str) {
        self.problems.report(|| unexpected(node, place, expected));
    }

    /// The same, with what helps.
    pub(super) fn wrong_but(&mut self, node: &Node, place: &Place<'_>, expected: &str, help: &str) {
        self.problems
            .report(|| unexpected(node, place, expected).with_help(help));
    }
}

fn unexpected(node: &Node, place: &Place<'_>, expected: &str) -> Problem {
    let message = format!("found {}, expected {expected}", describe(&node.value));
    Problem::in_text(node.span.clone(), place, message)
}

/// Fields that are compared with one that is missing.
const MOST_OTHERS: usize = 32;

/// What opens an object or a list, rather than all of it.
pub(super) fn brace(node: &Node) -> Range<usize> {
    node.span.start..node.span.start + 1
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_than_any_word_is_like_none() {
        let word = |length: usize| "x".repeat(length);
        let longest = word(LONGEST_WORD);
        assert_eq!(nearest(&longest, [&*longest].into_iter()), Some(&*longest));
        let longer = word(LONGEST_WORD + 1);
        assert_eq!(nearest(&longer, [&*longest].into_iter()), None);
        let much_longer = word(2 * LONGEST_WORD);
        assert_eq!(nearest(&much_longer, [&*much_longer].into_iter()), None);
    }
}
