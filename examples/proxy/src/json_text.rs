//! JSON text from outside, as a person may see it: nothing in it can pretend to be
//! something else, and numbers stay as they were written.

use std::io::{self, Write};

use serde_json::Value;

use crate::names::is_harmless;

/// The text in one line. What could fool a reader or command a terminal is escaped
/// the way JSON does it, so that the text still means the same.
///
/// A text that is cut off, or is no JSON, comes out as harmless.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut place = Place::default();
    for character in text.chars() {
        let is_blank = matches!(character, ' ' | '\t' | '\n' | '\r');
        if place.next(character) || !is_blank {
            push(&mut line, character);
        }
    }
    line
}

/// The same in as many lines as it has members and elements.
pub(crate) fn indented(text: &str) -> String {
    beginning_indented(text, usize::MAX)
}

/// The same of a value from outside, of which at most so many characters are written at
/// all: indented, a value can be a hundred times as long.
pub(crate) fn beginning_of_value(value: &Value, most: usize) -> String {
    let mut text = Beginning {
        bytes: Vec::new(),
        most: most.saturating_mul(LONGEST_CHARACTER),
    };
    // It ends with an error if there is more than that.
    let _ = serde_json::to_writer(&mut text, value);
    beginning_indented(&String::from_utf8_lossy(&text.bytes), most)
}

/// The first so many characters of a text in lines.
pub(crate) fn beginning_indented(text: &str, most: usize) -> String {
    let mut lines = indented_as_far(text, most.saturating_mul(LONGEST_CHARACTER));
    if let Some((end, _)) = lines.char_indices().nth(most) {
        lines.truncate(end);
        lines.push('…');
    }
    lines
}

/// Bytes of a character.
const LONGEST_CHARACTER: usize = 4;

