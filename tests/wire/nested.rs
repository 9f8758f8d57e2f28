//! Clients of 2025-06-18 and 2025-11-25 that are asked on the answer to their own call
//! whether that may be made.

mod attacked;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use mcp_policy::{
    ApprovalState, ApprovalStore, Approvals, Caller, HeldStreamsLayer, MemoryApprovalStore,
    PolicyLayer, RequestBody,
};
use serde_json::{Value, json};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::approved::stores::{Odd, Oddity};
use crate::rounds::Hands;
use crate::server::{Body, OK, pieces, post};

const POLICY: &str = r#"{
    "version": "1", "default": "deny",
    "tools": {
        "own": { "require_approval": { "approver": "caller", "reason": "It costs money." } },
        "ask": { "require_approval": true },
        "free": {}
    }
}"#;

type Answer = Response<Body>;

struct Guarded {
    layer: HeldStreamsLayer,
    approvals: Approvals,
    ran: Arc<Mutex<Vec<Value>>>,
    answer: Arc<dyn Fn() -> Answer + Send + Sync>,
}

fn json_answer() -> Answer {
    let answer = Response::builder().header("content-type", "application/json");
    let answer = answer.header("mcp-session-id", "s1");
    answer.body(pieces([OK])).unwrap()
}

fn guarded() -> Guarded {
    waiting(Duration::from_secs(25))
}

fn waiting(time: Duration) -> Guarded {
    of(PolicyLayer::new(POLICY.parse().unwrap()).approval_wait(time))
}

fn of(layer: PolicyLayer) -> Guarded {
    let store = Arc::new(MemoryApprovalStore::default());
    Guarded {
        layer: layer.approval_store(Arc::clone(&store)).with_held_streams(),
        approvals: Approvals::new(store),
        ran: Arc::default(),
        answer: Arc::new(json_answer),
    }
}

/// What a client gets, as far as it has read.
struct Reading {
    status: StatusCode,
    is_events: bool,
    body: http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, Infallible>,
}

impl Reading {
    /// The next message.
    async fn next(&mut self) -> Option<Value> {
        let bytes = self.body.frame().await?.unwrap().into_data().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        let text = match self.is_events {
            true => {
                let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
                data.collect::<Vec<_>>().join("\n")
            }
            false => text.to_owned(),
        };
        Some(serde_json::from_str(&text).unwrap())
    }
}

impl Guarded {
    fn answering(self, answer: impl Fn() -> Answer + Send + Sync + 'static) -> Self {
        Self {
            answer: Arc::new(answer),
            ..self
        }
    }

    async fn sends(&self, caller: &str, mut request: Request<Body>) -> Reading {
        request.extensions_mut().insert(Caller::new(caller));
        let (ran, answer) = (Arc::clone(&self.ran), Arc::clone(&self.answer));
        let server = service_fn(move |request: Request<RequestBody<Body>>| {
            let (ran, answer) = (Arc::clone(&ran), Arc::clone(&answer));
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                ran.lock()
                    .unwrap()
                    .push(serde_json::from_slice(&body).unwrap());
                Ok::<_, Infallible>(answer())
            }
        });
        let answer = self.layer.layer(server).oneshot(request).await.unwrap();
        let kind = answer.headers().get("content-type");
        Reading {
            status: answer.status(),
            is_events: kind.is_some_and(|kind| kind == "text/event-stream"),
            body: BodyExt::boxed_unsync(answer.into_body()),
        }
    }

    /// A client with these capabilities begins a session.
    async fn begin(&self, elicitation: Value) {
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "clientInfo": {"name": "c", "version": "1"},
            "capabilities": {"elicitation": elicitation}}});
        self.sends("alice", post(body.to_string())).await;
        self.ran();
    }

    fn ran(&self) -> Vec<Value> {
        std::mem::take(&mut self.ran.lock().unwrap())
    }

    async fn in_state(&self, state: ApprovalState) -> usize {
        self.approvals.list(&[state]).await.unwrap().len()
    }
}

