//! Layers of tower-http above the policy.

use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use mcp_policy::ResponseBody;
use tower::{Layer, ServiceBuilder};
use tower_http::ServiceBuilderExt;
use tower_http::auth::AsyncRequireAuthorizationLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::decompression::{Decompression, RequestDecompressionLayer};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::request_id::MakeRequestUuid;
use tower_http::sensitive_headers::SetSensitiveHeadersLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::{
    RequestBodyDeadlineLayer, RequestBodyTimeoutLayer, ResponseBodyTimeoutLayer, TimeoutLayer,
};
use tower_http::trace::TraceLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;

use crate::support::mcp::Mcp;
use crate::support::net::{
    Answer, check, check_with, http1, http2, post, post_message, send, serve,
};
use crate::support::{call, guard};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn trace() {
    let mcp = Mcp::default();
    let statuses = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&statuses);
    let trace = TraceLayer::new_for_http().on_response(
        move |response: &Response<_>, _: Duration, _: &tracing::Span| {
            let _: &Response<ResponseBody<Full<bytes::Bytes>>> = response;
            seen.lock().unwrap().push(response.status());
        },
    );
    let service = ServiceBuilder::new()
        .layer(trace)
        .layer(guard())
        .service(mcp.clone());
    let server = serve(service).await;
    check(&server.url("/"), &mcp.log).await;
    let refused = Request::put(server.url("/")).body(Default::default());
    send(refused.unwrap()).await;
    // Refusals are seen from above as well.
    let statuses = statuses.lock().unwrap();
    let (last, others) = statuses.split_last().unwrap();
    assert_eq!(*last, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(others, [StatusCode::OK; 5]);
}

#[tokio::test]
async fn cors() {
    let mcp = Mcp::default();
    let cors = CorsLayer::new()
        .allow_origin(["https://app.example".parse().unwrap()])
        .allow_methods([Method::POST])
        .allow_headers(Any);
    let service = ServiceBuilder::new()
        .layer(cors)
        .layer(guard())
        .service(mcp.clone());
    let server = serve(service).await;

    let origin = HeaderValue::from_static("https://app.example");
    check_with(http1(), &server.url("/"), &mcp.log, |headers| {
        headers.insert(header::ORIGIN, origin.clone());
    })
    .await;
    let mut request = post_message(&server.url("/"), &call("write"));
    request.headers_mut().insert(header::ORIGIN, origin.clone());
    let refused = send(request).await;
    assert!(refused.is_error());
    let allowed = &refused.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN];
    assert_eq!(allowed, "https://app.example");

    // The preflight is answered above the policy, with an empty body of ours.
    let preflight = Request::options(server.url("/"))
        .header(header::ORIGIN, origin)
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST");
    let answer = send(preflight.body(Default::default()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers[header::ACCESS_CONTROL_ALLOW_METHODS], "POST");
    assert!(answer.body.is_empty());
}

#[tokio::test]
async fn timeout() {
    let mcp = Mcp::default();
    let layer = |time| TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, time);
    let service = ServiceBuilder::new()
        .layer(ResponseBodyTimeoutLayer::new(LONG))
        .layer(layer(LONG))
        .layer(RequestBodyTimeoutLayer::new(LONG))
        .layer(RequestBodyDeadlineLayer::new(LONG))
        .layer(guard())
        .service(mcp.clone());
    let server = serve(service).await;
    check(&server.url("/"), &mcp.log).await;

    // An inner service that never answers.
    let service = ServiceBuilder::new()
        .layer(layer(Duration::from_millis(1)))
        .layer(guard())
        .service(tower::service_fn(async |_| {
            std::future::pending::<Result<Response<Full<bytes::Bytes>>, io::Error>>().await
        }));
    let server = serve(service).await;
    let answer = send(post_message(&server.url("/"), &call("read"))).await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(answer.body.is_empty());
}

#[tokio::test]
async fn validate_request_header() {
    let mcp = Mcp::default();
    let key = ValidateRequestHeaderLayer::has_header_value("x-api-key", "sesame").unwrap();
    let service = ServiceBuilder::new()
        .layer(key)
        .layer(ValidateRequestHeaderLayer::accept("application/json"))
        .layer(guard())
        .service(mcp.clone());
    let server = serve(service).await;

    check_with(http1(), &server.url("/"), &mcp.log, |headers| {
        headers.insert("x-api-key", HeaderValue::from_static("sesame"));
    })
    .await;
    // What is refused above never reaches the policy.
    let answer = send(post(&server.url("/"), "not JSON")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let mut request = post_message(&server.url("/"), &call("read"));
    let key = HeaderValue::from_static("sesame");
    request.headers_mut().insert("x-api-key", key);
    let accept = HeaderValue::from_static("text/html");
    request.headers_mut().insert(header::ACCEPT, accept);
    let answer = send(request).await;
    assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(mcp.log.take(), [""; 0]);
}

/// What an authentication found out.
#[derive(Clone, Debug)]
struct User(String);

fn authorize<R: Default>(mut request: Request<Incoming>) -> Result<Request<Incoming>, Response<R>> {
    let token = request.headers().get(header::AUTHORIZATION);
    match token.and_then(|token| token.to_str().ok()?.strip_prefix("Bearer ")) {
        Some(user) => {
            let user = User(user.to_owned());
            request.extensions_mut().insert(user);
            Ok(request)
        }
        None => {
            let mut response = Response::new(R::default());
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            Err(response)
        }
    }
}

fn bearer(headers: &mut HeaderMap) {
    headers.insert(
        header::AUTHORIZATION,
        HeaderValue::from_static("Bearer alice"),
    );
}

#[tokio::test]
async fn async_require_authorization() {
    let mcp = Mcp::default();
    let users = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&users);
    let service = ServiceBuilder::new()
        .layer(AsyncRequireAuthorizationLayer::new(|request| {
            ready(authorize(request))
        }))
        .layer(guard())
        // What the layer above found out is still known below.
        .map_request(move |request: Request<_>| {
            let user = request.extensions().get::<User>().unwrap();
            seen.lock().unwrap().push(user.0.clone());
            request
        })
        .service(mcp.clone());
    let server = serve(service).await;

    check_with(http1(), &server.url("/"), &mcp.log, bearer).await;
    assert_eq!(*users.lock().unwrap(), ["alice"; 2]);
    let answer = send(post(&server.url("/"), "not JSON")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.body.is_empty());
}

