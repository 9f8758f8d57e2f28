//! Who calls: sessions of others, lists of others, and what stays in records.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use mcp_policy::{AuditRecord, AuditSink, Caller, Policy, PolicyLayer, Receipt, RequestBody};
use tower::{Layer as _, service_fn};

use crate::cases::Target;
use crate::raw::Connection;
use crate::support::net::{Server, serve};

const SAFE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe"}}"#;

fn by_header(head: &Parts) -> Option<Caller> {
    let caller = head.headers.get("x-test-caller")?.to_str().ok()?;
    Some(Caller::new(caller))
}

/// A server with one session that every caller may call `safe` on, and the
/// requests that have reached it.
async fn with_a_session() -> (Server, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let server = service_fn(move |request: Request<RequestBody<Incoming>>| {
        let event_id = request.headers().get("last-event-id");
        let event_id = event_id.map_or("", |id| id.to_str().unwrap());
        log.lock()
            .unwrap()
            .push(format!("{}{event_id}", request.method()));
        let (media_type, body) = if request.method() == Method::GET {
            ("text/event-stream", format!("id: 8\ndata: {LIST}\n\n"))
        } else {
            (
                "application/json",
                r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned(),
            )
        };
        let response = Response::builder()
            .header("content-type", media_type)
            .header("mcp-session-id", "the-session")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    let policy = r#"{"version":"1","default":"deny","hide":["hidden"],"tools":{"safe":{}}}"#;
    let layer = PolicyLayer::new(policy.parse().unwrap()).caller_with(by_header);
    (serve(layer.layer(server)).await, seen)
}

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"cacheScope":"public","ttlMs":3600000,"tools":[{"name":"safe"},{"name":"hidden"}]}}"#;

async fn ask(server: &Server, verb: &str, headers: &str, body: &str) -> (u16, String) {
    let mut connection = Connection::open(server.address).await;
    let request = format!(
        "{verb} /mcp HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    let answer = connection.exchange(request.as_bytes(), verb).await.unwrap();
    (answer.status, answer.text())
}

#[tokio::test]
async fn r24_the_session_of_another_is_none() {
    let (server, seen) = with_a_session().await;
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}"#;
    ask(&server, "POST", "x-test-caller: alice\r\n", initialize).await;
    seen.lock().unwrap().clear();
    for (verb, body) in [("POST", SAFE), ("GET", ""), ("DELETE", "")] {
        let headers = "x-test-caller: bob\r\nmcp-session-id: the-session\r\nlast-event-id: 7\r\n";
        assert_eq!(ask(&server, verb, headers, body).await.0, 404, "{verb}");
        let twice =
            "x-test-caller: bob\r\nmcp-session-id: other\r\nmcp-session-id: the-session\r\n";
        assert_eq!(ask(&server, verb, twice, body).await.0, 404, "{verb}");
    }
    assert_eq!(*seen.lock().unwrap(), [""; 0]);
    // What is replayed to its owner is filtered like everything else.
    let headers = "x-test-caller: alice\r\nmcp-session-id: the-session\r\nlast-event-id: 7\r\n";
    let (status, text) = ask(&server, "GET", headers, "").await;
    assert_eq!((status, text.contains("hidden")), (200, false), "{text}");
    assert!(text.contains(r#"{"name":"safe"}"#), "{text}");
    assert_eq!(*seen.lock().unwrap(), ["GET7"]);
}

#[tokio::test]
async fn t25_a_session_is_no_identity() {
    let (server, seen) = with_a_session().await;
    // The caller is found in the request; the session only has to fit.
    for (caller, status) in [("alice", 200), ("bob", 200)] {
        let headers = format!("x-test-caller: {caller}\r\nmcp-session-id: never-issued\r\n");
        assert_eq!(ask(&server, "POST", &headers, SAFE).await.0, status);
    }
    let initialize = SAFE.replace("tools/call", "initialize");
    ask(&server, "POST", "x-test-caller: alice\r\n", &initialize).await;
    let stolen = "x-test-caller: bob\r\nmcp-session-id: the-session\r\n";
    assert_eq!(ask(&server, "POST", stolen, SAFE).await.0, 404);
    assert_eq!(*seen.lock().unwrap(), ["POST"; 3]);
}

/// Alice sees everything, everybody else sees `safe`.
#[tokio::test]
async fn t13_a_list_for_one_is_not_kept_for_all() {
    let everything: Policy = r#"{"version":"1","default":"allow"}"#.parse().unwrap();
    let little: Policy = r#"{"version":"1","default":"hide","tools":{"safe":{}}}"#
        .parse()
        .unwrap();
    let layer = PolicyLayer::from_source(move |caller: &Caller| {
        Some(if caller.id() == "alice" {
            everything.clone()
        } else {
            little.clone()
        })
    })
    .caller_with(by_header);
    let server = service_fn(|_: Request<RequestBody<Incoming>>| async {
        let response = Response::builder().header("content-type", "application/json");
        Ok::<_, Infallible>(response.body(Full::new(Bytes::from(LIST))).unwrap())
    });
    let server = serve(layer.layer(server)).await;
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    for (caller, sees) in [("alice", true), ("bob", false)] {
        let headers = format!("x-test-caller: {caller}\r\n");
        let (_, text) = ask(&server, "POST", &headers, list).await;
        assert_eq!(text.contains("hidden"), sees, "{text}");
        assert!(
            text.contains(r#""cacheScope":"private","ttlMs":60000,"#),
            "{text}"
        );
    }
}

#[derive(Default)]
struct Records(Mutex<String>);

impl AuditSink for Records {
    fn record(&self, record: &AuditRecord) -> Receipt {
        self.0.lock().unwrap().push_str(&format!("{record:?}\n"));
        Receipt::recorded()
    }
}

#[tokio::test]
async fn r30_a_token_in_the_query_is_in_no_record() {
    let records = Arc::new(Records::default());
    let policy = r#"{"version":"1","default":"deny","tools":{"safe":{}}}"#;
    let layer = PolicyLayer::new(policy.parse().unwrap()).audit(Arc::clone(&records));
    let target = Target::guarded(&layer).await;
    for body in [SAFE, "no JSON"] {
        let mut connection = target.connect().await;
        let request = format!(
            "POST /mcp?access_token=hunter2 HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = connection
            .exchange(request.as_bytes(), "POST")
            .await
            .unwrap();
        assert!(!answer.text().contains("hunter2"), "{}", answer.text());
    }
    assert_eq!(target.executed(), ["safe"]);
    let records = records.0.lock().unwrap();
    assert!(records.contains("safe"), "{records}");
    assert!(!records.contains("hunter2"), "{records}");
}

#[test]
fn t41_a_policy_that_says_two_things_is_not_loaded() {
    for policy in [
        r#"{"version":"1","default":"deny","default":"allow"}"#,
        r#"{"version":"1","default":"deny","tools":{"pay":{"action":"deny","action":"allow"}}}"#,
        r#"{"version":"1","default":"deny","tools":{"pay":{"action":"deny"},"pay":{}}}"#,
        r#"{"version":"1","default":"deny","tools":{"pay":{"action":"deny"},"p\u0061y":{}}}"#,
        r#"{"version":"1","default":"deny","tools":{"pay":{"action":"deny"}},"tools":{}}"#,
        r#"{"version":"1","default":"deny","Default":"allow"}"#,
        "{\"version\":\"1\",\"default\":\"deny\"}{}",
        "\u{feff}{\"version\":\"1\",\"default\":\"deny\"}",
        "version: 1\ndefault: allow\n",
    ] {
        assert!(policy.parse::<Policy>().is_err(), "{policy}");
    }
}
