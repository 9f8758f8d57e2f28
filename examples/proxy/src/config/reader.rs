//! Takes a TOML document apart, and remembers everything that is wrong with it.

use std::{cell::RefCell, fmt::Display, ops::Range, path::PathBuf};

use toml_edit::{Array, Item, TableLike, Value};

use super::Reading;
use crate::diagnostics::Problem;

/// Problems that are shown.
pub(super) const MOST: usize = 100;

/// Everything that is wrong so far.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(super) fn say(&self, span: &Range<usize>, message: impl Into<String>) {
        self.add(span, message.into(), None);
    }

    pub(super) fn advise(
        &self,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(span, message.into(), Some(help.into()));
    }

    fn add(&self, span: &Range<usize>, message: String, help: Option<String>) {
        self.0.borrow_mut().push(Problem {
            span: span.clone(),
            message,
            help,
        });
    }

    /// The first of them in the order of the document, and how many more there are: each
    /// is shown with its line, and somebody has to read them.
    pub(super) fn into_all(self) -> Vec<Problem> {
        let mut all = self.0.into_inner();
        all.sort_by_key(|problem| problem.span.start);
        let more = all.len().saturating_sub(MOST);
        all.truncate(MOST);
        if let (Some(last), 1..) = (all.last(), more) {
            all.push(Problem {
                span: last.span.clone(),
                message: format!("there are {more} more problems after this"),
                help: None,
            });
        }
        all
    }
}

/// Something of the document, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Spanned<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// A table of the document.
pub(super) struct Fields<'d> {
    table: &'d dyn TableLike,
    /// Where it is said that something is missing.
    pub(super) span: Range<usize>,
    /// Such as "the server `kestra`".
    what: String,
    pub(super) reading: &'d Reading,
}

impl<'d> Fields<'d> {
    /// Says which of the fields are none of those that are known.
    pub(super) fn new(
        table: &'d dyn TableLike,
        span: Range<usize>,
        what: String,
        known: &[&str],
        reading: &'d Reading,
    ) -> Self {
        let fields = Self {
            table,
            span,
            what,
            reading,
        };
        for (name, _) in table.iter() {
            if !known.contains(&name) {
                let span = fields.key(name);
                let message = format!("{} has no field `{name}`", fields.what);
                fields
                    .reading
                    .problems
                    .advise(&span, message, instead(name, known));
            }
        }
        fields
    }

    fn key(&self, name: &str) -> Range<usize> {
        let span = self.table.key(name).and_then(|key| key.span());
        span.unwrap_or_else(|| self.span.clone())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// Where the field stands, or else the table.
    pub(super) fn place(&self, name: &str) -> Range<usize> {
        let item = self.table.get(name).and_then(Item::span);
        item.unwrap_or_else(|| self.key(name))
    }

    pub(super) fn item(&self, name: &str) -> Option<Spanned<&'d Item>> {
        let value = self.table.get(name)?;
        let span = self.place(name);
        Some(Spanned { value, span })
    }

    pub(super) fn wrong(&self, name: &str, wanted: impl Display) {
        let message = format!("`{name}` of {} has to be {wanted}", self.what);
        self.reading.problems.say(&self.place(name), message);
    }

    pub(super) fn text(&self, name: &str) -> Option<Spanned<&'d str>> {
        let found = self.item(name)?;
        match found.value.as_str() {
            Some(value) => Some(Spanned {
                value,
                span: found.span,
            }),
            None => {
                self.wrong(name, "a string");
                None
            }
        }
    }

    /// A field that there has to be.
    pub(super) fn needed(&self, name: &str, help: &str) -> Option<Spanned<&'d str>> {
        if !self.has(name) {
            let message = format!("{} has no `{name}`", self.what);
            self.reading.problems.advise(&self.span, message, help);
            return None;
        }
        self.text(name)
    }

    /// What is read out of a string; what it has to be is said otherwise.
    pub(super) fn parsed<T: std::str::FromStr>(
        &self,
        name: &str,
        wanted: &str,
    ) -> Option<Spanned<T>> {
        let text = self.text(name)?;
        match text.value.parse() {
            Ok(value) => Some(Spanned {
                value,
                span: text.span,
            }),
            Err(_) => {
                self.wrong(name, wanted);
                None
            }
        }
    }

    /// A path, beside the document if it does not say otherwise.
    pub(super) fn path(&self, name: &str) -> Option<Spanned<PathBuf>> {
        let text = self.text(name)?;
        if text.value.is_empty() {
            self.wrong(name, "the path of a file");
            return None;
        }
        Some(Spanned {
            value: self.reading.base.join(text.value),
            span: text.span,
        })
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        let Some(found) = self.item(name) else {
            return false;
        };
        found.value.as_bool().unwrap_or_else(|| {
            self.wrong(name, "`true` or `false`");
            false
        })
    }

    pub(super) fn number(&self, name: &str, range: Range<u64>) -> Option<u64> {
        let found = self.item(name)?;
        let number = found.value.as_integer();
        let number = number.and_then(|number| u64::try_from(number).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let most = range.end.saturating_sub(1);
            self.wrong(name, format!("a number from {} to {most}", range.start));
        }
        number
    }

    /// The strings of a list.
    pub(super) fn texts(&self, name: &str) -> Vec<Spanned<&'d str>> {
        let Some(found) = self.item(name) else {
            return Vec::new();
        };
        let Some(list) = found.value.as_array() else {
            self.wrong(name, "a list of strings");
            return Vec::new();
        };
        let texts = Array::iter(list).map(|value| {
            let span = value.span().unwrap_or_else(|| found.span.clone());
            Some(Spanned {
                value: value.as_str()?,
                span,
            })
        });
        let texts: Option<Vec<_>> = texts.collect();
        texts.unwrap_or_else(|| {
            self.wrong(name, "a list of strings");
            Vec::new()
        })
    }

    /// A table in this one.
    pub(super) fn table(&self, name: &str) -> Option<Spanned<&'d dyn TableLike>> {
        let found = self.item(name)?;
        match found.value.as_table_like() {
            Some(value) => Some(Spanned {
                value,
                span: found.span,
            }),
            None => {
                self.wrong(name, "a table");
                None
            }
        }
    }
}

