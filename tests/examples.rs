//! The examples do what they say.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "these are tests"
)]

mod support;

/// The code of an example; its `main` only prints and serves.
macro_rules! example {
    ($name:ident, $path:literal) => {
        #[path = $path]
        #[allow(
            dead_code,
            reason = "main is not called, and nothing else of it is public"
        )]
        mod $name;
    };
}

example!(on_auth_and_tracing, "../examples/auth_and_tracing.rs");
example!(on_axum, "../examples/axum.rs");
example!(on_hyper, "../examples/hyper.rs");
example!(on_rmcp, "../examples/rmcp.rs");
example!(on_stdio, "../examples/stdio.rs");
example!(on_tonic, "../examples/tonic.rs");

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::json;

use self::support::net::{Answer, Server, post, post_message, send};
use self::support::{call, list, soon};

async fn ask(url: &str, message: &serde_json::Value) -> Answer {
    send(post_message(url, message)).await
}

fn sum() -> serde_json::Value {
    let mut message = call("add");
    message["params"]["arguments"] = json!({ "a": 2, "b": 3 });
    message
}

#[tokio::test]
async fn axum() {
    let server = Server::run(on_axum::serve).await;
    let url = server.url("/mcp");
    assert_eq!(ask(&url, &sum()).await.text(), "5");
    let denied = ask(&url, &call("delete_everything")).await;
    assert!(denied.is_error());
    assert!(denied.text().contains("Deleting is for people."));
    let hidden = ask(&url, &call("debug_dump")).await;
    assert!(hidden.is_error() && !hidden.text().contains("has run"));
    let listed = ask(&url, &list()).await;
    assert_eq!(listed.tools(), ["add", "delete_everything"]);

    let health = Request::get(server.url("/health")).body(Full::<Bytes>::default());
    assert_eq!(send(health.unwrap()).await.body, "ok");
}

#[tokio::test]
async fn hyper() {
    let server = Server::run(on_hyper::serve).await;
    let url = server.url("/");
    assert_eq!(ask(&url, &sum()).await.text(), "5");
    assert!(ask(&url, &call("debug_dump")).await.is_error());
    assert_eq!(ask(&url, &list()).await.tools(), ["add"]);
    let notification = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let accepted = ask(&url, &notification).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn tonic() {
    let server = Server::run(on_tonic::serve).await;
    let url = server.url("/mcp");
    assert_eq!(ask(&url, &call("hello")).await.text(), "Hello, MCP");
    assert!(ask(&url, &call("other")).await.is_error());

    let channel = ::tonic::transport::Endpoint::from_shared(server.url("")).unwrap();
    let mut client = ::tonic::client::Grpc::new(soon(channel.connect()).await.unwrap());
    soon(client.ready()).await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/example.Greeter/Greet");
    let greeting = client.unary(
        ::tonic::Request::new("gRPC".to_owned()),
        path,
        on_tonic::TextCodec,
    );
    assert_eq!(soon(greeting).await.unwrap().into_inner(), "Hello, gRPC");
}

#[tokio::test]
async fn rmcp() {
    use ::rmcp::ServiceExt;
    use ::rmcp::model::{CallToolRequestParams, ClientConfig};
    use ::rmcp::transport::StreamableHttpClientTransport;

    let server = Server::run(on_rmcp::serve).await;
    let transport = StreamableHttpClientTransport::from_uri(server.url("/mcp"));
    let client = soon(ClientConfig::default().serve(transport))
        .await
        .unwrap();
    let tools = soon(client.list_all_tools()).await.unwrap();
    let mut names: Vec<_> = tools.iter().map(|tool| &*tool.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["add", "delete_everything"]);

    let params = |tool| CallToolRequestParams::new(tool);
    let arguments = sum()["params"]["arguments"].as_object().unwrap().clone();
    let sum = soon(client.call_tool(params("add").with_arguments(arguments)))
        .await
        .unwrap();
    assert_eq!(sum.content[0].as_text().unwrap().text, "5");
    let denied = soon(client.call_tool(params("delete_everything")))
        .await
        .unwrap();
    assert_eq!(denied.is_error, Some(true));
    let text = &denied.content[0].as_text().unwrap().text;
    assert!(text.contains("Deleting is for people."), "{text}");
    soon(client.cancel()).await.unwrap();
}

#[tokio::test]
async fn stdio() {
    use ::rmcp::ServiceExt;
    use ::rmcp::model::{CallToolRequestParams, ClientConfig};

    let (client_side, our_side) = tokio::io::duplex(1024);
    let (input, output) = tokio::io::split(our_side);
    let serving = tokio::spawn(on_stdio::serve(input, output));
    let client = soon(ClientConfig::default().serve(client_side))
        .await
        .unwrap();
    let tools = soon(client.list_all_tools()).await.unwrap();
    let mut names: Vec<_> = tools.iter().map(|tool| &*tool.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["delete_everything", "time"]);
    let mut texts = Vec::new();
    for tool in ["time", "delete_everything", "debug_dump", "time"] {
        let answer = soon(client.call_tool(CallToolRequestParams::new(tool)))
            .await
            .unwrap();
        texts.push(answer.content[0].as_text().unwrap().text.clone());
    }
    assert_eq!((&*texts[0], &*texts[3]), ("high time", "high time"));
    assert!(texts[1].contains("Deleting is for people."), "{texts:?}");
    assert!(texts[2].contains("(default deny)"), "{texts:?}");
    soon(client.cancel()).await.unwrap();
    soon(serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn auth_and_tracing() {
    let server = Server::run(on_auth_and_tracing::serve).await;
    let url = server.url("/mcp");
    let with = |token: &'static str, mut request: Request<Full<Bytes>>| {
        let token = HeaderValue::from_static(token);
        request.headers_mut().insert(header::AUTHORIZATION, token);
        send(request)
    };
    let passed = with("Bearer let-me-in", post_message(&url, &call("whoami"))).await;
    assert_eq!(passed.text(), "alice");
    let denied = with("Bearer let-me-in", post_message(&url, &call("other"))).await;
    assert!(denied.is_error());

    // The policy would have something to say to each of these, and is not asked.
    for body in ["not JSON".to_owned(), call("other").to_string()] {
        let stranger = with("Bearer wrong", post(&url, body)).await;
        assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
        assert_eq!(stranger.headers[header::WWW_AUTHENTICATE], "Bearer");
        assert!(stranger.body.is_empty());
    }
    let nobody = ask(&url, &call("whoami")).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
}
