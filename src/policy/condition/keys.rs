//! Names that are looked for in objects, and names that some server would take
//! for one of them.

use std::ops::Range;

use smallvec::SmallVec;

use crate::fold::fold;

/// Folding text that is not ASCII can make it longer by an order of magnitude.
const LONGEST_FOLDED: usize = 4 << 10;

/// The names that are looked for, each with what it stands for, in the order of
/// their folded forms.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys<T>(Vec<Entry<T>>);

#[derive(Clone, Debug)]
struct Entry<T> {
    folded: SmallVec<[u8; 24]>,
    key: Box<str>,
    value: T,
}

impl<T> Keys<T> {
    /// The names must differ.
    pub(super) fn new(entries: impl IntoIterator<Item = (Box<str>, T)>) -> Self {
        let mut entries: Vec<_> = entries
            .into_iter()
            .map(|(key, value)| Entry {
                folded: SmallVec::from_slice(&fold_key(&key)),
                key,
                value,
            })
            .collect();
        entries.sort_by(|one, other| one.folded.cmp(&other.folded));
        Self(entries)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|entry| &entry.value)
    }

    /// Where those stand that a key is equal to, or looks like.
    #[inline]
    pub(super) fn alike(&self, key: &Seen<'_>) -> Range<usize> {
        match self.0.as_slice() {
            // It looks like itself, whatever it is.
            [entry] if *entry.key == *key.key => 0..1,
            [entry] if key.looks == Looks::Plain => {
                0..usize::from(is_folded_to(key.key.as_bytes(), &entry.folded))
            }
            _ => self.alike_folded(key),
        }
    }

    /// The same, however many there are and whatever is in the key.
    fn alike_folded(&self, key: &Seen<'_>) -> Range<usize> {
        if key.looks == Looks::LikeAll {
            return 0..self.0.len();
        }
        let folded = Folded::of(key.key);
        let folded = folded.as_bytes();
        let start = self
            .0
            .partition_point(|entry| entry.folded.as_slice() < folded);
        let rest = self.0.get(start..).unwrap_or_default();
        let alike = rest
            .iter()
            .take_while(|entry| entry.folded.as_slice() == folded);
        start..start.saturating_add(alike.count())
    }

    /// What stands here.
    pub(super) fn value(&self, at: usize) -> Option<&T> {
        self.0.get(at).map(|entry| &entry.value)
    }

    /// Whether one of [`alike`](Self::alike) is this very key.
    pub(super) fn is_exactly(&self, at: usize, key: &Seen<'_>) -> bool {
        self.0.get(at).is_some_and(|entry| *entry.key == *key.key)
    }

    /// What one of [`alike`](Self::alike) stands for, if it is this very key.
    pub(super) fn exactly(&self, at: usize, key: &Seen<'_>) -> Option<&T> {
        self.value(at).filter(|_| self.is_exactly(at, key))
    }
}

/// A key that stands in an object.
#[derive(Debug)]
pub(super) struct Seen<'k> {
    key: &'k str,
    looks: Looks,
}

/// What a key could be taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looks {
    /// For what it is folded to, byte by byte: it is ASCII.
    Plain,
    /// For what it is folded to.
    Foreign,
    /// For every other: it is too long to fold, or `__proto__`, through which some servers
    /// take an object for another.
    LikeAll,
}

/// A key as [`fold_key`] makes it.
#[derive(Debug)]
enum Folded<'k> {
    /// There was nothing to fold.
    AsItIs(&'k str),
    Otherwise(SmallVec<[u8; 64]>),
}

impl<'k> Folded<'k> {
    fn of(key: &'k str) -> Self {
        let stays = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
        match key.bytes().all(stays) {
            true => Self::AsItIs(key),
            false => Self::Otherwise(fold_key(key)),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::AsItIs(key) => key.as_bytes(),
            Self::Otherwise(folded) => folded,
        }
    }
}

impl<'k> Seen<'k> {
    #[inline]
    pub(super) fn new(key: &'k str) -> Self {
        let looks = match key.is_ascii() {
            true if key == "__proto__" => Looks::LikeAll,
            true => Looks::Plain,
            false if key.len() > LONGEST_FOLDED => Looks::LikeAll,
            false => Looks::Foreign,
        };
        Self { key, looks }
    }
}

/// What a key is to a server that cares neither for case nor for separators:
/// NFKC, case folding, without `_`, `-`, control and format characters and
/// white space. A fixed point.
fn fold_key(key: &str) -> SmallVec<[u8; 64]> {
    if key.is_ascii() {
        let mut folded = SmallVec::with_capacity(key.len());
        let kept = key.bytes().filter(|byte| !is_ignored(char::from(*byte)));
        kept.for_each(|byte| folded.push(byte.to_ascii_lowercase()));
        return folded;
    }
    let mut folded = fold(key);
    // What is left when something is taken away can compose; see `fold`.
    for _ in 0..8 {
        let kept: String = folded.chars().filter(|c| !is_ignored(*c)).collect();
        if kept == folded {
            break;
        }
        let again = fold(&kept);
        if again == folded {
            break;
        }
        folded = again;
    }
    SmallVec::from_slice(folded.as_bytes())
}

