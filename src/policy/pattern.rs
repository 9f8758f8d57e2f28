//! Names and patterns as a document writes them.

use std::fmt;

use crate::fold::fold;

/// What a key of the document stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// One name, escapes resolved.
    Exact(String),
    /// Every name that the pattern matches.
    Pattern(Pattern),
}

impl Name {
    /// Reads `*` as any run of characters, `\*` and `\\` as themselves.
    pub(super) fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let mut runs = Vec::new();
        let mut run = String::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match c {
                '*' => runs.push(std::mem::take(&mut run)),
                '\\' => match rest.next() {
                    Some(escaped @ ('*' | '\\')) => run.push(escaped),
                    other => return Err(NameError::Escape(other)),
                },
                _ => run.push(c),
            }
        }
        let mut runs = runs.into_iter();
        Ok(match runs.next() {
            None => Self::Exact(run),
            Some(prefix) => Self::Pattern(Pattern::new(prefix, runs, run)),
        })
    }

    /// The name or pattern that folded names are compared with.
    pub(super) fn folded(&self) -> Self {
        match self {
            Self::Exact(name) => Self::Exact(fold(name)),
            Self::Pattern(pattern) => Self::Pattern(pattern.folded()),
        }
    }
}

/// Literal runs with any run of characters between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    prefix: String,
    /// What stands between two stars, without the empty runs.
    inner: Vec<String>,
    suffix: String,
}

impl Pattern {
    fn new(prefix: String, inner: impl Iterator<Item = String>, suffix: String) -> Self {
        Self {
            prefix,
            inner: inner.filter(|run| !run.is_empty()).collect(),
            suffix,
        }
    }

    /// Everything that begins and ends so, whatever is between.
    pub(super) fn between(prefix: String, suffix: String) -> Self {
        Self::new(prefix, std::iter::empty(), suffix)
    }

    /// The pattern with a star between each of these runs and the next. The
    /// first and the last run are the same one if there is no other.
    pub(super) fn from_runs(runs: Vec<String>) -> Self {
        let mut runs = runs.into_iter();
        let prefix = runs.next().unwrap_or_default();
        let suffix = runs.next_back().unwrap_or_default();
        Self::new(prefix, runs, suffix)
    }

    /// Whether the pattern matches the whole of `text`.
    ///
    /// Every run is taken at its first place: what then follows has the most
    /// room, so there is never a reason to go back.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let Some(rest) = text.strip_prefix(self.prefix.as_bytes()) else {
            return false;
        };
        let Some(mut rest) = rest.strip_suffix(self.suffix.as_bytes()) else {
            return false;
        };
        for run in &self.inner {
            match after(rest, run.as_bytes()) {
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        true
    }

    /// What every match begins with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What every match ends with.
    pub(super) fn suffix(&self) -> &str {
        &self.suffix
    }

    /// How many characters are not a star.
    pub(super) fn literals(&self) -> usize {
        self.runs().map(|run| run.chars().count()).sum()
    }

    /// The literal runs in their order.
    pub(super) fn runs(&self) -> impl Iterator<Item = &str> {
        let inner = self.inner.iter().map(String::as_str);
        std::iter::once(self.prefix())
            .chain(inner)
            .chain(std::iter::once(self.suffix()))
    }

    /// The pattern as a text that another pattern matches if that other one
    /// matches everything that this one does. A star becomes a byte that no
    /// name holds, so that only a star can stand for it.
    pub(super) fn skeleton(&self) -> Vec<u8> {
        let runs: Vec<&[u8]> = self.runs().map(str::as_bytes).collect();
        runs.join(&NO_NAME_HOLDS_THIS)
    }

    /// The pattern that folded names are compared with.
    pub(super) fn folded(&self) -> Self {
        Self::new(
            fold(&self.prefix),
            self.inner.iter().map(|run| fold(run)),
            fold(&self.suffix),
        )
    }
}

/// Never part of UTF-8.
const NO_NAME_HOLDS_THIS: u8 = 0xff;

/// What follows the first place of `run` in `text`.
fn after<'t>(text: &'t [u8], run: &[u8]) -> Option<&'t [u8]> {
    let start = memchr::memmem::find(text, run)?;
    text.get(start + run.len()..)
}

/// Why a text is neither a name nor a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameError {
    /// There is nothing.
    Empty,
    /// A backslash stands before this, or at the end.
    Escape(Option<char>),
}

