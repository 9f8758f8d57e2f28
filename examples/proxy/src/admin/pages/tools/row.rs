//! How the page shows a tool.

use std::collections::{BTreeMap, BTreeSet};

use form_urlencoded::byte_serialize;
use mcp_policy::{
    CollisionKind, DefinitionWarning, Siblings, ToolDefinition, collisions, definition_warnings,
};
use serde_json::Value;

use super::{
    super::super::known::Offered,
    verdict::{self, Front, Verdict},
};
use crate::json_text::{beginning, beginning_in_lines, beginning_of_value};

/// Characters of a name or a title, of what is quoted, of a description and of a schema.
const NAME: usize = 100;
const QUOTE: usize = 300;
const DESCRIPTION: usize = 2_000;
const SCHEMA: usize = 8_000;
/// Evidence, and tools of other servers that are told of.
const MOST_TOLD: usize = 8;
/// Characters of a name up to which a link can have it.
const LINKED: usize = 500;

/// A tool, without anything in it that could fool a reader.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) title: Option<String>,
    pub(super) server: String,
    pub(super) category: &'static str,
    pub(super) severity: &'static str,
    pub(super) confidence: &'static str,
    pub(super) evidence: Vec<String>,
    pub(super) warnings: Vec<String>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) description: Option<String>,
    pub(super) schema: Option<String>,
    /// As it is in a query.
    pub(super) encoded: Option<String>,
}

impl Row {
    /// The tool at this place of what a server offers.
    pub(super) fn of(
        server: &str,
        offered: &Offered,
        place: usize,
        fronts: &[Front<'_>],
        beside: &Beside,
    ) -> Option<Self> {
        let definition = offered.tools.definitions.get(place)?;
        let value = offered.tools.values.get(place)?;
        let risk = offered.risks.get(place)?;
        let name = definition.name();
        let own = |evidence: &&mcp_policy::Evidence| evidence.category() == risk.category();
        let evidence = risk.evidence().iter().filter(own).take(MOST_TOLD);
        let evidence = evidence.map(|evidence| beginning(&evidence.to_string(), QUOTE));
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let title = text("title").or_else(|| value.pointer("/annotations/title")?.as_str());
        let schema = value.get("inputSchema");
        Some(Self {
            name: beginning(name, NAME),
            title: title.map(|title| beginning(title, NAME)),
            server: beginning(server, NAME),
            category: risk.category().as_str(),
            severity: risk.severity().as_str(),
            confidence: risk.confidence().as_str(),
            evidence: evidence.collect(),
            warnings: beside.warnings(server, name, value),
            verdicts: verdict::of(fronts, name, &offered.listed),
            description: text("description").map(|text| beginning_in_lines(text, DESCRIPTION)),
            schema: schema.map(|schema| beginning_of_value(schema, SCHEMA)),
            encoded: (name.len() <= LINKED).then(|| byte_serialize(name.as_bytes()).collect()),
        })
    }
}

/// What is to be known of tools beside those of other servers.
pub(super) struct Beside {
    /// The tools of all servers but this.
    others: BTreeMap<String, Siblings>,
    /// By server and tool.
    collisions: BTreeMap<(String, String), Vec<String>>,
}

impl Beside {
    /// For tools of some of these servers.
    pub(super) fn of(servers: &[(&str, &[ToolDefinition])], shown: &BTreeSet<&str>) -> Self {
        let others = shown.iter().map(|server| {
            let others = servers.iter().filter(|(other, _)| other != server);
            let others = others.flat_map(|(_, tools)| *tools);
            // No more of them is looked at.
            let others: Vec<_> = others
                .map(|tool| ToolDefinition::named(tool.name()))
                .collect();
            ((*server).to_owned(), Siblings::of(&others))
        });
        let mut all: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for collision in collisions(servers) {
            let how = match collision.kind() {
                CollisionKind::SameName => "has the same name",
                _ => "looks the same",
            };
            let tools = collision.tools();
            for one in tools {
                let key = (one.server().to_owned(), one.tool().to_owned());
                let told = all.entry(key).or_default();
                let others = tools.iter().filter(|other| *other != one);
                let more = MOST_TOLD.saturating_sub(told.len());
                told.extend(others.take(more).map(|other| {
                    let tool = beginning(other.tool(), NAME);
                    let server = beginning(other.server(), NAME);
                    format!("`{tool}` of {server} {how}")
                }));
            }
        }
        Self {
            others: others.collect(),
            collisions: all,
        }
    }

    fn warnings(&self, server: &str, name: &str, tool: &Value) -> Vec<String> {
        let found = self.others.get(server);
        let found = found.map(|others| definition_warnings(tool, others));
        let collisions = self.collisions.get(&(server.to_owned(), name.to_owned()));
        let collisions = collisions.into_iter().flatten().cloned();
        collisions
            .chain(by_kind(&found.unwrap_or_default()))
            .collect()
    }
}

/// Each kind once, so that many of one do not keep another out of sight.
fn by_kind(warnings: &[DefinitionWarning]) -> Vec<String> {
    let mut kinds: Vec<(&DefinitionWarning, usize)> = Vec::new();
    for warning in warnings {
        match kinds
            .iter_mut()
            .find(|(first, _)| first.kind() == warning.kind())
        {
            Some((_, more)) => *more = more.saturating_add(1),
            None => kinds.push((warning, 0)),
        }
    }
    let told = kinds.iter().map(|(first, more)| {
        let (quote, pointer) = (first.quote(), beginning(first.pointer(), NAME));
        let text = format!("It {}: `{quote}` at {pointer}", first.kind());
        let text = beginning(&text, QUOTE);
        match more {
            0 => text,
            more => format!("{text}, and {more} more"),
        }
    });
    told.collect()
}
