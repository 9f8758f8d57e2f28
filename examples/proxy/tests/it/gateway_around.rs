//! What is around the servers of a configuration: pages, origins, and what is started.

use std::fs;

use http::Request;
use http_body_util::Full;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    gateway::{Folder, Recording, outcome, post, request},
    support::{body, call, pause, send, within},
};

#[tokio::test]
async fn pages_of_an_allowed_origin_are_told_why_they_are_not_let_in() {
    let upstream = Recording::start().await;
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\nallowed_origins = [\"https://app.example\"]\n[servers.one]\nurl = {:?}\n",
        upstream.url
    ));
    let token = folder
        .grant("alice", "one", &["--policy", "all.json"])
        .await;
    let proxy = folder.serve().await;
    let origin = "https://app.example";
    // Browsers ask first, and show nothing of themselves then.
    let preflight = Request::options(format!("http://{}/mcp/one", proxy.address))
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,content-type",
        );
    let answer = send(preflight.body(Full::default()).unwrap()).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    for (token, status) in [("", 401), ("mcpp_x", 401), (&token, 200)] {
        let request = request(&proxy, "one", token).header("origin", origin);
        let answer = send(request.body(body(&call(1, "a"))).unwrap()).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    }
    let foreign = request(&proxy, "one", &token).header("origin", "https://evil.example");
    let answer = send(foreign.body(body(&call(1, "a"))).unwrap()).await;
    assert_eq!(answer.status(), 403);
    // Nor may it, once the configuration says so.
    folder.put(
        "gateway.toml",
        &folder.text().replace("app.example", "other.example"),
    );
    let request = request(&proxy, "one", &token).header("origin", origin);
    assert_eq!(
        send(request.body(body(&call(1, "a"))).unwrap())
            .await
            .status(),
        403
    );
}

#[tokio::test]
async fn public_pages_are_beside_the_servers() {
    let upstream = Recording::start().await;
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\npublic_url = \"https://gateway.example.com/x\"\n[servers.one]\nurl = {:?}\n",
        upstream.url
    ));
    folder
        .grant("alice", "one", &["--policy", "all.json"])
        .await;
    let proxy = folder.serve().await;
    let id = "0".repeat(32);
    let page = Request::get(format!("http://{}/x/approvals/{id}", proxy.address));
    let page = page.header("host", "gateway.example.com");
    let answer = send(page.body(Full::default()).unwrap()).await;
    assert_eq!(answer.status(), 404);
    assert!(
        answer.text.contains("Nothing waits here"),
        "{}",
        answer.text
    );
    let page = Request::get(format!("http://{}/x/approvals/{id}", proxy.address));
    let foreign = page.header("host", "evil.example");
    assert_eq!(
        send(foreign.body(Full::default()).unwrap()).await.status(),
        403
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_command_knows_its_own_secrets_and_no_others() {
    let folder = Folder::new("");
    let out = folder.path("out");
    let script = format!("env > {0}.new; mv {0}.new {0}; exit 1", out.display());
    folder.put(
        "gateway.toml",
        &format!(
            r#"listen = "127.0.0.1:0"
[servers.mine]
command = ["sh", "-c", {script:?}]
policy = "all.json"
env = {{ OWN = {{ env = "CANARY_ONE" }}, PLAIN = "plain-value", FILED = {{ file = "key" }} }}
[servers.other]
url = "http://127.0.0.1:1/mcp"
headers.authorization = {{ env = "CANARY_TWO" }}
"#
        ),
    );
    folder.put("key", "from-a-file\n");
    let proxy = folder
        .serve_with(|command| {
            command
                .env("CANARY_ONE", "canary-own")
                .env("CANARY_TWO", "canary-two");
            command
                .env("MCP_POLICY_KEY", "ab".repeat(32))
                .env("INHERITED", "as-it-is");
        })
        .await;
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": { "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {} },
    });
    post(&proxy, "mine", "", &initialize).await;
    let seen = fs::read_to_string(out).unwrap();
    for line in [
        "OWN=canary-own",
        "PLAIN=plain-value",
        "FILED=from-a-file",
        "INHERITED=as-it-is",
    ] {
        assert!(seen.lines().any(|seen| seen == line), "{line} in {seen}");
    }
    for hidden in ["CANARY_ONE", "CANARY_TWO", "canary-two", "MCP_POLICY_KEY"] {
        assert!(!seen.contains(hidden), "{hidden} in {seen}");
    }
    assert!(!proxy.log().contains("canary"), "{}", proxy.log());
    assert_eq!(outcome(&proxy, "other", "", "a").await, "401");
}

/// Servers are many, and memory is not.
#[tokio::test]
async fn what_is_held_is_bounded_for_all_servers_together() {
    let upstream = Recording::start().await;
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\nlimits.request_budget = 1024\n\
         [servers.one]\nurl = {0:?}\npolicy = \"all.json\"\n\
         [servers.two]\nurl = {0:?}\npolicy = \"all.json\"\n",
        upstream.url
    ));
    let proxy = folder.serve().await;
    let address = proxy.address;
    let half = async || {
        let mut half = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /mcp/one HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             content-length: 1010\r\n\r\n{:1000}",
            "{"
        );
        half.write_all(head.as_bytes()).await.unwrap();
        half
    };
    assert_eq!(outcome(&proxy, "two", "", "a").await, "allowed");
    // One that comes while something else is held is refused itself, and holds nothing.
    let held = within("a budget that is used up", async {
        loop {
            let held = half().await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            if outcome(&proxy, "two", "", "a").await == "503" {
                break held;
            }
        }
    })
    .await;
    drop(held);
    within("a budget that is free", async {
        while outcome(&proxy, "two", "", "a").await != "allowed" {
            pause().await;
        }
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_that_was_started_is_left_behind() {
    let server = std::env::current_exe().unwrap();
    let words = [server.to_str().unwrap()].into_iter();
    let words: Vec<_> = words.chain(crate::stdio_server::ARGUMENTS).collect();
    let role = crate::stdio_server::ROLE;
    let table = |name: &str| {
        format!(
            "[servers.{name}]\ncommand = {words:?}\nenv = {{ {role} = \"1\" }}\npolicy = \"all.json\"\n"
        )
    };
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\n{}{}",
        table("one"),
        table("two")
    ));
    let mut proxy = folder.serve().await;
    let mut started = Vec::new();
    for name in ["one", "two"] {
        let initialize = json!({
            "jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": { "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {} },
        });
        let begun = post(&proxy, name, "", &initialize).await;
        let session = begun.header("mcp-session-id").unwrap();
        let request = request(&proxy, name, "")
            .header("mcp-session-id", session)
            .body(body(&call(2, "process")))
            .unwrap();
        let answer = send(request).await.text;
        let number = answer.split("\"text\":\"").nth(1).unwrap();
        started.push(number.split('"').next().unwrap().parse::<u32>().unwrap());
    }
    assert_ne!(started[0], started[1]);
    proxy.signal("TERM").await;
    assert!(proxy.end().await.success());
    for number in started {
        assert!(!std::path::Path::new(&format!("/proc/{number}")).exists());
    }
}
