//! What goes to stdout.

use std::io::{self, Write};

use serde_json::Value;

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
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [["abc", "d"], ["e", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(table(["A", "B"], &rows), "A    B\nabc  d\ne\n");
    }
}
