//! The calls inside a call of a dispatcher.

use std::borrow::Cow;

use super::condition::{Found, Path, Root, Step, find};
use super::diagnostic::{Problem, Problems, join};
use super::document::Unwrap;
use crate::json::{self, Kind, Profile, Reader};

/// Calls inside each other that are looked into; what is deeper is refused.
pub(super) const DEEPEST: usize = 4;

/// Bytes that the name of an inner tool may have; as many as that of a tool.
const LONGEST_NAME: usize = 1024;

/// Where a dispatcher is told what to call.
#[derive(Debug)]
pub(super) struct Unwrapping {
    name: Path,
    arguments: Path,
    /// `/tools/NAME/unwrap`.
    place: String,
}

/// One call inside another.
#[derive(Debug)]
pub(super) struct Inner<'a> {
    pub(super) name: Cow<'a, str>,
    /// An object, or `None` if there are none.
    pub(super) arguments: Option<Cow<'a, [u8]>>,
}

impl Unwrapping {
    pub(super) fn compile(unwrap: &Unwrap, rule: &str, problems: &mut Problems) -> Option<Self> {
        let place = join(rule, "unwrap");
        let name = path(&unwrap.name, &join(&place, "name"), problems);
        let arguments = path(&unwrap.arguments, &join(&place, "arguments"), problems);
        let (name, arguments) = (name?, arguments?);
        if before_each(&name) != before_each(&arguments) {
            problems.report(|| {
                let message = "the two paths do not have their `[*]` at the same place";
                Problem::at_value(join(&place, "arguments"), message).with_help(
                    "each element of the list is one call, with its own name and arguments",
                )
            });
            return None;
        }
        Some(Self {
            name,
            arguments,
            place,
        })
    }

    /// The place that a refusal names.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Every call that a call with these arguments is for; `None` if that cannot
    /// be read.
    pub(super) fn calls<'a>(&self, arguments: &'a [u8]) -> Option<Vec<Inner<'a>>> {
        let names = find(&self.name, arguments);
        let all = find(&self.arguments, arguments);
        // Both walk the same list, so there is one of each for every element.
        if names.len() != all.len() {
            return None;
        }
        let both = names.iter().zip(&all);
        both.map(|(name, inner)| {
            Some(Inner {
                name: name_in(name, arguments)?,
                arguments: arguments_in(inner, arguments)?,
            })
        })
        .collect()
    }
}

fn path(text: &str, place: &str, problems: &mut Problems) -> Option<Path> {
    let (message, help) = match Path::parse(text) {
        Err(error) => (error.message, error.help),
        Ok(path) if path.root() != Root::Args => (
            "this path is not in the arguments".to_owned(),
            "a dispatcher is told what to call in its arguments: begin with `args`",
        ),
        Ok(path)
            if path
                .steps()
                .iter()
                .filter(|step| **step == Step::Each)
                .count()
                > 1 =>
        {
            (
                "this path has more than one `[*]`".to_owned(),
                "one list of calls can be looked into",
            )
        }
        Ok(path) => return Some(path),
    };
    problems.report(|| Problem::at_value(place.to_owned(), message).with_help(help));
    None
}

/// The steps to the list, if the path goes through every item of one.
fn before_each(path: &Path) -> Option<&[Step]> {
    let steps = path.steps();
    let each = steps.iter().position(|step| *step == Step::Each)?;
    steps.get(..each)
}

fn name_in<'a>(found: &Found, text: &'a [u8]) -> Option<Cow<'a, str>> {
    match found {
        Found::Value {
            kind: Kind::String,
            span,
        } => string(text.get(span.clone())?).filter(|name| name.len() <= LONGEST_NAME),
        _ => None,
    }
}

/// An object, or a string that holds one and nothing else.
fn arguments_in<'a>(found: &Found, text: &'a [u8]) -> Option<Option<Cow<'a, [u8]>>> {
    let Found::Value { kind, span } = found else {
        return matches!(found, Found::Missing).then_some(None);
    };
    let raw = text.get(span.clone())?;
    match kind {
        Kind::Null => Some(None),
        Kind::Object => Some(Some(Cow::Borrowed(raw))),
        Kind::String => {
            let inner = match string(raw)? {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            };
            is_object(&inner).then_some(Some(inner))
        }
        Kind::Bool | Kind::Number | Kind::Array => None,
    }
}

fn string(raw: &[u8]) -> Option<Cow<'_, str>> {
    let mut reader = Reader::new(raw, Profile::MESSAGE).ok()?;
    let text = reader.string().ok()?;
    Some(reader.decode(text))
}

/// Whether a text is one object that every reader understands in the same way.
pub(super) fn is_object(text: &[u8]) -> bool {
    let read = || -> Result<bool, json::Error> {
        let mut reader = Reader::new(text, Profile::MESSAGE)?;
        let is_object = reader.kind()? == Kind::Object;
        reader.skip()?;
        reader.finish()?;
        Ok(is_object)
    };
    read().unwrap_or(false)
}
