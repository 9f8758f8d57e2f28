//! Member names that the protocol gives a meaning, and names that some reader
//! takes for them.

use std::str::Chars;

use unicase::UniCase;
use unicode_normalization::UnicodeNormalization as _;

/// Every member name that decides what a message is or what it acts on.
const PROTOCOL_KEYS: &[&str] = &[
    "jsonrpc",
    "id",
    "method",
    "params",
    "result",
    "error",
    "name",
    "arguments",
    "uri",
    "taskId",
    "cursor",
    "ref",
    "_meta",
    "inputResponses",
    "requestState",
    "task",
    "notifications",
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
];

/// Whether a name that is not itself a protocol key could be read as one.
///
/// Some readers ignore case or fold letters, some stop at a NUL, some trim,
/// some take `task_id` for `taskId`, and some turn `__proto__` into whatever
/// they like. No honest name holds a control character.
pub(crate) fn is_look_alike(key: &str) -> bool {
    key == "__proto__"
        || has_control(key)
        || (!PROTOCOL_KEYS.contains(&key) && folds_onto(key, PROTOCOL_KEYS))
}

/// The same in `_meta`, where applications keep names of their own: only case,
/// trailing NULs and control characters count there, except against the names
/// that the protocol itself has in it.
pub(crate) fn is_look_alike_in_meta(key: &str) -> bool {
    const OWN: &[&str] = &[
        "io.modelcontextprotocol/protocolVersion",
        "io.modelcontextprotocol/clientCapabilities",
    ];
    let fold = |character: char| match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    let is_same = match key.is_ascii() {
        true => {
            let mut names = PROTOCOL_KEYS.iter();
            names.any(|name| name.eq_ignore_ascii_case(key))
        }
        false => {
            let same = |name: &&str| key.chars().map(fold).eq(name.chars().map(fold));
            PROTOCOL_KEYS.iter().any(same)
        }
    };
    key == "__proto__"
        || has_control(key)
        || ((is_same || folds_onto(key, OWN)) && !PROTOCOL_KEYS.contains(&key))
}

/// Whether there is a control character in a key.
fn has_control(key: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~');
    !key.bytes().all(is_plain) && key.chars().any(char::is_control)
}

/// Whether `key` equals one of `names` in the eyes of some reader.
#[inline]
pub(crate) fn folds_onto(key: &str, names: &[&str]) -> bool {
    !begins_otherwise(key.as_bytes(), names) && equals_folded(key, names)
}

/// How some names begin, each with two ASCII letters: most other keys differ from all of
/// them there already.
#[derive(Debug)]
pub(crate) struct Beginnings<const N: usize>([u16; N]);

impl<const N: usize> Beginnings<N> {
    /// Of names that begin with two letters or digits.
    #[allow(
        clippy::indexing_slicing,
        reason = "it is made when the crate is compiled"
    )]
    pub(crate) const fn of(names: [&str; N]) -> Self {
        let mut all = [0; N];
        let mut index = 0;
        while index < N {
            let name = names[index].as_bytes();
            let (first, second) = (name[0], name[1]);
            assert!(first.is_ascii_alphanumeric() && second.is_ascii_alphanumeric());
            all[index] = beginning(first, second);
            index += 1;
        }
        Self(all)
    }

    /// Whether it is plain to see that a key equals none of the names in the eyes of any
    /// reader: by its first two letters or digits, which stay what they are before any
    /// other ASCII character.
    #[inline(always)]
    pub(crate) fn has_none_of(&self, key: &str) -> bool {
        let (first, second) = match key.as_bytes() {
            [first, second, third, ..] if third.is_ascii() => (*first, *second),
            _ => return false,
        };
        let has_letters = first.is_ascii_alphanumeric() && second.is_ascii_alphanumeric();
        has_letters && !self.0.contains(&beginning(first, second))
    }
}

/// Two letters, in lower case.
const fn beginning(first: u8, second: u8) -> u16 {
    u16::from_le_bytes([first.to_ascii_lowercase(), second.to_ascii_lowercase()])
}

/// Whether it is plain to see that a key equals none of the names: by its first letter or
/// digit, which stays what it is before any other ASCII character.
#[inline]
pub(crate) fn begins_otherwise(key: &[u8], names: &[&str]) -> bool {
    let mut key = key.iter();
    let Some(first) = key.next().filter(|first| first.is_ascii_alphanumeric()) else {
        return false;
    };
    let differs = |own: u8| own.is_ascii_alphanumeric() && !own.eq_ignore_ascii_case(first);
    key.next().is_none_or(|second| second.is_ascii())
        && names
            .iter()
            .all(|name| name.bytes().next().is_some_and(differs))
}

