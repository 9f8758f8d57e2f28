//! From document to what decides: names parsed, look-alikes folded, everything
//! in the order in which it is asked. Nothing is compiled per call.

use std::collections::HashMap;
use std::sync::Arc;

use super::diagnostic::{Problem, Problems, join, quote};
use super::document::{DefaultAction, MethodRule, PolicyDocument, RuleAction};
use super::fold::fold;
use super::index::NameSet;
use super::pattern::{Name, Pattern};
use super::tie::ties;
use crate::mcp::method::{self, Subject};

/// A document, ready to decide.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) default: DefaultAction,
    pub(super) tools: Tools,
    pub(super) methods: Methods,
}

impl Rules {
    /// What does not make sense is reported and left out; the result is only
    /// good if nothing was.
    pub(super) fn compile(document: &PolicyDocument, problems: &mut Problems) -> Self {
        Self {
            default: document.default,
            tools: Tools::compile(document, problems),
            methods: Methods::compile(document, problems),
        }
    }
}

/// What `hide` and `tools` say.
#[derive(Debug)]
pub(super) struct Tools {
    /// The names in `hide`.
    pub(super) hide: NameSet<()>,
    /// The names in `tools`.
    pub(super) entries: NameSet<Arc<Entry>>,
    /// Every name that hides, from either place, folded.
    pub(super) like_hidden: NameSet<()>,
    /// The names of entries that restrict without hiding, folded.
    pub(super) like_restricted: NameSet<Arc<Entry>>,
}

impl Tools {
    fn compile(document: &PolicyDocument, problems: &mut Problems) -> Self {
        let hide = parse_hide(document, problems);
        let entries = parse_tools(document, problems);
        report_ties(&entries, problems);

        let is_hide = |entry: &Entry| entry.action == RuleAction::Hide;
        let hiding_entries = entries
            .iter()
            .filter(|entry| is_hide(entry))
            .map(|entry| &entry.name);
        let like_hidden = hide.iter().chain(hiding_entries);
        let restricted = entries
            .iter()
            .filter(|entry| entry.restricts() && !is_hide(entry));
        Self {
            like_hidden: like_hidden.map(|name| (name.folded(), ())).collect(),
            like_restricted: restricted
                .map(|entry| (entry.name.folded(), Arc::clone(entry)))
                .collect(),
            hide: hide.into_iter().map(|name| (name, ())).collect(),
            entries: entries
                .into_iter()
                .map(|entry| (entry.name.clone(), entry))
                .collect(),
        }
    }

    /// Whether there is any tool that is denied or hidden by name.
    pub(super) fn restrict_any(&self) -> bool {
        !self.like_hidden.is_empty() || !self.like_restricted.is_empty()
    }
}

/// One member of `tools`.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) action: RuleAction,
    pub(super) reason: Option<String>,
    /// `/tools/NAME/action`.
    pointer: String,
    literals: usize,
    /// The place among all entries, in the order of their keys.
    order: usize,
}

const ACTION: &str = "/action";

impl Entry {
    /// The place of the entry: `/tools/NAME`.
    pub(super) fn place(&self) -> &str {
        self.pointer.strip_suffix(ACTION).unwrap_or(&self.pointer)
    }

    /// The place of what the entry does: `/tools/NAME/action`.
    pub(super) fn action_place(&self) -> &str {
        &self.pointer
    }

    /// Whether the rule can refuse anything. One that spells out the default
    /// action, or has a description, is as empty as `{}`.
    pub(super) fn restricts(&self) -> bool {
        match self.action {
            RuleAction::Allow => false,
            RuleAction::Deny | RuleAction::Hide => true,
        }
    }

