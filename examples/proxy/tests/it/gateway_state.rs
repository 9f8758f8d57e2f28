//! What several proxies with one configuration have together.
#![cfg(unix)]

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    fake::Upstream,
    gateway::{
        Folder, Recording, approve, one_that_waits, outcome, post, request,
        waiting as operators_see,
    },
    state::{Redis, StateFile},
    support::{body, call, pause, run, send, within},
};

const POLICY: &str = r#"{
  "version": "1",
  "default": "deny",
  "tools": {
    "run": { "limits": [ { "counter": "calls", "window": "day", "max": 2 } ] },
    "pay": { "require_approval": true }
  }
}"#;

async fn share(state: &str) {
    let (first, second) = (Recording::start().await, Recording::start().await);
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nstate = {state:?}\n\
         [servers.one]\nurl = {:?}\n[servers.two]\nurl = {:?}\n",
        first.url, second.url
    ));
    folder.put("policy.json", POLICY);
    let policy = ["--policy", "policy.json"];
    let alice = folder.grant("alice", "one", &policy).await;
    let bob = folder.grant("bob", "two", &policy).await;
    let (here, there) = (folder.serve_operated().await, folder.serve_operated().await);
    assert!(!here.log().contains("forgotten"), "{}", here.log());
    assert_eq!(outcome(&here, "one", &alice, "run").await, "allowed");
    assert_eq!(outcome(&there, "one", &alice, "run").await, "allowed");
    let used_up = "/tools/run/limits/calls";
    assert_eq!(outcome(&here, "one", &alice, "run").await, used_up);
    assert_eq!(outcome(&there, "one", &alice, "run").await, used_up);
    assert_eq!(outcome(&there, "two", &bob, "run").await, "allowed");
    // What is counted outlives a server that is made anew.
    let text = folder.text() + "\n[limits]\nsessions_per_minute = 5\n";
    folder.put("gateway.toml", &text);
    assert_eq!(outcome(&here, "one", &alice, "run").await, used_up);

    // What waits in front of any server is seen at any proxy.
    let pay = |id: u32| {
        json!({
            "jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": { "name": "pay", "arguments": { "amount": id } },
        })
    };
    let held = |server, token: &str, id| {
        let request = request(&here, server, token).body(body(&pay(id))).unwrap();
        tokio::spawn(send(request))
    };
    let waiting = [held("one", &alice, 1), held("two", &bob, 2)];
    let listed = within("two calls that wait", async {
        loop {
            let listed = operators_see(&there).await;
            let listed = listed.as_array().unwrap().clone();
            if listed.len() == 2 {
                break listed;
            }
            pause().await;
        }
    })
    .await;
    let mut of: Vec<_> = listed
        .iter()
        .map(|one| (&one["server"], &one["caller"]))
        .collect();
    of.sort_by_key(|(server, _)| server.as_str());
    assert_eq!(
        of,
        [
            (&json!("one"), &json!("alice")),
            (&json!("two"), &json!("bob"))
        ]
    );
    for one in &listed {
        let id = one["id"].as_str().unwrap();
        approve(&there, id).await;
    }
    for call in waiting {
        let answer = within("a held call", call).await.unwrap().json();
        assert!(answer["result"]["isError"].is_null(), "{answer}");
    }
    // A session is its caller's at both.
    let mallory = folder.grant("mallory", "one", &policy).await;
    let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} });
    assert_eq!(
        post(&here, "one", &mallory, &initialize).await.status(),
        200
    );
    // The other one has seen the grant, too.
    assert_eq!(outcome(&there, "one", &mallory, "run").await, "allowed");
    folder.succeeds(&["grant", "revoke", "mallory"]).await;
    for proxy in [&here, &there] {
        assert_eq!(outcome(proxy, "one", &mallory, "run").await, "401");
    }
    let args = [
        "limits", "list", "--server", "one", "--json", "--state", state,
    ];
    let output = run(&args).await;
    let limits: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        limits.to_string().contains("\"caller\":\"alice\""),
        "{limits}"
    );
}

