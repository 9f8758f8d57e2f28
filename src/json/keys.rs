//! Finds the names that an object has twice.

use super::scan;
use super::string::{Text, unescape};

/// Names that are compared with each other when they are met, which is faster than to sort
/// them as long as there are no more.
const FEW: usize = 16;

/// The names of the objects that are open, each behind those of the object around it.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// The first of them.
    near: [Key; FEW],
    /// Those behind them.
    far: Vec<Key>,
    /// How many there are in all.
    count: usize,
    /// How many one object may have, but for a few that it always may.
    most: usize,
    /// Behind the last of those that may stand there twice, which are looked at more closely
    /// at the ends of their objects. There is seldom one, so that this need not be known of
    /// each object: one around another that was looked at is looked at as well.
    doubtful: usize,
}

/// A member name that is remembered while its object is open.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Key {
    /// What is the same of the same names, so that most comparisons are one of integers.
    mark: u64,
    start: usize,
}

impl Key {
    pub(super) fn new(bytes: &[u8], text: Text) -> Self {
        let raw = bytes.get(text.start..text.end).unwrap_or_default();
        Self {
            mark: mark(raw),
            start: text.start,
        }
    }

    /// The same of a name of at most sixteen bytes, and what stands from its first byte on.
    #[inline(always)]
    pub(super) fn short(start: usize, length: usize, from_first: &[u8; 18]) -> Self {
        let first = from_first.first_chunk().map_or(0, word);
        let last = from_first.get(length.wrapping_sub(8)..);
        let mark = match last.and_then(<[u8]>::first_chunk) {
            Some(last) => mark_of_words(first, word(last)),
            None => first & !(u64::MAX << (length % 8 * 8)),
        };
        Self { mark, start }
    }
}

/// The first eight bytes of a name, padded with zeros, and of a longer one the last as well.
fn mark(name: &[u8]) -> u64 {
    match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => mark_of_words(word(first), word(last)),
        _ => {
            let bytes = name.iter().rev();
            bytes.fold(0, |mark, byte| mark << 8 | u64::from(*byte))
        }
    }
}

#[inline(always)]
fn mark_of_words(first: u64, last: u64) -> u64 {
    first ^ last.rotate_left(20)
}

#[inline(always)]
fn word(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

impl Names {
    pub(super) fn new(most: usize) -> Self {
        Self {
            near: [Key::default(); FEW],
            far: Vec::new(),
            count: 0,
            most,
            doubtful: 0,
        }
    }

    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Remembers one of the object whose names begin at `first`, unless there are too many.
    #[inline(always)]
    pub(super) fn remember(&mut self, key: Key, first: usize) -> bool {
        let count = self.count;
        let Some((others, [place, ..])) = self.near.split_at_mut_checked(count) else {
            return self.remember_far(key, first);
        };
        for other in others.get(first..).unwrap_or_default() {
            if other.mark == key.mark {
                self.doubtful = count + 1;
                break;
            }
        }
        *place = key;
        self.count = count + 1;
        true
    }

    #[inline(never)]
    fn remember_far(&mut self, key: Key, first: usize) -> bool {
        let others = self.count.saturating_sub(first);
        if others >= self.most.max(FEW) {
            return false;
        }
        let is_seen = others < FEW && self.from(first).any(|other| other.mark == key.mark);
        self.far.push(key);
        self.count += 1;
        if is_seen {
            self.doubtful = self.count;
        }
        true
    }

    /// What was remembered last holds escape sequences.
    #[cold]
    pub(super) fn note_escaped(&mut self) {
        self.doubtful = self.count;
    }

    /// Those from the `first` on.
    fn from(&self, first: usize) -> impl Iterator<Item = &Key> {
        let near = self.near.get(first..self.count.min(FEW));
        let far = self.far.get(first.saturating_sub(FEW)..);
        let near = near.unwrap_or_default().iter();
        near.chain(far.unwrap_or_default())
    }

    /// Forgets those from the `first` on, which are those of an object that has ended, and
    /// gives one that stands there twice.
    #[inline(always)]
    pub(super) fn forget(&mut self, text: &str, first: usize) -> Option<Text> {
        if self.doubtful > first || self.count > FEW {
            return self.forget_doubtful(text, first);
        }
        self.count = first;
        None
    }

    #[inline(never)]
    fn forget_doubtful(&mut self, text: &str, first: usize) -> Option<Text> {
        let twice = match self.doubtful > first || self.count.saturating_sub(first) > FEW {
            true => find_duplicate(text, self.from(first)),
            false => None,
        };
        self.count = first;
        // Else every object behind one of these would be looked at more closely.
        self.doubtful = self.doubtful.min(first);
        self.far.truncate(first.saturating_sub(FEW));
        twice
    }
}

/// A name that stands twice among these.
fn find_duplicate<'k>(text: &str, keys: impl Iterator<Item = &'k Key>) -> Option<Text> {
    let bytes = text.as_bytes();
    // They were read before.
    let name = |key: &Key| Some((key.mark, scan::string(bytes, key.start, false).ok()?));
    let mut names: Vec<(u64, Text)> = keys.filter_map(name).collect();
    if names.iter().any(|(_, name)| name.escaped) {
        return find_escaped_duplicate(text, &names);
    }
    let raw = |name: &Text| bytes.get(name.start..name.end);
    names.sort_unstable_by(|(mark, one), (other_mark, other)| {
        (mark, one.len())
            .cmp(&(other_mark, other.len()))
            .then_with(|| raw(one).cmp(&raw(other)))
    });
    let mut pairs = names.iter().zip(names.iter().skip(1));
    let twice = pairs.find(|((_, one), (_, other))| raw(one) == raw(other));
    twice.map(|(_, (_, other))| *other)
}

