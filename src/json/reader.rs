#[cfg(test)]
mod twin;

use std::borrow::Cow;
use std::ops::Range;

use smallvec::SmallVec;

use super::error::{Error, ErrorKind};
use super::keys::{Key, Names};
use super::string::{Text, unescape};
use super::{plain, scan};

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

/// What a value that is skipped stands in.
#[derive(Clone, Copy)]
enum Container {
    /// Nothing: it is the one that is skipped.
    None,
    Array,
    /// Where its keys begin among those that are remembered.
    Object {
        first_key: usize,
    },
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

    /// Reads an object. `member` is called after each key and must read
    /// exactly one value.
    pub(crate) fn object<E: From<Error>>(
        &mut self,
        mut member: impl FnMut(&mut Self, Text) -> Result<(), E>,
    ) -> Result<(), E> {
        self.object_of(|reader, first_key| {
            let key = reader.key(first_key)?;
            member(reader, key)
        })
    }

    /// The same, where `member` is told what each key says.
    pub(crate) fn members<E: From<Error>>(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        self.named(|reader, name| member(reader, &name))
    }

    /// The same, where that can be kept.
    pub(crate) fn named<E: From<Error>>(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.object_of(|reader, first_key| {
            let name = match reader.short_key(first_key) {
                Some(name) => Cow::Borrowed(name),
                None => reader.long_name(first_key)?,
            };
            member(reader, name)
        })
    }

    /// Reads an object, of which `member` reads a key and its value. It is told where the
    /// names of this object begin among those that are remembered.
    #[inline(always)]
    fn object_of<E: From<Error>>(
        &mut self,
        mut member: impl FnMut(&mut Self, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'{')?;
        let first_key = self.count_of_names();
        self.skip_space();
        if self.byte() == Some(b'}') {
            self.position += 1;
        } else {
            loop {
                member(self, first_key)?;
                if !self.another(b'}')? {
                    break;
                }
            }
        }
        self.close_object(first_key)?;
        self.depth = self.depth.saturating_sub(1);
        Ok(())
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

    /// Reads any value and gives its span. Uses no recursion.
    #[inline]
    pub(crate) fn skip(&mut self) -> Result<Range<usize>, Error> {
        let start = scan::space(self.bytes, self.position);
        self.position = self.end_from(start)?;
        Ok(start..self.position)
    }

    /// Where the value ends that begins here.
    #[inline(never)]
    fn end_from(&mut self, start: usize) -> Result<usize, Error> {
        let portable = self.profile.portable_scalars;
        if !self.long_values.is_empty() {
            if let Some(end) = self.known_end(start) {
                return Ok(end);
            }
        }
        match self.bytes.get(start) {
            Some(b'{' | b'[') => match self.plain_end(start) {
                Some(end) => Ok(end),
                None => self.end_of_value(start),
            },
            Some(b'"') => {
                let text = scan::string(self.bytes, start + 1, portable)?;
                Ok(text.end + 1)
            }
            Some(b'1'..=b'9') => match scan::integer(self.bytes, start) {
                Some(end) => Ok(end),
                None => self.end_of_value(start),
            },
            _ => self.end_of_value(start),
        }
    }

    /// Where the value ends that begins here, if it was read before. That is asked of every
    /// item of a long list, so it must not take long where there are many long values.
    #[inline(never)]
    fn known_end(&self, start: usize) -> Option<usize> {
        let known = self.long_values;
        let index = known.binary_search_by_key(&start, |value| value.start);
        known.get(index.ok()?).map(|value| value.end)
    }

    /// Where the value ends that begins here, if it is plain.
    #[inline]
    fn plain_end(&self, at: usize) -> Option<usize> {
        // Else names would have to be compared.
        if self.profile.unique_keys {
            return None;
        }
        plain::value(self.bytes, at, self.bounds())
    }

    /// Reads an object whose members are plain to see, with names that hold no escape
    /// sequence. `member` is called with each, and its value. Nothing is read, and `false`
    /// given, if the object is not like that or `member` gives `false`.
    pub(crate) fn plain_object(
        &mut self,
        mut member: impl FnMut(Written<'a>, Written<'a>) -> bool,
    ) -> bool {
        if self.profile.unique_keys {
            return false;
        }
        let (bytes, text) = (self.bytes, self.text);
        let is_liked = |name: Range<usize>, value: Range<usize>| {
            member(Written { text, span: name }, Written { text, span: value })
        };
        let start = scan::space(bytes, self.position);
        let end = plain::members(bytes, start, self.bounds(), is_liked);
        self.position = end.unwrap_or(self.position);
        end.is_some()
    }

    fn bounds(&self) -> plain::Bounds {
        plain::Bounds {
            levels: self.profile.max_depth.saturating_sub(self.depth),
            portable: self.profile.portable_scalars,
        }
    }

    /// Where the value ends that begins here. Whatever it is: [`plain_end`](Self::plain_end)
    /// is only faster.
    #[inline(never)]
    fn end_of_value(&mut self, mut at: usize) -> Result<usize, Error> {
        let bytes = self.bytes;
        let portable = self.profile.portable_scalars;
        // The container that is read, and those around it.
        let mut container = Container::None;
        let mut outer: SmallVec<[Container; 16]> = SmallVec::new();
        loop {
            if let Container::Object { first_key } = container {
                at = match self.short_key_at(at, first_key) {
                    Some(length) => at + length + 3,
                    None => self.long_key_at(at, first_key)?.1,
                };
            }
            at = scan::space(bytes, at);
            match bytes.get(at) {
                Some(b'"') => {
                    let text = scan::string(bytes, at + 1, portable)?;
                    at = text.end + 1;
                }
                Some(b'{') => {
                    at = self.enter(at)?;
                    outer.push(container);
                    container = Container::Object {
                        first_key: self.count_of_names(),
                    };
                    at = scan::space(bytes, at);
                    if bytes.get(at) != Some(&b'}') {
                        continue;
                    }
                }
                Some(b'[') => {
                    at = self.enter(at)?;
                    outer.push(container);
                    container = Container::Array;
                    at = scan::space(bytes, at);
                    if bytes.get(at) != Some(&b']') {
                        continue;
                    }
                }
                _ => at = scan::scalar(bytes, at, portable)?,
            }
            // A value has ended, or an empty container is about to.
            loop {
                if let Container::None = container {
                    return Ok(at);
                }
                at = scan::space(bytes, at);
                match (bytes.get(at), container) {
                    (Some(b','), _) => {
                        at += 1;
                        break;
                    }
                    (Some(b'}'), Container::Object { first_key }) => {
                        self.close_object(first_key)?
                    }
                    (Some(b']'), Container::Array) => {}
                    _ => return Err(scan::unexpected(bytes, at)),
                }
                at += 1;
                container = outer.pop().unwrap_or(Container::None);
                self.depth = self.depth.saturating_sub(1);
            }
        }
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

    /// Reads a member name and its colon. `first_key` is where the names of
    /// this object begin among those that are remembered.
    #[inline]
    fn key(&mut self, first_key: usize) -> Result<Text, Error> {
        let start = self.position + 1;
        match self.short_key(first_key) {
            Some(name) => Ok(Text {
                start,
                end: start + name.len(),
                escaped: false,
            }),
            None => self.long_key(first_key),
        }
    }

    /// Reads a member name and its colon if both are as they mostly are; else nothing is
    /// read.
    #[inline(never)]
    fn short_key(&mut self, first_key: usize) -> Option<&'a str> {
        let length = self.short_key_at(self.position, first_key)?;
        let name = self.short_text(length);
        self.position += 1;
        name
    }

    #[inline(never)]
    fn long_key(&mut self, first_key: usize) -> Result<Text, Error> {
        let (text, end) = self.long_key_at(self.position, first_key)?;
        self.position = end;
        Ok(text)
    }

    #[inline(never)]
    fn long_name(&mut self, first_key: usize) -> Result<Cow<'a, str>, Error> {
        let key = self.long_key(first_key)?;
        Ok(self.decode(key))
    }

