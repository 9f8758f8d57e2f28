//! A task belongs to the caller whose call it was made of.

use std::sync::Arc;
use std::task::{Context, Waker};

use http::{Method, Request, Response};
use mcp_policy::{
    Caller, MemorySessionStore, Policy, PolicyLayer, RequestBody, SessionOwner, SessionStore,
    TaskOwner,
};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::later::Later;
use crate::server::{Answer, Body, Exchange, META, Received, call, modern_call, pieces, post};

const ALLOW: &str = r#"{"version":"1","default":"allow"}"#;

async fn exchange(
    layer: &PolicyLayer,
    caller: &str,
    mut request: Request<Body>,
    content_type: &str,
    answer: &str,
) -> (Option<Received>, Answer) {
    request.extensions_mut().insert(Caller::new(caller));
    let answer = Response::builder()
        .header("content-type", content_type)
        .body(pieces([answer]))
        .unwrap();
    let layer = layer.clone();
    Exchange { layer, answer }.send(request).await
}

/// Whether the caller may ask for a task, and with which code it is refused.
async fn asks(layer: &PolicyLayer, caller: &str, method: &str, task: &str) -> i64 {
    let body =
        format!(r#"{{"jsonrpc":"2.0","id":9,"method":"{method}","params":{{"taskId":"{task}"}}}}"#);
    let answer = r#"{"jsonrpc":"2.0","id":9,"result":{}}"#;
    let (received, answer) = exchange(layer, caller, post(body), "application/json", answer).await;
    if received.is_some() { 0 } else { answer.code() }
}

/// A call that asks for a task, as in 2025-11-25.
fn task_call(tool: &str) -> Request<Body> {
    post(call(tool).replace("\"arguments\"", "\"task\":{},\"arguments\""))
}

fn layer(policy: &str) -> PolicyLayer {
    PolicyLayer::new(policy.parse().unwrap())
}

/// Layers whose store answers at once, and later.
fn layers(policy: &str, sessions: &Arc<MemorySessionStore>) -> [PolicyLayer; 2] {
    let layer = layer(policy);
    [
        layer.clone().session_store(Arc::clone(sessions)),
        layer.session_store(Later(Arc::clone(sessions))),
    ]
}

#[tokio::test]
async fn a_task_is_its_makers_alone_in_either_version_and_on_either_way() {
    let legacy = r#"{"task":{"taskId":"t","status":"working"}}"#;
    let modern = r#"{"resultType":"task","taskId":"t","status":"working"}"#;
    for (request, result) in [(task_call as fn(&str) -> _, legacy), (modern_call, modern)] {
        for id in ["1", "\"1\""] {
            let json = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
            let events = format!("data:\n\nevent: message\ndata: {json}\n\n");
            for (content_type, answer) in
                [("application/json", &json), ("text/event-stream", &events)]
            {
                for number in 0..2 {
                    let layers = layers(ALLOW, &Arc::default());
                    let layer = &layers[number];
                    assert_eq!(asks(layer, "alice", "tasks/get", "t").await, -32602);
                    let made = request("safe");
                    exchange(layer, "alice", made, content_type, answer).await;
                    for method in ["tasks/get", "tasks/result", "tasks/update", "tasks/cancel"] {
                        assert_eq!(asks(layer, "alice", method, "t").await, 0, "{answer}");
                        assert_eq!(asks(layer, "bob", method, "t").await, -32602);
                        assert_eq!(asks(layer, "alice", method, "T").await, -32602);
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn whoever_asks_for_a_task_of_another_hears_what_everybody_hears() {
    let layer = layer(ALLOW);
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"first"}}}"#;
    exchange(
        &layer,
        "alice",
        task_call("safe"),
        "application/json",
        answer,
    )
    .await;
    let mut answers = Vec::new();
    for task in ["first", "other"] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{{"taskId":"{task}"}}}}"#
        );
        let (_, answer) = exchange(&layer, "bob", post(body), "application/json", "{}").await;
        answers.push(answer.text().replace(task, "TASK"));
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn only_the_answer_to_a_call_tells_of_a_task() {
    let layer = layer(ALLOW);
    let answer =
        |id: u32| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"task":{{"taskId":"t"}}}}}}"#);
    let prompt =
        r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"p","task":{}}}"#;
    let json = "application/json";
    exchange(&layer, "alice", post(prompt), json, &answer(1)).await;
    // The client did not ask for a task.
    exchange(&layer, "alice", post(call("safe")), json, &answer(1)).await;
    // No task, although it is called so.
    let named = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","taskId":"t"}}"#;
    exchange(&layer, "alice", modern_call("safe"), json, named).await;
    // The answer to somebody else's request.
    exchange(&layer, "alice", task_call("safe"), json, &answer(2)).await;
    let mut stream = post("");
    *stream.method_mut() = Method::GET;
    let event = format!("data: {}\n\n", answer(1));
    exchange(&layer, "alice", stream, "text/event-stream", &event).await;
    assert_eq!(asks(&layer, "alice", "tasks/get", "t").await, -32602);
}

