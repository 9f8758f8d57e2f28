//! What monitoring is told.

use std::net::SocketAddr;

use http::Request;
use http_body_util::Full;

use crate::{
    fake::Upstream,
    gateway::{Folder, Recording, outcome},
    limits::answering,
    support::{ALLOW_ALL, Answer, Proxy, body, call, client, file, pause, run, send, within},
};

const POLICY: &str = r#"{
    "version": "1", "default": "deny",
    "tools": { "read_*": {}, "pay": { "require_approval": true } }
}"#;

/// A proxy that tells it.
async fn monitored(upstream: SocketAddr, policy: &str, more: &[&str]) -> Proxy {
    let policy = file("policy.json", policy);
    let upstream = format!("http://{upstream}/mcp");
    let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--upstream", &upstream];
    args.extend([
        "--policy",
        policy.to_str().unwrap(),
        "--metrics",
        "127.0.0.1:0",
    ]);
    args.extend(more);
    Proxy::start(&args, "info").await
}

/// Where it is told.
pub(crate) async fn address(proxy: &Proxy) -> SocketAddr {
    proxy.logs("/metrics\n").await;
    let log = proxy.log();
    let line = log
        .lines()
        .find_map(|line| line.strip_prefix("metrics are at http://"));
    line.unwrap()
        .strip_suffix("/metrics")
        .unwrap()
        .parse()
        .unwrap()
}

pub(crate) async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request.body(Full::default()).unwrap()).await
}

#[tokio::test]
async fn decisions_and_what_waits_are_counted_for_prometheus() {
    let upstream = answering().await;
    let log = file("audit.jsonl", "");
    let more = ["--admin", "127.0.0.1:0", "--audit", log.to_str().unwrap()];
    let proxy = monitored(upstream, POLICY, &more);
    let proxy = proxy.await;
    let address = address(&proxy).await;
    for tool in ["read_a", "read_b", "write"] {
        proxy.post(&call(1, tool)).await;
    }
    let waiting = proxy.request().body(body(&call(1, "pay"))).unwrap();
    tokio::spawn(client().request(waiting));
    let counts = within("that the call waits", async {
        loop {
            let counts = get(address, "/metrics", &[]).await;
            if counts
                .text
                .contains("mcp_policy_proxy_approvals_waiting 1\n")
            {
                break counts;
            }
            pause().await;
        }
    });
    let counts = counts.await;
    assert_eq!(
        counts.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let server = format!("server=\"{upstream}\"");
    let of_call = |tool: &str, verdict: &str, rule: &str, count: u32| {
        format!(
            "mcp_policy_decisions_total{{{server},method=\"tools/call\",tool=\"{tool}\",\
             verdict=\"{verdict}\",rule=\"{rule}\"}} {count}\n"
        )
    };
    for expected in [
        of_call("read_*", "allowed", "/tools/read_*", 2),
        of_call("other", "denied", "(default deny)", 1),
        format!("mcp_policy_latency_seconds_count{{{server},ending=\"refused\"}} 1\n"),
        "mcp_policy_proxy_state_ready 1\n".to_owned(),
        "mcp_policy_audit_waiting_records 0\n".to_owned(),
        "# TYPE mcp_policy_latency_seconds histogram\n".to_owned(),
    ] {
        assert!(
            counts.text.contains(&expected),
            "{expected} in\n{}",
            counts.text
        );
    }
    assert!(!counts.text.contains("argument-value"));
}

#[tokio::test]
async fn it_is_told_that_the_program_lives_and_can_work() {
    let upstream = answering().await;
    let proxy = monitored(upstream, ALLOW_ALL, &[]).await;
    let address = address(&proxy).await;
    for (path, text) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        // Whoever probes may call it what they like.
        let answer = get(address, path, &[("host", "probe.internal")]).await;
        assert_eq!((answer.status(), &*answer.text), (200, text));
    }
    assert_eq!(get(address, "/mcp", &[]).await.status(), 404);
    let request = Request::post(format!("http://{address}/metrics"));
    let refused = send(request.body(Full::default()).unwrap()).await;
    assert_eq!(
        (refused.status(), refused.header("allow")),
        (405, Some("GET, HEAD"))
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn where_nothing_can_be_recorded_it_is_not_ready() {
    let upstream = answering().await;
    let proxy = monitored(upstream, ALLOW_ALL, &["--audit", "/dev/full"]).await;
    let address = address(&proxy).await;
    assert_eq!(get(address, "/readyz", &[]).await.text, "ready\n");
    proxy.post(&call(1, "a")).await;
    let text = "not ready: calls were refused because they could not be recorded\n";
    let answer = get(address, "/readyz", &[]).await;
    assert_eq!((answer.status(), &*answer.text), (503, text));
}

#[tokio::test]
async fn where_nobody_is_let_in_it_is_not_ready() {
    let server = Recording::start().await;
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n[servers.one]\nurl = {:?}\npolicy = \"all.json\"\n",
        server.url
    ));
    let proxy = folder.serve().await;
    let address = address(&proxy).await;
    assert_eq!(get(address, "/readyz", &[]).await.text, "ready\n");
    let text = folder.text();
    std::fs::remove_file(folder.config()).unwrap();
    assert_eq!(outcome(&proxy, "one", "", "a").await, "503");
    let answer = get(address, "/readyz", &[]).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.text.contains("cannot be read"), "{}", answer.text);
    std::fs::write(folder.config(), text).unwrap();
    assert_eq!(outcome(&proxy, "one", "", "a").await, "allowed");
    assert_eq!(get(address, "/readyz", &[]).await.text, "ready\n");
}

