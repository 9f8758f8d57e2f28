//! What may be typed about a configuration.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What can be done with grants.
#[derive(Debug, Subcommand)]
pub(crate) enum GrantCommand {
    /// Make a token for a server, show it once, and write its hash
    Add(GrantAddArgs),
    /// Show who may use what
    List(GrantListArgs),
    /// Let the token be good for nothing any more
    Revoke(GrantOneArgs),
    /// Make another token in place of the one that there is, and show it once
    Rotate(GrantOneArgs),
}

/// The configuration that a command is about when nothing else is said.
const DEFAULT_CONFIG: &str = "gateway.toml";

/// The options of `grant add`.
#[derive(Args, Debug)]
pub(crate) struct GrantAddArgs {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,

    /// Who it is for, as records and limits name them
    #[arg(long, value_name = "LABEL")]
    pub(crate) label: String,

    /// The server that may be used
    #[arg(long, value_name = "NAME")]
    pub(crate) server: String,

    /// The policy document, as a path from the folder of the configuration; without it
    /// every call is refused
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<String>,

    /// What conditions of the policy see as `caller.claims.NAME`; may be repeated
    #[arg(long = "claim", value_name = "NAME=TEXT")]
    pub(crate) claims: Vec<String>,
}

/// The options of `grant list`.
#[derive(Args, Debug)]
pub(crate) struct GrantListArgs {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,
}

/// The options of `grant revoke` and `grant rotate`.
#[derive(Args, Debug)]
pub(crate) struct GrantOneArgs {
    /// Which grant
    #[arg(value_name = "LABEL")]
    pub(crate) label: String,

    /// The configuration
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,
}

/// Whether something is locked down.
#[derive(Debug, Subcommand)]
pub(crate) enum LockdownCommand {
    /// Refuse everything, or one server, one grant or one caller
    On(LockdownArgs),
    /// End that
    Off(LockdownArgs),
}

/// The options of `lockdown`.
#[derive(Args, Debug)]
pub(crate) struct LockdownArgs {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,

    /// Only this server
    #[arg(long, value_name = "NAME", conflicts_with_all = ["grant", "caller"])]
    pub(crate) server: Option<String>,

    /// Only this grant
    #[arg(long, value_name = "LABEL", conflicts_with = "caller")]
    pub(crate) grant: Option<String>,

    /// Only this caller, for those who have no grant but a token of an issuer: as records
    /// name them, ISSUER#NAME, or NAME alone, whichever issuer calls them so
    #[arg(long, value_name = "CALLER")]
    pub(crate) caller: Option<String>,
}