fn in_session(body: &Value, session: &str) -> Request<Body> {
    let mut request = post(body.to_string());
    let headers = request.headers_mut();
    for (name, value) in [
        ("mcp-protocol-version", "2025-06-18"),
        ("mcp-session-id", session),
        ("accept", "application/json, text/event-stream"),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    request
}

fn call(tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": tool, "arguments": {"secret": 4711}}})
}

fn allowed() -> Value {
    json!({"action": "accept", "content": {"decision": "allow_once"}})
}

fn response(question: &Value, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": question["id"], "result": result})
}

/// The call, and what its client is asked.
async fn asked(guarded: &Guarded) -> (Reading, Value) {
    guarded.begin(json!({})).await;
    let mut reading = guarded.sends("alice", in_session(&call("own"), "s1")).await;
    assert_eq!((reading.status, reading.is_events), (StatusCode::OK, true));
    let question = reading.next().await.unwrap();
    assert_eq!(question["method"], "elicitation/create");
    (reading, question)
}

#[tokio::test]
async fn a_client_is_asked_and_its_call_goes_on_in_the_same_stream() {
    let guarded = guarded();
    let (mut reading, question) = asked(&guarded).await;
    let params = &question["params"];
    assert_eq!(params.get("mode"), None);
    assert_eq!(
        params["requestedSchema"]["properties"]["decision"]["default"],
        "deny"
    );
    let message = params["message"].as_str().unwrap();
    assert!(
        message.contains("\"own\"") && message.contains("secret"),
        "{message}"
    );
    assert!(message.contains("It costs money."), "{message}");
    assert!(!question.to_string().contains("4711"));
    assert_eq!(guarded.ran(), [Value::Null; 0]);

    let answer = in_session(&response(&question, allowed()), "s1");
    let mut heard = guarded.sends("alice", answer).await;
    assert_eq!(heard.status, StatusCode::ACCEPTED);
    assert_eq!(heard.next().await, None);
    let answer = reading.next().await.unwrap();
    assert_eq!(answer, serde_json::from_str::<Value>(OK).unwrap());
    assert_eq!(reading.next().await, None);
    assert_eq!(guarded.ran(), [call("own")]);
    assert_eq!(guarded.in_state(ApprovalState::Used).await, 1);

    // The same answer once more is for nothing.
    let again = guarded
        .sends("alice", in_session(&response(&question, allowed()), "s1"))
        .await;
    assert_eq!(again.status, StatusCode::ACCEPTED);
    let mut reading = guarded.sends("alice", in_session(&call("own"), "s1")).await;
    assert_eq!(
        reading.next().await.unwrap()["method"],
        "elicitation/create"
    );
    assert_eq!(guarded.ran(), [Value::Null; 0]);
}

#[tokio::test]
async fn a_client_that_does_not_allow_it_is_told_that_it_was_denied() {
    for said in [
        json!({"action": "accept", "content": {"decision": "deny"}}),
        json!({"action": "decline"}),
        json!({"action": "cancel"}),
    ] {
        let guarded = guarded();
        let (mut reading, question) = asked(&guarded).await;
        guarded
            .sends("alice", in_session(&response(&question, said), "s1"))
            .await;
        let answer = reading.next().await.unwrap();
        assert_eq!(answer["id"], 1);
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("denied exactly this call"), "{text}");
        assert_eq!(reading.next().await, None);
        assert_eq!(guarded.ran(), [Value::Null; 0]);
    }
}

/// An answer that is none, or nobody's to give.
#[tokio::test]
async fn t28_only_who_was_asked_can_answer_and_only_what_was_asked() {
    let mut guarded = guarded();
    let (reading, question) = asked(&guarded).await;
    // Another session of the same client.
    guarded = guarded.answering(|| {
        let mut answer = json_answer();
        let other = "s3".parse().unwrap();
        answer.headers_mut().insert("mcp-session-id", other);
        answer
    });
    guarded.begin(json!({})).await;
    let allow = response(&question, allowed());
    let mut changed = allow.clone();
    let mut id = question["id"].as_str().unwrap().to_owned();
    let last = if id.pop() == Some('A') { 'B' } else { 'A' };
    changed["id"] = json!(format!("{id}{last}"));
    // Another layer behind this one could have asked: that is nobody's approval here.
    let others = [
        ("bob", &allow, "s2"),
        ("alice", &allow, "s2"),
        ("alice", &allow, "s3"),
        ("alice", &changed, "s1"),
    ];
    for (caller, body, session) in others {
        guarded.sends(caller, in_session(body, session)).await;
    }
    assert_eq!(guarded.ran(), others.map(|(_, body, _)| body.clone()));
    // As a modern request, or as the state of a call.
    let mut stolen = call("own");
    stolen["params"]["requestState"] = question["id"].clone();
    let mut answer = guarded.sends("alice", in_session(&stolen, "s1")).await;
    assert_eq!(answer.next().await.unwrap()["error"]["code"], -32602);
    // What says less than that it is allowed changes nothing.
    for less in [
        json!({"action": "accept"}),
        json!({"action": "accept", "content": {"decision": ["allow_once"]}}),
        json!({}),
    ] {
        guarded
            .sends("alice", in_session(&response(&question, less), "s1"))
            .await;
    }
    let failed =
        json!({"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": ""}});
    guarded.sends("alice", in_session(&failed, "s1")).await;
    assert_eq!(guarded.in_state(ApprovalState::Pending).await, 1);
    // Other answers are the server's.
    let others = json!({"jsonrpc": "2.0", "id": "server-1", "result": allowed()});
    guarded.sends("alice", in_session(&others, "s1")).await;
    assert_eq!(guarded.ran(), [others]);
    drop(reading);
}

