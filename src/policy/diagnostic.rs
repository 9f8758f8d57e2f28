use std::fmt;
use std::ops::Range;

use serde::Serialize;

use crate::fold::is_format;
use crate::json::tree::{Node, Value};

/// One thing that is wrong with a policy document, or that is probably not
/// meant, and where it stands.
///
/// Serialises to an object with the members `severity`, `message`, `help`,
/// `pointer`, `line`, `column` and `span`.
///
/// ```
/// use mcp_policy::{Policy, Severity};
///
/// let error = r#"{ "version": "1", "defualt": "deny" }"#.parse::<Policy>().unwrap_err();
/// let misspelt = &error.diagnostics()[0];
/// assert_eq!(misspelt.severity(), Severity::Error);
/// assert_eq!(misspelt.message(), "unknown field `defualt`");
/// assert_eq!(misspelt.help(), Some("did you mean `default`?"));
/// assert_eq!(misspelt.pointer(), "/defualt");
/// assert_eq!((misspelt.line(), misspelt.column()), (1, 19));
/// assert_eq!(misspelt.span(), 18..27);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    severity: Severity,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    pointer: String,
    line: usize,
    column: usize,
    span: Range<usize>,
}

impl Diagnostic {
    /// Whether it stops the document from being loaded.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What was found, and what was expected instead.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How to mend it, where that can be told.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The place in the document as a JSON Pointer (RFC 6901). Empty means the
    /// document itself.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// The line in the text, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in the line, in characters, counted from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// The bytes of the text that this is about.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.message)?;
        write!(f, "\n  --> line {}, column {}", self.line, self.column)?;
        if !self.pointer.is_empty() {
            write!(f, " ({})", printable(&self.pointer))?;
        }
        match &self.help {
            Some(help) => write!(f, "\n  = help: {help}"),
            None => Ok(()),
        }
    }
}

/// How much a [`Diagnostic`] weighs.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document is not loaded.
    Error,
    /// The document is loaded, and probably does not do what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// What becomes a [`Diagnostic`] once its place in the text is known.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) pointer: String,
    pub(super) spot: Spot,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// Which bytes a [`Problem`] is about.
#[derive(Debug)]
pub(super) enum Spot {
    /// The name of the member that the pointer names.
    Key,
    /// The value that the pointer names.
    Value,
    /// These bytes.
    Bytes(Range<usize>),
}

impl Problem {
    pub(super) fn at_key(pointer: String, message: impl Into<String>) -> Self {
        Self::new(pointer, Spot::Key, message.into())
    }

    pub(super) fn at_value(pointer: String, message: impl Into<String>) -> Self {
        Self::new(pointer, Spot::Value, message.into())
    }

    pub(super) fn at_bytes(bytes: Range<usize>, message: impl Into<String>) -> Self {
        Self::new(String::new(), Spot::Bytes(bytes), message.into())
    }

    /// About these bytes, which are at this place.
    pub(super) fn in_text(
        bytes: Range<usize>,
        place: &Place<'_>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(place.pointer(), Spot::Bytes(bytes), message.into())
    }

    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn new(pointer: String, spot: Spot, message: String) -> Self {
        Self {
            pointer,
            spot,
            message,
            help: None,
        }
    }

    fn length(&self) -> usize {
        let texts = [Some(&self.pointer), Some(&self.message), self.help.as_ref()];
        texts.into_iter().flatten().map(String::len).sum()
    }

    fn bytes(&self, root: Option<&Node>) -> Range<usize> {
        let located = || root.map_or((0..0, 0..0), |root| locate(root, &self.pointer));
        match &self.spot {
            Spot::Key => located().0,
            Spot::Value => located().1,
            Spot::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// Collects problems, as many as anybody will read.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
    /// How long their texts are together.
    length: usize,
    omitted: usize,
}

impl Problems {
    /// More than this are only counted.
    pub(super) const MOST: usize = 200;

    /// So are those that come when the texts of the others are so long together:
    /// the name of an entry may be millions of characters, and is in the place of
    /// everything below it.
    const LONGEST: usize = 1 << 20;

    /// Takes a closure, because a document can have a million problems.
    pub(super) fn report(&mut self, problem: impl FnOnce() -> Problem) {
        if self.list.len() < Self::MOST && self.length < Self::LONGEST {
            let problem = problem();
            self.length = self.length.saturating_add(problem.length());
            self.list.push(problem);
        } else {
            self.omitted += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are beyond those that were kept.
    pub(super) fn omitted(&self) -> usize {
        self.omitted
    }

    /// Finds the place of each in the text, and puts them in its order.
    pub(super) fn locate(
        self,
        severity: Severity,
        text: &str,
        root: Option<&Node>,
    ) -> Vec<Diagnostic> {
        let mut placed: Vec<(Range<usize>, Problem)> = self
            .list
            .into_iter()
            .map(|problem| (problem.bytes(root), problem))
            .collect();
        placed.sort_by_key(|(span, _)| span.start);
        let mut cursor = Cursor::new(text);
        placed
            .into_iter()
            .map(|(span, problem)| {
                cursor.advance(span.start);
                Diagnostic {
                    severity,
                    message: problem.message,
                    help: problem.help,
                    pointer: problem.pointer,
                    line: cursor.line,
                    column: cursor.column,
                    span,
                }
            })
            .collect()
    }
}

/// Counts lines and columns on its one way through the text.
struct Cursor<'t> {
    rest: std::str::CharIndices<'t>,
    line: usize,
    column: usize,
}

impl<'t> Cursor<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            rest: text.char_indices(),
            line: 1,
            column: 1,
        }
    }

