//! The policy file changes while the proxy runs.

use std::{fs, path::Path};

use mcp_policy::Policy;

use crate::{
    fake::Upstream,
    support::{ALLOW_ALL, Proxy, call, file},
};

const DENY: &str = r#"{
  "version": "1",
  "default": "deny",
  "tools": { "seen": {} }
}"#;

/// As editors do it: a new file, moved into the place of the old one.
fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

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
