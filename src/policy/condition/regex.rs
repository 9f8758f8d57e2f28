//! Regular expressions, each compiled once, and all of them bounded.

use std::collections::HashMap;
use std::sync::Arc;

use regex_automata::meta::{BuildError, Config, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_syntax::hir::Look;

/// The most memory that one regular expression may take.
const MAX_SIZE: usize = 1 << 20;

/// The most that all those of one document may take together: memory, and the
/// work of compiling, which is charged as if it were memory. The worst that is
/// known to fit takes a second of one processor.
const MAX_TOTAL: usize = 64 << 20;

/// What reading costs for every byte of the text.
const COST_OF_BYTE: usize = 256;

/// What a set of characters costs that the text writes in brackets.
const COST_OF_BRACKET: usize = 8 << 10;

/// What it costs if every one of its characters is looked up in the other case,
/// and it can be most of Unicode.
const COST_OF_FOLDING: usize = 256 << 10;

/// What a set of characters costs that the text names, such as `\w`: these are
/// hundreds of ranges, and taking them apart costs even if nothing is left.
const COST_OF_NAMED: usize = 16 << 10;

/// The most that one regular expression keeps to be faster, per thread: 256 KiB.
const MAX_CACHE: usize = 262_144;

/// The longest of its own messages that a bad one is refused with.
const LONGEST_MESSAGE: usize = 120;

/// The regular expressions of one document.
#[derive(Debug, Default)]
pub(in crate::policy) struct Regexes {
    compiled: HashMap<Box<str>, Result<Arc<Regex>, RegexError>>,
    spent: usize,
}

/// Why a regular expression is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RegexError {
    /// It is none; with the reason.
    Syntax(String),
    /// It takes more than [`MAX_SIZE`].
    Size,
    /// With it all of them together take more than [`MAX_TOTAL`].
    Total,
    /// They did before.
    BeyondTotal,
}

impl Regexes {
    /// The compiled form of a pattern; equal patterns share one.
    pub(super) fn compile(&mut self, pattern: &str) -> Result<Arc<Regex>, RegexError> {
        if let Some(known) = self.compiled.get(pattern) {
            return known.clone();
        }
        self.spend(cost_of_reading(pattern))?;
        let compiled = build(pattern);
        let size = match &compiled {
            Ok(regex) => regex.memory_usage(),
            // It took as much until it was given up.
            Err(RegexError::Size) => MAX_SIZE,
            Err(_) => 0,
        };
        self.spend(size)?;
        self.compiled.insert(pattern.into(), compiled.clone());
        compiled
    }

    fn spend(&mut self, cost: usize) -> Result<(), RegexError> {
        if self.spent > MAX_TOTAL {
            return Err(RegexError::BeyondTotal);
        }
        self.spent = self.spent.saturating_add(cost);
        if self.spent > MAX_TOTAL {
            return Err(RegexError::Total);
        }
        Ok(())
    }
}

/// Whether the pattern only finds a whole text: every alternative begins at the
/// beginning and ends at the end.
pub(in crate::policy) fn is_anchored(pattern: &str) -> bool {
    let Ok(hir) = regex_syntax::parse(pattern) else {
        return false;
    };
    let properties = hir.properties();
    properties.look_set_prefix().contains(Look::Start)
        && properties.look_set_suffix().contains(Look::End)
}

/// What it costs to find out what a text means, whatever that is.
fn cost_of_reading(pattern: &str) -> usize {
    let bytes = pattern.as_bytes();
    let count = |wanted: fn(&[u8]) -> bool| bytes.windows(2).filter(|pair| wanted(pair)).count();
    let named = count(|pair| {
        matches!(
            pair,
            [b'\\', b'p' | b'P' | b'w' | b'W' | b'd' | b'D' | b's' | b'S']
        )
    });
    let large = count(|pair| match pair {
        [b'\\', next] => next.is_ascii_alphanumeric(),
        [b'[', b'^'] => true,
        _ => false,
    });
    let has_flags = pattern.contains("(?");
    let folds_much = has_flags && (large > 0 || !pattern.is_ascii());
    let bracket = if folds_much {
        COST_OF_FOLDING
    } else {
        COST_OF_BRACKET
    };
    let brackets = bytes.iter().filter(|byte| **byte == b'[').count();
    let cost = |count: usize, cost| count.saturating_mul(cost);
    cost(bytes.len(), COST_OF_BYTE)
        .saturating_add(cost(brackets, bracket))
        .saturating_add(cost(named, COST_OF_NAMED))
}

fn build(pattern: &str) -> Result<Arc<Regex>, RegexError> {
    let config = Config::new()
        .nfa_size_limit(Some(MAX_SIZE))
        .hybrid_cache_capacity(MAX_CACHE)
        // Nobody asks where it matches.
        .which_captures(WhichCaptures::None)
        .onepass(false);
    let regex = Regex::builder()
        .configure(config)
        .build(pattern)
        .map_err(|error| reason(&error))?;
    if regex.memory_usage() > MAX_SIZE {
        return Err(RegexError::Size);
    }
    Ok(Arc::new(regex))
}

