//! Arrays of messages: refused, unless the layer accepts them; then each is
//! judged, and all go on or none.

use http::{Request, Response};
use mcp_policy::{
    AuditRecord, AuditSink, Caller, MemorySessionStore, Policy, Receipt, SessionStore as _,
};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::server::{Answer, Body, Exchange, META, OK, POLICY, Received, call, pieces, post};

fn layer() -> mcp_policy::PolicyLayer {
    mcp_policy::PolicyLayer::new(POLICY.parse().unwrap()).accept_batches()
}

async fn exchange(request: Request<Body>, answer: &str) -> (Option<Received>, Answer) {
    let answer = Response::builder()
        .header("content-type", "application/json")
        .body(pieces([answer]))
        .unwrap();
    let layer = layer();
    Exchange { layer, answer }.send(request).await
}

async fn send(body: &str) -> (Option<Received>, Answer) {
    exchange(post(body), "[]").await
}

/// Two calls, and what waits for no answer.
fn two_calls() -> Request<Body> {
    let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    post(format!(
        "[{},{note},{}]",
        call_with_id("\"a\"", "safe"),
        call_with_id("2", "safe")
    ))
}

/// The ids that errors of this code answer, and what they say.
fn errors(answers: &Value, code: i64) -> (Vec<Value>, String) {
    let answers = answers.as_array().unwrap();
    let all = answers.iter().map(|answer| {
        assert_eq!(answer["error"]["code"], code, "{answer}");
        answer["id"].clone()
    });
    let text = answers[0]["error"]["message"].as_str().unwrap();
    (all.collect(), text.to_owned())
}

fn call_with_id(id: &str, tool: &str) -> String {
    call(tool).replace("\"id\":1", &format!("\"id\":{id}"))
}

#[tokio::test]
async fn without_being_asked_to_no_batch_is_accepted() {
    let batch = format!("[{}]", call("safe"));
    for body in [batch.clone(), format!(" {batch}"), "[]".to_owned()] {
        let (received, answer) = Exchange::new(POLICY).send(post(body)).await;
        assert!(received.is_none());
        assert_eq!((answer.status.as_u16(), answer.code()), (400, -32600));
    }
}

