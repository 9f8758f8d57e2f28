//! What changes while `serve --config` runs: grants, policies, servers, and lockdown.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::{
    fake::Upstream,
    gateway::{
        ASKS, Folder, OPERATOR, READERS, Recording, admin, approve, one_that_waits, outcome, post,
        request, two,
    },
    support::{ALLOW_ALL, Proxy, body, call, open, read, reads, send, within},
};

/// A proxy in front of two servers, and the tokens of alice for the first and bob for
/// the second.
async fn start() -> (Folder, Proxy, [String; 2], [Recording; 2]) {
    let (first, second) = (Recording::start().await, Recording::start().await);
    let folder = Folder::new(&two(&first, &second));
    let alice = folder
        .grant("alice", "one", &["--policy", "all.json"])
        .await;
    let bob = folder
        .grant("bob", "two", &["--policy", "readers.json"])
        .await;
    let proxy = folder.serve().await;
    assert_eq!(outcome(&proxy, "one", &alice, "write").await, "allowed");
    assert_eq!(outcome(&proxy, "two", &bob, "read").await, "allowed");
    (folder, proxy, [alice, bob], [first, second])
}

#[tokio::test]
async fn a_revoked_grant_stops_at_the_next_call() {
    let (folder, proxy, [alice, bob], [first, _]) = start().await;
    folder.succeeds(&["grant", "revoke", "alice"]).await;
    let before = first.came().len();
    assert_eq!(outcome(&proxy, "one", &alice, "write").await, "401");
    assert_eq!(first.came().len(), before);
    assert_eq!(outcome(&proxy, "two", &bob, "read").await, "allowed");
    // Another token of the same grant.
    let other = folder.succeeds(&["grant", "rotate", "bob"]).await;
    assert_eq!(outcome(&proxy, "two", &bob, "read").await, "401");
    assert_eq!(outcome(&proxy, "two", &other, "read").await, "allowed");
    // And a new one.
    let carol = folder
        .grant("carol", "one", &["--policy", "all.json"])
        .await;
    assert_eq!(outcome(&proxy, "one", &carol, "write").await, "allowed");
}

#[tokio::test]
async fn a_grant_is_revoked_even_if_nothing_else_loads() {
    let (folder, proxy, [alice, bob], _) = start().await;
    folder.put("readers.json", "{");
    folder.succeeds(&["grant", "revoke", "alice"]).await;
    assert_eq!(outcome(&proxy, "one", &alice, "write").await, "401");
    // What was loaded before holds.
    assert_eq!(outcome(&proxy, "two", &bob, "read").await, "allowed");
    assert_eq!(
        outcome(&proxy, "two", &bob, "write").await,
        "(default deny)"
    );
    proxy.logs("not loaded again").await;
    let log = proxy.log();
    assert!(log.contains("readers.json does not load"), "{log}");
    folder.put("readers.json", ALLOW_ALL);
    assert_eq!(outcome(&proxy, "two", &bob, "write").await, "allowed");
    assert_eq!(outcome(&proxy, "one", &alice, "write").await, "401");
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_lets_nobody_in() {
    let (folder, proxy, [alice, _], [first, _]) = start().await;
    let text = folder.text();
    fs::remove_file(folder.config()).unwrap();
    let before = first.came().len();
    let answer = post(&proxy, "one", &alice, &call(1, "write")).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.json()["error"]["code"].is_i64());
    assert!(answer.header("retry-after").is_some());
    assert_eq!(first.came().len(), before);
    folder.put("gateway.toml", &text);
    assert_eq!(outcome(&proxy, "one", &alice, "write").await, "allowed");
}

#[tokio::test]
async fn an_edited_policy_changes_the_next_call() {
    let (folder, proxy, [alice, bob], _) = start().await;
    for _ in 0..5 {
        folder.put("all.json", READERS);
        assert_eq!(
            outcome(&proxy, "one", &alice, "write").await,
            "(default deny)"
        );
        // Without another name in between, as some editors write.
        fs::write(folder.path("all.json"), ALLOW_ALL).unwrap();
        assert_eq!(outcome(&proxy, "one", &alice, "write").await, "allowed");
    }
    assert_eq!(
        outcome(&proxy, "two", &bob, "write").await,
        "(default deny)"
    );
}