fn reason(error: &BuildError) -> RegexError {
    match error.syntax_error() {
        Some(error) => {
            // The text shows the whole pattern first.
            let text = error.to_string();
            let message = text.rsplit("error: ").next().unwrap_or_default();
            RegexError::Syntax(message.trim().chars().take(LONGEST_MESSAGE).collect())
        }
        None => RegexError::Size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_patterns_share_one() {
        let mut regexes = Regexes::default();
        let one = regexes.compile("a+").unwrap();
        let spent = regexes.spent;
        assert!(Arc::ptr_eq(&one, &regexes.compile("a+").unwrap()));
        assert_eq!(regexes.spent, spent);
        assert!(!Arc::ptr_eq(&one, &regexes.compile("a").unwrap()));
    }

    #[test]
    fn a_bad_one_says_why_in_one_line() {
        let mut regexes = Regexes::default();
        let mut reason = |pattern: &str| match regexes.compile(pattern) {
            Err(RegexError::Syntax(reason)) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason("a(b"), "unclosed group");
        assert!(reason("(?<=x)").starts_with("look-around"));
        assert!(
            reason(&format!("({}", "\u{e9}\n".repeat(5000)))
                .chars()
                .count()
                <= LONGEST_MESSAGE
        );
    }

    #[test]
    fn one_is_bounded() {
        let mut regexes = Regexes::default();
        assert!(matches!(
            regexes.compile("\\w{1000}"),
            Err(RegexError::Size)
        ));
        assert!(matches!(
            regexes.compile("((a{100}){100}){100}"),
            Err(RegexError::Size)
        ));
        // It can be built, and is larger then; it takes less where addresses do.
        let count = if cfg!(target_pointer_width = "64") {
            20
        } else {
            30
        };
        let pattern = format!("\\w{{{count}}}");
        assert!(matches!(regexes.compile(&pattern), Err(RegexError::Size)));
        assert!(regexes.compile("\\w{15}").is_ok());
        assert!(regexes.compile("[a-z]{1000}").is_ok());
    }

    #[test]
    fn all_together_are_bounded() {
        // What takes memory, and what only takes work.
        for (pattern, most) in [
            ("a{1000}", 1600),
            ("\\w{1000}", 64),
            ("(?i)[\\pL&&\\PL&&\\pL&&\\w]", 1000),
            ("(?i)[[^a]b]", 256),
            ("(", 70_000),
        ] {
            let mut regexes = Regexes::default();
            let refused = (0..).find(|at| {
                let compiled = regexes.compile(&format!("{pattern}{at}"));
                matches!(compiled, Err(RegexError::Total))
            });
            assert!(
                refused.is_some_and(|at| at <= most),
                "{pattern}: {refused:?}"
            );
            // From then on nothing is compiled any more.
            assert!(matches!(regexes.compile("b"), Err(RegexError::BeyondTotal)));
        }
    }

    #[test]
    fn everything_is_spent_before_more_is_refused() {
        let mut regexes = Regexes::default();
        assert_eq!(regexes.spend(MAX_TOTAL), Ok(()));
        assert_eq!(regexes.spend(1), Err(RegexError::Total));
        assert_eq!(regexes.spend(0), Err(RegexError::BeyondTotal));
    }

    /// What cannot be built in good time is not begun.
    #[test]
    fn what_is_long_is_too_dear_to_be_read() {
        for (pattern, count) in [
            ("a", 1 << 18),
            ("[a]", 8192),
            (r"\w", 4096),
            ("(?i)[^a]", 256),
        ] {
            let cost = cost_of_reading(&pattern.repeat(count));
            assert!(cost >= MAX_TOTAL, "{pattern}: {cost}");
        }
    }

    #[test]
    fn brackets_are_dear_where_most_of_unicode_may_be_folded() {
        for (pattern, folds_much, named) in [
            ("[a]", false, 0),
            ("[^a]", false, 0),
            ("[\u{e9}]", false, 0),
            (r"[\x61]", false, 0),
            (r"[\w]", false, 1),
            ("(?i)[a]", false, 0),
            (r"(?i)[\.]", false, 0),
            ("(?i)[^a]", true, 0),
            ("(?i)[\u{e9}]", true, 0),
            (r"(?i)[\x61]", true, 0),
            (r"(?i)[\pL]", true, 1),
        ] {
            let bracket = if folds_much {
                COST_OF_FOLDING
            } else {
                COST_OF_BRACKET
            };
            let cost = pattern.len() * COST_OF_BYTE + bracket + named * COST_OF_NAMED;
            assert_eq!(cost_of_reading(pattern), cost, "{pattern}");
        }
    }

    #[test]
    fn thousands_of_ordinary_ones_fit() {
        let mut regexes = Regexes::default();
        for at in 0..2000 {
            assert!(
                regexes
                    .compile(&format!("^tenant-{at}-[a-z0-9_-]{{1,40}}$"))
                    .is_ok(),
                "{at}"
            );
        }
    }

    #[test]
    fn a_long_search_is_linear() {
        let regex = Regexes::default().compile("(a+)+$").unwrap();
        assert!(!regex.is_match(&format!("{}b", "a".repeat(50_000))));
    }
}
