//! Rules, findings and numbers in few words.

use mcp_policy::{Assessment, LimitWindow, Rule, RuleAction};

use crate::{names::count, verdicts::conditions};

/// Findings that are told in the table; all of them are in the JSON.
const FINDINGS: usize = 2;
/// Why a tool is what it is.
pub(super) fn why(found: &Assessment) -> String {
    let category = found.category();
    // What makes it as bad as it is, and nothing that is harmless beside it.
    let says_so = found.evidence().iter();
    let says_so = says_so.filter(|evidence| evidence.category() == category);
    let told: Vec<String> = says_so.take(FINDINGS).map(ToString::to_string).collect();
    if told.is_empty() {
        "nothing tells what it does".to_owned()
    } else {
        told.join(", ")
    }
}

/// What a rule does with calls.
pub(super) fn rule(rule: &Rule) -> String {
    match rule.action {
        RuleAction::Hide => return "hide".to_owned(),
        RuleAction::Deny => return "deny".to_owned(),
        RuleAction::RequireApproval => return "ask for approval".to_owned(),
        _ => {}
    }
    let checks = rule.require.iter();
    let checks: Vec<String> = checks.map(|check| conditions(&check.conditions)).collect();
    let mut parts = vec![match checks.as_slice() {
        [] => "allow".to_owned(),
        checks => format!("allow if {}", checks.join(" and ")),
    }];
    if let Some(rate) = &rule.rate_limit {
        let max = &rate.max;
        parts.push(match rate.window {
            LimitWindow::MINUTE => format!("{max} a minute"),
            window => format!("{max} in {} s", window.as_secs()),
        });
    }
    if let Some(approval) = &rule.require_approval {
        parts.push(if approval.conditions.is_empty() {
            "ask for approval".to_owned()
        } else {
            format!("ask if {}", conditions(&approval.conditions))
        });
    }
    parts.join(", ")
}

/// `2 prompts`, or that there is no telling.
pub(super) fn counted(number: Option<usize>, noun: &str) -> String {
    match number {
        Some(number) => count(number, noun),
        None => format!("{noun}s unknown"),
    }
}

#[cfg(test)]
mod tests {
    use mcp_policy::{Siblings, ToolDefinition, classify, recommend};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn rules_and_reasons_are_told_in_few_words() {
        let action = |values: Value| {
            json!({ "name": "manage_flow", "inputSchema": { "properties": {
                "action": { "enum": values } } } })
        };
        for (tool, expected, expected_why) in [
            (
                json!({ "name": "list_files" }),
                "allow",
                "`list` in the name",
            ),
            (
                json!({ "name": "add_note" }),
                "allow, 30 a minute",
                "`add` in the name",
            ),
            (
                json!({ "name": "delete_note" }),
                "hide",
                "`delete` in the name",
            ),
            (
                json!({ "name": "refund_payment" }),
                "ask for approval",
                "`refund",
            ),
            (
                action(json!(["get", "disable", "delete"])),
                "allow if args.action in [get, disable], 30 a minute",
                "`delete` as `args.action`",
            ),
            (
                action(json!(["get", "refund"])),
                "allow if args.action in [get, refund], ask if args.action in [refund]",
                "`refund` as `args.action`",
            ),
            (
                json!({ "name": "xyzzy" }),
                "allow, 10 a minute",
                "nothing tells what it does",
            ),
        ] {
            let definition = ToolDefinition::from_value(&tool).unwrap();
            let tools = [definition.clone()];
            let document = recommend(&tools);
            let recommended = &document.tools[definition.name()];
            assert_eq!(rule(recommended), expected, "{tool}");
            let why = why(&classify(&definition, &Siblings::of(&tools)));
            assert!(why.starts_with(expected_why), "{why}");
        }
    }
}