#[tokio::test]
async fn servers_come_and_go_and_what_does_not_load_changes_nothing() {
    let (folder, proxy, [alice, bob], [first, _]) = start().await;
    let text = folder.text();
    let third = Recording::start().await;
    let more = format!(
        "\n[servers.three]\nurl = {:?}\npolicy = \"all.json\"\n",
        third.url
    );
    folder.put("gateway.toml", &(text.clone() + &more));
    assert_eq!(outcome(&proxy, "three", "", "x").await, "allowed");
    assert_eq!(outcome(&proxy, "one", &alice, "x").await, "allowed");
    // Broken in any way, it stays as it was.
    for broken in [
        "[servers.three",
        "x = 1",
        "[servers.one]\nurl = \"http://a\"",
    ] {
        folder.put("gateway.toml", &format!("{text}{more}\n{broken}\n"));
        assert_eq!(
            outcome(&proxy, "three", "", "x").await,
            "allowed",
            "{broken}"
        );
        assert_eq!(
            outcome(&proxy, "one", &alice, "x").await,
            "allowed",
            "{broken}"
        );
    }
    // A server that is somewhere else now.
    let elsewhere = text.replace(&first.url, &third.url);
    let (before, there) = (first.came().len(), third.came().len());
    folder.put("gateway.toml", &elsewhere);
    assert_eq!(outcome(&proxy, "three", "", "x").await, "404");
    assert_eq!(outcome(&proxy, "one", &alice, "x").await, "allowed");
    assert_eq!(first.came().len(), before);
    assert_eq!(third.came().len(), there + 1);
    assert_eq!(outcome(&proxy, "two", &bob, "read").await, "allowed");
    // What only another start changes is said.
    folder.put(
        "gateway.toml",
        &elsewhere.replace("127.0.0.1:0", "127.0.0.1:1"),
    );
    proxy.logs("holds when the proxy is started again").await;
    assert_eq!(outcome(&proxy, "one", &alice, "x").await, "allowed");
}

/// It listens where it did when it was started, whatever is written there now.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_for_everybody_does_not_come_to_an_address_that_others_reach() {
    let upstream = Recording::start().await;
    let folder = Folder::new(&format!(
        "listen = \"0.0.0.0:0\"\n[servers.one]\nurl = {:?}\n",
        upstream.url
    ));
    let alice = folder
        .grant("alice", "one", &["--policy", "all.json"])
        .await;
    let proxy = folder.serve().await;
    assert_eq!(outcome(&proxy, "one", &alice, "x").await, "allowed");
    let open = format!(
        "\n[servers.open]\nurl = {:?}\npolicy = \"all.json\"\n",
        upstream.url
    );
    let text = folder.text().replace("0.0.0.0", "127.0.0.1") + &open;
    folder.put("gateway.toml", &text);
    assert_eq!(outcome(&proxy, "open", "", "x").await, "404");
    proxy.logs("can be reached from other machines").await;
    assert_eq!(outcome(&proxy, "one", &alice, "x").await, "allowed");
    folder.succeeds(&["grant", "revoke", "alice"]).await;
    assert_eq!(outcome(&proxy, "one", &alice, "x").await, "401");
    folder.put(
        "gateway.toml",
        &format!("allow_unauthenticated = true\n{text}"),
    );
    assert_eq!(outcome(&proxy, "open", "", "x").await, "allowed");
}

#[cfg(unix)]
#[tokio::test]
async fn a_hangup_reads_everything_again() {
    let (_folder, proxy, [alice, _], _) = start().await;
    proxy.signal("HUP").await;
    proxy.logs("asked by SIGHUP").await;
    proxy.logs("loaded again").await;
    assert_eq!(outcome(&proxy, "one", &alice, "x").await, "allowed");
}

const LOCKED: &str = "/tools/*/action";

#[tokio::test]
async fn lockdown_stops_everything_within_one_call_and_ends_as_fast() {
    let (folder, proxy, [alice, bob], [first, second]) = start().await;
    let now = async || {
        [
            outcome(&proxy, "one", &alice, "read").await,
            outcome(&proxy, "two", &bob, "read").await,
        ]
    };
    let before = (first.came().len(), second.came().len());
    let said = folder.succeeds(&["lockdown", "on"]).await;
    assert_eq!(said, "locked down: everything");
    assert_eq!(now().await, [LOCKED, LOCKED]);
    let answer = post(&proxy, "one", &alice, &call(1, "read")).await.json();
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("The operator has locked this down"), "{text}");
    assert_eq!(answer["result"]["isError"], true);
    for (method, params) in [
        ("resources/read", json!({ "uri": "file:///a/b" })),
        ("prompts/get", json!({ "name": "a" })),
        ("x/y", json!({})),
    ] {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = post(&proxy, "one", &alice, &message).await.json();
        assert!(answer["error"]["code"].is_i64(), "{method}: {answer}");
    }
    assert_eq!((first.came().len(), second.came().len()), before);
    assert_eq!(
        folder.succeeds(&["lockdown", "off"]).await,
        "nothing is locked down"
    );
    assert_eq!(now().await, ["allowed", "allowed"]);
    folder
        .succeeds(&["lockdown", "on", "--server", "one"])
        .await;
    assert_eq!(now().await, [LOCKED, "allowed"]);
    folder.succeeds(&["lockdown", "on", "--grant", "bob"]).await;
    assert_eq!(now().await, [LOCKED, LOCKED]);
    folder
        .succeeds(&["lockdown", "off", "--server", "one"])
        .await;
    assert_eq!(now().await, ["allowed", LOCKED]);
    folder.succeeds(&["lockdown", "off"]).await;
    // Whoever cannot start a program can still make a file.
    fs::write(folder.path("gateway.lockdown"), "").unwrap();
    assert_eq!(now().await, [LOCKED, LOCKED]);
    fs::write(folder.path("gateway.lockdown"), "sever = [\"x\"]").unwrap();
    assert_eq!(now().await, [LOCKED, LOCKED]);
    fs::remove_file(folder.path("gateway.lockdown")).unwrap();
    assert_eq!(now().await, ["allowed", "allowed"]);
    for unknown in [["--server", "three"], ["--grant", "zoe"], ["--caller", ""]] {
        let output = folder
            .runs(&[&["lockdown", "on"], &unknown[..]].concat())
            .await;
        assert_eq!(output.status.code(), Some(2));
    }
    assert_eq!(now().await, ["allowed", "allowed"]);
}

