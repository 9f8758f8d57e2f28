//! hyper-util's pooled client as the inner service: a proxy.

use http::Uri;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use mcp_policy::RequestBody;
use tower::{Layer, ServiceBuilder};

use crate::support::guard;
use crate::support::mcp::Mcp;
use crate::support::net::{Server, check, check_with, http2, serve};

async fn proxy(upstream: &Server, h2: bool) -> Server {
    let client: Client<HttpConnector, RequestBody<Incoming>> =
        Client::builder(TokioExecutor::new())
            .http2_only(h2)
            .build_http();
    let upstream: Uri = upstream.url("/").parse().unwrap();
    let proxy = ServiceBuilder::new()
        .layer(guard())
        .map_request(move |mut request: http::Request<_>| {
            *request.uri_mut() = upstream.clone();
            *request.version_mut() = http::Version::HTTP_11;
            request
        })
        .service(client);
    serve(proxy).await
}

#[tokio::test]
async fn as_a_proxy() {
    for events in [false, true] {
        let mcp = Mcp {
            events,
            ..Mcp::default()
        };
        let upstream = serve(mcp.clone()).await;
        let proxy = proxy(&upstream, false).await;
        check(&proxy.url("/mcp"), &mcp.log).await;
        check_with(http2(), &proxy.url("/mcp"), &mcp.log, |_| {}).await;
    }
}

#[tokio::test]
async fn as_a_proxy_to_http2() {
    let mcp = Mcp::default();
    let upstream = serve(mcp.clone()).await;
    let proxy = proxy(&upstream, true).await;
    check(&proxy.url("/mcp"), &mcp.log).await;
}

/// Two policies in a row.
#[tokio::test]
async fn in_front_of_a_guarded_server() {
    let mcp = Mcp::default();
    let upstream = serve(guard().layer(mcp.clone())).await;
    let proxy = proxy(&upstream, false).await;
    check(&proxy.url("/mcp"), &mcp.log).await;
}
