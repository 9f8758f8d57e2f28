//! hyper-util's server, over real sockets.

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mcp_policy::RequestBody;
use tower::{Layer, ServiceBuilder, service_fn};

use crate::support::body::{Script, Step};
use crate::support::mcp::Mcp;
use crate::support::net::{check, check_with, http2, post_message, send, send_with, serve};
use crate::support::{call, guard};

#[tokio::test]
async fn http1() {
    let mcp = Mcp::default();
    let server = serve(guard().layer(mcp.clone())).await;
    check(&server.url("/"), &mcp.log).await;
}

#[tokio::test]
async fn http2_too() {
    let mcp = Mcp::default();
    let server = serve(guard().layer(mcp.clone())).await;
    check_with(http2(), &server.url("/"), &mcp.log, |_| {}).await;
}

#[tokio::test]
async fn event_streams() {
    let mcp = Mcp {
        events: true,
        ..Mcp::default()
    };
    let server = serve(guard().layer(mcp.clone())).await;
    check(&server.url("/"), &mcp.log).await;
    check_with(http2(), &server.url("/"), &mcp.log, |_| {}).await;
}

/// A body of unknown length, in pieces and with trailers.
#[tokio::test]
async fn chunked_with_trailers() {
    let mcp = Mcp::default();
    let server = serve(guard().layer(mcp.clone())).await;
    for tool in ["read", "write"] {
        for h2 in [false, true] {
            let message = call(tool).to_string();
            let (start, end) = message.as_bytes().split_at(message.len() / 2);
            let mut trailers = http::HeaderMap::new();
            trailers.insert("x-checksum", "1".parse().unwrap());
            let body = Script::new([
                Step::Data(Bytes::copy_from_slice(start)),
                Step::Wait,
                Step::Data(Bytes::copy_from_slice(end)),
                Step::Trailers(trailers),
            ]);
            let mut client = Client::builder(TokioExecutor::new());
            let client = client.http2_only(h2).build_http();
            let request = Request::post(server.url("/"))
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::TRAILER, "x-checksum")
                .body(body)
                .unwrap();
            let answer = send_with(client, request).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.is_error(), tool == "write", "{answer:?}");
        }
    }
    assert_eq!(mcp.log.take(), ["read", "read"]);
}

/// A function that is written for one body type names the layer's.
#[tokio::test]
async fn service_fn_for_one_body_type() {
    let echo = service_fn(
        async |request: Request<RequestBody<hyper::body::Incoming>>| {
            let body = request.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Response::new(Full::new(body)))
        },
    );
    let server = serve(ServiceBuilder::new().layer(guard()).service(echo)).await;
    let message = call("read");
    let answer = send(post_message(&server.url("/"), &message)).await;
    assert_eq!(answer.body, message.to_string());
}
