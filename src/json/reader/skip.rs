//! Reads over values that nobody looks at.

use std::ops::Range;

use smallvec::SmallVec;

use super::super::error::Error;
use super::super::{plain, scan};
use super::{Reader, Written};

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

impl<'a> Reader<'a> {
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
}
