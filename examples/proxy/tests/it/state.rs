//! What several proxies, at once or one after another, count together.
#![cfg(unix)]

use std::{
    net::SocketAddr,
    ops::Deref,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
};

use crate::{
    limits::{answering, guard},
    monitor, recorded,
    support::{Proxy, call, client, command, file, pause, run, within},
};

const RULE: &str = r#"{ "limits": [ { "counter": "calls", "window": "day", "max": 10 } ] }"#;
const PLACE: &str = "/tools/run/limits/calls";

/// A state in a file that only this test has, in memory where there is such a place: a disk
/// that is busy refuses calls.
pub(crate) struct StateFile {
    state: String,
    _folder: TempDir,
}

impl StateFile {
    pub(crate) fn new() -> Self {
        let folder = recorded::folder();
        Self {
            state: format!("sqlite:{}", folder.path().join("state.db").display()),
            _folder: folder,
        }
    }
}

impl Deref for StateFile {
    type Target = str;

    fn deref(&self) -> &str {
        &self.state
    }
}

/// A Redis server, which is killed when this is dropped.
pub(crate) struct Redis {
    socket: PathBuf,
    server: Child,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        let socket = file("redis", "").with_file_name("socket");
        let server = Self::at(&socket).await;
        Self { socket, server }
    }

    /// Keeps what it has in a file beside its socket, so that it is there when it is
    /// started again.
    async fn at(socket: &Path) -> Child {
        let folder = socket.parent().unwrap();
        let server = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "yes"])
            .args(["--appendfsync", "always", "--dir"])
            .arg(folder)
            .arg("--unixsocket")
            .arg(socket)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server is not installed");
        within("the Redis server", async {
            while tokio::net::UnixStream::connect(socket).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        server
    }

    pub(crate) fn state(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    pub(crate) async fn kill(&mut self) {
        self.server.kill().await.unwrap();
        std::fs::remove_file(&self.socket).unwrap();
    }

    pub(crate) async fn start_again(&mut self) {
        self.server = Self::at(&self.socket).await;
    }
}

async fn passes(proxy: &Proxy) -> bool {
    let answer = proxy.post(&call(1, "run")).await.json();
    let result = &answer["result"];
    assert!(result.is_object(), "{answer}");
    result["isError"] != true
}

async fn guarding(upstream: SocketAddr, state: &str) -> Proxy {
    guard(upstream, RULE, &["--state", state]).await
}

async fn limits(args: &[&str], state: &str) -> Value {
    let args = [&["limits"], args, &["--json", "--state", state]].concat();
    let output = run(&args).await;
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn count_together(state: &str) {
    let upstream = answering().await;
    let mut first = guarding(upstream, state).await;
    let second = guarding(upstream, state).await;
    // A day is not forgotten there.
    assert!(!first.log().contains("forgotten"), "{}", first.log());
    for _ in 0..5 {
        assert!(passes(&first).await && passes(&second).await);
    }
    assert!(!passes(&first).await && !passes(&second).await);
    first.signal("KILL").await;
    first.end().await;
    let again = guarding(upstream, state).await;
    assert!(!passes(&again).await);

    let found = limits(&["list"], state).await;
    let found = &found["limits"];
    let of_run: Vec<_> = found.as_array().unwrap().iter().collect();
    let [one] = of_run.as_slice() else {
        panic!("{found}");
    };
    let names = ["server", "caller", "rule", "used", "max"].map(|name| &one[name]);
    assert_eq!(
        json!(names),
        json!([upstream.to_string(), "127.0.0.1", PLACE, 10, 10])
    );
    let free_in = one["freeInMs"].as_u64().unwrap();
    assert!((86_000_000..=86_400_000).contains(&free_in), "{free_in}");

    limits(&["reset", "--caller", "127.0.0.2"], state).await;
    assert!(!passes(&second).await);
    limits(&["reset", "--caller", "127.0.0.1", "--rule", PLACE], state).await;
    assert!(passes(&second).await && passes(&again).await);
    limits(&["reset", "--all"], state).await;
    assert_eq!(
        limits(&["list"], state).await,
        json!({ "limits": [], "more": false })
    );
}

/// A server that counts what it runs: every call that arrives whole.
async fn counting() -> (SocketAddr, Arc<AtomicUsize>) {
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ran);
    let service = move |request: Request<Incoming>| {
        let ran = Arc::clone(&counted);
        async move {
            request.into_body().collect().await?;
            ran.fetch_add(1, Ordering::Relaxed);
            let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": { "content": [] } });
            let answer = Response::builder()
                .header("content-type", "application/json")
                .body(Full::<Bytes>::from(answer.to_string()));
            Ok::<_, hyper::Error>(answer.unwrap())
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(service.clone()));
            // Those of a proxy that is killed break.
            tokio::spawn(connection);
        }
    });
    (address, ran)
}

