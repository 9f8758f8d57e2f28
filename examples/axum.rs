//! An MCP endpoint in an axum application, guarded by a policy.
//!
//! ```text
//! cargo run --example axum [PORT]
//! ```

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use mcp_policy::{Policy, PolicyLayer};
use serde_json::{Value, json};
use tokio::net::TcpListener;

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

pub(crate) async fn serve(listener: TcpListener) -> Result<(), Error> {
    let policy: Policy = POLICY.parse()?;

    // The layer takes everything that it sees for MCP. So it goes around the
    // MCP route alone, and what is not MCP is added after it.
    let app = Router::new()
        .route("/mcp", post(mcp))
        .layer(PolicyLayer::new(policy))
        .route("/health", get(|| async { "ok" }));

    Ok(axum::serve(listener, app).await?)
}

/// A server of three tools, as small as one can be. It does not know that
/// there is a policy.
#[allow(clippy::indexing_slicing, reason = "what is not there is null")]
async fn mcp(Json(message): Json<Value>) -> Response {
    let Some(id) = message.get("id") else {
        return StatusCode::ACCEPTED.into_response();
    };
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-06-18",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "axum-example", "version": "1.0.0" },
        }),
        Some("tools/list") => json!({ "tools": [
            { "name": "add", "inputSchema": { "type": "object" } },
            { "name": "delete_everything", "inputSchema": { "type": "object" } },
            { "name": "debug_dump", "inputSchema": { "type": "object" } },
        ]}),
        Some("tools/call") => {
            let arguments = &message["params"]["arguments"];
            let number = |name: &str| arguments[name].as_i64().unwrap_or_default();
            let text = match message["params"]["name"].as_str() {
                Some("add") => number("a").saturating_add(number("b")).to_string(),
                name => format!("{} has run", name.unwrap_or("nothing")),
            };
            json!({ "content": [{ "type": "text", "text": text }] })
        }
        _ => {
            let error = json!({ "code": -32601, "message": "Method not found" });
            return Json(json!({ "jsonrpc": "2.0", "id": id, "error": error })).into_response();
        }
    };
    Json(json!({ "jsonrpc": "2.0", "id": id, "result": result })).into_response()
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let port = std::env::args().nth(1).as_deref().unwrap_or("0").parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    println!("listening on {url}; try:");
    for tool in ["add", "delete_everything", "debug_dump"] {
        println!(
            "  curl {url} -H 'content-type: application/json' -d '{}'",
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
                    "params": { "name": tool, "arguments": { "a": 2, "b": 3 } } })
        );
    }
    serve(listener).await
}
