//! What one value is put to: an operator and the value of the document.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use regex_automata::meta::Regex;
use serde_json::Value;

use super::folder::{Folder, is_within};
use super::host::{Entry as Host, Hosts};
use super::keys::{Keys, Seen};
use super::number::Number;
use super::operator::Operator;
use super::purpose::Use;
use super::regex::{RegexError, Regexes};
use super::truth::Truth;
use super::value::{HELP_UNREADABLE, UNREADABLE};
use super::wanted::{Scalar, Wanted};
use crate::json::{Error, Kind, Reader};

/// An operator and its value, compiled.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Test {
    operator: Operator,
    check: Check,
}

/// Why a value does not go with an operator, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct TestError {
    /// The item that does not, if the value is a list that else would.
    pub(in crate::policy) item: Option<usize>,
    pub(in crate::policy) message: String,
    pub(in crate::policy) help: String,
}

/// Everything that is wrong with a value; nothing, if that has been said of
/// another one already.
pub(in crate::policy) type TestErrors = Vec<TestError>;

#[derive(Clone, Debug)]
enum Check {
    Same(Wanted),
    OneOf(Set),
    Compare(Number),
    Regex(Arc<Regex>),
    Contains(Wanted),
    Exists(bool),
    Starts(Box<str>),
    Ends(Box<str>),
    Keys(Keys<()>),
    Length(u64),
    Folders(Vec<Folder>),
    Hosts(Hosts),
}

impl Test {
    pub(in crate::policy) fn compile(
        operator: Operator,
        value: &Value,
        regexes: &mut Regexes,
    ) -> Result<Self, TestErrors> {
        let expected = |what| TestError::expected(operator, what, value);
        let check = match operator {
            Operator::Eq | Operator::Neq => Check::Same(wanted(value)?),
            Operator::In | Operator::NotIn => {
                let items = value
                    .as_array()
                    .ok_or_else(|| expected("a list of values"))?;
                Check::OneOf(Set::new(not_empty(operator, items)?)?)
            }
            Operator::Lt | Operator::Lte | Operator::Gt | Operator::Gte => match wanted(value)? {
                Wanted::Number(number) => Check::Compare(number),
                _ => return Err(expected("a number")),
            },
            Operator::Regex => {
                let pattern = value.as_str().ok_or_else(|| expected("a string"))?;
                Check::Regex(regexes.compile(pattern).map_err(of_regex)?)
            }
            Operator::Contains => Check::Contains(wanted(value)?),
            Operator::Exists => Check::Exists(
                value
                    .as_bool()
                    .ok_or_else(|| expected("`true` or `false`"))?,
            ),
            Operator::StartsWith => {
                Check::Starts(value.as_str().ok_or_else(|| expected("a string"))?.into())
            }
            Operator::EndsWith => {
                Check::Ends(value.as_str().ok_or_else(|| expected("a string"))?.into())
            }
            Operator::KeysIn => {
                let keys = strings(operator, "a list of strings", value)?;
                let keys: HashSet<&str> = keys.into_iter().collect();
                Check::Keys(Keys::new(keys.into_iter().map(|key| (key.into(), ()))))
            }
            Operator::LengthLte => {
                let expected = || expected("an integer that is not negative");
                match wanted(value)? {
                    Wanted::Number(number) => {
                        let length = number
                            .to_integer()
                            .and_then(|length| length.try_into().ok());
                        Check::Length(length.ok_or_else(expected)?)
                    }
                    _ => return Err(expected()),
                }
            }
            Operator::PathWithin => Check::Folders(folders(value)?),
            Operator::HostIn => Check::Hosts(hosts(value)?),
        };
        Ok(Self { operator, check })
    }

    /// What a path that leads to nothing is found to be.
    pub(super) fn of_nothing(&self, usage: Use) -> Truth {
        match (&self.check, self.operator) {
            (Check::Exists(wanted), _) => Truth::from(!*wanted),
            (_, Operator::Neq | Operator::NotIn) => Truth::Undecidable,
            _ if usage == Use::Approval => Truth::Undecidable,
            _ => Truth::False,
        }
    }

    /// What a value that is neither a list nor an object is found to be.
    pub(super) fn of_scalar(&self, found: Scalar<'_>) -> Truth {
        match (&self.check, found) {
            (Check::Exists(wanted), found) => Truth::from(*wanted != matches!(found, Scalar::Null)),
            (Check::Same(wanted), found) => self.signed(wanted.same_scalar(found)),
            (Check::OneOf(set), found) => self.signed(set.has_scalar(found)),
            (Check::Compare(bound), Scalar::Number(Some(found))) => {
                Truth::from(self.accepts(found.cmp(bound)))
            }
            (check, Scalar::String(text)) => of_string(check, text),
            _ => Truth::Undecidable,
        }
    }