/// Whatever it was doing when it was killed.
async fn count_what_ran_when_killed(state: &str) {
    let (address, ran) = counting().await;
    for number in 0..4 {
        let mut proxy = guarding(address, state).await;
        let url = proxy.address;
        let calls = (0..4).map(|_| {
            tokio::spawn(async move {
                for _ in 0..4 {
                    let request = http::Request::post(format!("http://{url}/mcp"))
                        .header("content-type", "application/json")
                        .header("accept", "application/json, text/event-stream")
                        .body(crate::support::body(&call(1, "run")))
                        .unwrap();
                    // Most get no answer.
                    let _ = client().request(request).await;
                }
            })
        });
        let calls: Vec<_> = calls.collect();
        tokio::time::sleep(Duration::from_millis(5 * number)).await;
        proxy.signal("KILL").await;
        proxy.end().await;
        for call in calls {
            within("the clients", call).await.unwrap();
        }
    }
    let proxy = guarding(address, state).await;
    while passes(&proxy).await {}
    let found = limits(&["list"], state).await;
    assert_eq!(found["limits"][0]["used"], 10, "{found}");
    let ran = ran.load(Ordering::Relaxed);
    assert!((1..=10).contains(&ran), "{ran}");
}

const TOKEN: &str = "alices-token-0123456789";
const PAY: &str = r#"{
    "version": "1", "default": "deny",
    "tools": { "pay": { "require_approval": { "reason": "Money is gone for good." } } }
}"#;

/// A proxy that asks for approvals.
async fn asking(upstream: SocketAddr, state: &str) -> Proxy {
    let url = format!("http://{upstream}/mcp");
    let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--upstream", &url]);
    command
        .args(["--admin", "127.0.0.1:0", "--state", state, "--policy"])
        .arg(file("policy.json", PAY))
        .env("MCP_POLICY_ADMIN_TOKENS", format!("alice:{TOKEN}"));
    Proxy::spawn(&mut command).await
}

/// What `approvals` says, to the operator of this proxy.
async fn approvals(proxy: &Proxy, args: &[&str]) -> String {
    let log = proxy.log();
    let (_, admin) = log.split_once("approvals wait at http://").unwrap();
    let (admin, _) = admin.split_once("/approvals").unwrap();
    let mut command = command(&["approvals"]);
    command
        .args(args)
        .args(["--admin", admin])
        .env("MCP_POLICY_ADMIN_TOKEN", TOKEN);
    let output = within("the end of `approvals`", command.output());
    let output = output.await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The first in this state, once there is one.
async fn request_in(proxy: &Proxy, state: &str) -> Value {
    within("a request", async {
        loop {
            let list = approvals(proxy, &["list", "--json", "--state", state]).await;
            let list: Value = serde_json::from_str(&list).unwrap();
            if let Some(first) = list.as_array().unwrap().first() {
                return first.clone();
            }
            pause().await;
        }
    })
    .await
}

async fn pays(proxy: SocketAddr, to: &str) -> Option<Value> {
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "pay", "arguments": { "to": to } } });
    let request = http::Request::post(format!("http://{proxy}/mcp"))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(crate::support::body(&call))
        .unwrap();
    // One that is killed does not answer.
    let answer = client().request(request).await.ok()?;
    let answer = answer.into_body().collect().await.ok()?.to_bytes();
    serde_json::from_slice(&answer).ok()
}

