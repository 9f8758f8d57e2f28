//! `--audit`: what is recorded of a load, and what outlives a proxy that is
//! killed.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::Notify, task::JoinSet};

use crate::recorded;
use crate::stdio_server::{ARGUMENTS, ROLE};
use crate::support::{ALLOW_ALL, Proxy, body, call, client, command, file, read, within};

/// What may be nowhere but on the wire.
pub(crate) const SECRET: &str = "hunter2";

pub(crate) const POLICY: &str = r#"{
  "version": "1",
  "name": "load",
  "default": "deny",
  "hide": ["hidden-*"],
  "tools": { "allowed-*": {}, "denied-*": { "action": "deny", "reason": "No." } }
}"#;

/// A server that answers every request at once, and counts them.
pub(crate) async fn server() -> (SocketAddr, Arc<AtomicU32>) {
    let asked = Arc::<AtomicU32>::default();
    let count = Arc::clone(&asked);
    let note = move |_: &Value| {
        count.fetch_add(1, Ordering::Relaxed);
    };
    (server_that(note).await, asked)
}

/// A server that answers every request at once, and counts how often each name was called.
pub(crate) async fn naming_server() -> (SocketAddr, Arc<Mutex<HashMap<String, usize>>>) {
    let called = Arc::<Mutex<HashMap<String, usize>>>::default();
    let names = Arc::clone(&called);
    let note = move |message: &Value| {
        let name = message["params"]["name"].as_str().unwrap().to_owned();
        *names.lock().unwrap().entry(name).or_default() += 1;
    };
    (server_that(note).await, called)
}

