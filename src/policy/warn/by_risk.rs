//! Rules by risk that trust too much.

use super::super::diagnostic::{Problem, Problems, join, quote};
use super::super::document::{Approver, DefaultAction, PolicyDocument, Rule, RuleAction};
use super::super::risk;
use crate::risk::RiskCategory;

pub(super) fn warn(document: &PolicyDocument, problems: &mut Problems) {
    let pins = document.pins.as_ref();
    let is_pinned = pins.is_some_and(|pins| pins.tools.is_some());
    let mut names = document.tools.keys();
    let everything = names.find(|name| name.bytes().all(|byte| byte == b'*'));
    if let Some(name) = everything.filter(|_| !document.risk.is_empty()) {
        problems.report(|| {
            let place = join("/tools", name);
            let message = format!("`risk` never applies: {} names every tool", quote(&place));
            Problem::at_key("/risk".to_owned(), message)
                .with_help("drop one of the two: what no entry names follows `risk`")
        });
    }
    for (category, rule) in &document.risk {
        let place = risk::place(*category);
        let trusts = *category < RiskCategory::Unknown && may_pass(rule);
        if trusts && !is_pinned {
            problems.report(|| trusts_the_server(*category, place.clone()));
        }
        let approval = rule.require_approval.as_ref();
        let asks_caller = approval.is_some_and(|asks| asks.approver == Approver::Caller);
        if asks_caller && *category >= RiskCategory::Financial {
            problems.report(|| {
                let message = "the caller approves its own calls here: that shows that its client \
                               said yes, not that a person did";
                let place = join(&join(&place, "require_approval"), "approver");
                Problem::at_value(place, message)
                    .with_help(r#"leave it out, or write "operator": such a call cannot be undone"#)
            });
        }
    }
    passes_until_listed(document, problems);
    // What is not pinned is refused, whether it exists or not.
    if !is_pinned {
        tells_what_is_hidden(document, problems);
    }
}

fn may_pass(rule: &Rule) -> bool {
    matches!(rule.action, RuleAction::Allow | RuleAction::RequireApproval)
}

fn trusts_the_server(category: RiskCategory, place: String) -> Problem {
    let message = format!(
        "which tools count as `{category}` is for the server to say, unless their names say worse"
    );
    Problem::at_key(place, message)
        .with_help("name in `pins` the definitions that somebody has looked at")
}

/// What stands between a caller and some calls of a tool that no entry names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Barrier {
    Nothing,
    OwnApproval,
    Others,
}

fn barrier(document: &PolicyDocument, category: RiskCategory) -> Barrier {
    let Some(rule) = document.risk.get(&category) else {
        return match document.default {
            DefaultAction::Allow => Barrier::Nothing,
            DefaultAction::Deny | DefaultAction::Hide => Barrier::Others,
        };
    };
    let approval = rule.approval();
    let always = approval.filter(|asks| asks.conditions.is_empty());
    match always.map(|asks| asks.approver) {
        _ if !may_pass(rule) => Barrier::Others,
        None => Barrier::Nothing,
        Some(Approver::Caller) => Barrier::OwnApproval,
        Some(Approver::Operator) => Barrier::Others,
    }
}

/// Whoever does not ask for the list is not judged by it.
fn passes_until_listed(document: &PolicyDocument, problems: &mut Problems) {
    let mut worse = RiskCategory::ALL.into_iter();
    let of_unknown = barrier(document, RiskCategory::Unknown);
    let is_higher = |category: RiskCategory| {
        category > RiskCategory::Unknown && barrier(document, category) > of_unknown
    };
    if document.risk.is_empty() || !worse.any(is_higher) {
        return;
    }
    problems.report(|| {
        let message = "a tool passes here until it has been listed if only its definition, and not \
                       its name, says that it is worse than `unknown`";
        let place = match document.risk.contains_key(&RiskCategory::Unknown) {
            true => risk::place(RiskCategory::Unknown),
            false => "/risk".to_owned(),
        };
        Problem::at_key(place, message)
            .with_help("refuse what is `unknown`, or ask an operator for an approval of it")
    });
}

/// A name that is no tool has no definition either, so it is at least unknown.
fn tells_what_is_hidden(document: &PolicyDocument, problems: &mut Problems) {
    let is_hide = |rule: &Rule| rule.action == RuleAction::Hide;
    let mut rules = document.tools.values().chain(document.risk.values());
    let hides = !document.hide.is_empty() || rules.any(is_hide);
    // Of a policy that allows by default it is said for that.
    if !hides || document.default == DefaultAction::Allow {
        return;
    }
    let mut unseen = document.risk.range(RiskCategory::Unknown..);
    let Some((category, _)) =
        unseen.find(|(category, _)| barrier(document, **category) < Barrier::Others)
    else {
        return;
    };
    problems.report(|| {
        let message = "a caller can tell hidden tools from tools that do not exist: names of tools \
                       that nobody has seen are allowed here, and the server answers calls of those";
        Problem::at_key(risk::place(*category), message)
            .with_help("name what is allowed in `tools`, or ask an operator for an approval here")
    });
}
