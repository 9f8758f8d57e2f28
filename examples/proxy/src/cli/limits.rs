//! What may be typed about what limits have counted.

use clap::{Args, Subcommand};

use crate::{environment::STATE, secret::Secret};

/// What can be done with what limits have counted.
#[derive(Debug, Subcommand)]
pub(crate) enum LimitsCommand {
    /// Show what is used up
    List(ListArgs),
    /// Forget what is used up, so that it can be used again
    Reset(ResetArgs),
}

/// The options of `limits list`.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) meant: Meant,
}

/// The options of `limits reset`.
#[derive(Args, Debug)]
pub(crate) struct ResetArgs {
    #[command(flatten)]
    pub(crate) meant: Meant,

    /// All of it
    #[arg(long, conflicts_with_all = ["server", "policy", "rule", "caller"])]
    pub(crate) all: bool,
}

/// Where it is counted, and what of it is meant: what is everything that is said.
#[derive(Args, Debug)]
pub(crate) struct Meant {
    /// Where the proxy keeps it
    #[arg(long, value_name = "STATE", env = STATE, hide_env_values = true, default_value = "memory")]
    pub(crate) state: Secret,

    /// Of this server, by the name that it has in the log: its host and port, or its
    /// program
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,

    /// Of the policy with this name
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,

    /// Of the limit at this place of the policy, such as `/tools/send/limits/rate`
    #[arg(long, value_name = "PLACE")]
    pub(crate) rule: Option<String>,

    /// Of this caller
    #[arg(long, value_name = "ID")]
    pub(crate) caller: Option<String>,
}
