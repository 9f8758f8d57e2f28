//! What a collector of traces is sent.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value as Attribute,
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
};

use crate::{
    fake::{Asked, Upstream},
    support::{Proxy, body, call, command, file, send, within},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const OTHER_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const OTHER_PARENT: &str = "b7ad6b7169203331";

fn traceparent(trace: &str, parent: &str) -> String {
    format!("00-{trace}-{parent}-01")
}

/// Takes spans as a collector does.
struct Collector {
    address: SocketAddr,
    received: Mutex<mpsc::UnboundedReceiver<Bytes>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = mpsc::unbounded_channel();
        let sender = Arc::new(sender);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sender = Arc::clone(&sender);
                let service = service_fn(move |request: Request<Incoming>| {
                    let sender = Arc::clone(&sender);
                    async move {
                        assert_eq!(request.uri().path(), "/v1/traces");
                        let body = request.into_body().collect().await.unwrap();
                        sender.send(body.to_bytes()).unwrap();
                        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        let received = Mutex::new(received);
        Self { address, received }
    }

    /// The next span, which comes alone.
    async fn span(&self) -> Span {
        let mut received = self.received.lock().await;
        let bytes = within("a span", received.recv()).await.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("argument-value"), "{text}");
        assert!(text.contains("mcp-policy-proxy"));
        let request = ExportTraceServiceRequest::decode(bytes).unwrap();
        let spans = request.resource_spans.into_iter();
        let spans = spans.flat_map(|spans| spans.scope_spans);
        let mut spans: Vec<Span> = spans.flat_map(|spans| spans.spans).collect();
        assert_eq!(spans.len(), 1);
        spans.remove(0)
    }

    async fn proxy(&self, upstream: SocketAddr, delay: &str) -> Proxy {
        let policy = r#"{"version":"1","default":"deny","tools":{"run":{}}}"#;
        self.proxy_with(policy, upstream, delay).await
    }

    async fn proxy_with(&self, policy: &str, upstream: SocketAddr, delay: &str) -> Proxy {
        let url = format!("http://{upstream}/mcp");
        let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--upstream", &url]);
        command
            .args(["--server-name", "fixture", "--policy"])
            .arg(file("policy.json", policy))
            .env("OTEL_BSP_SCHEDULE_DELAY", delay)
            .env(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("http://{}", self.address),
            );
        Proxy::spawn(&mut command).await
    }
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|found| found.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Attribute::StringValue(text) => Some(text.clone()),
        Attribute::IntValue(number) => Some(number.to_string()),
        other => panic!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn post(proxy: &Proxy, message: &Value, parent: Option<&str>) {
    let mut request = proxy.request();
    if let Some(parent) = parent {
        request = request
            .header("traceparent", parent)
            .header("tracestate", "vendor=theirs");
    }
    send(request.body(body(message)).unwrap()).await;
}

fn parents(asked: &Asked) -> (&str, Option<&str>) {
    (
        asked.header("traceparent").unwrap(),
        asked.header("tracestate"),
    )
}

#[tokio::test]
async fn a_call_is_a_span_of_its_callers_trace_and_the_server_is_told() {
    let (collector, upstream) = (Collector::start().await, Upstream::bind().await);
    let proxy = collector.proxy(upstream.address(), "10").await;
    let by_request = traceparent(TRACE, PARENT);
    let plain = call(1, "run");
    let mut in_message = plain.clone();
    in_message["params"]["_meta"] =
        json!({ "traceparent": traceparent(OTHER_TRACE, OTHER_PARENT) });
    for (message, parent, expected, state) in [
        (
            &plain,
            Some(&*by_request),
            Some((TRACE, PARENT)),
            Some("vendor=theirs"),
        ),
        (
            &in_message,
            Some(&*by_request),
            Some((OTHER_TRACE, OTHER_PARENT)),
            None,
        ),
        (&in_message, None, Some((OTHER_TRACE, OTHER_PARENT)), None),
        (&plain, None, None, None),
    ] {
        let (asked, ()) = tokio::join!(upstream.answers(), post(&proxy, message, parent));
        let span = collector.span().await;
        let (trace, id) = (hex(&span.trace_id), hex(&span.span_id));
        if let Some((expected_trace, expected_parent)) = expected {
            assert_eq!(
                (&*trace, &*hex(&span.parent_span_id)),
                (expected_trace, expected_parent)
            );
        } else {
            assert!(span.parent_span_id.is_empty() && ![TRACE, OTHER_TRACE].contains(&&*trace));
        }
        let (told, state_told) = parents(&asked);
        assert_eq!(told, traceparent(&trace, &id));
        assert_eq!(state_told, state);
        assert_eq!(span.name, "tools/call run");
        assert_eq!(span.kind, SpanKind::Server as i32);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        for (key, value) in [
            ("mcp.method.name", "tools/call"),
            ("gen_ai.tool.name", "run"),
            ("mcp_policy.server", "fixture"),
            ("mcp_policy.verdict", "allowed"),
            ("mcp_policy.rule", "/tools/run"),
            ("http.response.status_code", "200"),
        ] {
            assert_eq!(attribute(&span, key).as_deref(), Some(value), "{key}");
        }
    }
}

#[tokio::test]
async fn a_refused_call_is_a_span_too() {
    let (collector, upstream) = (Collector::start().await, Upstream::bind().await);
    let proxy = collector.proxy(upstream.address(), "10").await;
    post(
        &proxy,
        &call(1, "made-up"),
        Some(&traceparent(TRACE, PARENT)),
    )
    .await;
    let span = collector.span().await;
    assert_eq!(
        (hex(&span.trace_id), hex(&span.parent_span_id)),
        (TRACE.into(), PARENT.into())
    );
    assert_eq!(span.name, "refused");
    assert_eq!(
        attribute(&span, "mcp_policy.verdict").as_deref(),
        Some("denied")
    );
    assert_eq!(
        attribute(&span, "mcp_policy.rule").as_deref(),
        Some("(default deny)")
    );
}

#[tokio::test]
async fn names_that_clients_choose_are_no_names_of_spans() {
    let (collector, upstream) = (Collector::start().await, Upstream::bind().await);
    let policy = r#"{"version":"1","default":"allow","tools":{"run":{}},"prompts":{"greet":{}},
        "resources":{"file:*":{}}}"#;
    let proxy = collector.proxy_with(policy, upstream.address(), "10");
    let proxy = proxy.await;
    let message = |method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    for (message, expected) in [
        (call(1, "run"), "tools/call run"),
        (call(1, "made-up"), "tools/call"),
        (
            message("prompts/get", json!({ "name": "greet" })),
            "prompts/get greet",
        ),
        (
            message("resources/read", json!({ "uri": "file:///made-up" })),
            "resources/read",
        ),
    ] {
        let (_, ()) = tokio::join!(upstream.answers(), post(&proxy, &message, None));
        assert_eq!(collector.span().await.name, expected);
    }
}

#[tokio::test]
async fn the_last_spans_are_sent_at_the_end() {
    let (collector, upstream) = (Collector::start().await, Upstream::bind().await);
    let mut proxy = collector.proxy(upstream.address(), "3600000").await;
    post(&proxy, &call(1, "made-up"), None).await;
    proxy.signal("TERM").await;
    let (span, ended) = tokio::join!(collector.span(), proxy.end());
    assert_eq!(span.name, "refused");
    assert!(ended.success());
}

#[tokio::test]
async fn a_collector_that_is_not_there_keeps_nobody() {
    let upstream = Upstream::bind().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_, received) = mpsc::unbounded_channel();
    let collector = Collector {
        address: gone.local_addr().unwrap(),
        received: Mutex::new(received),
    };
    drop(gone);
    let mut proxy = collector.proxy(upstream.address(), "10").await;
    let call = call(1, "run");
    let (_, ()) = tokio::join!(upstream.answers(), post(&proxy, &call, None));
    proxy.signal("TERM").await;
    assert!(proxy.end().await.success());
}

#[tokio::test]
async fn a_state_of_a_trace_that_is_long_is_not_kept() {
    let (collector, upstream) = (Collector::start().await, Upstream::bind().await);
    let proxy = collector.proxy(upstream.address(), "10").await;
    let call = call(1, "run");
    let of_many = |members: usize| {
        let members = (0..members).map(|number| format!("m{number}={}", "x".repeat(200)));
        members.collect::<Vec<_>>().join(",")
    };
    let of_two = |length: usize| format!("a={},b={}", "x".repeat(200), "y".repeat(length));
    for (state, is_kept) in [
        (of_two(256), true),
        (of_many(2), true),
        (of_many(3), false),
        (of_many(30), false),
    ] {
        let request = proxy
            .request()
            .header("traceparent", traceparent(TRACE, PARENT))
            .header("tracestate", &state);
        let sending = async { send(request.body(body(&call)).unwrap()).await };
        let (asked, _) = tokio::join!(upstream.answers(), sending);
        let span = collector.span().await;
        assert_eq!(hex(&span.parent_span_id), PARENT);
        let expected = if is_kept { &*state } else { "" };
        assert_eq!(span.trace_state, expected);
        assert_eq!(parents(&asked).1.unwrap_or_default(), expected);
    }
}

#[tokio::test]
async fn an_address_of_a_collector_that_cannot_be_used_is_not_repeated() {
    for (name, url, said) in [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://alice:hunter2@127.0.0.1:1",
            "holds a user name or password",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://hunter2 /",
            "is not a URL",
        ),
    ] {
        let mut command = command(&["serve", "--upstream", "http://127.0.0.1:1/mcp"]);
        command.args(["--listen", "127.0.0.1:0", "--policy"]);
        command.arg(file("policy.json", r#"{"version":"1","default":"deny"}"#));
        command.env(name, url).env("RUST_LOG", "trace");
        let output = within("the end", command.output()).await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(name) && error.contains(said), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
