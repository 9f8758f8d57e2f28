//! Text in columns that fits a terminal.

use std::{fmt::Write as _, io};

use anstyle::Style;
use terminal_size::{Width, terminal_size_of};
use textwrap::{Options, WordSeparator, WordSplitter, core::display_width};

/// What is between two columns.
const GAP: usize = 2;
/// A column that has to be narrower than this is none.
const NARROWEST: usize = 18;

/// One cell, or a piece of a line.
#[derive(Clone)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::styled(text, Style::new())
    }

    pub(super) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self {
            text: text.into(),
            style,
        }
    }
}

/// Rows under headings.
pub(super) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new(headings: Vec<&'static str>) -> Self {
        Self {
            headings,
            rows: Vec::new(),
        }
    }

    /// As many cells as there are headings.
    pub(super) fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// The table, no line of it wider than that; below each other where columns would
    /// be too narrow to be read.
    pub(super) fn text(&self, width: Option<usize>, colour: bool) -> String {
        let natural = self.natural_widths();
        let Some(widths) = fitted(&natural, width) else {
            return self.stacked(width, colour);
        };
        let bold = Style::new().bold();
        let headings = self.headings.iter();
        let headings: Vec<Cell> = headings
            .map(|heading| Cell::styled(*heading, bold))
            .collect();
        let mut text = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            push_row(&mut text, row, &widths, colour);
        }
        text
    }

    fn natural_widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self
            .headings
            .iter()
            .map(|text| display_width(text))
            .collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(display_width(&cell.text));
            }
        }
        widths
    }

    fn stacked(&self, width: Option<usize>, colour: bool) -> String {
        let mut text = String::new();
        for row in &self.rows {
            for (index, (heading, cell)) in self.headings.iter().zip(row).enumerate() {
                let before = match index {
                    0 => String::new(),
                    _ => format!("  {}: ", heading.to_lowercase()),
                };
                text += &wrapped(&before, &cell.text, cell.style, width, colour);
            }
        }
        text
    }
}

/// How wide columns are in so much space; `None` if there is too little. The wide ones
/// give what there is too little of.
fn fitted(natural: &[usize], width: Option<usize>) -> Option<Vec<usize>> {
    let gaps = natural.len().saturating_sub(1).saturating_mul(GAP);
    let mut widths = natural.to_vec();
    let Some(space) = width.map(|width| width.saturating_sub(gaps)) else {
        return Some(widths);
    };
    loop {
        let all: usize = widths.iter().sum();
        let over = all.saturating_sub(space);
        if over == 0 {
            return Some(widths);
        }
        let widest = widths.iter().copied().max().unwrap_or(0);
        let next = widths.iter().copied().filter(|own| *own < widest).max();
        let those = widths.iter().filter(|own| **own == widest).count();
        // As far as the next wide one, or as far as it takes.
        let lower = next.unwrap_or(0).max(NARROWEST);
        let step = over.div_ceil(those.max(1));
        let to = widest.saturating_sub(step).max(lower);
        if to >= widest {
            return None;
        }
        for own in &mut widths {
            *own = (*own).min(to);
        }
    }
}

fn push_row(text: &mut String, row: &[Cell], widths: &[usize], colour: bool) {
    let cells: Vec<(Vec<String>, &Cell, usize)> = row
        .iter()
        .zip(widths)
        .map(|(cell, width)| (lines(&cell.text, *width), cell, *width))
        .collect();
    let height = cells.iter().map(|(lines, ..)| lines.len()).max();
    for line in 0..height.unwrap_or(0) {
        let mut gap = 0_usize;
        for (lines, cell, width) in &cells {
            let part = lines.get(line).map_or("", String::as_str);
            if !part.is_empty() {
                let _ = write!(text, "{:gap$}", "");
                push_styled(text, part, cell.style, colour);
                gap = 0;
            }
            let missing = width.saturating_sub(display_width(part));
            gap = gap.saturating_add(missing).saturating_add(GAP);
        }
        text.push('\n');
    }
}

fn push_styled(text: &mut String, part: &str, style: Style, colour: bool) {
    if colour {
        let _ = write!(text, "{style}{part}{style:#}");
    } else {
        *text += part;
    }
}

