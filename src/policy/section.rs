//! `tools`, `resources` and `prompts`: what an entry names, and what it does.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::condition::{Regexes, Root};
use super::diagnostic::{Problem, Problems, join, quote};
use super::document::{Mode, PolicyDocument, Rule, RuleAction};
use super::index::NameSet;
use super::pattern::{Name, NameError, Pattern};
use super::rule::CompiledRule;
use super::tie::ties;
use super::uri;
use crate::fold::{Folded, fold_name, is_plainly_folded};

/// How a document with parts in shadow is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// As it is written, as if nothing were in shadow.
    Written,
    /// As it is enforced: a rule in shadow counts as `{}`.
    Enforced,
}

impl View {
    pub(super) fn sees(self, rule: &Rule) -> bool {
        self == Self::Written || rule.mode == Mode::Enforce
    }
}

/// Which section it is; and so, how what it names is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tools,
    Resources,
    Prompts,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Tools, Self::Resources, Self::Prompts];

    /// The place of the section in the document.
    pub(super) fn place(self) -> &'static str {
        match self {
            Self::Tools => "/tools",
            Self::Resources => "/resources",
            Self::Prompts => "/prompts",
        }
    }

    /// What the section names.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Tools => "tool",
            Self::Resources => "resource",
            Self::Prompts => "prompt",
        }
    }

    /// What conditions of its rules may look at.
    pub(super) fn roots(self) -> &'static [Root] {
        match self {
            Self::Tools => &[Root::Args, Root::Caller, Root::Tool, Root::Client],
            Self::Resources => &[Root::Resource, Root::Caller, Root::Client],
            Self::Prompts => &[Root::Args, Root::Caller, Root::Client],
        }
    }

    /// Its part of a document.
    pub(super) fn of(self, document: &PolicyDocument) -> &BTreeMap<String, Rule> {
        match self {
            Self::Tools => &document.tools,
            Self::Resources => &document.resources,
            Self::Prompts => &document.prompts,
        }
    }

    /// The form in which a key of the document is compared, and a second
    /// reading of it if there is one.
    fn spelled_key(self, key: &str) -> (Cow<'_, str>, Option<String>) {
        match self {
            Self::Tools | Self::Prompts => (Cow::Borrowed(key), None),
            Self::Resources => uri::spelled_key(key),
        }
    }

    /// What a key of the document stands for.
    pub(super) fn parse(self, key: &str) -> Result<Name, NameError> {
        Name::parse(&self.spelled_key(key).0)
    }

    /// The form in which what a caller names is compared.
    pub(super) fn spelled(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::Tools | Self::Prompts => Cow::Borrowed(name),
            Self::Resources => uri::spelled(name),
        }
    }

    /// All that what a caller names could be mistaken for.
    pub(super) fn looks(self, name: &str) -> SmallVec<[Look<'_>; 1]> {
        match self {
            // A longer name is refused for its length; what it looks like is
            // not worth the work that somebody may want to cause.
            Self::Tools | Self::Prompts if name.len() > LONGEST_FOLDED => SmallVec::new(),
            Self::Tools | Self::Prompts if is_plainly_folded(name) => smallvec![Look::Itself(name)],
            Self::Tools | Self::Prompts => smallvec![Look::Folded(fold_name(name))],
            Self::Resources => uri::looks(name).into_iter().map(Look::Folded).collect(),
        }
    }

    /// What [`looks`](Self::looks) are compared with.
    fn folded(self, name: &Name) -> Name {
        match self {
            Self::Tools | Self::Prompts => name.folded(),
            Self::Resources => uri::folded(name),
        }
    }

    /// The same of a pattern.
    pub(super) fn folded_pattern(self, pattern: &Pattern) -> Pattern {
        match self {
            Self::Tools | Self::Prompts => pattern.folded(),
            Self::Resources => uri::folded_pattern(pattern),
        }
    }
}

/// What a name could be mistaken for.
// A folded name is on the stack on purpose, and there is rarely more than one.
#[allow(clippy::large_enum_variant)]
pub(super) enum Look<'n> {
    /// For what it says.
    Itself(&'n str),
    Folded(Folded),
}

impl AsRef<[u8]> for Look<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Itself(name) => name.as_bytes(),
            Self::Folded(folded) => folded,
        }
    }
}

