//! A proxy process and a client.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::Notify,
    task::JoinHandle,
};

/// Longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lets others work before something is looked at again: else whoever looks keeps those
/// from it who are waited for.
pub(crate) async fn pause() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

/// Waits, but not forever.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// What programs need to be found and to run.
const NEEDED: [&str; 4] = ["PATH", "SYSTEMROOT", "TEMP", "TMPDIR"];

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-policy-proxy"));
    command
        .args(args)
        // What a developer has set is no part of a test.
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| NEEDED.iter().any(|needed| name == needed)))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a command line that is expected to end by itself.
pub(crate) async fn run(args: &[&str]) -> Output {
    within("the end of the program", command(args).output())
        .await
        .unwrap()
}

/// How a program ended, and what it printed.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The same, which may have printed neither this nor of a panic.
    pub(crate) fn without(self, secret: &str) -> Self {
        for printed in [&self.stdout, &self.stderr] {
            assert!(
                !printed.contains(secret) && !printed.contains("panicked"),
                "{printed}"
            );
        }
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }
}

/// Writes a file that only this test has.
pub(crate) fn file(name: &str, text: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!(
        "{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    ));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// As editors do it: a new file, moved into the place of the old one.
pub(crate) fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

pub(crate) const ALLOW_ALL: &str =
    r#"{ "version": "1", "default": "allow", "methods": { "*": "allow" } }"#;

/// A running proxy; dropping it kills it.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) address: SocketAddr,
    stdout: Lines<BufReader<ChildStdout>>,
    log: Arc<Mutex<String>>,
    log_grew: Arc<Notify>,
    /// Done once there is no more of the log.
    logging: JoinHandle<()>,
}

impl Proxy {
    /// Guards `upstream` with a policy that allows everything.
    pub(crate) async fn serve(upstream: SocketAddr, more: &[&str]) -> Self {
        let policy = file("allow-all.json", ALLOW_ALL);
        let upstream = format!("http://{upstream}/upstream/mcp?key=k");
        let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--upstream", &upstream];
        args.extend(["--policy", policy.to_str().unwrap()]);
        args.extend(more);
        Self::start(&args, "info").await
    }

    pub(crate) async fn start(args: &[&str], log: &str) -> Self {
        Self::spawn(command(args).env("RUST_LOG", log)).await
    }

    /// Starts it with what the command says.
    pub(crate) async fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        let address = within("`listening on`", async {
            loop {
                let Some(line) = stderr.next_line().await.unwrap() else {
                    panic!("the proxy did not start:\n{seen}");
                };
                if let Some(url) = line.strip_prefix("listening on http://") {
                    let (address, path) = url.split_once('/').unwrap();
                    assert!(path == "mcp" || path.starts_with("mcp/"), "{path}");
                    break address.parse().unwrap();
                }
                seen += &(line + "\n");
            }
        })
        .await;
        let log = Arc::new(Mutex::new(seen));
        let log_grew = Arc::new(Notify::new());
        let (text, grew) = (Arc::clone(&log), Arc::clone(&log_grew));
        let logging = tokio::spawn(async move {
            while let Ok(Some(line)) = stderr.next_line().await {
                *text.lock().unwrap() += &(line + "\n");
                grew.notify_one();
            }
        });
        Self {
            child,
            address,
            stdout,
            log,
            log_grew,
            logging,
        }
    }

    /// The next line on stdout.
    pub(crate) async fn line(&mut self) -> String {
        self.next_line().await.expect("stdout is closed")
    }

    /// The next line on stdout, unless that is closed.
    pub(crate) async fn next_line(&mut self) -> Option<String> {
        within("a line on stdout", self.stdout.next_line())
            .await
            .unwrap()
    }

    /// What was logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Everything that was logged, once it has ended.
    pub(crate) async fn whole_log(&mut self) -> String {
        within("the end of the log", &mut self.logging)
            .await
            .unwrap();
        self.log()
    }

    /// Waits until `text` is in the log.
    pub(crate) async fn logs(&self, text: &str) {
        within("a line in the log", async {
            while !self.log().contains(text) {
                self.log_grew.notified().await;
            }
        })
        .await;
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) async fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().await;
        assert!(status.unwrap().success());
    }

    pub(crate) async fn end(&mut self) -> ExitStatus {
        within("the end of the proxy", self.child.wait())
            .await
            .unwrap()
    }

    pub(crate) fn request(&self) -> http::request::Builder {
        Request::post(format!("http://{}/mcp", self.address))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
    }

    pub(crate) async fn post(&self, message: &Value) -> Answer {
        send(self.request().body(body(message)).unwrap()).await
    }
}

pub(crate) fn body(message: &Value) -> Full<Bytes> {
    Full::from(message.to_string())
}

pub(crate) fn call(id: u32, tool: &str) -> Value {
    json!({
        "jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": { "name": tool, "arguments": { "note": "argument-value" } },
    })
}

pub(crate) fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Sends a request and waits for the head of the answer.
pub(crate) async fn open(request: Request<Full<Bytes>>) -> Response<Incoming> {
    within("the head of an answer", client().request(request))
        .await
        .unwrap()
}

/// Sends a request and waits for the whole answer.
pub(crate) async fn send(request: Request<Full<Bytes>>) -> Answer {
    read(open(request).await).await
}

/// Waits for the rest of an answer.
pub(crate) async fn read(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let body = within("the end of an answer", body.collect())
        .await
        .unwrap()
        .to_bytes();
    Answer {
        head,
        text: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// Reads `expected` from a body that is still open.
pub(crate) async fn reads(response: &mut Response<Incoming>, expected: &str) {
    let mut got = String::new();
    while got.len() < expected.len() {
        let frame = within("a piece of a stream", response.frame())
            .await
            .expect("the stream ended")
            .unwrap();
        got += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
    }
    assert_eq!(got, expected);
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: http::response::Parts,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .headers
            .get(name)
            .map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error} in {}: {:?}", self.status(), self.text))
    }
}