#[tokio::test]
async fn what_may_go_on_goes_on_as_it_is() {
    let ping = r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#;
    let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let response = r#"{"jsonrpc":"2.0","id":9,"result":{}}"#;
    let body = format!(" [ {ping} ,{},\n{note},{response}] ", call("safe"));
    let answers = r#"[{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"secret"},{"name":"x"}]}},{"jsonrpc":"2.0","id":"p","result":{}}]"#;
    let (received, answer) = exchange(post(&body), answers).await;
    assert_eq!(received.unwrap().body, body);
    let shown = answers.replace(r#"{"name":"secret"},"#, "");
    assert_eq!(answer.text(), shown);
}

#[tokio::test]
async fn where_batches_are_accepted_one_message_needs_none() {
    let body = call("safe");
    let (received, answer) = exchange(post(&body), OK).await;
    assert_eq!(received.unwrap().body, body);
    assert_eq!(answer.text(), OK);
}

#[tokio::test]
async fn a_list_that_is_asked_for_among_others_is_read_or_withheld() {
    let list = r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#;
    let ping = r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#;
    for (body, passes) in [
        (format!("[{list},{ping}]"), false),
        (format!("[{ping},{list}]"), false),
        (format!("[{ping}]"), true),
    ] {
        let answer = Response::builder()
            .header("content-type", "text/plain")
            .body(pieces(["a list in some other way"]))
            .unwrap();
        let layer = layer();
        let (_, answer) = Exchange { layer, answer }.send(post(&body)).await;
        assert_eq!(
            answer.text() == "a list in some other way",
            passes,
            "{body}"
        );
    }
}

#[tokio::test]
async fn one_that_may_not_keeps_back_all() {
    let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    for (tool, code) in [
        ("danger", Value::Null),
        ("secret", Value::Null),
        ("other", Value::Null),
    ] {
        for order in [["\"a\"", "2"], ["2", "\"a\""]] {
            let calls = [("\"a\"", "safe"), ("2", tool)];
            let of = |id: &str| calls.iter().find(|call| call.0 == id).unwrap().1;
            let bodies = order.map(|id| call_with_id(id, of(id)));
            let body = format!("[{},{note},{}]", bodies[0], bodies[1]);
            let (received, answer) = send(&body).await;
            assert!(received.is_none(), "{tool}");
            assert_eq!(answer.status, 200);
            let answers = answer.json();
            assert_eq!(answers.as_array().unwrap().len(), 2);
            let of = |id: Value| {
                let answers = answers.as_array().unwrap();
                answers
                    .iter()
                    .find(|answer| answer["id"] == id)
                    .unwrap()
                    .clone()
            };
            assert_eq!(of(json!(2))["result"]["isError"], true, "{answers}");
            assert_eq!(of(json!(2))["error"], code);
            assert_eq!(of(json!("a"))["error"]["code"], -32600);
        }
    }
}

#[tokio::test]
async fn a_notification_that_may_not_keeps_back_all() {
    let note = r#"{"jsonrpc":"2.0","method":"notifications/made_up"}"#;
    let (received, answer) = send(&format!("[{note}]")).await;
    assert!(received.is_none());
    assert_eq!(answer.status, 400);
    assert!(answer.json().get("id").is_none());
    let (received, answer) = send(&format!("[{note},{}]", call("safe"))).await;
    assert!(received.is_none());
    assert_eq!(answer.json()[0]["error"]["code"], -32600);
}

#[tokio::test]
async fn what_is_no_batch_of_its_version_is_refused() {
    let safe = call("safe");
    let initialize = r#"{"jsonrpc":"2.0","id":2,"method":"initialize","params":{}}"#;
    let modern = safe.replace("\"arguments\":{}", META);
    let many = vec![r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#; 101].join(",");
    for body in [
        "[]".to_owned(),
        "[[]]".to_owned(),
        format!("[[{safe}]]"),
        format!("[{safe},7]"),
        format!("[{safe},null]"),
        format!("[{safe}]{safe}"),
        format!("[{safe},]"),
        format!("[{safe},{safe}]"),
        format!("[{safe},{}]", call_with_id("\"1\"", "safe")),
        format!("[{safe},{initialize}]"),
        format!("[{modern}]"),
        format!("[{many}]"),
        format!("\u{feff}[{safe}]"),
        format!(
            "[{}]",
            safe.replace("\"name\":\"safe\"", "\"name\":\"safe\",\"name\":\"danger\"")
        ),
        format!("[{}]", safe.replace("\"id\":1", "\"id\":null")),
    ] {
        let (received, answer) = send(&body).await;
        assert!(received.is_none(), "{body}");
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.json().get("id").is_none(), "{body}");
    }
    for (header, value) in [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-name", "other"),
        ("mcp-method", "ping"),
    ] {
        let mut request = post(format!("[{safe}]"));
        request.headers_mut().insert(header, value.parse().unwrap());
        let (received, answer) = exchange(request, "[]").await;
        assert!(received.is_none(), "{header}");
        assert_eq!(answer.status, 400, "{header}");
    }
}

#[tokio::test]
async fn each_task_of_a_batch_is_its_makers() {
    let sessions = Arc::new(MemorySessionStore::default());
    let body = format!(
        "[{},{}]",
        call_with_id("1", "safe"),
        call_with_id("2", "list_x")
    )
    .replace("\"arguments\"", "\"task\":{},\"arguments\"");
    let answers = r#"[{"jsonrpc":"2.0","id":2,"result":{"task":{"taskId":"two"}}},{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"one"}}}]"#;
    let answer = Response::builder()
        .header("content-type", "application/json")
        .body(pieces([answers]))
        .unwrap();
    let layer = layer().session_store(Arc::clone(&sessions));
    Exchange { layer, answer }.send(post(body)).await;
    for (task, tool) in [("one", "safe"), ("two", "list_x")] {
        let owner = sessions.task_owner(task, &Caller::anonymous());
        let owner = owner.get().await.unwrap().unwrap();
        assert_eq!(
            (owner.caller(), owner.tool()),
            (Caller::anonymous().id(), tool)
        );
    }
}

/// Keeps no record any more.
struct Full;

impl AuditSink for Full {
    fn record(&self, _: &AuditRecord) -> Receipt {
        Receipt::unrecorded()
    }
}

#[tokio::test]
async fn every_call_of_a_batch_hears_that_it_could_not_be_recorded() {
    let layer = layer().audit(Full);
    let answer = Response::new(pieces(["[]"]));
    let (received, answer) = Exchange { layer, answer }.send(two_calls()).await;
    assert!(received.is_none());
    assert_eq!(answer.status, 200);
    let (ids, text) = errors(&answer.json(), -31503);
    assert_eq!(ids, [json!("a"), json!(2)]);
    assert!(text.contains("was not made"), "{text}");
}

#[tokio::test]
async fn every_call_of_a_batch_hears_that_nothing_could_be_decided() {
    let source = |_: &Caller| -> Option<Policy> { panic!("a source that panics") };
    let layer = mcp_policy::PolicyLayer::from_source(source).accept_batches();
    let answer = Response::new(pieces(["[]"]));
    let (received, answer) = Exchange { layer, answer }.send(two_calls()).await;
    assert!(received.is_none());
    assert_eq!(answer.status, 200);
    let (ids, _) = errors(&answer.json(), -32603);
    assert_eq!(ids, [json!("a"), json!(2)]);
}

#[tokio::test]
async fn every_call_of_a_batch_hears_that_its_answer_is_withheld() {
    let json = ("content-type", "application/json");
    let large = format!("[{}]", " ".repeat(2000));
    for (status, header, body, expected) in [
        (200, json, "[NaN]", 200),
        (200, json, &*large, 200),
        (500, json, "[NaN]", 500),
        (200, ("content-encoding", "gzip"), "x", 200),
        (302, ("location", "/elsewhere"), "", 502),
    ] {
        let answer = Response::builder()
            .status(status)
            .header(header.0, header.1)
            .body(pieces([body]))
            .unwrap();
        let layer = layer().max_response_size(1000);
        let (received, answer) = Exchange { layer, answer }.send(two_calls()).await;
        assert!(received.is_some());
        assert_eq!(answer.status, expected, "{body}");
        let (ids, text) = errors(&answer.json(), -32603);
        assert_eq!(ids, [json!("a"), json!(2)]);
        let warns = text.contains("may have had its effect") || status == 302;
        assert!(warns, "{text}");
    }
}

#[tokio::test]
async fn every_call_of_a_batch_hears_that_its_event_is_withheld() {
    let large = format!("data: [\"{}", "x".repeat(2000));
    for (events, in_one) in [("data: [NaN,{}]\n\n", true), (&*large, false)] {
        let answer = Response::builder()
            .header("content-type", "text/event-stream")
            .body(pieces([events]))
            .unwrap();
        let layer = layer().max_response_size(1000);
        let (_, answer) = Exchange { layer, answer }.send(two_calls()).await;
        let data = answer.text().lines();
        let mut data = data.filter_map(|line| line.strip_prefix("data: "));
        let answers: Vec<Value> = if in_one {
            serde_json::from_str(data.next().unwrap()).unwrap()
        } else {
            let each = |text| serde_json::from_str(text).unwrap();
            data.by_ref().map(each).collect()
        };
        assert_eq!(data.next(), None);
        let (ids, text) = errors(&Value::Array(answers), -32603);
        assert_eq!(ids, [json!("a"), json!(2)]);
        assert!(text.contains("may have had its effect"), "{text}");
    }
}

/// Nobody waits, so there is nobody to tell by an id.
#[tokio::test]
async fn a_batch_that_waits_for_nothing_is_refused_without_an_id() {
    let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let (_, answer) = exchange(post(format!("[{note}]")), "[NaN]").await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.code(), -32603);
    assert!(answer.json().get("id").is_none());
}
