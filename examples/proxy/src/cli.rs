//! What may be typed.

mod gateway;

use std::{convert::Infallible, ffi::OsString, fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{Args, CommandFactory, Parser, Subcommand};

use jiff::Timestamp;
use mcp_policy::{ApprovalId, ApprovalState, Verdict};

pub(crate) use self::gateway::{
    GrantAddArgs, GrantCommand, GrantListArgs, GrantOneArgs, LockdownArgs, LockdownCommand,
};
use crate::{
    admin::DEFAULT_ADMIN,
    audit::{Place, meant::moment},
    environment::STATE,
    failure::Failure,
};

/// Where the proxy listens when nothing else is said.
pub(crate) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8787);

/// Where the server behind an attacked gateway listens when nothing else is said.
const DEFAULT_ATTACKED: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9700);

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
#[derive(Debug, Subcommand)]
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
    /// could not be asked; 2: warnings, with --strict.
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

/// The options of `attack`.
#[derive(Args, Debug)]
pub(crate) struct AttackArgs {
    /// The MCP endpoint of the gateway, over http
    #[arg(value_name = "URL", required_unless_present = "show_policy")]
    pub(crate) url: Option<Secret>,

    /// Where the recording server listens, at any path: what the gateway has as its
    /// upstream
    #[arg(long, value_name = "ADDR", default_value_t = DEFAULT_ATTACKED)]
    pub(crate) listen: SocketAddr,

    /// Which of the policies the gateway enforces
    #[arg(long, value_name = "NAME", default_value = "standard")]
    pub(crate) policy: String,

    /// Print that policy, and attack nothing
    #[arg(long, conflicts_with = "url")]
    pub(crate) show_policy: bool,

    /// A header that the gateway asks for, for example a token; may be repeated
    #[arg(long = "header", value_name = "K: V")]
    pub(crate) headers: Vec<Secret>,

    /// Wait so long until an allowed call goes through, for gateways that do not start
    /// before the server behind them does
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) wait: u16,

    /// Other requests, in a file like this project's `tests/attacks/cases.json`
    #[arg(long, value_name = "FILE")]
    pub(crate) cases: Option<PathBuf>,
}

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

/// The options of the demo.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// A policy of yours for the demo, instead of its own
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,

    /// Where the demo listens [default: 127.0.0.1:8787]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
}

/// What a configuration says in place of the command line.
const OF_ONE_SERVER: [&str; 17] = [
    "policy",
    "listen",
    "headers",
    "allowed_hosts",
    "allowed_origins",
    "allow_unauthenticated",
    "admin",
    "metrics",
    "public_url",
    "key_file",
    "webhook",
    "audit",
    "audit_keep",
    "server_name",
    "sessions_per_minute",
    "show_server_stderr",
    "pass_authorization",
];

