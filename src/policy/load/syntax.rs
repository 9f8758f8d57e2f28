//! Texts that cannot be read as JSON, and how to mend them.

use super::super::diagnostic::Problem;
use crate::json::{Error, ErrorKind};

/// What is wrong with a text, of which this is as much as is text.
pub(in crate::policy) fn problem(error: Error, text: &str) -> Problem {
    let offset = error.offset();
    let found = text.get(offset..).and_then(|rest| rest.chars().next());
    let end = offset.saturating_add(found.map_or(0, char::len_utf8));
    let kind = error.kind();
    let message = if kind.breaks_grammar() {
        format!("this is not JSON: {kind}")
    } else {
        format!("not every reader takes this for the same: {kind}")
    };
    let help = match kind {
        ErrorKind::UnexpectedByte => unexpected(text.get(..offset).unwrap_or_default(), found),
        kind => mend(kind),
    };
    Problem::at_bytes(offset..end, message).with_help(help)
}

fn mend(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Empty => r#"the shortest policy is `{ "version": "1", "default": "deny" }`"#,
        ErrorKind::NotUtf8 => "save it as UTF-8",
        ErrorKind::ByteOrderMark => "save it as UTF-8 without a byte order mark",
        ErrorKind::UnexpectedEnd => "close every string, list and object",
        ErrorKind::UnexpectedByte => "look at what stands before it",
        ErrorKind::BadEscape => r"write a backslash as `\\`, in regular expressions too",
        ErrorKind::ControlCharacter => r"write a line break as `\n` and a tab as `\t`",
        ErrorKind::TrailingData => "one object is a policy: drop what follows it",
        ErrorKind::LoneSurrogate => "write the character itself, or both halves of it",
        ErrorKind::NumberOutOfRange => "use a smaller number, or a string",
        ErrorKind::TooDeep => "no message that is judged is nested deeper than 64",
        ErrorKind::TooManyKeys => "use fewer members, or patterns",
        ErrorKind::DuplicateKey => "keep one of them",
    }
}

/// What somebody probably meant who wrote this character.
fn unexpected(before: &str, found: Option<char>) -> &'static str {
    let last = before.trim_end().chars().next_back();
    match found {
        Some('}' | ']') if last == Some(',') => "drop the comma in front of it",
        Some('/' | '#') => "JSON has no comments: a `description` can say it",
        Some('\'' | '`' | '\u{201c}' | '\u{201d}' | '\u{201e}') => {
            "text stands in straight double quotes"
        }
        Some(quote) if quote == '"' || quote == '{' || quote == '[' => {
            "a comma or a colon is missing in front of it"
        }
        Some('0'..='9' | '+' | '-' | '.') => {
            "numbers have no leading zero, no plus sign, and digits on both sides of the point"
        }
        Some(letter) if letter.is_alphabetic() => {
            "names and text stand in double quotes, and the words are `true`, `false` and `null`"
        }
        _ => mend(ErrorKind::UnexpectedByte),
    }
}