/// A server that answers every request at once, and does this before.
async fn server_that(note: impl Fn(&Value) + Clone + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let note = note.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let note = note.clone();
                async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let message = serde_json::from_slice(&body).unwrap();
                    note(&message);
                    Ok::<_, Infallible>(answer(&message))
                }
            });
            tokio::spawn(async move {
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

fn answer(message: &Value) -> Response<Full<Bytes>> {
    let result = json!({ "content": [{ "type": "text", "text": SECRET }] });
    let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
    Response::builder()
        .header("content-type", "application/json")
        .body(Full::from(answer.to_string()))
        .unwrap()
}

/// A proxy, and the folder and the file in which it records.
async fn proxy(upstream: SocketAddr, policy: &str, log: &str) -> (Proxy, TempDir, PathBuf) {
    let folder = recorded::folder();
    let audit = folder.path().join("audit.jsonl");
    let proxy = recording(upstream, policy, audit.to_str().unwrap(), log).await;
    (proxy, folder, audit)
}

/// A proxy that records where this says.
pub(crate) async fn recording(upstream: SocketAddr, policy: &str, audit: &str, log: &str) -> Proxy {
    let policy = file("policy.json", policy);
    let upstream = format!("http://{upstream}/mcp?key={SECRET}");
    let args = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        &upstream,
        "--header",
        "authorization: Bearer hunter2",
        "--policy",
        policy.to_str().unwrap(),
        "--audit",
        audit,
    ];
    Proxy::start(&args, log).await
}

/// The rows of the file, those of a decision and those of an outcome.
pub(crate) fn rows(path: &Path) -> (HashMap<String, Value>, HashMap<String, Value>) {
    let (mut decisions, mut outcomes) = (HashMap::new(), HashMap::new());
    for line in fs::read_to_string(path).unwrap().lines() {
        // The last one may have been torn off.
        let Ok(row) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let rows = match row["event"].as_str().unwrap() {
            "decision" => &mut decisions,
            _ => &mut outcomes,
        };
        let id = row["decision"].as_str().unwrap().to_owned();
        assert!(rows.insert(id, row).is_none(), "two rows of one kind");
    }
    (decisions, outcomes)
}

/// A message of some kind, the verdict that it should get, and whether it should
/// reach the server.
fn message(index: u32) -> (String, &'static str, bool) {
    let tool = |kind: &str| {
        let mut message = call(index, &format!("{kind}-{index}"));
        message["params"]["arguments"] = json!({ "token": SECRET, "nested": { SECRET: [SECRET] } });
        message.to_string()
    };
    match index % 8 {
        0..3 => (tool("allowed"), "allowed", true),
        3 => (tool("denied"), "denied", false),
        4 => (tool("hidden"), "hidden", false),
        5 => (tool("other"), "denied", false),
        6 => {
            let ping = json!({ "jsonrpc": "2.0", "id": SECRET, "method": "ping", "params": { "x": SECRET } });
            (ping.to_string(), "allowed", true)
        }
        _ => (tool("allowed").replace("}", ",}"), "invalid", false),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_leaves_two_rows_of_each_message_and_no_value() {
    const MESSAGES: u32 = 10_000;
    const CLIENTS: u32 = 16;
    let (upstream, asked) = server().await;
    let (mut proxy, _folder, audit) = proxy(upstream, POLICY, "trace").await;
    let proxy_address = proxy.address;
    let mut clients = JoinSet::new();
    for first in 0..CLIENTS {
        clients.spawn(async move {
            let client = client();
            for index in (first..MESSAGES).step_by(CLIENTS as usize) {
                let request = Request::post(format!("http://{proxy_address}/mcp"))
                    .header("content-type", "application/json")
                    .header("mcp-session-id", SECRET)
                    .header("authorization", format!("Bearer {SECRET}"))
                    .body(Full::<Bytes>::from(message(index).0))
                    .unwrap();
                let response = client.request(request).await.unwrap();
                response.into_body().collect().await.unwrap();
            }
        });
    }
    within("all answers", clients.join_all()).await;

    let (decisions, outcomes) = rows(&audit);
    assert_eq!((decisions.len(), outcomes.len()), (10_000, 10_000));
    let mut verdicts = HashMap::<&str, u32>::new();
    for (id, decision) in &decisions {
        let verdict = decision["verdict"].as_str().unwrap();
        *verdicts.entry(verdict).or_default() += 1;
        let ending = if verdict == "allowed" {
            "answered"
        } else {
            "refused"
        };
        assert_eq!(outcomes[id]["ending"], ending);
        assert_eq!(decision["caller"], "127.0.0.1");
        assert_eq!(decision["server"], upstream.to_string());
        assert!(decision["policy"] == "load" || verdict == "invalid");
    }
    let mut expected = HashMap::<&str, u32>::new();
    for index in 0..MESSAGES {
        *expected.entry(message(index).1).or_default() += 1;
    }
    assert_eq!(verdicts, expected);
    let forwarded = (0..MESSAGES).filter(|index| message(*index).2).count();
    assert_eq!(asked.load(Ordering::Relaxed) as usize, forwarded);

    proxy.signal("TERM").await;
    proxy.end().await;
    for (sink, text) in [
        ("file", fs::read_to_string(&audit).unwrap()),
        ("log", proxy.log()),
    ] {
        assert!(!text.is_empty());
        if let Some(at) = text.find(SECRET) {
            let around = text[..at].len().saturating_sub(200);
            panic!(
                "a value in the {sink}: {}",
                &text[around..at + SECRET.len()]
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_before_a_kill_is_recorded() {
    let (upstream, called) = naming_server().await;
    let (mut proxy, _folder, audit) = proxy(upstream, POLICY, "warn").await;
    let answered = answered_until(&mut proxy, "KILL").await;
    let (decisions, outcomes) = rows(&audit);
    let named = |row: &Value| row["name"].as_str().unwrap().to_owned();
    let decided: HashSet<_> = decisions.values().map(named).collect();
    let unknown: Vec<_> = called.lock().unwrap().keys().cloned().collect();
    let unknown = unknown.iter().filter(|name| !decided.contains(*name));
    assert_eq!(unknown.collect::<Vec<_>>(), [] as [&String; 0]);
    let ended = decisions
        .iter()
        .filter(|(id, _)| outcomes.contains_key(*id));
    let ended: HashSet<_> = ended.map(|(_, row)| named(row)).collect();
    let lost = answered.names.iter().filter(|name| !ended.contains(*name));
    let lost: Vec<_> = lost.collect();
    assert!(lost.len() <= answered.may_be_lost(), "{lost:?}");
}

/// What came of a load.
pub(crate) struct Loaded {
    /// What was called and answered.
    pub(crate) names: HashSet<String>,
    /// Whether the proxy said that some of their outcomes may not be recorded, because
    /// that took too long.
    has_lost: bool,
}

impl Loaded {
    /// How many of their outcomes may be missing: none but on a machine that is too slow, and
    /// there most of them are recorded all the same.
    pub(crate) fn may_be_lost(&self) -> usize {
        match self.has_lost {
            true => self.names.len() / 4,
            false => 0,
        }
    }
}

/// Loads a proxy until it is sent this signal in the middle of it.
pub(crate) async fn answered_until(proxy: &mut Proxy, signal: &str) -> Loaded {
    const ENOUGH: usize = 300;
    let proxy_address = proxy.address;
    let answered = Arc::new(Mutex::new(HashSet::new()));
    let are_enough = Arc::new(Notify::new());
    let mut clients = JoinSet::new();
    for first in 0..8 {
        let (answered, are_enough) = (Arc::clone(&answered), Arc::clone(&are_enough));
        clients.spawn(async move {
            let client = client();
            for index in (first..100_000).step_by(8) {
                let kind = if index % 3 == 0 { "denied" } else { "allowed" };
                let name = format!("{kind}-{index}");
                let request = Request::post(format!("http://{proxy_address}/mcp"))
                    .header("content-type", "application/json")
                    .body(Full::<Bytes>::from(call(1, &name).to_string()))
                    .unwrap();
                let Ok(response) = client.request(request).await else {
                    return;
                };
                let Ok(body) = response.into_body().collect().await else {
                    return;
                };
                // What could not be recorded in time was refused because of that.
                let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
                if !body.contains("(audit)") {
                    let mut answered = answered.lock().unwrap();
                    answered.insert(name);
                    if answered.len() == ENOUGH {
                        are_enough.notify_one();
                    }
                }
            }
        });
    }
    within("some answers", are_enough.notified()).await;
    proxy.signal(signal).await;
    let code = proxy.end().await.code();
    assert_eq!(code, (signal == "TERM").then_some(0));
    within("the clients to notice", clients.join_all()).await;
    let names = std::mem::take(&mut *answered.lock().unwrap());
    assert!(names.len() >= ENOUGH);
    let log = proxy.whole_log().await;
    let has_lost = log.contains("an outcome was not recorded in time");
    Loaded { names, has_lost }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_runs_that_a_full_disk_does_not_take() {
    let (upstream, asked) = server().await;
    let policy = file("policy.json", ALLOW_ALL);
    let upstream = format!("http://{upstream}/mcp");
    let args = ["serve", "--listen", "127.0.0.1:0", "--upstream", &upstream];
    let more = ["--audit", "/dev/full", "--policy", policy.to_str().unwrap()];
    let proxy = Proxy::start(&[&args[..], &more[..]].concat(), "info").await;
    let answer = proxy.post(&call(7, "a")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json()["id"], 7);
    assert_eq!(answer.json()["error"]["code"], -31503);
    assert_eq!(answer.json()["error"]["data"]["rule"], "(audit)");
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    // What keeps a session alive still works.
    let ping = json!({ "jsonrpc": "2.0", "id": 8, "method": "ping" });
    assert_eq!(proxy.post(&ping).await.json()["id"], 8);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    proxy.logs("cannot write audit records").await;
}

/// A disk that hangs is here a pipe that nobody reads, once it is full.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_disk_that_hangs_holds_nobody_and_may_come_back() {
    let (upstream, asked) = server().await;
    let folder = recorded::folder();
    let pipe = folder.path().join("pipe");
    let readable = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, readable).unwrap();
    let proxy = recording(upstream, ALLOW_ALL, pipe.to_str().unwrap(), "info").await;
    // On all threads of the proxy, as long as there are no more than four.
    let clients: Vec<_> = (0..8).map(|_| client()).collect();
    let post = async |client: usize, message: &Value| {
        let request = proxy.request().body(body(message)).unwrap();
        let answer = within("an answer", clients[client].request(request)).await;
        read(answer.unwrap()).await.json()
    };
    let is_refused = |answer: &Value| answer["error"]["data"]["rule"] == "(audit)";
    let mut calls = 0;
    while !is_refused(&post(calls % clients.len(), &call(1, "a")).await) {
        calls += 1;
        assert!(calls < 10_000, "a pipe takes 64 KiB");
    }
    // None of them ran but those that are recorded.
    assert_eq!(asked.load(Ordering::Relaxed), u32::try_from(calls).unwrap());
    for client in 0..clients.len() {
        assert!(is_refused(&post(client, &call(2, "a")).await));
        let ping = json!({ "jsonrpc": "2.0", "id": 3, "method": "ping" });
        assert_eq!(post(client, &ping).await["id"], 3);
    }
    let mut records = fs::File::open(&pipe).unwrap();
    std::thread::spawn(move || std::io::copy(&mut records, &mut std::io::sink()));
    within("a call that runs again", async {
        for client in 0..clients.len() {
            while is_refused(&post(client, &call(4, "a")).await) {}
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_keeps_the_proxy_from_starting() {
    let policy = file("policy.json", ALLOW_ALL);
    let folder = policy.parent().unwrap().to_str().unwrap();
    for command in [
        vec!["serve", "--upstream", "http://127.0.0.1:9/mcp"],
        vec!["stdio"],
    ] {
        let mut args = command;
        args.extend(["--policy", policy.to_str().unwrap(), "--audit", folder]);
        if args[0] == "stdio" {
            args.extend(["--", "true"]);
        }
        let output = crate::support::run(&args).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("cannot append to the audit file"), "{error}");
    }
}

#[tokio::test]
async fn stdio_is_recorded_too() {
    let policy = file(
        "policy.json",
        r#"{"version":"1","default":"deny","tools":{"echo":{}}}"#,
    );
    let audit = policy.with_file_name("audit.jsonl");
    let server = std::env::current_exe().unwrap();
    let mut args = vec!["stdio", "--policy", policy.to_str().unwrap()];
    args.extend(["--audit", audit.to_str().unwrap(), "--"]);
    args.push(server.to_str().unwrap());
    args.extend(ARGUMENTS);
    let mut proxy = command(&args)
        .env(ROLE, "1")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = proxy.stdin.take().unwrap();
    for message in [call(1, "echo"), call(2, "secret")] {
        let line = format!("{message}\n");
        stdin.write_all(line.as_bytes()).await.unwrap();
    }
    drop(stdin);
    within("the end of the proxy", proxy.wait()).await.unwrap();
    let (decisions, outcomes) = rows(&audit);
    let endings: HashMap<&str, &str> = decisions
        .iter()
        .map(|(id, row)| {
            let ending = outcomes[id]["ending"].as_str().unwrap();
            (row["name"].as_str().unwrap(), ending)
        })
        .collect();
    assert_eq!(
        endings,
        HashMap::from([("echo", "answered"), ("secret", "refused")])
    );
    assert!(decisions.values().all(|row| row["caller"] == "(local)"));
    // Not the whole path, as `serve` has it: both count together then.
    let name = server.file_name().unwrap().to_str().unwrap();
    assert!(decisions.values().all(|row| row["server"] == name));
    assert!(
        !fs::read_to_string(&audit)
            .unwrap()
            .contains("argument-value")
    );
}