/// The options of `serve`.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// The policy document
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    pub(crate) policy: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) server: Guarded,

    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value_t = DEFAULT_LISTEN)]
    pub(crate) listen: SocketAddr,

    /// A header for the upstream, for example a token; may be repeated
    #[arg(long = "header", value_name = "K: V", conflicts_with = "command")]
    pub(crate) headers: Vec<Secret>,

    /// A host name by which callers reach this proxy, or operators its --admin, with or
    /// without a port; loopback names and the listen address always work
    #[arg(long = "allowed-host", value_name = "HOST")]
    pub(crate) allowed_hosts: Vec<String>,

    /// An origin whose web pages may call this proxy, for example
    /// `https://app.example.com`; by default none may
    #[arg(long = "allowed-origin", value_name = "ORIGIN")]
    pub(crate) allowed_origins: Vec<String>,

    /// Listen on an address that others can reach, although nobody has to
    /// prove who they are
    #[arg(long)]
    pub(crate) allow_unauthenticated: bool,

    /// Where operators approve calls that wait for that [default: 127.0.0.1:8788 when
    /// the policy asks for approvals]; they and their tokens are in the environment
    /// variable MCP_POLICY_ADMIN_TOKENS, as `alice:TOKEN,bob:TOKEN`
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<SocketAddr>,

    /// Tell monitoring at this address, without a token, what was counted (/metrics, for
    /// Prometheus), that this program lives (/healthz), and whether it can do its work
    /// (/readyz): names of tools and servers, so an address that only monitoring reaches
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<SocketAddr>,

    /// The URL by which callers and their browsers reach this proxy, for example
    /// `https://gateway.example.com`: what is at `/approvals/ID` below it says what has
    /// become of a call that waits for an approval
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,

    /// Read from this file the key that seals what clients bring back when a call takes
    /// several rounds, or from the environment variable MCP_POLICY_KEY: 64 hexadecimal
    /// digits, or several keys with commas between them, of which the first seals
    /// [default: one that is kept in --state, or lasts as long as this process]
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,

    /// Tell this URL of every call that waits for an approval, and of what becomes of it,
    /// signed as Standard Webhooks says with the secret in the environment variable
    /// MCP_POLICY_WEBHOOK_SECRET; arguments are not told
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<Secret>,

    #[command(flatten)]
    pub(crate) audit: AuditArgs,

    /// Where to keep what limits count, whose session is whose and what waits for an
    /// approval: `memory`, `sqlite:PATH`, or the URL of a Redis or Valkey server
    #[arg(long, value_name = "STATE", env = STATE, hide_env_values = true, default_value = "memory")]
    pub(crate) state: Secret,

    /// What the server is called in records and where it is counted
    ///
    /// Servers that are different and share a --state need different names
    /// [default: its host and port, or its program].
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,

    /// Sessions that one caller may begin in a minute; callers that share an address
    /// are one
    #[arg(long, value_name = "NUMBER", default_value_t = 60)]
    pub(crate) sessions_per_minute: u32,

    /// Show in the log what the server writes to stderr, which may hold what the
    /// callers sent to it; else it is discarded
    #[arg(long, conflicts_with = "upstream")]
    pub(crate) show_server_stderr: bool,

    /// Let the callers' Authorization, cookies and forwarding headers through
    /// to the upstream
    #[arg(long, conflicts_with = "command")]
    pub(crate) pass_authorization: bool,
}

/// Where decisions are recorded.
#[derive(Args, Debug)]
pub(crate) struct AuditArgs {
    /// Record every decision and what came of it: append it to this file as JSON lines,
    /// or keep it in an SQLite file, with `sqlite:PATH`
    #[arg(long, value_name = "FILE")]
    pub(crate) audit: Option<Place>,

    /// For how many days `--audit sqlite:PATH` keeps it [default: 90]
    #[arg(long, value_name = "DAYS", requires = "audit",
        value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) audit_keep: Option<u32>,
}

/// What `serve` guards: one server, or many.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Guarded {
    /// A configuration of many servers, and of who may use them by which policy; it says
    /// everything but --state
    #[arg(long, value_name = "FILE", conflicts_with_all = OF_ONE_SERVER)]
    pub(crate) config: Option<PathBuf>,

    /// The MCP endpoint to guard, for example `http://127.0.0.1:3000/mcp`
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<Secret>,

    /// The stdio server to start for each session, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

// Not derived, because arguments of servers tend to hold credentials.
impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("config", &self.config)
            .field("upstream", &self.upstream)
            .field("command", &self.command.first())
            .finish_non_exhaustive()
    }
}

/// The options of `stdio`.
#[derive(Args)]
pub(crate) struct StdioArgs {
    /// The policy document
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,

    #[command(flatten)]
    pub(crate) audit: AuditArgs,

    /// Where to keep what limits count: `memory`, `sqlite:PATH`, or the URL of a Redis
    /// or Valkey server
    #[arg(long, value_name = "STATE", env = STATE, hide_env_values = true, default_value = "memory")]
    pub(crate) state: Secret,

