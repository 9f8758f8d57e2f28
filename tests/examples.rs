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
example!(own_approver, "../examples/own_approver.rs");
example!(own_audit_sink, "../examples/own_audit_sink.rs");
example!(own_caller, "../examples/own_caller.rs");
example!(own_limit_store, "../examples/own_limit_store.rs");
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

/// The JSON at the end of a line that an example says.
fn answer(line: &str) -> serde_json::Value {
    let (_, answer) = line.split_once(": ").unwrap();
    serde_json::from_str(answer).unwrap()
}

fn rule(line: &str) -> String {
    let meta = &answer(line)["result"]["_meta"];
    meta["io.github.mcp-policy/rule"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn own_limit_store() {
    let lines = soon(own_limit_store::run()).await.unwrap();
    assert_eq!(lines.len(), 7);
    for admitted in [0, 2, 3] {
        assert!(lines[admitted].ends_with("goes on"), "{lines:?}");
    }
    assert_eq!(rule(&lines[1]), "/tools/refund/limits/spend");
    let wait = &answer(&lines[1])["result"]["_meta"]["io.github.mcp-policy/retryAfterMs"];
    let day = 24 * 60 * 60 * 1_000;
    assert!(
        wait.as_u64()
            .is_some_and(|wait| (day - 60_000..=day).contains(&wait))
    );
    assert_eq!(lines[4], "alice has used 100 of 100");
    assert_eq!(lines[5], "bob has used 50 of 100");
    assert_eq!(lines[6], "rows in the ledger, without those of alice: 1");
}

#[tokio::test]
async fn own_approver() {
    let lines = soon(own_approver::run()).await.unwrap();
    let [small, large] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(answer(small)["result"]["content"][0]["text"], "refunded");
    assert_eq!(rule(large), "/tools/refund/require_approval");
    assert!(large.contains("Ask the customer for the invoice first."));
}

#[tokio::test]
async fn own_caller() {
    let lines = soon(own_caller::run()).await.unwrap();
    assert_eq!(lines.len(), 4);
    for done in [0, 2] {
        assert_eq!(answer(&lines[done])["result"]["content"][0]["text"], "done");
    }
    for refused in [1, 3] {
        let place = "/tools/cancel_order/require/caller.claims.plan-eq";
        assert_eq!(rule(&lines[refused]), place);
    }
}

#[tokio::test]
async fn own_audit_sink() {
    let lines = soon(own_audit_sink::run()).await.unwrap();
    assert_eq!(lines[0], "call 1: goes on");
    assert_eq!(answer(&lines[2])["error"]["data"]["rule"], "(audit)");
    let record: serde_json::Value = serde_json::from_str(&lines[3]).unwrap();
    assert_eq!(
        (&record["event"], &record["name"]),
        (&json!("decision"), &json!("restart"))
    );
}
