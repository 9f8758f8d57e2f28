use std::error::Error;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Severity, is_unprintable, printable};

/// Why a policy was not loaded.
///
/// Displays every problem with its line of the document.
///
/// ```
/// use mcp_policy::Policy;
///
/// let text = r#"{ "version": "1", "default": "allow", "hidden": ["delete_*"] }"#;
/// let error = text.parse::<Policy>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"the policy is not loaded: 1 problem
///
/// error: unknown field `hidden`
///   --> line 1, column 39 (/hidden)
///    |
///  1 | { "version": "1", "default": "allow", "hidden": ["delete_*"] }
///    |                                       ^^^^^^^^
///    = help: did you mean `hide`?"#
/// );
/// ```
pub struct LoadError(Box<Kind>);

enum Kind {
    Io {
        path: PathBuf,
        error: io::Error,
    },
    Document {
        path: Option<PathBuf>,
        text: Option<String>,
        diagnostics: Vec<Diagnostic>,
        omitted: usize,
    },
}

impl LoadError {
    /// What is wrong with the document, in its order; at most 200 of them.
    /// Empty if the file could not be read, which
    /// [`source`](std::error::Error::source) then tells.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match &*self.0 {
            Kind::Io { .. } => &[],
            Kind::Document { diagnostics, .. } => diagnostics,
        }
    }

    /// The text that the spans of the diagnostics point into. A document that
    /// was built in Rust is here as JSON. Absent if the file could not be
    /// read or is too large.
    pub fn source_text(&self) -> Option<&str> {
        match &*self.0 {
            Kind::Io { .. } => None,
            Kind::Document { text, .. } => text.as_deref(),
        }
    }

    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self(Box::new(Kind::Io {
            path: path.to_owned(),
            error,
        }))
    }

    pub(super) fn document(
        text: Option<String>,
        diagnostics: Vec<Diagnostic>,
        omitted: usize,
    ) -> Self {
        Self(Box::new(Kind::Document {
            path: None,
            text,
            diagnostics,
            omitted,
        }))
    }

    /// The same, said of a file.
    pub(super) fn of_file(mut self, file: &Path) -> Self {
        if let Kind::Document { path, .. } = &mut *self.0 {
            *path = Some(file.to_owned());
        }
        self
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Io { path, error } => {
                write!(f, "cannot read the policy {}: {error}", shown(path))
            }
            Kind::Document {
                path,
                text,
                diagnostics,
                omitted,
            } => {
                let count = diagnostics.len() + omitted;
                let problems = if count == 1 { "problem" } else { "problems" };
                f.write_str("the policy ")?;
                if let Some(path) = path {
                    write!(f, "{} ", shown(path))?;
                }
                write!(f, "is not loaded: {count} {problems}")?;
                for diagnostic in diagnostics {
                    f.write_str("\n\n")?;
                    render(f, diagnostic, text.as_deref())?;
                }
                match omitted {
                    0 => Ok(()),
                    _ => write!(f, "\n\nand {omitted} more that are not shown"),
                }
            }
        }
    }
}

// The derived one would print the whole document where a program unwraps.
impl fmt::Debug for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Io { path, error } => f
                .debug_struct("LoadError")
                .field("path", path)
                .field("error", error)
                .finish(),
            Kind::Document {
                path,
                diagnostics,
                omitted,
                ..
            } => f
                .debug_struct("LoadError")
                .field("path", path)
                .field("diagnostics", diagnostics)
                .field("omitted", omitted)
                .finish_non_exhaustive(),
        }
    }
}

impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.0 {
            Kind::Io { error, .. } => Some(error),
            Kind::Document { .. } => None,
        }
    }
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// A diagnostic with the line it is about, underlined.
fn render(f: &mut fmt::Formatter<'_>, diagnostic: &Diagnostic, text: Option<&str>) -> fmt::Result {
    let Some(excerpt) = text.and_then(|text| Excerpt::of(text, diagnostic.span())) else {
        return write!(f, "{diagnostic}");
    };
    let severity: Severity = diagnostic.severity();
    let (line, column) = (diagnostic.line(), diagnostic.column());
    let number = line.to_string();
    let margin = " ".repeat(number.len() + 2);
    writeln!(f, "{severity}: {}", diagnostic.message())?;
    let arrow = " ".repeat(number.len() + 1);
    write!(f, "{arrow}--> line {line}, column {column}")?;
    if !diagnostic.pointer().is_empty() {
        write!(f, " ({})", printable(diagnostic.pointer()))?;
    }
    let (blank, marks) = (" ".repeat(excerpt.indent), "^".repeat(excerpt.marked));
    write!(f, "\n{margin}|\n {number} | {}", excerpt.line)?;
    write!(f, "\n{margin}| {blank}{marks}")?;
    match diagnostic.help() {
        Some(help) => write!(f, "\n{margin}= help: {help}"),
        None => Ok(()),
    }
}

/// The part of a line that a span is in.
struct Excerpt {
    line: String,
    indent: usize,
    marked: usize,
}

impl Excerpt {
    /// Characters shown before the span, and in all.
    const BEFORE: usize = 60;
    const LONGEST: usize = 120;

    fn of(text: &str, span: Range<usize>) -> Option<Self> {
        // A line can be as long as the document: no more of it is looked at.
        let before = text.get(..span.start)?.chars().rev();
        let before = before.take_while(|c| *c != '\n').take(Self::BEFORE);
        let (indent, bytes) = before.fold((0, 0), |(indent, bytes), c| {
            (indent + 1, bytes + c.len_utf8())
        });
        let behind = text.get(span.start..)?.chars();
        let behind: String = behind
            .take_while(|c| *c != '\n')
            .take(Self::LONGEST)
            .collect();
        let behind = behind.strip_suffix('\r').unwrap_or(&behind);

        let shown = text.get(span.start.checked_sub(bytes)?..span.start)?;
        let line: String = shown
            .chars()
            .chain(behind.chars())
            .take(Self::LONGEST)
            .map(one_column)
            .collect();
        let length = line.chars().count();
        let marked = text.get(span).map_or(1, |marked| {
            let on_this_line = marked.chars().take_while(|c| !matches!(c, '\r' | '\n'));
            on_this_line.take(Self::LONGEST).count()
        });
        Some(Self {
            marked: marked.min(length.saturating_sub(indent)).max(1),
            line,
            indent,
        })
    }
}

/// What cannot be printed takes one column all the same.
fn one_column(c: char) -> char {
    match c {
        '\t' => ' ',
        c if is_unprintable(c) => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(text: &str, span: Range<usize>) -> (String, usize, usize) {
        let excerpt = Excerpt::of(text, span).unwrap();
        (excerpt.line, excerpt.indent, excerpt.marked)
    }

    #[test]
    fn an_excerpt_is_one_line() {
        assert_eq!(excerpt("a\nbc\nd", 3..4), ("bc".into(), 1, 1));
        assert_eq!(excerpt("a\r\n\tbc\r\nd", 4..9), (" bc".into(), 1, 2));
        assert_eq!(excerpt("", 0..0), (String::new(), 0, 1));
        assert_eq!(excerpt("ab", 2..2), ("ab".into(), 2, 1));
        assert_eq!(excerpt("é\u{202e}x", 2..6), ("é\u{fffd}x".into(), 1, 2));
    }

    #[test]
    fn a_long_line_is_cut_on_both_sides() {
        let text = "x".repeat(1_000);
        let (line, indent, marked) = excerpt(&text, 500..900);
        assert_eq!((line.len(), indent, marked), (120, 60, 60));
    }
}