    /// The server to start, and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

// Not derived, because arguments of servers tend to hold credentials.
impl fmt::Debug for StdioArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StdioArgs")
            .field("policy", &self.policy)
            .field("audit", &self.audit)
            .field("command", &self.command.first())
            .finish_non_exhaustive()
    }
}

/// The options of `check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// The policy document, or a configuration
    #[arg(value_name = "FILE")]
    pub(crate) policy: PathBuf,

    #[command(flatten)]
    pub(crate) offering: Offering,

    /// A header for the upstream, for example a token; may be repeated
    #[arg(long = "header", value_name = "K: V", requires = "upstream")]
    pub(crate) headers: Vec<Secret>,

    /// End with exit code 2 if there are warnings
    #[arg(long)]
    pub(crate) strict: bool,
}

/// Where `check` gets the tools of a server from: at most one of these.
#[derive(Args)]
#[group(multiple = false)]
pub(crate) struct Offering {
    /// The tools of the server: what it answered to `tools/list`
    #[arg(long, value_name = "TOOLS.json")]
    pub(crate) tools: Option<PathBuf>,

    /// The MCP endpoint to ask for its tools
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<Secret>,

    /// The stdio server to start and ask for its tools, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

impl Offering {
    /// Whether there are any.
    pub(crate) fn is_any(&self) -> bool {
        self.tools.is_some() || self.upstream.is_some() || !self.command.is_empty()
    }
}

// Not derived, because arguments of servers tend to hold credentials.
impl fmt::Debug for Offering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offering")
            .field("tools", &self.tools)
            .field("upstream", &self.upstream)
            .field("command", &self.command.first())
            .finish_non_exhaustive()
    }
}

/// The options of `scan`.
#[derive(Args, Debug)]
pub(crate) struct ScanArgs {
    #[command(flatten)]
    pub(crate) servers: Scanned,

    /// A header for the upstream, for example a token; may be repeated
    #[arg(long = "header", value_name = "K: V", requires = "upstream")]
    pub(crate) headers: Vec<Secret>,

    /// The policy that the server is behind; with --client-config the folder in which
    /// each server has one, as --write makes it
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,

    /// Write the recommended policy to this file; with --client-config one for each
    /// server, into this folder. With --policy and --pin that policy instead, with new
    /// pins and otherwise as it is
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,

    /// Write over files that are there
    #[arg(long, requires = "write")]
    pub(crate) force: bool,

    /// Approve what is there: put the digests of all tools and of the instructions into
    /// what is written, and the definitions themselves beside it, so that what changes
    /// later can be shown; without --write, print the digests
    #[arg(long)]
    pub(crate) pin: bool,
}

/// The servers that `scan` asks: one of these at least.
#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Scanned {
    /// The MCP endpoint to ask
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<Secret>,

    /// The configuration of an MCP client, such as `.mcp.json`: all servers in it are
    /// asked; may be repeated
    ///
    /// As a client does, this RUNS the commands in it, with this program's environment,
    /// and puts the environment variables that it names into addresses, headers and
    /// arguments. So give it no file that you would not give to a client.
    #[arg(long = "client-config", value_name = "FILE")]
    pub(crate) client_configs: Vec<PathBuf>,

    /// The stdio server to start and ask, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

// Not derived, because arguments of servers tend to hold credentials.
impl fmt::Debug for Scanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanned")
            .field("upstream", &self.upstream)
            .field("client_configs", &self.client_configs)
            .field("command", &self.command.first())
            .finish_non_exhaustive()
    }
}

/// The options of `explain`.
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// The policy document
    #[arg(value_name = "FILE")]
    pub(crate) policy: PathBuf,

    /// The call, as `{"name": "…", "arguments": {…}}`; or a prompt, as
    /// `{"prompt": "…"}`; or a resource, as `{"uri": "…"}`
    #[arg(long, value_name = "CALL")]
    pub(crate) call: Secret,

    /// Who calls [default: nobody who is known]
    #[arg(long, value_name = "ID")]
    pub(crate) caller: Option<String>,

    /// The tools of the server, by which `risk` and `pins` judge: what it answered to
    /// `tools/list`
    #[arg(long, value_name = "TOOLS.json")]
    pub(crate) tools: Option<PathBuf>,
}

