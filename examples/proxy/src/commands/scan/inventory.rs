//! What servers offer, judged.

use std::collections::BTreeMap;

use mcp_policy::{
    Assessment, Collision, DefinitionWarning, ListedTools, PolicyDocument, RiskSeverity, Rule,
    Siblings, ToolDefinition, classify, collisions, definition_warnings, recommend,
};
use serde_json::{Value, json, value::RawValue};

use super::{Approved, approved::State, ask::Answered, changes::Change, seen::Seen};
use crate::client::{Definitions, Offer};

/// All servers that were asked.
pub(super) struct All {
    pub(super) servers: Vec<Judged>,
    pub(super) collisions: Vec<Collision>,
}

impl All {
    /// What those offer that could be asked.
    pub(super) fn offered(&self) -> impl Iterator<Item = &Inventory> {
        let servers = self.servers.iter();
        servers.filter_map(|server| server.offered().ok())
    }

    /// How many tools there are.
    pub(super) fn tools(&self) -> usize {
        self.offered().map(|own| own.tools.len()).sum()
    }

    /// How many tools there are of each severity, from little to much.
    pub(super) fn severities(&self) -> [(RiskSeverity, usize); 4] {
        SEVERITIES.map(|severity| {
            let tools = self.offered().flat_map(|own| &own.tools);
            let those = tools.filter(|tool| tool.found.severity() == severity);
            (severity, those.count())
        })
    }

    /// How many warnings there are.
    pub(super) fn warnings(&self) -> usize {
        self.offered().map(Inventory::warnings).sum()
    }
}

/// From little to much.
const SEVERITIES: [RiskSeverity; 4] = [
    RiskSeverity::Low,
    RiskSeverity::Medium,
    RiskSeverity::High,
    RiskSeverity::Critical,
];

/// A server and what came of it.
pub(super) struct Judged {
    pub(super) name: String,
    pub(super) approved: Option<Approved>,
    offered: Result<Inventory, String>,
}

impl Judged {
    /// What it offers, or why that is not known.
    pub(super) fn offered(&self) -> Result<&Inventory, &str> {
        self.offered.as_ref().map_err(String::as_str)
    }
}

/// What a server offers.
pub(super) struct Inventory {
    pub(super) tools: Vec<Tool>,
    /// Entries of the list that have no name.
    pub(super) nameless: usize,
    /// Names of tools that were approved and are not there any more.
    pub(super) removed: Vec<String>,
    pub(super) instructions: Option<Instructions>,
    pub(super) prompts: Option<usize>,
    pub(super) resources: Option<usize>,
    pub(super) resource_templates: Option<usize>,
    /// The policy to begin with.
    pub(super) recommended: PolicyDocument,
    pub(super) seen: Seen,
}

/// A tool, and all that is to be known of it.
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) found: Assessment,
    pub(super) warnings: Vec<DefinitionWarning>,
    /// What is recommended for it.
    pub(super) rule: Rule,
    pub(super) digest: Option<String>,
    pub(super) state: Option<State>,
    /// What has changed, if that is known.
    pub(super) changes: Option<Vec<Change>>,
    /// What the policy says that there is: outcome and rule.
    pub(super) verdict: Option<(&'static str, String)>,
}

/// What a server tells models.
pub(super) struct Instructions {
    pub(super) warnings: Vec<DefinitionWarning>,
    pub(super) digest: Option<String>,
    pub(super) state: Option<State>,
    pub(super) changes: Option<Vec<Change>>,
}

impl Inventory {
    fn warnings(&self) -> usize {
        let of_tools = self.tools.iter().map(|tool| tool.warnings.len());
        let instructions = self.instructions.as_ref();
        of_tools.sum::<usize>() + instructions.map_or(0, |text| text.warnings.len())
    }
}

/// An answer, with its tools read.
struct Read {
    offer: Offer,
    tools: Definitions,
}

