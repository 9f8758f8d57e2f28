//! Limits, as the clients of a running proxy meet them.

use std::net::{IpAddr, SocketAddr};

use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::fake::Upstream;
use crate::support::{Answer, Proxy, body, call, file, read, within};

fn policy(limit: &str) -> String {
    format!(
        r#"{{ "version": "1", "default": "deny", "tools": {{ "free": {{}}, "run": {limit} }} }}"#
    )
}

/// A proxy with this rule for `run`.
pub(crate) async fn guard(upstream: SocketAddr, rule: &str, more: &[&str]) -> Proxy {
    let policy = file("limits.json", &policy(rule));
    let upstream = format!("http://{upstream}/mcp");
    let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--upstream", &upstream];
    args.extend(["--policy", policy.to_str().unwrap()]);
    args.extend(more);
    Proxy::start(&args, "info").await
}

/// An upstream that answers every request.
pub(crate) async fn answering() -> SocketAddr {
    let upstream = Upstream::bind().await;
    let address = upstream.address();
    tokio::spawn(async move {
        loop {
            upstream.answers().await;
        }
    });
    address
}

/// What a refused call is told: the text, and the milliseconds to wait.
fn refusal(answer: &Answer) -> Option<(String, u64)> {
    let json: Value = answer.json();
    let result = &json["result"];
    let wait = result["_meta"]["io.github.mcp-policy/retryAfterMs"].as_u64();
    (result["isError"] == true).then(|| {
        let text = result["content"][0]["text"].as_str().unwrap();
        (text.to_owned(), wait.unwrap())
    })
}

async fn from(address: &str, proxy: &Proxy, tool: &str) -> Answer {
    let mut connector = HttpConnector::new();
    connector.set_local_address(Some(address.parse::<IpAddr>().unwrap()));
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let request = proxy.request().body(body(&call(1, tool))).unwrap();
    read(within("an answer", client.request(request)).await.unwrap()).await
}

#[tokio::test]
async fn the_eleventh_of_ten_calls_is_a_policy_violation_with_the_time_to_wait() {
    let audit = file("audit.jsonl", "");
    let rule = r#"{ "rate_limit": { "max": 10, "window": 60 } }"#;
    let more = ["--audit", audit.to_str().unwrap()];
    let proxy = guard(answering().await, rule, &more).await;
    for _ in 0..10 {
        assert_eq!(refusal(&proxy.post(&call(1, "run")).await), None);
    }
    let answer = proxy.post(&call(1, "run")).await;
    assert_eq!(answer.status(), 200);
    let (text, wait) = refusal(&answer).unwrap();
    assert!(
        text.starts_with(
            "Policy violation: the tool \"run\" was not used. No more than 10 a minute"
        ),
        "{text}"
    );
    assert!((1..=60_000).contains(&wait), "{wait}");
    // Another caller has a budget of its own, and other tools are not limited.
    assert_eq!(refusal(&from("127.0.0.2", &proxy, "run").await), None);
    assert_eq!(refusal(&proxy.post(&call(1, "free")).await), None);
    let records = std::fs::read_to_string(&audit).unwrap();
    let limited = records.matches(r#""verdict":"limited","rule":"/tools/run/limits/rate""#);
    assert_eq!(limited.count(), 1, "{records}");
}

#[tokio::test]
async fn after_the_window_it_works_again() {
    let rule = r#"{ "rate_limit": { "max": 1, "window": 1 } }"#;
    let proxy = guard(answering().await, rule, &[]).await;
    // However slow it is, sometimes two calls come in one second.
    let refused = within("a call that is refused", async {
        loop {
            if let Some((_, wait)) = refusal(&proxy.post(&call(1, "run")).await) {
                break wait;
            }
        }
    });
    let wait = refused.await;
    // As long as it said is long enough.
    tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
    assert_eq!(refusal(&proxy.post(&call(1, "run")).await), None);
}

#[tokio::test]
async fn what_never_reached_the_upstream_is_not_counted() {
    // Nobody listens there any more.
    let nowhere = Upstream::bind().await.address();
    let proxy = guard(nowhere, r#"{ "rate_limit": "2/minute" }"#, &[]).await;
    for _ in 0..5 {
        let answer = proxy.post(&call(1, "run")).await;
        assert!(answer.text.contains("cannot be reached"), "{}", answer.text);
    }
}

#[tokio::test]
async fn long_windows_that_a_restart_forgets_are_warned_of() {
    let rule = r#"{ "limits": [ { "counter": "a", "window": "day", "max": 5 } ] }"#;
    let proxy = guard(answering().await, rule, &[]).await;
    let log = proxy.log();
    let warning = "what this limit counted is forgotten when the process ends";
    assert!(log.contains(warning), "{log}");
    assert!(log.contains("/tools/run/limits/0/window"), "{log}");
}