/// The options of `test`.
#[derive(Args, Debug)]
pub(crate) struct TestArgs {
    /// The policy document
    #[arg(value_name = "FILE")]
    pub(crate) policy: PathBuf,

    /// The cases, a JSON list
    #[arg(value_name = "CASES.json")]
    pub(crate) cases: PathBuf,

    /// The tools of the server, by which `risk` and `pins` judge: what it answered to
    /// `tools/list`
    #[arg(long, value_name = "TOOLS.json")]
    pub(crate) tools: Option<PathBuf>,
}

/// The options of `diff`.
#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// The policy document as it was
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,

    /// The policy document as it is to be
    #[arg(value_name = "NEW")]
    pub(crate) new: PathBuf,

    /// What `serve --audit` writes: a file of lines, or `sqlite:PATH`
    #[arg(long, value_name = "LOG", conflicts_with = "cases")]
    pub(crate) audit: Option<Place>,

    /// Cases, as `test` reads them; what they expect does not matter
    #[arg(long, value_name = "CASES.json")]
    pub(crate) cases: Option<PathBuf>,

    /// The tools of the server, by which `risk` and `pins` judge: what it answered to
    /// `tools/list`
    #[arg(long, value_name = "TOOLS.json")]
    pub(crate) tools: Option<PathBuf>,
}

/// The options of `replay`.
#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// The policy document as it is to be
    #[arg(value_name = "NEW")]
    pub(crate) policy: PathBuf,

    /// What `serve --audit` writes: a file of lines, or `sqlite:PATH`
    #[arg(long, value_name = "LOG")]
    pub(crate) audit: Place,

    /// The tools of the server, by which `risk` and `pins` judge: what it answered to
    /// `tools/list`
    #[arg(long, value_name = "TOOLS.json")]
    pub(crate) tools: Option<PathBuf>,
}

/// The options of `log`.
#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    /// What `serve --audit` writes: a file of lines, or `sqlite:PATH`
    #[arg(long, value_name = "LOG")]
    pub(crate) audit: Place,

    #[command(flatten)]
    pub(crate) meant: MeantMessages,

    /// Show the newest so many
    #[arg(long, value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) limit: u32,

    /// Go on with what is recorded from now on
    ///
    /// A message is shown once it has ended; one that takes longer is shown before, too.
    #[arg(long, conflicts_with = "until")]
    pub(crate) follow: bool,
}

/// Which recorded messages are meant: those of which all that is said is true.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct MeantMessages {
    /// To the server of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,

    /// Of this caller
    #[arg(long, value_name = "ID")]
    pub(crate) caller: Option<String>,

    /// About this tool, prompt or resource
    #[arg(long, visible_alias = "tool", value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// With this verdict
    #[arg(long, value_parser = Verdict::ALL.map(Verdict::as_str))]
    pub(crate) verdict: Option<String>,

    /// Decided by what stands at this place of the policy or below it, such as
    /// `/tools/send`, or by what is called so, such as `(default deny)`
    #[arg(long, value_name = "PLACE")]
    pub(crate) rule: Option<String>,

    /// The one with this id, which refusals carry as `decisionId`
    #[arg(long, value_name = "ID")]
    pub(crate) decision: Option<String>,

    /// Decided at this time or later: `2026-11-24T22:10:00Z`, the day `2026-11-24`, or how
    /// long ago, like `15m`, `2h` or `7d`
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<Timestamp>,

    /// Decided before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) until: Option<Timestamp>,
}