fn equals_folded(key: &str, names: &[&str]) -> bool {
    if key.is_ascii() {
        return names
            .iter()
            .any(|name| significant_ascii(key).eq(significant_ascii(name)));
    }
    let folded = UniCase::unicode(key.nfkc().collect::<String>()).to_folded_case();
    names
        .iter()
        .any(|name| significant(folded.chars()).eq(significant(name.chars())))
}

/// The letters, digits and slashes, in lower case: what is left when nothing
/// counts that some reader ignores.
fn significant(characters: Chars<'_>) -> impl Iterator<Item = char> {
    characters
        .filter(|character| character.is_alphanumeric() || *character == '/')
        .map(|character| character.to_ascii_lowercase())
}

/// The same of a text that is ASCII.
fn significant_ascii(text: &str) -> impl Iterator<Item = u8> {
    text.bytes()
        .filter(|byte| byte.is_ascii_alphanumeric() || *byte == b'/')
        .map(|byte| byte.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_begins_otherwise_equals_nothing(
            key in "[nNuU_m\u{e9}\u{303}\u{338}\u{17f}\u{ff4e}\u{200b} a]{0,2}(ame|ri|AME|\\PC{0,3})",
            names in prop::sample::subsequence(PROTOCOL_KEYS, 0..4),
        ) {
            for names in [&names[..], &["name"], &["uri"], PROTOCOL_KEYS] {
                prop_assert_eq!(folds_onto(&key, names), equals_folded(&key, names));
            }
        }

        #[test]
        fn what_has_another_beginning_equals_nothing(
            key in "[a-z\u{e9}\u{303}\u{338}\u{17f}\u{ff54}\u{200b}_ CTPR]{0,3}(ols|sult|cheScope|Scope|MS|\\PC{0,3})",
        ) {
            const NAMES: [&str; 4] = ["tools", "result", "cacheScope", "ttlMs"];
            if Beginnings::of(NAMES).has_none_of(&key) {
                prop_assert!(!equals_folded(&key, &NAMES));
            }
        }

        #[test]
        fn a_look_alike_in_meta_is_one_to_the_letter(
            key in "(na|me|id|Ur|ta|r)(me|thod|i|s|sk|\u{17f}k|ID|ef|\\PC)?(\\PC|I[dD]|[\u{0}\u{7f}\u{85}])?|__proto__",
        ) {
            let lower = |key: &str| {
                let key = key.replace('\u{17f}', "s").replace('\u{212a}', "k");
                key.to_ascii_lowercase()
            };
            let same = PROTOCOL_KEYS.iter().any(|name| lower(name) == lower(&key));
            let expected = !PROTOCOL_KEYS.contains(&&*key)
                && (same || key == "__proto__" || key.chars().any(char::is_control));
            prop_assert_eq!(is_look_alike_in_meta(&key), expected);
        }
    }

    #[test]
    fn applications_have_names_of_their_own_in_meta() {
        for key in [
            "Name",
            "ID",
            "ta\u{17f}k",
            "name\0",
            "__proto__",
            "io.modelcontextprotocol/protocol_version",
        ] {
            assert!(is_look_alike_in_meta(key), "{key:?}");
        }
        for key in [
            "task_id",
            "request-state",
            "meta",
            "com.example/name",
            "traceparent",
            "name",
        ] {
            assert!(!is_look_alike_in_meta(key), "{key:?}");
        }
    }

    #[test]
    fn look_alikes_are_found() {
        for key in [
            "Method",
            "NAME",
            "param\u{17f}",
            "ta\u{17f}\u{212a}",
            "name\0",
            "name\0\0",
            "taskID",
            "x\u{1}",
            " name",
            "name ",
            "n\u{200b}ame",
            "\u{feff}name",
            "\u{ff4e}ame",
            "task_id",
            "input-responses",
            "meta",
            "__proto__",
        ] {
            assert!(is_look_alike(key), "{key:?}");
        }
        for key in [
            "name",
            "taskId",
            "names",
            "my_name",
            "progressToken",
            "naïve",
            "_meta",
            "_meta2",
            "",
            "_",
        ] {
            assert!(!is_look_alike(key), "{key:?}");
        }
    }
}
