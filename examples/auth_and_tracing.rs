//! The usual order of layers around an MCP server: tracing, then
//! authentication, then the policy.
//!
//! ```text
//! cargo run --example auth_and_tracing [PORT]
//! ```

use std::future::ready;

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::response::Json;
use axum::routing::post;
use http::{HeaderValue, Request, Response, StatusCode, header};
use mcp_policy::{Policy, PolicyLayer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_http::auth::AsyncRequireAuthorizationLayer;
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::trace::TraceLayer;

type Error = Box<dyn std::error::Error + Send + Sync>;

const POLICY: &str = r#"{ "version": "1", "default": "deny", "tools": { "whoami": {} } }"#;

/// Who calls, found out by the authentication.
#[derive(Clone, Debug)]
struct User(&'static str);

pub(crate) async fn serve(listener: TcpListener) -> Result<(), Error> {
    let policy: Policy = POLICY.parse()?;

    let layers = ServiceBuilder::new()
        // Marks the token first, so that nothing below can log it.
        .layer(SetSensitiveRequestHeadersLayer::new([
            header::AUTHORIZATION,
        ]))
        // Tracing is outermost: it also shows what the layers below refuse.
        .layer(TraceLayer::new_for_http())
        // Who calls is found out before anything else is. A stranger gets 401
        // from here, no byte of the body is read, and nothing is learned of
        // the policy.
        .layer(AsyncRequireAuthorizationLayer::new(
            |request: Request<Body>| ready(authorize(request)),
        ))
        // Last, so that nothing between it and the server can change what was
        // judged.
        .layer(PolicyLayer::new(policy));
    let app = Router::new().route("/mcp", post(mcp).layer(layers));

    Ok(axum::serve(listener, app).await?)
}

/// Lets a request pass, with its user, or answers it.
///
/// The answer has whatever body type the layers below have; it only has to be
/// empty.
fn authorize<R: Default>(mut request: Request<Body>) -> Result<Request<Body>, Response<R>> {
    // A real server verifies a signature here, or asks somebody who can.
    let token = request.headers().get(header::AUTHORIZATION);
    if token.is_some_and(|token| token == "Bearer let-me-in") {
        request.extensions_mut().insert(User("alice"));
        return Ok(request);
    }
    let mut answer = Response::new(R::default());
    *answer.status_mut() = StatusCode::UNAUTHORIZED;
    let scheme = HeaderValue::from_static("Bearer");
    answer
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, scheme);
    Err(answer)
}

#[allow(clippy::indexing_slicing, reason = "what is not there is null")]
async fn mcp(Extension(user): Extension<User>, Json(message): Json<Value>) -> Json<Value> {
    let result = match message["method"].as_str() {
        Some("tools/call") => json!({ "content": [{ "type": "text", "text": user.0 }] }),
        _ => json!({ "tools": [{ "name": "whoami", "inputSchema": { "type": "object" } }] }),
    };
    Json(json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    // The spans and events of `TraceLayer` have the level DEBUG.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .init();
    let port = std::env::args().nth(1).as_deref().unwrap_or("0").parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    println!("listening on {url}; try:");
    for (token, tool) in [
        ("let-me-in", "whoami"),
        ("let-me-in", "other"),
        ("wrong", "whoami"),
    ] {
        println!(
            "  curl -i {url} -H 'authorization: Bearer {token}' \
             -H 'content-type: application/json' -d '{}'",
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": tool } })
        );
    }
    serve(listener).await
}
