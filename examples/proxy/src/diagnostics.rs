//! Shows what is wrong with a policy, the way rustc shows what is wrong with
//! a program.

mod report;

use std::{
    error::Error as _,
    io::{self, ErrorKind},
    ops::Range,
    path::Path,
};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use mcp_policy::{Diagnostic, LoadError, Policy, Severity};
use serde_json::{Value, json};

pub(crate) use self::report::{Problem, Report};

/// Bytes of lines that are shown with a problem.
const LONGEST: usize = 16 << 10;

/// Whether to colour what goes to a stream.
pub(crate) fn colours(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// One sentence, introduced by `error:`.
pub(crate) fn sentence(text: &str, colour: bool) -> String {
    renderer(colour).render(&[Group::with_title(Level::ERROR.primary_title(text))])
}

/// Every problem with the place it is at, and how many there were.
pub(crate) fn text(path: &Path, error: &LoadError, colour: bool) -> String {
    let found = error.diagnostics();
    if found.is_empty() {
        return sentence(&unread(path, error), colour);
    }
    let mut out = String::new();
    for diagnostic in found {
        out += &one(path, error.source_text(), diagnostic, colour);
        out += "\n\n";
    }
    let errors = found
        .iter()
        .filter(|diagnostic| matches!(diagnostic.severity(), Severity::Error))
        .count();
    let summary = match errors {
        1 => "the policy was not loaded because of the error above".to_owned(),
        _ => format!("the policy was not loaded because of the {errors} errors above"),
    };
    out + &sentence(&summary, colour)
}

/// Why a policy could not be read, and how there could be one. The most frequent mistake of
/// all is that it is somewhere else.
fn unread(path: &Path, error: &LoadError) -> String {
    let said = format!("{}: {error}", path.display());
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause.is_some_and(|cause| cause.kind() == ErrorKind::NotFound) {
        true => format!("{said}: name another file, or have `scan --write` write a policy there"),
        false => said,
    }
}

/// The same as a JSON array; never empty.
pub(crate) fn json(path: &Path, error: &LoadError) -> Value {
    match error.diagnostics() {
        // The file could not be read, so that there is no place to name.
        [] => json!([{ "severity": "error", "message": unread(path, error) }]),
        found => json!(found),
    }
}

/// What is doubtful in a policy that loads, each with the place it is at.
pub(crate) fn warnings(path: &Path, policy: &Policy, found: &[Diagnostic], colour: bool) -> String {
    found
        .iter()
        .map(|warning| one(path, Some(policy.source_text()), warning, colour) + "\n\n")
        .collect()
}

/// One problem with its line of the document.
fn one(path: &Path, source: Option<&str>, diagnostic: &Diagnostic, colour: bool) -> String {
    let label = match diagnostic.pointer() {
        "" => None,
        pointer => Some(format!("at `{pointer}`")),
    };
    let shown = Shown {
        path,
        source,
        span: diagnostic.span(),
        line: diagnostic.line(),
        column: diagnostic.column(),
        message: diagnostic.message(),
        help: diagnostic.help(),
    };
    match diagnostic.severity() {
        Severity::Error => shown.rendered(Level::ERROR, label, colour),
        _ => shown.rendered(Level::WARNING, label, colour),
    }
}

/// A problem and where it is.
pub(crate) struct Shown<'a> {
    pub(crate) path: &'a Path,
    /// The document, if its lines may be shown.
    pub(crate) source: Option<&'a str>,
    pub(crate) span: Range<usize>,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: &'a str,
    pub(crate) help: Option<&'a str>,
}

impl Shown<'_> {
    /// As an error.
    pub(crate) fn text(&self, colour: bool) -> String {
        self.rendered(Level::ERROR, None, colour)
    }

    fn rendered(&self, level: Level<'static>, label: Option<String>, colour: bool) -> String {
        let title = level.primary_title(self.message);
        let path = self.path.display().to_string();
        let lines = self
            .source
            .and_then(|source| lines_around(source, self.span.clone()))
            .filter(|(lines, _)| lines.len() <= LONGEST);
        let mut group = match lines {
            Some((lines, span)) => title.element(
                Snippet::source(lines)
                    .path(path)
                    .line_start(self.line)
                    .annotation(AnnotationKind::Primary.span(span).label(label)),
            ),
            None => title.element(Origin::path(path).line(self.line).char_column(self.column)),
        };
        if let Some(help) = self.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer(colour).render(&[group])
    }
}

/// The whole lines that a span touches, and the span within them, so that a
/// long document is not walked again for each of its problems.
fn lines_around(source: &str, span: Range<usize>) -> Option<(&str, Range<usize>)> {
    let before = source.get(..span.start)?;
    let after = source.get(span.end..)?;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let end = span.end + after.find('\n').unwrap_or(after.len());
    let lines = source.get(start..end)?;
    Some((lines, span.start - start..span.end - start))
}

fn renderer(colour: bool) -> Renderer {
    if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_span() {
        let text = "one\ntwo three\nfour";
        assert_eq!(lines_around(text, 8..13), Some(("two three", 4..9)));
        assert_eq!(lines_around(text, 0..3), Some(("one", 0..3)));
        assert_eq!(lines_around(text, 18..18), Some(("four", 4..4)));
        assert_eq!(lines_around(text, 4..15), Some(("two three\nfour", 0..11)));
        assert_eq!(lines_around(text, 18..19), None);
        assert_eq!(lines_around("é", 1..2), None);
    }
}
