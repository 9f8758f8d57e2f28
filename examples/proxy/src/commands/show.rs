//! What goes to stdout, and how names from outside look there.

use std::io::{self, Write};

use serde_json::Value;

/// Characters of a name that are shown.
const SHOWN: usize = 128;

/// Prints lines. A closed stdout is no reason to lose the exit code.
pub(super) fn print(text: &str) {
    let _ = try_print(text);
}

/// The same where it matters whether anybody reads it.
pub(super) fn try_print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}

/// Prints one line of JSON.
pub(super) fn print_json(value: &Value) {
    print(&value.to_string());
}

/// A name as a person may see it: cut, and without anything that could pretend
/// to be something else.
pub(crate) fn shown(name: &str) -> String {
    let mut shown = String::new();
    for (index, character) in name.chars().enumerate() {
        if index == SHOWN {
            shown.push('…');
            break;
        }
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            // Letters and a pattern that are drawn as nothing.
            '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' => {
                shown.extend(character.escape_unicode());
            }
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

/// `1 case`, `2 cases`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// Rows under headings, in columns; the last column is as wide as it is.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let headings = headings.map(str::to_owned);
    let mut text = String::new();
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line += &format!("{cell:width$}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_pretend() {
        assert_eq!(shown("a_b/c.d-e \u{e9} \"'\\"), "a_b/c.d-e \u{e9} \"'\\");
        assert_eq!(
            shown("a\nb\u{202e}\u{1b}[31m\u{200b}"),
            r"a\nb\u{202e}\u{1b}[31m\u{200b}"
        );
        assert_eq!(shown("a\u{3164}\u{2800}"), r"a\u{3164}\u{2800}");
        assert_eq!(shown(&"x".repeat(200)).chars().count(), 129);
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [["abc", "d"], ["e", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(table(["A", "B"], &rows), "A    B\nabc  d\ne\n");
    }
}
