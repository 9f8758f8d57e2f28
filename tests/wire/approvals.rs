//! What somebody has to approve first, where nobody can be asked.

use std::sync::Arc;

use http::{Request, Response};
use mcp_policy::{
    Caller, DecisionRecord, MemorySessionStore, PolicyLayer, RequestBody, SessionStore, TaskOwner,
    Verdict,
};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::server::{Body, Exchange, META, OK, pieces, post};

const POLICY: &str = r#"{
    "version": "1",
    "default": "deny",
    "hide": ["pay_secret"],
    "tools": {
        "pay": { "rate_limit": "1/minute",
                 "require_approval": { "reason": "Large.", "conditions": [
                     { "path": "args.sum", "op": "gt", "value": 500 } ] } },
        "pay_*": { "action": "require_approval" },
        "shut_down": { "action": "require_approval" },
        "batch": { "unwrap": { "name": "args.calls[*].tool", "arguments": "args.calls[*].input" } },
        "tried": { "require_approval": true, "mode": "shadow" }
    },
    "resources": { "db:*": { "require_approval": true }, "open:*": {} },
    "prompts": { "letter": { "require_approval": { "conditions": [
        { "path": "args.to", "op": "eq", "value": "eve" } ] } } }
}"#;

fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

fn call(tool: &str, arguments: &str) -> String {
    let params = format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#);
    request("tools/call", &params)
}

