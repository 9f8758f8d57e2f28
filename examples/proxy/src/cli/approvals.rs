//! What may be typed about calls that wait for an approval.

use std::{fmt, net::SocketAddr};

use clap::{Args, Subcommand};
use mcp_policy::{ApprovalId, ApprovalState};

use crate::admin::DEFAULT_ADMIN;

/// What can be done with what waits for an approval.
#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// Show what waits, or is approved and not used yet
    List(ApprovalsArgs),
    /// Show one request, with all of its arguments
    Show(ApprovalArgs),
    /// Let exactly this call be made, once
    Approve(DecideArgs),
    /// Have this call refused
    Deny(DecideArgs),
}

/// The options of `approvals list`.
#[derive(Args, Debug)]
pub(crate) struct ApprovalsArgs {
    /// Those that are in this state instead
    #[arg(long, value_parser = ApprovalState::ALL.map(ApprovalState::as_str))]
    pub(crate) state: Option<String>,

    /// The address that the proxy was given with --admin
    #[arg(long, value_name = "ADDR", default_value_t = DEFAULT_ADMIN)]
    pub(crate) admin: SocketAddr,
}

/// The options of `approvals show`.
#[derive(Args, Debug)]
pub(crate) struct ApprovalArgs {
    /// Which request, by its id in the list
    #[arg(value_name = "ID")]
    pub(crate) id: ApprovalId,

    /// The address that the proxy was given with --admin
    #[arg(long, value_name = "ADDR", default_value_t = DEFAULT_ADMIN)]
    pub(crate) admin: SocketAddr,
}

/// The options of `approvals approve` and `approvals deny`.
#[derive(Args)]
pub(crate) struct DecideArgs {
    /// Which request, by its id in the list
    #[arg(value_name = "ID")]
    pub(crate) id: ApprovalId,

    /// What to tell the caller about it: its first 1000 characters
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,

    /// The address that the proxy was given with --admin
    #[arg(long, value_name = "ADDR", default_value_t = DEFAULT_ADMIN)]
    pub(crate) admin: SocketAddr,
}

// Not derived, because a note may repeat an argument.
impl fmt::Debug for DecideArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecideArgs")
            .field("id", &self.id)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}
