//! What somebody tries who means no good to `serve --config`, and what goes wrong at the worst
//! moment.

use std::{fs, time::Instant};

use serde_json::json;

use crate::{
    fake::Upstream,
    gateway::{Folder, Recording, outcome, post, request, two},
    support::{body, call, open, read, reads, send},
};

const LOCKED: &str = "/tools/*/action";

/// One server, and the token of alice.
async fn start(more: &str) -> (Folder, crate::support::Proxy, String, Recording) {
    let upstream = Recording::start().await;
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\n{more}[servers.one]\nurl = {:?}\n",
        upstream.url
    ));
    let token = folder
        .grant("alice", "one", &["--policy", "all.json"])
        .await;
    let proxy = folder.serve().await;
    assert_eq!(outcome(&proxy, "one", &token, "x").await, "allowed");
    (folder, proxy, token, upstream)
}

/// The command reads the name of the file where it stands now, and the proxy does not load that.
#[tokio::test]
async fn a_lockdown_holds_whatever_is_wrong_with_the_configuration() {
    let (folder, proxy, token, _) = start("lockdown = \"first\"\n").await;
    let text = folder.text();
    for broken in [
        format!("x = 1\n{}", text.replace("\"first\"", "\"second\"")),
        format!("x = 1\n{}", text.replace("lockdown = \"first\"\n", "")),
        // No TOML.
        format!("{}\n[", text.replace("lockdown = \"first\"\n", "")),
    ] {
        folder.put("gateway.toml", &broken);
        assert_eq!(outcome(&proxy, "one", &token, "x").await, "allowed");
        folder.succeeds(&["lockdown", "on"]).await;
        assert_eq!(
            outcome(&proxy, "one", &token, "x").await,
            LOCKED,
            "{broken}"
        );
        folder.succeeds(&["lockdown", "off"]).await;
        assert_eq!(outcome(&proxy, "one", &token, "x").await, "allowed");
        // And the file by which it was locked when it was loaded still does that.
        fs::write(folder.path("first"), "").unwrap();
        assert_eq!(
            outcome(&proxy, "one", &token, "x").await,
            LOCKED,
            "{broken}"
        );
        fs::remove_file(folder.path("first")).unwrap();
    }
    // Loaded again, it is one file.
    folder.put("gateway.toml", &text.replace("\"first\"", "\"third\""));
    assert_eq!(outcome(&proxy, "one", &token, "x").await, "allowed");
    fs::write(folder.path("first"), "").unwrap();
    assert_eq!(outcome(&proxy, "one", &token, "x").await, "allowed");
    fs::write(folder.path("third"), "").unwrap();
    assert_eq!(outcome(&proxy, "one", &token, "x").await, LOCKED);
}

#[cfg(unix)]
#[tokio::test]
async fn a_lockdown_that_nobody_can_look_at_locks_everything() {
    let (folder, proxy, token, _) = start("").await;
    let path = folder.path("gateway.lockdown");
    // Leads to itself.
    std::os::unix::fs::symlink(&path, &path).unwrap();
    assert_eq!(outcome(&proxy, "one", &token, "x").await, LOCKED);
    fs::remove_file(&path).unwrap();
    assert_eq!(outcome(&proxy, "one", &token, "x").await, "allowed");
    fs::create_dir(&path).unwrap();
    assert_eq!(outcome(&proxy, "one", &token, "x").await, LOCKED);
    fs::remove_dir(&path).unwrap();
    fs::write(&path, "x".repeat((1 << 20) + 1)).unwrap();
    assert_eq!(outcome(&proxy, "one", &token, "x").await, LOCKED);
    fs::remove_file(&path).unwrap();
    // Whoever opens that to read it waits for somebody who writes.
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    assert_eq!(outcome(&proxy, "one", &token, "x").await, LOCKED);
}

