//! `check` with a server that it asks for its tools.

use std::{path::PathBuf, process::Output};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::fake::{Asked, Upstream};
use crate::stdio_server::{ARGUMENTS, ROLE};
use crate::support::{command, file, within};

const POLICY: &str = r#"{
  "version": "1",
  "default": "deny",
  "hide": ["secret"],
  "tools": { "seen": {}, "wipe": { "action": "deny" } }
}"#;

const TABLE: &str = "TOOL    VERDICT  RULE\n\
                     seen    allow    /tools/seen\n\
                     wipe    deny     /tools/wipe/action\n\
                     secret  hide     (hidden)\n";

fn policy() -> PathBuf {
    file("policy.json", POLICY)
}

/// Checks the policy against this upstream, with a header that a server may want.
fn check(upstream: &Upstream) -> JoinHandle<Output> {
    let policy = policy();
    let url = format!("http://{}/mcp?key=k", upstream.address());
    let header = "authorization: Bearer hunter2";
    tokio::spawn(async move {
        let policy = policy.to_str().unwrap();
        let mut command = command(&["check", policy, "--upstream", &url, "--header", header]);
        within("the end of `check`", command.output())
            .await
            .unwrap()
    })
}

async fn ended(check: JoinHandle<Output>) -> (Option<i32>, String, String) {
    let output = check.await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(
        !stdout.contains("hunter2") && !stderr.contains("hunter2"),
        "{stdout}{stderr}"
    );
    (output.status.code(), stdout, stderr)
}

fn message(asked: &Asked) -> Value {
    serde_json::from_str(&asked.body).unwrap()
}

/// Answers with a body of this kind, as the last thing on the connection.
async fn respond(asked: &mut Asked, status: &str, headers: &str, body: &str) {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    asked.write(&text).await;
}

async fn respond_json(asked: &mut Asked, headers: &str, result: Value) {
    let answer = json!({ "jsonrpc": "2.0", "id": message(asked)["id"], "result": result });
    let headers = format!("content-type: application/json\r\n{headers}");
    respond(asked, "200 OK", &headers, &answer.to_string()).await;
}

#[tokio::test]
async fn a_server_with_sessions_streams_and_pages() {
    let upstream = Upstream::bind().await;
    let check = check(&upstream);

    let mut asked = upstream.asked().await;
    assert!(
        asked.head.starts_with("POST /mcp?key=k HTTP/1.1\r\n"),
        "{}",
        asked.head
    );
    assert_eq!(message(&asked)["method"], "initialize");
    assert_eq!(asked.header("authorization"), Some("Bearer hunter2"));
    let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {} });
    respond_json(&mut asked, "mcp-session-id: s1\r\n", hello).await;

    let mut asked = upstream.asked().await;
    assert_eq!(message(&asked)["method"], "notifications/initialized");
    assert_eq!(asked.header("mcp-session-id"), Some("s1"));
    assert_eq!(asked.header("mcp-protocol-version"), Some("2025-06-18"));
    respond(&mut asked, "202 Accepted", "", "").await;

    let mut asked = upstream.asked().await;
    let list = message(&asked);
    assert_eq!(
        (&list["method"], &list["params"]),
        (&json!("tools/list"), &json!({}))
    );
    let page = json!({ "tools": [{ "name": "seen" }], "nextCursor": "2" });
    respond_json(&mut asked, "", page).await;

    // In a stream that says other things first, and stays open.
    let mut asked = upstream.asked().await;
    let list = message(&asked);
    assert_eq!(list["params"], json!({ "cursor": "2" }));
    let page = json!({ "tools": [{ "name": "wipe" }, { "name": "secret" }] });
    let answer = json!({ "jsonrpc": "2.0", "id": list["id"], "result": page });
    asked.stream().await;
    asked
        .chunk(": hello\n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}\n\n")
        .await;
    asked
        .chunk(&format!("event: message\r\ndata: {answer}\r\n\r\n"))
        .await;

    let mut end = upstream.asked().await;
    assert!(
        end.head.starts_with("DELETE /mcp?key=k HTTP/1.1\r\n"),
        "{}",
        end.head
    );
    assert_eq!(end.header("mcp-session-id"), Some("s1"));
    respond(&mut end, "200 OK", "", "").await;

    let (code, stdout, stderr) = ended(check).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with(TABLE), "{stdout}");
}

