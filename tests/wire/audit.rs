//! What is recorded, when, and what becomes of what cannot be.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use futures::channel::oneshot;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use mcp_policy::{
    AuditRecord, AuditSink, Caller, DecisionRecord, Ending, MessageKind, Permit, PolicyLayer,
    Receipt, RequestBody, Unrecorded, Verdict,
};
use serde_json::Value;
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

use crate::server::{Body, Exchange, META, OK, POLICY, call, modern_call, pieces, post};

/// Keeps what it is handed, and answers as it is told to.
#[derive(Clone)]
struct Sink {
    records: Arc<Mutex<Vec<AuditRecord>>>,
    receipt: Arc<dyn Fn(&AuditRecord) -> Receipt + Send + Sync>,
}

impl Sink {
    fn answering(receipt: impl Fn(&AuditRecord) -> Receipt + Send + Sync + 'static) -> Self {
        Self {
            records: Arc::default(),
            receipt: Arc::new(receipt),
        }
    }

    fn new() -> Self {
        Self::answering(|_| Receipt::recorded())
    }

    fn take(&self) -> Vec<AuditRecord> {
        std::mem::take(&mut self.records.lock().unwrap())
    }

    /// The decision and how it ended, of the only message there was.
    fn only(&self) -> (DecisionRecord, Ending, Option<u16>) {
        let records = self.take();
        let [
            AuditRecord::Decision(decision),
            AuditRecord::Outcome(outcome),
        ] = &records[..]
        else {
            panic!("{records:?}");
        };
        assert_eq!(decision.id(), outcome.decision().id());
        (decision.clone(), outcome.ending(), outcome.status())
    }
}

impl AuditSink for Sink {
    fn record(&self, record: &AuditRecord) -> Receipt {
        self.records.lock().unwrap().push(record.clone());
        (self.receipt)(record)
    }
}

fn layer(sink: &Sink) -> PolicyLayer {
    PolicyLayer::new(POLICY.parse().unwrap())
        .server_name("fixture")
        .audit(sink.clone())
}

/// Whether the request reached the server, and the code that it was refused
/// with.
async fn send(
    layer: PolicyLayer,
    mut request: Request<Body>,
    answer: Response<Body>,
) -> (bool, i64) {
    request.extensions_mut().insert(Caller::new("alice"));
    let (received, answer) = Exchange { layer, answer }.send(request).await;
    let code = serde_json::from_slice(&answer.body)
        .map_or(0, |json: Value| json["error"]["code"].as_i64().unwrap_or(0));
    (received.is_some(), code)
}

fn ok() -> Response<Body> {
    json(OK)
}

fn json(text: &str) -> Response<Body> {
    let response = Response::builder().header("content-type", "application/json");
    response.body(pieces([text])).unwrap()
}

