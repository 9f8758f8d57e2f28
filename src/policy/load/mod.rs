//! From text to document: everything that can be wrong with its shape.
//!
//! What the well-shaped document means, and whether that makes sense, is the
//! business of [`compile`](super::compile).

mod approval;
mod bounds;
mod limits;
mod pins;
mod reader;
mod risk;
mod rule;
mod syntax;

use std::collections::BTreeMap;

pub(super) use self::reader::nearest;
use self::reader::{Choice, Elsewhere, Fields, Reader};
use self::rule::{ALL_TOOLS, RULE, TOOL};
pub(super) use self::syntax::problem as syntax_problem;
use super::diagnostic::{Place, Problem, Problems, printable};
use super::document::{
    DefaultAction, Instructions, MethodRule, Mode, PolicyDocument, Rule, Version,
};
use crate::json::tree::{Node, Value};

/// The longest text that is read.
pub(super) const MAX_BYTES: usize = 10 << 20;

/// Reads a document from its tree. It is only good if no problem was reported;
/// if one was, it still holds every entry, so that their names can be checked.
pub(super) fn read(root: &Node, problems: &mut Problems) -> PolicyDocument {
    let mut document = PolicyDocument::new(DefaultAction::Deny);
    if bounds::too_many_entries(root, problems) || bounds::expands_too_much(root, problems) {
        return document;
    }
    bounds::report_duplicates(root, problems);
    Reader { problems }.document(root, &mut document);
    if bounds::names_are_too_long(&document, problems) {
        return PolicyDocument::new(DefaultAction::Deny);
    }
    document
}

const DOCUMENT: Fields = Fields {
    known: &[
        "$schema",
        "version",
        "name",
        "description",
        "default",
        "mode",
        "hide",
        "all_tools",
        "tools",
        "resources",
        "prompts",
        "risk",
        "methods",
        "instructions",
        "pins",
    ],
    other_names: &[
        ("rules", "tools"),
        ("id", "name"),
        ("default_action", "default"),
    ],
    elsewhere: &[
        in_a_rule("require", "`require` stands in a rule"),
        in_a_rule("deny_if", "`deny_if` stands in a rule"),
        in_a_rule("limits", "`limits` stand in a rule"),
        in_a_rule("rate_limit", "`rate_limit` stands in a rule"),
        in_a_rule("max_concurrent", "`max_concurrent` stands in a rule"),
        in_a_rule("require_approval", "`require_approval` stands in a rule"),
    ],
};

const fn in_a_rule(field: &'static str, message: &'static str) -> Elsewhere {
    Elsewhere {
        field,
        message,
        help: "write it into the rule of a tool, or into `all_tools`",
    }
}

const DEFAULT: Choice<DefaultAction> = Choice {
    known: &[
        ("allow", DefaultAction::Allow),
        ("deny", DefaultAction::Deny),
        ("hide", DefaultAction::Hide),
    ],
    expected: r#""allow", "deny" or "hide""#,
};

const MODE: Choice<Mode> = Choice {
    known: &[("enforce", Mode::Enforce), ("shadow", Mode::Shadow)],
    expected: r#""enforce" or "shadow""#,
};

const METHOD: Choice<MethodRule> = Choice {
    known: &[("allow", MethodRule::Allow), ("deny", MethodRule::Deny)],
    expected: r#""allow" or "deny""#,
};

const INSTRUCTIONS: Choice<Instructions> = Choice {
    known: &[("pass", Instructions::Pass), ("strip", Instructions::Strip)],
    expected: r#""pass" or "strip""#,
};

impl Reader<'_> {
    fn document(&mut self, root: &Node, document: &mut PolicyDocument) {
        let Some(members) = self.object(root, &Place::Document) else {
            return;
        };
        for member in members {
            let place = Place::Member(&Place::Document, &member.key);
            let node = &member.value;
            match member.key.as_str() {
                "version" => self.version(node, &place),
                "$schema" => document.schema = self.text(node, &place),
                "name" => document.name = self.text(node, &place),
                "description" => document.description = self.text(node, &place),
                "default" => self.set(&DEFAULT, node, &place, &mut document.default),
                "mode" => self.set(&MODE, node, &place, &mut document.mode),
                "hide" => self.hide(node, &place, document),
                "all_tools" => document.all_tools = Some(self.rule(&ALL_TOOLS, node, &place)),
                "tools" => self.section(&TOOL, node, &place, &mut document.tools),
                "resources" => self.section(&RULE, node, &place, &mut document.resources),
                "prompts" => self.section(&RULE, node, &place, &mut document.prompts),
                "risk" => self.risk(node, &place, &mut document.risk),
                "methods" => self.methods(node, &place, document),
                "instructions" => {
                    self.set(&INSTRUCTIONS, node, &place, &mut document.instructions);
                }
                "pins" => document.pins = self.pins(node, &place),
                _ => self.no_field(&DOCUMENT, member, &Place::Document),
            }
        }
        self.demand(
            &DOCUMENT,
            root,
            &Place::Document,
            "version",
            r#"write `"version": "1"`"#,
        );
        self.demand(
            &DOCUMENT,
            root,
            &Place::Document,
            "default",
            r#"write `"default": "deny"` to refuse what nothing names, or "hide", or "allow""#,
        );
    }

    fn version(&mut self, node: &Node, place: &Place<'_>) {
        match &node.value {
            Value::String(version) if version == Version::TEXT => {}
            Value::String(version) => self.problems.report(|| {
                let message = format!("unknown version \"{}\", expected \"1\"", printable(version));
                Problem::in_text(node.span.clone(), place, message)
                    .with_help(r#"write `"version": "1"`: it is the only one there is"#)
            }),
            _ => self.wrong(node, place, r#"the string "1""#),
        }
    }

    fn hide(&mut self, node: &Node, place: &Place<'_>, document: &mut PolicyDocument) {
        let Some(items) = self.list(node, place, "a list of names and patterns") else {
            return;
        };
        for (index, item) in items.iter().enumerate() {
            match &item.value {
                Value::String(name) => document.hide.push(name.clone()),
                _ => {
                    // Holds the place, so that later items keep their index.
                    document.hide.push("*".to_owned());
                    self.wrong(item, &Place::Item(place, index), "a string");
                }
            }
        }
    }

    fn section(
        &mut self,
        fields: &Fields,
        node: &Node,
        place: &Place<'_>,
        rules: &mut BTreeMap<String, Rule>,
    ) {
        for member in self.object(node, place).unwrap_or_default() {
            let rule = self.rule(fields, &member.value, &Place::Member(place, &member.key));
            rules.insert(member.key.clone(), rule);
        }
    }

    fn methods(&mut self, node: &Node, place: &Place<'_>, document: &mut PolicyDocument) {
        for member in self.object(node, place).unwrap_or_default() {
            let rule = self.choose(&METHOD, &member.value, &Place::Member(place, &member.key));
            let rule = rule.unwrap_or(MethodRule::Deny);
            document.methods.insert(member.key.clone(), rule);
        }
    }
}
