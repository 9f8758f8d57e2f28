//! Layers of tower-http between the policy and the server.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use tower::{Layer, ServiceBuilder, service_fn};
use tower_http::add_extension::AddExtensionLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::decompression::{DecompressionLayer, RequestDecompressionLayer};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::map_request_body::MapRequestBodyLayer;
use tower_http::map_response_body::MapResponseBodyLayer;
use tower_http::normalize_path::NormalizePathLayer;
use tower_http::set_header::{SetRequestHeaderLayer, SetResponseHeaderLayer};
use tower_http::timeout::{
    RequestBodyTimeoutLayer, ResponseBodyDeadlineLayer, ResponseBodyTimeoutLayer, TimeoutLayer,
};
use tower_http::trace::TraceLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;

use crate::support::mcp::{Log, Mcp};
use crate::support::net::{check, post_message, send, serve};
use crate::support::{call, guard, list};

const LONG: Duration = Duration::from_secs(60);

/// Checks the stack that `below` makes of the server, answering in JSON and in
/// events.
macro_rules! check_below {
    ($below:expr) => {
        for events in [false, true] {
            let mcp = Mcp {
                events,
                ..Mcp::default()
            };
            let service = ServiceBuilder::new()
                .layer(guard())
                .layer($below)
                .service(mcp.clone());
            let server = serve(service).await;
            check(&server.url("/"), &mcp.log).await;
        }
    };
}

#[tokio::test]
async fn trace() {
    check_below!(TraceLayer::new_for_http());
}

#[tokio::test]
async fn cors() {
    check_below!(CorsLayer::permissive());
}

#[tokio::test]
async fn timeouts() {
    check_below!(TimeoutLayer::with_status_code(
        StatusCode::GATEWAY_TIMEOUT,
        LONG
    ));
    check_below!(RequestBodyTimeoutLayer::new(LONG));
    check_below!(ResponseBodyTimeoutLayer::new(LONG));
    check_below!(ResponseBodyDeadlineLayer::new(LONG));
}

#[tokio::test]
async fn timeout_that_strikes() {
    let service = ServiceBuilder::new()
        .layer(guard())
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            Duration::from_millis(1),
        ))
        .service(service_fn(async |_| {
            std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>().await
        }));
    let server = serve(service).await;
    let answer = send(post_message(&server.url("/"), &call("read"))).await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn headers_and_extensions() {
    check_below!(SetRequestHeaderLayer::overriding(
        header::AUTHORIZATION,
        HeaderValue::from_static("Bearer upstream"),
    ));
    check_below!(SetResponseHeaderLayer::appending(
        header::SET_COOKIE,
        HeaderValue::from_static("a=b"),
    ));
    check_below!(AddExtensionLayer::new("something"));
    check_below!(NormalizePathLayer::trim_trailing_slash());
    check_below!(ValidateRequestHeaderLayer::accept("application/json"));
}

#[tokio::test]
async fn body_bridges() {
    check_below!(MapRequestBodyLayer::new(axum::body::Body::new));
    check_below!(MapResponseBodyLayer::new(axum::body::Body::new));
}

#[tokio::test]
async fn request_decompression() {
    check_below!(RequestDecompressionLayer::new());
}

/// For a server that compresses whatever it is asked.
#[tokio::test]
async fn response_decompression() {
    check_below!(DecompressionLayer::new());
    let stubborn = ServiceBuilder::new()
        .layer(DecompressionLayer::new())
        .layer(SetRequestHeaderLayer::overriding(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("gzip"),
        ))
        .layer(CompressionLayer::new());
    check_below!(stubborn.clone());
}

#[tokio::test]
async fn request_body_limit() {
    check_below!(RequestBodyLimitLayer::new(1 << 20));

    let mcp = Mcp::default();
    let service = ServiceBuilder::new()
        .layer(guard())
        .layer(RequestBodyLimitLayer::new(10))
        .service(mcp.clone());
    let server = serve(service).await;
    let answer = send(post_message(&server.url("/"), &call("read"))).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(mcp.log.take(), [""; 0]);
}

#[tokio::test]
async fn catch_panic() {
    check_below!(CatchPanicLayer::new());

    let service = ServiceBuilder::new()
        .layer(guard())
        .layer(CatchPanicLayer::custom(|_| {
            let response = Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR);
            response.body(Full::<Bytes>::from("sorry")).unwrap()
        }))
        .service(service_fn(
            async |_| -> Result<Response<Full<Bytes>>, Infallible> { panic!("as intended") },
        ));
    let server = serve(service).await;
    let answer = send(post_message(&server.url("/"), &call("read"))).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.body, "sorry");
}

/// It is asked not to compress, and obeys.
#[tokio::test]
async fn compression_that_listens() {
    check_below!(CompressionLayer::new());

    let mcp = Mcp::default();
    let service = ServiceBuilder::new()
        .layer(guard())
        .layer(CompressionLayer::new())
        .service(mcp.clone());
    let server = serve(service).await;
    let mut request = post_message(&server.url("/"), &list());
    let gzip = HeaderValue::from_static("gzip, br");
    request.headers_mut().insert(header::ACCEPT_ENCODING, gzip);
    assert_eq!(send(request).await.tools(), ["read", "write"]);
}

/// What is compressed cannot be judged, so it is refused.
#[tokio::test]
async fn compression_that_does_not_listen() {
    for encoding in ["gzip", "br", "deflate", "zstd"] {
        let mcp = Mcp::default();
        let service = ServiceBuilder::new()
            .layer(guard())
            .layer(SetRequestHeaderLayer::overriding(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static(encoding),
            ))
            .layer(CompressionLayer::new())
            .service(mcp.clone());
        let server = serve(service).await;
        for message in [list(), call("read")] {
            let answer = send(post_message(&server.url("/"), &message)).await;
            assert!(!answer.headers.contains_key(header::CONTENT_ENCODING));
            let message = answer.message();
            assert_eq!(message["id"], 7);
            assert_eq!(message["error"]["code"], -32603, "{message}");
            let text = message["error"]["message"].as_str().unwrap();
            assert!(text.contains("compressed"), "{text}");
        }
    }
}

/// An answer that says it is compressed is refused, whatever it is.
#[tokio::test]
async fn answer_that_lies_about_its_encoding() {
    for events in [false, true] {
        let mcp = Mcp {
            events,
            log: Log::default(),
        };
        let service = ServiceBuilder::new()
            .layer(guard())
            .layer(SetResponseHeaderLayer::overriding(
                header::CONTENT_ENCODING,
                HeaderValue::from_static("x-unknown"),
            ))
            .service(mcp);
        let server = serve(service).await;
        let answer = send(post_message(&server.url("/"), &list())).await;
        assert_eq!(answer.message()["error"]["code"], -32603);
    }
}

/// Many layers on both sides.
#[tokio::test]
async fn deep() {
    let mcp = Mcp::default();
    let service = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CatchPanicLayer::new())
        .layer(guard())
        .layer(TraceLayer::new_for_http())
        .layer(guard())
        .layer(RequestBodyLimitLayer::new(1 << 20))
        .layer(RequestDecompressionLayer::new())
        .layer(CatchPanicLayer::new())
        .map_request(|request: Request<_>| request)
        .service(mcp.clone());
    let server = serve(service).await;
    check(&server.url("/"), &mcp.log).await;

    let unguarded = guard().dangerous().unguarded_path("/");
    let server = serve(unguarded.layer(guard().layer(mcp.clone()))).await;
    check(&server.url("/"), &mcp.log).await;
}
