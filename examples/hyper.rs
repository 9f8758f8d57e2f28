//! A policy in front of a plain hyper service: no framework, HTTP/1 and
//! HTTP/2 on one port.
//!
//! ```text
//! cargo run --example hyper [PORT]
//! ```

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use mcp_policy::{Permit, Policy, PolicyLayer, RequestBody};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};

type Error = Box<dyn std::error::Error + Send + Sync>;

const POLICY: &str = r#"{
    "version": "1",
    "default": "deny",
    "tools": { "add": {}, "debug_dump": { "action": "hide" } }
}"#;

pub(crate) async fn serve(listener: TcpListener) -> Result<(), Error> {
    let policy: Policy = POLICY.parse()?;
    let service = ServiceBuilder::new()
        .layer(PolicyLayer::new(policy))
        .service(service_fn(mcp));

    loop {
        let (connection, _) = listener.accept().await?;
        // Clones share what was compiled from the policy and the memory budgets.
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let result = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(connection), service)
                .await;
            if let Err(error) = result {
                eprintln!("connection: {error}");
            }
        });
    }
}

/// What is behind the layer gets a body of the layer's type: the bytes that
/// were judged. A function that is written for one body type names it.
#[allow(clippy::indexing_slicing, reason = "what is not there is null")]
async fn mcp(request: Request<RequestBody<Incoming>>) -> Result<Response<Full<Bytes>>, Infallible> {
    // There is a permit in every request that the layer lets through, so a
    // route that was mounted beside the layer by mistake shows at once.
    if request.extensions().get::<Permit>().is_none() {
        return Ok(status(StatusCode::FORBIDDEN));
    }
    let Ok(body) = request.into_body().collect().await else {
        return Ok(status(StatusCode::BAD_REQUEST));
    };
    let message: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    let Some(id) = message.get("id") else {
        return Ok(status(StatusCode::ACCEPTED));
    };
    let result = match message["method"].as_str() {
        Some("tools/list") => json!({ "tools": [
            { "name": "add", "inputSchema": { "type": "object" } },
            { "name": "debug_dump", "inputSchema": { "type": "object" } },
        ]}),
        Some("tools/call") => {
            let arguments = &message["params"]["arguments"];
            let number = |name: &str| arguments[name].as_i64().unwrap_or_default();
            let text = number("a").saturating_add(number("b")).to_string();
            json!({ "content": [{ "type": "text", "text": text }] })
        }
        _ => json!({
            "protocolVersion": "2025-06-18",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "hyper-example", "version": "1.0.0" },
        }),
    };
    let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string();
    let mut response = Response::new(Full::from(answer));
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let port = std::env::args().nth(1).as_deref().unwrap_or("0").parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let url = format!("http://{}/", listener.local_addr()?);
    println!("listening on {url}; try:");
    for tool in ["add", "debug_dump"] {
        println!(
            "  curl {url} -H 'content-type: application/json' -d '{}'",
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
                    "params": { "name": tool, "arguments": { "a": 2, "b": 3 } } })
        );
    }
    serve(listener).await
}
