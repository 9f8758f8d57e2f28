//! A server made with rmcp, the official Rust SDK, guarded by a policy.
//!
//! ```text
//! cargo run --example rmcp [PORT]
//! ```

use axum::Router;
use mcp_policy::{Policy, PolicyLayer};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{ServerCapabilities, ServerConfig};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, schemars, tool, tool_handler, tool_router};
use tokio::net::TcpListener;
use tower::ServiceBuilder;

type Error = Box<dyn std::error::Error + Send + Sync>;

const POLICY: &str = r#"{
    "version": "1",
    "default": "deny",
    "tools": {
        "add": {},
        "delete_everything": { "action": "deny", "reason": "Deleting is for people." },
        "debug_dump": { "action": "hide" }
    }
}"#;

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct Sum {
    a: i64,
    b: i64,
}

#[derive(Clone, Debug)]
struct Tools;

#[tool_router]
impl Tools {
    #[tool(description = "Adds two numbers")]
    fn add(&self, Parameters(Sum { a, b }): Parameters<Sum>) -> String {
        a.saturating_add(b).to_string()
    }

    #[tool(description = "Deletes everything")]
    fn delete_everything(&self) -> String {
        println!("delete_everything is running");
        "everything is gone".to_owned()
    }

    #[tool(description = "Shows what nobody should see")]
    fn debug_dump(&self) -> String {
        println!("debug_dump is running");
        "the password is 1234".to_owned()
    }
}

#[tool_handler(router = Self::tool_router())]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

pub(crate) async fn serve(listener: TcpListener) -> Result<(), Error> {
    let policy: Policy = POLICY.parse()?;
    let mcp: StreamableHttpService<Tools, LocalSessionManager> = StreamableHttpService::new(
        || Ok(Tools),
        std::sync::Arc::default(),
        StreamableHttpServerConfig::default(),
    );

    // Directly around the server: sessions, event streams and resumed streams
    // all go through the layer, and nothing else does.
    let guarded = ServiceBuilder::new()
        .layer(PolicyLayer::new(policy))
        .service(mcp);
    let app = Router::new().nest_service("/mcp", guarded);

    Ok(axum::serve(listener, app).await?)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let port = std::env::args().nth(1).as_deref().unwrap_or("0").parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    println!("listening on {url}; give that address to any MCP client, for example:");
    println!("  npx @modelcontextprotocol/inspector --cli {url} --method tools/list");
    println!(
        "  npx @modelcontextprotocol/inspector --cli {url} --method tools/call --tool-name delete_everything"
    );
    serve(listener).await
}
