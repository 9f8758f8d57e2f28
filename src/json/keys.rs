//! Finds the names that an object has twice.

use super::string::{Text, unescape};

/// Objects with more keys than this are sorted to find duplicates; below,
/// comparing every pair is faster.
const FEW_KEYS: usize = 12;

/// A member name that is remembered while its object is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    text: Text,
    /// The first eight bytes, so that most comparisons are one of integers.
    head: u64,
}

impl Key {
    #[inline]
    pub(super) fn new(bytes: &[u8], text: Text) -> Self {
        let head = head(bytes, text);
        Self { text, head }
    }
}

/// A name that stands twice among `keys`. Sorts them when there are many.
pub(super) fn find_duplicate(bytes: &[u8], text: &str, keys: &mut [Key]) -> Option<Text> {
    if keys.iter().any(|key| key.text.escaped) {
        return find_escaped_duplicate(text, keys);
    }
    let raw = |key: &Key| bytes.get(key.text.start..key.text.end);
    let same = |one: &Key, other: &Key| {
        one.head == other.head && one.text.len() == other.text.len() && raw(one) == raw(other)
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
        (one.head, one.text.len())
            .cmp(&(other.head, other.text.len()))
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

/// The first eight bytes of a string, padded with zeros.
fn head(bytes: &[u8], text: Text) -> u64 {
    if let Some(chunk) = bytes.get(text.start..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        return match text.len() {
            length @ 0..8 => word & !(u64::MAX << (length * 8)),
            _ => word,
        };
    }
    let mut padded = [0; 8];
    let raw = bytes.get(text.start..text.end).unwrap_or_default();
    for (to, from) in padded.iter_mut().zip(raw) {
        *to = *from;
    }
    u64::from_le_bytes(padded)
}
