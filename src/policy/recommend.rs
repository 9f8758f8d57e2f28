//! A policy to begin with.

use std::collections::BTreeMap;

use super::{
    Amount, Check, Condition, DefaultAction, LimitWindow, Operator, PolicyDocument, RateLimit,
    RequireApproval, Rule, RuleAction, is_ordinary,
};
use crate::risk::{
    ActionRisk, Assessment, EvidencePlace, RiskCategory, Siblings, ToolDefinition, classify,
};

/// Calls of a tool that writes, in a minute.
const WRITES: u32 = 30;
/// Calls of a tool that runs something, or of which nothing is known, in a minute.
const RUNS: u32 = 10;
/// The words that a reason quotes.
const QUOTED: usize = 3;

/// A policy that is safe to begin with for a server that offers these tools, told
/// from their definitions alone (see [`classify`]).
///
/// What no entry names is refused. A tool that only reads is allowed, one that
/// writes 30 times a minute and session, one that runs something, or of which
/// nothing is known, 10 times. One that cannot be undone is hidden, and one that
/// moves money needs an approval. A tool that is told by an argument what to do may
/// be told only what can be undone, in so many words: what it does without them is
/// not known. One whose definition is too long to be read whole needs an approval at
/// least. Every entry says why, in its `description` or its `reason`.
///
/// Every tool gets an entry, so the policy says the same of it whatever the server says of
/// it later, and refuses tools that come later. The [`risk`](PolicyDocument::risk) of a
/// policy is for those who want to judge tools as they come, by what the server says of
/// them then; entries go before it.
///
/// It loads, has no warning, also against these tools
/// ([`Policy::check_tools`](crate::Policy::check_tools)), and the same tools always
/// give the same. A tool whose name has characters other than those of ordinary
/// names gets no entry, which refuses it; of two tools of one name the worse counts.
///
/// ```
/// use mcp_policy::{Action, Policy, ToolDefinition, recommend};
/// use serde_json::json;
///
/// let tools = [
///     json!({ "name": "list_files" }),
///     json!({ "name": "delete_file" }),
///     json!({ "name": "manage_flow", "inputSchema": { "properties": {
///         "action": { "enum": ["get", "disable", "delete"] },
///     } } }),
/// ];
/// let tools: Vec<_> = tools.iter().filter_map(ToolDefinition::from_value).collect();
/// let policy = Policy::try_from(recommend(&tools))?;
///
/// assert!(policy.decide(&Action::call_tool("list_files")).is_allowed());
/// assert!(!policy.decide(&Action::call_tool("delete_file")).is_allowed());
/// let disable = Action::call_tool("manage_flow").with_arguments(r#"{ "action": "disable" }"#)?;
/// assert!(policy.decide(&disable).is_allowed());
/// let delete = Action::call_tool("manage_flow").with_arguments(r#"{ "action": "delete" }"#)?;
/// assert!(!policy.decide(&delete).is_allowed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn recommend(tools: &[ToolDefinition]) -> PolicyDocument {
    let siblings = Siblings::of(tools);
    let mut judged: BTreeMap<&str, Assessment> = BTreeMap::new();
    for tool in tools.iter().filter(|tool| is_ordinary(tool.name())) {
        let found = classify(tool, &siblings);
        let known = judged.get(tool.name());
        if known.is_none_or(|known| known.category() < found.category()) {
            judged.insert(tool.name(), found);
        }
    }
    let mut document = PolicyDocument::new(DefaultAction::Deny);
    document.description = Some(
        "Recommended from what the definitions of the tools say. Read it before you rely on it."
            .to_owned(),
    );
    for (name, found) in judged {
        document.tools.insert(name.to_owned(), rule(&found));
    }
    document
}

fn rule(found: &Assessment) -> Rule {
    let why = why(found);
    if is_cut(found) {
        // Nobody has seen what else it can be told to do.
        return whole(found.category().max(RiskCategory::Financial), why);
    }
    if found.actions().is_empty() {
        return whole(found.category(), why);
    }
    by_action(found, why)
}

/// Whether its definition is too long to be read whole.
fn is_cut(found: &Assessment) -> bool {
    let mut evidence = found.evidence().iter();
    evidence.any(|evidence| *evidence.place() == EvidencePlace::Definition)
}

/// The rule of a tool that does one thing.
fn whole(category: RiskCategory, why: String) -> Rule {
    let mut rule = match category {
        RiskCategory::Destructive => Rule::hide(),
        RiskCategory::Financial => {
            let mut rule = Rule::allow();
            rule.action = RuleAction::RequireApproval;
            rule.reason = Some(why);
            return rule;
        }
        _ => Rule::allow(),
    };
    rule.rate_limit = rate(category);
    rule.description = Some(why);
    rule
}

/// The rule of a tool that is told by arguments what to do: which of it may be told.
fn by_action(found: &Assessment, why: String) -> Rule {
    let mut by_path: BTreeMap<&str, Vec<&ActionRisk>> = BTreeMap::new();
    for action in found.actions() {
        by_path.entry(action.path()).or_default().push(action);
    }
    let mut rule = Rule::allow();
    let mut worst = RiskCategory::Read;
    for (path, actions) in by_path {
        let may: Vec<_> = actions
            .into_iter()
            .filter(|action| action.category() < RiskCategory::Destructive)
            .collect();
        if may.is_empty() {
            return whole(RiskCategory::Destructive, why);
        }
        let of_money = may
            .iter()
            .filter(|action| action.category() == RiskCategory::Financial);
        let of_money: Vec<&str> = of_money.map(|action| action.value()).collect();
        if !of_money.is_empty() {
            // Two such arguments are too many to tell which of them moves it.
            let approval = rule
                .require_approval
                .get_or_insert_with(RequireApproval::default);
            approval.conditions = if approval.reason.is_none() {
                vec![Condition::new(path, Operator::In, of_money)]
            } else {
                Vec::new()
            };
            approval.reason = Some("This moves money.".to_owned());
        }
        let others = may.iter().map(|action| action.category());
        let others = others.filter(|category| *category != RiskCategory::Financial);
        worst = worst.max(others.max().unwrap_or(RiskCategory::Read));
        rule.require.push(only(path, &may));
    }
    rule.rate_limit = rate(worst);
    rule.description = Some(why);
    rule
}

fn only(path: &str, may: &[&ActionRisk]) -> Check {
    let values: Vec<&str> = may.iter().map(|action| action.value()).collect();
    let named = values.join("`, `");
    let mut check = Check::new([Condition::new(path, Operator::In, values)]);
    check.on_deny = Some(format!("`{path}` has to be one of `{named}`."));
    check
}

fn rate(category: RiskCategory) -> Option<RateLimit> {
    let most = match category {
        RiskCategory::Write => WRITES,
        RiskCategory::Execute | RiskCategory::Unknown => RUNS,
        _ => return None,
    };
    Some(RateLimit::new(Amount::from(most), LimitWindow::MINUTE))
}

/// The category and the words that say so.
fn why(found: &Assessment) -> String {
    let category = found.category();
    let says_so = found.evidence().iter();
    let says_so = says_so.filter(|evidence| evidence.category() == category);
    let quotes: Vec<String> = says_so.take(QUOTED).map(ToString::to_string).collect();
    if quotes.is_empty() {
        return format!("{category}: nothing in the definition tells what it does");
    }
    format!("{category}: {}", quotes.join(", "))
}
