//! What ends when a grant or a server does, and what does not.

use http::Response;
use hyper::body::Incoming;
use serde_json::json;

use crate::{
    fake::{Asked, Upstream},
    gateway::{ASKS, Folder, Recording, approve, one_that_waits, outcome, request},
    support::{Proxy, body, open, read, reads, send},
};
#[cfg(target_os = "linux")]
use crate::{gateway::post, support::call};

const EVENT: &str = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"data\":1}}\n\n";

/// A configuration with one server.
fn table(upstream: &Upstream) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\n[servers.one]\nurl = \"http://{}/mcp\"\n",
        upstream.address()
    )
}

/// An open stream of that server, and the end at which events are sent.
async fn listens(
    proxy: &Proxy,
    token: &str,
    upstream: &Upstream,
    kind: &str,
) -> (Response<Incoming>, Asked) {
    let mut listens = request(proxy, "one", token).body(body(&json!({}))).unwrap();
    *listens.method_mut() = http::Method::GET;
    let asked = async {
        let mut asked = upstream.asked().await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type:";
        asked.write(&format!("{head} {kind}\r\n\r\n")).await;
        asked
    };
    tokio::join!(open(listens), asked)
}

/// Media types are the same in any case.
#[tokio::test]
async fn a_stream_ends_with_its_grant_however_its_type_is_written() {
    let upstream = Upstream::bind().await;
    let folder = Folder::new(&table(&upstream));
    let alice = folder
        .grant("alice", "one", &["--policy", "all.json"])
        .await;
    let proxy = folder.serve().await;
    let (mut stream, mut asked) =
        listens(&proxy, &alice, &upstream, "Text/Event-Stream;charset=UTF-8").await;
    asked.chunk(EVENT).await;
    reads(&mut stream, EVENT).await;
    folder.succeeds(&["grant", "revoke", "alice"]).await;
    assert_eq!(outcome(&proxy, "one", &alice, "x").await, "401");
    assert_eq!(read(stream).await.text, "");
    asked.left().await;
}

/// A server that is asked as before keeps its streams, whatever is secret of others.
#[tokio::test]
async fn a_secret_of_another_server_ends_no_streams() {
    let upstream = Upstream::bind().await;
    let folder = Folder::new(&table(&upstream));
    let alice = folder
        .grant("alice", "one", &["--policy", "all.json"])
        .await;
    let proxy = folder
        .serve_with(|command| {
            command.env("CANARY", "canary");
        })
        .await;
    let (mut stream, mut asked) = listens(&proxy, &alice, &upstream, "text/event-stream").await;
    let other =
        "\n[servers.two]\nurl = \"http://127.0.0.1:1/\"\nheaders.x = { env = \"CANARY\" }\n";
    folder.put("gateway.toml", &(folder.text() + other));
    proxy.logs("added=[\"two\"]").await;
    assert_eq!(outcome(&proxy, "two", "", "x").await, "401");
    asked.chunk(EVENT).await;
    reads(&mut stream, EVENT).await;
}

/// Its server has been removed, and is still ending.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_a_removed_server_has_started_does_not_outlive_the_proxy() {
    let server = std::env::current_exe().unwrap();
    let words = [server.to_str().unwrap()].into_iter();
    let words: Vec<_> = words.chain(crate::stdio_server::ARGUMENTS).collect();
    let role = crate::stdio_server::ROLE;
    let rest = "listen = \"127.0.0.1:0\"\n[servers.other]\nurl = \"http://127.0.0.1:1/\"\npolicy = \"all.json\"\n";
    let folder = Folder::new(&format!(
        "{rest}[servers.one]\ncommand = {words:?}\nenv = {{ {role} = \"1\" }}\npolicy = \"all.json\"\n",
    ));
    let mut proxy = folder.serve().await;
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": { "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {} },
    });
    let begun = post(&proxy, "one", "", &initialize).await;
    let session = begun.header("mcp-session-id").unwrap();
    let mut numbers = Vec::new();
    for (id, tool) in [(2, "process"), (3, "linger")] {
        let request = request(&proxy, "one", "").header("mcp-session-id", session);
        let answer = send(request.body(body(&call(id, tool))).unwrap())
            .await
            .text;
        let number = answer.split("\"text\":\"").nth(1).unwrap();
        numbers.push(number.split('"').next().unwrap().parse::<u32>().unwrap());
    }
    folder.put("gateway.toml", rest);
    proxy.logs("removed=[\"one\"]").await;
    proxy.signal("TERM").await;
    assert!(proxy.end().await.success());
    for number in numbers {
        let state = std::fs::read_to_string(format!("/proc/{number}/stat"));
        // What is dead may still have to be noticed by its parent.
        let is_gone = state.is_err() || state.is_ok_and(|state| state.contains(") Z "));
        assert!(is_gone, "{number}");
    }
}

