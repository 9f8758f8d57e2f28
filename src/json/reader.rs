use std::borrow::Cow;
use std::ops::Range;

use smallvec::SmallVec;

use super::error::{Error, ErrorKind};
use super::keys::{Key, find_duplicate};
use super::string::{Text, plain_run, unescape};

/// How much a [`Reader`] tolerates. The grammar is never relaxed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    /// Objects and arrays that may be open at once.
    max_depth: u32,
    /// Members of one object.
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
    keys: SmallVec<[Key; 24]>,
}

impl<'a> Reader<'a> {
    /// Begins to read `bytes`, which must be UTF-8 without a byte order mark.
    pub(crate) fn new(bytes: &'a [u8], profile: Profile) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Error::new(ErrorKind::NotUtf8, error.valid_up_to()))?;
        if text.starts_with('\u{feff}') {
            return Err(Error::new(ErrorKind::ByteOrderMark, 0));
        }
        let mut reader = Self {
            text,
            bytes,
            position: 0,
            depth: 0,
            profile,
            keys: SmallVec::new(),
        };
        reader.skip_space();
        if reader.position == bytes.len() {
            return Err(reader.error(ErrorKind::Empty));
        }
        Ok(reader)
    }

    /// Another reader of the same text, which begins where this one stands.
    pub(crate) fn fork(&self) -> Self {
        Self {
            text: self.text,
            bytes: self.bytes,
            position: self.position,
            depth: self.depth,
            profile: self.profile,
            keys: self.keys.clone(),
        }
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

    /// Reads an object. `member` is called after each key and must read
    /// exactly one value.
    pub(crate) fn object<E: From<Error>>(
        &mut self,
        mut member: impl FnMut(&mut Self, Text) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'{')?;
        let first_key = self.keys.len();
        self.skip_space();
        if self.byte() == Some(b'}') {
            self.position += 1;
        } else {
            loop {
                let key = self.key(first_key)?;
                member(self, key)?;
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
        let start = self.position;
        let mut escaped = false;
        loop {
            self.position = plain_run(self.bytes, self.position);
            match self.byte() {
                Some(b'"') => {
                    let end = self.position;
                    self.position += 1;
                    return Ok(Text {
                        start,
                        end,
                        escaped,
                    });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.error(ErrorKind::ControlCharacter)),
                None => return Err(self.error(ErrorKind::UnexpectedEnd)),
            }
        }
    }

    /// Reads any value and gives its span. Uses no recursion.
    pub(crate) fn skip(&mut self) -> Result<Range<usize>, Error> {
        self.skip_space();
        let start = self.position;
        // The containers that are open: for an object, where its keys begin.
        let mut open: SmallVec<[Option<usize>; 16]> = SmallVec::new();
        loop {
            self.skip_space();
            match self.byte() {
                Some(b'{') => {
                    self.open(b'{')?;
                    open.push(Some(self.keys.len()));
                    self.skip_space();
                    if self.byte() != Some(b'}') {
                        self.key(self.keys.len())?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.open(b'[')?;
                    open.push(None);
                    self.skip_space();
                    if self.byte() != Some(b']') {
                        continue;
                    }
                }
                Some(b'"') => drop(self.string()?),
                _ => self.scalar()?,
            }
            // A value has ended, or an empty container is about to.
            loop {
                let Some(innermost) = open.last().copied() else {
                    return Ok(start..self.position);
                };
                self.skip_space();
                match (self.byte(), innermost) {
                    (Some(b','), first_key) => {
                        self.position += 1;
                        if let Some(first_key) = first_key {
                            self.key(first_key)?;
                        }
                        break;
                    }
                    (Some(b'}'), Some(first_key)) => {
                        self.position += 1;
                        self.close_object(first_key)?;
                    }
                    (Some(b']'), None) => self.position += 1,
                    _ => return Err(self.unexpected()),
                }
                open.pop();
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

    /// The error for a byte that may not stand here, or for the end.
    fn unexpected(&self) -> Error {
        self.error(match self.byte() {
            Some(_) => ErrorKind::UnexpectedByte,
            None => ErrorKind::UnexpectedEnd,
        })
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.position += 1;
        }
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
        self.expect(bracket)?;
        self.depth = self.depth.saturating_add(1);
        if self.depth > self.profile.max_depth {
            return Err(self.error(ErrorKind::TooDeep));
        }
        Ok(())
    }

    /// After an item or member: whether another follows. Consumes the comma or
    /// the closing bracket.
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
    /// this object begin in `self.keys`.
    fn key(&mut self, first_key: usize) -> Result<Text, Error> {
        let text = self.string()?;
        if self.profile.unique_keys {
            if self.keys.len().saturating_sub(first_key) >= self.profile.max_keys {
                return Err(self.error(ErrorKind::TooManyKeys));
            }
            self.keys.push(Key::new(self.bytes, text));
        }
        self.skip_space();
        self.expect(b':')?;
        Ok(text)
    }

    /// Checks the names of an object that has just ended, and forgets them.
    fn close_object(&mut self, first_key: usize) -> Result<(), Error> {
        if self.profile.unique_keys {
            let (bytes, text) = (self.bytes, self.text);
            let names = self.keys.get_mut(first_key..).unwrap_or_default();
            if let Some(duplicate) = find_duplicate(bytes, text, names) {
                return Err(Error::new(ErrorKind::DuplicateKey, duplicate.start));
            }
            self.keys.truncate(first_key);
        }
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), Error> {
        match self.byte() {
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.unexpected()),
        }
    }

    fn literal(&mut self, literal: &[u8]) -> Result<(), Error> {
        for &expected in literal {
            self.expect(expected)?;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Error> {
        let start = self.position;
        if self.byte() == Some(b'-') {
            self.position += 1;
        }
        if self.byte() == Some(b'0') {
            self.position += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.position += 1;
            self.digits()?;
        }
        let exponent = matches!(self.byte(), Some(b'e' | b'E'));
        if exponent {
            self.position += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.position += 1;
            }
            self.digits()?;
        }
        if self.profile.portable_scalars {
            self.check_finite(start, exponent)?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Error> {
        if !matches!(self.byte(), Some(b'0'..=b'9')) {
            return Err(self.unexpected());
        }
        while let Some(b'0'..=b'9') = self.byte() {
            self.position += 1;
        }
        Ok(())
    }

    fn check_finite(&self, start: usize, exponent: bool) -> Result<(), Error> {
        // 308 digits without an exponent are below the largest float.
        if !exponent && self.position.saturating_sub(start) <= 308 {
            return Ok(());
        }
        let token = self.text.get(start..self.position).unwrap_or_default();
        match token.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(()),
            _ => Err(Error::new(ErrorKind::NumberOutOfRange, start)),
        }
    }

    /// Reads one escape sequence, or two that make up one character.
    fn escape(&mut self) -> Result<(), Error> {
        let start = self.position;
        self.position += 1;
        match self.byte() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.position += 1;
                return Ok(());
            }
            Some(b'u') => {}
            Some(_) => return Err(Error::new(ErrorKind::BadEscape, start)),
            None => return Err(self.error(ErrorKind::UnexpectedEnd)),
        }
        let unit = self.code_unit(start)?;
        let lone = match unit {
            0xD800..=0xDBFF
                if self
                    .bytes
                    .get(self.position..)
                    .is_some_and(|rest| rest.starts_with(b"\\u")) =>
            {
                self.position += 1;
                !matches!(self.code_unit(start)?, 0xDC00..=0xDFFF)
            }
            0xD800..=0xDFFF => true,
            _ => false,
        };
        if lone && self.profile.portable_scalars {
            return Err(Error::new(ErrorKind::LoneSurrogate, start));
        }
        Ok(())
    }

    /// Reads `uXXXX`.
    fn code_unit(&mut self, escape: usize) -> Result<u16, Error> {
        self.position += 1;
        let end = self.position.saturating_add(4);
        let unit = self
            .text
            .get(self.position..end)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u16::from_str_radix(digits, 16).ok())
            .ok_or(Error::new(ErrorKind::BadEscape, escape))?;
        self.position = end;
        Ok(unit)
    }
}
