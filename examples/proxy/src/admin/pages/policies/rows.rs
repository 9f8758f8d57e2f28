//! What a policy says of each tool.

use std::collections::{BTreeSet, HashMap};

use mcp_policy::{Assessment, Policy, RiskCategory};

use super::{
    Subject,
    draft::{Draft, button},
    edit::{self, Node},
    key_of,
    rule::State,
};
use crate::{json_text::visible, names::shown, verdicts::Said};

/// Tools in one part of the list.
pub(super) const IN_PART: usize = 100;
/// Words of a definition that are shown for what it is taken for.
const MOST_EVIDENCE: usize = 3;
/// Characters of a description that are shown.
const LONGEST: usize = 240;

/// A tool, or an entry.
pub(super) struct Row {
    pub(super) name: String,
    /// What is special about it.
    pub(super) note: &'static str,
    /// What it is taken for, and how much that weighs.
    pub(super) risk: Option<(&'static str, &'static str)>,
    /// What the policy says of it, and where.
    pub(super) said: Option<(String, String)>,
    pub(super) state: State,
    pub(super) is_open: bool,
    pub(super) description: String,
    pub(super) evidence: String,
    at: String,
    /// Takes it out of `hide`.
    pub(super) unhide: Option<String>,
}

/// A part of the list.
pub(super) struct Rows {
    pub(super) shown: Vec<Row>,
    /// Of how many that have the name that is looked for.
    pub(super) all: usize,
    pub(super) parts: usize,
    pub(super) part: usize,
}

impl Rows {
    /// For the template: the parts that there are, counted from 0.
    pub(super) fn numbers(&self) -> std::ops::Range<usize> {
        0..self.parts
    }
}

impl Row {
    /// The button that has the policy say so.
    pub(super) fn says(&self, verdict: &str) -> String {
        button(&["rule", verdict, &self.at])
    }

    pub(super) fn opens(&self) -> String {
        button(&["open", &self.at])
    }
}

/// What there is to say of a name.
struct Named<'s> {
    name: &'s str,
    key: String,
    offered: Option<(&'s Assessment, &'s serde_json::Value, usize)>,
}

/// The tools of the servers, and then the other entries.
pub(super) fn rows(
    root: Node<'_>,
    policy: Option<&Policy>,
    draft: &Draft,
    subject: &Subject,
) -> Rows {
    let entries = root.member("tools").and_then(Node::members);
    let entries = entries.unwrap_or_default();
    let hidden = root.member("hide").map(Node::elements).unwrap_or_default();
    let hidden: BTreeSet<String> = hidden.iter().filter_map(|one| one.string()).collect();
    let states: HashMap<&str, Node<'_>> = entries
        .iter()
        .map(|(name, rule)| (name.as_str(), *rule))
        .collect();
    let mut seen = BTreeSet::new();
    let mut all: Vec<Named<'_>> = Vec::new();
    for (server, (_, offered)) in subject.offered.iter().enumerate() {
        let tools = offered.tools.definitions.iter().zip(&offered.tools.values);
        for ((tool, value), risk) in tools.zip(&offered.risks) {
            let key = key_of(tool.name());
            if seen.insert(key.clone()) {
                let offered = Some((risk, value, server));
                let name = tool.name();
                all.push(Named { name, key, offered });
            }
        }
    }
    for (name, _) in &entries {
        if seen.insert(name.clone()) {
            let key = name.clone();
            all.push(Named {
                name,
                key,
                offered: None,
            });
        }
    }
    let wanted = draft.filter.trim().to_lowercase();
    all.retain(|one| wanted.is_empty() || one.name.to_lowercase().contains(&wanted));
    let parts = all.len().div_ceil(IN_PART).max(1);
    let part = draft.part.min(parts.saturating_sub(1));
    let shown = all.iter().skip(part.saturating_mul(IN_PART)).take(IN_PART);
    let shown = shown.map(|one| {
        let state = State::of(states.get(one.key.as_str()).copied());
        row(
            one,
            state,
            policy,
            draft,
            subject,
            hidden.contains(&one.key),
        )
    });
    Rows {
        shown: shown.collect(),
        all: all.len(),
        parts,
        part,
    }
}

fn row(
    one: &Named<'_>,
    state: State,
    policy: Option<&Policy>,
    draft: &Draft,
    subject: &Subject,
    is_hidden: bool,
) -> Row {
    let at = format!("/tools/{}", edit::step(&one.key));
    let said = match (one.offered, policy) {
        (Some((_, _, server)), Some(policy)) => subject.offered.get(server).map(|(_, offered)| {
            let said = Said::of(policy, one.name, &offered.listed);
            (said.outcome().to_owned(), shown(said.rule()))
        }),
        _ => None,
    };
    let is_pattern = one.offered.is_none() && one.key.replace("\\*", "").contains('*');
    let description = one
        .offered
        .and_then(|(_, value, _)| value.get("description")?.as_str());
    let description: String = description
        .unwrap_or_default()
        .chars()
        .take(LONGEST)
        .collect();
    let evidence = one.offered.map(|(risk, _, _)| {
        let told = risk.evidence().iter().take(MOST_EVIDENCE);
        let told: Vec<String> = told.map(ToString::to_string).collect();
        told.join(", ")
    });
    Row {
        name: shown(one.name),
        note: match (is_pattern, one.offered, subject.unknown.is_empty()) {
            (true, ..) => "pattern",
            (_, None, true) => "not offered",
            _ => "",
        },
        risk: one.offered.map(|(risk, ..)| {
            let category = risk.category();
            (category.as_str(), category.severity().as_str())
        }),
        said,
        state,
        is_open: draft.at.as_deref() == Some(&at),
        description: visible(&description),
        evidence: evidence.map(|told| visible(&told)).unwrap_or_default(),
        unhide: is_hidden.then(|| button(&["unhide", &one.key])),
        at,
    }
}

/// The rules that are for many tools at once.
pub(super) fn general(root: Node<'_>, draft: &Draft) -> Vec<Row> {
    let one = |name: String, note: &'static str, at: String, risk| {
        let place = edit::steps(&at).unwrap_or_default();
        let place: Vec<&str> = place.iter().map(String::as_str).collect();
        Row {
            name,
            note,
            risk,
            said: None,
            state: State::of(root.at(&place)),
            is_open: draft.at.as_deref() == Some(&at),
            description: String::new(),
            evidence: String::new(),
            unhide: None,
            at,
        }
    };
    let risks = RiskCategory::ALL.into_iter().map(|category| {
        let name = "Others that are".to_owned();
        let risk = Some((category.as_str(), category.severity().as_str()));
        one(name, "", format!("/risk/{category}"), risk)
    });
    let all = one(
        "Every call".to_owned(),
        "besides its own rule",
        "/all_tools".to_owned(),
        None,
    );
    std::iter::once(all).chain(risks).collect()
}
