//! Which messages reach the server, and what the others are told.

use crate::server::{ALLOW_ALL, Exchange, META, POLICY, call, modern_call, post, send};

#[tokio::test]
async fn an_allowed_call_arrives_byte_for_byte() {
    let body = r#" { "id" : "a\u0062" , "jsonrpc":"2.\u0030","method":"tools\/call", "params":{"arguments":{"n":1.0e2},"n\u0061me":"s\u0061fe"}} "#;
    let (received, answer) = send(body).await;
    let received = received.unwrap();
    assert_eq!(received.body, body);
    assert_eq!(received.headers["content-length"], body.len().to_string());
    assert_eq!(received.headers["accept-encoding"], "identity");
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_denied_tool_is_explained_to_the_model() {
    let (received, answer) = send(call("danger")).await;
    assert!(received.is_none());
    assert_eq!(answer.status, 200);
    let text = answer.tool_error();
    assert!(text.contains("It is dangerous."), "{text}");
    assert!(text.contains("/tools/danger/action"), "{text}");
    let json = answer.json();
    assert_eq!(json["id"], 1);
    assert!(json["result"].get("resultType").is_none());
    assert!(json["result"].get("structuredContent").is_none());
    let meta = &json["result"]["_meta"];
    assert_eq!(meta["io.github.mcp-policy/rule"], "/tools/danger/action");
    assert_eq!(meta["io.github.mcp-policy/reason"], "It is dangerous.");

    let (received, answer) = Exchange::new(POLICY).send(modern_call("danger")).await;
    assert!(received.is_none());
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["result"]["resultType"], "complete");
    answer.tool_error();
}

#[tokio::test]
async fn ids_are_echoed_as_they_were_written() {
    for id in ["0", "-5", "9007199254740991", r#""""#, r#""\u0041\n\"x""#] {
        let (_, answer) = send(call("danger").replace("\"id\":1", &format!("\"id\":{id}"))).await;
        assert!(answer.text().contains(&format!("\"id\":{id},")), "{id}");
    }
}

