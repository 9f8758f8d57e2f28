//! What a scan found, for people.

use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use mcp_policy::{Collision, CollisionKind, DefinitionWarning, RiskSeverity};

use super::{
    approved::State,
    changes::{Change, Kind},
    inventory::{All, Inventory, Judged, Tool},
    table::{Cell, Table, wrapped},
    words,
};
use crate::{
    json_text::{indented, visible},
    names::{count, shown},
};

/// Collisions, and tools in one, that are told; all of them are in the JSON.
const COLLISIONS: usize = 50;

/// All that a scan has to say.
pub(super) struct Report<'r> {
    pub(super) judged: &'r All,
    /// The policy of each server that was written.
    pub(super) written: &'r [Option<PathBuf>],
    /// Whether one server was asked that is not of a configuration.
    pub(super) is_alone: bool,
    /// Whether pins are wanted.
    pub(super) pins: bool,
}

/// How it is to look.
#[derive(Clone, Copy)]
struct Look {
    width: Option<usize>,
    colour: bool,
}

impl Report<'_> {
    pub(super) fn text(&self, width: Option<usize>, colour: bool) -> String {
        let look = Look { width, colour };
        let mut text = String::new();
        for (server, written) in self.judged.servers.iter().zip(self.written) {
            text += &self.server(server, look);
            if let Some(path) = written {
                text += &look.line("", &format!("written to {}", path.display()));
            }
            text.push('\n');
        }
        text += &collisions(&self.judged.collisions, look);
        text + &look.heading(&self.totals())
    }

    fn server(&self, server: &Judged, look: Look) -> String {
        let name = shown(&server.name);
        let inventory = match server.offered() {
            Ok(inventory) => inventory,
            Err(reason) => {
                let told = format!("{name}: could not be asked: {}", visible(reason));
                return look.styled("", &told, colour_of(RiskSeverity::Critical));
            }
        };
        let mut text = look.heading(&format!("{name}: {}", offered(inventory)));
        if !inventory.tools.is_empty() {
            text += &table(inventory, server.approved.is_some()).text(look.width, look.colour);
        }
        if inventory.nameless > 0 {
            let entries = inventory.nameless;
            text += &look.line(
                "",
                &format!("entries without a name, which no client gets to see: {entries}"),
            );
        }
        text += &drift(inventory, look);
        text += &warnings(inventory, look);
        let is_written = self.written.iter().any(Option::is_some);
        if self.pins && !is_written {
            let pins = serde_json::to_string_pretty(&inventory.seen.pins()).unwrap_or_default();
            let pins = indented(&pins);
            text += &format!("\"pins\": {pins}\n");
        }
        text
    }

    fn totals(&self) -> String {
        let severities = self.judged.severities().into_iter().rev();
        let severities: Vec<String> = severities
            .map(|(severity, number)| format!("{number} {severity}"))
            .collect();
        let mut told = format!(
            "{}: {}; {}",
            count(self.judged.tools(), "tool"),
            severities.join(", "),
            count(self.judged.warnings(), "warning")
        );
        if !self.is_alone {
            let servers = count(self.judged.servers.len(), "server");
            let collisions = count(self.judged.collisions.len(), "collision");
            told = format!("{servers}, {told}, {collisions}");
        }
        told
    }
}

impl Look {
    fn heading(self, text: &str) -> String {
        self.styled("", text, Style::new().bold())
    }

    fn line(self, before: &str, text: &str) -> String {
        self.styled(before, text, Style::new())
    }

    fn styled(self, before: &str, text: &str, style: Style) -> String {
        wrapped(before, text, style, self.width, self.colour)
    }
}

fn offered(inventory: &Inventory) -> String {
    [
        count(inventory.tools.len(), "tool"),
        words::counted(inventory.prompts, "prompt"),
        words::counted(inventory.resources, "resource"),
        words::counted(inventory.resource_templates, "resource template"),
    ]
    .join(", ")
}

