//! Refusals in words that a model can act on.

use std::borrow::Cow;
use std::time::Duration;

use super::approve::Unapproved;
use crate::audit::{Names, UNRECORDED};
use crate::mcp::message::Call;
use crate::mcp::method::Kind;
use crate::mcp::reply::{Place, Refusal, Thing, in_seconds};
use crate::mcp::shown;
use crate::policy::{Period, Quota};

/// The rule that refuses what nothing names.
pub(super) const DEFAULT_DENY: &str = "(default deny)";

/// The rule that refuses callers for whom there is no policy.
pub(super) const NO_POLICY: &str = "(no policy)";

/// The rule that refuses what could not be decided or counted.
pub(super) const STORE: &str = "(store)";

/// The rule that refuses what there is no room to count.
pub(super) const LIMITS_FULL: &str = "(limits full)";

/// The rule that refuses what there is no room to ask an approval for.
pub(super) const APPROVALS_FULL: &str = "(approvals full)";

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
    let noun = noun(what);
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
    let place = Box::new(Place {
        rule: rule.to_owned(),
        reason: reason.to_owned(),
        decision: (rule != DEFAULT_DENY).then(|| decision.into()),
        retry_after: None,
        approval: None,
    });
    match what {
        Thing::Tool => Refusal::Tool { text, place },
        Thing::Prompt | Thing::Resource | Thing::Task => Refusal::Denied { text, place },
    }
}

/// Why something waits, where the policy does not say it.
pub(super) const SOMEBODY_HAS_TO: &str = "Somebody has to approve exactly this call first.";

/// The refusal of what somebody has to approve first, or has denied, under the first
/// rule that asks.
pub(super) fn not_approved(
    (what, name): (Thing, &str),
    rule: &str,
    why: &Unapproved,
    decision: String,
) -> Refusal {
    let request = match why {
        Unapproved::Pending(request) | Unapproved::Denied(request) => Some(request),
        _ => None,
    };
    let reason = request.and_then(|request| match why {
        Unapproved::Denied(_) => request.note(),
        _ => request.reason(),
    });
    let (reason, again) = match why {
        Unapproved::Denied(_) => (
            reason.unwrap_or("Somebody who was asked has denied exactly this call."),
            "Making it again will not help for now; ask for something else.",
        ),
        Unapproved::Pending(_) => (
            reason.unwrap_or(SOMEBODY_HAS_TO),
            "It waits for an approval. Make the same call again once it is approved.",
        ),
        Unapproved::TakenBack => (
            "It was cancelled while it waited for an approval.",
            "Make the same call again only if it is wanted after all.",
        ),
        _ => (
            "Its approval was used by another call, or is over.",
            "Make the same call again to ask for another approval.",
        ),
    };
    let id = request.map(|request| request.id().to_string());
    let told = id.as_ref().map(|id| format!(" [approval {id}]"));
    let text = format!(
        "Policy violation: the {} \"{name}\" was not used. {reason} {again} [rule {rule}]{}",
        noun(what),
        told.unwrap_or_default(),
    );
    let place = Box::new(Place {
        rule: rule.to_owned(),
        reason: reason.to_owned(),
        decision: Some(decision.into()),
        retry_after: None,
        approval: id.map(Into::into),
    });
    match (what, why) {
        (Thing::Tool, _) => Refusal::Tool { text, place },
        (_, Unapproved::Denied(_)) => Refusal::Denied { text, place },
        _ => Refusal::Waits { text, place },
    }
}

/// What a user is asked who can follow on a page what becomes of a call.
pub(super) fn open_page((what, name): (Thing, &str), reason: &str) -> String {
    let noun = noun(what);
    format!(
        "The {noun} \"{name}\" is not used until somebody has approved it. {reason} \
         Open the page to see when that is done."
    )
}

/// Names of arguments that a question holds.
const MOST_KEYS_ASKED: usize = 12;

/// What a user is asked who can approve a call: names only, because the client shows
/// what it calls with. They are the caller's words, so each is in quotes.
pub(super) fn allow_once((what, name): (Thing, &str), keys: &Names, reason: &str) -> String {
    let shown = keys
        .iter()
        .take(MOST_KEYS_ASKED)
        .map(|key| format!("{key:?}"));
    let mut arguments = shown.collect::<Vec<_>>().join(", ");
    match keys.iter().skip(MOST_KEYS_ASKED).count() {
        0 => {}
        more => arguments += &format!(" and {more} more"),
    }
    let with = match keys.is_empty() {
        true => "without arguments",
        false => "with the arguments ",
    };
    let noun = noun(what);
    format!("May the {noun} {name:?} be used once, {with}{arguments}? {reason}")
}

/// The refusal of what has to be approved first and cannot wait for that, because it
/// does not come by itself.
pub(super) fn waits_alone((what, name): (Thing, &str), rule: &str, decision: String) -> Refusal {
    const REASON: &str = "It has to be approved first: send it by itself rather than in a batch.";
    refused(what, name, rule, Some(REASON), Again::Otherwise, decision)
}