#[tokio::test]
async fn hidden_is_like_never_existing() {
    for default in ["deny", "hide", "allow"] {
        let policy = POLICY.replace(
            r#""default": "deny""#,
            &format!(r#""default": "{default}""#),
        );
        for modern in [false, true] {
            let mut answers = Vec::new();
            for name in ["secret", "unheard", "hidden_x", "SECRET"] {
                let request = if modern {
                    modern_call(name)
                } else {
                    post(call(name))
                };
                let (received, answer) = Exchange::new(&policy).send(request).await;
                if default == "allow" && name == "unheard" {
                    assert!(received.is_some());
                    continue;
                }
                assert!(received.is_none(), "{name} under {default}");
                answers.push(format!(
                    "{} {:?} {}",
                    answer.status,
                    answer.headers.get("content-type"),
                    answer.text().replace(name, "NAME"),
                ));
            }
            answers.dedup();
            assert_eq!(answers.len(), 1, "{answers:#?}");
            let expected = if default == "deny" {
                "(default deny)"
            } else {
                "Unknown tool: NAME"
            };
            assert!(answers[0].contains(expected), "{}", answers[0]);
            assert!(!answers[0].contains("(hidden)"));
        }
    }
}

#[tokio::test]
async fn a_hidden_name_is_answered_like_an_unknown_one_that_patterns_speak_of() {
    for default in ["deny", "hide"] {
        for hidden in [
            r#""hide":["secret_admin"],"tools":{"secret_*":{"action":"deny","reason":"No."}}"#,
            r#""tools":{"secret_*":{"action":"deny"},"secret_admin":{"action":"hide"}}"#,
            r#""hide":["secret_admin"],"tools":{"secret_*":{"action":"deny"},"secret_admin":{"action":"deny"}}"#,
            r#""hide":["secret_admin"],"tools":{"SECRET_*":{"action":"deny"}}"#,
            r#""hide":["secret_*"],"tools":{"secret_*":{"action":"deny"}}"#,
        ] {
            let policy = format!(r#"{{"version":"1","default":"{default}",{hidden}}}"#);
            let mut answers = Vec::new();
            for name in ["secret_admin", "secret_zzzzz"] {
                let (received, answer) = Exchange::new(&policy).send(post(call(name))).await;
                assert!(received.is_none());
                answers.push(answer.without_decision_id().replace(name, "NAME"));
            }
            assert_eq!(answers[0], answers[1], "{policy}");
        }
    }
}

#[tokio::test]
async fn prompts_and_resources_follow_the_default() {
    let requests = [
        (r#""method":"prompts/get","params":{"name":"p"}"#, -32602),
        (
            r#""method":"resources/read","params":{"uri":"file:///x"}"#,
            -32002,
        ),
        (
            r#""method":"resources/subscribe","params":{"uri":"file:///x"}"#,
            -32002,
        ),
        (
            r#""method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"}}"#,
            -32602,
        ),
        (
            r#""method":"completion/complete","params":{"ref":{"type":"ref/resource","uri":"x:y"}}"#,
            -32002,
        ),
        (
            r#""method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["x:y"]}}"#,
            -32002,
        ),
    ];
    for (request, hidden) in requests {
        for (default, code) in [
            ("deny", Some(-31403)),
            ("hide", Some(hidden)),
            ("allow", None),
        ] {
            let policy = format!(r#"{{"version":"1","default":"{default}"}}"#);
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,{request}}}"#);
            let (received, answer) = Exchange::new(&policy).send(post(body)).await;
            assert_eq!(
                received.is_none(),
                code.is_some(),
                "{request} under {default}"
            );
            assert_eq!(answer.status, 200);
            if let Some(code) = code {
                assert_eq!(answer.code(), code, "{request} under {default}");
            }
        }
    }
}

#[tokio::test]
async fn prompts_and_resources_have_sections_of_their_own() {
    let policy = r#"{
        "version": "1", "default": "deny",
        "prompts": { "greet": {}, "scold": { "action": "hide" } },
        "resources": { "kestra://flows/*": {}, "file:///etc/*": { "action": "deny", "reason": "Private." } }
    }"#;
    for (request, code) in [
        (r#""method":"prompts/get","params":{"name":"greet"}"#, 0),
        (
            r#""method":"prompts/get","params":{"name":"scold"}"#,
            -31403,
        ),
        (
            r#""method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"greet"}}"#,
            0,
        ),
        (
            r#""method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"scold"}}"#,
            -31403,
        ),
        (
            r#""method":"resources/read","params":{"uri":"kestra://flows/a"}"#,
            0,
        ),
        (
            r#""method":"resources/read","params":{"uri":"KESTRA://flows/a"}"#,
            0,
        ),
        (
            r#""method":"resources/read","params":{"uri":"kestra://flows/../admin"}"#,
            -31403,
        ),
        (
            r#""method":"resources/read","params":{"uri":"kestra://flows/%2e%2e/admin"}"#,
            -31403,
        ),
        (
            r#""method":"resources/read","params":{"uri":"file:///etc/passwd"}"#,
            -31403,
        ),
        (
            r#""method":"resources/read","params":{"uri":"FILE:///etc/passwd"}"#,
            -31403,
        ),
        (
            r#""method":"resources/subscribe","params":{"uri":"file:///etc/passwd"}"#,
            -31403,
        ),
        (
            r#""method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["kestra://flows/a"]}}"#,
            0,
        ),
        (
            r#""method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["kestra://flows/a","file:///etc/passwd"]}}"#,
            -31403,
        ),
        (
            r#""method":"completion/complete","params":{"ref":{"type":"ref/resource","uri":"file:///etc/{name}"}}"#,
            -31403,
        ),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,{request}}}"#);
        let (received, answer) = Exchange::new(policy).send(post(body)).await;
        assert_eq!(received.is_some(), code == 0, "{request}");
        assert_eq!(answer.code(), code, "{request}");
        assert_eq!(
            answer.text().contains("Private."),
            answer.text().contains("/resources/")
        );
    }
    let hiding = policy.replace(r#""default": "deny""#, r#""default": "hide""#);
    let lists = r#"{"result":{"prompts":[{"name":"greet"},{"name":"scold"}],"resources":[{"uri":"kestra://flows/a"},{"uri":"file:///etc/passwd"},{"uri":"x:y"}],"resourceTemplates":[{"uriTemplate":"kestra://flows/{id}"},{"uriTemplate":"x:{y}"}]}}"#;
    let answer = http::Response::builder()
        .header("content-type", "application/json")
        .body(crate::server::pieces([lists]))
        .unwrap();
    let ask = post(r#"{"jsonrpc":"2.0","id":1,"method":"prompts/list"}"#);
    let (_, answer) = Exchange::answering(&hiding, answer).send(ask).await;
    assert_eq!(
        answer.text(),
        r#"{"result":{"prompts":[{"name":"greet"}],"resources":[{"uri":"kestra://flows/a"},{"uri":"file:///etc/passwd"}],"resourceTemplates":[{"uriTemplate":"kestra://flows/{id}"}]}}"#
    );
}

#[tokio::test]
async fn what_nothing_runs_by_always_passes() {
    for method in [
        "initialize",
        "ping",
        "server/discover",
        "logging/setLevel",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/unsubscribe",
        "subscriptions/listen",
    ] {
        let (received, _) =
            send(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#)).await;
        assert!(received.is_some(), "{method}");
    }
    for notification in ["initialized", "cancelled", "progress", "roots/list_changed"] {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"notifications/{notification}"}}"#);
        assert!(send(body).await.0.is_some(), "{notification}");
    }
    for response in [r#""result":{}"#, r#""error":{"code":1,"message":"no"}"#] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,{response}}}"#);
        assert!(send(body).await.0.is_some(), "{response}");
    }
}

#[tokio::test]
async fn other_methods_are_unknown_unless_the_policy_names_them() {
    let unknown = [
        "skills/list",
        "Tools/Call",
        "tools/call/",
        "tools/call\\u0000",
        " tools/call",
    ];
    for method in unknown {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"name":"danger"}}}}"#
        );
        let (received, answer) = send(&body).await;
        assert!(received.is_none(), "{method}");
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (200, -32601),
            "{method}"
        );

        let (received, _) = Exchange::new(ALLOW_ALL).send(post(body)).await;
        assert_eq!(received.is_some(), method == "skills/list", "{method}");
    }
    let policy = r#"{"version":"1","default":"allow","methods":{"a/b":"allow","*":"deny"}}"#;
    for (method, passes) in [("a/b", true), ("a/c", false), ("a/B", false)] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
        assert_eq!(
            Exchange::new(policy).send(post(body)).await.0.is_some(),
            passes,
            "{method}"
        );
    }
}

