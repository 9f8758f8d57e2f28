mod members;
mod skip;
#[cfg(test)]
mod twin;

use std::borrow::Cow;
use std::ops::Range;

use super::error::{Error, ErrorKind};
use super::keys::Names;
use super::scan;
use super::string::{Text, unescape};

/// How much a [`Reader`] tolerates. The grammar is never relaxed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    /// Objects and arrays that may be open at once.
    max_depth: u32,
    /// Members of one object; a few are always tolerated.
    max_keys: usize,
    /// Refuses two members of the same name in one object.
    unique_keys: bool,
    /// Refuses lone surrogates and numbers that are not finite as `f64`.
    portable_scalars: bool,
}

impl Profile {
    /// What a client sends: refuses whatever two parsers could read
    /// differently, at every depth.
    pub(crate) const MESSAGE: Self = Self {
        max_depth: 64,
        max_keys: 10_000,
        unique_keys: true,
        portable_scalars: true,
    };

    /// What a server answers: exact in its structure, which decides where a
    /// list can stand. Values that nobody looks at may be as odd as they like,
    /// because an answer is shown, not executed.
    pub(crate) const ANSWER: Self = Self {
        max_depth: 1024,
        max_keys: usize::MAX,
        unique_keys: false,
        portable_scalars: false,
    };

    /// A text that was read as a [`MESSAGE`](Self::MESSAGE) before: what was
    /// checked then is not checked again.
    pub(crate) const JUDGED: Self = Self {
        max_depth: 64,
        max_keys: usize::MAX,
        unique_keys: false,
        portable_scalars: true,
    };

    /// A policy document. Duplicate keys are kept, so that the loader can name
    /// every one of them.
    pub(crate) const DOCUMENT: Self = Self {
        max_depth: 64,
        max_keys: usize::MAX,
        unique_keys: false,
        portable_scalars: true,
    };
}

/// The type of a value, told by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// A pull reader over one JSON text.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    position: usize,
    depth: u32,
    profile: Profile,
    /// Those of the objects that are open, if none may stand there twice.
    names: Option<Names>,
    /// Where values stand that were read before and are not read again, in their order.
    long_values: &'a [Range<usize>],
}

/// A part of a JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Written<'a> {
    text: &'a str,
    span: Range<usize>,
}

impl<'a> Written<'a> {
    #[inline]
    pub(crate) fn bytes(&self) -> &'a [u8] {
        let bytes = self.text.as_bytes();
        bytes.get(self.span.clone()).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> Option<&'a str> {
        self.text.get(self.span.clone())
    }
}

/// A text that is UTF-8 without a byte order mark, and not only white space.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Utf8<'a> {
    text: &'a str,
    /// Where its value begins.
    start: usize,
}

impl<'a> Utf8<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let text = simdutf8::basic::from_utf8(bytes).map_err(|_| not_utf8(bytes))?;
        if text.starts_with('\u{feff}') {
            return Err(Error::new(ErrorKind::ByteOrderMark, 0));
        }
        let start = scan::space(bytes, 0);
        if start == bytes.len() {
            return Err(Error::new(ErrorKind::Empty, start));
        }
        Ok(Self { text, start })
    }
}

impl<'a> Reader<'a> {
    /// Begins to read `bytes`, which must be UTF-8 without a byte order mark.
    pub(crate) fn new(bytes: &'a [u8], profile: Profile) -> Result<Self, Error> {
        Ok(Self::of(Utf8::new(bytes)?, profile))
    }