/// The refusal of what somebody has to approve first, when nobody could be asked.
pub(super) fn unasked(decision: String) -> Refusal {
    let reason = "Nobody could be asked for the approval that the call needs, so it was not made. \
                  Try again later, and tell the operator if it goes on.";
    unavailable(STORE, reason, Some(decision))
}

/// The refusal of an answer to what somebody was asked while a call waits.
pub(super) fn untold(decision: String) -> Refusal {
    let reason = "The answer could not be noted, so nothing comes of it, and the call waits on. \
                  Tell the operator if it goes on.";
    unavailable(STORE, reason, Some(decision))
}

/// The refusal of what somebody has to approve first: nobody can be asked here.
pub(super) fn unapproved(what: Thing, name: &str, rule: &str, decision: String) -> Refusal {
    const REASON: &str = "It needs an approval, and nobody can give one here.";
    refused(what, name, rule, Some(REASON), Again::Never, decision)
}

/// The refusal of what nothing names.
pub(super) fn by_default(what: Thing, name: &str) -> Refusal {
    refused(what, name, DEFAULT_DENY, None, Again::Never, String::new())
}

fn noun(what: Thing) -> &'static str {
    match what {
        Thing::Tool => "tool",
        Thing::Prompt => "prompt",
        Thing::Resource => "resource",
        Thing::Task => "task",
    }
}

/// The refusal of something of this name, or of a session, because a limit is used
/// up.
pub(super) fn limited(
    used: Option<(Thing, &str)>,
    quota: &Quota,
    retry_after: Option<Duration>,
    decision: String,
) -> Refusal {
    let reason = match quota.on_deny() {
        Some(reason) => Cow::Borrowed(reason),
        None => Cow::Owned(allowed_by(quota)),
    };
    let what = match used {
        Some((what, name)) => format!("the {} \"{name}\" was not used", noun(what)),
        None => "no session was begun".to_owned(),
    };
    let again = match (retry_after, quota.period()) {
        (Some(time), _) => format!("Try again in {} s.", in_seconds(time)),
        (None, Period::Concurrent) => "Try again when another call has ended.".to_owned(),
        (None, _) => {
            "Trying the same again will not help; ask for less, or ask the operator.".to_owned()
        }
    };
    let rule = quota.place();
    let text = format!("Policy violation: {what}. {reason} {again} [rule {rule}]");
    let place = Box::new(Place {
        rule: rule.to_owned(),
        reason: reason.into_owned(),
        decision: Some(decision.into()),
        retry_after,
        approval: None,
    });
    match used {
        Some((Thing::Tool, _)) => Refusal::Tool { text, place },
        _ => Refusal::Limited { text, place },
    }
}

/// What a limit allows.
fn allowed_by(quota: &Quota) -> String {
    let max = quota.max();
    let time = match quota.period() {
        Period::Concurrent => return format!("No more than {max} may be under way at once."),
        Period::Calendar(unit) => unit.length().as_secs(),
        Period::Rolling(window) => window.as_secs(),
    };
    match time {
        60 => format!("No more than {max} a minute is allowed."),
        3_600 => format!("No more than {max} an hour is allowed."),
        86_400 => format!("No more than {max} a day is allowed."),
        seconds => format!("No more than {max} in {seconds} s is allowed."),
    }
}

/// The refusal of what may go on and cannot be counted.
pub(super) fn uncounted(rule: &str, decision: String) -> Refusal {
    let reason = match rule {
        LIMITS_FULL => {
            "Too many callers are being counted at the moment, so the call was not made. \
             Try again later, and tell the operator if it goes on."
        }
        APPROVALS_FULL => {
            "Too many calls wait for an approval already, so nobody was asked for this one. \
             Try again when some of them are decided."
        }
        _ => {
            "What the call uses up could not be counted, so it was not made. \
             Try again later, and tell the operator if it goes on."
        }
    };
    unavailable(rule, reason, Some(decision))
}

/// The refusal of what cannot be judged, because the store does not say whose
/// session or task it is.
pub(super) fn unlooked_up() -> Refusal {
    let reason = "It could not be looked up whose session or task this is, so nothing was done. \
                  Try again later, and tell the operator if it goes on.";
    unavailable(STORE, reason, None)
}

/// The refusal of what may go on and cannot be recorded.
pub(crate) fn unrecorded() -> Refusal {
    let reason = "The decision could not be recorded, so the call was not made. \
                  Try again later, and tell the operator if it goes on.";
    unavailable(UNRECORDED, reason, None)
}

fn unavailable(rule: &str, reason: &str, decision: Option<String>) -> Refusal {
    Refusal::Unavailable {
        place: Box::new(Place {
            rule: rule.to_owned(),
            reason: reason.to_owned(),
            decision: decision.map(Into::into),
            retry_after: None,
            approval: None,
        }),
    }
}
