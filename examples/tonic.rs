//! An MCP endpoint and a gRPC service on one port. The policy is in front of
//! the one and leaves the other alone.
//!
//! ```text
//! cargo run --example tonic [PORT]
//! ```

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::response::Json;
use axum::routing::post;
use bytes::{Buf, BufMut};
use mcp_policy::{Policy, PolicyLayer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService};
use tonic::service::Routes;
use tonic::transport::server::{Server, TcpIncoming};
use tonic::{Request, Response, Status};
use tower::{Service, service_fn};

type Error = Box<dyn std::error::Error + Send + Sync>;

const POLICY: &str = r#"{ "version": "1", "default": "deny", "tools": { "hello": {} } }"#;

pub(crate) async fn serve(listener: TcpListener) -> Result<(), Error> {
    let policy: Policy = POLICY.parse()?;

    // The layer takes everything that it sees for MCP, so it goes around the
    // MCP route alone; gRPC is beside it. (Where it has to be around the whole
    // server, `Server::builder().layer(..)`, the gRPC methods are named with
    // `.dangerous().unguarded_path("/example.Greeter/Greet")`.)
    let mcp = axum::Router::new()
        .route("/mcp", post(mcp))
        .layer(PolicyLayer::new(policy));
    let routes = Routes::from(mcp).add_service(Greeter);

    // MCP clients speak HTTP/1 as well.
    let server = Server::builder().accept_http1(true).add_routes(routes);
    Ok(server
        .serve_with_incoming(TcpIncoming::from(listener))
        .await?)
}

#[allow(clippy::indexing_slicing, reason = "what is not there is null")]
async fn mcp(Json(message): Json<Value>) -> Json<Value> {
    let result = match message["method"].as_str() {
        Some("tools/call") => json!({ "content": [{ "type": "text", "text": "Hello, MCP" }] }),
        _ => json!({ "tools": [{ "name": "hello", "inputSchema": { "type": "object" } }] }),
    };
    Json(json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }))
}

/// `rpc Greet` of the service `example.Greeter`; written by hand here, so that
/// the example needs no `protoc`.
#[derive(Clone, Debug)]
pub(crate) struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "example.Greeter";
}

impl Service<http::Request<tonic::body::Body>> for Greeter {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let greet = service_fn(|request: Request<String>| async move {
            let greeting = format!("Hello, {}", request.into_inner());
            Ok::<_, Status>(Response::new(greeting))
        });
        Box::pin(async move { Ok(Grpc::new(TextCodec).unary(greet, request).await) })
    }
}

/// Messages that are plain text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextCodec;

impl Codec for TextCodec {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for TextCodec {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for TextCodec {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let port = std::env::args().nth(1).as_deref().unwrap_or("0").parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hello"}}"#;
    println!("listening on {url}, gRPC at /example.Greeter/Greet; try, also with another name:");
    println!("  curl {url}/mcp -H 'content-type: application/json' -d '{call}'");
    serve(listener).await
}