/// Its answer is for one time, as a state is.
#[tokio::test]
async fn t28_what_a_client_is_asked_expires() {
    let clock = Hands::default();
    let guarded = of(PolicyLayer::new(POLICY.parse().unwrap()).clock(clock.clone()));
    let (reading, question) = asked(&guarded).await;
    clock.pass(Duration::from_secs(601));
    let late = in_session(&response(&question, allowed()), "s1");
    let answer = guarded.sends("alice", late).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(guarded.ran(), [Value::Null; 0]);
    assert_eq!(guarded.in_state(ApprovalState::Pending).await, 1);
    drop(reading);
}

/// It can do without what an operator has allowed, and agreeing too late spoils nothing.
#[tokio::test]
async fn what_a_client_says_after_an_operator_counts_only_if_it_does_not_want_the_call() {
    for (said, state) in [
        (json!({"action": "decline"}), ApprovalState::Cancelled),
        (allowed(), ApprovalState::Approved),
    ] {
        let guarded = guarded();
        let (reading, question) = asked(&guarded).await;
        // It is not waited for any more.
        drop(reading);
        let pending = guarded.approvals.list(&[ApprovalState::Pending]).await;
        let approved = guarded.approvals.approve(pending.unwrap()[0].id(), "dora");
        approved.await.unwrap();
        guarded
            .sends("alice", in_session(&response(&question, said), "s1"))
            .await;
        assert_eq!(guarded.in_state(state).await, 1, "{state:?}");
    }
}

/// Somebody else may decide meanwhile.
#[tokio::test]
async fn an_operator_can_decide_while_a_client_is_asked() {
    let guarded = guarded();
    let (mut reading, question) = asked(&guarded).await;
    let pending = guarded
        .approvals
        .list(&[ApprovalState::Pending])
        .await
        .unwrap();
    guarded
        .approvals
        .approve(pending[0].id(), "dora")
        .await
        .unwrap();
    let answer = reading.next().await.unwrap();
    assert!(answer["result"]["content"].is_array(), "{answer}");
    assert_eq!(guarded.ran().len(), 1);
    // It comes too late, and is nobody's but ours.
    let late = in_session(&response(&question, allowed()), "s1");
    assert_eq!(
        guarded.sends("alice", late).await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(guarded.ran(), [Value::Null; 0]);
}

#[tokio::test]
async fn who_is_asked_for_too_long_can_answer_later() {
    // However short that is, the client is asked before it is over.
    let guarded = waiting(Duration::from_nanos(1));
    let (mut reading, question) = asked(&guarded).await;
    let answer = reading.next().await.unwrap();
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("Make the same call again once it is approved"),
        "{text}"
    );
    assert_eq!(reading.next().await, None);
    guarded
        .sends("alice", in_session(&response(&question, allowed()), "s1"))
        .await;
    let mut again = guarded.sends("alice", in_session(&call("own"), "s1")).await;
    assert!(!again.is_events);
    assert_eq!(again.next().await.unwrap()["id"], 1);
}

#[tokio::test]
async fn a_client_that_goes_away_is_not_waited_for() {
    let guarded = guarded();
    for _ in 0..30 {
        let (reading, _) = asked(&guarded).await;
        drop(reading);
    }
    assert_eq!(guarded.in_state(ApprovalState::Pending).await, 1);
    assert_eq!(guarded.ran(), [Value::Null; 0]);
}

