//! Bodies that two JSON readers could understand differently never pass.

use crate::server::{ALLOW_ALL, Exchange, META, POLICY, call, post};

/// Bodies that are refused, and the JSON-RPC code for each.
const ODD: &[(&str, i64)] = &[
    // Duplicate keys, at any depth and in any spelling.
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","name":"danger"}}"#,
        -32600,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"danger"}}"#,
        -32600,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe"},"params":{"name":"danger"}}"#,
        -32600,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","n\u0061me":"danger"}}"#,
        -32600,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","arguments":{"a":[{"b":1,"b":2}]}}}"#,
        -32600,
    ),
    // Names that some server takes for those of the protocol.
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","Name":"danger"}}"#,
        -32600,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"danger"}}"#,
        -32600,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","name\u0000":"danger"}}"#,
        -32600,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe"},"paramſ":{"name":"danger"}}"#,
        -32600,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","a\u0001":1}}"#,
        -32600,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","__proto__":{"name":"danger"}}}"#,
        -32600,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe"," name":"danger"}}"#,
        -32600,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"resource_subscriptions":["a:b"]}}}"#,
        -32600,
    ),
    // Not JSON, though some reader takes it.
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","arguments":{"a":NaN}}}"#,
        -32700,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","arguments":{"a":-Infinity}}}"#,
        -32700,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe",}}"#,
        -32700,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe"}/**/}"#,
        -32700,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":'safe'}}"#,
        -32700,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe"}} x"#,
        -32700,
    ),
    (
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"safe\"}}\0",
        -32700,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","arguments":{"a":01}}}"#,
        -32700,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe""#,
        -32700,
    ),
    // JSON that readers differ on.
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","arguments":{"a":1e400}}}"#,
        -32600,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","arguments":{"a":"\ud800"}}}"#,
        -32600,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","arguments":{"\udc00":1}}}"#,
        -32600,
    ),
    // Neither a request nor a response.
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe"},"result":{}}"#,
        -32600,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe"},"error":{}}"#,
        -32600,
    ),
    (
        r#"{"jsonrpc":"1.0","id":1,"method":"tools/call","params":{"name":"safe"}}"#,
        -32600,
    ),
    (
        r#"{"id":1,"method":"tools/call","params":{"name":"safe"}}"#,
        -32600,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe"},"extra":1}"#,
        -32600,
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":["tools/call"],"params":{"name":"safe"}}"#,
        -32600,
    ),
];

#[tokio::test]
async fn odd_bodies_are_answered_with_their_id_and_never_passed() {
    for (body, code) in ODD {
        let (received, answer) = Exchange::new(ALLOW_ALL).send(post(body)).await;
        assert!(received.is_none(), "{body}");
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (200, *code),
            "{body}"
        );
        assert_eq!(answer.json()["id"], 1, "{body}");
    }
}

#[tokio::test]
async fn the_answer_says_what_is_wrong() {
    for (body, text) in [
        ("", "The body is empty. Send one JSON-RPC message."),
        (
            "{",
            "The body is not a JSON text in UTF-8: it ends in the middle of a value (at byte 1).",
        ),
        (
            r#"{"id":1,"method":"a","method":"b"}"#,
            "JSON readers differ on this body, so it is not let through: \
             an object has two members of the same name (at byte 22).",
        ),
        (
            "7",
            "The body is not a JSON-RPC message, which is an object.",
        ),
    ] {
        let (_, answer) = Exchange::new(ALLOW_ALL).send(post(body)).await;
        assert_eq!(answer.json()["error"]["message"], text, "{body}");
    }
}

#[tokio::test]
async fn in_the_modern_era_they_are_400() {
    for (body, code) in ODD {
        let mut request = post(body);
        request
            .headers_mut()
            .insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
        let (received, answer) = Exchange::new(ALLOW_ALL).send(request).await;
        assert!(received.is_none(), "{body}");
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (400, *code),
            "{body}"
        );
    }
}

