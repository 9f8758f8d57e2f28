//! What may be typed to attack a gateway.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use clap::Args;

use crate::secret::Secret;

/// Where the server behind an attacked gateway listens when nothing else is said.
const DEFAULT_ATTACKED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9700);

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
