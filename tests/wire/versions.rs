//! What a version of the protocol does not have is refused in the words that
//! the version has for it, as the server would do.

use http::Request;

use crate::server::{Answer, Body, Exchange, META, Received, post};

const ALLOW: &str = r#"{"version":"1","default":"allow","methods":{"*":"allow"}}"#;
const TASKS: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#;

fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{{params}}}}}"#)
}

fn modern(method: &str, params: &str) -> Request<Body> {
    let mut request = post(request(method, params));
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", method),
    ];
    for (header, value) in headers {
        request.headers_mut().insert(header, value.parse().unwrap());
    }
    if params.contains(r#""taskId":"#) {
        let name = "t".parse().unwrap();
        request.headers_mut().insert("mcp-name", name);
    }
    request
}

async fn send(policy: &str, request: Request<Body>) -> (Option<Received>, Answer) {
    Exchange::new(policy).send(request).await
}

#[tokio::test]
async fn what_the_modern_era_has_done_away_with_is_no_method() {
    let deny = r#"{"version":"1","default":"deny"}"#;
    for (policy, method, params, legacy) in [
        (ALLOW, "resources/subscribe", "", -32602),
        (ALLOW, "resources/subscribe", r#""uri":1"#, -32602),
        (deny, "resources/subscribe", r#""uri":"a://b""#, -31403),
        (ALLOW, "tasks/result", "", -32602),
        (ALLOW, "tasks/result", r#""taskId":"t""#, -32602),
    ] {
        let (received, answer) = send(policy, post(request(method, params))).await;
        assert!(received.is_none());
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (200, legacy),
            "{params}"
        );

        let comma = if params.is_empty() { "" } else { "," };
        for meta in [META, TASKS] {
            let request = modern(method, &format!("{params}{comma}{meta}"));
            let (received, answer) = send(policy, request).await;
            assert!(received.is_none());
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (404, -32601),
                "{params}"
            );
            assert_eq!(answer.json()["id"], 7);
        }
    }
}

#[tokio::test]
async fn whoever_does_not_know_tasks_has_none() {
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        for (meta, expected) in [(META, (400, -32021)), (TASKS, (200, -32602))] {
            let request = modern(method, &format!(r#""taskId":"t",{meta}"#));
            let (received, answer) = send(ALLOW, request).await;
            assert!(received.is_none());
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                expected,
                "{method}"
            );
            if meta == META {
                let error = &answer.json()["error"];
                let needed = &error["data"]["requiredCapabilities"];
                assert!(needed["extensions"]["io.modelcontextprotocol/tasks"].is_object());
            }
        }
    }
    let to_a_task = format!(r#""notifications":{{"taskIds":["t"]}},{META}"#);
    let (received, answer) = send(ALLOW, modern("subscriptions/listen", &to_a_task)).await;
    assert!(received.is_none());
    assert_eq!(answer.code(), -32602);
}

#[tokio::test]
async fn only_the_extension_for_tasks_declares_them() {
    for capabilities in [
        r#"{"extensions":{"io.modelcontextprotocol/ui":{}}}"#,
        r#"{"extensions":["io.modelcontextprotocol/tasks"]}"#,
        r#"{"io.modelcontextprotocol/tasks":{}}"#,
        r#"{"tasks":{},"experimental":{"io.modelcontextprotocol/tasks":{}}}"#,
    ] {
        let meta = META.replace("{}", capabilities);
        let request = modern("tasks/get", &format!(r#""taskId":"t",{meta}"#));
        let (received, answer) = send(ALLOW, request).await;
        assert!(received.is_none());
        assert_eq!(answer.code(), -32021, "{capabilities}");
    }
}
