//! What an operator may do.

use std::fmt;

/// What an operator is there for. Each may do what is named here, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Sees what there is and what was decided; changes nothing.
    Viewer,
    /// Also changes policies. Sees no arguments, and makes no tokens.
    PolicyManager,
    /// Everything.
    Admin,
}

/// What not everybody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    /// To see with which arguments a call waits, and to decide about it.
    Decide,
    /// To write another policy.
    ChangePolicies,
    /// To make and revoke tokens, to lock down, and to forget what is counted.
    Govern,
}

impl Role {
    const ALL: [Self; 3] = [Self::Viewer, Self::PolicyManager, Self::Admin];

    /// The role of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// As it is typed and shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::PolicyManager => "policy-manager",
            Self::Admin => "admin",
        }
    }

    pub(crate) fn may(self, power: Power) -> bool {
        match (self, power) {
            (Self::Admin, _) | (Self::PolicyManager, Power::ChangePolicies) => true,
            (Self::Viewer | Self::PolicyManager, _) => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