    /// How long the name is that begins here, if it is short and its colon follows it.
    #[inline(always)]
    fn short_key_at(&mut self, at: usize, first_key: usize) -> Option<usize> {
        let mut padded = None;
        let (length, from_first) = scan::short_string(self.bytes, at, &mut padded)?;
        if *from_first.get(length + 1)? != b':' {
            return None;
        }
        if let Some(names) = &mut self.names {
            let key = Key::short(at + 1, length, from_first);
            if !names.remember(key, first_key) {
                return None;
            }
        }
        Some(length)
    }

    fn count_of_names(&self) -> usize {
        self.names.as_ref().map_or(0, Names::count)
    }

    /// Any name that begins here, and what follows its colon.
    #[inline(always)]
    fn long_key_at(&mut self, at: usize, first_key: usize) -> Result<(Text, usize), Error> {
        let bytes = self.bytes;
        let at = scan::space(bytes, at);
        if bytes.get(at) != Some(&b'"') {
            return Err(scan::unexpected(bytes, at));
        }
        let text = scan::string(bytes, at + 1, self.profile.portable_scalars)?;
        let end = text.end + 1;
        if let Some(names) = &mut self.names {
            if !names.remember(Key::new(bytes, text), first_key) {
                return Err(Error::new(ErrorKind::TooManyKeys, end));
            }
            if text.escaped {
                names.note_escaped();
            }
        }
        let colon = scan::space(bytes, end);
        match bytes.get(colon) {
            Some(b':') => Ok((text, colon + 1)),
            _ => Err(scan::unexpected(bytes, colon)),
        }
    }

    /// Checks the names of an object that has just ended, and forgets them.
    #[inline]
    fn close_object(&mut self, first_key: usize) -> Result<(), Error> {
        let text = self.text;
        let names = self.names.as_mut();
        match names.and_then(|names| names.forget(text, first_key)) {
            Some(twice) => Err(Error::new(ErrorKind::DuplicateKey, twice.start)),
            None => Ok(()),
        }
    }
}

/// The error for bytes that are not UTF-8, with where that shows.
#[cold]
fn not_utf8(bytes: &[u8]) -> Error {
    let valid_up_to = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    Error::new(ErrorKind::NotUtf8, valid_up_to)
}
