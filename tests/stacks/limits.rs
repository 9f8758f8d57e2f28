//! tower's buffer, limits and load shedding, above and below.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use mcp_policy::RequestBody;
use tokio::task::JoinSet;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::mcp::Mcp;
use crate::support::net::{Answer, check, post_message, send, serve};
use crate::support::{call, guard, soon};

#[tokio::test]
async fn buffer_above() {
    let mcp = Mcp::default();
    let service = ServiceBuilder::new()
        .buffer::<Request<Incoming>>(4)
        .layer(guard())
        .service(mcp.clone());
    let server = serve(service).await;
    check(&server.url("/"), &mcp.log).await;
}

#[tokio::test]
async fn concurrency_limit_and_load_shed_above() {
    let mcp = Mcp::default();
    let service = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1)
        .layer(guard())
        .service(mcp.clone());
    let server = serve(service).await;
    check(&server.url("/"), &mcp.log).await;
}

#[tokio::test]
async fn concurrency_limit_below() {
    let mcp = Mcp::default();
    let service = ServiceBuilder::new()
        .layer(guard())
        .concurrency_limit(1)
        .service(mcp.clone());
    let server = serve(service).await;
    check(&server.url("/"), &mcp.log).await;
}

#[tokio::test]
async fn buffer_below() {
    let mcp = Mcp::default();
    let service = ServiceBuilder::new()
        .layer(guard())
        .buffer::<Request<RequestBody<Incoming>>>(1)
        .service(mcp.clone());
    let server = serve(service).await;
    check(&server.url("/"), &mcp.log).await;
}

/// A hundred calls at once, every other one refused, through one permit that
/// only calls which pass may use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buffer_above_and_one_permit_below() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let total = Arc::new(AtomicUsize::new(0));
    let inner = {
        let (running, most, total) = (running.clone(), most.clone(), total.clone());
        service_fn(move |_: Request<RequestBody<Full<Bytes>>>| {
            let (running, most, total) = (running.clone(), most.clone(), total.clone());
            async move {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                total.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("passed")))
            }
        })
    };
    let service = ServiceBuilder::new()
        .buffer::<Request<Full<Bytes>>>(8)
        .layer(guard())
        .concurrency_limit(1)
        .service(inner);

    for _ in 0..10 {
        let mut calls = JoinSet::new();
        for number in 0..100 {
            let request = match number % 4 {
                0 => post_message("http://localhost/", &call("read")),
                1 => post_message("http://localhost/", &call("write")),
                2 => Request::put("http://localhost/")
                    .body(Full::default())
                    .unwrap(),
                _ => Request::get("http://localhost/")
                    .body(Full::default())
                    .unwrap(),
            };
            let service = service.clone();
            calls.spawn(async move {
                let response = service.oneshot(request).await.unwrap();
                (number % 4, Answer::read(response).await)
            });
        }
        while let Some(done) = soon(calls.join_next()).await {
            let (kind, answer) = done.unwrap();
            match kind {
                0 | 3 => assert_eq!(answer.body, "passed"),
                1 => assert!(answer.is_error()),
                _ => assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED),
            }
        }
    }
    assert_eq!(total.load(Ordering::SeqCst), 500);
    assert_eq!(most.load(Ordering::SeqCst), 1);
    assert_eq!(running.load(Ordering::SeqCst), 0);
}

/// A permit that others share is free again when a request has been refused,
/// also while the service that refused it lives on.
async fn permit_is_given_back_after(request: Request<Full<Bytes>>) {
    let limit = GlobalConcurrencyLimitLayer::new(1);
    let mcp = Mcp::default();
    let mut service = ServiceBuilder::new()
        .layer(guard())
        .layer(limit.clone())
        .service(mcp.clone());
    let mut other = tower::Layer::layer(&limit, mcp.clone());

    let ready = soon(ServiceExt::<Request<Full<Bytes>>>::ready(&mut service)).await;
    let answer = Answer::read(soon(ready.unwrap().call(request)).await.unwrap()).await;
    assert_eq!(mcp.log.take(), [""; 0], "{answer:?}");

    let free = std::future::poll_fn(|context| {
        std::task::Poll::Ready(
            Service::<Request<Full<Bytes>>>::poll_ready(&mut other, context).is_ready(),
        )
    });
    assert!(free.await, "the permit is still held: {answer:?}");
}

#[tokio::test]
async fn permit_is_given_back_after_a_message_was_refused() {
    permit_is_given_back_after(post_message("http://localhost/", &call("write"))).await;
}

#[tokio::test]
async fn permit_is_given_back_after_an_http_method_was_refused() {
    let request = Request::put("http://localhost/").body(Full::default());
    permit_is_given_back_after(request.unwrap()).await;
}

/// A server that is really called, with one permit and over real sockets.
#[tokio::test]
async fn refused_and_passed_calls_over_sockets() {
    let mcp = Mcp::default();
    let service = ServiceBuilder::new()
        .buffer::<Request<Incoming>>(1)
        .layer(guard())
        .concurrency_limit(1)
        .service(mcp.clone());
    let server = serve(service).await;
    let mut calls = JoinSet::new();
    for number in 0..40 {
        let tool = ["read", "write"][number % 2];
        let request = post_message(&server.url("/"), &call(tool));
        calls.spawn(async move { (tool, send(request).await) });
    }
    while let Some(done) = soon(calls.join_next()).await {
        let (tool, answer) = done.unwrap();
        assert_eq!(answer.is_error(), tool == "write");
    }
    assert_eq!(mcp.log.take(), ["read"; 20]);
}
