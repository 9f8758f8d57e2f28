//! What a name comes to, before it is put into the words of a [`Decision`]: a list asks
//! it of hundreds of names, and only whether they are hidden.

use super::super::decision::{Decision, Outcome};
use super::super::document::RuleAction;
use super::super::rule::CompiledRule;
use super::super::section::Kind;

#[derive(Clone, Copy, Debug)]
pub(in crate::policy) enum Said<'r> {
    /// What the rule says that applies to it.
    ByRule(&'r CompiledRule),
    Hidden,
    /// It can be mistaken for what this rule is for.
    LookAlike(Kind, &'r CompiledRule),
    NoSuchName,
    NotCanonical,
    NotPinned,
    Drifted,
    DeniedByDefault,
    /// By this place.
    Allowed(&'r str),
}

impl<'r> Said<'r> {
    /// Whether it passes, or waits for an approval: [`Outcome::Ask`] is told apart later.
    pub(in crate::policy) fn outcome(self) -> Outcome {
        match self {
            Self::ByRule(rule) => match rule.action {
                RuleAction::Allow | RuleAction::RequireApproval => Outcome::Allow,
                RuleAction::Deny => Outcome::Deny,
                RuleAction::Hide => Outcome::Hide,
            },
            Self::Hidden => Outcome::Hide,
            Self::LookAlike(..)
            | Self::NoSuchName
            | Self::NotCanonical
            | Self::NotPinned
            | Self::Drifted
            | Self::DeniedByDefault => Outcome::Deny,
            Self::Allowed(_) => Outcome::Allow,
        }
    }

    pub(in crate::policy) fn allows(self) -> bool {
        self.outcome() == Outcome::Allow
    }

    /// The rule that applies to it.
    pub(in crate::policy) fn rule(self) -> Option<&'r CompiledRule> {
        match self {
            Self::ByRule(rule) => Some(rule),
            _ => None,
        }
    }

    pub(in crate::policy) fn decision(self) -> Decision<'r> {
        match self {
            Self::ByRule(rule) => Decision::of_rule(rule),
            Self::Hidden => Decision::HIDDEN,
            Self::LookAlike(kind, rule) => Decision::of_look_alike(kind, rule),
            Self::NoSuchName => Decision::NO_SUCH_NAME,
            Self::NotCanonical => Decision::NOT_CANONICAL,
            Self::NotPinned => Decision::NOT_PINNED,
            Self::Drifted => Decision::DRIFTED,
            Self::DeniedByDefault => Decision::DENIED_BY_DEFAULT,
            Self::Allowed(place) => Decision::allow(place),
        }
    }
}