    /// Begins to read a text that can be one. A reader is large, so that it is better not
    /// moved about: this makes it where it stays.
    pub(crate) fn of(Utf8 { text, start }: Utf8<'a>, profile: Profile) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            position: start,
            depth: 0,
            profile,
            names: profile.unique_keys.then(|| Names::new(profile.max_keys)),
            long_values: &[],
        }
    }

    /// Another reader of the same text, which begins where this one stands.
    pub(crate) fn fork(&self) -> Self {
        Self {
            text: self.text,
            bytes: self.bytes,
            position: self.position,
            depth: self.depth,
            profile: self.profile,
            names: self.names.clone(),
            long_values: self.long_values,
        }
    }

    /// Of a text that was read before, these are whole values, in the order of the text:
    /// they are not read again where they are only skipped.
    pub(crate) fn go_past(&mut self, long_values: &'a [Range<usize>]) {
        self.long_values = long_values;
    }

    /// The byte offset that is read next.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// The type of the value that comes next.
    pub(crate) fn kind(&mut self) -> Result<Kind, Error> {
        self.skip_space();
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            _ => Err(self.unexpected()),
        }
    }

    /// Whether an object comes next.
    #[inline]
    pub(crate) fn is_object(&mut self) -> bool {
        self.skip_space();
        self.byte() == Some(b'{')
    }

    /// Reads an array. `item` is called before each item and must read exactly
    /// one value.
    pub(crate) fn array<E: From<Error>>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'[')?;
        self.skip_space();
        if self.byte() == Some(b']') {
            self.position += 1;
        } else {
            loop {
                self.skip_space();
                item(self)?;
                if !self.another(b']')? {
                    break;
                }
            }
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    /// Reads a string.
    pub(crate) fn string(&mut self) -> Result<Text, Error> {
        self.skip_space();
        self.expect(b'"')?;
        let text = scan::string(self.bytes, self.position, self.profile.portable_scalars)?;
        self.position = text.end + 1;
        Ok(text)
    }

    /// What the string says that comes next, if it is short and holds no escape sequence:
    /// most are like that. Else nothing is read.
    #[inline]
    pub(crate) fn short_string(&mut self) -> Option<&'a str> {
        let mut padded = None;
        let (length, _) = scan::short_string(self.bytes, self.position, &mut padded)?;
        self.short_text(length)
    }

    /// The text of so many bytes that begins behind this quote, which is read with the
    /// quote at its end.
    #[inline(always)]
    fn short_text(&mut self, length: usize) -> Option<&'a str> {
        let start = self.position + 1;
        let text = self.text.get(start..start + length)?;
        self.position = start + length + 1;
        Some(text)
    }

    /// Reads to the end: nothing but white space may follow.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.skip_space();
        if self.position == self.bytes.len() {
            Ok(())
        } else {
            Err(self.error(ErrorKind::TrailingData))
        }
    }

    /// What a string says, with its escape sequences resolved.
    pub(crate) fn decode(&self, text: Text) -> Cow<'a, str> {
        let raw = self.text.get(text.start..text.end).unwrap_or_default();
        if text.escaped {
            Cow::Owned(unescape(raw))
        } else {
            Cow::Borrowed(raw)
        }
    }

    /// The bytes of a span, as they are written.
    pub(crate) fn raw(&self, span: &Range<usize>) -> &'a [u8] {
        self.bytes.get(span.clone()).unwrap_or_default()
    }

    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(kind, self.position)
    }

    fn unexpected(&self) -> Error {
        scan::unexpected(self.bytes, self.position)
    }

    fn skip_space(&mut self) {
        self.position = scan::space(self.bytes, self.position);
    }

    fn expect(&mut self, expected: u8) -> Result<(), Error> {
        if self.byte() == Some(expected) {
            self.position += 1;
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn open(&mut self, bracket: u8) -> Result<(), Error> {
        self.skip_space();
        if self.byte() != Some(bracket) {
            return Err(self.unexpected());
        }
        self.position = self.enter(self.position)?;
        Ok(())
    }

    /// Goes into the container that begins here, and tells what follows its bracket.
    fn enter(&mut self, bracket: usize) -> Result<usize, Error> {
        let inside = bracket + 1;
        self.depth = self.depth.saturating_add(1);
        if self.depth > self.profile.max_depth {
            return Err(Error::new(ErrorKind::TooDeep, inside));
        }
        Ok(inside)
    }

    /// After an item or member: whether another follows. Consumes the comma or
    /// the closing bracket.
    #[inline]
    fn another(&mut self, closing: u8) -> Result<bool, Error> {
        self.skip_space();
        match self.byte() {
            Some(b',') => {
                self.position += 1;
                Ok(true)
            }
            Some(byte) if byte == closing => {
                self.position += 1;
                Ok(false)
            }
            _ => Err(self.unexpected()),
        }
    }
}

/// The error for bytes that are not UTF-8, with where that shows.
#[cold]
fn not_utf8(bytes: &[u8]) -> Error {
    let valid_up_to = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    Error::new(ErrorKind::NotUtf8, valid_up_to)
}
