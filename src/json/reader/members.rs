//! Reads the members of objects.

use std::borrow::Cow;

use super::super::error::{Error, ErrorKind};
use super::super::keys::{Key, Names};
use super::super::scan;
use super::super::string::Text;
use super::Reader;

impl<'a> Reader<'a> {
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
    pub(super) fn short_key_at(&mut self, at: usize, first_key: usize) -> Option<usize> {
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

    pub(super) fn count_of_names(&self) -> usize {
        self.names.as_ref().map_or(0, Names::count)
    }

    /// Any name that begins here, and what follows its colon.
    #[inline(always)]
    pub(super) fn long_key_at(
        &mut self,
        at: usize,
        first_key: usize,
    ) -> Result<(Text, usize), Error> {
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
    pub(super) fn close_object(&mut self, first_key: usize) -> Result<(), Error> {
        let text = self.text;
        let names = self.names.as_mut();
        match names.and_then(|names| names.forget(text, first_key)) {
            Some(twice) => Err(Error::new(ErrorKind::DuplicateKey, twice.start)),
            None => Ok(()),
        }
    }
}