fn is_passed(answer: &Value) -> bool {
    answer["result"].is_object() && answer["result"]["isError"] != true
}

/// Whichever proxy the call comes to, and whichever the operator talks to.
async fn approve_together(state: &str) {
    let (upstream, ran) = counting().await;
    let mut first = asking(upstream, state).await;
    let second = asking(upstream, state).await;
    let held = tokio::spawn(pays(first.address, "a"));
    let waiting = request_in(&second, "pending").await;
    assert_eq!(waiting["arguments"]["to"], "a");
    let id = waiting["id"].as_str().unwrap();
    approvals(&second, &["approve", id]).await;
    let answer = within("the held call", held).await.unwrap().unwrap();
    assert!(is_passed(&answer), "{answer}");
    assert_eq!(ran.load(Ordering::Relaxed), 1);
    assert_eq!(request_in(&second, "used").await["decidedBy"], "alice");

    let held = tokio::spawn(pays(first.address, "b"));
    let waiting = request_in(&first, "pending").await;
    first.signal("KILL").await;
    first.end().await;
    assert_eq!(within("the broken call", held).await.unwrap(), None);
    let again = asking(upstream, state).await;
    assert_eq!(request_in(&again, "pending").await, waiting);
    approvals(&again, &["approve", waiting["id"].as_str().unwrap()]).await;
    let answer = within("the call", pays(second.address, "b")).await.unwrap();
    assert!(is_passed(&answer), "{answer}");
    assert_eq!(ran.load(Ordering::Relaxed), 2);
    // It is used up, and the next asks anew.
    let held = tokio::spawn(pays(again.address, "b"));
    let next = request_in(&second, "pending").await;
    assert_ne!(next["id"], waiting["id"]);
    approvals(&second, &["deny", next["id"].as_str().unwrap()]).await;
    let answer = within("the held call", held).await.unwrap().unwrap();
    assert!(!is_passed(&answer), "{answer}");
    assert_eq!(ran.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn proxies_on_one_file_approve_together_and_over_restarts() {
    approve_together(&StateFile::new()).await;
}

#[tokio::test]
async fn proxies_on_one_file_count_together_and_over_restarts() {
    count_together(&StateFile::new()).await;
}

/// Two addresses of one server, and another server.
#[tokio::test]
async fn what_is_called_the_same_is_counted_together() {
    let state = StateFile::new();
    let named = async |name: &str| {
        let more = ["--state", &state, "--server-name", name];
        guard(answering().await, RULE, &more).await
    };
    let (one, again, other) = (
        named("files").await,
        named("files").await,
        named("mail").await,
    );
    for _ in 0..5 {
        assert!(passes(&one).await && passes(&again).await);
    }
    assert!(!passes(&one).await && !passes(&again).await);
    assert!(passes(&other).await);
    let found = limits(&["list", "--server", "files"], &state).await;
    assert_eq!(found["limits"].as_array().unwrap().len(), 1, "{found}");
}

#[tokio::test]
async fn nothing_is_gained_by_killing_a_proxy_with_a_file() {
    count_what_ran_when_killed(&StateFile::new()).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn proxies_with_one_redis_count_together_and_over_restarts() {
    count_together(&Redis::start().await.state()).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn proxies_with_one_redis_approve_together_and_over_restarts() {
    approve_together(&Redis::start().await.state()).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn nothing_is_gained_by_killing_a_proxy_with_redis() {
    count_what_ran_when_killed(&Redis::start().await.state()).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn without_its_redis_a_proxy_refuses_what_is_limited_until_it_is_back() {
    let mut redis = Redis::start().await;
    let more = ["--state", &redis.state(), "--metrics", "127.0.0.1:0"];
    let proxy = guard(answering().await, RULE, &more).await;
    let monitored = monitor::address(&proxy).await;
    let becomes = async |status: u16| {
        within("that it is known whether the proxy is ready", async {
            while monitor::get(monitored, "/readyz", &[]).await.status() != status {}
        })
        .await;
    };
    assert!(passes(&proxy).await);
    becomes(200).await;
    redis.kill().await;
    becomes(503).await;
    let counts = monitor::get(monitored, "/metrics", &[]).await.text;
    assert!(
        counts.contains("mcp_policy_proxy_state_ready 0\n"),
        "{counts}"
    );
    // It still lives.
    assert_eq!(monitor::get(monitored, "/healthz", &[]).await.status(), 200);
    for _ in 0..3 {
        let answer = proxy.post(&call(1, "run")).await.json();
        assert_eq!(answer["error"]["code"], -31503, "{answer}");
        let free = proxy.post(&call(1, "free")).await.json();
        assert!(free["result"].is_object(), "{free}");
    }
    redis.start_again().await;
    within("the Redis server is used again", async {
        while proxy.post(&call(1, "run")).await.json()["error"].is_object() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    becomes(200).await;
    let found = limits(&["list"], &redis.state()).await;
    assert_eq!(found["limits"][0]["used"], 2, "{found}");
}

#[tokio::test]
async fn a_state_that_cannot_be_used_is_said_at_the_start() {
    let policy = file("policy.json", r#"{ "version": "1", "default": "deny" }"#);
    let not_ours = file("notes.txt", "These are notes.");
    let not_ours = format!("sqlite:{}", not_ours.display());
    for (state, code) in [
        ("redis://:hunter2@127.0.0.1:1/", 1),
        (&*not_ours, 1),
        ("sqlite:/no/such/folder/state.db", 1),
        ("hunter2", 2),
    ] {
        for command in [
            &[
                "serve",
                "--upstream=http://127.0.0.1:9/mcp",
                "--policy",
                policy.to_str().unwrap(),
            ] as &[&str],
            &["limits", "list"],
        ] {
            let output = run(&[command, &["--state", state]].concat()).await;
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{error}");
            assert!(
                error.contains("--state") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
    let output = run(&["limits", "list"]).await;
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("in memory is known to the proxy alone"),
        "{error}"
    );
    assert_eq!(output.status.code(), Some(2));
    let state = StateFile::new();
    let output = run(&["limits", "reset", "--state", &state]).await;
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("--all"), "{error}");
    assert_eq!(output.status.code(), Some(2));
    // A wrong path is no new file.
    for command in [&["list"] as &[&str], &["reset", "--all"]] {
        let output = run(&[&["limits"], command, &["--state", &state]].concat()).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("there is no file"), "{error}");
        assert_eq!(output.status.code(), Some(1));
        assert!(!Path::new(state.trim_start_matches("sqlite:")).exists());
    }
}

#[tokio::test]
async fn the_list_of_limits_can_be_read() {
    let state = StateFile::new();
    let proxy = guarding(answering().await, &state).await;
    assert!(passes(&proxy).await);
    let list = async |more: &[&str]| {
        let output = run(&[&["limits", "list", "--state", &state], more].concat()).await;
        String::from_utf8(output.stdout).unwrap()
    };
    let text = list(&[]).await;
    let [headings, row] = text.lines().collect::<Vec<_>>()[..] else {
        panic!("{text}");
    };
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        words(headings),
        [
            "SERVER", "CALLER", "SESSION", "RULE", "USED", "MAX", "FREE", "IN"
        ]
    );
    // Nothing is left of those who only look.
    let folder = Path::new(state.trim_start_matches("sqlite:"))
        .parent()
        .unwrap();
    let files = std::fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let processes = names.filter(|name| name.contains("-process-"));
    assert_eq!(processes.count(), 1);
    let row = words(row);
    assert_eq!(row[1..6], ["127.0.0.1", "-", PLACE, "1", "10"]);
    assert_eq!(
        list(&["--caller", "somebody"]).await,
        "nothing is counted\n"
    );
}