/// Names that hold escape sequences are compared by what they say.
fn find_escaped_duplicate(text: &str, names: &[(u64, Text)]) -> Option<Text> {
    let said = |(_, name): &(u64, Text)| {
        let raw = text.get(name.start..name.end).unwrap_or_default();
        (unescape(raw), *name)
    };
    let mut names: Vec<(String, Text)> = names.iter().map(said).collect();
    names.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    let mut pairs = names.iter().zip(names.iter().skip(1));
    let twice = pairs.find(|(one, other)| one.0 == other.0);
    twice.map(|(_, other)| other.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the names of one object, which are written like this, one that stands there twice.
    fn twice(names: &[String]) -> Option<usize> {
        let text = names.iter().map(|name| format!("\"{name}\""));
        let text = text.collect::<Vec<_>>().join(",");
        let mut all = Names::new(100);
        let mut at = 1;
        for name in names {
            let found = scan::string(text.as_bytes(), at, true).unwrap();
            let key = Key::new(text.as_bytes(), found);
            if let (1..=16, false) = (found.len(), found.escaped) {
                let mut padded = [0; 18];
                let behind = &text.as_bytes()[at..];
                let length = behind.len().min(18);
                padded[..length].copy_from_slice(&behind[..length]);
                let short = Key::short(at, found.len(), &padded);
                assert_eq!((short.mark, short.start), (key.mark, key.start), "{name}");
            }
            assert!(all.remember(key, 0));
            if found.escaped {
                all.note_escaped();
            }
            at += name.len() + 3;
        }
        let found = all.forget(&text, 0);
        assert_eq!(all.count(), 0);
        let position = |found: Text| text[..found.start].matches(',').count();
        found.map(position)
    }

    #[test]
    fn names_with_the_same_mark_are_different_names() {
        let word = |name: &str| word(name.as_bytes().first_chunk().unwrap());
        // What is another in the first half is made up for in the second.
        let one = "abcdefghabcdefgh";
        let change = word("\0\u{1}\0\0\0\0\0\0");
        let half = (word("abcdefgh") ^ change.rotate_right(20)).to_le_bytes();
        let other = format!("accdefgh{}", std::str::from_utf8(&half).unwrap());
        assert_eq!(mark(one.as_bytes()), mark(other.as_bytes()));
        let name = |name: &str| name.to_owned();
        assert_eq!(twice(&[name(one), name(&other)]), None);
        assert_eq!(twice(&[name(one), name(&other), name(one)]), Some(2));
        assert_eq!(
            twice(&[name(&other), name(one), name("x"), name("x")]),
            Some(3)
        );
    }

    #[test]
    fn the_second_of_two_is_found_wherever_they_stand() {
        for spell in [
            |number: usize| format!("{number}"),
            |number| format!("name_{number:03}"),
            |number| format!("a_name_{number:03}"),
            |number| format!("{number:03}_of_names_that_are_longer_than_all"),
            |number| format!("in_names_that_are_longer_than_all_{number:03}"),
            |number| format!("\\u0061{number}"),
        ] {
            for count in 0..40 {
                let names: Vec<String> = (0..count).map(spell).collect();
                assert_eq!(twice(&names), None, "{names:?}");
                for second in 0..count {
                    for first in 0..second {
                        let mut names = names.clone();
                        names[second] = names[first].clone();
                        let found = twice(&names);
                        assert!(found == Some(first) || found == Some(second), "{names:?}");
                    }
                }
            }
        }
    }

    /// A text of names that are numbers, from 0 on.
    fn numbers() -> String {
        (0..64).map(|number| format!("\"{number:02}\"")).collect()
    }

    /// One of these names.
    fn key_of(numbers: &str, number: usize) -> Key {
        let start = number * 4 + 1;
        Key {
            mark: mark(&numbers.as_bytes()[start..start + 2]),
            start,
        }
    }

    #[test]
    fn an_object_inside_another_has_names_of_its_own() {
        let text = numbers();
        let key = |number| key_of(&text, number);
        for outside in 0..20 {
            for inside in 1..20 {
                let mut names = Names::new(100);
                let remember = |names: &mut Names, number, first| {
                    assert!(names.remember(key(number), first));
                };
                (0..outside).for_each(|number| remember(&mut names, number, 0));
                // The same names are in two objects, the last one twice in the second.
                for is_twice in [false, true] {
                    assert_eq!(names.count(), outside);
                    (0..inside).for_each(|number| remember(&mut names, number, outside));
                    if is_twice {
                        remember(&mut names, inside - 1, outside);
                    }
                    let twice = names.forget(&text, outside);
                    let start = twice.map(|twice| twice.start);
                    assert_eq!(start, is_twice.then_some(key(inside - 1).start));
                }
                assert_eq!(names.forget(&text, 0), None);
            }
        }
    }

    #[test]
    fn a_doubt_ends_with_the_object_that_it_is_about() {
        let text = numbers();
        let key = |number| key_of(&text, number);
        for outside in 0..20 {
            for is_twice in [false, true] {
                let mut names = Names::new(100);
                (0..outside).for_each(|number| assert!(names.remember(key(number), 0)));
                if is_twice {
                    assert!(names.remember(key(0), 0));
                }
                let first = names.count();
                for notes in [false, true, false] {
                    assert!(names.remember(key(40), first));
                    if notes {
                        names.note_escaped();
                    }
                    assert_eq!(names.doubtful > first, notes);
                    assert!(names.forget(&text, first).is_none());
                    assert!(names.doubtful <= first);
                }
                // What is inside takes no doubt away from what is around it.
                let twice = names.forget(&text, 0);
                assert_eq!(twice.is_some(), is_twice && outside > 0, "{outside}");
                assert_eq!(names.doubtful, 0);
            }
        }
    }
}
