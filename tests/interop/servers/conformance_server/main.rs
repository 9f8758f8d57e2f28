//! A server on rmcp that has the tools, prompts and resources that the MCP conformance suite asks a server for, in both
//! eras: with sessions up to 2025-11-25, without from 2026-07-28 on.
//!
//! It listens on a free port of the loopback interface and says which.

use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::serve::{Listener as _, ListenerExt as _};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;

use self::fixture::Fixture;

mod catalogue;
mod client;
mod content;
mod fixture;
mod notify;
mod prompts;
mod resources;
mod rounds;
mod tasks;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let sessions = Arc::new(LocalSessionManager::default());
    let fixture = Fixture::new(Arc::clone(&sessions))?;
    let mcp = StreamableHttpService::new(
        // A session has a log level of its own; everything else is shared.
        move || Ok(fixture.for_session()),
        sessions,
        // Other host names than those of loopback are refused by default, pages of other origins only when asked.
        StreamableHttpServerConfig::default()
            .with_allowed_origins(["http://localhost:*", "http://127.0.0.1:*"]),
    );

    // A small event must not wait for the one before it to be acknowledged.
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await?
        .tap_io(|stream| _ = stream.set_nodelay(true));
    let address = listener.local_addr()?;
    writeln!(std::io::stderr(), "listening on http://{address}/mcp")?;
    axum::serve(listener, Router::new().nest_service("/mcp", mcp)).await?;
    Ok(())
}