/// Whether [`fold_key`] makes this of a key that is ASCII.
#[inline]
fn is_folded_to(key: &[u8], folded: &[u8]) -> bool {
    match (key, folded) {
        // Most differ in their first letter.
        ([first, ..], [wanted, ..]) if first.is_ascii_lowercase() && first != wanted => false,
        _ => is_folded_to_all(key, folded),
    }
}

/// The same, whatever they begin with.
fn is_folded_to_all(key: &[u8], folded: &[u8]) -> bool {
    let mut folded = folded.iter();
    let kept = key.iter().filter(|byte| !is_ignored(char::from(**byte)));
    for byte in kept {
        if folded.next() != Some(&byte.to_ascii_lowercase()) {
            return false;
        }
    }
    folded.as_slice().is_empty()
}

#[inline]
fn is_ignored(c: char) -> bool {
    matches!(c, '_' | '-' | ' ') || c.is_control()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn alike(one: &str, other: &str) -> bool {
        fold_key(one) == fold_key(other)
    }

    #[test]
    fn what_a_careless_server_takes_for_the_same_is_alike() {
        for other in [
            "file_path",
            "filePath",
            "File-Path",
            "FILE_PATH",
            "_filepath",
            "file path",
            " filepath\t",
            "filepath\0",
            "ｆｉｌｅ＿ｐａｔｈ",
            "\u{fb01}lepath",
            "file\u{200b}path",
            "\u{feff}filepath",
            "file\u{a0}path",
            "file\u{85}path",
        ] {
            assert!(alike("filePath", other), "{other:?}");
        }
        assert!(alike("task", "tas\u{212a}"));
        assert!(alike("stra\u{df}e", "STRASSE"));
        assert!(alike("\u{e9}", "e_\u{301}"));
        for other in [
            "filepaths",
            "file.path",
            "file/path",
            "filepat",
            "fil\u{435}path",
        ] {
            assert!(!alike("filePath", other), "{other:?}");
        }
    }

    #[test]
    fn the_exact_one_is_told_from_those_that_look_alike() {
        let keys = Keys::new([("ab", 1), ("a_b", 2), ("c", 3)].map(|(k, v)| (k.into(), v)));
        let exactly = |key: &str| {
            let seen = Seen::new(key);
            let alike = keys.alike(&seen);
            let exact = alike.clone().find_map(|at| keys.exactly(at, &seen));
            (alike.len(), exact.copied())
        };
        assert_eq!(exactly("ab"), (2, Some(1)));
        assert_eq!(exactly("a_b"), (2, Some(2)));
        assert_eq!(exactly("A-B"), (2, None));
        assert_eq!(exactly("c"), (1, Some(3)));
        assert_eq!(exactly("d"), (0, None));
        assert_eq!(exactly("__proto__"), (3, None));
        assert_eq!(exactly(&"\u{e9}".repeat(LONGEST_FOLDED)), (3, None));
        assert_eq!(exactly(&"e".repeat(LONGEST_FOLDED * 2)), (0, None));
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(
            key in "[a-eA-E_\\- \u{200b}\u{a8}\u{b4}\u{300}-\u{305}\u{130}\u{1e9e}\u{ff3f}\\x00\u{85}]{0,10}"
        ) {
            let folded = String::from_utf8(fold_key(&key).to_vec()).unwrap();
            let again = fold_key(&folded);
            prop_assert_eq!(again.as_slice(), folded.as_bytes());
        }

        #[test]
        fn a_key_is_compared_as_if_it_were_folded(
            wanted in "[aA_é]{0,3}|[ -~]{0,3}",
            key in "[aA_\\-]{0,4}|\\PC{0,3}|[\\x00-\\x7f]{0,4}",
        ) {
            let keys = Keys::new([(wanted.as_str().into(), ())]);
            let seen = Seen::new(&key);
            prop_assert!(Iterator::eq(keys.alike(&seen), keys.alike_folded(&seen)));
            let is_alike = alike(&wanted, &key) || key == "__proto__";
            prop_assert_eq!(!keys.alike(&seen).is_empty(), is_alike);
            if key.is_ascii() {
                let folded = fold_key(&wanted);
                prop_assert_eq!(is_folded_to(key.as_bytes(), &folded), alike(&wanted, &key));
            }
        }

        #[test]
        fn what_there_is_nothing_to_fold_in_stays_as_it_is(key in "[a-z0-9]{0,9}|[ -~]{0,4}|\\PC{0,3}") {
            let (stays, folded) = (Folded::of(&key), fold_key(&key));
            prop_assert_eq!(stays.as_bytes(), folded.as_slice());
        }
    }
}