    /// What the list or object is found to be that the reader stands at.
    pub(super) fn of_container(&self, mut reader: Reader<'_>, kind: Kind) -> Result<Truth, Error> {
        Ok(match (&self.check, kind) {
            (Check::Exists(wanted), _) => Truth::from(*wanted),
            (Check::Same(wanted), _) => self.signed(wanted.same(&mut reader)?),
            (Check::OneOf(set), _) => self.signed(set.has_container(&reader, kind)?),
            (Check::Contains(wanted), Kind::Array) => any_item(wanted, &mut reader)?,
            (Check::Keys(keys), Kind::Object) => no_other_keys(keys, &mut reader)?,
            (Check::Length(longest), _) => Truth::from(length(&mut reader, kind)? <= *longest),
            _ => Truth::Undecidable,
        })
    }

    fn signed(&self, truth: Truth) -> Truth {
        truth.negated(matches!(self.operator, Operator::Neq | Operator::NotIn))
    }

    fn accepts(&self, order: Ordering) -> bool {
        match self.operator {
            Operator::Lt => order.is_lt(),
            Operator::Lte => order.is_le(),
            Operator::Gt => order.is_gt(),
            _ => order.is_ge(),
        }
    }
}

fn of_string(check: &Check, text: &str) -> Truth {
    match check {
        Check::Regex(regex) => Truth::from(regex.is_match(text)),
        Check::Contains(Wanted::String(part)) => Truth::from(text.contains(&**part)),
        Check::Starts(start) => Truth::from(text.starts_with(&**start)),
        Check::Ends(end) => Truth::from(text.ends_with(&**end)),
        Check::Length(longest) => {
            let length = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
            Truth::from(length <= *longest)
        }
        Check::Folders(folders) => is_within(text, folders),
        Check::Hosts(hosts) => hosts.has(text),
        _ => Truth::Undecidable,
    }
}

/// The same as `eq` of any item.
fn any_item(wanted: &Wanted, reader: &mut Reader<'_>) -> Result<Truth, Error> {
    let mut truth = Truth::False;
    reader.array(|reader| {
        if truth == Truth::True {
            reader.skip()?;
        } else {
            truth = truth.or(wanted.same(reader)?);
        }
        Ok::<(), Error>(())
    })?;
    Ok(truth)
}

/// A key that only looks like one of the list is undecidable.
fn no_other_keys(keys: &Keys<()>, reader: &mut Reader<'_>) -> Result<Truth, Error> {
    let mut truth = Truth::True;
    reader.object(|reader, key| {
        let key = reader.decode(key);
        let key = Seen::new(&key);
        let mut alike = keys.alike(&key);
        truth = truth.and(if alike.is_empty() {
            Truth::False
        } else if alike.any(|at| keys.exactly(at, &key).is_some()) {
            Truth::True
        } else {
            Truth::Undecidable
        });
        reader.skip().map(drop)
    })?;
    Ok(truth)
}

fn length(reader: &mut Reader<'_>, kind: Kind) -> Result<u64, Error> {
    let mut length = 0_u64;
    if kind == Kind::Object {
        reader.object(|reader, _| {
            length = length.saturating_add(1);
            reader.skip().map(drop)
        })?;
    } else {
        reader.array(|reader| {
            length = length.saturating_add(1);
            reader.skip().map(drop)
        })?;
    }
    Ok(length)
}

/// The values of `in`, by their type.
#[derive(Clone, Debug, Default)]
struct Set {
    null: bool,
    bools: Vec<bool>,
    numbers: HashSet<Number>,
    strings: HashSet<Box<str>>,
    arrays: Vec<Wanted>,
    objects: Vec<Wanted>,
}

impl Set {
    fn new(values: &[Value]) -> Result<Self, TestErrors> {
        let mut set = Self::default();
        for value in values {
            match wanted(value)? {
                Wanted::Null => set.null = true,
                Wanted::Bool(bool) => set.bools.push(bool),
                Wanted::Number(number) => drop(set.numbers.insert(number)),
                Wanted::String(text) => drop(set.strings.insert(text)),
                array @ Wanted::Array(_) => set.arrays.push(array),
                object @ Wanted::Object(_) => set.objects.push(object),
            }
        }
        Ok(set)
    }

    /// Undecidable if there is none of this type.
    fn has_scalar(&self, found: Scalar<'_>) -> Truth {
        let (known, found) = match found {
            Scalar::Null => (self.null, true),
            Scalar::Bool(found) => (!self.bools.is_empty(), self.bools.contains(&found)),
            Scalar::Number(Some(found)) => {
                (!self.numbers.is_empty(), self.numbers.contains(&found))
            }
            Scalar::Number(None) => (false, false),
            Scalar::String(found) => (!self.strings.is_empty(), self.strings.contains(found)),
        };
        if known {
            Truth::from(found)
        } else {
            Truth::Undecidable
        }
    }

