//! Commands that are about policies, and guard nothing.
//!
//! [`mod@check`] shows what is wrong with one, [`mod@explain`] what it says of a call,
//! [`mod@test`] whether it says what was expected, and [`mod@diff`] what changes from one
//! to another, or from what was recorded. What they are given is read by [`input`],
//! [`call`] and [`cases`]; the tools of a server come from [`offered`], and [`mod@scan`]
//! shows how dangerous they are. [`mod@log`] shows what was recorded, [`mod@limits`] is
//! about what was counted, and [`mod@approvals`] about what waits at a proxy;
//! [`mod@grants`] and [`mod@lockdown`] are about who may use one that has a configuration.
//! [`mod@attack`] asks whether a gateway of any make keeps a policy.

mod approvals;
mod attack;
mod call;
mod cases;
mod check;
mod diff;
mod explain;
mod grants;
mod input;
mod limits;
mod lockdown;
mod log;
mod offered;
mod scan;
mod show;
mod test;

use std::path::Path;

use mcp_policy::Policy;

pub(crate) use self::{
    approvals::run as approvals,
    attack::run as attack,
    check::run as check,
    diff::{replay, run as diff},
    explain::run as explain,
    grants::run as grants,
    limits::run as limits,
    lockdown::run as lockdown,
    log::run as log,
    scan::run as scan,
    test::run as test,
};
use crate::failure::Failure;

/// Loads a policy that a command cannot do without.
fn load(path: &Path) -> Result<Policy, Failure> {
    Policy::from_path(path).map_err(|error| Failure::policy(path, error))
}