/// Takes what is written as long as there is room.
struct Beginning {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Beginning {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.most.saturating_sub(self.bytes.len());
        let those = bytes.get(..room).unwrap_or(bytes);
        self.bytes.extend_from_slice(those);
        // Nothing at all is an error for whoever has more to write.
        Ok(those.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A text in lines, of which this many bytes and a little more are made.
fn indented_as_far(text: &str, most: usize) -> String {
    let line = one_line(text);
    let mut lines = String::with_capacity(line.len().min(most));
    let mut place = Place::default();
    let mut depth: usize = 0;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        if lines.len() > most {
            break;
        }
        if place.next(character) {
            lines.push(character);
            continue;
        }
        match character {
            '{' | '[' => {
                lines.push(character);
                match characters.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => lines.push(end),
                    None => {
                        depth = depth.saturating_add(1);
                        break_line(&mut lines, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut lines, depth);
                lines.push(character);
            }
            ',' => {
                lines.push(character);
                break_line(&mut lines, depth);
            }
            ':' => lines.push_str(": "),
            _ => lines.push(character),
        }
    }
    lines
}

/// Any text, with the same escapes.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars()
        .for_each(|character| push(&mut shown, character));
    shown
}

/// The same of the first so many characters.
pub(crate) fn beginning(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", visible(text.get(..end).unwrap_or_default())),
        None => visible(text),
    }
}

/// The same, with its ends of lines as they are.
pub(crate) fn beginning_in_lines(text: &str, most: usize) -> String {
    let end = text.char_indices().nth(most).map(|(end, _)| end);
    let text = end.and_then(|end| text.get(..end)).unwrap_or(text);
    let lines: Vec<_> = text.lines().map(visible).collect();
    let more = if end.is_some() { "…" } else { "" };
    format!("{}{more}", lines.join("\n"))
}

/// Levels that are told apart: as deep as a request may be.
const DEEPEST: usize = 64;

fn break_line(lines: &mut String, depth: usize) {
    lines.push('\n');
    (0..depth.min(DEEPEST)).for_each(|_| lines.push_str("  "));
}

/// Whether a place of the text is in a string.
#[derive(Default)]
struct Place {
    in_string: bool,
    after_backslash: bool,
}

impl Place {
    /// Goes behind this character, and says whether it belongs to a string; its
    /// quotation marks do.
    fn next(&mut self, character: char) -> bool {
        let was_in_string = self.in_string;
        match character {
            _ if self.after_backslash => self.after_backslash = false,
            '\\' => self.after_backslash = was_in_string,
            '"' => self.in_string = !was_in_string,
            _ => {}
        }
        was_in_string || self.in_string
    }
}

fn push(text: &mut String, character: char) {
    if is_harmless(character) {
        text.push(character);
        return;
    }
    for unit in character.encode_utf16(&mut [0; 2]) {
        *text += &format!("\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_it_commands_a_terminal_or_turns_the_text_around() {
        let text =
            "{ \"a\" :\t\"\u{1b}[2J\u{202e}x\u{9b}\u{7f}\u{200b}\u{e0041}é <b>\",\r\n\"b\":1e400}";
        let expected =
            "{\"a\":\"\\u001b[2J\\u202ex\\u009b\\u007f\\u200b\\udb40\\udc41é <b>\",\"b\":1e400}";
        assert_eq!(one_line(text), expected);
        assert_eq!(one_line(expected), expected);
        let blank = "\u{115f}\u{1160}\u{2800}\u{3164}\u{ffa0}\u{34f}\u{fe0f}\u{2003}\u{e000}";
        let expected = "\\u115f\\u1160\\u2800\\u3164\\uffa0\\u034f\\ufe0f\\u2003\\ue000";
        assert_eq!(visible(blank), expected);
        assert_eq!(visible("a\n\u{2066}\"b"), "a\\u000a\\u2066\"b");
    }

    #[test]
    fn of_something_long_the_beginning_is_shown() {
        assert_eq!(beginning("a\u{202e}é", 3), "a\\u202eé");
        assert_eq!(beginning("a\u{202e}éb", 3), "a\\u202eé…");
        assert_eq!(beginning("", 0), "");
        assert_eq!(beginning("a", 0), "…");
        assert_eq!(
            beginning_in_lines("a\r\n\tb\u{1b}", 9),
            "a\n\\u0009b\\u001b"
        );
        assert_eq!(beginning_in_lines("a\nbc", 3), "a\nb…");
    }

    #[test]
    fn strings_stay_as_they_are() {
        for text in [
            r#"{"a":"  \"  } , : \\"}"#,
            r#"["\\\"", " "]"#,
            r#""cut off \"#,
            "",
        ] {
            let tight = text.replace("\", \"", "\",\"");
            assert_eq!(one_line(text), tight);
        }
    }

    #[test]
    fn of_what_is_long_no_more_is_written_than_is_shown() {
        let text = format!("{}{}", "[".repeat(60), "1,".repeat(100_000));
        assert!(indented_as_far(&text, 1_000).len() < 1_200);
        let shown = beginning_indented(&text, 1_000);
        assert_eq!(shown.chars().count(), 1_001);
        assert!(shown.ends_with('…') && indented(&text).starts_with(shown.trim_end_matches('…')));
        assert_eq!(beginning_indented("[1]", 9), "[\n  1\n]");
        assert_eq!(beginning_indented("[1]", 7), "[\n  1\n]");
        assert_eq!(beginning_indented("[1]", 6), "[\n  1\n…");
        let value = serde_json::json!({ "é": vec!["é"; 100_000] });
        let shown = beginning_of_value(&value, 20);
        assert_eq!(shown, "{\n  \"é\": [\n    \"é\",\n…");
        assert_eq!(beginning_of_value(&serde_json::json!({}), 2), "{}");
    }

    #[test]
    fn each_member_has_a_line() {
        let text = r#"{"a":[1,{"b":"x, y: [z]"}],"c":{},"d":[]}"#;
        let expected = "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x, y: [z]\"\n    }\n  ],\n  \
                        \"c\": {},\n  \"d\": []\n}";
        assert_eq!(indented(text), expected);
        assert!(indented(&"[".repeat(100_000)).len() < 100_000 * 200);
    }
}
