//! What somebody decides about a request.

use std::fmt;
use std::sync::Arc;

use super::request::ApprovalState;
use crate::caller::{Caller, names_by_issuers};
use crate::fold::fold;

/// Characters of a note that are kept.
const LONGEST_NOTE: usize = 1_000;

/// What somebody decides about a request.
///
/// ```
/// use mcp_policy::Ruling;
///
/// let ruling = Ruling::deny("dora").with_note("ask again on Monday");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Ruling {
    approves: bool,
    decider: Decider,
    note: Option<Arc<str>>,
}

/// Who decided about a request.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decider {
    /// An operator of this name.
    Operator(Arc<str>),
    /// The client that calls.
    Caller,
}

impl Ruling {
    /// The operator of this name approves. Whoever calls this has to know that it is
    /// that operator.
    pub fn approve(operator: impl Into<Arc<str>>) -> Self {
        Self {
            approves: true,
            decider: Decider::Operator(operator.into()),
            note: None,
        }
    }

    /// The operator of this name denies. Whoever calls this has to know that it is
    /// that operator.
    pub fn deny(operator: impl Into<Arc<str>>) -> Self {
        Self {
            approves: false,
            ..Self::approve(operator)
        }
    }

    /// The client that calls says yes or no.
    pub(crate) fn by_caller(approves: bool) -> Self {
        Self {
            approves,
            decider: Decider::Caller,
            note: None,
        }
    }

    /// With what the operator says about it: its first 1 000 characters.
    #[must_use]
    pub fn with_note(mut self, note: &str) -> Self {
        let note: String = note.chars().take(LONGEST_NOTE).collect();
        self.note = Some(note.into());
        self
    }

    /// Whether it is approved; else it is denied.
    pub fn approves(&self) -> bool {
        self.approves
    }

    /// Who decides.
    pub fn decider(&self) -> &Decider {
        &self.decider
    }

    /// What they say about it.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }
}

/// Without the note, which may repeat an argument.
impl fmt::Debug for Ruling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ruling")
            .field("approves", &self.approves)
            .field("decider", &self.decider)
            .finish_non_exhaustive()
    }
}

/// Why something was not approved or denied.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDecided {
    /// There is no such request, or not any more.
    Unknown,
    /// It does not wait for that.
    NotPending(ApprovalState),
    /// Nobody decides about a request of their own, unless the policy says so and it
    /// is the client that confirms.
    OwnRequest,
    /// An operator has to have a name.
    Nameless,
}

impl fmt::Display for NotDecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("there is no such request"),
            Self::NotPending(state) => write!(f, "the request does not wait: it is {state}"),
            Self::OwnRequest => f.write_str("nobody decides about a request of their own"),
            Self::Nameless => f.write_str("an operator has to have a name"),
        }
    }
}

impl std::error::Error for NotDecided {}

/// Whether nobody would see that an operator has a name.
pub(super) fn is_nameless(operator: &str) -> bool {
    fold(operator).is_empty()
}

/// Whether an operator is a caller, as far as names tell. Those that look alike count
/// as one: to be refused by mistake is the lesser harm.
pub(super) fn is_same_person(operator: &str, caller: &str) -> bool {
    let operator_alone = fold(operator);
    let mut names = names_by_issuers(caller);
    let caller = fold(caller);
    // A caller of such a name may be known by a longer one.
    operator_alone == caller
        || fold(Caller::new(operator).id()) == caller
        || names.any(|name| fold(name) == operator_alone)
}
