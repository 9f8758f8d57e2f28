//! Which of very many names and patterns speak of one text.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::pattern::{Name, Pattern};

/// Names and patterns, each with what belongs to it.
///
/// A name is found by its hash. Patterns are found by what they begin with, or
/// by what they end with if they begin with a star, so that a document may have
/// thousands and only those few are tried that could match.
#[derive(Debug)]
pub(super) struct NameSet<T> {
    /// All in it is the document's, so nobody else can fill it with names that collide.
    exact: HashMap<Box<[u8]>, T, RandomState>,
    by_prefix: Trie<T>,
    by_suffix: Trie<T>,
}

impl<T> NameSet<T> {
    /// What belongs to exactly this name.
    pub(super) fn exact(&self, text: &[u8]) -> Option<&T> {
        self.exact.get(text)
    }

    /// What belongs to each pattern that matches, in no particular order.
    pub(super) fn patterns(&self, text: &[u8]) -> impl Iterator<Item = &T> {
        self.candidates(text)
            .filter(move |leaf| leaf.pattern.matches(text))
            .map(|leaf| &leaf.value)
    }

    /// Whether anything here names or matches the text.
    pub(super) fn contains(&self, text: &[u8]) -> bool {
        self.exact(text).is_some() || self.patterns(text).next().is_some()
    }

    /// What belongs to some pattern that matches everything that `pattern`
    /// does.
    ///
    /// For advice only: where there are very many candidates, not all are
    /// tried, because this is asked for every pattern of a document.
    pub(super) fn covering(&self, pattern: &Pattern) -> Option<&T> {
        self.covering_if(pattern, |_| true)
    }

    /// The same of the accepted ones.
    pub(super) fn covering_if(&self, pattern: &Pattern, accept: impl Fn(&T) -> bool) -> Option<&T> {
        const MOST_TRIED: usize = 64;
        let skeleton = pattern.skeleton();
        self.candidates(&skeleton)
            .take(MOST_TRIED)
            .find(|leaf| accept(&leaf.value) && leaf.pattern.matches(&skeleton))
            .map(|leaf| &leaf.value)
    }

    /// Whether some pattern of the accepted ones matches everything that
    /// `pattern` does. All are tried.
    pub(super) fn cover(&self, pattern: &Pattern, accept: impl Fn(&T) -> bool) -> bool {
        let skeleton = pattern.skeleton();
        self.candidates(&skeleton)
            .any(|leaf| accept(&leaf.value) && leaf.pattern.matches(&skeleton))
    }

    /// The patterns that match anything that begins with `prefix`, as far as
    /// their own beginning tells.
    pub(super) fn beginning_like(&self, prefix: &[u8]) -> impl Iterator<Item = (&Pattern, &T)> {
        let by_prefix = self.by_prefix.walk(prefix.iter().copied());
        by_prefix
            .and_below()
            .chain(&self.by_suffix.0)
            .map(|leaf| (&leaf.pattern, &leaf.value))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.by_prefix.0.is_empty() && self.by_suffix.0.is_empty()
    }

    /// The patterns that could match, as far as their one end tells.
    fn candidates(&self, text: &[u8]) -> impl Iterator<Item = &Leaf<T>> {
        let by_prefix = self.by_prefix.walk(text.iter().copied());
        let by_suffix = self.by_suffix.walk(text.iter().rev().copied());
        by_prefix.chain(by_suffix)
    }
}

impl<T> FromIterator<(Name, T)> for NameSet<T> {
    /// Of two equal names the first one stays; patterns all stay.
    fn from_iter<I: IntoIterator<Item = (Name, T)>>(names: I) -> Self {
        let mut exact = HashMap::default();
        let mut by_prefix = Vec::new();
        let mut by_suffix = Vec::new();
        for (name, value) in names {
            match name {
                Name::Exact(name) => {
                    let name = name.into_bytes().into_boxed_slice();
                    exact.entry(name).or_insert(value);
                }
                Name::Pattern(pattern) if pattern.prefix().is_empty() => {
                    let key = pattern.suffix().bytes().rev().collect();
                    by_suffix.push(Leaf {
                        key,
                        pattern,
                        value,
                    });
                }
                Name::Pattern(pattern) => {
                    let key = pattern.prefix().bytes().collect();
                    by_prefix.push(Leaf {
                        key,
                        pattern,
                        value,
                    });
                }
            }
        }
        Self {
            exact,
            by_prefix: Trie::new(by_prefix),
            by_suffix: Trie::new(by_suffix),
        }
    }
}

