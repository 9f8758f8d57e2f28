//! What is slow, huge or cut off: every size is counted while it comes, and
//! nothing waits for what does not come.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use mcp_policy::{PolicyLayer, RequestBody};
use tower::{Layer as _, ServiceBuilder, ServiceExt as _, service_fn};
use tower_http::timeout::RequestBodyDeadlineLayer;

use crate::cases::Target;
use crate::lenient::Lenient;
use crate::raw::Connection;
use crate::support::body::{Script, Step};
use crate::support::net::{http2, post, send_with, serve};
use crate::support::soon;

const POLICY: &str = r#"{
    "version": "1",
    "default": "deny",
    "tools": { "safe": {}, "danger": { "action": "deny" } }
}"#;

fn guard() -> PolicyLayer {
    PolicyLayer::new(POLICY.parse().unwrap())
}

fn call(tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
}

fn head(headers: &str) -> String {
    format!("POST /mcp HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n{headers}\r\n")
}

fn whole(body: &str) -> String {
    head(&format!("content-length: {}\r\n", body.len())) + body
}

#[tokio::test]
async fn r05_a_body_without_a_length_is_counted_while_it_comes() {
    let target = Target::guarded(&guard().max_body_size(1_000)).await;
    let mut connection = target.connect().await;
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    // The end of the body is never sent.
    let request = head("transfer-encoding: chunked\r\n") + &chunk.repeat(3);
    let answer = connection
        .exchange(request.as_bytes(), "POST")
        .await
        .unwrap();
    assert_eq!(answer.status, 413);
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test]
async fn r05_a_length_that_is_too_large_is_refused_before_the_body() {
    let target = Target::guarded(&guard().max_body_size(1_000)).await;
    let mut connection = target.connect().await;
    let request = head("content-length: 1001\r\n");
    let answer = connection
        .exchange(request.as_bytes(), "POST")
        .await
        .unwrap();
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn r05_a_length_that_is_not_kept_runs_nothing() {
    let target = Target::guarded(&guard()).await;
    for tool in ["safe", "danger"] {
        let body = call(tool);
        let mut connection = target.connect().await;
        let request = head(&format!("content-length: {}\r\n", body.len() + 1)) + &body;
        connection.send(request.as_bytes()).await;
        connection.end().await;
        connection.until_end().await;
        assert_eq!(target.executed(), [""; 0]);

        let mut connection = target.connect().await;
        let request = head(&format!("content-length: {}\r\n", body.len() - 1)) + &body;
        let answer = connection
            .exchange(request.as_bytes(), "POST")
            .await
            .unwrap();
        assert!(answer.text().contains("-32700"), "{}", answer.text());
        connection.end().await;
        connection.until_end().await;
        assert_eq!(target.executed(), [""; 0]);
    }
}

#[tokio::test]
async fn r05_all_bodies_together_have_a_budget() {
    let target = Target::guarded(&guard().request_budget(1_000)).await;
    let mut slow = target.connect().await;
    let request = head("content-length: 999\r\n") + &"x".repeat(950);
    slow.send(request.as_bytes()).await;
    let ask = async || {
        let mut connection = target.connect().await;
        let request = whole(&call("safe"));
        connection
            .exchange(request.as_bytes(), "POST")
            .await
            .unwrap()
    };
    // The slow body may still be on its way.
    let refused = soon(async {
        loop {
            let answer = ask().await;
            if answer.status != 200 {
                break answer;
            }
        }
    })
    .await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(refused.text().contains("-31503"), "{}", refused.text());
    target.executed();
    assert_eq!(ask().await.status, 503);
    assert_eq!(target.executed(), [""; 0]);
    // Whoever goes away gives back what they had.
    drop(slow);
    soon(async { while ask().await.status != 200 {} }).await;
    assert_eq!(target.executed(), ["safe"]);
}

/// The layer has no timer of its own; this is the layer of tower-http that its
/// documentation names.
#[tokio::test(start_paused = true)]
async fn r05_a_body_that_stalls_is_ended_by_the_documented_layer() {
    for body in [
        Script::new([Step::Hang]),
        Script::new([Step::Data(Bytes::from(call("safe"))), Step::Hang]),
    ] {
        let lenient = Lenient::default();
        let service = ServiceBuilder::new()
            .layer(RequestBodyDeadlineLayer::new(Duration::from_secs(30)))
            .layer(guard())
            .service(lenient.clone());
        let watch = body.watch();
        let request = Request::post("/mcp")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .unwrap();
        let answer = service.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert!(watch.is_dropped());
        assert_eq!(lenient.log.take(), [""; 0]);
    }
}

#[tokio::test]
async fn r31_a_body_that_is_too_large_is_not_asked_for() {
    let target = Target::guarded(&guard().max_body_size(1_000)).await;
    let expecting = |length| {
        head(&format!(
            "expect: 100-continue\r\ncontent-length: {length}\r\n"
        ))
    };

    let mut connection = target.connect().await;
    connection.send(expecting(1_001).as_bytes()).await;
    assert!(connection.until_end().await.starts_with(b"HTTP/1.1 413"));

    for tool in ["safe", "danger"] {
        let body = call(tool);
        let mut connection = target.connect().await;
        connection.send(expecting(body.len()).as_bytes()).await;
        assert!(connection.until(b"HTTP/1.1 100 Continue\r\n\r\n").await);
        let answer = connection.exchange(body.as_bytes(), "POST").await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(
            target.executed(),
            if tool == "safe" { &["safe"][..] } else { &[] }
        );
    }
}

/// What was said of the body on its way here is not true of the one that goes
/// on.
#[tokio::test]
async fn r31_nothing_of_the_framing_goes_on() {
    let names = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&names);
    let server = service_fn(move |request: Request<RequestBody<Incoming>>| {
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.clone()));
        seen.lock().unwrap().extend(headers);
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    });
    let server = serve(guard().layer(server)).await;
    let body = call("safe");
    let headers = "expect: 100-continue\r\ntransfer-encoding: chunked\r\ntrailer: x\r\nte: trailers\r\ncontent-encoding: identity\r\nrange: bytes=0-9\r\nx-http-method-override: GET\r\n";
    let request = head(headers) + &format!("{:x}\r\n{body}\r\n0\r\nx: y\r\n\r\n", body.len());
    let mut connection = Connection::open(server.address).await;
    let answer = connection.exchange(request.as_bytes(), "POST").await;
    assert_eq!(answer.unwrap().status, 200);
    let length = body.len().to_string();
    assert_eq!(
        *names.lock().unwrap(),
        [
            ("host", "h"),
            ("content-type", "application/json"),
            ("content-length", &length),
            ("accept-encoding", "identity"),
        ]
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
    );
}

