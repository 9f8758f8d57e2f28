//! Every method under every `default`, as the documentation says it.

use mcp_policy::{Caller, MemorySessionStore, SessionStore as _, TaskOwner};

use crate::server::{Exchange, post};

/// A message of each kind that names something which no policy names.
const PARAMS: &[(&str, &str)] = &[
    ("tools/call", r#"{"name":"other"}"#),
    ("prompts/get", r#"{"name":"other"}"#),
    ("resources/read", r#"{"uri":"a:b"}"#),
    ("resources/subscribe", r#"{"uri":"a:b"}"#),
    (
        "completion/complete (prompt)",
        r#"{"ref":{"type":"ref/prompt","name":"other"}}"#,
    ),
    (
        "completion/complete (resource)",
        r#"{"ref":{"type":"ref/resource","uri":"a:{b}"}}"#,
    ),
    (
        "subscriptions/listen (resources)",
        r#"{"notifications":{"resourceSubscriptions":["a:b"]}}"#,
    ),
    (
        "subscriptions/listen (tasks)",
        r#"{"notifications":{"taskIds":["t"]}}"#,
    ),
    (
        "subscriptions/listen",
        r#"{"notifications":{"toolsListChanged":true}}"#,
    ),
    ("tasks/get", r#"{"taskId":"t"}"#),
    ("tasks/result", r#"{"taskId":"t"}"#),
    ("tasks/update", r#"{"taskId":"t"}"#),
    ("tasks/cancel", r#"{"taskId":"t"}"#),
    ("tasks/get (own)", r#"{"taskId":"own"}"#),
    ("tasks/result (own)", r#"{"taskId":"own"}"#),
    ("tasks/update (own)", r#"{"taskId":"own"}"#),
    ("tasks/cancel (own)", r#"{"taskId":"own"}"#),
    (
        "subscriptions/listen (own tasks)",
        r#"{"notifications":{"taskIds":["own"]}}"#,
    ),
];

async fn verdict(message: &str, policy: &str) -> String {
    let method = message.split(' ').next().unwrap();
    let params = PARAMS
        .iter()
        .find(|row| row.0 == message)
        .map_or("{}", |row| row.1);
    let body = match message {
        "a response" => r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned(),
        "any other notification" => r#"{"jsonrpc":"2.0","method":"notifications/x"}"#.to_owned(),
        "any other request" => r#"{"jsonrpc":"2.0","id":1,"method":"x/y"}"#.to_owned(),
        _ if method.starts_with("notifications/") => {
            format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#)
        }
        _ => format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#),
    };
    let sessions = MemorySessionStore::default();
    let owner = TaskOwner::new(&Caller::anonymous(), "other");
    let _ = sessions.begin_task("own", owner);
    let mut exchange = Exchange::new(policy);
    exchange.layer = exchange.layer.session_store(sessions);
    let (received, answer) = exchange.send(post(body)).await;
    if received.is_some() {
        return "passes".to_owned();
    }
    let json = answer.json();
    if json["result"]["isError"] == true {
        return "isError".to_owned();
    }
    json["error"]["code"].to_string()
}

#[tokio::test]
async fn the_documentation_says_what_happens_to_every_method() {
    let page = include_str!("../../src/docs/verdicts.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `") || line.starts_with("| a"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), 35, "{rows:?}");
    for row in &rows {
        let [message, deny, hide, allow] = row[..] else {
            panic!("{row:?}");
        };
        let message = message.replace('`', "");
        for (default, expected) in [("deny", deny), ("hide", hide), ("allow", allow)] {
            let policy = format!(r#"{{"version":"1","default":"{default}"}}"#);
            let verdict = verdict(&message, &policy).await;
            assert_eq!(verdict, expected, "{message} under {default}");
        }
    }
    for (message, _) in PARAMS {
        let named = |row: &Vec<&str>| row[0].replace('`', "") == *message;
        assert!(rows.iter().any(named), "no row for {message}");
    }
}
