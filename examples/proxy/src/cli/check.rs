//! What may be typed about one policy.

use std::{ffi::OsString, fmt, path::PathBuf};

use clap::Args;

use crate::secret::Secret;

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
