//! What the words of a name say.

use super::category::RiskCategory;
use super::lexicon::{
    self, AGENTS, DEALS, HOLDERS, JOINS, MANNERS, MONEY, MONEY_IN_COMPANY, NEWS, OFFERS,
    READING_NOUNS, RUNNING_NOUNS, TIES, Verb,
};

/// What words say, and which of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) category: RiskCategory,
    pub(super) words: Vec<String>,
    /// Whether it is a guess: from a noun, say, or from a word that is glued to another.
    pub(super) is_weak: bool,
}

impl Said {
    fn new(category: RiskCategory, words: &[&str]) -> Self {
        Self {
            category,
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            is_weak: false,
        }
    }

    fn weak(category: RiskCategory, words: &[&str]) -> Self {
        Self {
            is_weak: true,
            ..Self::new(category, words)
        }
    }
}

/// What the words of a name say, after what all its siblings begin with was taken
/// away. `has_money` is whether the names around it are about money.
pub(super) fn judge(words: &[String], has_money: bool) -> Vec<Said> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let begin = words.iter().take_while(|word| MANNERS.has(word)).count();
    let words = words.get(begin..).unwrap_or_default();
    let mut said = Vec::new();
    for at in heads(words) {
        let (Some(verb), Some(word)) = (verb_at(words, at), words.get(at)) else {
            continue;
        };
        said.push(weigh(words, at, word, verb));
    }
    said.extend(glued(words));
    let is_silent = said.is_empty();
    if is_silent {
        said.extend(noun(words));
    }
    said.extend(money(words, &said, has_money));
    said
}

fn verb_at(words: &[&str], at: usize) -> Option<Verb> {
    let word = words.get(at)?;
    if *word == "drop" && !is_deed(words, at) {
        return None;
    }
    let is_last = at + 1 == words.len();
    if is_last && AGENTS.has(word) {
        return lexicon::inflected(word);
    }
    lexicon::verb(word)
}

/// A shadow that drops, a box that does, and what is dragged with a mouse lose
/// nothing.
fn is_deed(words: &[&str], drop: usize) -> bool {
    let next = words.get(drop + 1).copied().unwrap_or_default();
    let is_shape = matches!(next, "box" | "down" | "off" | "shadow" | "zone");
    !is_shape && !words.contains(&"drag")
}

/// Where the verbs stand that say what it does.
fn heads(words: &[&str]) -> Vec<usize> {
    let verbs: Vec<(usize, Verb)> = (0..words.len())
        .filter_map(|at| Some((at, verb_at(words, at)?)))
        .collect();
    let last = words.len().saturating_sub(1);
    let certain = verbs.iter().find(|(_, verb)| !verb.may_be_noun);
    let first = verbs.first();
    let head = match (first, certain) {
        // `monitor_create`: what stands before the verb is what it is about. But
        // `list_create_options` lists.
        (Some((0, _)), Some((at, _))) if *at == last || *at == 1 && words.len() == 2 => Some(*at),
        // `invoice-list`
        (Some((0, verb)), _) if lists_money(words, *verb) => Some(last),
        (Some((0, _)), _) => Some(0),
        (_, Some((at, _))) => Some(*at),
        _ => {
            let at_end = verbs.last().filter(|(at, _)| *at == last);
            at_end.or(first).map(|(at, _)| *at)
        }
    };
    let mut heads: Vec<usize> = head.into_iter().collect();
    for (at, verb) in &verbs {
        let before = at.checked_sub(1).and_then(|before| words.get(before));
        let is_joined = before.is_some_and(|word| JOINS.has(word));
        let follows = at.checked_sub(1).is_some_and(|before| Some(before) == head);
        let is_pair = follows && !verb.may_be_noun && is_no_look(words, head);
        // What cannot be undone is worth a false alarm.
        let is_grave = verb.category >= RiskCategory::Financial && !verb.may_be_noun;
        let at_end = *at == 0 || *at == last;
        let ends_grave = verb.category == RiskCategory::Destructive && at_end;
        // `report_send_all`
        let of_noun = *at == 1 && first.is_some_and(|(at, verb)| *at == 0 && verb.may_be_noun);
        let starts = of_noun && verb.category >= RiskCategory::Execute && !verb.may_be_noun;
        if is_joined || is_pair || is_grave || ends_grave || starts {
            heads.push(*at);
        }
    }
    heads.sort_unstable();
    heads.dedup();
    heads
}

fn lists_money(words: &[&str], first: Verb) -> bool {
    let is_money = first.may_be_noun && first.category == RiskCategory::Financial;
    is_money && words.len() == 2 && words.last() == Some(&"list")
}