/// The tools, the worst first.
fn table(inventory: &Inventory, has_policy: bool) -> Table {
    let mut tools: Vec<&Tool> = inventory.tools.iter().collect();
    let badness = |tool: &Tool| std::cmp::Reverse(tool.found.category());
    tools.sort_by(|one, other| {
        let by_badness = badness(one).cmp(&badness(other));
        by_badness.then_with(|| one.name.cmp(&other.name))
    });
    let mut headings = vec!["TOOL", "CATEGORY", "SEVERITY", "WHY", "RECOMMENDED"];
    if has_policy {
        headings.extend(["STATE", "POLICY"]);
    }
    let mut table = Table::new(headings);
    for tool in tools {
        let colour = colour_of(tool.found.severity());
        let mut row = vec![
            Cell::plain(shown(&tool.name)),
            Cell::styled(tool.found.category().as_str(), colour),
            Cell::styled(tool.found.severity().as_str(), colour),
            Cell::plain(words::why(&tool.found)),
            Cell::plain(words::rule(&tool.rule)),
        ];
        if has_policy {
            let is_fine = tool.state.is_none_or(|state| state == State::Approved);
            let style = match is_fine {
                true => Style::new(),
                false => colour_of(RiskSeverity::High),
            };
            row.push(Cell::styled(tool.state.map_or("-", State::word), style));
            let verdict = tool.verdict.as_ref();
            row.push(Cell::plain(verdict.map_or("", |(outcome, _)| outcome)));
        }
        table.push(row);
    }
    table
}

fn colour_of(severity: RiskSeverity) -> Style {
    let colour = match severity {
        RiskSeverity::Low => AnsiColor::Green,
        RiskSeverity::Medium => AnsiColor::Cyan,
        RiskSeverity::High => AnsiColor::Yellow,
        _ => AnsiColor::Red,
    };
    Style::new().fg_color(Some(colour.into()))
}

/// What is not as it was approved.
fn drift(inventory: &Inventory, look: Look) -> String {
    let mut text = String::new();
    let changed = |state: Option<State>| state == Some(State::Changed);
    for tool in inventory.tools.iter().filter(|tool| changed(tool.state)) {
        text += &changes(&shown(&tool.name), tool.changes.as_deref(), look);
    }
    let instructions = inventory.instructions.as_ref();
    if let Some(own) = instructions.filter(|own| changed(own.state)) {
        text += &changes("the instructions", own.changes.as_deref(), look);
    }
    if instructions.is_some_and(|own| own.state == Some(State::New)) {
        text += &look.line("", "new: the instructions");
    }
    if !inventory.removed.is_empty() {
        let names: Vec<String> = inventory.removed.iter().map(|name| shown(name)).collect();
        text += &look.line("", &format!("gone: {}", names.join(", ")));
    }
    text
}

fn changes(what: &str, changes: Option<&[Change]>, look: Look) -> String {
    let Some(changes) = changes else {
        return look.line(
            "",
            &format!("changed: {what}; what was approved is not kept"),
        );
    };
    let mut text = look.line("", &format!("changed: {what}"));
    for change in changes {
        let at = if change.pointer.is_empty() {
            "all of it"
        } else {
            &change.pointer
        };
        let from = change.from.as_deref().unwrap_or_default();
        let to = change.to.as_deref().unwrap_or_default();
        let told = match change.kind {
            Kind::Added => format!("{at} is new: `{to}`"),
            Kind::Removed => format!("{at} is gone: `{from}`"),
            Kind::Changed => format!("{at} was `{from}` and is `{to}`"),
        };
        text += &look.line("  ", &told);
    }
    text
}

fn warnings(inventory: &Inventory, look: Look) -> String {
    let tools = inventory.tools.iter();
    let of_tools = tools.map(|tool| (shown(&tool.name), &tool.warnings));
    let instructions = inventory.instructions.as_ref();
    let of_text = instructions.map(|text| ("the server".to_owned(), &text.warnings));
    let all = of_tools.chain(of_text);
    let all = all.flat_map(|(what, warnings)| {
        let line = move |warning: &DefinitionWarning| format!("{what}: {warning}");
        warnings.iter().map(line)
    });
    let lines: Vec<String> = all.map(|told| look.line("  ", &told)).collect();
    if lines.is_empty() {
        return String::new();
    }
    let style = colour_of(RiskSeverity::High);
    look.styled("", "to be looked at:", style) + &lines.concat()
}

fn collisions(all: &[Collision], look: Look) -> String {
    if all.is_empty() {
        return String::new();
    }
    let style = colour_of(RiskSeverity::High);
    let mut text = look.styled("", "tools that could be taken for one another:", style);
    for collision in all.iter().take(COLLISIONS) {
        let tools = collision.tools().iter().take(COLLISIONS);
        let tools: Vec<String> = tools
            .map(|tool| format!("`{}` of {}", shown(tool.tool()), shown(tool.server())))
            .collect();
        let kind = match collision.kind() {
            CollisionKind::SameName => "same name",
            CollisionKind::LookAlike => "look alike",
            _ => "alike",
        };
        text += &look.line("  ", &format!("{kind}: {}", tools.join(", ")));
    }
    if all.len() > COLLISIONS {
        let more = all.len().saturating_sub(COLLISIONS);
        text += &look.line("  ", &format!("and {more} more"));
    }
    text.push('\n');
    text
}