#[tokio::test]
async fn commands_at_once_lose_nothing() {
    let (first, second) = (Recording::start().await, Recording::start().await);
    let folder = Folder::new(&two(&first, &second));
    let labels: Vec<_> = (0..12).map(|index| format!("g{index}")).collect();
    let added = labels.iter().map(async |label| {
        let args = ["grant", "add", "--label", label, "--server", "one"];
        folder.runs(&args).await.status.success()
    });
    let added = futures_util::future::join_all(added).await;
    let text = folder.text();
    for (label, added) in labels.iter().zip(added) {
        assert!(added, "{label}");
        assert!(text.contains(&format!("\"{label}\"")), "{label} in {text}");
    }
    let revoked = labels.iter().map(async |label| {
        folder
            .runs(&["grant", "revoke", label])
            .await
            .status
            .success()
    });
    let revoked = futures_util::future::join_all(revoked).await;
    assert!(revoked.iter().all(|revoked| *revoked), "{revoked:?}");
    let count = folder.text().matches("revoked = true").count();
    assert_eq!(count, labels.len(), "{}", folder.text());
    let locked = labels.iter().map(async |label| {
        folder.succeeds(&["lockdown", "on", "--grant", label]).await;
    });
    futures_util::future::join_all(locked).await;
    let text = fs::read_to_string(folder.path("gateway.lockdown")).unwrap();
    for label in &labels {
        assert!(text.contains(&format!("\"{label}\"")), "{label} in {text}");
    }
    let left = fs::read_dir(folder.path("")).unwrap();
    let left: Vec<_> = left.map(|one| one.unwrap().file_name()).collect();
    assert_eq!(left.len(), 5, "{left:?}");
}

/// Else nobody is let in any more.
#[tokio::test]
async fn a_command_does_not_write_a_configuration_that_is_too_long_to_be_read() {
    let (folder, proxy, token, _) = start("").await;
    let text = folder.text();
    let rest = (1 << 20) - text.len();
    let text = format!("{text}#{}\n", "x".repeat(rest - 2));
    folder.put("gateway.toml", &text);
    assert_eq!(outcome(&proxy, "one", &token, "x").await, "allowed");
    for args in [
        &["grant", "add", "--label", "bob", "--server", "one"][..],
        &["grant", "revoke", "alice"],
    ] {
        let output = folder.runs(args).await;
        assert!(!output.status.success(), "{args:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("1 MiB"), "{stderr}");
        assert!(output.stdout.is_empty());
    }
    assert!(folder.text() == text);
    assert_eq!(outcome(&proxy, "one", &token, "x").await, "allowed");
}

/// Of a document with an error in every line, not each is said again for every request.
#[tokio::test]
async fn a_configuration_that_is_all_wrong_does_not_stop_the_proxy() {
    let (folder, proxy, token, _) = start("").await;
    let wrong: String = (0..60_000).map(|index| format!("a{index}=0\n")).collect();
    folder.put("gateway.toml", &(wrong + &folder.text()));
    assert_eq!(outcome(&proxy, "one", &token, "x").await, "allowed");
    assert!(proxy.log().len() < 100_000, "{}", proxy.log().len());
    assert!(proxy.log().contains("more problems"));
}

/// Media types are the same in any case.
#[tokio::test]
async fn a_stream_ends_with_its_grant_however_its_type_is_written() {
    let upstream = Upstream::bind().await;
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\n[servers.one]\nurl = \"http://{}/mcp\"\n",
        upstream.address()
    ));
    let alice = folder
        .grant("alice", "one", &["--policy", "all.json"])
        .await;
    let proxy = folder.serve().await;
    let mut listens = request(&proxy, "one", &alice)
        .body(body(&json!({})))
        .unwrap();
    *listens.method_mut() = http::Method::GET;
    let asked = async {
        let mut asked = upstream.asked().await;
        asked
            .write(
                "HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream;charset=UTF-8\r\n\
                 transfer-encoding: chunked\r\n\r\n",
            )
            .await;
        asked
    };
    let (mut stream, mut asked) = tokio::join!(open(listens), asked);
    let event = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"data\":1}}\n\n";
    asked.chunk(event).await;
    reads(&mut stream, event).await;
    folder.succeeds(&["grant", "revoke", "alice"]).await;
    assert_eq!(outcome(&proxy, "one", &alice, "x").await, "401");
    assert_eq!(read(stream).await.text, "");
    asked.left().await;
}

