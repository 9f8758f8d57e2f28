//! What a description says that its tool does: the verb with which it begins.

use super::category::RiskCategory;
use super::lexicon::{self, DEALS, JOINS, MONEY, TIES, Verb};
use super::name::Said;
use super::words::{self, Word};

/// Behind these stands a noun.
const BEFORE_NOUNS: &[&str] = &[
    "a", "all", "an", "any", "by", "current", "each", "every", "existing", "for", "from", "in",
    "into", "its", "new", "of", "on", "single", "specific", "that", "the", "their", "this", "via",
    "with", "your",
];

/// With these a description begins before it comes to the verb.
const FILLERS: &[&str] = &[
    "a",
    "allows",
    "always",
    "an",
    "call",
    "can",
    "deprecated",
    "function",
    "helper",
    "helps",
    "it",
    "lets",
    "method",
    "only",
    "permanently",
    "purpose",
    "safely",
    "the",
    "this",
    "to",
    "tool",
    "use",
    "used",
    "user",
    "users",
    "will",
    "you",
];

/// So many words after the fillers a verb is still what the sentence begins with.
const NEAR: usize = 2;

/// How it is said that there is no way back.
const FOR_GOOD: &[&str] = &[
    "can not be undone",
    "can't be undone",
    "cannot be reversed",
    "cannot be undone",
    "irreversible",
    "irreversibly",
    "not reversible",
    "permanently delete",
    "permanently erase",
    "permanently remove",
];

/// What the first sentence says.
pub(super) fn judge(description: &str) -> Vec<Said> {
    let words = words::of_sentence(description);
    let begin = words
        .iter()
        .take_while(|word| is_filler(&word.lower))
        .count();
    let words = words.get(begin..).unwrap_or_default();
    let Some((at, verb)) = (0..words.len()).find_map(|at| Some((at, verb_at(words, at)?))) else {
        return deal(words).into_iter().collect();
    };
    let mut said = vec![weigh(words, at, verb, at > NEAR)];
    let mut in_chain = at;
    for next in at + 1..words.len() {
        let Some(verb) = words
            .get(next)
            .and_then(|word| lexicon::inflected(&word.lower))
        else {
            continue;
        };
        // With a mouse nothing is lost.
        let is_drop = words.get(next).is_some_and(|word| word.lower == "drop");
        if is_drop && words.iter().any(|word| word.lower.starts_with("drag")) {
            continue;
        }
        let before = words
            .get(next - 1)
            .map(|word| word.lower.as_str())
            .unwrap_or_default();
        let is_listed = words.get(next).is_some_and(|word| word.is_listed);
        let is_joined = JOINS.has(before) || is_listed;
        let gap = next - in_chain - usize::from(JOINS.has(before));
        if is_joined && (gap <= 1 || !verb.may_be_noun) {
            in_chain = next;
            said.push(weigh(words, next, verb, at > NEAR));
        }
    }
    said
}

/// What is done with money in words that say nothing by themselves: `Process a refund`.
fn deal(words: &[Word<'_>]) -> Option<Said> {
    let is_deal = |word: &Word<'_>| {
        let plain = word.lower.strip_suffix('s').unwrap_or(&word.lower);
        let shorter = plain.strip_suffix('e').unwrap_or(plain);
        [word.lower.as_str(), plain, shorter]
            .iter()
            .any(|word| DEALS.has(word))
    };
    let at = words.iter().take(NEAR + 1).position(is_deal)?;
    let mut after = words.iter().skip(at + 1).take(6);
    let noun = after.find(|word| MONEY.has(word.lower.as_str()))?;
    let verb = words.get(at)?;
    Some(Said {
        category: RiskCategory::Financial,
        words: vec![verb.written.to_owned(), noun.written.to_owned()],
        is_weak: false,
    })
}

/// The words with which a description says that there is no way back.
pub(super) fn for_good(description: &str) -> Option<&'static str> {
    let lower = description.to_lowercase();
    FOR_GOOD
        .iter()
        .find(|words| lower.contains(**words))
        .copied()
}

fn is_filler(word: &str) -> bool {
    FILLERS.contains(&word) || !word.chars().any(char::is_alphabetic)
}

fn verb_at(words: &[Word<'_>], at: usize) -> Option<Verb> {
    let word = words.get(at)?;
    let before = at.checked_sub(1).and_then(|at| words.get(at));
    let is_noun = before.is_some_and(|before| BEFORE_NOUNS.contains(&before.lower.as_str()));
    if is_noun {
        return None;
    }
    lexicon::inflected(&word.lower)
}

fn weigh(words: &[Word<'_>], at: usize, verb: Verb, is_weak: bool) -> Said {
    let written = |at: usize| words.get(at).map(|word| word.written).unwrap_or_default();
    let said = |category, quoted: &[usize]| Said {
        category,
        words: quoted.iter().map(|at| written(*at).to_owned()).collect(),
        is_weak,
    };
    let after = at + 1..words.len().min(at + 7);
    // Whoever runs a search, looks.
    let word = words
        .get(at)
        .map(|word| word.lower.as_str())
        .unwrap_or_default();
    if matches!(
        word,
        "run" | "runs" | "execute" | "executes" | "start" | "starts"
    ) {
        let is_run = |at: &usize| words.get(*at).and_then(|word| run(&word.lower)).is_some();
        if let Some(what) = after.clone().find(is_run) {
            let category = words.get(what).and_then(|word| run(&word.lower));
            return said(category.unwrap_or(verb.category), &[at, what]);
        }
    }
    let is_money = |at: &usize| {
        words
            .get(*at)
            .is_some_and(|word| MONEY.has(word.lower.as_str()))
    };
    if verb.category > RiskCategory::Read && verb.category < RiskCategory::Financial {
        if let Some(noun) = after.clone().find(is_money) {
            return said(RiskCategory::Financial, &[at, noun]);
        }
    }
    let is_tie = |at: &usize| {
        let tie = words
            .get(*at)
            .map(|word| word.lower.as_str())
            .unwrap_or_default();
        TIES.has(tie)
    };
    if word.starts_with("remove") {
        if let Some(tie) = (at + 1..words.len().min(at + 4)).find(is_tie) {
            return said(RiskCategory::Write, &[at, tie]);
        }
    }
    said(verb.category, &[at])
}

/// What is done by running this.
fn run(word: &str) -> Option<RiskCategory> {
    Some(match word {
        "aggregation" | "analysis" | "count" | "crawl" | "find" | "lookup" | "query" | "read"
        | "search" | "select" => RiskCategory::Read,
        "insert" | "update" | "write" => RiskCategory::Write,
        "delete" => RiskCategory::Destructive,
        _ => return None,
    })
}
