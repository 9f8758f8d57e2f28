//! What policies say of calls, and of the same call before and after a change.
//!
//! [`tool`] is what one policy says of a tool, and [`mod@conditions`] what its conditions
//! ask; [`compare`] asks two policies about the same, [`calls`] about what was recorded, and
//! [`difference`] is what came of that.

pub(crate) mod calls;
pub(crate) mod compare;
mod conditions;
mod difference;
mod tool;

use mcp_policy::Outcome;

pub(crate) use self::{
    compare::{Certainty, rule_at},
    conditions::conditions,
    difference::{Difference, between, label},
    tool::Said,
};

/// The word for an outcome.
pub(crate) fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allow => "allow",
        Outcome::Hide => "hide",
        Outcome::Ask => "ask",
        // Whatever else there may be some day refuses.
        _ => "deny",
    }
}
