//! What may be typed to guard servers.

use std::{ffi::OsString, fmt, net::SocketAddr, path::PathBuf};

use clap::Args;

use crate::{audit::Place, environment::STATE, listening::DEFAULT_LISTEN, secret::Secret};

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

    /// What the server is called in records and where it is counted
    ///
    /// Servers that are different and share a --state need different names
    /// [default: its program].
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,

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
            .field("server_name", &self.server_name)
            .field("command", &self.command.first())
            .finish_non_exhaustive()
    }
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