    fn has_container(&self, reader: &Reader<'_>, kind: Kind) -> Result<Truth, Error> {
        let known = if kind == Kind::Object {
            &self.objects
        } else {
            &self.arrays
        };
        if known.is_empty() {
            return Ok(Truth::Undecidable);
        }
        let mut truth = Truth::False;
        for wanted in known {
            truth = truth.or(wanted.same(&mut reader.fork())?);
        }
        Ok(truth)
    }
}

fn wanted(value: &Value) -> Result<Wanted, TestErrors> {
    Wanted::new(value).ok_or_else(|| TestError::new(UNREADABLE, HELP_UNREADABLE).alone())
}

/// The strings of a list, or every item that is none.
fn strings<'v>(
    operator: Operator,
    what: &str,
    value: &'v Value,
) -> Result<Vec<&'v str>, TestErrors> {
    let items = value
        .as_array()
        .ok_or_else(|| TestError::expected(operator, what, value))?;
    let string = |item: &'v Value| {
        item.as_str()
            .ok_or_else(|| TestError::new(not_taken(operator, item), "write a string here"))
    };
    each(items.iter(), string)
}

/// What is made of every item, or what is wrong with each that nothing is made
/// of.
fn each<I, T>(
    items: impl ExactSizeIterator<Item = I>,
    make: impl Fn(I) -> Result<T, TestError>,
) -> Result<Vec<T>, TestErrors> {
    let mut made = Vec::with_capacity(items.len());
    let mut errors = Vec::new();
    for (index, item) in items.enumerate() {
        match make(item) {
            Ok(item) => made.push(item),
            // More than anybody reads.
            Err(_) if errors.len() >= MOST_ERRORS => {}
            Err(error) => errors.push(TestError {
                item: Some(index),
                ..error
            }),
        }
    }
    if errors.is_empty() {
        Ok(made)
    } else {
        Err(errors)
    }
}

const MOST_ERRORS: usize = 200;

fn not_empty<T>(operator: Operator, list: &[T]) -> Result<&[T], TestErrors> {
    if list.is_empty() {
        let message = format!("the list of `{operator}` is empty");
        let help = "name at least one value, or leave the condition out";
        return Err(TestError::new(message, help).alone());
    }
    Ok(list)
}

fn folders(value: &Value) -> Result<Vec<Folder>, TestErrors> {
    let operator = Operator::PathWithin;
    let folder = |folder: &str| {
        Folder::new(folder).ok_or_else(|| {
            TestError::new(
                "no path can be told to lie in this folder",
                "write the folder without NUL, `%`, backslash, a `~` in front or a `..` that \
                 leads out of it; `/` and `.` stand for everything",
            )
        })
    };
    if let Some(text) = value.as_str() {
        let folder = folder(text).map_err(TestError::alone)?;
        return Ok(vec![folder]);
    }
    let folders = strings(operator, "a string or a list of strings", value)?;
    each(not_empty(operator, &folders)?.iter().copied(), folder)
}

fn hosts(value: &Value) -> Result<Hosts, TestErrors> {
    let operator = Operator::HostIn;
    let hosts = strings(operator, "a list of strings", value)?;
    let hosts = each(not_empty(operator, &hosts)?.iter().copied(), |host| {
        Host::parse(host).map_err(|help| {
            let message = format!("{} is not a host", crate::policy::diagnostic::quote(host));
            TestError::new(message, help)
        })
    });
    hosts.map(Hosts::new)
}

/// What is wrong with a regular expression. That all of them together are too
/// much is said of the first that is.
fn of_regex(error: RegexError) -> TestErrors {
    let (message, help) = match error {
        RegexError::Syntax(reason) => (
            format!("this is not a regular expression: {reason}"),
            "look-around and back-references are not supported, and a backslash is written twice \
             in JSON",
        ),
        RegexError::Size => (
            "this regular expression takes more than 1 MiB".to_owned(),
            "use smaller repetitions, or `(?-u)` if ASCII is enough",
        ),
        RegexError::Total => (
            "the regular expressions of this document take more than 64 MiB together, from here on"
                .to_owned(),
            "use `in`, `starts_with` or `ends_with` where they do, and the same expression where \
             it can be the same",
        ),
        RegexError::BeyondTotal => return Vec::new(),
    };
    TestError::new(message, help).alone()
}

fn not_taken(operator: Operator, found: &Value) -> String {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    format!("`{operator}` does not take {found} here")
}

impl TestError {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            item: None,
            message: message.into(),
            help: help.into(),
        }
    }

    fn alone(self) -> TestErrors {
        vec![self]
    }

    fn expected(operator: Operator, what: &str, found: &Value) -> TestErrors {
        let help = format!("the value of `{operator}` is {what}");
        Self::new(not_taken(operator, found), help).alone()
    }
}