#[tokio::test]
async fn a_server_without_a_handshake() {
    let upstream = Upstream::bind().await;
    let check = check(&upstream);

    let mut asked = upstream.asked().await;
    let refusal = json!({
        "jsonrpc": "2.0", "id": 1, "error": { "code": -32601, "message": "Method not found" },
    });
    let headers = "content-type: application/json\r\n";
    respond(&mut asked, "404 Not Found", headers, &refusal.to_string()).await;

    let mut asked = upstream.asked().await;
    assert_eq!(asked.header("mcp-protocol-version"), Some("2026-07-28"));
    assert_eq!(asked.header("mcp-method"), Some("tools/list"));
    let meta = message(&asked)["params"]["_meta"].clone();
    assert_eq!(
        meta["io.modelcontextprotocol/protocolVersion"],
        "2026-07-28"
    );
    assert_eq!(
        meta["io.modelcontextprotocol/clientCapabilities"],
        json!({})
    );
    let tools = ["seen", "wipe", "secret"].map(|name| json!({ "name": name }));
    respond_json(
        &mut asked,
        "",
        json!({ "resultType": "complete", "tools": tools }),
    )
    .await;

    let (code, stdout, stderr) = ended(check).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with(TABLE), "{stdout}");
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_says_why() {
    let json = "content-type: application/json\r\n";
    for (status, headers, body, expected) in [
        (
            "401 Unauthorized",
            json,
            r#"{"error":"hunter2"}"#,
            "in the header `Authorization`",
        ),
        (
            "500 Internal Server Error",
            "",
            "hunter2",
            "500 Internal Server Error",
        ),
        (
            "200 OK",
            "content-type: text/html\r\n",
            "<html>hunter2",
            "its answer is not MCP",
        ),
        (
            "200 OK",
            json,
            r#"{"jsonrpc":"2.0","id":99,"result":{}}"#,
            "its answer is not MCP",
        ),
        (
            "302 Found",
            "location: http://hunter2/\r\n",
            "",
            "302 Found",
        ),
    ] {
        let upstream = Upstream::bind().await;
        let check = check(&upstream);
        let mut asked = upstream.asked().await;
        respond(&mut asked, status, headers, body).await;
        let (code, stdout, stderr) = ended(check).await;
        assert_eq!((code, &*stdout), (Some(1), ""), "{stderr}");
        assert!(stderr.contains(expected), "no {expected:?} in {stderr}");
    }
    let upstream = Upstream::bind().await;
    let closed = upstream.address();
    drop(upstream);
    let url = format!("http://{closed}/mcp");
    let policy = policy();
    let mut command = command(&["check", policy.to_str().unwrap(), "--upstream", &url]);
    let output = within("the end of `check`", command.output())
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("no answer"), "{stderr}");
}

#[tokio::test]
async fn a_list_that_goes_in_circles_is_given_up() {
    let upstream = Upstream::bind().await;
    let check = check(&upstream);
    for _ in 0..4 {
        let mut asked = upstream.asked().await;
        let page = json!({ "tools": [], "nextCursor": "again" });
        respond_json(&mut asked, "", page).await;
    }
    let (code, _, stderr) = ended(check).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("goes in circles"), "{stderr}");
}

async fn check_command(program: &[&str]) -> (Option<i32>, String, String) {
    let policy = policy();
    let mut args = vec!["check", policy.to_str().unwrap(), "--"];
    args.extend(program);
    let mut command = command(&args);
    let output = within("the end of `check`", command.env(ROLE, "1").output())
        .await
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn a_server_on_stdio() {
    let this = std::env::current_exe().unwrap();
    let program = [&[this.to_str().unwrap()], &ARGUMENTS[..]].concat();
    let (code, stdout, stderr) = check_command(&program).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with(TABLE), "{stdout}");
    assert!(stderr.contains("stdin is closed"), "{stderr}");
}

#[tokio::test]
async fn a_command_that_is_no_server() {
    for (program, expected) in [
        (&["true"] as &[&str], "it ended before it answered"),
        (&["cat", "hunter2"], "`cat` cannot be asked"),
        (
            &["no-such-command-here"],
            "there is no command `no-such-command-here`",
        ),
    ] {
        let (code, _, stderr) = check_command(program).await;
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains(expected), "no {expected:?} in {stderr}");
    }
}
