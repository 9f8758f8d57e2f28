//! Finds the names that an object has twice.

use smallvec::SmallVec;

use super::string::{Text, unescape};

/// Objects with more keys than this are sorted to find duplicates; below,
/// comparing every pair is faster.
const FEW_KEYS: usize = 12;

/// The names of the objects that are open, each behind those of the object around it.
#[derive(Clone, Debug)]
pub(super) struct Names {
    all: SmallVec<[Key; 24]>,
    /// Whether one may stand there twice: they are looked at more closely at the ends of
    /// their objects. It seldom is, so that this need not be known of each object.
    is_doubtful: bool,
}

/// A member name that is remembered while its object is open.
#[derive(Clone, Copy, Debug)]
struct Key {
    text: Text,
    /// What is the same of the same names, so that most comparisons are one of integers.
    mark: u64,
}

impl Names {
    pub(super) const fn new() -> Self {
        Self {
            all: SmallVec::new_const(),
            is_doubtful: false,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Remembers one of the object whose names begin at `first`.
    #[inline(always)]
    pub(super) fn remember(&mut self, bytes: &[u8], text: Text, first: usize) {
        let mark = mark(bytes, text);
        let others = self.all.get(first..).unwrap_or_default();
        let is_seen = others.iter().take(FEW_KEYS).any(|one| one.mark == mark);
        self.is_doubtful |= is_seen | text.escaped;
        self.all.push(Key { text, mark });
    }

    /// Forgets those from the `first` on, which are those of an object that has ended, and
    /// gives one that stands there twice.
    #[inline]
    pub(super) fn forget(&mut self, bytes: &[u8], text: &str, first: usize) -> Option<Text> {
        let count = self.all.len().saturating_sub(first);
        let twice = match self.is_doubtful || count > FEW_KEYS {
            true => self.find_duplicate(bytes, text, first),
            false => None,
        };
        self.all.truncate(first);
        twice
    }

    #[inline(never)]
    fn find_duplicate(&mut self, bytes: &[u8], text: &str, first: usize) -> Option<Text> {
        let names = self.all.get_mut(first..).unwrap_or_default();
        find_duplicate(bytes, text, names)
    }
}

/// A name that stands twice among `keys`. Sorts them when there are many.
fn find_duplicate(bytes: &[u8], text: &str, keys: &mut [Key]) -> Option<Text> {
    if keys.iter().any(|key| key.text.escaped) {
        return find_escaped_duplicate(text, keys);
    }
    let raw = |key: &Key| bytes.get(key.text.start..key.text.end);
    let same = |one: &Key, other: &Key| {
        one.mark == other.mark && one.text.len() == other.text.len() && raw(one) == raw(other)
    };
    if keys.len() <= FEW_KEYS {
        let mut rest = &*keys;
        while let Some((key, others)) = rest.split_first() {
            if let Some(duplicate) = others.iter().find(|other| same(key, other)) {
                return Some(duplicate.text);
            }
            rest = others;
        }
        return None;
    }
    keys.sort_unstable_by(|one, other| {
        (one.mark, one.text.len())
            .cmp(&(other.mark, other.text.len()))
            .then_with(|| raw(one).cmp(&raw(other)))
    });
    keys.iter()
        .zip(keys.iter().skip(1))
        .find(|(one, other)| same(one, other))
        .map(|(_, other)| other.text)
}

/// Names that hold escape sequences are compared by what they say.
fn find_escaped_duplicate(text: &str, keys: &[Key]) -> Option<Text> {
    let mut names: Vec<(String, Text)> = keys
        .iter()
        .map(|key| {
            let raw = text.get(key.text.start..key.text.end).unwrap_or_default();
            (unescape(raw), key.text)
        })
        .collect();
    names.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    names
        .iter()
        .zip(names.iter().skip(1))
        .find(|(one, other)| one.0 == other.0)
        .map(|(_, other)| other.1)
}

/// The first eight bytes of a string, padded with zeros, and of a longer one the last
/// eight as well.
#[inline(always)]
fn mark(bytes: &[u8], text: Text) -> u64 {
    let word = |start: usize| {
        let word = bytes.get(start..).and_then(<[u8]>::first_chunk);
        word.map(|word| u64::from_le_bytes(*word))
    };
    match (word(text.start), text.len()) {
        (Some(first), length @ 0..8) => first & !(u64::MAX << (length * 8)),
        (Some(first), _) => {
            let last = word(text.end.saturating_sub(8)).unwrap_or_default();
            first ^ last.rotate_left(20)
        }
        (None, _) => padded(bytes.get(text.start..text.end).unwrap_or_default()),
    }
}

#[cold]
fn padded(raw: &[u8]) -> u64 {
    let mut padded = [0; 8];
    for (to, from) in padded.iter_mut().zip(raw) {
        *to = *from;
    }
    u64::from_le_bytes(padded)
}