/// Judges all answers, each beside those of the other servers.
pub(super) fn judge(answers: Vec<Answered>, approved: Vec<Option<Approved>>) -> All {
    let read: Vec<(String, Result<Read, String>)> = answers
        .into_iter()
        .map(|answer| (answer.name, answer.offer.and_then(read)))
        .collect();
    let by_server: Vec<(&str, &[ToolDefinition])> = read
        .iter()
        .filter_map(|(name, read)| Some((&**name, &*read.as_ref().ok()?.tools.definitions)))
        .collect();
    let collisions = collisions(&by_server);
    let servers = read.iter().zip(approved);
    let servers = servers.map(|((name, read), approved)| {
        let others = by_server.iter().filter(|(other, _)| other != name);
        let others: Vec<ToolDefinition> = others.flat_map(|(_, tools)| tools.to_vec()).collect();
        let others = Siblings::of(&others);
        let offered = read.as_ref().map_err(String::clone);
        let offered = offered.map(|read| inventory(read, &others, approved.as_ref()));
        Judged {
            name: name.clone(),
            approved,
            offered,
        }
    });
    All {
        servers: servers.collect(),
        collisions,
    }
}

fn read(mut offer: Offer) -> Result<Read, String> {
    let tools = Definitions::read(std::mem::take(&mut offer.tools))?;
    Ok(Read { offer, tools })
}

fn inventory(read: &Read, others: &Siblings, approved: Option<&Approved>) -> Inventory {
    let mut seen = Seen::default();
    for (definition, text) in read.tools.definitions.iter().zip(&read.tools.texts) {
        seen.add_tool(definition.name(), text);
    }
    let instructions = read.offer.instructions.as_deref().map(|text| {
        seen.set_instructions(text);
        instructions(text, &seen, others, approved)
    });
    let siblings = Siblings::of(&read.tools.definitions);
    let recommended = recommend(&read.tools.definitions);
    let listed = approved.map(|approved| (approved, ListedTools::of(&read.tools.values)));
    let tools = read
        .tools
        .definitions
        .iter()
        .zip(&read.tools.values)
        .zip(&read.tools.texts);
    let tools = tools.map(|((definition, value), text)| {
        let name = definition.name();
        let state = approved.and_then(|approved| approved.of_tool(name, &seen));
        let has_changed = state == Some(State::Changed);
        let changes = approved.filter(|_| has_changed);
        Tool {
            name: name.to_owned(),
            found: classify(definition, &siblings),
            warnings: definition_warnings(value, others),
            rule: rule(&recommended.tools, name),
            digest: seen.tool(name).map(|definition| definition.digest.clone()),
            state,
            changes: changes.and_then(|approved| approved.changes_of_tool(name, text)),
            verdict: listed
                .as_ref()
                .map(|(approved, listed)| approved.verdict(name, state, listed)),
        }
    });
    Inventory {
        tools: tools.collect(),
        nameless: read.tools.nameless,
        removed: approved.map_or_else(Vec::new, |approved| approved.removed(&seen)),
        instructions,
        prompts: read.offer.prompts,
        resources: read.offer.resources,
        resource_templates: read.offer.resource_templates,
        recommended,
        seen,
    }
}

fn instructions(
    text: &RawValue,
    seen: &Seen,
    others: &Siblings,
    approved: Option<&Approved>,
) -> Instructions {
    let value: Value = serde_json::from_str(text.get()).unwrap_or_default();
    let state = approved.and_then(|approved| approved.of_instructions(seen));
    let has_changed = state == Some(State::Changed);
    let changes = approved.filter(|_| has_changed);
    Instructions {
        // So that the place in a warning says what it is.
        warnings: definition_warnings(&json!({ "instructions": value }), others),
        digest: seen.instructions().map(|text| text.digest.clone()),
        state,
        changes: changes.and_then(|approved| approved.changes_of_instructions(text)),
    }
}

/// A tool without an entry is refused by the default.
fn rule(recommended: &BTreeMap<String, Rule>, name: &str) -> Rule {
    let refused = || Rule::deny("Its name has characters that names of tools do not have.");
    recommended.get(name).cloned().unwrap_or_else(refused)
}