/// What can be done about a field that there is not.
fn instead(name: &str, known: &[&str]) -> String {
    let apart = |known: &str| strsim::damerau_levenshtein(name, known);
    let closest = known.iter().min_by_key(|known| apart(known));
    // A third of it may be wrong.
    let is_alike = |known: &str| apart(known).saturating_mul(3) <= known.len();
    match closest.filter(|closest| is_alike(closest)) {
        Some(closest) => format!("did you mean `{closest}`?"),
        None => format!("there are: {}", known.join(", ")),
    }
}

/// The document with everything covered that may be secret, byte for byte, so that
/// its lines can be shown: strings in places where credentials are, and comments.
pub(super) fn covered(text: &str, root: &dyn TableLike) -> String {
    let mut cover = Cover {
        bytes: text.as_bytes().to_vec(),
        strings: Vec::new(),
    };
    cover.table(root, false);
    cover.comments();
    // Only whole strings and the rests of lines are covered, so that no character is cut.
    String::from_utf8(cover.bytes).unwrap_or_default()
}

/// Fields whose strings anybody may read.
const OPEN: [&str; 10] = [
    "$schema",
    "allowed_hosts",
    "allowed_origins",
    "audit",
    "key_file",
    "label",
    "listen",
    "lockdown",
    "policy",
    "server",
];

/// Tables in which everything is covered.
const CLOSED: [&str; 3] = ["claims", "env", "headers"];

/// A document that is being covered.
struct Cover {
    bytes: Vec<u8>,
    /// What is a string or a key, in which no comment begins.
    strings: Vec<Range<usize>>,
}

impl Cover {
    fn table(&mut self, table: &dyn TableLike, is_closed: bool) {
        for (name, item) in table.iter() {
            let key = table.key(name).and_then(|key| key.span());
            self.strings.extend(key);
            let is_table = item.is_table_like() || item.is_array_of_tables();
            let is_closed = is_closed || (is_table && CLOSED.contains(&name));
            match item {
                Item::Value(value) if !value.is_inline_table() => {
                    if is_closed || !OPEN.contains(&name) {
                        self.value(value);
                    } else {
                        self.leave(value);
                    }
                }
                Item::ArrayOfTables(tables) => {
                    for table in tables {
                        self.table(table, is_closed);
                    }
                }
                item => {
                    if let Some(table) = item.as_table_like() {
                        self.table(table, is_closed);
                    }
                }
            }
        }
    }

    fn value(&mut self, value: &Value) {
        if matches!(value, Value::Boolean(_)) {
            return;
        }
        if let Some(covered) = value.span().and_then(|span| self.bytes.get_mut(span)) {
            for byte in covered {
                if !matches!(*byte, b'\n' | b'"' | b'\'') {
                    *byte = b'*';
                }
            }
        }
    }

    /// Anybody may read this string, or the strings of this list.
    fn leave(&mut self, value: &Value) {
        match value {
            Value::String(_) => self.strings.extend(value.span()),
            Value::Array(list) => list.iter().for_each(|value| self.leave(value)),
            other => self.value(other),
        }
    }

    /// What has been turned off, or explained, may be a secret, too.
    fn comments(&mut self) {
        self.strings.sort_by_key(|string| string.start);
        let mut strings = self.strings.iter().peekable();
        let mut is_comment = false;
        for (at, byte) in self.bytes.iter_mut().enumerate() {
            while strings.next_if(|string| string.end <= at).is_some() {}
            let is_string = strings.peek().is_some_and(|string| string.contains(&at));
            match *byte {
                b'\n' => is_comment = false,
                b'#' if !is_string => is_comment = true,
                _ if is_comment => *byte = b'*',
                _ => {}
            }
        }
    }
}
