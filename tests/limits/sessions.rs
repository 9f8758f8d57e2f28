//! What a caller gains by beginning sessions, or by making them up: nothing.

use http::Request;
use mcp_policy::PolicyLayer;

use crate::server::{Body, Exchange, modern_call, post};
use crate::support::clock::ManualClock;
use crate::{admitted, by, json, layer, meta, passes, policy, run, send};

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;

/// Begins a session of this name; whether that may go on.
async fn begin(layer: &PolicyLayer, caller: &str, session: &str) -> bool {
    let mut answer = json(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    let name = session.parse().unwrap();
    answer.headers_mut().insert("mcp-session-id", name);
    let layer = layer.clone();
    let request = by(post(INITIALIZE), caller);
    Exchange { layer, answer }.send(request).await.0.is_some()
}

fn within(mut request: Request<Body>, session: &str) -> Request<Body> {
    let session = session.parse().unwrap();
    request.headers_mut().insert("mcp-session-id", session);
    request
}

/// How often `run` is admitted to a caller in a session.
async fn in_session(layer: &PolicyLayer, caller: &str, session: &str) -> usize {
    admitted(layer, || within(by(run("{}"), caller), session)).await
}

fn two_a_session(rest: &str) -> (PolicyLayer, ManualClock) {
    layer(&policy(&format!(
        r#"{{ "limits": [ {{ "counter": "runs", "window": 60, "max": 2, "scope": "session" {rest} }} ] }}"#
    )))
}

#[tokio::test]
async fn each_session_has_a_budget_until_they_are_used_up() {
    let (layer, clock) = two_a_session("");
    for session in ["a", "b", "c", "d", "e"] {
        assert!(begin(&layer, "alice", session).await);
    }
    assert!(begin(&layer, "bob", "f").await);
    // Three of sessions, and one of everything else.
    for (session, expected) in [("a", 2), ("b", 2), ("c", 2), ("d", 2), ("e", 0), ("a", 0)] {
        assert_eq!(
            in_session(&layer, "alice", session).await,
            expected,
            "{session}"
        );
    }
    assert_eq!(admitted(&layer, || by(run("{}"), "alice")).await, 0);
    assert_eq!(in_session(&layer, "bob", "f").await, 2);
    assert_eq!(admitted(&layer, || by(run("{}"), "bob")).await, 2);
    clock.advance_secs(60);
    for (session, expected) in [("e", 2), ("d", 2), ("c", 2), ("a", 2), ("b", 0)] {
        assert_eq!(
            in_session(&layer, "alice", session).await,
            expected,
            "{session}"
        );
    }
}

#[tokio::test]
async fn made_up_sessions_and_modern_requests_share_one_budget() {
    let (layer, _) = two_a_session("");
    let made_up = std::cell::Cell::new(0);
    let request = || {
        made_up.set(made_up.get() + 1);
        within(
            by(run("{}"), "alice"),
            &format!("made-up-{}", made_up.get()),
        )
    };
    assert_eq!(admitted(&layer, request).await, 2);
    assert!(begin(&layer, "alice", "real").await);
    // A modern request is in no session, whatever it says.
    assert!(!passes(&layer, within(by(modern_call("run"), "alice"), "real")).await);
    assert!(!passes(&layer, by(modern_call("run"), "alice")).await);
    assert_eq!(in_session(&layer, "alice", "real").await, 2);
    // Another spelling of the session is that session.
    assert_eq!(in_session(&layer, "alice", "REAL").await, 0);
}

#[tokio::test]
async fn with_one_budget_there_is_none_of_sessions() {
    let (layer, _) = two_a_session(r#", "sessions": 1"#);
    assert!(begin(&layer, "alice", "a").await);
    assert!(begin(&layer, "alice", "b").await);
    assert_eq!(in_session(&layer, "alice", "a").await, 2);
    assert_eq!(in_session(&layer, "alice", "b").await, 0);
    assert_eq!(admitted(&layer, || by(run("{}"), "alice")).await, 0);
}

#[tokio::test]
async fn another_callers_session_is_no_budget() {
    let (layer, _) = two_a_session("");
    assert!(begin(&layer, "alice", "a").await);
    let (received, answer) = send(&layer, within(by(run("{}"), "bob"), "a")).await;
    assert!(received.is_none());
    assert_eq!(answer.code(), -32001);
    assert_eq!(in_session(&layer, "alice", "a").await, 2);
    assert_eq!(admitted(&layer, || by(run("{}"), "bob")).await, 2);
}

/// Ending and beginning again gives no budget that was not there.
#[tokio::test]
async fn reconnecting_buys_no_more_than_the_sessions_of_the_limit() {
    let (layer, clock) = two_a_session("");
    let mut ran = 0;
    for number in 0..20 {
        let session = format!("s{number}");
        assert!(begin(&layer, "alice", &session).await);
        ran += in_session(&layer, "alice", &session).await;
        let mut end = within(by(post(""), "alice"), &session);
        *end.method_mut() = http::Method::DELETE;
        assert!(passes(&layer, end).await);
        clock.advance_secs(1);
    }
    assert_eq!(ran, 8);
}

#[tokio::test]
async fn no_more_than_sixty_sessions_a_minute_are_begun() {
    let (layer, clock) = layer(r#"{ "version": "1", "default": "allow" }"#);
    for _ in 0..60 {
        assert!(begin(&layer, "alice", "s").await);
    }
    let (received, answer) = send(&layer, by(post(INITIALIZE), "alice")).await;
    assert!(received.is_none());
    assert_eq!(answer.status, 200);
    let error = &answer.json()["error"];
    assert_eq!(error["code"], -31429);
    assert_eq!(error["data"]["rule"], "(session)");
    assert_eq!(error["data"]["retryAfterMs"], 60_000);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("no session was begun"), "{message}");
    assert!(begin(&layer, "bob", "t").await);
    // What a session is used for is another matter.
    assert!(passes(&layer, by(run("{}"), "alice")).await);
    clock.advance_secs(60);
    assert!(begin(&layer, "alice", "s").await);
    // Where they are many who look like one.
    let layer = layer.dangerous().sessions_per_minute(70);
    assert_eq!(admitted(&layer, || by(post(INITIALIZE), "carol")).await, 70);
}

#[tokio::test]
async fn the_server_as_a_whole_has_one_budget() {
    let (layer, _) = layer(&policy(
        r#"{ "limits": [ { "counter": "runs", "window": "hour", "max": 3, "scope": "server" } ] }"#,
    ));
    for caller in ["alice", "bob", "carol"] {
        assert!(passes(&layer, by(run("{}"), caller)).await);
    }
    let (_, answer) = send(&layer, by(run("{}"), "dave")).await;
    assert_eq!(meta(&answer).0, "/tools/run/limits/runs");
}