/// An option that may hold a credential.
///
/// It is taken as it comes and looked at later, because clap repeats a value
/// that it refuses, and `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_header_value_is_not_in_debug() {
        let cli = Cli::parse_from([
            "mcp-policy-proxy",
            "serve",
            "--policy=p.json",
            "--upstream=http://user:hunter2@localhost/",
            "--header=authorization: Bearer hunter2",
        ]);
        assert!(!format!("{cli:?}").contains("hunter2"));
    }

    #[test]
    fn an_argument_of_a_call_is_not_in_debug() {
        let call = r#"--call={"name":"a","arguments":{"b":"hunter2"}}"#;
        let cli = Cli::parse_from(["mcp-policy-proxy", "explain", "p.json", call]);
        assert!(!format!("{cli:?}").contains("hunter2"));
    }

    #[test]
    fn an_argument_of_the_server_is_not_in_debug() {
        for start in [
            ["stdio", "--policy=p.json"],
            ["serve", "--policy=p.json"],
            ["check", "p.json"],
            ["scan", "--pin"],
        ] {
            let start = ["mcp-policy-proxy"].into_iter().chain(start);
            let cli = Cli::parse_from(start.chain(["--", "npx", "--token=hunter2"]));
            let shown = format!("{cli:?}");
            assert!(shown.contains("npx") && !shown.contains("hunter2"));
        }
    }

    #[test]
    fn there_is_one_server_to_guard() {
        let parse = |more: &[&str]| {
            let start = ["mcp-policy-proxy", "serve", "--policy=p.json"];
            Cli::try_parse_from(start.iter().chain(more)).map_err(|error| error.kind())
        };
        use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument};
        assert!(parse(&["--upstream=u", "--header=a: b"]).is_ok());
        assert!(parse(&["--", "npx", "--header=a: b"]).is_ok());
        for nothing in [&[] as &[&str], &["--"]] {
            assert_eq!(parse(nothing).unwrap_err(), MissingRequiredArgument);
        }
        assert_eq!(
            parse(&["--upstream=u", "--", "npx"]).unwrap_err(),
            ArgumentConflict
        );
        let config = |more: &[&str]| {
            let start = ["mcp-policy-proxy", "serve", "--config=g.toml"];
            Cli::try_parse_from(start.iter().chain(more)).is_ok()
        };
        assert!(config(&[]) && config(&["--state=memory"]));
        for option in ["--header=a: b", "--pass-authorization"] {
            assert!(parse(&[option, "--", "npx"]).is_err(), "{option}");
        }
    }

    #[test]
    fn nothing_is_said_beside_a_configuration_that_would_not_be_heard() {
        let cli = Cli::command();
        let serve = cli.find_subcommand("serve").unwrap();
        let mut asked = 0;
        for option in serve.get_opts() {
            let name = option.get_long().unwrap();
            if ["config", "state", "json", "help"].contains(&name) {
                continue;
            }
            let value = match name {
                "listen" | "admin" | "metrics" => "127.0.0.1:1",
                _ => "1",
            };
            let typed = match option.get_action().takes_values() {
                true => format!("--{name}={value}"),
                false => format!("--{name}"),
            };
            let start = ["mcp-policy-proxy", "serve", "--config=g.toml", &typed];
            let error = Cli::try_parse_from(start).unwrap_err();
            assert_eq!(
                error.kind(),
                clap::error::ErrorKind::ArgumentConflict,
                "{typed}"
            );
            asked += 1;
        }
        assert!(asked > 15, "{asked}");
    }

    #[test]
    fn what_the_environment_says_and_help_does_not_show_is_kept_from_servers() {
        let mut commands = vec![Cli::command()];
        let mut found = 0;
        while let Some(command) = commands.pop() {
            for option in command
                .get_arguments()
                .filter(|one| one.is_hide_env_values_set())
            {
                let variable = option.get_env().unwrap().to_str().unwrap();
                assert!(
                    crate::environment::SECRETS.contains(&variable),
                    "{variable}"
                );
                found += 1;
            }
            commands.extend(command.get_subcommands().cloned());
        }
        assert!(found > 1, "{found}");
    }
}