/// The call waits on: it was not heard.
#[tokio::test]
async fn an_answer_that_the_store_does_not_hear_is_no_fault_of_the_client() {
    for (oddity, status, code) in [
        (Oddity::FailsToDecide, 503, -31503),
        (Oddity::PanicsAtDecide, 500, -32603),
    ] {
        let store = Arc::new(Odd::default());
        let layer = PolicyLayer::new(POLICY.parse().unwrap()).approval_store(Arc::clone(&store));
        let guarded = Guarded {
            layer: layer.with_held_streams(),
            approvals: Approvals::new(Arc::clone(&store) as Arc<dyn ApprovalStore>),
            ran: Arc::default(),
            answer: Arc::new(json_answer),
        };
        let (reading, question) = asked(&guarded).await;
        store.set(oddity);
        let answer = || in_session(&response(&question, allowed()), "s1");
        let mut heard = guarded.sends("alice", answer()).await;
        assert_eq!(heard.status, status);
        let told = heard.next().await.unwrap();
        assert_eq!(told["error"]["code"], code, "{told}");
        assert_eq!(guarded.ran(), [Value::Null; 0]);
        assert_eq!(guarded.in_state(ApprovalState::Pending).await, 1);
        store.set(Oddity::None);
        let heard = guarded.sends("alice", answer()).await;
        assert_eq!(heard.status, StatusCode::ACCEPTED);
        drop(reading);
    }
}

#[tokio::test]
async fn whatever_the_server_answers_ends_the_stream() {
    let answer = |status: u16, kind: &'static str, text: &'static str| {
        move || {
            let answer = Response::builder()
                .status(status)
                .header("content-type", kind);
            let answer = answer.header("mcp-session-id", "s1");
            answer.body(pieces([text])).unwrap()
        }
    };
    let mine = r#"{"jsonrpc":"2.0","id":1,
        "result":{"content":[]}}"#;
    let events = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\n";
    for (status, kind, text, expected) in [
        (200, "application/json", mine, json!({"content": []})),
        (500, "text/plain", "no", Value::Null),
        (
            404,
            "application/json",
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#,
            Value::Null,
        ),
        (202, "application/json", "", Value::Null),
        (503, "text/event-stream", events, Value::Null),
        (307, "application/json", "", Value::Null),
    ] {
        let guarded = guarded().answering(json_answer);
        let (mut reading, question) = asked(&guarded).await;
        let guarded = guarded.answering(answer(status, kind, text));
        // What answers is what the call was made with.
        drop(reading);
        reading = guarded.sends("alice", in_session(&call("own"), "s1")).await;
        let question = reading.next().await.unwrap_or(question);
        guarded
            .sends("alice", in_session(&response(&question, allowed()), "s1"))
            .await;
        let answer = reading.next().await.unwrap();
        assert_eq!(answer["id"], 1, "{answer}");
        assert_eq!(answer["result"], expected, "{answer}");
        assert_eq!(answer["error"].is_object(), expected.is_null(), "{answer}");
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        let told = !message.contains("HTTP") || message.contains(&status.to_string());
        assert!(told, "{answer}");
        assert_eq!(reading.next().await, None);
    }
    let guarded = guarded();
    drop(asked(&guarded).await);
    let guarded = guarded.answering(answer(200, "text/event-stream", events));
    let mut reading = guarded.sends("alice", in_session(&call("own"), "s1")).await;
    let question = reading.next().await.unwrap();
    guarded
        .sends("alice", in_session(&response(&question, allowed()), "s1"))
        .await;
    assert_eq!(reading.next().await.unwrap()["method"], "notifications/x");
}

#[tokio::test]
async fn whoever_cannot_be_asked_is_told_in_words() {
    // Whoever can be asked is, before that is over.
    let briefly = Duration::from_nanos(1);
    let waits = |mut reading: Reading| async move {
        assert!(!reading.is_events);
        let answer = reading.next().await.unwrap();
        assert_eq!(answer["result"]["isError"], true, "{answer}");
    };
    // Who says that it has no forms, or nothing.
    for elicitation in [json!({"url": {}}), json!(null), json!(7)] {
        let guarded = waiting(briefly);
        guarded.begin(elicitation).await;
        waits(guarded.sends("alice", in_session(&call("own"), "s1")).await).await;
    }
    let guarded = waiting(briefly);
    guarded.begin(json!({})).await;
    // Who may not approve it, is not known, speaks another version, or reads no events.
    waits(guarded.sends("alice", in_session(&call("ask"), "s1")).await).await;
    waits(guarded.sends("alice", in_session(&call("own"), "s2")).await).await;
    let mut older = in_session(&call("own"), "s1");
    older
        .headers_mut()
        .insert("mcp-protocol-version", "2025-03-26".parse().unwrap());
    waits(guarded.sends("alice", older).await).await;
    let mut plain = in_session(&call("own"), "s1");
    plain
        .headers_mut()
        .insert("accept", "application/json".parse().unwrap());
    waits(guarded.sends("alice", plain).await).await;
    // What needs nobody is answered as it is.
    let mut free = guarded
        .sends("alice", in_session(&call("free"), "s1"))
        .await;
    assert!(!free.is_events);
    assert_eq!(free.next().await.unwrap()["id"], 1);
}
