//! What may be typed to find out what agents can call.

use std::{ffi::OsString, fmt, path::PathBuf};

use clap::Args;

use crate::secret::Secret;

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
