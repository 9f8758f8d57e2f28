//! A server made with tower-mcp, guarded by a policy.
//!
//! ```text
//! cargo run --manifest-path examples/tower-mcp/Cargo.toml [PORT]
//! ```

use axum::Router;
use mcp_policy::{LoadError, Policy, PolicyLayer};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_mcp::{CallToolResult, HttpTransport, McpRouter, ToolBuilder};

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

#[derive(Debug, Deserialize, JsonSchema)]
struct Sum {
    a: i64,
    b: i64,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Nothing {}

/// It does not know that there is a policy.
fn server() -> McpRouter {
    let add = ToolBuilder::new("add")
        .description("Adds two numbers")
        .handler(async |sum: Sum| {
            Ok(CallToolResult::text(
                sum.a.saturating_add(sum.b).to_string(),
            ))
        })
        .build();
    let others = ["delete_everything", "debug_dump"].map(|name| {
        ToolBuilder::new(name)
            .description("Should not be used")
            .handler(async |_: Nothing| Ok(CallToolResult::text("it has run")))
            .build()
    });
    let router = McpRouter::new()
        .server_info("tower-mcp-example", "1.0.0")
        .tool(add);
    others.into_iter().fold(router, McpRouter::tool)
}

/// `HttpTransport::layer` takes layers for calls that were read already. The policy goes around
/// the whole transport: what it judges is what came over the wire.
fn app() -> Result<Router, LoadError> {
    let policy: Policy = POLICY.parse()?;
    let guarded = ServiceBuilder::new()
        .layer(PolicyLayer::new(policy))
        .service(HttpTransport::new(server()).into_router());
    Ok(Router::new().nest_service("/mcp", guarded))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let port = std::env::args().nth(1).as_deref().unwrap_or("0").parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    println!("listening on {url}; give that address to any MCP client, for example:");
    println!("  npx @modelcontextprotocol/inspector --cli {url} --method tools/list");
    Ok(axum::serve(listener, app()?).await?)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    /// The session that an answer began, and its text.
    async fn ask(app: &Router, session: Option<&str>, message: &str) -> (Option<String>, String) {
        let mut request = Request::post("/mcp")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        let request = request.body(Body::from(message.to_owned())).unwrap();
        let answer = app.clone().oneshot(request).await.unwrap();
        let session = answer.headers().get("mcp-session-id");
        let session = session.map(|session| session.to_str().unwrap().to_owned());
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (session, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_the_policy_allows_is_answered_by_the_server_and_nothing_else_is() {
        let app = app().unwrap();
        let begin = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;
        let (session, _) = ask(&app, None, begin).await;
        let session = session.as_deref();
        let begun = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        ask(&app, session, begun).await;

        let list = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;
        let (_, listed) = ask(&app, session, list).await;
        assert!(listed.contains("delete_everything"), "{listed}");
        assert!(!listed.contains("debug_dump"), "{listed}");

        let call = |name: &str, arguments: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{{"name":"{name}","arguments":{arguments}}}}}"#
            )
        };
        let (_, sum) = ask(&app, session, &call("add", r#"{"a":2,"b":3}"#)).await;
        assert!(sum.contains(r#""text":"5""#), "{sum}");
        let (_, denied) = ask(&app, session, &call("delete_everything", "{}")).await;
        assert!(denied.contains("Deleting is for people."), "{denied}");
        let (_, hidden) = ask(&app, session, &call("debug_dump", "{}")).await;
        assert!(hidden.contains("(default deny)"), "{hidden}");
    }
}
