//! Lists in whole answers: what is hidden is in none of them.

use http::{Method, Response, StatusCode};
use mcp_policy::PolicyLayer;
use serde_json::json;

use crate::server::{Answer, Body, Exchange, POLICY, pieces, post};

/// A list with three entries, of which `secret` and `hidden_b` are hidden.
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"safe","x":1.50},{"name":"secret"},{"name":"danger"},{"name":"hidden_b"}],"nextCursor":"c"}}"#;
const SHOWN: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"safe","x":1.50},{"name":"danger"}],"nextCursor":"c"}}"#;

const ASK: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

fn answer(content_type: &str, body: impl AsRef<[u8]>) -> Response<Body> {
    let body = pieces(body.as_ref().chunks(7));
    let mut response = Response::new(body);
    if !content_type.is_empty() {
        response
            .headers_mut()
            .insert("content-type", content_type.parse().unwrap());
    }
    response
}

async fn through(response: Response<Body>) -> Answer {
    Exchange::answering(POLICY, response)
        .send(post(ASK))
        .await
        .1
}

#[tokio::test]
async fn hidden_entries_are_left_out_and_the_rest_keeps_its_bytes() {
    for content_type in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/jsonx",
    ] {
        let mut response = answer(content_type, LIST);
        for header in ["etag", "digest", "content-digest", "x-kept"] {
            response.headers_mut().insert(header, "1".parse().unwrap());
        }
        let answer = through(response).await;
        assert_eq!(answer.text(), SHOWN);
        assert_eq!(answer.headers["content-length"], SHOWN.len().to_string());
        assert_eq!(answer.headers["content-type"], content_type);
        assert_eq!(answer.headers["x-kept"], "1");
        for header in ["etag", "digest", "content-digest"] {
            assert!(!answer.headers.contains_key(header), "{header}");
        }
    }
}

#[tokio::test]
async fn whatever_the_status_or_the_question() {
    for status in [200, 201, 202, 400, 404, 500] {
        let mut response = answer("application/json", LIST);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        let answer = through(response).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (status, SHOWN));
    }
    for method in [Method::GET, Method::DELETE] {
        let mut request = post("");
        *request.method_mut() = method;
        let (_, answer) = Exchange::answering(POLICY, answer("application/json", LIST))
            .send(request)
            .await;
        assert_eq!(answer.text(), SHOWN);
    }
    let ping = post(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    let (_, answer) = Exchange::answering(POLICY, answer("application/json", LIST))
        .send(ping)
        .await;
    assert_eq!(answer.text(), SHOWN);
}

#[tokio::test]
async fn what_cannot_be_read_is_never_shown() {
    let cases: [(&str, &str, Vec<u8>); 9] = [
        ("application/json", "gzip", LIST.into()),
        (
            "application/json",
            "",
            b"\xef\xbb\xbf"
                .iter()
                .chain(LIST.as_bytes())
                .copied()
                .collect(),
        ),
        (
            "application/json",
            "",
            LIST.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        ("application/json", "", LIST.replace("1.50", "NaN").into()),
        ("application/json", "", format!("{LIST}{LIST}").into()),
        ("application/json", "", LIST[..LIST.len() - 1].into()),
        ("text/plain", "", LIST.into()),
        ("", "", LIST.into()),
        (
            "application/json",
            "",
            LIST.replacen("\"tools\"", "\"tools\":[],\"tools\"", 1)
                .into(),
        ),
    ];
    for (content_type, encoding, body) in cases {
        let mut response = answer(content_type, &body);
        if !encoding.is_empty() {
            response
                .headers_mut()
                .insert("content-encoding", encoding.parse().unwrap());
        }
        let answer = through(response).await;
        let text = String::from_utf8_lossy(&body);
        assert!(!answer.text().contains("secret"), "{text}");
        assert_eq!(
            (answer.code(), &answer.json()["id"]),
            (-32603, &1.into()),
            "{text}"
        );
        assert!(!answer.headers.contains_key("content-encoding"));
    }
}

#[tokio::test]
async fn an_answer_is_declared_in_the_encoding_in_which_it_was_judged() {
    let utf_7 = SHOWN.replace('{', "+AHs-");
    for (content_type, body, declared) in [
        (
            "text/event-stream; charset=utf-7",
            format!("data: {utf_7}\n\n"),
            "text/event-stream",
        ),
        (
            "x; y=text/event-stream",
            "hello".to_owned(),
            "x; y=text/event-stream",
        ),
        (
            "application/json; charset=utf-16",
            SHOWN.to_owned(),
            "application/json",
        ),
        (
            "application/json; charset=\"utf-8\"",
            SHOWN.to_owned(),
            "application/json; charset=\"utf-8\"",
        ),
        (
            "text/plain; charset=utf-7",
            utf_7.clone(),
            "text/plain; charset=utf-8",
        ),
    ] {
        let call = post(crate::server::call("safe"));
        let (_, answer) = Exchange::answering(POLICY, answer(content_type, &body))
            .send(call)
            .await;
        assert_eq!(answer.headers["content-type"], declared);
        assert_eq!(answer.text(), body);
    }
}

#[tokio::test]
async fn a_compressed_answer_keeps_its_head() {
    for status in [200, 401, 404, 500, 503] {
        let mut response = answer("application/json", LIST);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
            .headers_mut()
            .insert("content-encoding", "gzip".parse().unwrap());
        response
            .headers_mut()
            .insert("www-authenticate", "Bearer".parse().unwrap());
        let answer = through(response).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, -32603));
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        assert!(answer.text().contains("may have had its effect"));
    }
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
        .headers_mut()
        .insert("content-encoding", "gzip".parse().unwrap());
    assert_eq!(through(response).await.status, 202);
}

