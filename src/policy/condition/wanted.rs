//! The value of a document that a found one is compared with, in depth.

use serde_json::Value;
use smallvec::SmallVec;

use super::keys::{Keys, Seen};
use super::number::Number;
use super::truth::Truth;
use crate::json::{Error, Kind, Reader};

/// A value of a document, made ready to be compared.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Null,
    Bool(bool),
    Number(Number),
    String(Box<str>),
    Array(Vec<Wanted>),
    Object(Keys<Wanted>),
}

/// A found value that holds no others.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar<'v> {
    Null,
    Bool(bool),
    /// Nothing if it is not readable.
    Number(Option<Number>),
    String(&'v str),
}

impl Scalar<'_> {
    /// Reads a value that is neither a list nor an object, and hands it on.
    pub(super) fn read<T>(
        reader: &mut Reader<'_>,
        kind: Kind,
        then: impl FnOnce(Scalar<'_>) -> T,
    ) -> Result<T, Error> {
        if kind == Kind::String {
            let text = reader.string()?;
            return Ok(then(Scalar::String(&reader.decode(text))));
        }
        let span = reader.skip()?;
        let raw = reader.raw(&span);
        Ok(then(match kind {
            Kind::Null => Scalar::Null,
            Kind::Bool => Scalar::Bool(raw == b"true"),
            _ => Scalar::Number(Number::of_bytes(raw)),
        }))
    }
}

impl Wanted {
    /// Nothing if a number in it is not readable. Recursion is bounded by the
    /// depth of a document.
    pub(super) fn new(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Null,
            Value::Bool(bool) => Self::Bool(*bool),
            Value::Number(number) => Self::Number(Number::read(&number.to_string())?),
            Value::String(text) => Self::String(text.as_str().into()),
            Value::Array(items) => Self::Array(items.iter().map(Self::new).collect::<Option<_>>()?),
            Value::Object(members) => {
                let member =
                    |(key, value): (&String, _)| Some((key.as_str().into(), Self::new(value)?));
                let members: Vec<_> = members.iter().map(member).collect::<Option<_>>()?;
                Self::Object(Keys::new(members))
            }
        })
    }

    /// Whether a found value is the same. One of another type is undecidable:
    /// some servers turn one into the other.
    pub(super) fn same_scalar(&self, found: Scalar<'_>) -> Truth {
        match (self, found) {
            (Self::Null, Scalar::Null) => Truth::True,
            (Self::Bool(wanted), Scalar::Bool(found)) => Truth::from(*wanted == found),
            (Self::Number(wanted), Scalar::Number(Some(found))) => Truth::from(*wanted == found),
            (Self::String(wanted), Scalar::String(found)) => Truth::from(**wanted == *found),
            _ => Truth::Undecidable,
        }
    }

    /// Reads one value and tells whether it is the same. Recursion is bounded
    /// by the depth of a document.
    pub(super) fn same(&self, reader: &mut Reader<'_>) -> Result<Truth, Error> {
        match (self, reader.kind()?) {
            (Self::Array(wanted), Kind::Array) => same_items(wanted, reader),
            (Self::Object(wanted), Kind::Object) => same_members(wanted, reader),
            (_, Kind::Array | Kind::Object) => {
                reader.skip()?;
                Ok(Truth::Undecidable)
            }
            (_, kind) => Scalar::read(reader, kind, |found| self.same_scalar(found)),
        }
    }
}

fn same_items(wanted: &[Wanted], reader: &mut Reader<'_>) -> Result<Truth, Error> {
    let mut wanted = wanted.iter();
    let mut truth = Truth::True;
    reader.array(|reader| {
        match wanted.next() {
            Some(wanted) if truth != Truth::False => truth = truth.and(wanted.same(reader)?),
            Some(_) => {
                reader.skip()?;
            }
            None => {
                truth = Truth::False;
                reader.skip()?;
            }
        }
        Ok::<(), Error>(())
    })?;
    if wanted.next().is_some() {
        truth = Truth::False;
    }
    Ok(truth)
}

fn same_members(wanted: &Keys<Wanted>, reader: &mut Reader<'_>) -> Result<Truth, Error> {
    let mut found: SmallVec<[Option<Truth>; 8]> = SmallVec::from_elem(None, wanted.len());
    let mut others = Truth::True;
    reader.object(|reader, key| {
        let key = reader.decode(key);
        let key = Seen::new(&key);
        let alike = wanted.alike(&key);
        let exact = alike
            .clone()
            .find_map(|at| Some((at, wanted.exactly(at, &key)?)));
        match exact {
            Some((at, wanted)) => {
                let truth = wanted.same(reader)?;
                if let Some(found) = found.get_mut(at) {
                    // There are no two of the same name. A look-alike stays one.
                    *found = Some(if found.is_none() {
                        truth
                    } else {
                        Truth::Undecidable
                    });
                }
            }
            None => {
                if alike.is_empty() {
                    others = Truth::False;
                }
                for found in found.get_mut(alike).unwrap_or_default() {
                    *found = Some(Truth::Undecidable);
                }
                reader.skip()?;
            }
        }
        Ok::<(), Error>(())
    })?;
    let same = |truth: Truth, found: Option<Truth>| truth.and(found.unwrap_or(Truth::False));
    Ok(found.into_iter().fold(others, same))
}