#[tokio::test]
async fn operators_see_what_does_not_load_and_what_is_locked() {
    let upstream = Recording::start().await;
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[servers.one]\nurl = {:?}\n",
        upstream.url
    ));
    folder
        .grant("alice", "one", &["--policy", "all.json"])
        .await;
    let proxy = folder.serve_operated().await;
    let status = async |token: &str| admin(&proxy, token, "GET", "/gateway").await;
    assert_eq!(status("other").await.status(), 401);
    let well = status(OPERATOR).await.json();
    assert_eq!(well["loaded"], true);
    assert_eq!(
        (&well["servers"], &well["grants"]),
        (&json!(["one"]), &json!(["alice"]))
    );
    assert_eq!(
        well["lockdown"],
        json!({ "everything": false, "servers": [], "grants": [], "callers": [] })
    );
    folder.put("all.json", "{");
    folder
        .succeeds(&["lockdown", "on", "--server", "one"])
        .await;
    proxy.logs("not loaded again").await;
    let ill = status(OPERATOR).await.json();
    assert_eq!(ill["loaded"], false);
    assert_eq!(ill["lockdown"]["servers"], json!(["one"]));
    let problems = ill["problems"].as_str().unwrap();
    assert!(problems.contains("all.json does not load"), "{problems}");
}

/// A stream that is open stays open until the one that it is for is gone. While somebody
/// is locked out it carries nothing of the server's own.
#[tokio::test]
async fn streams_end_with_the_grant_and_not_with_a_lockdown() {
    let upstream = Upstream::bind().await;
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\n[servers.one]\nurl = \"http://{}/mcp\"\n",
        upstream.address()
    ));
    let alice = folder
        .grant("alice", "one", &["--policy", "all.json"])
        .await;
    let bob = folder.grant("bob", "one", &["--policy", "all.json"]).await;
    let proxy = folder.serve().await;
    let opened = async |token: &str| {
        let mut request = request(&proxy, "one", token)
            .body(body(&json!({})))
            .unwrap();
        *request.method_mut() = http::Method::GET;
        let asked = async {
            let mut asked = upstream.asked().await;
            asked.stream().await;
            asked
        };
        tokio::join!(open(request), asked)
    };
    let (mut alices, mut for_alice) = opened(&alice).await;
    let (mut bobs, mut for_bob) = opened(&bob).await;
    let event = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"data\":1}}\n\n";
    folder.succeeds(&["lockdown", "on"]).await;
    for_alice.chunk(&event.replace("1}", "2}")).await;
    // What is sent after it has to come first.
    let answer = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";
    for_alice.chunk(answer).await;
    reads(&mut alices, answer).await;
    folder.succeeds(&["lockdown", "off"]).await;
    for_alice.chunk(event).await;
    reads(&mut alices, event).await;
    // Somebody whose call began before is still answered.
    let message = call(1, "slow");
    let slow = request(&proxy, "one", &bob).body(body(&message)).unwrap();
    let slow = tokio::spawn(send(slow));
    let mut asked = upstream.asked().await;
    folder.succeeds(&["grant", "revoke", "alice"]).await;
    // Within a second, although nobody calls.
    assert_eq!(read(alices).await.text, "");
    asked.answer("").await;
    assert_eq!(slow.await.unwrap().status(), 200);
    for_alice.left().await;
    for_bob.chunk(event).await;
    reads(&mut bobs, event).await;
    // And with the server.
    let other = folder.text().replace("servers.one", "servers.two");
    folder.put(
        "gateway.toml",
        &other.replace("server = \"one\"", "server = \"two\""),
    );
    assert_eq!(read(bobs).await.text, "");
    for_bob.left().await;
}

