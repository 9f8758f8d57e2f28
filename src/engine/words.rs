//! Refusals in words that a model can act on.

use crate::audit::UNRECORDED;
use crate::mcp::message::Call;
use crate::mcp::method::Kind;
use crate::mcp::reply::{Place, Refusal, Thing};
use crate::mcp::shown;

/// The rule that refuses what nothing names.
pub(super) const DEFAULT_DENY: &str = "(default deny)";

/// The rule that refuses callers for whom there is no policy.
pub(super) const NO_POLICY: &str = "(no policy)";

pub(super) fn wrong_kind(right: Kind) -> Refusal {
    let text = match right {
        Kind::Request => "This method is a request and needs an id.",
        Kind::Notification => "This method is a notification and must not have an id.",
    };
    Refusal::malformed(text)
}

pub(super) fn unknown(what: Thing, name: &str) -> Refusal {
    Refusal::Unknown {
        what,
        name: name.to_owned(),
    }
}

pub(super) fn unknown_method(call: &Call<'_>) -> Refusal {
    Refusal::UnknownMethod {
        method: call.method.to_string(),
    }
}

/// Whether something that is denied could be allowed otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    Never,
    /// With other arguments, or by another caller.
    Otherwise,
}

/// The refusal of something that is denied. What nothing names has no decision
/// id, because what is hidden is refused like it.
pub(super) fn refused(
    what: Thing,
    name: &str,
    rule: &str,
    reason: Option<&str>,
    again: Again,
    decision: String,
) -> Refusal {
    let noun = match what {
        Thing::Tool => "tool",
        Thing::Prompt => "prompt",
        Thing::Resource => "resource",
        Thing::Task => "task",
    };
    let reason = reason.unwrap_or(match rule {
        DEFAULT_DENY => "Only what the policy names is allowed.",
        NO_POLICY => "There is no policy for this caller, so nothing is allowed.",
        _ => "The policy does not allow it.",
    });
    let again = match again {
        Again::Never => "Trying again will not help; use something else or ask the operator.",
        Again::Otherwise => {
            "Trying the same again will not help; change what you ask for, or ask the operator."
        }
    };
    let text = format!(
        "Policy violation: the {noun} \"{}\" was not used. {reason} {again} [rule {rule}]",
        shown(name)
    );
    let place = Place {
        rule: rule.to_owned(),
        reason: reason.to_owned(),
        decision: (rule != DEFAULT_DENY).then_some(decision),
    };
    match what {
        Thing::Tool => Refusal::Tool { text, place },
        Thing::Prompt | Thing::Resource | Thing::Task => Refusal::Denied { text, place },
    }
}

/// The refusal of what nothing names.
pub(super) fn by_default(what: Thing, name: &str) -> Refusal {
    refused(what, name, DEFAULT_DENY, None, Again::Never, String::new())
}

/// The refusal of what may go on and cannot be recorded.
pub(crate) fn unrecorded() -> Refusal {
    let reason = "The decision could not be recorded, so the call was not made. \
                  Try again later, and tell the operator if it goes on.";
    Refusal::Unrecorded {
        place: Place {
            rule: UNRECORDED.to_owned(),
            reason: reason.to_owned(),
            decision: None,
        },
    }
}