fn batch(tool: &str, input: &str) -> String {
    let inside = format!(r#"{{"calls":[{{"tool":"{tool}","input":{input}}}]}}"#);
    call("batch", &inside)
}

#[tokio::test]
async fn a_call_that_has_to_be_approved_is_refused_and_told_so() {
    for (body, name, rule) in [
        (
            call("pay", r#"{"sum":501}"#),
            "pay",
            "/tools/pay/require_approval",
        ),
        (
            call("shut_down", "{}"),
            "shut_down",
            "/tools/shut_down/require_approval",
        ),
        (
            batch("pay", r#"{"sum":501}"#),
            "pay",
            "/tools/pay/require_approval",
        ),
    ] {
        let (received, answer) = Exchange::new(POLICY).send(post(body)).await;
        assert!(received.is_none());
        let text = answer.tool_error();
        let expected = format!(
            "Policy violation: the tool \"{name}\" was not used. It needs an approval, and nobody \
             can give one here. Trying again will not help; use something else or ask the \
             operator. [rule {rule}]"
        );
        assert_eq!(text, expected);
        let meta = &answer.json()["result"]["_meta"];
        assert_eq!(meta["io.github.mcp-policy/rule"], rule);
    }
}

#[tokio::test]
async fn prompts_and_resources_are_refused_alike_and_what_cannot_be_held_is() {
    for (method, params, rule) in [
        (
            "resources/read",
            r#"{"uri":"db:x"}"#,
            "/resources/db:*/require_approval",
        ),
        (
            "resources/subscribe",
            r#"{"uri":"db:x"}"#,
            "/resources/db:*/require_approval",
        ),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/resource","uri":"db:x"}}"#,
            "/resources/db:*/require_approval",
        ),
        (
            "subscriptions/listen",
            r#"{"notifications":{"resourceSubscriptions":["open:x","db:x"]}}"#,
            "/resources/db:*/require_approval",
        ),
        (
            "prompts/get",
            r#"{"name":"letter","arguments":{"to":"eve"}}"#,
            "/prompts/letter/require_approval",
        ),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/prompt","name":"letter"},"arguments":{"to":"bob"}}"#,
            "/prompts/letter/require_approval",
        ),
    ] {
        let body = post(request(method, params));
        let (received, answer) = Exchange::new(POLICY).send(body).await;
        assert!(received.is_none(), "{method} {params}");
        assert_eq!(answer.code(), -31403, "{method} {params}");
        assert_eq!(answer.json()["error"]["data"]["rule"], rule);
    }
    let bob = request(
        "prompts/get",
        r#"{"name":"letter","arguments":{"to":"bob"}}"#,
    );
    assert!(Exchange::new(POLICY).send(post(bob)).await.0.is_some());
}

/// A server that answers, and how a request to it was decided.
async fn decided(layer: &PolicyLayer, request: Request<Body>) -> DecisionRecord {
    let server = service_fn(async |_: Request<RequestBody<Body>>| {
        let answer = Response::builder().header("content-type", "application/json");
        Ok::<_, std::convert::Infallible>(answer.body(pieces([OK])).unwrap())
    });
    let response = layer.clone().layer(server).oneshot(request).await.unwrap();
    response.extensions().get().cloned().unwrap()
}

fn layer() -> PolicyLayer {
    PolicyLayer::new(POLICY.parse().unwrap())
}

#[tokio::test]
async fn what_waits_for_nobody_costs_nothing() {
    let layer = layer();
    for _ in 0..3 {
        let record = decided(&layer, post(call("pay", r#"{"sum":501}"#))).await;
        assert_eq!(record.verdict(), Verdict::Denied);
        assert_eq!(record.rule(), "/tools/pay/require_approval");
    }
    let small = || post(call("pay", r#"{"sum":5}"#));
    assert_eq!(decided(&layer, small()).await.verdict(), Verdict::Allowed);
    assert_eq!(decided(&layer, small()).await.verdict(), Verdict::Limited);
}

#[tokio::test]
async fn nobody_is_asked_in_shadow_and_it_is_recorded() {
    let record = decided(&layer(), post(call("tried", "{}"))).await;
    assert_eq!(record.verdict(), Verdict::Allowed);
    let json = serde_json::to_value(&record).unwrap();
    assert_eq!(
        json["shadow_rule"], "/tools/tried/require_approval",
        "{json}"
    );
    assert_eq!(json["shadow_verdict"], "denied", "{json}");
}

#[tokio::test]
async fn a_hidden_name_is_refused_like_others_about_which_somebody_is_asked() {
    for bodies in [
        ["pay_secret", "pay_others"].map(|name| (call(name, "{}"), name)),
        ["pay_secret", "pay_others"].map(|name| (batch(name, "{}"), name)),
    ] {
        let mut answers = Vec::new();
        for (body, name) in bodies {
            let (received, answer) = Exchange::new(POLICY).send(post(body)).await;
            assert!(received.is_none());
            answers.push(answer.without_decision_id().replace(name, "NAME"));
        }
        assert_eq!(answers[0], answers[1]);
    }
}

/// The refusal is for the dispatcher, whatever is inside it.
#[tokio::test]
async fn a_hidden_name_inside_what_is_refused_for_itself_is_not_named() {
    let unwrap = r#""unwrap":{"name":"args.tool","arguments":"args.input"}"#;
    for rule in [
        r#""require_approval":true"#,
        r#""limits":[{"counter":"c","window":1,"max":1,"increment_from":"args.sum"}]"#,
    ] {
        let policy = format!(
            r#"{{"version":"1","default":"deny","hide":["read_secret"],"tools":{{
                "read_*":{{}},"invoke":{{{unwrap},{rule}}}}}}}"#
        );
        let mut answers = Vec::new();
        for name in ["read_secret", "read_others"] {
            let inside = format!(r#"{{"tool":"{name}","input":{{}}}}"#);
            let body = post(call("invoke", &inside));
            let (received, answer) = Exchange::new(&policy).send(body).await;
            assert!(received.is_none());
            answers.push(answer.without_decision_id());
        }
        assert_eq!(answers[0], answers[1]);
        assert!(answers[0].contains("the tool \\\"invoke\\\" was not used"));
    }
}

/// What made it was approved, or there would be no task.
#[tokio::test]
async fn a_task_of_a_tool_that_asks_is_its_makers() {
    let sessions = Arc::new(MemorySessionStore::default());
    let alice = Caller::new("alice");
    let _ = sessions.begin_task("t", TaskOwner::new(&alice, "shut_down"));
    let layer = layer().session_store(sessions);
    let mut get = post(request("tasks/get", r#"{"taskId":"t"}"#));
    get.extensions_mut().insert(alice.clone());
    let record = decided(&layer, get).await;
    assert_eq!(record.verdict(), Verdict::Allowed, "{record:?}");
    let mut listen = post(request(
        "subscriptions/listen",
        &format!(r#"{{"notifications":{{"taskIds":["t"]}},{META}}}"#),
    ));
    listen.extensions_mut().insert(alice);
    for (header, value) in [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "subscriptions/listen"),
    ] {
        let value = value.parse().unwrap();
        listen.headers_mut().insert(header, value);
    }
    let record = decided(&layer, listen).await;
    assert_eq!(record.verdict(), Verdict::Allowed, "{record:?}");
}

#[tokio::test]
async fn a_tool_that_asks_is_listed() {
    let list = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"shut_down"},{"name":"pay"},{"name":"pay_secret"}]}}"#;
    let answer = Response::builder()
        .header("content-type", "application/json")
        .body(pieces([list]))
        .unwrap();
    let body = post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    let (_, answer) = Exchange::answering(POLICY, answer).send(body).await;
    let tools = &answer.json()["result"]["tools"];
    let names: Vec<&str> = tools
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["shut_down", "pay"]);
}