impl NameError {
    pub(super) fn help(self) -> &'static str {
        match self {
            Self::Empty => "write a name, or `*` for all of them",
            Self::Escape(_) => {
                r#"a backslash is written `\\` and a star that is part of a name `\*` (in JSON `"\\\\"` and `"\\*"`)"#
            }
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name or pattern cannot be empty"),
            Self::Escape(None) => f.write_str("a backslash at the end escapes nothing"),
            Self::Escape(Some(c)) => write!(
                f,
                "a backslash can only stand before `*` or another backslash, not before `{}`",
                c.escape_debug()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        match Name::parse(text) {
            Ok(Name::Pattern(pattern)) => pattern,
            other => panic!("{text:?} is no pattern: {other:?}"),
        }
    }

    /// The meaning of a pattern, as plainly as it can be said.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|cut| naive(rest, &text[cut..])),
            ['\\', c, rest @ ..] | [c, rest @ ..] => {
                text.first() == Some(c) && naive(rest, &text[1..])
            }
        }
    }

    #[test]
    fn the_help_says_what_can_be_written() {
        assert!(Name::parse("").unwrap_err().help().contains("`*`"));
        for text in [r"a\b", r"a\"] {
            let help = Name::parse(text).unwrap_err().help();
            assert!(help.contains(r"`\\`") && help.contains(r"`\*`"), "{help}");
        }
    }

    #[test]
    fn stars_and_escapes() {
        for (text, matching, other) in [
            ("*", &["", "a", "ab c", "é"][..], &[][..]),
            ("a*", &["a", "ab", "aa"], &["", "ba", "A"]),
            ("*a", &["a", "ba", "aa"], &["", "ab"]),
            ("a*a", &["aa", "aba", "aaa"], &["a", "ab"]),
            (
                "a*b*c",
                &["abc", "a.b.c", "abbc", "abcbc"],
                &["ac", "acb", "ab"],
            ),
            ("a**b", &["ab", "a-b"], &["a"]),
            ("*ab*ab*", &["abab", "xababx"], &["ab", "aab"]),
            (r"a\**", &["a*", "a*b"], &["a", "ab", r"a\*"]),
            (r"\\*", &[r"\", r"\a"], &["a"]),
        ] {
            for name in matching {
                assert!(pattern(text).matches(name.as_bytes()), "{text} {name}");
            }
            for name in other {
                assert!(!pattern(text).matches(name.as_bytes()), "{text} {name}");
            }
        }
    }

    #[test]
    fn without_a_star_it_is_a_name() {
        for (text, name) in [("a", "a"), (r"a\*", "a*"), (r"\\", r"\"), (" ", " ")] {
            assert_eq!(Name::parse(text), Ok(Name::Exact(name.into())));
        }
    }

    #[test]
    fn other_backslashes_are_errors() {
        assert_eq!(Name::parse(""), Err(NameError::Empty));
        assert_eq!(Name::parse(r"a\"), Err(NameError::Escape(None)));
        assert_eq!(Name::parse(r"a\b*"), Err(NameError::Escape(Some('b'))));
        assert_eq!(Name::parse(r"\\\"), Err(NameError::Escape(None)));
    }

    #[test]
    fn counts_characters_that_are_no_star() {
        for (text, literals) in [("*", 0), ("a*", 1), (r"\**\\", 2), ("é*é", 2)] {
            assert_eq!(pattern(text).literals(), literals, "{text}");
        }
    }

    #[test]
    fn folds_run_by_run() {
        assert_eq!(
            pattern("De lete_*\u{200b}*X").folded(),
            pattern("delete_*x")
        );
    }

    #[test]
    fn many_stars_do_not_explode() {
        let text = "*a".repeat(2_000) + "*b";
        assert!(!pattern(&text).matches("a".repeat(8_000).as_bytes()));
    }

    proptest! {
        #[test]
        fn matches_like_the_naive_one(text in r"([ab*]|\\\*|\\\\|é){1,8}", name in r"[ab*\\é]{0,10}") {
            let parsed = Name::parse(&text).unwrap();
            let chars: Vec<char> = text.chars().collect();
            let matched = match &parsed {
                Name::Exact(exact) => *exact == name,
                Name::Pattern(pattern) => pattern.matches(name.as_bytes()),
            };
            let expected = naive(&chars, &name.chars().collect::<Vec<_>>());
            prop_assert_eq!(matched, expected);
        }

        #[test]
        fn a_pattern_that_matches_the_skeleton_covers_it(
            wide in r"[ab]{0,2}\*[ab*]{0,3}",
            narrow in r"[ab]{0,3}\*[ab*]{0,4}",
            names in prop::collection::vec("[ab]{0,8}", 1..20),
        ) {
            let (wide, narrow) = (pattern(&wide), pattern(&narrow));
            if wide.matches(&narrow.skeleton()) {
                for name in names {
                    let name = name.as_bytes();
                    prop_assert!(!narrow.matches(name) || wide.matches(name));
                }
            }
        }
    }
}