/// The most characters that a name has, unless an entry names it exactly.
pub(super) const LONGEST_NAME: usize = 256;

/// In bytes: enough for any name of that many characters.
pub(super) const LONGEST_FOLDED: usize = 4 * LONGEST_NAME;

/// Whether all of the name is what names of tools and prompts are made of.
pub(crate) fn is_ordinary(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_ordinary_byte)
}

/// Whether names of tools and prompts are made of such bytes.
pub(super) fn is_ordinary_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/' | b' ' | b':')
}

/// What one section says; with it, for tools, what `hide` says.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) kind: Kind,
    /// The names in `hide`.
    pub(super) hide: NameSet<()>,
    /// The names in the section.
    pub(super) entries: NameSet<Arc<Entry>>,
    /// Every name that hides, from either place, folded.
    pub(super) like_hidden: NameSet<()>,
    /// The names of entries that restrict without hiding, folded.
    pub(super) like_restricted: NameSet<Arc<Entry>>,
    /// Whether all names in these two are folded as they are written: then a name that is,
    /// too, looks like none of them that is not its own.
    pub(super) is_folded: bool,
    /// The entries for exactly one URI that do not hide it, in the order of
    /// these URIs. Templates are compared with them; elsewhere it is empty.
    pub(super) shown: Vec<Arc<Entry>>,
}

impl Section {
    /// What does not make sense is reported and left out.
    pub(super) fn compile(
        kind: Kind,
        document: &PolicyDocument,
        view: View,
        regexes: &mut Regexes,
        problems: &mut Problems,
    ) -> Self {
        // Only tools can be hidden from outside their section.
        let hide = match kind {
            Kind::Tools => parse_hide(document, problems),
            Kind::Resources | Kind::Prompts => Vec::new(),
        };
        let entries = parse_entries(kind, document, view, regexes, problems);
        report_ties(kind, view, &entries, problems);

        let is_hide = |entry: &Entry| entry.rule.hides();
        let hiding_entries = entries
            .iter()
            .filter(|entry| is_hide(entry))
            .map(|entry| &entry.name);
        let like_hidden = hide.iter().chain(hiding_entries);
        let restricted = entries
            .iter()
            .filter(|entry| entry.rule.restricts() && !is_hide(entry));
        let is_folded = |name: &Name| kind.folded(name) == *name;
        let is_folded = kind != Kind::Resources
            && like_hidden.clone().all(is_folded)
            && restricted.clone().all(|entry| is_folded(&entry.name));
        let mut shown: Vec<_> = entries
            .iter()
            .filter(|entry| matches!(entry.name, Name::Exact(_)) && !is_hide(entry))
            .filter(|_| kind == Kind::Resources)
            .cloned()
            .collect();
        shown.sort_unstable_by(|a, b| a.exact().cmp(b.exact()));
        Self {
            kind,
            like_hidden: like_hidden.map(|name| (kind.folded(name), ())).collect(),
            like_restricted: restricted
                .map(|entry| (kind.folded(&entry.name), Arc::clone(entry)))
                .collect(),
            is_folded,
            shown,
            hide: hide.into_iter().map(|name| (name, ())).collect(),
            entries: entries
                .into_iter()
                .flat_map(|entry| {
                    let names = [Some(entry.name.clone()), entry.also.clone()];
                    names
                        .into_iter()
                        .flatten()
                        .map(move |name| (name, Arc::clone(&entry)))
                })
                .collect(),
        }
    }

    /// Whether anything in it is hidden by name.
    pub(super) fn hides_any(&self) -> bool {
        !self.like_hidden.is_empty()
    }

    /// All that the name could be mistaken for, if it matters.
    pub(super) fn looks<'n>(&self, name: &'n str) -> SmallVec<[Look<'n>; 1]> {
        if !self.restricts_any() || self.is_folded && is_plainly_folded(name) {
            return SmallVec::new();
        }
        self.kind.looks(name)
    }

    /// Whether anything in it is denied or hidden by name.
    pub(super) fn restricts_any(&self) -> bool {
        self.hides_any() || !self.like_restricted.is_empty()
    }
}

/// One member of a section.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Name,
    /// The second reading of a pattern for URIs.
    also: Option<Name>,
    pub(super) rule: CompiledRule,
    literals: usize,
    /// The place among all entries, in the order of their keys.
    order: usize,
}

