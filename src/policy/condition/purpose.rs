use super::truth::Truth;

/// What the truth of a condition is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Use {
    /// A check of `require`, all of which must hold.
    Require,
    /// A check of `deny_if`, none of which may hold.
    DenyIf,
    /// `require_approval.conditions`.
    Approval,
}

impl Use {
    /// The truth of no values at all.
    pub(super) const fn of_none(self) -> Truth {
        match self {
            Self::Require => Truth::True,
            Self::DenyIf | Self::Approval => Truth::False,
        }
    }

    /// The truth of several values.
    pub(super) const fn combine(self, one: Truth, other: Truth) -> Truth {
        match self {
            Self::Require => one.and(other),
            Self::DenyIf | Self::Approval => one.or(other),
        }
    }
}