#[tokio::test]
async fn r27_http_2_is_no_way_around() {
    let lenient = Lenient::default();
    let server = serve(guard().layer(lenient.clone())).await;
    for (path, tool) in [("/mcp", "danger"), ("//mcp", "danger"), ("/mcp", "safe")] {
        let answer = send_with(http2(), post(&server.url(path), call(tool))).await;
        assert_eq!(answer.is_error(), tool == "danger", "{answer:?}");
        let mut connect = post(&server.url(path), call(tool));
        *connect.method_mut() = http::Method::PUT;
        assert_eq!(send_with(http2(), connect).await.status, 405);
    }
    assert_eq!(lenient.log.take(), ["safe"]);
}

/// What it costs to judge a body, at best: whatever else the machine does, it
/// does not do it every time.
fn cost(body: &Bytes) -> Duration {
    let layer = guard().max_body_size(usize::MAX).request_budget(usize::MAX);
    let server = service_fn(|_: Request<RequestBody<Full<Bytes>>>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let costs = (0..3).map(|_| {
        let request = Request::post("/mcp")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.clone()))
            .unwrap();
        let before = Instant::now();
        let answer = runtime
            .block_on(layer.layer(server).oneshot(request))
            .unwrap();
        let cost = before.elapsed();
        let text = runtime
            .block_on(answer.into_body().collect())
            .unwrap()
            .to_bytes();
        assert!(text.len() < 1_000, "{} bytes", text.len());
        cost
    });
    costs.min().unwrap()
}

#[test]
fn t37_what_is_deep_or_has_many_keys_is_refused_in_linear_time() {
    let in_call = |arguments: &dyn Fn(usize) -> String, size: usize| {
        let arguments = arguments(size);
        Bytes::from(format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"safe","arguments":{arguments}}}}}"#
        ))
    };
    let members = |key: &dyn Fn(usize) -> String, size: usize| {
        let members: Vec<_> = (0..size)
            .map(|index| format!("\"{}\":1", key(index)))
            .collect();
        format!("{{{}}}", members.join(","))
    };
    type Shape<'s> = (&'s str, &'s dyn Fn(usize) -> String);
    let shapes: &[Shape<'_>] = &[
        ("nested arrays", &|size| {
            "[".repeat(size) + &"]".repeat(size)
        }),
        ("nested objects", &|size| {
            "{\"a\":".repeat(size) + "1" + &"}".repeat(size)
        }),
        ("opened arrays", &|size| "[".repeat(size)),
        ("keys", &|size| {
            members(&|index| format!("key {index}"), size)
        }),
        ("keys that begin alike", &|size| {
            members(&|index| format!("{index:>040}"), size)
        }),
        ("escaped keys", &|size| {
            members(&|index| format!("\\u0061 {index}"), size)
        }),
        ("the same key", &|size| members(&|_| "key".to_owned(), size)),
        ("broken escapes", &|size| format!("\"{}", "\\".repeat(size))),
        ("ids", &|size| {
            "{}},\"id\":1".to_owned() + &",\"id\":1".repeat(size)
        }),
    ];
    for (what, shape) in shapes {
        let (small, large) = (cost(&in_call(shape, 2_000)), cost(&in_call(shape, 128_000)));
        let ratio = large.as_secs_f64() / small.as_secs_f64();
        assert!(ratio < 64.0 * 16.0, "{what}: {small:?}, then {large:?}");
    }
}
