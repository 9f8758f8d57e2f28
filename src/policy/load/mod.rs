//! From text to document: everything that can be wrong with its shape.
//!
//! What the well-shaped document means, and whether that makes sense, is the
//! business of [`compile`](super::compile).

mod bounds;
mod reader;
mod rule;

use std::collections::BTreeMap;

pub(super) use self::reader::nearest;
use self::reader::{Choice, Fields, Reader};
use self::rule::{ALL_TOOLS, RULE, TOOL};
use super::diagnostic::{Problem, Problems, join, printable};
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
    if bounds::too_many_entries(root, problems) {
        return document;
    }
    bounds::report_duplicates(root, problems);
    Reader { problems }.document(root, &mut document);
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
        "methods",
        "instructions",
    ],
    later: &["risk", "pins"],
};

const DEFAULT: Choice<DefaultAction> = Choice {
    known: &[
        ("allow", DefaultAction::Allow),
        ("deny", DefaultAction::Deny),
        ("hide", DefaultAction::Hide),
    ],
    later: &[],
    expected: r#""allow", "deny" or "hide""#,
};

const MODE: Choice<Mode> = Choice {
    known: &[("enforce", Mode::Enforce), ("shadow", Mode::Shadow)],
    later: &[],
    expected: r#""enforce" or "shadow""#,
};

const METHOD: Choice<MethodRule> = Choice {
    known: &[("allow", MethodRule::Allow), ("deny", MethodRule::Deny)],
    later: &[],
    expected: r#""allow" or "deny""#,
};

const INSTRUCTIONS: Choice<Instructions> = Choice {
    known: &[("pass", Instructions::Pass), ("strip", Instructions::Strip)],
    later: &[],
    expected: r#""pass" or "strip""#,
};

impl Reader<'_> {
    fn document(&mut self, root: &Node, document: &mut PolicyDocument) {
        let Some(members) = self.object(root, "") else {
            return;
        };
        for member in members {
            let pointer = join("", &member.key);
            let node = &member.value;
            match member.key.as_str() {
                "version" => self.version(node, &pointer),
                "$schema" => document.schema = self.text(node, &pointer),
                "name" => document.name = self.text(node, &pointer),
                "description" => document.description = self.text(node, &pointer),
                "default" => self.set(&DEFAULT, node, &pointer, &mut document.default),
                "mode" => self.set(&MODE, node, &pointer, &mut document.mode),
                "hide" => self.hide(node, &pointer, document),
                "all_tools" => document.all_tools = Some(self.rule(&ALL_TOOLS, node, &pointer)),
                "tools" => self.section(&TOOL, node, &pointer, &mut document.tools),
                "resources" => self.section(&RULE, node, &pointer, &mut document.resources),
                "prompts" => self.section(&RULE, node, &pointer, &mut document.prompts),
                "methods" => self.methods(node, &pointer, document),
                "instructions" => {
                    self.set(&INSTRUCTIONS, node, &pointer, &mut document.instructions);
                }
                _ => self.no_field(&DOCUMENT, member, ""),
            }
        }
        self.demand(root, "", "version", r#"write `"version": "1"`"#);
        self.demand(
            root,
            "",
            "default",
            r#"write `"default": "deny"` to refuse what nothing names, or "hide", or "allow""#,
        );
    }

    fn version(&mut self, node: &Node, pointer: &str) {
        match &node.value {
            Value::String(version) if version == Version::TEXT => {}
            Value::String(version) => self.problems.report(|| {
                let message = format!("unknown version \"{}\", expected \"1\"", printable(version));
                Problem::at_value(pointer.to_owned(), message)
            }),
            _ => self.wrong(node, pointer, r#"the string "1""#),
        }
    }

    fn hide(&mut self, node: &Node, pointer: &str, document: &mut PolicyDocument) {
        let Some(items) = self.list(node, pointer, "a list of names and patterns") else {
            return;
        };
        for (index, item) in items.iter().enumerate() {
            match &item.value {
                Value::String(name) => document.hide.push(name.clone()),
                _ => {
                    // Holds the place, so that later items keep their index.
                    document.hide.push("*".to_owned());
                    self.wrong(item, &join(pointer, &index.to_string()), "a string");
                }
            }
        }
    }

    fn section(
        &mut self,
        fields: &Fields,
        node: &Node,
        pointer: &str,
        rules: &mut BTreeMap<String, Rule>,
    ) {
        for member in self.object(node, pointer).unwrap_or_default() {
            let rule = self.rule(fields, &member.value, &join(pointer, &member.key));
            rules.insert(member.key.clone(), rule);
        }
    }

    fn methods(&mut self, node: &Node, pointer: &str, document: &mut PolicyDocument) {
        for member in self.object(node, pointer).unwrap_or_default() {
            let rule = self.choose(&METHOD, &member.value, &join(pointer, &member.key));
            let rule = rule.unwrap_or(MethodRule::Deny);
            document.methods.insert(member.key.clone(), rule);
        }
    }
}