#[tokio::test]
async fn a_list_of_tasks_shows_the_callers_own() {
    let sessions = Arc::new(MemorySessionStore::default());
    let _ = sessions.begin_task("a", TaskOwner::new(&Caller::new("alice"), "safe"));
    let _ = sessions.begin_task("b", TaskOwner::new(&Caller::new("bob"), "safe"));
    let _ = sessions.begin_task("h", TaskOwner::new(&Caller::new("bob"), "hidden"));
    let policy = r#"{"version":"1","default":"allow","hide":["hidden"]}"#;
    let list = r#"{"jsonrpc":"2.0","id":1,"result":{"tasks":[{"taskId":"a","status":"working"},{"taskId":"h"},{"taskId":"b"},{"taskId":"unknown"},{"taskId":7},{"TaskId":"a"},{"taskId":"a","taskId":"b"}],"nextCursor":"c"}}"#;
    for (caller, shown) in [
        ("alice", r#"[{"taskId":"a","status":"working"}]"#),
        ("bob", r#"[{"taskId":"b"}]"#),
        ("carol", "[]"),
    ] {
        let body = || post(r#"{"jsonrpc":"2.0","id":1,"method":"tasks/list"}"#);
        let expected = format!(r#"{{"tasks":{shown},"nextCursor":"c"}}"#);
        for layer in layers(policy, &sessions) {
            let (_, answer) = exchange(&layer, caller, body(), "application/json", list).await;
            assert!(answer.text().contains(&expected), "{}", answer.text());
            let event = format!("data: {list}\n\n");
            let mut stream = body();
            *stream.method_mut() = Method::GET;
            let (_, answer) = exchange(&layer, caller, stream, "text/event-stream", &event).await;
            assert!(answer.text().contains(&expected), "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn lists_of_an_extension_stay_as_they_are() {
    let layer = layer(r#"{"version":"1","default":"allow","methods":{"*":"allow"}}"#);
    for result in [
        r#"{"tasks":[{"id":"t1","title":"buy milk"},{"task_id":"x"},7,"x"]}"#,
        r#"{"tasks":{"a":1}}"#,
        r#"{"tasks":3,"Tasks":[1],"tasks":4}"#,
        r#"[1,2]"#,
        r#"{"Result":1,"ttl_ms":2,"result":[1]}"#,
    ] {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"todo/list"}"#;
        let answer = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result},"__params__":[]}}"#);
        let (_, shown) = exchange(&layer, "alice", post(body), "application/json", &answer).await;
        assert_eq!(shown.text(), answer);
    }
}

#[tokio::test]
async fn what_is_told_of_a_task_right_behind_it_is_heard() {
    let made = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"task","taskId":"t","status":"working"}}"#;
    let told =
        r#"{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"t","result":{}}}"#;
    let events = format!("data: {made}\n\ndata: {told}\n\n");
    for number in 0..2 {
        let layer = &layers(ALLOW, &Arc::default())[number];
        let call = modern_call("safe");
        let (_, answer) = exchange(layer, "alice", call, "text/event-stream", &events).await;
        assert_eq!(answer.text(), events);
    }
}

#[tokio::test]
async fn nobody_hears_of_the_task_of_another() {
    let sessions = Arc::new(MemorySessionStore::default());
    let _ = sessions.begin_task("a", TaskOwner::new(&Caller::new("alice"), "safe"));
    let denying = r#"{"version":"1","default":"allow","tools":{"safe":{"action":"deny"}}}"#;
    let denying = layer(denying).session_store(Arc::clone(&sessions));
    // What made the task was approved, or there would be none.
    let asking =
        r#"{"version":"1","default":"allow","tools":{"safe":{"action":"require_approval"}}}"#;
    let layer = layer(ALLOW).session_store(Arc::clone(&sessions));
    for told in [
        r#"{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"a","result":{"content":[]}}}"#,
        r#"{"jsonrpc":"2.0","params":{"status":"completed","t\u0061skId":"a"},"method":"notifications/tasks/status"}"#,
    ] {
        let events = format!("data: {told}\n\n: still there\n\n");
        for (caller, hears) in [("alice", true), ("bob", false)] {
            let layers = [ALLOW, asking].map(|policy| layers(policy, &sessions));
            for layer in layers.into_iter().flatten() {
                let mut stream = post("");
                *stream.method_mut() = Method::GET;
                let event_stream = "text/event-stream";
                let (_, answer) = exchange(&layer, caller, stream, event_stream, &events).await;
                assert_eq!(answer.text().contains("params"), hears, "{caller} {told}");
                assert!(answer.text().contains("still there"));
            }
        }
        // Nor does its maker, once its tool may not be called any more.
        let mut stream = post("");
        *stream.method_mut() = Method::GET;
        let (_, answer) = exchange(&denying, "alice", stream, "text/event-stream", &events).await;
        assert_eq!(answer.text(), ": still there\n\n", "{told}");
        // What else a batch of the server's tells is heard.
        let other = r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#;
        let stay = format!("data: [{other}]\n\n");
        for batch in [format!("[{told},{other}]"), format!("[{other}, {told}]")] {
            let events = format!("data: {batch}\n\n");
            let mut stream = post("");
            *stream.method_mut() = Method::GET;
            let (_, answer) = exchange(&layer, "bob", stream, "text/event-stream", &events).await;
            assert_eq!(answer.text(), stay);
        }
    }
}

#[tokio::test]
async fn of_two_calls_with_one_id_in_a_session_no_task_is_known() {
    let sessions = Arc::new(MemorySessionStore::default());
    let layer = layer(ALLOW).session_store(Arc::clone(&sessions));
    let in_session = |session: &str| {
        let mut request = task_call("safe");
        let session = session.parse().unwrap();
        request.headers_mut().insert("mcp-session-id", session);
        request.extensions_mut().insert(Caller::new("alice"));
        request
    };
    // Its answer does not come before the second one's.
    let waiting = service_fn(|_: Request<RequestBody<Body>>| {
        std::future::pending::<Result<Response<Body>, std::convert::Infallible>>()
    });
    let mut first = Box::pin(layer.layer(waiting).oneshot(in_session("s")));
    let mut context = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending());
    // Of somebody who may not, it does not count.
    let _ = sessions.begin_session("hers", SessionOwner::new(&Caller::new("alice")));
    let hers = service_fn(|_: Request<RequestBody<Body>>| {
        std::future::pending::<Result<Response<Body>, std::convert::Infallible>>()
    });
    let mut bobs = in_session("hers");
    bobs.extensions_mut().insert(Caller::new("bob"));
    let mut second = Box::pin(layer.layer(hers).oneshot(bobs));
    assert!(second.as_mut().poll(&mut context).is_ready());
    for (session, task, code) in [
        ("S", "one", -32602),
        ("other", "two", 0),
        ("hers", "three", 0),
    ] {
        let answer =
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"task":{{"taskId":"{task}"}}}}}}"#);
        exchange(
            &layer,
            "alice",
            in_session(session),
            "application/json",
            &answer,
        )
        .await;
        assert_eq!(
            asks(&layer, "alice", "tasks/get", task).await,
            code,
            "{session}"
        );
    }
}