fn is_no_look(words: &[&str], head: Option<usize>) -> bool {
    let verb = head.and_then(|at| verb_at(words, at));
    verb.is_some_and(|verb| verb.category != RiskCategory::Read)
}

/// What a verb says beside the other words.
fn weigh(words: &[&str], at: usize, word: &str, verb: Verb) -> Said {
    let after = words.get(at + 1..).unwrap_or_default();
    let next = after.first().copied().unwrap_or_default();
    // `API-post-search`: how it is sent says less than what is asked for.
    if word == "post" && matches!(next, "find" | "lookup" | "query" | "search") {
        return Said::new(RiskCategory::Read, &[word, next]);
    }
    // Whoever starts a search, looks.
    if matches!(word, "run" | "start") && matches!(next, "crawl" | "lookup" | "scan" | "search") {
        return Said::new(RiskCategory::Read, &[word, next]);
    }
    if let Some(said) = taken_away(word, after) {
        return said;
    }
    // A message that is pushed or published is gone.
    let sent = after.iter().find(|word| {
        matches!(
            **word,
            "message" | "messages" | "notification" | "sms" | "email"
        )
    });
    if let (true, Some(sent)) = (matches!(word, "push" | "publish"), sent) {
        return Said::new(RiskCategory::Execute, &[word, sent]);
    }
    Said {
        is_weak: verb.may_be_noun && at > 0,
        ..Said::new(verb.category, &[word])
    }
}

/// What is removed from where it stood and is still there.
fn taken_away(word: &str, after: &[&str]) -> Option<Said> {
    let about = after.last()?;
    if word != "remove" {
        return None;
    }
    if TIES.has(about) {
        return Some(Said::new(RiskCategory::Write, &[word, about]));
    }
    let from = after.iter().position(|word| *word == "from")?;
    let mut rest = after.get(from + 1..)?.iter();
    let holder = rest.find(|word| HOLDERS.has(word))?;
    Some(Said::new(RiskCategory::Write, &[word, "from", holder]))
}

/// A verb at the beginning of a word that nobody parted: `deletefile`.
fn glued(words: &[&str]) -> Option<Said> {
    const VERBS: [&str; 7] = [
        "delete",
        "destroy",
        "execute",
        "purge",
        "remove",
        "terminate",
        "uninstall",
    ];
    let found = words.iter().find_map(|word| {
        let verb = VERBS.into_iter().find(|verb| {
            let rest = word.strip_prefix(verb).unwrap_or_default();
            rest.len() >= 3 && !rest.starts_with("ing")
        })?;
        Some((lexicon::verb(verb)?.category, *word))
    });
    found.map(|(category, word)| Said::weak(category, &[word]))
}

/// What is named after nothing but what it hands out.
fn noun(words: &[&str]) -> Option<Said> {
    let last = words.last()?;
    let runs = words.iter().find(|word| RUNNING_NOUNS.has(word));
    let reads = READING_NOUNS.has(last);
    let read = reads.then(|| Said::weak(RiskCategory::Read, &[last]));
    read.or_else(|| Some(Said::new(RiskCategory::Execute, &[runs?])))
}

/// What is done to money, more than looking, is financial.
fn money(words: &[&str], said: &[Said], has_money: bool) -> Option<Said> {
    let is_money = |(at, word): (usize, &&str)| {
        let before = at.checked_sub(1).and_then(|at| words.get(at)).copied();
        let of_news = before.is_some_and(|before| NEWS.has(before));
        let of_offer = words.get(at + 1).is_some_and(|next| OFFERS.has(next));
        let counts = MONEY.has(word) || has_money && MONEY_IN_COMPANY.has(word);
        counts && !of_news && !of_offer
    };
    let at = words.iter().enumerate().position(is_money)?;
    let noun = words.get(at)?;
    let deal = words.iter().find(|word| DEALS.has(word) && *word != noun);
    let only_looks = said
        .iter()
        .any(|said| said.category == RiskCategory::Read && !said.is_weak);
    let verb = said.iter().find(|said| said.category != RiskCategory::Read);
    match (deal, verb) {
        (Some(deal), _) if !only_looks || matches!(*deal, "capture") => Some(Said {
            is_weak: matches!(*deal, "do" | "handle" | "manage" | "perform"),
            ..Said::new(RiskCategory::Financial, &[deal, noun])
        }),
        (_, Some(verb)) if verb.category != RiskCategory::Financial => {
            let verb = verb.words.first().map(String::as_str).unwrap_or_default();
            (verb != *noun).then(|| Said::new(RiskCategory::Financial, &[verb, noun]))
        }
        _ => None,
    }
}