#[tokio::test]
async fn what_is_held_counts_until_it_is_gone() {
    let layer = PolicyLayer::new(POLICY.parse().unwrap()).response_budget(SHOWN.len());
    let send = || {
        let exchange = Exchange {
            layer: layer.clone(),
            answer: answer("application/json", SHOWN),
        };
        exchange.send(post(ASK))
    };
    let (_, first) = send().await;
    assert_eq!(first.text(), SHOWN);
    let (_, second) = send().await;
    assert!(
        second.text().contains("Too many large answers"),
        "{}",
        second.text()
    );
    drop(first);
    assert_eq!(send().await.1.text(), SHOWN);
}

#[tokio::test]
async fn garbage_is_replaced_by_an_error() {
    let call = post(crate::server::call("safe"));
    let response = answer("application/json", "<html>{}</html>");
    let (received, answer) = Exchange::answering(POLICY, response).send(call).await;
    assert!(received.is_some());
    assert_eq!((answer.status.as_u16(), answer.code()), (200, -32603));
    for said in ["it is not readable JSON: ", "may have had its effect"] {
        assert!(answer.text().contains(said), "{}", answer.text());
    }
}

#[tokio::test]
async fn other_answers_go_on_as_they_are() {
    for (status, content_type, body) in [
        (202, "", ""),
        (202, "text/plain", "Accepted"),
        (204, "", ""),
        (404, "text/plain", "Session not found"),
        (404, "", "Session not found"),
        (401, "text/html", "<h1>Who are you?</h1>"),
        (
            400,
            "application/json",
            r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"no session"},"id":null}"#,
        ),
        (
            200,
            "application/json",
            r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"structuredContent":{"tools":[{"name":"secret"}]},"a":"\ud800"}}"#,
        ),
    ] {
        let mut response = answer(content_type, body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
            .headers_mut()
            .insert("mcp-session-id", "s".parse().unwrap());
        let call = post(crate::server::call("safe"));
        let (_, answer) = Exchange::answering(POLICY, response).send(call).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (status, body));
        assert_eq!(answer.headers["mcp-session-id"], "s");
        assert_eq!(
            answer.headers.contains_key("content-type"),
            !content_type.is_empty()
        );
        // Where there is nothing, as in a 204, no length is made up.
        assert_eq!(
            answer.headers.contains_key("content-length"),
            !body.is_empty()
        );
    }
}

#[tokio::test]
async fn the_head_of_an_unreadable_error_still_counts() {
    let mut response = answer(
        "text/html",
        r#"<script>{"tools":[{"name":"secret"}]}</script>"#,
    );
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
        .headers_mut()
        .insert("www-authenticate", "Bearer".parse().unwrap());
    let answer = through(response).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
    assert_eq!(answer.code(), -32603);
}

#[tokio::test]
async fn an_answer_over_the_cap_says_that_the_call_ran() {
    let big = format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":"{}"}}}}"#,
        "x".repeat(500)
    );
    let mut exchange = Exchange::answering(POLICY, answer("application/json", big));
    exchange.layer = exchange.layer.max_response_size(400);
    let (received, answer) = exchange.send(post(crate::server::call("safe"))).await;
    assert!(received.is_some());
    assert_eq!((answer.status.as_u16(), answer.code()), (200, -32603));
    assert!(answer.text().contains("too large"), "{}", answer.text());
}

#[tokio::test]
async fn under_default_hide_only_the_named_are_listed() {
    let policy =
        r#"{"version":"1","default":"hide","tools":{"safe":{},"danger":{"action":"deny"}}}"#;
    let lists = r#"{"result":{"tools":[{"name":"safe"},{"name":"danger"},{"name":"other"}],"prompts":[{"name":"safe"}],"resources":[{"uri":"x:y"}],"resourceTemplates":[{"uriTemplate":"x:{y}"}]}}"#;
    let (_, answer) = Exchange::answering(policy, answer("application/json", lists))
        .send(post(ASK))
        .await;
    assert_eq!(
        answer.json()["result"],
        json!({"tools":[{"name":"safe"},{"name":"danger"}],"prompts":[],"resources":[],"resourceTemplates":[]})
    );
}

#[tokio::test]
async fn a_list_that_was_cut_is_private_and_short_lived() {
    let list = r#"{"result":{"cacheScope":"public","ttlMs":3600000,"tools":[]}}"#;
    let answer = through(answer("application/json", list)).await;
    assert_eq!(
        answer.text(),
        r#"{"result":{"cacheScope":"private","ttlMs":60000,"tools":[]}}"#
    );
    // Where nothing can be hidden, nothing is changed.
    let policy = r#"{"version":"1","default":"deny","tools":{"safe":{}}}"#;
    let response = self::answer("application/json", list);
    let (_, answer) = Exchange::answering(policy, response).send(post(ASK)).await;
    assert_eq!(answer.text(), list);
}

#[tokio::test]
async fn entries_that_no_client_reads_alike_are_left_out() {
    let list = r#"{"result":{"tools":[{"name":"safe"},{"name":"admin","name":"secret"},{"x":1},7,{"name":"safe","Name":"secret"}]}}"#;
    let answer = through(answer("application/json", list)).await;
    assert_eq!(answer.text(), r#"{"result":{"tools":[{"name":"safe"}]}}"#);
}