fn message(rest: &str) -> Request<Body> {
    post(format!(r#"{{"jsonrpc":"2.0",{rest}}}"#))
}

#[tokio::test]
async fn every_message_leaves_a_decision_and_an_outcome() {
    use Verdict::{Allowed, Denied, Hidden, Invalid};
    let tool = |name: &str| post(call(name));
    let mut get = post("");
    *get.method_mut() = Method::GET;
    let mut delete = post("");
    *delete.method_mut() = Method::DELETE;
    let mut put = post("{}");
    *put.method_mut() = Method::PUT;
    let mut large = post("x");
    *large.body_mut() = pieces(vec!["x".repeat(1 << 20); 8]);
    for (request, kind, verdict, rule, name, ending) in [
        (
            tool("safe"),
            MessageKind::Request,
            Allowed,
            "/tools/safe",
            Some("safe"),
            Ending::Answered,
        ),
        (
            modern_call("safe"),
            MessageKind::Request,
            Allowed,
            "/tools/safe",
            Some("safe"),
            Ending::Answered,
        ),
        (
            tool("danger"),
            MessageKind::Request,
            Denied,
            "/tools/danger/action",
            Some("danger"),
            Ending::Refused,
        ),
        (
            tool("secret"),
            MessageKind::Request,
            Hidden,
            "(hidden)",
            Some("secret"),
            Ending::Refused,
        ),
        (
            tool("other"),
            MessageKind::Request,
            Denied,
            "(default deny)",
            Some("other"),
            Ending::Refused,
        ),
        (
            message(r#""id":1,"method":"ping""#),
            MessageKind::Request,
            Allowed,
            "(protocol)",
            None,
            Ending::Answered,
        ),
        (
            message(r#""id":1,"method":"x/y""#),
            MessageKind::Request,
            Denied,
            "(default deny)",
            None,
            Ending::Refused,
        ),
        (
            message(r#""method":"notifications/initialized""#),
            MessageKind::Notification,
            Allowed,
            "(protocol)",
            None,
            Ending::Answered,
        ),
        (
            message(r#""id":1,"result":{}"#),
            MessageKind::Response,
            Allowed,
            "(protocol)",
            None,
            Ending::Answered,
        ),
        (
            message(r#""id":1,"method":"tasks/get","params":{"taskId":"hunter2"}"#),
            MessageKind::Request,
            Denied,
            "(session)",
            None,
            Ending::Refused,
        ),
        (
            post("{"),
            MessageKind::Unreadable,
            Invalid,
            "(protocol)",
            None,
            Ending::Refused,
        ),
        (
            large,
            MessageKind::Unreadable,
            Invalid,
            "(protocol)",
            None,
            Ending::Refused,
        ),
        (
            put,
            MessageKind::Unreadable,
            Invalid,
            "(protocol)",
            None,
            Ending::Refused,
        ),
        (
            get,
            MessageKind::OpenStream,
            Allowed,
            "(protocol)",
            None,
            Ending::Answered,
        ),
        (
            delete,
            MessageKind::EndSession,
            Allowed,
            "(protocol)",
            None,
            Ending::Answered,
        ),
    ] {
        let sink = Sink::new();
        let (received, _) = send(layer(&sink), request, ok()).await;
        assert_eq!(received, verdict == Allowed);
        let (decision, ended, status) = sink.only();
        assert_eq!(decision.kind(), kind);
        assert_eq!((decision.verdict(), decision.rule()), (verdict, rule));
        assert_eq!((decision.name(), decision.is_allowed()), (name, received));
        assert_eq!(decision.caller(), Some("alice"));
        assert_eq!(decision.server(), Some("fixture"));
        assert_eq!((ended, status), (ending, received.then_some(200)));
    }
}

#[tokio::test]
async fn a_record_holds_names_and_no_values() {
    let sink = Sink::new();
    let with = layer(&sink);
    let mut bodies = vec![
        r#""method":"tools/call","params":{"name":"safe","arguments":{"token":"hunter2","b":[{"hunter2":1}]},"_meta":{"x":"hunter2"}}"#,
        r#""method":"tools/call","params":{"name":"danger","arguments":{"token":"hunter2"}}"#,
        r#""method":"resources/read","params":{"uri":"https://h/p?token=hunter2"}"#,
        r#""method":"resources/read","params":{"uri":"https://h/p#hunter2"}"#,
        r#""method":"resources/read","params":{"uri":"https://a:hunter2@h/p"}"#,
        r#""method":"resources/read","params":{"uri":"https://h/p;s=hunter2"}"#,
        r#""method":"resources/subscribe","params":{"uri":"data:,hunter2"}"#,
        r#""method":"tasks/get","params":{"taskId":"hunter2"}"#,
        r#""method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"hunter2"}}"#,
        r#""method":"x/y","params":{"token":"hunter2"}"#,
        r#""method":"tools/call","params":"hunter2""#,
        r#""method":"tools/call","params":{"name":"safe","arguments":"hunter2"}"#,
        r#""method":"ping","params":NaN,"hunter2":1"#,
    ];
    for body in bodies.drain(..) {
        let mut request = message(&format!(r#""id":"hunter2",{body}"#));
        let headers = request.headers_mut();
        headers.insert("mcp-session-id", "hunter2".parse().unwrap());
        headers.insert("authorization", "Bearer hunter2".parse().unwrap());
        send(with.clone(), request, ok()).await;
    }
    let records = sink.take();
    assert_eq!(records.len(), 26);
    let text = serde_json::to_string(&records).unwrap() + &format!("{records:?}");
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains(r#""argument_keys":["b","token"]"#));
    assert!(text.contains(r#""name":"https://h/p""#));
}

/// Also where the headers of the modern era are missing.
#[tokio::test]
async fn the_era_of_a_message_is_recorded() {
    for (rest, era) in [
        (r#""id":1,"method":"ping""#.to_owned(), "legacy"),
        (r#""method":"notifications/progress""#.to_owned(), "legacy"),
        (
            format!(r#""id":1,"method":"tools/list","params":{{{META}}}"#),
            "modern",
        ),
        (
            format!(r#""method":"notifications/progress","params":{{{META}}}"#),
            "modern",
        ),
    ] {
        let sink = Sink::new();
        send(layer(&sink), message(&rest), ok()).await;
        let (decision, ..) = sink.only();
        assert_eq!(decision.era(), era, "{rest}");
    }
}

#[tokio::test]
async fn all_that_a_message_names_is_recorded() {
    let sink = Sink::new();
    let policy = r#"{"version":"1","default":"deny","resources":{"db:*":{}},"tools":{"a#b":{}}}"#;
    let with = PolicyLayer::new(policy.parse().unwrap()).audit(sink.clone());
    let listen = |uris: &str| {
        message(&format!(
            r#""id":1,"method":"subscriptions/listen","params":{{"notifications":{{"resourceSubscriptions":{uris}}}}}"#
        ))
    };
    for (request, name, more) in [
        (
            listen(r#"["db:a","db:b?x","db:c"]"#),
            "db:a",
            vec!["db:b", "db:c"],
        ),
        // The one for which it is refused.
        (listen(r#"["db:a","no:b","db:c"]"#), "no:b", vec![]),
        (post(call("a#b")), "a#b", vec![]),
    ] {
        send(with.clone(), request, ok()).await;
        let (decision, ..) = sink.only();
        assert_eq!(decision.name(), Some(name));
        assert_eq!(decision.more_names().collect::<Vec<_>>(), more);
    }
    let many = format!("[{}]", vec![r#""db:x""#; 1001].join(","));
    send(with.clone(), listen(&many), ok()).await;
    let (decision, ..) = sink.only();
    assert_eq!(decision.verdict(), Verdict::Invalid);
}

#[tokio::test]
async fn the_trace_of_a_message_is_recorded_if_it_is_one() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (traceparent, expected) in [
        (format!("\"{trace}\""), Some(trace)),
        (r#""not-a-trace hunter2""#.to_owned(), None),
        ("7".to_owned(), None),
    ] {
        let sink = Sink::new();
        let rest = format!(
            r#""id":1,"method":"tools/call","params":{{"name":"safe","_meta":{{"traceparent":{traceparent}}}}}"#
        );
        send(layer(&sink), message(&rest), ok()).await;
        let (decision, ..) = sink.only();
        assert_eq!(decision.trace_parent(), expected);
        let text = serde_json::to_string(&decision).unwrap();
        let is_there = text.contains(&format!(r#""traceparent":"{trace}""#));
        assert!(
            is_there == expected.is_some() && !text.contains("hunter2"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn the_names_of_the_fields_are_those_of_the_documentation() {
    let sink = Sink::new();
    // With something of everything that can be said.
    let policy = r#"{
        "version": "1", "default": "allow", "name": "p", "tools": {
            "safe": { "require": [ { "conditions": [ { "path": "args.a", "op": "eq", "value": 2 } ] } ],
                      "mode": "shadow" }
        }
    }"#;
    let with = PolicyLayer::new(policy.parse().unwrap())
        .server_name("s")
        .audit(sink.clone());
    let mut request =
        message(r#""id":1,"method":"tools/call","params":{"name":"safe","arguments":{"a":1}}"#);
    let session = "s".parse().unwrap();
    request.headers_mut().insert("mcp-session-id", session);
    send(with, request, ok()).await;
    let page = include_str!("../../src/docs/audit.md");
    for record in sink.take() {
        let json = serde_json::to_value(&record).unwrap();
        let table = match json["event"].as_str().unwrap() {
            "decision" => page.split("| of an outcome").next().unwrap(),
            _ => page.split("| of an outcome").nth(1).unwrap(),
        };
        let table = table.split("Rules that are no place").next().unwrap();
        let table = table.split("## The fields").last().unwrap();
        let mut named: Vec<&str> = table
            .lines()
            .filter(|line| line.starts_with("| `"))
            .flat_map(|line| line.split('|').nth(1).unwrap().split(','))
            .map(|name| name.trim().trim_matches('`'))
            .collect();
        let mut written: Vec<&str> = json
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        written.retain(|name| *name != "event");
        // Others see to these.
        named.retain(|name| {
            ![
                "more_names",
                "inner",
                "approval",
                "decided_by",
                "traceparent",
            ]
            .contains(name)
        });
        named.sort_unstable();
        written.sort_unstable();
        assert_eq!(named, written);
    }
}

#[tokio::test]
async fn what_runs_is_refused_if_it_cannot_be_recorded() {
    let broken: [fn(&AuditRecord) -> Receipt; 3] = [
        |_| Receipt::unrecorded(),
        |_| Receipt::pending(async { Err(Unrecorded::new()) }),
        |_| panic!("a sink that panics"),
    ];
    for receipt in broken {
        for (request, passes) in [
            (post(call("safe")), false),
            (modern_call("safe"), false),
            (message(r#""id":1,"method":"ping""#), true),
            (message(r#""id":1,"method":"tools/list""#), true),
            (message(r#""method":"notifications/initialized""#), true),
        ] {
            let sink = Sink::answering(receipt);
            let (received, code) = send(layer(&sink), request, ok()).await;
            assert_eq!((received, code), (passes, if passes { 0 } else { -31503 }));
            let ending = if passes {
                Ending::Answered
            } else {
                Ending::Refused
            };
            assert_eq!(sink.only().1, ending);
        }
        let sink = Sink::answering(receipt);
        let (received, answer) = Exchange {
            layer: layer(&sink),
            answer: ok(),
        }
        .send(post(call("danger")))
        .await;
        assert!(received.is_none());
        assert!(answer.tool_error().contains("It is dangerous."));
    }
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let sink = Sink::answering(|_| Receipt::pending(std::future::pending()));
    let (received, code) = send(layer(&sink), post(call("safe")), ok()).await;
    assert_eq!((received, code), (false, -31503));
    let ping = message(r#""id":1,"method":"ping""#);
    let (received, code) = send(layer(&sink), ping, ok()).await;
    assert_eq!((received, code), (true, 0));
}

/// What the tests below poll by hand: a service that notes when it is called.
fn noting(
    sink: &Sink,
    called: &Arc<Mutex<u32>>,
) -> impl tower::Service<
    Request<Body>,
    Response = Response<mcp_policy::ResponseBody<Body>>,
    Error = Infallible,
    Future: Unpin,
> + use<> {
    let called = Arc::clone(called);
    let service = service_fn(move |_: Request<RequestBody<Body>>| {
        *called.lock().unwrap() += 1;
        std::future::ready(Ok::<_, Infallible>(ok()))
    });
    layer(sink).layer(service)
}

type Open = Arc<Mutex<Vec<oneshot::Sender<Result<(), Unrecorded>>>>>;

/// A sink whose records are kept when the test says so.
fn on_demand() -> (Sink, Open) {
    let open = Open::default();
    let senders = Arc::clone(&open);
    let sink = Sink::answering(move |_| {
        let (sender, receiver) = oneshot::channel();
        senders.lock().unwrap().push(sender);
        Receipt::pending(async { receiver.await.unwrap() })
    });
    (sink, open)
}

#[tokio::test]
async fn a_call_waits_for_its_decision_and_its_answer_for_the_outcome() {
    let (sink, open) = on_demand();
    let called = Arc::default();
    let mut service = noting(&sink, &called);
    let mut context = Context::from_waker(Waker::noop());
    let mut future = service.call(post(call("safe")));
    assert!(
        std::pin::Pin::new(&mut future)
            .poll(&mut context)
            .is_pending()
    );
    assert_eq!(*called.lock().unwrap(), 0, "called before it was recorded");
    let keep = |index: usize| {
        let sender = open.lock().unwrap().remove(index);
        sender.send(Ok(())).unwrap();
    };
    keep(0);
    assert!(
        std::pin::Pin::new(&mut future)
            .poll(&mut context)
            .is_pending()
    );
    assert_eq!(*called.lock().unwrap(), 1);
    assert_eq!(
        sink.take().len(),
        2,
        "the answer was there before its record"
    );
    keep(0);
    assert!(
        std::pin::Pin::new(&mut future)
            .poll(&mut context)
            .is_ready()
    );
}

#[tokio::test]
async fn whoever_goes_away_leaves_an_outcome() {
    let (sink, _open) = on_demand();
    let called = Arc::default();
    let mut future = noting(&sink, &called).call(post(call("safe")));
    let mut context = Context::from_waker(Waker::noop());
    assert!(
        std::pin::Pin::new(&mut future)
            .poll(&mut context)
            .is_pending()
    );
    drop(future);
    assert_eq!(sink.only().1, Ending::Cancelled);
    assert_eq!(*called.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_service_that_fails_leaves_an_outcome() {
    let sink = Sink::new();
    let service = service_fn(|_: Request<RequestBody<Body>>| async {
        Err::<Response<Body>, _>(std::io::Error::other("down"))
    });
    let result = layer(&sink)
        .layer(service)
        .oneshot(post(call("safe")))
        .await;
    assert!(result.is_err());
    assert_eq!(sink.only().1, Ending::Failed);
}

#[tokio::test]
async fn an_error_of_the_service_waits_for_its_record() {
    let (sink, open) = on_demand();
    let service = service_fn(|_: Request<RequestBody<Body>>| async {
        Err::<Response<Body>, _>(std::io::Error::other("down"))
    });
    let mut future = Box::pin(layer(&sink).layer(service).oneshot(post(call("safe"))));
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..2 {
        assert!(future.as_mut().poll(&mut context).is_pending());
        open.lock().unwrap().remove(0).send(Ok(())).unwrap();
    }
    assert!(future.as_mut().poll(&mut context).is_ready());
}

#[tokio::test]
async fn a_stream_is_recorded_when_it_begins() {
    let sink = Sink::new();
    let events = Response::builder()
        .header("content-type", "text/event-stream")
        .body(pieces(["data: {}\n\n"]))
        .unwrap();
    send(layer(&sink), post(call("safe")), events).await;
    assert_eq!(sink.only().1, Ending::Streaming);
}

#[tokio::test]
async fn an_answer_that_is_withheld_is_recorded_as_such() {
    let broken = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[}"#;
    let redirect = Response::builder().status(307).body(pieces([""])).unwrap();
    for (answer, status) in [(json(broken), 200), (redirect, 307)] {
        let sink = Sink::new();
        send(layer(&sink), post(call("safe")), answer).await;
        let (_, ending, seen) = sink.only();
        assert_eq!((ending, seen), (Ending::Withheld, Some(status)));
    }
}

#[tokio::test]
async fn the_decision_is_in_the_extensions_on_both_sides() {
    for (name, allowed) in [("safe", true), ("danger", false)] {
        let inside = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&inside);
        let service = service_fn(move |request: Request<RequestBody<RequestBody<Body>>>| {
            let permit = request.extensions().get::<Permit>().unwrap();
            *seen.lock().unwrap() = Some(permit.decision().id());
            async { Ok::<_, Infallible>(ok()) }
        });
        let inner = PolicyLayer::new(POLICY.parse().unwrap()).layer(service);
        let outer = r#"{"version":"1","default":"allow"}"#;
        // A layer around another that refuses does not cover that up.
        let both = PolicyLayer::new(outer.parse().unwrap()).layer(inner);
        let response = both.oneshot(post(call(name))).await.unwrap();
        let decision = response.extensions().get::<DecisionRecord>().unwrap();
        assert_eq!(decision.is_allowed(), allowed);
        assert_eq!(inside.lock().unwrap().is_some(), allowed);
        if !allowed {
            assert_eq!(decision.rule(), "/tools/danger/action");
            let id = decision.id().to_string();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let json: Value = serde_json::from_slice(&body).unwrap();
            let meta = &json["result"]["_meta"];
            assert_eq!(meta["io.github.mcp-policy/decisionId"], id);
        }
    }
}

#[tokio::test]
async fn what_was_taken_back_is_no_permission() {
    let sink = Sink::answering(|_| Receipt::unrecorded());
    let service = noting(&sink, &Arc::default());
    let response = service.oneshot(post(call("safe"))).await.unwrap();
    let decision = response.extensions().get::<DecisionRecord>().unwrap();
    assert_eq!(
        (decision.verdict(), decision.rule()),
        (Verdict::Unavailable, "(audit)")
    );
}

#[tokio::test]
async fn every_message_of_a_batch_leaves_its_own_records() {
    for (second, verdicts, ending) in [
        ("list_x", [Verdict::Allowed; 2], Ending::Answered),
        (
            "danger",
            [Verdict::Invalid, Verdict::Denied],
            Ending::Refused,
        ),
    ] {
        let sink = Sink::new();
        let second = call(second).replace("\"id\":1", "\"id\":2");
        let batch = post(format!("[{},{second}]", call("safe")));
        send(layer(&sink).accept_batches(), batch, ok()).await;
        let (mut decisions, mut outcomes) = (Vec::new(), Vec::new());
        for record in sink.take() {
            match record {
                AuditRecord::Decision(decision) => decisions.push(decision),
                AuditRecord::Outcome(outcome) => outcomes.push(outcome),
                _ => panic!("another kind of record"),
            }
        }
        let decided: Vec<_> = decisions.iter().map(DecisionRecord::verdict).collect();
        assert_eq!(decided, verdicts);
        assert_ne!(decisions[0].id(), decisions[1].id());
        let mut ended: Vec<_> = outcomes
            .iter()
            .map(|o| o.decision().id().to_string())
            .collect();
        let mut ids: Vec<_> = decisions.iter().map(|d| d.id().to_string()).collect();
        ended.sort_unstable();
        ids.sort_unstable();
        assert_eq!(ended, ids);
        assert!(outcomes.iter().all(|outcome| outcome.ending() == ending));
    }
}
