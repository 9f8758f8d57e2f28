use std::collections::{HashMap, HashSet};

use super::definition::{self, ToolDefinition};
use super::lexicon::{self, DEALS, MONEY};
use super::words;

/// How many names begin with the same word before that is what they belong to.
const FAMILY: usize = 3;
/// The most words of such a beginning.
const LONGEST: usize = 3;

/// What the tools of a server have in common, which helps to understand each of
/// them: what their names begin with (`browser_`, `jira_`), whether they are about
/// money, and what they are called.
///
/// ```
/// use mcp_policy::{RiskCategory, Siblings, ToolDefinition, classify};
///
/// let tools = ["post_list", "post_read", "post_wipe"].map(ToolDefinition::named);
/// let alone = classify(&tools[1], &Siblings::default());
/// let among_others = classify(&tools[1], &Siblings::of(&tools));
/// assert_eq!(among_others.category(), RiskCategory::Read);
/// assert!(alone.category() >= among_others.category());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Siblings {
    /// How many names begin with these words.
    beginnings: HashMap<String, usize>,
    about_money: usize,
    /// Those that nobody writes by chance.
    names: HashSet<String>,
}

impl Siblings {
    /// What these tools have in common: all of one server, the one that is asked about
    /// among them.
    pub fn of(tools: &[ToolDefinition]) -> Self {
        const COMPANY: [&str; 6] = ["bank", "crypto", "portfolio", "stock", "trade", "trades"];
        let mut siblings = Self::default();
        for tool in tools {
            let words = words::of_name(definition::beginning(&tool.name));
            for length in 1..=LONGEST {
                if let Some(begin) = words.get(..length).filter(|_| words.len() > length) {
                    *siblings.beginnings.entry(begin.join(" ")).or_default() += 1;
                }
            }
            if words.len() > 1 {
                siblings.names.insert(tool.name.clone());
            }
            let is_money = |word: &&str| MONEY.has(word) || COMPANY.contains(word);
            let has_money = words.iter().any(|word| is_money(&word.as_str()));
            siblings.about_money += usize::from(has_money);
        }
        siblings
    }

    /// How many of these words are what its siblings' names begin with, too.
    pub(super) fn shared(&self, words: &[String]) -> usize {
        // `post_list` beside `post_read` and `post_wipe` is about posts, and posts nothing.
        let is_name = |length: usize| {
            let word = words.get(length.checked_sub(1)?)?;
            if DEALS.has(word.as_str()) {
                return Some(false);
            }
            let verb = lexicon::verb(word);
            let has_other = words.get(length).and_then(|word| lexicon::verb(word));
            Some(verb.is_none_or(|verb| verb.may_be_noun && has_other.is_some()))
        };
        let is_shared = |length: &usize| {
            let begin = words.get(..*length).unwrap_or_default();
            let count = self.beginnings.get(&begin.join(" "));
            let is_common = count.is_some_and(|count| *count >= FAMILY);
            is_common && words.len() > *length && is_name(*length) == Some(true)
        };
        (1..=LONGEST).take_while(is_shared).count()
    }

    /// Whether one of them is called so, by a name of more than one word: `get` is
    /// written by many who mean no tool.
    pub(super) fn are_called(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub(super) fn are_about_money(&self) -> bool {
        self.about_money >= FAMILY
    }
}