#[tokio::test]
async fn two_gateways_on_one_file_have_everything_together() {
    share(&StateFile::new()).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn two_gateways_with_one_redis_have_everything_together() {
    share(&Redis::start().await.state()).await;
}

/// A session that was begun at one gateway is its caller's at the other.
async fn share_sessions(state: &str) {
    let upstream = Upstream::bind().await;
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\nstate = {state:?}\n[servers.one]\nurl = \"http://{}/mcp\"\n",
        upstream.address()
    ));
    let all = ["--policy", "all.json"];
    let alice = folder.grant("alice", "one", &all).await;
    let mallory = folder.grant("mallory", "one", &all).await;
    let (here, there) = (folder.serve().await, folder.serve().await);
    let begins = async {
        let mut asked = upstream.asked().await;
        asked.answer("mcp-session-id: s1\r\n").await;
    };
    let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} });
    let (begun, ()) = tokio::join!(post(&here, "one", &alice, &initialize), begins);
    assert_eq!(begun.header("mcp-session-id"), Some("s1"));
    let in_it = |token: &str| {
        let request = request(&there, "one", token).header("mcp-session-id", "s1");
        send(request.body(body(&call(2, "x"))).unwrap())
    };
    // Nobody is asked at the server.
    let refused = in_it(&mallory).await;
    assert_eq!(refused.status(), 404);
    assert_eq!(refused.json()["error"]["code"], -32001);
    let (passed, asked) = tokio::join!(in_it(&alice), upstream.answers());
    assert!(passed.json()["result"].is_object(), "{}", passed.text);
    assert_eq!(asked.header("mcp-session-id"), Some("s1"));
}

#[tokio::test]
async fn two_gateways_on_one_file_know_whose_session_is_whose() {
    share_sessions("sqlite:state.db").await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn two_gateways_with_one_redis_know_whose_session_is_whose() {
    share_sessions(&Redis::start().await.state()).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn without_its_redis_a_gateway_refuses_what_needs_it_and_forgets_nothing() {
    let mut redis = Redis::start().await;
    let (first, second) = (Recording::start().await, Recording::start().await);
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nstate = {:?}\n\
         [servers.one]\nurl = {:?}\n[servers.two]\nurl = {:?}\npolicy = \"all.json\"\n",
        redis.state(),
        first.url,
        second.url
    ));
    folder.put("policy.json", POLICY);
    let policy = ["--policy", "policy.json"];
    let alice = folder.grant("alice", "one", &policy).await;
    let proxy = folder.serve_operated().await;
    assert_eq!(outcome(&proxy, "one", &alice, "run").await, "allowed");
    redis.kill().await;
    for tool in ["run", "pay"] {
        let answer = post(&proxy, "one", &alice, &call(1, tool)).await.json();
        assert_eq!(answer["error"]["code"], -31503, "{answer}");
    }
    // What needs no store goes on, at the other server, and so does whatever is refused.
    assert_eq!(outcome(&proxy, "two", "", "x").await, "allowed");
    assert_eq!(outcome(&proxy, "one", &alice, "x").await, "(default deny)");
    assert_eq!((first.came().len(), second.came().len()), (1, 1));
    redis.start_again().await;
    let answer = within("that the Redis server is used again", async {
        loop {
            let answer = post(&proxy, "one", &alice, &call(1, "run")).await.json();
            if answer["error"].is_null() {
                break answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(answer["result"]["isError"].is_null(), "{answer}");
    // One call before, one after, and none of those between.
    let used_up = "/tools/run/limits/calls";
    assert_eq!(outcome(&proxy, "one", &alice, "run").await, used_up);
    assert_eq!(first.came().len(), 2);
    let pay = request(&proxy, "one", &alice).body(body(&call(2, "pay")));
    let held = tokio::spawn(send(pay.unwrap()));
    approve(&proxy, &one_that_waits(&proxy).await).await;
    let answer = within("the held call", held).await.unwrap().json();
    assert!(answer["result"]["isError"].is_null(), "{answer}");
}

#[tokio::test]
async fn what_is_counted_in_memory_outlives_a_reload() {
    let upstream = Recording::start().await;
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\n[servers.one]\nurl = {:?}\npolicy = \"policy.json\"\n",
        upstream.url
    ));
    folder.put("policy.json", POLICY);
    let proxy = folder.serve().await;
    assert_eq!(outcome(&proxy, "one", "", "run").await, "allowed");
    let other = Recording::start().await;
    folder.put(
        "gateway.toml",
        &folder.text().replace(&upstream.url, &other.url),
    );
    assert_eq!(outcome(&proxy, "one", "", "run").await, "allowed");
    assert_eq!(
        outcome(&proxy, "one", "", "run").await,
        "/tools/run/limits/calls"
    );
    assert_eq!(other.came().len(), 1);
}