#[tokio::test]
async fn without_an_id_that_can_be_trusted_they_are_400() {
    for (body, code) in [
        ("", -32700),
        (" \r\n", -32700),
        ("7", -32600),
        (r#""tools/call""#, -32600),
        ("[]", -32600),
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe"}}]"#,
            -32600,
        ),
        (
            r#"  [{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]"#,
            -32600,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"ID":2,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1e3,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":-0,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600),
        (
            r#"{"jsonrpc":"2.0","id":9007199254740992,"method":"ping"}"#,
            -32600,
        ),
        (r#"{"jsonrpc":"2.0","id":1}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, -32600),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{},"result":{}}"#,
            -32600,
        ),
        (
            "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
            -32700,
        ),
    ] {
        let (received, answer) = Exchange::new(ALLOW_ALL).send(post(body)).await;
        assert!(received.is_none(), "{body}");
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (400, code),
            "{body}"
        );
        assert!(answer.json().get("id").is_none(), "{body}");
    }
}

#[tokio::test]
async fn other_encodings_than_utf_8_never_pass() {
    let text = call("danger");
    let utf_16: Vec<u16> = text.encode_utf16().collect();
    let mut bodies: Vec<Vec<u8>> = vec![
        utf_16.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
        utf_16.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
        text.chars()
            .flat_map(|c| u32::from(c).to_le_bytes())
            .collect(),
        text.chars()
            .flat_map(|c| u32::from(c).to_be_bytes())
            .collect(),
        text.replace("danger", "safe")
            .replace("{}", "{\"a\":\"\u{ff}\"}")
            .chars()
            .map(|c| c as u8)
            .collect(),
    ];
    let mut marked = vec![0xff, 0xfe];
    marked.extend(&bodies[0]);
    bodies.push(marked);
    for body in bodies {
        let (received, answer) = Exchange::new(ALLOW_ALL).send(post(&body)).await;
        assert!(received.is_none(), "{body:?}");
        assert_eq!(answer.code(), -32700);
    }
}

#[tokio::test]
async fn depth_keys_and_lengths_are_bounded() {
    let deep = |depth: usize| {
        call("safe").replace(
            r#""arguments":{}"#,
            &format!(
                r#""arguments":{{"a":{}{}}}"#,
                "[".repeat(depth),
                "]".repeat(depth)
            ),
        )
    };
    let wide = |keys: usize| {
        let keys: Vec<_> = (0..keys).map(|key| format!("\"{key}\":0")).collect();
        call("safe").replace(
            r#""arguments":{}"#,
            &format!(r#""arguments":{{{}}}"#, keys.join(",")),
        )
    };
    let long_id = |length: usize| {
        call("safe").replace("\"id\":1", &format!("\"id\":\"{}\"", "x".repeat(length)))
    };
    let method = |length: usize| call("safe").replace("tools/call", &"x".repeat(length));
    let uri = |length: usize| {
        let uri = "u:".to_owned() + &"x".repeat(length - 2);
        call("safe")
            .replace("tools/call", "resources/read")
            .replace("\"name\":\"safe\"", &format!("\"uri\":\"{uri}\""))
    };
    for (passes, body) in [
        (true, uri(8_192)),
        (false, uri(8_193)),
        (true, method(256)),
        (false, method(257)),
        (true, deep(61)),
        (false, deep(62)),
        (false, deep(100_000)),
        (true, wide(10_000)),
        (false, wide(10_001)),
        (false, wide(100_000)),
        (true, long_id(1022)),
        (false, long_id(1023)),
        (true, call(&"x".repeat(1_024))),
        (false, call(&"x".repeat(1_025))),
    ] {
        let (received, _) = Exchange::new(ALLOW_ALL).send(post(&body)).await;
        assert_eq!(received.is_some(), passes, "{}…", &body[..60]);
    }
}

#[tokio::test]
async fn no_error_repeats_a_value() {
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"danger","arguments":{"token":"hunter2"}}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","arguments":{"hunter2":1,"hunter2":"hunter2"}}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","arguments":"hunter2"}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"hunter2","params":"hunter2"}"#.to_owned(),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"danger","password":"hunter2",{META}}}}}"#),
    ] {
        let (_, answer) = Exchange::new(POLICY).send(post(&body)).await;
        assert!(!answer.text().contains("hunter2"), "{}", answer.text());
    }
}

#[tokio::test]
async fn names_in_errors_are_cut_and_escaped() {
    let policy = r#"{"version":"1","default":"hide"}"#;
    let (_, answer) = Exchange::new(policy).send(post(call(r"a\u202eb"))).await;
    assert_eq!(
        answer.json()["error"]["message"],
        r"Unknown tool: a\u{202e}b"
    );
    let (_, answer) = Exchange::new(policy)
        .send(post(call(&"x".repeat(1_000))))
        .await;
    assert!(answer.text().len() < 300);
}
