//! Patterns between which nothing decides.

use std::collections::BTreeMap;

use super::pattern::Pattern;

/// Finds patterns that have equally many literal characters and could both
/// match one name.
///
/// Each pair is (a pattern, an earlier one that it ties with), in an order
/// that depends on the patterns alone. Where many tie with each other, each is
/// paired with one only; of those that were paired, ties with later ones may be
/// left for the next load. There is a pair if there is a tie.
///
/// Two patterns with a star in each have a match in common exactly if one
/// prefix begins with the other and one suffix ends with the other: that name
/// is the longer prefix, all inner runs of both, the longer suffix. So the
/// patterns are walked in the order of their prefixes, as a trie is walked,
/// with a stack of those whose prefix the current one begins with. As none of
/// these tie, no suffix among them ends with another; and among texts of which
/// none begins with another, the one that a text begins with sorts next to it,
/// and so do those that begin with it. Two look-ups replace comparing all.
pub(super) fn ties<'p>(patterns: &[(&'p str, &'p Pattern)]) -> Vec<(&'p str, &'p str)> {
    let mut sorted: Vec<Candidate<'p>> = patterns
        .iter()
        .map(|&(key, pattern)| Candidate {
            literals: pattern.literals(),
            prefix: pattern.prefix().as_bytes(),
            key,
            suffix: pattern.suffix().bytes().rev().collect(),
        })
        .collect();
    sorted.sort_unstable();

    let mut pairs = Vec::new();
    let mut stack: Vec<&Candidate<'p>> = Vec::new();
    let mut suffixes: BTreeMap<&[u8], &'p str> = BTreeMap::new();
    for candidate in &sorted {
        while let Some(top) = stack.last() {
            if top.goes_before(candidate) {
                break;
            }
            suffixes.remove(top.suffix.as_slice());
            stack.pop();
        }
        match neighbour(&suffixes, &candidate.suffix) {
            Some(earlier) => pairs.push((candidate.key, earlier)),
            None => {
                suffixes.insert(&candidate.suffix, candidate.key);
                stack.push(candidate);
            }
        }
    }
    pairs
}

/// One pattern. The order of the fields is the order in which they are sorted.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate<'p> {
    literals: usize,
    prefix: &'p [u8],
    key: &'p str,
    /// Backwards.
    suffix: Vec<u8>,
}

impl Candidate<'_> {
    fn goes_before(&self, other: &Self) -> bool {
        self.literals == other.literals && other.prefix.starts_with(self.prefix)
    }
}

/// The one among `suffixes` that `suffix` begins with, or that begins with it.
fn neighbour<'p>(suffixes: &BTreeMap<&[u8], &'p str>, suffix: &[u8]) -> Option<&'p str> {
    let before = suffixes.range(..=suffix).next_back();
    let after = suffixes.range(suffix..).next();
    before
        .filter(|(earlier, _)| suffix.starts_with(earlier))
        .or(after.filter(|(earlier, _)| earlier.starts_with(suffix)))
        .map(|(_, key)| *key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pattern::Name;
    use super::*;

    fn found(texts: &[String]) -> Vec<(String, String)> {
        let parsed: Vec<(&str, Pattern)> = texts
            .iter()
            .filter_map(|text| match Name::parse(text) {
                Ok(Name::Pattern(pattern)) => Some((text.as_str(), pattern)),
                _ => None,
            })
            .collect();
        let borrowed: Vec<_> = parsed
            .iter()
            .map(|(key, pattern)| (*key, pattern))
            .collect();
        ties(&borrowed)
            .into_iter()
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .collect()
    }

    fn literals(text: &str) -> usize {
        text.chars().filter(|c| *c != '*').count()
    }

    /// A name that both match, among all that are short enough to matter here.
    fn common(a: &str, b: &str) -> bool {
        let (Ok(Name::Pattern(a)), Ok(Name::Pattern(b))) = (Name::parse(a), Name::parse(b)) else {
            return false;
        };
        (0..=10u32).any(|length| {
            (0..1u32 << length).any(|bits| {
                let name: Vec<u8> = (0..length).map(|i| b'a' + (bits >> i & 1) as u8).collect();
                a.matches(&name) && b.matches(&name)
            })
        })
    }

    #[test]
    fn prefixes_and_suffixes_decide() {
        for (a, b, tie) in [
            ("a*", "*a", true),
            ("a*", "b*", false),
            ("*a", "*b", false),
            ("ab*", "a*b", true),
            ("ab*c", "a*bc", true),
            ("ab*c", "a*bd", false),
            ("a*", "a**", true),
            ("a*", "ab*", false),
            ("*ab*", "*ba*", true),
            ("get_*_a", "get_*_b", false),
        ] {
            let pairs = found(&[a.to_owned(), b.to_owned()]);
            assert_eq!(!pairs.is_empty(), tie, "{a} {b}");
        }
    }

    #[test]
    fn a_hundred_thousand_patterns_are_no_work() {
        let texts: Vec<String> = (0..100_000).map(|i| format!("p{i:06}*s{i:06}")).collect();
        assert!(found(&texts).is_empty());
        let texts: Vec<String> = (0..100_000).map(|i| format!("*{i:06}")).collect();
        assert!(found(&texts).is_empty());
        let texts: Vec<String> = (0..100_000).map(|i| format!("*{i:06}*")).collect();
        assert_eq!(found(&texts).len(), 99_999);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn finds_a_tie_if_there_is_one(texts in prop::collection::btree_set(r"[ab]{0,2}\*[ab*]{0,3}", 0..7)) {
            let texts: Vec<String> = texts.into_iter().collect();
            let mut tied = Vec::new();
            for (i, a) in texts.iter().enumerate() {
                for b in &texts[..i] {
                    if literals(a) == literals(b) && common(a, b) {
                        tied.push((a, b));
                    }
                }
            }
            let pairs = found(&texts);
            prop_assert_eq!(pairs.is_empty(), tied.is_empty());
            for (a, b) in &pairs {
                prop_assert!(tied.contains(&(a, b)) || tied.contains(&(b, a)), "{} {}", a, b);
            }
            let mut backwards = texts.clone();
            backwards.reverse();
            prop_assert_eq!(found(&backwards), pairs);
        }
    }
}