    fn advance(&mut self, offset: usize) {
        while self.rest.offset() < offset {
            match self.rest.next() {
                Some((_, '\n')) => {
                    self.line += 1;
                    self.column = 1;
                }
                Some(_) => self.column += 1,
                None => break,
            }
        }
    }
}

/// The spans of the member name and of the value that a pointer names; of the
/// innermost value on the way that is there, if it names nothing.
fn locate(root: &Node, pointer: &str) -> (Range<usize>, Range<usize>) {
    let mut found = (root.span.clone(), root);
    for token in pointer.split('/').skip(1) {
        let token = unescape(token);
        let step = match &found.1.value {
            Value::Object(members) => members
                .iter()
                // Of two the document holds the last.
                .rfind(|member| member.key == token)
                .map(|member| (member.key_span.clone(), &member.value)),
            Value::Array(items) => token
                .parse()
                .ok()
                .and_then(|index: usize| items.get(index))
                .map(|item| (item.span.clone(), item)),
            _ => None,
        };
        match step {
            Some(step) => found = step,
            None => break,
        }
    }
    (found.0, found.1.span.clone())
}

/// A place in the tree of a document. It is only written out as a pointer where
/// there is something to report.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'p> {
    Document,
    Member(&'p Place<'p>, &'p str),
    Item(&'p Place<'p>, usize),
}

impl Place<'_> {
    fn pointer(&self) -> String {
        let mut pointer = String::new();
        self.write(&mut pointer);
        pointer
    }

    /// Recursion is bounded by the depth of a document.
    fn write(&self, pointer: &mut String) {
        let (parent, token) = match self {
            Self::Document => return,
            Self::Member(parent, key) => (parent, escape(key)),
            Self::Item(parent, index) => (parent, index.to_string()),
        };
        parent.write(pointer);
        pointer.push('/');
        pointer.push_str(&token);
    }
}

/// The place of `token` in what `pointer` names.
pub(super) fn join(pointer: &str, token: &str) -> String {
    format!("{pointer}/{}", escape(token))
}

fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// What a token of a pointer stands for.
pub(crate) fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// A name of the document, fit to stand in a message.
pub(super) fn quote(name: &str) -> String {
    format!("`{}`", printable(name))
}

/// Text of the document, cut to what a person reads and without anything that
/// could forge the rest of a message.
pub(super) fn printable(text: &str) -> String {
    const LONGEST: usize = 128;
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == LONGEST {
            shown.push('…');
            break;
        }
        if is_unprintable(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Control and format characters, the line breaks of Unicode included.
pub(super) fn is_unprintable(c: char) -> bool {
    c.is_control() || is_format(c) || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::tree::parse;

    fn located(text: &str, problems: Vec<Problem>) -> Vec<Diagnostic> {
        let mut collected = Problems::default();
        for problem in problems {
            collected.report(|| problem);
        }
        let root = parse(text.as_bytes()).unwrap();
        collected.locate(Severity::Error, text, Some(&root))
    }

    #[test]
    fn columns_are_characters_and_lines_start_at_one() {
        let text = "{\n  \"é\": {\"a/b\": [1,\n 2]}}";
        let found = located(
            text,
            vec![
                Problem::at_value("/é/a~1b/1".into(), "two"),
                Problem::at_key("/é/a~1b".into(), "key"),
                Problem::at_value("".into(), "all"),
            ],
        );
        let places: Vec<_> = found
            .iter()
            .map(|d| (d.message(), d.line(), d.column()))
            .collect();
        assert_eq!(places, [("all", 1, 1), ("key", 2, 9), ("two", 3, 2)]);
        assert_eq!(&text[found[1].span()], "\"a/b\"");
        assert_eq!(&text[found[2].span()], "2");
        let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(shown[0], "error: all\n  --> line 1, column 1");
        assert_eq!(shown[2], "error: two\n  --> line 3, column 2 (/é/a~1b/1)");
    }

    #[test]
    fn a_pointer_to_nothing_stops_on_the_way() {
        let found = located("{\"a\": {}}", vec![Problem::at_value("/a/b/c".into(), "x")]);
        assert_eq!(found[0].span(), 6..8);
    }

    #[test]
    fn only_so_many_are_kept() {
        let mut problems = Problems::default();
        for _ in 0..Problems::MOST + 7 {
            problems.report(|| Problem::at_value(String::new(), "x"));
        }
        assert_eq!(problems.omitted(), 7);
        assert_eq!(problems.list.len(), Problems::MOST);
    }

    #[test]
    fn names_cannot_forge_messages() {
        assert_eq!(quote("a\nerror: b\u{202e}"), r"`a\u{a}error: b\u{202e}`");
        assert_eq!(printable(&"x".repeat(200)).chars().count(), 129);
    }

    #[test]
    fn pointers_are_escaped() {
        assert_eq!(join("/tools", "a/b~c"), "/tools/a~1b~0c");
        assert_eq!(unescape("a~1b~0c~01"), "a/b~c~1");
    }
}