/// A text behind another, in lines that are no wider than that and begin below it.
pub(super) fn wrapped(
    before: &str,
    text: &str,
    style: Style,
    width: Option<usize>,
    colour: bool,
) -> String {
    let mut out = String::new();
    let indent = " ".repeat(display_width(before));
    let width = width.unwrap_or(usize::MAX);
    let room = width.saturating_sub(indent.len()).max(NARROWEST);
    for (index, line) in lines(text, room).iter().enumerate() {
        out += if index == 0 { before } else { &indent };
        push_styled(&mut out, line, style, colour);
        out.push('\n');
    }
    out
}

fn lines(text: &str, width: usize) -> Vec<String> {
    let options = Options::new(width.max(1))
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    let lines = textwrap::wrap(text, options);
    lines.into_iter().map(|line| line.into_owned()).collect()
}

/// As much of a line as fits.
pub(super) fn cut(line: &str, width: usize) -> String {
    lines(line, width).swap_remove(0)
}

/// How wide stdout is: that of a terminal, or what `COLUMNS` says; a pipe or a file is
/// as wide as it takes.
pub(super) fn width() -> Option<usize> {
    let own = terminal_size_of(io::stdout()).map(|(Width(width), _)| usize::from(width));
    own.or_else(|| std::env::var("COLUMNS").ok()?.parse().ok())
        .filter(|width| *width > 0)
}

/// How wide the terminal is that stderr goes to.
pub(super) fn width_of_stderr() -> usize {
    terminal_size_of(io::stderr()).map_or(80, |(Width(width), _)| usize::from(width))
}

#[cfg(test)]
mod tests {
    use anstyle::AnsiColor;

    use super::*;

    fn table() -> Table {
        let mut table = Table::new(vec!["TOOL", "SEVERITY", "WHY"]);
        let red = Style::new().fg_color(Some(AnsiColor::Red.into()));
        table.push(vec![
            Cell::plain("delete_file"),
            Cell::styled("critical", red),
            Cell::plain("`delete` in the name, `removes` in the description"),
        ]);
        table.push(vec![
            Cell::plain("日本"),
            Cell::plain("low"),
            Cell::plain("`x`"),
        ]);
        table
    }

    #[test]
    fn without_a_width_every_row_is_a_line() {
        let expected = "\
TOOL         SEVERITY  WHY
delete_file  critical  `delete` in the name, `removes` in the description
日本         low       `x`
";
        assert_eq!(table().text(None, false), expected);
        assert_eq!(table().text(Some(200), false), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let expected = "\
TOOL         SEVERITY  WHY
delete_file  critical  `delete` in the
                       name, `removes` in
                       the description
日本         low       `x`
";
        assert_eq!(table().text(Some(41), false), expected);
        for width in NARROWEST + 20..100 {
            for line in table().text(Some(width), false).lines() {
                assert!(display_width(line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn where_there_is_no_room_for_columns_they_stand_below_each_other() {
        let expected = "\
delete_file
  severity: critical
  why: `delete` in the name,
       `removes` in the
       description
日本
  severity: low
  why: `x`
";
        assert_eq!(table().text(Some(30), false), expected);
    }

    #[test]
    fn a_name_that_is_too_long_is_broken() {
        let mut table = Table::new(vec!["TOOL", "WHY"]);
        table.push(vec![Cell::plain("x".repeat(50)), Cell::plain("y")]);
        let expected = format!(
            "TOOL{}WHY\n{}  y\n{}\n{}\n",
            " ".repeat(17),
            "x".repeat(19),
            "x".repeat(19),
            "x".repeat(12)
        );
        assert_eq!(table.text(Some(24), false), expected);
    }

    #[test]
    fn colours_are_there_only_when_they_are_wanted() {
        let coloured = table().text(None, true);
        assert!(
            coloured.contains("\u{1b}[31mcritical\u{1b}[0m  "),
            "{coloured:?}"
        );
        assert!(!table().text(None, false).contains('\u{1b}'));
    }

    #[test]
    fn a_line_is_cut_to_what_fits() {
        assert_eq!(cut("ab cd ef", 5), "ab cd");
        assert_eq!(cut("abcdef", 5), "abcde");
        assert_eq!(cut("", 5), "");
    }
}
