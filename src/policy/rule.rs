//! One rule, ready to decide.

use super::approval::Approval;
use super::check::Checks;
use super::condition::{Regexes, Root};
use super::diagnostic::Problems;
use super::document::{PolicyDocument, Rule, RuleAction};
use super::limits::Limits;
use super::section::View;
use super::unwrap::Unwrapping;

/// What a rule says, wherever in a document it stands.
#[derive(Debug)]
pub(super) struct CompiledRule {
    /// A rule whose action asks for an approval allows, and has one.
    pub(super) action: RuleAction,
    pub(super) reason: Option<String>,
    pub(super) checks: Option<Checks>,
    pub(super) limits: Option<Limits>,
    pub(super) approval: Option<Approval>,
    pub(super) unwrapping: Option<Unwrapping>,
    /// `/tools/NAME/action`.
    pointer: String,
}

const ACTION: &str = "/action";

impl CompiledRule {
    /// Of the rule at this place. What does not make sense is reported and left out.
    pub(super) fn compile(
        rule: &Rule,
        place: String,
        (document, view): (&PolicyDocument, View),
        roots: &'static [Root],
        regexes: &mut Regexes,
        problems: &mut Problems,
    ) -> Self {
        let seen = Some(rule).filter(|rule| view.sees(rule));
        Self {
            action: match seen.map(|rule| rule.action) {
                None | Some(RuleAction::RequireApproval) => RuleAction::Allow,
                Some(action) => action,
            },
            reason: seen.and_then(|rule| rule.reason.clone()),
            checks: seen.and_then(|rule| Checks::compile(rule, &place, roots, regexes, problems)),
            limits: seen.and_then(|rule| Limits::compile(rule, &place, document, roots, problems)),
            approval: seen
                .and_then(|rule| Approval::compile(rule, &place, roots, regexes, problems)),
            unwrapping: seen
                .and_then(|rule| rule.unwrap.as_ref())
                .and_then(|unwrap| Unwrapping::compile(unwrap, &place, problems)),
            pointer: place + ACTION,
        }
    }

    /// The place of the rule: `/tools/NAME`.
    pub(super) fn place(&self) -> &str {
        self.pointer.strip_suffix(ACTION).unwrap_or(&self.pointer)
    }

    /// The place of what the rule does: `/tools/NAME/action`.
    pub(super) fn action_place(&self) -> &str {
        &self.pointer
    }

    /// Whether it leaves what it is for out of lists.
    pub(super) fn hides(&self) -> bool {
        self.action == RuleAction::Hide
    }

    /// Whether the rule can refuse anything, or let it wait. One that spells out the
    /// default action, or has a description, is as empty as `{}`.
    pub(super) fn restricts(&self) -> bool {
        match self.action {
            RuleAction::Allow | RuleAction::RequireApproval => {
                self.asks() || self.approval.is_some()
            }
            RuleAction::Deny | RuleAction::Hide => true,
        }
    }

    /// Whether more than the name is looked at, or anything is counted.
    pub(super) fn asks(&self) -> bool {
        let approval = self.approval.as_ref();
        self.checks.is_some()
            || self.limits.is_some()
            || self.unwrapping.is_some()
            || approval.is_some_and(Approval::is_conditional)
    }
}