#[tokio::test]
async fn compression() {
    let mcp = Mcp::default();
    let service = ServiceBuilder::new()
        .layer(CompressionLayer::new())
        .layer(guard())
        .service(mcp.clone());
    let server = serve(service).await;
    check(&server.url("/"), &mcp.log).await;

    // Passed and refused, compressed on the way to the client only.
    check_with(
        Decompression::new(http1()),
        &server.url("/"),
        &mcp.log,
        |_| {},
    )
    .await;
    for tool in ["read", "write"] {
        let mut request = post_message(&server.url("/"), &call(tool));
        let gzip = HeaderValue::from_static("gzip");
        request.headers_mut().insert(header::ACCEPT_ENCODING, gzip);
        let answer = send(request).await;
        assert_eq!(answer.headers[header::CONTENT_ENCODING], "gzip");
        assert!(!answer.headers.contains_key(header::CONTENT_LENGTH));
        assert!(answer.body.starts_with(&[0x1f, 0x8b]));
    }
}

/// Compressed requests are refused, unless a layer above opens them.
#[tokio::test]
async fn request_decompression() {
    let mut message = call("read");
    message["params"]["arguments"]["text"] = "a".repeat(2000).into();
    let message = message.to_string();
    let compressed = {
        let body = Full::<bytes::Bytes>::from(message.clone());
        let compress = CompressionLayer::new()
            .compress_when(tower_http::compression::predicate::SizeAbove::new(0));
        let body = Mutex::new(Some(body));
        let service = compress.layer(tower::service_fn(move |_: Request<()>| {
            ready(Ok::<_, std::convert::Infallible>(Response::new(
                body.lock().unwrap().take().unwrap(),
            )))
        }));
        let request = Request::builder().header(header::ACCEPT_ENCODING, "gzip");
        let response = tower::ServiceExt::oneshot(service, request.body(()).unwrap())
            .await
            .unwrap();
        Answer::read(response).await.body
    };
    let request = |url: &str| {
        let mut request = post(url, compressed.clone());
        let gzip = HeaderValue::from_static("gzip");
        request.headers_mut().insert(header::CONTENT_ENCODING, gzip);
        request
    };
    let mcp = Mcp::default();

    let server = serve(guard().layer(mcp.clone())).await;
    let refused = send(request(&server.url("/"))).await;
    assert_eq!(refused.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(mcp.log.take(), [""; 0]);

    let service = ServiceBuilder::new()
        .layer(RequestDecompressionLayer::new())
        .layer(guard())
        .service(mcp.clone());
    let server = serve(service).await;
    check(&server.url("/"), &mcp.log).await;
    let answer = send(request(&server.url("/"))).await;
    assert_eq!(answer.text(), "read has run");

    // The limit counts what comes out of it.
    let service = ServiceBuilder::new()
        .layer(RequestDecompressionLayer::new())
        .layer(guard().max_body_size(message.len() - 1))
        .service(mcp.clone());
    assert!(compressed.len() < message.len() / 2);
    let server = serve(service).await;
    let answer = send(request(&server.url("/"))).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn request_body_limit() {
    let mcp = Mcp::default();
    let limit = call("write").to_string().len() + 20;
    let service = ServiceBuilder::new()
        .layer(RequestBodyLimitLayer::new(limit))
        .layer(guard())
        .service(mcp.clone());
    let server = serve(service).await;
    check(&server.url("/"), &mcp.log).await;
    let answer = send(post(&server.url("/"), vec![b' '; limit + 1])).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

/// All of it at once, in the order in which one would write it.
#[tokio::test]
async fn together() {
    let mcp = Mcp {
        events: true,
        ..Mcp::default()
    };
    let service = ServiceBuilder::new()
        .set_x_request_id(MakeRequestUuid)
        .layer(SetSensitiveHeadersLayer::new([header::AUTHORIZATION]))
        .layer(TraceLayer::new_for_http())
        .propagate_x_request_id()
        .layer(CatchPanicLayer::new())
        .layer(SetResponseHeaderLayer::overriding(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .layer(CompressionLayer::new())
        .layer(CorsLayer::permissive())
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            LONG,
        ))
        .layer(AsyncRequireAuthorizationLayer::new(|request| {
            ready(authorize(request))
        }))
        .layer(guard())
        .service(mcp.clone());
    let server = serve(service).await;
    check_with(http1(), &server.url("/"), &mcp.log, bearer).await;
    check_with(http2(), &server.url("/"), &mcp.log, bearer).await;
    let answer = send(post_message(&server.url("/"), &call("read"))).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.headers.contains_key("x-request-id"));
}