/// What comes on a stream is judged by what was known of its caller when it was opened.
#[tokio::test]
async fn a_stream_ends_with_the_claims_of_its_grant() {
    let upstream = Upstream::bind().await;
    let folder = Folder::new(&table(&upstream));
    let claims = ["--policy", "all.json", "--claim", "team=ops"];
    let alice = folder.grant("alice", "one", &claims).await;
    let proxy = folder.serve().await;
    let (stream, asked) = listens(&proxy, &alice, &upstream, "text/event-stream").await;
    let text = folder.text();
    assert!(text.contains("\"ops\""), "{text}");
    folder.put("gateway.toml", &text.replace("\"ops\"", "\"guests\""));
    assert_eq!(read(stream).await.text, "");
    asked.left().await;
}

/// The credentials of the old one are no longer to be used when somebody approves.
#[tokio::test]
async fn a_call_that_waits_is_not_made_at_a_server_that_has_been_replaced() {
    let (old, new) = (Recording::start().await, Recording::start().await);
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[servers.one]\nurl = {:?}\n",
        old.url
    ));
    folder.put("asks.json", ASKS);
    let token = folder
        .grant("alice", "one", &["--policy", "asks.json"])
        .await;
    let proxy = folder.serve_operated().await;
    let message = json!({
        "jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": { "name": "pay", "arguments": {} },
    });
    let held = request(&proxy, "one", &token).body(body(&message)).unwrap();
    let held = tokio::spawn(send(held));
    let waiting = one_that_waits(&proxy).await;
    folder.put("gateway.toml", &folder.text().replace(&old.url, &new.url));
    assert_eq!(outcome(&proxy, "one", &token, "x").await, "allowed");
    assert_eq!(new.came().len(), 1);
    approve(&proxy, &waiting).await;
    let answer = held.await.unwrap();
    assert!(
        old.came().is_empty() && new.came().len() == 1,
        "{}",
        answer.text
    );
    let answer = answer.json();
    assert_eq!(answer["id"], 7, "{answer}");
    let text = answer["error"]["message"].as_str().unwrap();
    assert!(text.contains("was not made"), "{text}");
}

/// Who may use it now has to say who they are.
#[tokio::test]
async fn a_stream_of_anybody_ends_when_the_server_gets_grants() {
    let upstream = Upstream::bind().await;
    let table = table(&upstream);
    let folder = Folder::new(&format!("{table}policy = \"all.json\"\n"));
    let proxy = folder.serve().await;
    let (mut stream, mut asked) = listens(&proxy, "", &upstream, "text/event-stream").await;
    // Something else changes.
    folder.put(
        "gateway.toml",
        &(folder.text() + "[limits]\nsessions_per_minute = 7\n"),
    );
    proxy.logs("loaded again").await;
    asked.chunk(EVENT).await;
    reads(&mut stream, EVENT).await;
    folder.put("gateway.toml", &table);
    assert_eq!(outcome(&proxy, "one", "", "x").await, "401");
    assert_eq!(read(stream).await.text, "");
    asked.left().await;
}