/// Who approves does not know what has happened since.
#[tokio::test]
async fn a_call_that_waits_is_not_made_once_its_caller_has_lost_everything() {
    let upstream = Recording::start().await;
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[servers.one]\nurl = {:?}\n",
        upstream.url
    ));
    folder.put("asks.json", ASKS);
    let token = folder
        .grant("alice", "one", &["--policy", "asks.json"])
        .await;
    let proxy = folder.serve_operated().await;
    let lost = [["lockdown", "on"], ["lockdown", "off"], ["grant", "revoke"]];
    for (id, loses) in (1..).zip(lost) {
        let message = json!({
            "jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": { "name": "pay", "arguments": { "amount": id } },
        });
        let held = request(&proxy, "one", &token).body(body(&message)).unwrap();
        let held = tokio::spawn(send(held));
        let waiting = one_that_waits(&proxy).await;
        let before = upstream.came().len();
        let mut args = loses.to_vec();
        if loses == ["grant", "revoke"] {
            args.push("alice");
        }
        folder.succeeds(&args).await;
        if loses == ["grant", "revoke"] {
            // Nobody else has noticed yet.
            assert_eq!(outcome(&proxy, "one", &token, "x").await, "401");
        }
        approve(&proxy, &waiting).await;
        let answer = held.await.unwrap().json();
        if loses == ["lockdown", "off"] {
            assert!(answer["result"]["isError"].is_null(), "{answer}");
            assert_eq!(upstream.came().len(), before + 1);
        } else {
            let rule = &answer["result"]["_meta"]["io.github.mcp-policy/rule"];
            let expected = match loses {
                ["lockdown", "on"] => LOCKED,
                _ => "(no policy)",
            };
            assert_eq!(rule, expected, "{answer}");
            assert_eq!(answer["id"], id);
            assert_eq!(upstream.came().len(), before);
            folder.succeeds(&["lockdown", "off"]).await;
        }
    }
}

/// A session with a command, in front of which everything else changes.
#[cfg(unix)]
#[tokio::test]
async fn a_session_of_a_command_goes_on_through_reload_and_lockdown() {
    let server = std::env::current_exe().unwrap();
    let command = [server.to_str().unwrap()]
        .into_iter()
        .chain(crate::stdio_server::ARGUMENTS);
    let command: Vec<_> = command.collect();
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\n[servers.files]\ncommand = {command:?}\n\
         env = {{ {} = \"1\" }}\n",
        crate::stdio_server::ROLE
    ));
    let token = folder
        .grant("alice", "files", &["--policy", "all.json"])
        .await;
    let proxy = folder.serve().await;
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        },
    });
    let begun = post(&proxy, "files", &token, &initialize).await;
    let session = begun
        .header("mcp-session-id")
        .unwrap_or_else(|| panic!("{}", begun.text));
    let process = async |token: &str| {
        let request = request(&proxy, "files", token)
            .header("accept", "application/json")
            .header("mcp-session-id", session);
        let request = request.body(body(&call(2, "process"))).unwrap();
        let mut answer = send(request).await.text;
        if let Some(data) = answer.split("data: ").nth(1) {
            answer = data.to_owned();
        }
        let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"));
        let result = &answer["result"];
        result["content"][0]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned()
    };
    let first = process(&token).await;
    assert!(first.parse::<u32>().is_ok(), "{first}");
    let upstream = Recording::start().await;
    let more = format!(
        "\n[servers.one]\nurl = {:?}\npolicy = \"all.json\"\n[limits]\nsessions_per_minute = 7\n",
        upstream.url
    );
    folder.put("gateway.toml", &(folder.text() + &more));
    assert_eq!(process(&token).await, first);
    folder.succeeds(&["lockdown", "on"]).await;
    assert!(process(&token).await.contains("locked this down"));
    folder.succeeds(&["lockdown", "off"]).await;
    assert_eq!(process(&token).await, first);
    // The session is the grant's, whatever its token is.
    let other = folder.succeeds(&["grant", "rotate", "alice"]).await;
    assert_eq!(process(&other).await, first);
    // And it ends with its server.
    let text = folder.text().replace("[servers.files]", "[servers.other]");
    folder.put(
        "gateway.toml",
        &text.replace("server = \"files\"", "server = \"other\""),
    );
    proxy.logs("removed=[\"files\"]").await;
    let is_there = || std::path::Path::new(&format!("/proc/{first}")).exists();
    if cfg!(target_os = "linux") {
        within("the end of the server", async {
            while is_there() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}
