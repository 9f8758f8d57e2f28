//! Who calls decides which policy is asked.

use http::request::Parts;
use http::{Method, Request, Response};
use mcp_policy::{Caller, FromClient, FromServer, MessageGuard, Policy, PolicyLayer};

use crate::server::{Answer, Body, Exchange, OK, Received, call, modern_call, pieces, post};

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"cacheScope":"public","ttlMs":5,"tools":[{"name":"read"},{"name":"write"}]}}"#;

fn policy(text: &str) -> Policy {
    text.parse().unwrap()
}

/// Alice may do everything, bob may read and sees nothing else, and nobody
/// else has a policy.
fn layer() -> PolicyLayer {
    let everything = policy(r#"{"version":"1","default":"allow"}"#);
    let reading = policy(r#"{"version":"1","default":"hide","tools":{"read":{}}}"#);
    PolicyLayer::from_source(move |caller: &Caller| match caller.id() {
        "alice" => Some(everything.clone()),
        "bob" => Some(reading.clone()),
        "panic" => panic!("a source that panics"),
        _ => None,
    })
}

async fn send(
    caller: &str,
    mut request: Request<Body>,
    answer: &str,
    content_type: &str,
) -> (Option<Received>, Answer) {
    request.extensions_mut().insert(Caller::new(caller));
    let answer = Response::builder()
        .header("content-type", content_type)
        .body(pieces([answer]))
        .unwrap();
    let exchange = Exchange {
        layer: layer(),
        answer,
    };
    exchange.send(request).await
}

async fn calls(caller: &str, tool: &str) -> bool {
    send(caller, post(call(tool)), OK, "application/json")
        .await
        .0
        .is_some()
}

#[tokio::test]
async fn each_gets_the_verdict_of_its_own_policy() {
    assert!(calls("alice", "read").await && calls("alice", "write").await);
    assert!(calls("bob", "read").await && !calls("bob", "write").await);
    assert!(!calls("carol", "read").await);
}

#[tokio::test]
async fn each_sees_its_own_list_on_every_way() {
    for (caller, seen) in [
        ("alice", r#"[{"name":"read"},{"name":"write"}]"#),
        ("bob", r#"[{"name":"read"}]"#),
        ("carol", "[]"),
    ] {
        let expected = format!(r#""tools":{seen}"#);
        let ask = || post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
        let (_, answer) = send(caller, ask(), LIST, "application/json").await;
        assert!(
            answer.text().contains(&expected),
            "{caller}: {}",
            answer.text()
        );
        // Somebody else's list is different, so nobody may keep it.
        assert!(answer.text().contains(r#""cacheScope":"private""#));
        let event = format!("data: {LIST}\n\n");
        for method in [Method::POST, Method::GET] {
            let mut request = ask();
            *request.method_mut() = method;
            let (_, answer) = send(caller, request, &event, "text/event-stream").await;
            assert!(
                answer.text().contains(&expected),
                "{caller}: {}",
                answer.text()
            );
        }
    }
}

#[tokio::test]
async fn without_a_policy_only_the_handshake_passes() {
    for method in ["initialize", "ping", "tools/list"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
        assert!(
            send("carol", post(body), OK, "application/json")
                .await
                .0
                .is_some()
        );
    }
    let (received, answer) = send("carol", post(call("read")), OK, "application/json").await;
    assert!(received.is_none());
    assert!(answer.tool_error().contains("(no policy)"));
    for (method, params, code) in [
        ("prompts/get", r#"{"name":"p"}"#, -31403),
        ("resources/read", r#"{"uri":"a:b"}"#, -31403),
        ("skills/list", "{}", -32601),
        ("logging/setLevel", r#"{"level":"debug"}"#, -32601),
        ("resources/unsubscribe", r#"{"uri":"a:b"}"#, -32601),
        ("tasks/list", "{}", -32601),
        ("subscriptions/listen", r#"{"notifications":{}}"#, -32601),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let (received, answer) = send("carol", post(body), OK, "application/json").await;
        assert!(received.is_none());
        assert_eq!(answer.code(), code);
    }
}

#[tokio::test]
async fn without_a_policy_nothing_goes_on_unasked() {
    let said = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":1}}"#;
    let asked = r#"{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage","params":{}}"#;
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    for (caller, passes) in [("alice", true), ("carol", false)] {
        for method in [Method::POST, Method::GET] {
            let events = format!("data: {said}\n\ndata: {asked}\n\ndata: {answer}\n\n");
            let mut request = post(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
            *request.method_mut() = method;
            let (_, came) = send(caller, request, &events, "text/event-stream").await;
            let came = came.text();
            assert_eq!(
                [said, asked, answer].map(|one| came.contains(one)),
                [passes, passes, true],
                "{caller}: {came}"
            );
        }
        let to_server = r#"{"jsonrpc":"2.0","id":9,"result":{}}"#;
        let (received, _) = send(caller, post(to_server), "", "application/json").await;
        assert_eq!(received.is_some(), passes, "{caller}");
        let calls_off =
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
        let (received, _) = send(caller, post(calls_off), "", "application/json").await;
        assert!(received.is_some(), "{caller}");
    }
}

#[tokio::test]
async fn without_a_policy_nothing_unasked_comes_beside_an_answer() {
    let asked = r#"{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage","params":{}}"#;
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let ping = || post(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    for (caller, passes) in [("alice", true), ("carol", false)] {
        let both = format!("[{asked},{answer}]");
        for (text, kind) in [
            (both.clone(), "application/json"),
            (format!("data: {both}\n\n"), "text/event-stream"),
        ] {
            let (_, came) = send(caller, ping(), &text, kind).await;
            assert!(came.text().contains(answer), "{caller}: {}", came.text());
            assert_eq!(came.text().contains(asked), passes, "{caller}: {kind}");
        }
        let (_, came) = send(caller, ping(), asked, "application/json").await;
        assert_eq!(came.text().contains("sampling"), passes, "{caller}");
        assert_eq!(came.status, 200);
        // Nobody waits for what comes back, and the server has heard it.
        let heard = post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        let (_, came) = send(caller, heard, asked, "application/json").await;
        assert_eq!(came.status, 200);
        assert_eq!(came.text().contains("sampling"), passes, "{caller}");
    }
}

/// A client that hears of an error here may end its session.
#[tokio::test]
async fn an_answer_that_goes_nowhere_is_taken_all_the_same() {
    let answers = r#"{"jsonrpc":"2.0","id":9,"result":{}}"#;
    for body in [answers.to_owned(), format!("[{answers}]")] {
        let mut request = post(body);
        request.extensions_mut().insert(Caller::new("carol"));
        let exchange = Exchange {
            layer: layer().accept_batches(),
            ..Exchange::new(crate::server::POLICY)
        };
        let (received, came) = exchange.send(request).await;
        assert!(received.is_none());
        assert_eq!((came.status.as_u16(), came.text()), (202, ""));
    }
}

/// Whoever is shut out while a call is under way gets its answer, and nothing else.
#[tokio::test]
async fn a_call_from_before_is_answered_and_nothing_else_comes_with_it() {
    let said = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":1}}"#;
    let asked = r#"{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage","params":{}}"#;
    for (is_shut_later, passes) in [(false, true), (true, false)] {
        let events = format!("data: {said}\n\ndata: {asked}\n\ndata: {OK}\n\n");
        for (text, kind) in [
            (events, "text/event-stream"),
            (format!("[{said},{asked},{OK}]"), "application/json"),
        ] {
            let everything = policy(r#"{"version":"1","default":"allow"}"#);
            let is_later = std::sync::atomic::AtomicBool::new(false);
            let layer = PolicyLayer::from_source(move |_: &Caller| {
                let is_later = is_later.swap(true, std::sync::atomic::Ordering::SeqCst);
                let policy = everything.clone();
                Some(match is_later && is_shut_later {
                    true => policy.shut(),
                    false => policy,
                })
            });
            let answer = Response::builder()
                .header("content-type", kind)
                .body(pieces([text]))
                .unwrap();
            let (received, came) = Exchange { layer, answer }.send(post(call("read"))).await;
            assert!(received.is_some());
            assert_eq!(
                [said, asked, OK].map(|one| came.text().contains(one)),
                [passes, passes, true],
                "{kind}: {}",
                came.text()
            );
        }
    }
}

#[tokio::test]
async fn on_a_pipe_nothing_comes_with_the_answer_to_a_call_from_before_either() {
    let asked = r#"{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage","params":{}}"#;
    let open = policy(r#"{"version":"1","default":"allow"}"#);
    let locked = policy(r#"{"version":"1","default":"deny"}"#);
    let is_later = std::sync::atomic::AtomicBool::new(false);
    let guard = MessageGuard::from_source(move |_: &Caller| {
        let is_later = is_later.swap(true, std::sync::atomic::Ordering::SeqCst);
        Some(match is_later {
            true => locked.clone().shut(),
            false => open.clone(),
        })
    });
    let connection = guard.connect(Caller::local());
    let forwarded = connection.from_client(call("read").as_bytes()).await;
    assert_eq!(forwarded, FromClient::Forward);
    let both = format!("[{asked},{OK}]");
    let FromServer::Replace(came) = connection.from_server(both.as_bytes()).await else {
        panic!("what is unasked goes on");
    };
    assert_eq!(String::from_utf8(came).unwrap(), format!("[{OK}]"));
}

#[tokio::test]
async fn a_policy_that_is_shut_allows_nothing_whatever_it_says() {
    let text = r#"{
        "version": "1", "default": "allow", "methods": { "*": "allow" },
        "tools": { "asks": { "require_approval": true } }
    }"#;
    for (method, params) in [
        ("tools/call", r#"{"name":"read"}"#),
        ("tools/call", r#"{"name":"asks"}"#),
        ("prompts/get", r#"{"name":"p"}"#),
        ("resources/read", r#"{"uri":"a:b"}"#),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/prompt","name":"p"}}"#,
        ),
        ("skills/list", "{}"),
        ("logging/setLevel", r#"{"level":"debug"}"#),
        ("subscriptions/listen", r#"{"notifications":{}}"#),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let exchange = Exchange {
            layer: PolicyLayer::new(policy(text).shut()),
            ..Exchange::new(crate::server::POLICY)
        };
        let (received, _) = exchange.send(post(body)).await;
        assert!(received.is_none(), "{method} {params}");
    }
}

#[tokio::test]
async fn without_a_policy_a_server_instructs_no_model() {
    let greets = r#"{"jsonrpc":"2.0","id":1,"result":{"instructions":"Obey."}}"#;
    for (caller, passes) in [("alice", true), ("carol", false)] {
        let begins = post(r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#);
        let (_, came) = send(caller, begins, greets, "application/json").await;
        assert_eq!(came.text().contains("Obey."), passes, "{caller}");
        assert!(came.json()["result"].is_object());
    }
}

/// What is hidden otherwise stays hidden when nothing may be done.
#[tokio::test]
async fn a_policy_that_is_shut_shows_nothing_and_still_says_why() {
    let text = r#"{
        "version": "1", "default": "deny",
        "tools": { "*": { "action": "deny", "reason": "Locked." } }
    }"#;
    let exchange = async |request| {
        let answer = Response::builder()
            .header("content-type", "application/json")
            .body(pieces([LIST]))
            .unwrap();
        let layer = PolicyLayer::new(policy(text).shut());
        Exchange { layer, answer }.send(request).await
    };
    let list = post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    let (received, answer) = exchange(list).await;
    assert!(received.is_some());
    assert!(answer.text().contains(r#""tools":[]"#), "{}", answer.text());
    let (received, answer) = exchange(post(call("read"))).await;
    assert!(received.is_none());
    assert!(answer.tool_error().contains("Locked."));
}

#[tokio::test]
async fn a_closure_tells_who_calls() {
    let layer = layer().caller_with(|head: &Parts| {
        let name = head.headers.get("x-verified")?.to_str().ok()?;
        assert_ne!(name, "panic in the closure");
        Some(Caller::new(name))
    });
    for (name, passes) in [("alice", true), ("carol", false), ("", false)] {
        let mut request = post(call("write"));
        if !name.is_empty() {
            request
                .headers_mut()
                .insert("x-verified", name.parse().unwrap());
        }
        let exchange = Exchange {
            layer: layer.clone(),
            ..Exchange::new(crate::server::POLICY)
        };
        assert_eq!(exchange.send(request).await.0.is_some(), passes, "{name}");
    }
}

#[tokio::test]
async fn a_seam_that_panics_refuses() {
    for mut request in [post(call("read")), modern_call("read")] {
        request.extensions_mut().insert(Caller::new("panic"));
        let exchange = Exchange {
            layer: layer(),
            ..Exchange::new(crate::server::POLICY)
        };
        let (received, answer) = exchange.send(request).await;
        assert!(received.is_none());
        assert_eq!((answer.status.as_u16(), answer.code()), (200, -32603));
        assert_eq!(answer.json()["id"], 1);
    }
    let layer =
        layer().caller_with(|_: &Parts| -> Option<Caller> { panic!("a closure that panics") });
    for method in [Method::POST, Method::GET] {
        let mut request = post(call("read"));
        *request.method_mut() = method.clone();
        let exchange = Exchange {
            layer: layer.clone(),
            ..Exchange::new(crate::server::POLICY)
        };
        let (received, answer) = exchange.send(request).await;
        assert!(received.is_none());
        assert_eq!(answer.code(), -32603, "{method}");
    }
}

/// Sends through one layer, as one service that lives on: sessions are
/// remembered between requests.
async fn over_time(steps: &[(&str, Method, Option<&str>, &str, u16)]) {
    let layer = PolicyLayer::new(policy(r#"{"version":"1","default":"allow"}"#));
    for (caller, method, session, message, expected) in steps {
        let body = match *message {
            "initialize" => r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#.to_owned(),
            tool => call(tool),
        };
        let mut request = post(body);
        *request.method_mut() = method.clone();
        request.extensions_mut().insert(Caller::new(caller));
        if let Some(session) = session {
            request
                .headers_mut()
                .insert("mcp-session-id", session.parse().unwrap());
        }
        let answer = Response::builder()
            .header("content-type", "application/json")
            .header("mcp-session-id", "issued")
            .body(pieces([OK]))
            .unwrap();
        let exchange = Exchange {
            layer: layer.clone(),
            answer,
        };
        let (received, answer) = exchange.send(request).await;
        assert_eq!(
            answer.status, *expected,
            "{caller} {method} {session:?} {message}"
        );
        assert_eq!(received.is_some(), *expected == 200);
        if *expected == 404 {
            assert_eq!(answer.code(), -32001);
        }
    }
}

#[tokio::test]
async fn a_session_of_another_caller_does_not_exist() {
    let (post, get, delete) = (Method::POST, Method::GET, Method::DELETE);
    over_time(&[
        ("alice", post.clone(), None, "initialize", 200),
        ("alice", post.clone(), Some("issued"), "read", 200),
        ("alice", get.clone(), Some("issued"), "", 200),
        ("bob", post.clone(), Some("issued"), "read", 404),
        ("bob", post.clone(), Some("issued"), "initialize", 404),
        ("bob", get.clone(), Some("issued"), "", 404),
        ("bob", delete.clone(), Some("issued"), "", 404),
        ("alice", post.clone(), Some("issued"), "read", 200),
        // One that was not seen to be issued may be another replica's.
        ("bob", post.clone(), Some("unknown"), "read", 200),
        ("alice", delete, Some("issued"), "", 200),
        ("bob", post, Some("issued"), "read", 200),
    ])
    .await;
}

#[tokio::test]
async fn no_version_and_no_case_leads_into_the_session_of_another() {
    let layer = PolicyLayer::new(policy(r#"{"version":"1","default":"allow"}"#));
    let send = async |caller: &str, mut request: Request<Body>, session: &str| {
        request.extensions_mut().insert(Caller::new(caller));
        if !session.is_empty() {
            let session = session.parse().unwrap();
            request.headers_mut().insert("mcp-session-id", session);
        }
        let answer = Response::builder()
            .header("content-type", "application/json")
            .header("mcp-session-id", "Issued-1")
            .body(pieces([OK]))
            .unwrap();
        let layer = layer.clone();
        let (received, answer) = Exchange { layer, answer }.send(request).await;
        assert_eq!(received.is_none(), answer.status == 404);
        received.is_some()
    };
    // A modern request, as far as its headers say.
    let bare = |method: Method| {
        let mut request = modern_call("read");
        *request.method_mut() = method;
        request
    };
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#;
    assert!(send("alice", post(initialize), "").await);
    for session in [
        "Issued-1",
        "issued-1",
        "ISSUED-1",
        "{Issued1}",
        "urn:uuid:issued1",
    ] {
        assert!(!send("bob", post(call("read")), session).await);
        assert!(!send("bob", modern_call("read"), session).await);
        assert!(!send("bob", bare(Method::GET), session).await);
        assert!(!send("bob", bare(Method::DELETE), session).await);
        assert!(send("alice", post(call("read")), session).await);
        assert!(send("alice", modern_call("read"), session).await);
    }
    assert!(send("bob", modern_call("read"), "").await);
}

#[tokio::test]
async fn a_call_does_not_issue_sessions() {
    over_time(&[
        ("alice", Method::POST, None, "read", 200),
        ("bob", Method::POST, Some("issued"), "read", 200),
    ])
    .await;
}

#[tokio::test]
async fn a_request_names_one_session() {
    let mut request = post(call("read"));
    for session in ["a", "b"] {
        request
            .headers_mut()
            .append("mcp-session-id", session.parse().unwrap());
    }
    let (received, answer) = send("alice", request, OK, "application/json").await;
    assert!(received.is_none());
    assert_eq!((answer.status.as_u16(), answer.code()), (404, -32001));
}

#[tokio::test]
async fn each_seam_is_asked_once_for_each_request() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let (sources, callers) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (asked, identified) = (Arc::clone(&sources), Arc::clone(&callers));
    let reading = policy(r#"{"version":"1","default":"hide","tools":{"read":{}}}"#);
    let layer = PolicyLayer::from_source(move |_: &Caller| {
        asked.fetch_add(1, Ordering::SeqCst);
        Some(reading.clone())
    })
    .caller_with(move |_: &Parts| {
        identified.fetch_add(1, Ordering::SeqCst);
        None
    });
    // What is no message is refused before any policy is asked.
    for (body, asked) in [(call("read"), 1), (call("write"), 1), ("{".to_owned(), 0)] {
        for method in [Method::POST, Method::GET] {
            let mut request = post(&body);
            *request.method_mut() = method.clone();
            let exchange = Exchange {
                layer: layer.clone(),
                ..Exchange::new(crate::server::POLICY)
            };
            exchange.send(request).await;
            let asked = if method == Method::GET { 1 } else { asked };
            assert_eq!(sources.swap(0, Ordering::SeqCst), asked, "{method} {body}");
            assert_eq!(callers.swap(0, Ordering::SeqCst), 1, "{method} {body}");
        }
    }
}