impl Entry {
    /// The one name that the entry is for; empty if that is a pattern.
    pub(super) fn exact(&self) -> &str {
        match &self.name {
            Name::Exact(name) => name,
            Name::Pattern(_) => "",
        }
    }

    /// Whether the entry names or matches exactly this.
    pub(super) fn is_for(&self, name: &str) -> bool {
        let is = |own: &Name| match own {
            Name::Exact(own) => own == name,
            Name::Pattern(pattern) => pattern.matches(name.as_bytes()),
        };
        is(&self.name) || self.also.as_ref().is_some_and(is)
    }

    /// The greatest of all patterns that match a name has the say: the
    /// strictest, then the one with the most literal characters. What is left
    /// are two that refuse alike; of these the one whose key sorts first.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        let strictness = match self.rule.action {
            RuleAction::Allow | RuleAction::RequireApproval => 0,
            RuleAction::Deny => 1,
            RuleAction::Hide => 2,
        };
        (strictness, self.literals, std::cmp::Reverse(self.order))
    }
}

fn parse_hide(document: &PolicyDocument, problems: &mut Problems) -> Vec<Name> {
    let mut names = Vec::new();
    for (index, text) in document.hide.iter().enumerate() {
        match Name::parse(text) {
            Ok(name) => names.push(name),
            Err(error) => problems.report(|| {
                let pointer = join("/hide", &index.to_string());
                Problem::at_value(pointer, error.to_string()).with_help(error.help())
            }),
        }
    }
    names
}

fn parse_entries(
    kind: Kind,
    document: &PolicyDocument,
    view: View,
    regexes: &mut Regexes,
    problems: &mut Problems,
) -> Vec<Arc<Entry>> {
    let mut entries = Vec::new();
    let mut changed = HashMap::new();
    let rules = kind.of(document);
    for (order, (key, rule)) in rules.iter().enumerate() {
        let place = join(kind.place(), key);
        let (spelled, also) = kind.spelled_key(key);
        // Equal keys are found before they get here; what is left are those
        // that are equal once they are spelled alike.
        if spelled != key.as_str() {
            let same = match rules.get_key_value(&*spelled) {
                Some((other, _)) => Some(other),
                None => changed.insert(spelled.clone().into_owned(), key),
            };
            if let Some(other) = same {
                problems.report(|| same_uri(place, &join(kind.place(), other)));
                continue;
            }
        }
        let name = match Name::parse(&spelled) {
            Ok(name) => name,
            Err(error) => {
                problems
                    .report(|| Problem::at_key(place, error.to_string()).with_help(error.help()));
                continue;
            }
        };
        entries.push(Arc::new(Entry {
            literals: match &name {
                Name::Exact(_) => 0,
                Name::Pattern(pattern) => pattern.literals(),
            },
            name,
            also: also.and_then(|also| Name::parse(&also).ok()),
            rule: CompiledRule::compile(
                rule,
                place,
                (document, view),
                kind.roots(),
                regexes,
                problems,
            ),
            order,
        }));
    }
    entries
}

fn same_uri(place: String, other: &str) -> Problem {
    let message = format!("this is the same as {}", quote(other));
    Problem::at_key(place, message)
        .with_help("scheme and host of a URI compare in lower case: keep one")
}

fn report_ties(kind: Kind, view: View, entries: &[Arc<Entry>], problems: &mut Problems) {
    let patterns: Vec<(&str, &Pattern)> = entries
        .iter()
        .filter_map(|entry| match &entry.name {
            Name::Pattern(pattern) if entry.rule.action == RuleAction::Allow => {
                Some((entry.rule.place(), pattern))
            }
            _ => None,
        })
        .filter(|(_, pattern)| kind != Kind::Resources || !uri::is_hopeless(pattern))
        .collect();
    for (place, other) in ties(&patterns) {
        problems.report(|| {
            let message = format!(
                "this pattern and the one at {} can match the same name, and neither has more \
                 literal characters",
                quote(other)
            );
            let shadow = match view {
                View::Written => "",
                View::Enforced => ", or do not put a rule in shadow that denies: there it allows",
            };
            let help = format!(
                "make one of them longer, or name the {}s that both match{shadow}",
                kind.noun()
            );
            Problem::at_key(place.to_owned(), message).with_help(help)
        });
    }
}