/// Whoever has no token decides how often that is.
#[tokio::test]
async fn strangers_do_not_fill_the_log() {
    let (_folder, proxy, _, _) = start("").await;
    let before = Instant::now();
    for _ in 0..100 {
        assert_eq!(outcome(&proxy, "one", "mcpp_x", "x").await, "401");
    }
    let seconds = usize::try_from(before.elapsed().as_secs()).unwrap();
    let lines = proxy.log().matches("without a right token").count();
    assert!((1..=seconds + 1).contains(&lines), "{lines} in {seconds} s");
}

/// A server that is asked as before keeps its streams, whatever is secret of others.
#[tokio::test]
async fn a_secret_of_another_server_ends_no_streams() {
    let upstream = Upstream::bind().await;
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\n[servers.one]\nurl = \"http://{}/mcp\"\n",
        upstream.address()
    ));
    let alice = folder
        .grant("alice", "one", &["--policy", "all.json"])
        .await;
    let proxy = folder
        .serve_with(|command| {
            command.env("CANARY", "canary");
        })
        .await;
    let mut listens = request(&proxy, "one", &alice)
        .body(body(&json!({})))
        .unwrap();
    *listens.method_mut() = http::Method::GET;
    let asked = async {
        let mut asked = upstream.asked().await;
        asked.stream().await;
        asked
    };
    let (mut stream, mut asked) = tokio::join!(open(listens), asked);
    let other =
        "\n[servers.two]\nurl = \"http://127.0.0.1:1/\"\nheaders.x = { env = \"CANARY\" }\n";
    folder.put("gateway.toml", &(folder.text() + other));
    proxy.logs("added=[\"two\"]").await;
    assert_eq!(outcome(&proxy, "two", "", "x").await, "401");
    let event = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"data\":1}}\n\n";
    asked.chunk(event).await;
    reads(&mut stream, event).await;
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
        let state = fs::read_to_string(format!("/proc/{number}/stat"));
        // What is dead may still have to be noticed by its parent.
        let is_gone = state.is_err() || state.is_ok_and(|state| state.contains(") Z "));
        assert!(is_gone, "{number}");
    }
}

/// Paths, methods and ways to say them that lead to no server without its token.
#[tokio::test]
async fn no_way_leads_around_a_token() {
    let (first, second) = (Recording::start().await, Recording::start().await);
    let folder = Folder::new(&two(&first, &second));
    let alice = folder
        .grant("alice", "one", &["--policy", "all.json"])
        .await;
    let nothing = folder.grant("bob", "one", &[]).await;
    let proxy = folder.serve().await;
    let address = proxy.address;
    let raw = async |text: String| {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = crate::support::within("an answer", stream.read_to_string(&mut answer)).await;
        answer
    };
    let message = call(1, "x").to_string();
    for (token, method, target) in [
        (&alice, "POST", "/mcp/one/../two"),
        (&alice, "POST", "/mcp/one/%2e%2e/two"),
        (&alice, "POST", "/mcp/one%2f..%2ftwo"),
        (&alice, "POST", "/mcp//two"),
        (&alice, "POST", "/mcp/two/"),
        (&alice, "POST", "/mcp/two;one"),
        (&alice, "POST", "/mcp/Two"),
        (&alice, "POST", "/mcp/%74wo"),
        (&alice, "POST", "/mcp/two?server=one"),
        (&alice, "POST", "http://127.0.0.1/mcp/two"),
        (&alice, "POST", "http://evil.example/mcp/one"),
        (&alice, "GET", "/mcp/two"),
        (&alice, "DELETE", "/mcp/two"),
        (&alice, "PUT", "/mcp/two"),
        (&alice, "OPTIONS", "/mcp/two"),
        (&alice, "OPTIONS", "*"),
        (&alice, "CONNECT", "127.0.0.1:80"),
        (&alice, "POST", "/messages?sessionId=1"),
        (&nothing, "POST", "/mcp/one"),
        (&String::new(), "POST", "/mcp/one"),
        (&String::new(), "GET", "/mcp/one"),
        (&String::new(), "DELETE", "/mcp/one"),
        (&String::new(), "OPTIONS", "/mcp/one"),
    ] {
        let answer = raw(format!(
            "{method} {target} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
             mcp-session-id: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{message}",
            message.len()
        ))
        .await;
        assert!(
            first.came().is_empty() && second.came().is_empty(),
            "{target}"
        );
        assert!(!answer.contains("\"content\":[]"), "{target}: {answer}");
    }
    assert_eq!(outcome(&proxy, "one", &alice, "x").await, "allowed");
}