/// A trie laid flat: leaves sorted by key, so that every node of the trie is a
/// range of them.
#[derive(Debug)]
struct Trie<T>(Vec<Leaf<T>>);

#[derive(Debug)]
struct Leaf<T> {
    key: Box<[u8]>,
    pattern: Pattern,
    value: T,
}

impl<T> Trie<T> {
    fn new(mut leaves: Vec<Leaf<T>>) -> Self {
        leaves.sort_by(|a, b| a.key.cmp(&b.key));
        Self(leaves)
    }

    /// Every leaf whose key `bytes` begins with.
    fn walk<B: Iterator<Item = u8>>(&self, bytes: B) -> Walk<'_, T, B> {
        Walk {
            below: &self.0,
            depth: 0,
            bytes,
        }
    }
}

#[derive(Debug)]
struct Walk<'t, T, B> {
    /// Leaves whose keys begin with the bytes read so far.
    below: &'t [Leaf<T>],
    /// How many bytes that is.
    depth: usize,
    bytes: B,
}

impl<'t, T, B: Iterator<Item = u8>> Walk<'t, T, B> {
    /// Goes on, when all bytes are read, to every leaf whose key begins with
    /// them.
    fn and_below(mut self) -> impl Iterator<Item = &'t Leaf<T>> {
        let mut walking = true;
        std::iter::from_fn(move || {
            if walking {
                if let Some(leaf) = self.next() {
                    return Some(leaf);
                }
                walking = false;
            }
            let (first, others) = self.below.split_first()?;
            self.below = others;
            Some(first)
        })
    }
}

impl<'t, T, B: Iterator<Item = u8>> Walk<'t, T, B> {
    /// The only leaf that is left, if the bytes begin with its key.
    fn only(&mut self, leaf: &'t Leaf<T>) -> Option<&'t Leaf<T>> {
        for own in leaf.key.get(self.depth..)? {
            // The leaf stays below when all bytes are read.
            if self.bytes.next()? != *own {
                self.below = &[];
                return None;
            }
            self.depth += 1;
        }
        self.below = &[];
        Some(leaf)
    }
}

impl<'t, T, B: Iterator<Item = u8>> Iterator for Walk<'t, T, B> {
    type Item = &'t Leaf<T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (first, others) = self.below.split_first()?;
            // A key that ends here sorts before those that go on.
            if first.key.len() == self.depth {
                self.below = others;
                return Some(first);
            }
            if others.is_empty() {
                return self.only(first);
            }
            let byte = Some(self.bytes.next()?);
            let at = |leaf: &Leaf<T>| leaf.key.get(self.depth).copied();
            let start = self.below.partition_point(|leaf| at(leaf) < byte);
            let end = self.below.partition_point(|leaf| at(leaf) <= byte);
            self.below = self.below.get(start..end)?;
            self.depth += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_trying_each_one_finds(
            texts in prop::collection::vec("[ab*]{1,6}", 0..20),
            name in "[ab]{0,8}",
        ) {
            let names: Vec<Name> = texts.iter().map(|text| Name::parse(text).unwrap()).collect();
            let set: NameSet<usize> = names.iter().cloned().zip(0..).collect();
            let mut found: Vec<usize> = set.patterns(name.as_bytes()).copied().collect();
            found.sort_unstable();
            let matching = |n: &Name| matches!(n, Name::Pattern(p) if p.matches(name.as_bytes()));
            let expected: Vec<usize> = (0..names.len()).filter(|i| matching(&names[*i])).collect();
            prop_assert_eq!(found, expected);
            let first = names.iter().position(|n| *n == Name::Exact(name.clone()));
            prop_assert_eq!(set.exact(name.as_bytes()).copied(), first);
            prop_assert_eq!(set.is_empty(), texts.is_empty());
            let mut found: Vec<usize> = set
                .beginning_like(name.as_bytes())
                .map(|(_, index)| *index)
                .collect();
            found.sort_unstable();
            let could = |n: &Name| {
                let Name::Pattern(pattern) = n else {
                    return false;
                };
                let prefix = pattern.prefix();
                prefix.starts_with(&name) || name.starts_with(prefix)
            };
            let expected: Vec<usize> = (0..names.len()).filter(|i| could(&names[*i])).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
