//! The headers of 2026-07-28 have to say what the body says.

use http::Request;

use crate::server::{ALLOW_ALL, Body, Exchange, META, call, modern_call, post};

/// A request with the given body and headers.
fn request(body: &str, headers: &[(&'static str, &str)]) -> Request<Body> {
    let mut request = post(body);
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

/// Status and JSON-RPC code of the refusal; `None` if the server was called.
async fn refusal(request: Request<Body>) -> Option<(u16, i64)> {
    let (received, answer) = Exchange::new(ALLOW_ALL).send(request).await;
    received
        .is_none()
        .then(|| (answer.status.as_u16(), answer.code()))
}

fn modern(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}{META}}}}}"#)
}

const VERSION: (&str, &str) = ("mcp-protocol-version", "2026-07-28");
const CALL: (&str, &str) = ("mcp-method", "tools/call");
const MISMATCH: Option<(u16, i64)> = Some((400, -32020));

#[tokio::test]
async fn a_modern_call_needs_all_of_them() {
    assert_eq!(refusal(modern_call("safe")).await, None);
    let body = modern("tools/call", r#""name":"safe","#);
    for headers in [
        &[][..],
        &[VERSION],
        &[VERSION, CALL],
        &[CALL, ("mcp-name", "safe")],
        &[VERSION, ("mcp-name", "safe")],
    ] {
        assert_eq!(
            refusal(request(&body, headers)).await,
            MISMATCH,
            "{headers:?}"
        );
    }
    // Methods without a name need no header for it.
    let list = modern("tools/list", "");
    let headers = [VERSION, ("mcp-method", "tools/list")];
    assert_eq!(refusal(request(&list, &headers)).await, None);
    let read = modern("resources/read", r#""uri":"a:b","#);
    let headers = [
        VERSION,
        ("mcp-method", "resources/read"),
        ("mcp-name", "a:b"),
    ];
    assert_eq!(refusal(request(&read, &headers)).await, None);
}

#[tokio::test]
async fn they_have_to_match() {
    let body = modern("tools/call", r#""name":"safe","#);
    for headers in [
        [
            ("mcp-protocol-version", "2025-11-25"),
            CALL,
            ("mcp-name", "safe"),
        ],
        [
            ("mcp-protocol-version", "2026-07-29"),
            CALL,
            ("mcp-name", "safe"),
        ],
        [VERSION, ("mcp-method", "tools/list"), ("mcp-name", "safe")],
        [VERSION, ("mcp-method", "TOOLS/CALL"), ("mcp-name", "safe")],
        [VERSION, CALL, ("mcp-name", "danger")],
        [VERSION, CALL, ("mcp-name", "Safe")],
        [VERSION, CALL, ("mcp-name", "")],
        [VERSION, CALL, ("mcp-name", "=?base64?ZGFuZ2Vy?=")],
        [VERSION, CALL, ("mcp-name", "=?base64?c2FmZQ?=")],
        [VERSION, CALL, ("mcp-name", "=?base64?%?=")],
        [VERSION, CALL, ("mcp-name", "=?BASE64?c2FmZQ==?=")],
    ] {
        assert_eq!(
            refusal(request(&body, &headers)).await,
            MISMATCH,
            "{headers:?}"
        );
    }
    for name in ["=?base64?c2FmZQ==?=", "  safe\t"] {
        let headers = [VERSION, CALL, ("mcp-name", name)];
        assert_eq!(refusal(request(&body, &headers)).await, None, "{name}");
    }
}

#[tokio::test]
async fn the_answer_names_the_header() {
    let body = modern("tools/call", r#""name":"safe","#);
    for (headers, text) in [
        (
            &[VERSION, ("mcp-name", "safe")][..],
            "The header Mcp-Method is missing. It must repeat the body.",
        ),
        (
            &[VERSION, CALL, ("mcp-name", "danger")],
            "The header Mcp-Name does not say what the body says.",
        ),
        (
            &[VERSION, VERSION, CALL],
            "The header MCP-Protocol-Version must stand once and be plain text or padded \
             Base64 between =?base64? and ?=.",
        ),
    ] {
        let (_, answer) = Exchange::new(ALLOW_ALL).send(request(&body, headers)).await;
        assert_eq!(answer.json()["error"]["message"], text);
    }
}

#[tokio::test]
async fn none_may_stand_there_twice() {
    for (name, value) in [VERSION, CALL, ("mcp-name", "safe")] {
        let mut request = modern_call("safe");
        request.headers_mut().append(name, value.parse().unwrap());
        assert_eq!(refusal(request).await, MISMATCH, "{name}");
    }
}

#[tokio::test]
async fn they_are_checked_in_every_era() {
    for headers in [
        [("mcp-method", "ping"), ("mcp-name", "safe")],
        [CALL, ("mcp-name", "danger")],
    ] {
        assert_eq!(
            refusal(request(&call("safe"), &headers)).await,
            MISMATCH,
            "{headers:?}"
        );
    }
    assert_eq!(
        refusal(request(
            &call("safe"),
            &[("mcp-protocol-version", "2025-06-18")]
        ))
        .await,
        None
    );
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    assert_eq!(
        refusal(request(list, &[("mcp-name", "safe")])).await,
        MISMATCH
    );
}

#[tokio::test]
async fn a_modern_request_carries_its_version_and_capabilities() {
    let missing = Some((400, -32602));
    for meta in [
        r#""x":1"#,
        r#""_meta":{}"#,
        r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#,
        r#""_meta":{"io.modelcontextprotocol/protocolVersion":7,"io.modelcontextprotocol/clientCapabilities":{}}"#,
        r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":[]}"#,
    ] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"safe",{meta}}}}}"#
        );
        let headers = [VERSION, CALL, ("mcp-name", "safe")];
        assert_eq!(refusal(request(&body, &headers)).await, missing, "{meta}");
    }
}

#[tokio::test]
async fn modern_clients_send_no_responses() {
    let response = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    assert_eq!(
        refusal(request(response, &[VERSION])).await,
        Some((400, -32600))
    );
    for header in [CALL, ("mcp-name", "safe")] {
        assert_eq!(refusal(request(response, &[header])).await, MISMATCH);
    }
    assert_eq!(refusal(request(response, &[])).await, None);
}

#[tokio::test]
async fn unknown_versions_are_left_to_the_server() {
    let body = modern("server/discover", "").replace("2026-07-28", "2999-01-01");
    let headers = [
        ("mcp-protocol-version", "2999-01-01"),
        ("mcp-method", "server/discover"),
    ];
    assert_eq!(refusal(request(&body, &headers)).await, None);
}

#[tokio::test]
async fn what_mirrors_arguments_is_left_to_the_server() {
    let mut request = modern_call("safe");
    request
        .headers_mut()
        .insert("mcp-param-region", "eu".parse().unwrap());
    let (received, _) = Exchange::new(ALLOW_ALL).send(request).await;
    assert_eq!(received.unwrap().headers["mcp-param-region"], "eu");
}
