//! The policy file changes while the proxy runs.

use mcp_policy::Policy;
use serde_json::json;

use crate::{
    fake::Upstream,
    support::{ALLOW_ALL, Proxy, body, call, file, open, put, reads},
};

const DENY: &str = r#"{
  "version": "1",
  "default": "deny",
  "tools": { "seen": {} }
}"#;

fn digest(text: &str) -> String {
    text.parse::<Policy>().unwrap().digest().to_owned()
}

#[tokio::test]
async fn a_changed_policy_holds_from_the_next_request_and_a_broken_one_never() {
    let upstream = Upstream::bind().await;
    let policy = file("policy.json", ALLOW_ALL);
    let url = format!("http://{}/mcp", upstream.address());
    let args = ["serve", "--listen", "127.0.0.1:0", "--upstream", &url];
    let args = [&args[..], &["--policy", policy.to_str().unwrap()]].concat();
    let proxy = Proxy::start(&args, "info").await;
    let passes = async |tool: &str| {
        let message = call(1, tool);
        let (answer, asked) = tokio::join!(proxy.post(&message), upstream.answers());
        assert!(answer.json()["result"]["isError"].is_null() && asked.body.contains(tool));
    };
    let is_refused = async |tool: &str| {
        // Nobody is asked at the upstream.
        let answer = proxy.post(&call(1, tool)).await.json();
        assert_eq!(answer["result"]["isError"], true, "{answer}");
    };
    passes("wipe").await;

    put(&policy, DENY);
    proxy.logs(&digest(DENY)).await;
    is_refused("wipe").await;
    passes("seen").await;

    // What would allow everything does not load.
    put(&policy, &ALLOW_ALL.replace("default", "defualt"));
    proxy.logs("not loaded again").await;
    let log = proxy.log();
    assert!(log.contains("unknown field `defualt`"), "{log}");
    assert!(log.contains("did you mean `default`?"), "{log}");
    is_refused("wipe").await;
    passes("seen").await;

    put(&policy, ALLOW_ALL);
    proxy.logs(&digest(ALLOW_ALL)).await;
    passes("wipe").await;
}

const HIDES: &str = r#"{ "version": "1", "default": "allow", "hide": ["wipe"] }"#;
const TOLD: &str = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";

/// A client of a server that tells of changes is told on the stream that it has.
async fn is_told(proxy: &Proxy, policy: &std::path::Path) {
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        },
    });
    let begun = proxy.post(&initialize).await;
    let session = begun.header("mcp-session-id").unwrap();
    let mut request = proxy
        .request()
        .header("mcp-session-id", session)
        .body(body(&json!({})));
    *request.as_mut().unwrap().method_mut() = http::Method::GET;
    let mut stream = open(request.unwrap()).await;
    assert_eq!(stream.status(), 200);
    put(policy, HIDES);
    reads(&mut stream, TOLD).await;
}

#[tokio::test]
async fn an_open_stream_of_an_upstream_is_told() {
    let upstream = Upstream::bind().await;
    let policy = file("policy.json", ALLOW_ALL);
    let url = format!("http://{}/mcp", upstream.address());
    let args = ["serve", "--listen", "127.0.0.1:0", "--upstream", &url];
    let args = [&args[..], &["--policy", policy.to_str().unwrap()]].concat();
    let proxy = Proxy::start(&args, "info").await;
    let served = async {
        let mut asked = upstream.asked().await;
        let result =
            r#"{"jsonrpc":"2.0","id":1,"result":{"capabilities":{"tools":{"listChanged":true}}}}"#;
        let session = "mcp-session-id: abc\r\n";
        asked.says("200 OK", session, result).await;
        let mut stream = upstream.asked().await;
        assert_eq!(stream.header("mcp-session-id"), Some("abc"));
        stream.stream().await;
        stream
    };
    let (_open, ()) = tokio::join!(served, is_told(&proxy, &policy));
}

#[cfg(unix)]
#[tokio::test]
async fn an_open_stream_of_a_command_is_told() {
    let policy = file("policy.json", ALLOW_ALL);
    let server = std::env::current_exe().unwrap();
    let role = format!("{}=1", crate::stdio_server::ROLE);
    let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--policy"];
    args.extend([policy.to_str().unwrap(), "--", "env", &role]);
    args.push(server.to_str().unwrap());
    args.extend(crate::stdio_server::ARGUMENTS);
    let proxy = Proxy::start(&args, "info").await;
    is_told(&proxy, &policy).await;
}
