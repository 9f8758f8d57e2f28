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

/// A name that is no tool has no definition either, so it is at least unknown.
fn tells_what_is_hidden(document: &PolicyDocument, problems: &mut Problems) {
    let is_hide = |rule: &Rule| rule.action == RuleAction::Hide;
    let rules = document.tools.values().chain(document.risk.values());
    let hides = !document.hide.is_empty() || rules.into_iter().any(is_hide);
    // Of a policy that allows by default it is said for that.
    if !hides || document.default == DefaultAction::Allow {
        return;
    }
    let passes = |rule: &Rule| {
        let approval = rule.approval();
        let always_asks = approval.is_some_and(|asks| asks.conditions.is_empty());
        may_pass(rule) && !always_asks
    };
    let mut unseen = document.risk.range(RiskCategory::Unknown..);
    let Some((category, _)) = unseen.find(|(_, rule)| passes(rule)) else {
        return;
    };
    problems.report(|| {
        let message = "a caller can tell hidden tools from tools that do not exist: names of tools \
                       that nobody has seen are allowed here, and the server answers calls of those";
        Problem::at_key(risk::place(*category), message)
            .with_help("name what is allowed in `tools`, or ask for an approval here")
    });
}