    /// The greatest of all patterns that match a name has the say: the
    /// strictest, then the one with the most literal characters. What is left
    /// are two that refuse alike; of these the one whose key sorts first.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        let strictness = match self.action {
            RuleAction::Allow => 0,
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

fn parse_tools(document: &PolicyDocument, problems: &mut Problems) -> Vec<Arc<Entry>> {
    let mut entries = Vec::new();
    for (order, (key, rule)) in document.tools.iter().enumerate() {
        let place = join("/tools", key);
        match Name::parse(key) {
            Ok(name) => entries.push(Arc::new(Entry {
                literals: match &name {
                    Name::Exact(_) => 0,
                    Name::Pattern(pattern) => pattern.literals(),
                },
                name,
                action: rule.action,
                reason: rule.reason.clone(),
                pointer: place + ACTION,
                order,
            })),
            Err(error) => problems
                .report(|| Problem::at_key(place, error.to_string()).with_help(error.help())),
        }
    }
    entries
}

fn report_ties(entries: &[Arc<Entry>], problems: &mut Problems) {
    let patterns: Vec<(&str, &Pattern)> = entries
        .iter()
        .filter_map(|entry| match &entry.name {
            Name::Pattern(pattern) if !entry.restricts() => Some((entry.place(), pattern)),
            _ => None,
        })
        .collect();
    for (place, other) in ties(&patterns) {
        problems.report(|| {
            let message = format!(
                "this pattern and the one at {} can match the same name, and neither has more \
                 literal characters",
                quote(other)
            );
            Problem::at_key(place.to_owned(), message)
                .with_help("make one of them longer, or name the tools that both match")
        });
    }
}

/// What `methods` says.
#[derive(Debug, Default)]
pub(super) struct Methods {
    pub(super) named: HashMap<String, MethodEntry>,
    /// The entry `"*"`.
    pub(super) others: Option<MethodEntry>,
    /// Names that are denied, folded as [`fold_method`] does.
    pub(super) like_denied: HashMap<String, MethodEntry>,
}

/// One member of `methods`.
#[derive(Clone, Debug)]
pub(super) struct MethodEntry {
    pub(super) rule: MethodRule,
    /// `/methods/NAME`.
    pub(super) place: String,
}

impl Methods {
    fn compile(document: &PolicyDocument, problems: &mut Problems) -> Self {
        let mut methods = Self::default();
        for (name, rule) in &document.methods {
            let place = join("/methods", name);
            if let Some((message, help)) = refuse_method(name) {
                problems.report(|| Problem::at_key(place, message).with_help(help));
                continue;
            }
            let entry = MethodEntry { rule: *rule, place };
            if name == "*" {
                methods.others = Some(entry);
                continue;
            }
            if entry.rule == MethodRule::Deny {
                let folded = fold_method(name);
                methods
                    .like_denied
                    .entry(folded)
                    .or_insert_with(|| entry.clone());
            }
            methods.named.insert(name.clone(), entry);
        }
        methods
    }
}

/// The form in which methods are told apart by `"*"`, so that a server which
/// is careless about case, invisible characters or trailing slashes is not
/// reached through it.
pub(super) fn fold_method(name: &str) -> String {
    let mut folded = fold(name);
    folded.retain(|c| !c.is_control());
    folded.truncate(folded.trim_end_matches('/').len());
    folded
}

/// The method of the protocol that `name` is, or could be taken for.
pub(super) fn known_method(name: &str) -> Option<&'static method::Method> {
    method::lookup(name)
        .or_else(|| method::resembles(name))
        .or_else(|| method::resembles(&fold_method(name)))
}

/// Why `methods` cannot have this member, and what helps.
fn refuse_method(name: &str) -> Option<(String, &'static str)> {
    if name.is_empty() {
        return Some((
            "the name of a method cannot be empty".to_owned(),
            "write the name of a method, or `*` for all that are not judged otherwise",
        ));
    }
    if name.contains('*') && name != "*" {
        return Some((
            format!("methods have no patterns, found {}", quote(name)),
            "write each method by its name, or `*` alone for all others",
        ));
    }
    let known = known_method(name)?;
    let what = if known.name == name {
        quote(name)
    } else {
        format!("{} can be taken for `{}`, which", quote(name), known.name)
    };
    let (why, help) = match known.subject {
        Subject::Nothing => ("always passes", "leave it out: nothing runs by it"),
        Subject::Tool => (
            "is judged by `tools`",
            "say in `tools` which tools may be called",
        ),
        Subject::Prompt
        | Subject::Resource
        | Subject::Reference
        | Subject::Subscriptions
        | Subject::Task
        | Subject::AllTasks => ("is judged by what it names", "leave it out"),
    };
    Some((format!("{what} {why}"), help))
}