#[tokio::test]
async fn an_unknown_method_is_404_in_the_modern_era_only() {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"a/b","params":{{{META}}}}}"#);
    let mut request = post(body);
    request
        .headers_mut()
        .insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
    request
        .headers_mut()
        .insert("mcp-method", "a/b".parse().unwrap());
    let (received, answer) = Exchange::new(POLICY).send(request).await;
    assert!(received.is_none());
    assert_eq!((answer.status.as_u16(), answer.code()), (404, -32601));
}

#[tokio::test]
async fn a_method_in_the_wrong_kind_is_refused() {
    for (body, status) in [
        (
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"safe"}}"#,
            400,
        ),
        (r#"{"jsonrpc":"2.0","method":"tools/list"}"#, 400),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}"#,
            200,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"notifications/other"}"#,
            200,
        ),
    ] {
        for policy in [POLICY, ALLOW_ALL] {
            let (received, answer) = Exchange::new(policy).send(post(body)).await;
            assert!(received.is_none(), "{body}");
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (status, -32600),
                "{body}"
            );
        }
    }
    let (received, answer) = send(r#"{"jsonrpc":"2.0","method":"notifications/other"}"#).await;
    assert!(received.is_none());
    assert_eq!((answer.status.as_u16(), answer.code()), (400, -32601));
}

#[tokio::test]
async fn parameters_of_the_wrong_type_are_refused() {
    for (method, params) in [
        ("tools/call", "{}"),
        ("tools/call", r#"{"name":7}"#),
        ("tools/call", r#"{"name":["safe"]}"#),
        ("tools/call", r#"{"name":"safe","arguments":[]}"#),
        ("tools/call", r#"{"name":"safe","arguments":"{}"}"#),
        ("tools/call", r#"["safe"]"#),
        ("tools/call", "null"),
        ("prompts/get", r#"{"name":"p","arguments":7}"#),
        ("resources/read", r#"{"uri":null}"#),
        ("completion/complete", r#"{"ref":"p"}"#),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/prompt","name":"p","uri":"u"}}"#,
        ),
        (
            "subscriptions/listen",
            r#"{"notifications":{"resourceSubscriptions":"u"}}"#,
        ),
        ("subscriptions/listen", r#"{"notifications":[]}"#),
        ("ping", r#"{"_meta":[]}"#),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let policy = r#"{"version":"1","default":"allow"}"#;
        let (received, answer) = Exchange::new(policy).send(post(&body)).await;
        assert!(received.is_none(), "{body}");
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (200, -32602),
            "{body}"
        );
    }
    for arguments in ["null", "{}"] {
        let body =
            call("safe").replace(r#""arguments":{}"#, &format!(r#""arguments":{arguments}"#));
        assert!(send(body).await.0.is_some());
    }
}
