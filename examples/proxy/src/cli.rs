//! What may be typed.

mod approvals;
mod attack;
mod check;
mod gateway;
mod limits;
mod recorded;
mod scan;
mod serve;
#[cfg(test)]
mod tests;

use std::ffi::OsString;

use clap::{CommandFactory, Parser, Subcommand};

pub(crate) use self::{
    approvals::{ApprovalsCommand, DecideArgs},
    attack::AttackArgs,
    check::{CheckArgs, ExplainArgs, TestArgs},
    gateway::{
        GrantAddArgs, GrantCommand, GrantListArgs, GrantOneArgs, LockdownArgs, LockdownCommand,
    },
    limits::{LimitsCommand, Meant},
    recorded::{DiffArgs, LogArgs, ReplayArgs},
    scan::ScanArgs,
    serve::{DemoArgs, ServeArgs, StdioArgs},
};
use crate::failure::Failure;

/// Enforces a JSON policy in front of MCP servers.
///
/// Without a subcommand it starts a demo: an embedded MCP server behind a
/// small policy or one of yours, and commands to try on it.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) demo: DemoArgs,

    /// Answer in JSON, on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What is to be said of an option of the demo that stands before a subcommand.
///
/// Asked before anything else, because what a subcommand cannot do without is
/// not behind it then, and clap would say that it is nowhere.
pub(crate) fn misplaced(typed: impl IntoIterator<Item = OsString>) -> Option<Failure> {
    let lenient = Cli::command().ignore_errors(true);
    let matches = lenient.try_get_matches_from(typed).ok()?;
    let subcommand = matches.subcommand_name()?;
    let option = ["policy", "listen"]
        .into_iter()
        .find(|option| matches.contains_id(option))?;
    Some(Failure::usage(format!(
        "`--{option}` before `{subcommand}` is for the demo: put it after `{subcommand}`"
    )))
}

/// What the program can do.
///
/// The options of each are put together only once it is asked for: those of all of them
/// would be the most that a start does, and touches.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Guard an MCP server for clients that speak streamable HTTP
    ///
    /// The server is one that speaks streamable HTTP too (--upstream), or a
    /// command that speaks stdio (after `--`), which is started once for each
    /// session of a client. Each request is a span for the OpenTelemetry collector
    /// that OTEL_EXPORTER_OTLP_ENDPOINT names, if it is set.
    Serve(Box<ServeArgs>),
    /// Guard an MCP server that a client starts and talks to over stdio
    ///
    /// The server's stderr is this program's own: what the server writes there
    /// arrives where it would without this program, and is no part of its log.
    Stdio(StdioArgs),
    /// Show what is wrong or doubtful in a policy, or in a configuration
    ///
    /// A file whose name ends in `.toml` is a configuration, as `serve --config` takes it.
    /// With the tools of a server, from a file or asked of the server itself, it
    /// also shows where the policy does not fit them, and what it says of each.
    /// Exit code 0: nothing found, or warnings only; 1: errors, or the server
    /// could not be asked; 2: warnings, with --strict. A wrong command line ends with 2,
    /// too, and with nothing on stdout.
    Check(CheckArgs),
    /// Show everything that an agent can call, how dangerous it is and why, and a policy
    /// to begin with
    ///
    /// Servers are asked for their tools, and no tool is called; those that are commands
    /// are started for it. With --policy it also shows what has changed since somebody approved it (see --pin), and what that
    /// policy says of each tool. Exit code 0: all servers were asked; 1: some could not
    /// be; 2: a file cannot be used, or is there already.
    Scan(ScanArgs),
    /// Show what a policy says of one call, and everything it looked at for that
    ///
    /// No server is asked. Exit code 0, whatever is decided; 2 if the policy does
    /// not load or the call cannot be read.
    Explain(ExplainArgs),
    /// Test a policy: whether it decides as a list of cases expects
    ///
    /// Exit code 0: all do; 1: some do not; 2: they could not be run.
    Test(TestArgs),
    /// Show which calls a new policy decides otherwise than an old one
    ///
    /// The calls are cases of a test, or those of an audit file; without either,
    /// the names that the policies mention. An audit file has no arguments: what
    /// depends on them is counted as such. Exit code 0: no change is known; 1:
    /// some calls are decided otherwise; 2: they could not be compared.
    Diff(DiffArgs),
    /// Show which recorded calls a new policy would decide otherwise than they were
    ///
    /// It is compared with what was recorded, whatever policy decided then. Records
    /// have no arguments: what depends on them, or on who calls, is counted as such. Limits
    /// are not replayed: what is said holds for calls that none refuses. Exit code 0: no
    /// change is known; 1: some calls would be decided otherwise; 2: they could not be
    /// compared.
    Replay(ReplayArgs),
    /// Show what was recorded with --audit, the newest messages last
    ///
    /// Of each message: when it came, what was decided, what came of it and how long
    /// that took, the caller, the server, what it named, and the rule that decided. Exit
    /// code 0: done; 2: it cannot be read.
    Log(LogArgs),
    /// Show what limits have counted, or have it forgotten
    ///
    /// Where the proxy keeps it has to be said as it was to the proxy, with --state, or as its configuration has it.
    /// Exit code 0: done; 1: it cannot be reached.
    #[command(subcommand)]
    Limits(LimitsCommand),
    /// Show which calls wait for an approval at a running proxy, and decide about them
    ///
    /// Your token has to be in the environment variable MCP_POLICY_ADMIN_TOKEN. Exit
    /// code 0: done; 1: the proxy cannot be reached, or refuses.
    #[command(subcommand)]
    Approvals(ApprovalsCommand),
    /// Attack a gateway, of any make, and show what got through to the server behind it
    ///
    /// That server is part of this command: let the gateway have it as its upstream, and
    /// give the gateway the policy that --show-policy prints. The requests are those of
    /// this project's own tests; most try to get a refused tool executed, the others are
    /// allowed and have to go through. Exit code 0: nothing that the policy refuses ran, and
    /// everything allowed did; 1: not so, or no allowed call went through at all, so that
    /// nothing is known; 2: the gateway could not be attacked.
    Attack(AttackArgs),
    /// Say who may use a server of a configuration, and by which policy
    ///
    /// What is changed holds from the next call on, at a proxy that runs, too. Exit code
    /// 0: done; 1: the file cannot be written; 2: nothing was changed.
    #[command(subcommand)]
    Grant(GrantCommand),
    /// Refuse everything that callers of a configuration ask for, or some of it
    ///
    /// It holds from the next call on, until it is switched off. Exit code 0: done; 1: the
    /// file cannot be written; 2: nothing was changed.
    #[command(subcommand)]
    Lockdown(LockdownCommand),
}