#[tokio::test]
async fn what_may_not_be_called_now_has_no_task() {
    let sessions = Arc::new(MemorySessionStore::default());
    let _ = sessions.begin_task("t", TaskOwner::new(&Caller::new("alice"), "tool"));
    for (policy, code) in [
        (r#"{"version":"1","default":"allow"}"#, 0),
        (
            r#"{"version":"1","default":"allow","tools":{"tool":{"action":"deny"}}}"#,
            -31403,
        ),
        (
            r#"{"version":"1","default":"allow","hide":["tool"]}"#,
            -32602,
        ),
        (r#"{"version":"1","default":"deny"}"#, -31403),
    ] {
        let layer = layer(policy).session_store(Arc::clone(&sessions));
        assert_eq!(
            asks(&layer, "alice", "tasks/get", "t").await,
            code,
            "{policy}"
        );
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{{"notifications":{{"taskIds":["t"]}},{META}}}}}"#
        );
        let mut listen = post(body);
        for (header, value) in [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "subscriptions/listen"),
        ] {
            listen.headers_mut().insert(header, value.parse().unwrap());
        }
        let (received, _) = exchange(&layer, "alice", listen, "text/event-stream", "").await;
        assert_eq!(received.is_some(), code == 0, "{policy}");
    }
}

/// A store that fails.
struct Broken;

impl SessionStore for Broken {
    fn begin_session(&self, _: &str, _: SessionOwner) -> mcp_policy::StoreAnswer<()> {
        panic!("no session is begun")
    }

    fn session_owner(&self, _: &str, _: &Caller) -> mcp_policy::StoreAnswer<Option<SessionOwner>> {
        panic!("no session is known")
    }

    fn end_session(&self, _: &str) -> mcp_policy::StoreAnswer<()> {
        panic!("no session is ended")
    }

    fn begin_task(&self, _: &str, _: TaskOwner) -> mcp_policy::StoreAnswer<()> {
        panic!("no task is begun")
    }

    fn task_owner(&self, _: &str, _: &Caller) -> mcp_policy::StoreAnswer<Option<TaskOwner>> {
        panic!("no task is known")
    }
}

#[tokio::test]
async fn a_store_that_panics_refuses_and_breaks_no_answer() {
    let policy: Policy = ALLOW.parse().unwrap();
    let layer = PolicyLayer::new(policy).session_store(Broken);
    assert_eq!(asks(&layer, "alice", "tasks/get", "t").await, -32603);
    let task = r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"t"}}}"#;
    let json = "application/json";
    let (received, answer) = exchange(&layer, "alice", post(call("safe")), json, task).await;
    assert!(received.is_some());
    assert_eq!(answer.text(), task);
    let mut in_session = post(call("safe"));
    let session = "s".parse().unwrap();
    in_session.headers_mut().insert("mcp-session-id", session);
    let (received, answer) = exchange(&layer, "alice", in_session, json, task).await;
    assert!(received.is_none());
    assert_eq!(answer.code(), -32603);
}