/// What comes on a stream is judged by what was known of its caller when it was opened.
#[tokio::test]
async fn a_stream_ends_with_the_claims_of_its_grant() {
    let upstream = Upstream::bind().await;
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\n[servers.one]\nurl = \"http://{}/mcp\"\n",
        upstream.address()
    ));
    let claims = ["--policy", "all.json", "--claim", "team=ops"];
    let alice = folder.grant("alice", "one", &claims).await;
    let proxy = folder.serve().await;
    let mut listens = request(&proxy, "one", &alice)
        .body(body(&json!({})))
        .unwrap();
    *listens.method_mut() = http::Method::GET;
    let asked = async {
        let mut asked = upstream.asked().await;
        asked.stream().await;
        asked
    };
    let (stream, asked) = tokio::join!(open(listens), asked);
    let text = folder.text();
    assert!(text.contains("\"ops\""), "{text}");
    folder.put("gateway.toml", &text.replace("\"ops\"", "\"guests\""));
    assert_eq!(read(stream).await.text, "");
    asked.left().await;
}

/// Two servers are the same command, and two callers have the same server.
#[cfg(unix)]
#[tokio::test]
async fn a_session_is_for_one_server_and_one_caller() {
    let server = std::env::current_exe().unwrap();
    let words = [server.to_str().unwrap()].into_iter();
    let words: Vec<_> = words.chain(crate::stdio_server::ARGUMENTS).collect();
    let role = crate::stdio_server::ROLE;
    let tables: String = ["one", "two", "open", "wide"]
        .into_iter()
        .map(|name| format!("[servers.{name}]\ncommand = {words:?}\nenv = {{ {role} = \"1\" }}\n"))
        .collect();
    let open = |text: String, name: &str| {
        let head = format!("[servers.{name}]\n");
        text.replace(&head, &format!("{head}policy = \"all.json\"\n"))
    };
    let tables = open(open(tables, "open"), "wide");
    let folder = Folder::new(&format!("listen = \"127.0.0.1:0\"\n{tables}"));
    let all = ["--policy", "all.json"];
    let alice = folder.grant("alice", "one", &all).await;
    let bob = folder.grant("bob", "one", &all).await;
    let carol = folder.grant("carol", "two", &all).await;
    let proxy = folder.serve().await;
    let begun = async |server: &str, token: &str| {
        let initialize = json!({
            "jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": { "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {} },
        });
        let begun = post(&proxy, server, token, &initialize).await;
        begun.header("mcp-session-id").unwrap().to_owned()
    };
    let asked = async |method: &str, server: &str, token: &str, session: &str| {
        let mut request = request(&proxy, server, token)
            .header("mcp-session-id", session)
            .body(body(&call(2, "process")))
            .unwrap();
        *request.method_mut() = method.parse().unwrap();
        send(request).await
    };
    let alices = begun("one", &alice).await;
    let anybodys = begun("open", "").await;
    for (server, token, session) in [
        ("one", &bob, &alices),
        ("two", &carol, &alices),
        ("open", &String::new(), &alices),
        ("wide", &String::new(), &anybodys),
        ("one", &alice, &anybodys),
    ] {
        for method in ["POST", "GET", "DELETE"] {
            let answer = asked(method, server, token, session).await;
            assert_eq!(answer.status(), 404, "{method} {server}: {}", answer.text);
        }
    }
    assert_eq!(asked("POST", "one", &alice, &alices).await.status(), 200);
    assert_eq!(asked("POST", "open", "", &anybodys).await.status(), 200);
}