#[tokio::test]
async fn who_is_not_let_in_what_is_locked_and_who_does_not_answer_is_counted() {
    // Nobody listens there any more.
    let nowhere = Upstream::bind().await.address();
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n\
         [servers.one]\nurl = \"http://{nowhere}/mcp\"\npolicy = \"all.json\"\n\
         [servers.two]\nurl = \"http://{nowhere}/mcp\"\n"
    ));
    let proxy = folder.serve().await;
    let address = address(&proxy).await;
    let counts = async || get(address, "/metrics", &[]).await.text;
    let before = counts().await;
    for expected in ["locked_down 0\n", "config_loaded 1\n"] {
        let expected = format!("mcp_policy_proxy_{expected}");
        assert!(before.contains(&expected), "{expected} in\n{before}");
    }
    assert_eq!(outcome(&proxy, "two", "", "a").await, "401");
    // No label is chosen by who calls.
    assert_eq!(outcome(&proxy, "three", "", "a").await, "404");
    assert_eq!(outcome(&proxy, "one", "", "a").await, "502");
    folder
        .succeeds(&["lockdown", "on", "--server", "two"])
        .await;
    folder.put("gateway.toml", &(folder.text() + "\nlisten = 7\n"));
    assert_eq!(outcome(&proxy, "one", "", "a").await, "502");
    let after = counts().await;
    for expected in [
        "refused_total{server=\"two\",why=\"no token\"} 1\n",
        "upstream_failures_total{server=\"one\",kind=\"unreachable\"} 2\n",
        "locked_down 1\n",
        "config_loaded 0\n",
    ] {
        let expected = format!("mcp_policy_proxy_{expected}");
        assert!(after.contains(&expected), "{expected} in\n{after}");
    }
    assert!(!after.contains("three"), "{after}");
}

#[cfg(unix)]
#[tokio::test]
async fn while_it_finishes_what_is_open_it_is_not_ready() {
    let upstream = Upstream::bind().await;
    let proxy = monitored(upstream.address(), ALLOW_ALL, &[]).await;
    let address = address(&proxy).await;
    let asking = proxy.request().body(body(&call(1, "a"))).unwrap();
    let asking = tokio::spawn(send(asking));
    let mut asked = upstream.asked().await;
    proxy.signal("TERM").await;
    proxy
        .logs("stopping once the open calls are answered")
        .await;
    let answer = get(address, "/readyz", &[]).await;
    assert_eq!(
        (answer.status(), &*answer.text),
        (503, "not ready: it is stopping\n")
    );
    asked.answer("").await;
    assert_eq!(asking.await.unwrap().status(), 200);
}

#[tokio::test]
async fn pages_of_strangers_do_not_read_what_is_counted() {
    let upstream = answering().await;
    let proxy = monitored(upstream, ALLOW_ALL, &["--allowed-host", "gateway.internal"]);
    let proxy = proxy.await;
    let address = address(&proxy).await;
    let own = format!("http://{address}");
    for (headers, status) in [
        (&[("host", "evil.example.com")][..], 403),
        (&[("origin", "https://evil.example.com")], 403),
        (&[("host", "10.0.0.7:9464"), ("origin", &own)], 403),
        (&[("host", "10.0.0.7:9464")], 200),
        (&[("host", "gateway.internal")], 200),
    ] {
        let answer = get(address, "/metrics", headers).await;
        assert_eq!(answer.status(), status, "{headers:?}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let policy = file("policy.json", POLICY);
    let policy = policy.to_str().unwrap();
    let args = [
        "serve",
        "--policy",
        policy,
        "--upstream",
        "http://127.0.0.1:1/mcp",
        "--listen",
        "127.0.0.1:0",
        "--metrics",
        &taken,
    ];
    let output = run(&args).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--metrics"));
}
