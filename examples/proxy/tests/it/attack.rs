//! `attack`: what it says of gateways that hold, that do not, and that are not there.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStderr},
    time::timeout,
};

use crate::support::{Ended, Proxy, command, file, open, read, run, within};

/// May be in nothing that is printed.
const SECRET: &str = "hunter2";

/// Longer than hundreds of requests take, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// An attack that has begun, at a gateway that is still to be put there.
struct Attack {
    child: Child,
    stderr: BufReader<ChildStderr>,
    gateway: TcpListener,
    recorder: SocketAddr,
}

impl Attack {
    async fn begin(more: &[&str]) -> Self {
        let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", gateway.local_addr().unwrap());
        let mut args = vec!["attack", &url, "--listen", "127.0.0.1:0"];
        args.extend(more);
        let mut child = command(&args).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        within("where the recorder is", stderr.read_line(&mut line))
            .await
            .unwrap();
        let recorder = line.trim_end().strip_suffix("/mcp").unwrap();
        let (_, recorder) = recorder.split_once("http://").unwrap();
        let recorder = recorder.parse().unwrap();
        Self {
            child,
            stderr,
            gateway,
            recorder,
        }
    }

    /// Puts this address in the place of the gateway, and waits for the end.
    async fn at(self, address: SocketAddr) -> Ended {
        self.with(|mut stream| async move {
            let mut onwards = TcpStream::connect(address).await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut onwards).await;
        })
        .await
    }

    /// Gives every connection to this gateway, and waits for the end.
    async fn with<F>(self, connected: impl Fn(TcpStream) -> F) -> Ended
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self {
            child,
            mut stderr,
            gateway,
            ..
        } = self;
        let serving = async {
            loop {
                let (stream, _) = gateway.accept().await.unwrap();
                tokio::spawn(connected(stream));
            }
        };
        let mut rest = String::new();
        let ending =
            async { tokio::join!(child.wait_with_output(), stderr.read_to_string(&mut rest)) };
        let (output, _) = timeout(PATIENCE, async {
            tokio::select! { ended = ending => ended, () = serving => unreachable!() }
        })
        .await
        .unwrap();
        let mut ended = Ended::of(output.unwrap());
        ended.stderr = rest;
        ended
    }
}

/// The cases of a report that have this verdict.
fn cases<'r>(report: &'r Value, verdict: &str) -> Vec<&'r Value> {
    let cases = report["cases"].as_array().unwrap();
    cases
        .iter()
        .filter(|case| case["verdict"] == verdict)
        .collect()
}

fn is_allowed(case: &Value) -> bool {
    case["expected"] != json!([])
}

async fn policy(name: &str) -> PathBuf {
    let output = run(&["attack", "--show-policy", "--policy", name]).await;
    assert!(output.status.success());
    file("policy.json", std::str::from_utf8(&output.stdout).unwrap())
}

async fn serve(policy: PathBuf, recorder: SocketAddr) -> Proxy {
    let upstream = format!("http://{recorder}/mcp");
    let policy = policy.to_str().unwrap();
    let args = [
        "serve",
        "--listen=127.0.0.1:0",
        "--policy",
        policy,
        "--upstream",
        &upstream,
    ];
    Proxy::start(&args, "warn").await
}

#[tokio::test]
async fn nothing_gets_through_this_proxy_under_any_policy() {
    for name in ["standard", "open"] {
        let policy = policy(name).await;
        let attack = Attack::begin(&["--json", "--wait=20", "--policy", name]).await;
        let proxy = serve(policy, attack.recorder).await;
        let ended = attack.at(proxy.address).await;
        let report = ended.json();
        let failed = cases(&report, "failed");
        assert!(failed.is_empty(), "{name}: {failed:#?}");
        let loose = cases(&report, "loose");
        assert!(loose.is_empty(), "{name}: {loose:#?}");
        assert!(cases(&report, "notTested").is_empty(), "{name}");
        let passed = cases(&report, "passed");
        assert!(passed.len() > 400, "{name}");
        assert!(passed.iter().filter(|case| is_allowed(case)).count() > 40);
        assert_eq!(report["eras"], json!(["legacy", "modern"]));
        assert_eq!((ended.code, &report["ok"]), (Some(0), &json!(true)));
    }
}

#[tokio::test]
async fn without_a_gateway_nearly_everything_reaches_the_server() {
    let attack = Attack::begin(&["--json"]).await;
    let server = attack.recorder;
    let ended = attack.at(server).await;
    let report = ended.json();
    let failed = cases(&report, "failed");
    assert!(failed.len() > 260, "{}", failed.len());
    let reached = |case: &&&Value| !is_allowed(case) && case["executed"] != json!([]);
    assert!(failed.iter().filter(reached).count() > 260);
    // These run what other requests may run.
    let loose = cases(&report, "loose");
    assert!(loose.len() > 60, "{}", loose.len());
    assert!(
        loose
            .iter()
            .any(|case| case["title"] == "an argument twice")
    );
    assert_eq!(report["failed"], failed.len());
    // What is smuggled in behind an allowed call belongs to that.
    let smuggled = "a second request in the same segment";
    let smuggled = failed
        .iter()
        .find(|case| case["title"] == smuggled)
        .unwrap();
    assert_eq!(smuggled["executed"], json!(["safe", "danger"]));
    assert_eq!((ended.code, &report["ok"]), (Some(1), &json!(false)));
}

#[tokio::test]
async fn a_gateway_that_refuses_everything_fails_what_is_allowed() {
    let attack = Attack::begin(&["--json"]).await;
    let policy = file("deny.json", r#"{ "version": "1", "default": "deny" }"#);
    let proxy = serve(policy, attack.recorder).await;
    let ended = attack.at(proxy.address).await;
    let report = ended.json();
    let failed = cases(&report, "failed");
    assert!(failed.len() > 40 && failed.iter().all(|case| is_allowed(case)));
    assert!(
        cases(&report, "passed")
            .iter()
            .all(|case| !is_allowed(case))
    );
    assert_eq!((&report["eras"], ended.code), (&json!([]), Some(1)));
}

/// A gateway of the older protocol that answers nobody without a session, and lets
/// everything through in one.
async fn with_sessions(
    recorder: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let header = |name| head.headers.get(name).map(|value| value.to_str().unwrap());
    let authorized = header("authorization") == Some("Bearer hunter2");
    let session = header("mcp-session-id");
    let modern = header("mcp-protocol-version") == Some("2026-07-28");
    let mut answer = Response::new(Full::default());
    let body = match body.collect().await {
        Ok(body) if authorized && !modern => body.to_bytes(),
        _ => {
            *answer.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(answer);
        }
    };
    if body.windows(12).any(|part| part == b"\"initialize\"") {
        let id = "s1".parse().unwrap();
        answer.headers_mut().insert("mcp-session-id", id);
    } else if session != Some("s1") {
        *answer.status_mut() = StatusCode::NOT_FOUND;
    } else {
        let onwards = Request::post(format!("http://{recorder}/mcp"));
        let read = read(open(onwards.body(Full::new(body)).unwrap()).await).await;
        *answer.status_mut() = read.head.status;
        *answer.body_mut() = Full::from(read.text);
    }
    Ok(answer)
}

#[tokio::test]
async fn sessions_are_begun_and_what_is_not_spoken_is_not_tested() {
    let header = format!("authorization: Bearer {SECRET}");
    let attack = Attack::begin(&["--json", "--header", &header]).await;
    let recorder = attack.recorder;
    let ended = attack
        .with(|stream| async move {
            let service = service_fn(move |request| with_sessions(recorder, request));
            let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = serving.await;
        })
        .await;
    let report = ended.json();
    assert_eq!(report["eras"], json!(["legacy"]));
    let not_tested = cases(&report, "notTested");
    assert!(not_tested.len() > 40);
    assert!(not_tested.iter().all(|case| case["era"] == "modern"));
    assert!(
        cases(&report, "passed")
            .iter()
            .all(|case| case["era"] == "legacy")
    );
    let plain = &report["cases"][0];
    assert_eq!(
        (&plain["title"], &plain["verdict"]),
        (&json!("an allowed call"), &json!("passed"))
    );
    assert!(cases(&report, "failed").len() > 150);
    assert!(!ended.stdout.contains(SECRET) && !ended.stderr.contains(SECRET));
}

#[tokio::test]
async fn a_gateway_that_an_attack_ends_has_failed() {
    let attack = Attack::begin(&[]).await;
    let recorder = attack.recorder;
    let ended = attack
        .with(|mut stream| async move {
            // It does not answer any more once it was sent this verb.
            static ENDED: AtomicBool = AtomicBool::new(false);
            let mut first = [0; 3];
            stream.peek(&mut first).await.unwrap();
            let over = ENDED.fetch_or(&first == b"PUT", Ordering::SeqCst);
            if !over {
                let mut onwards = TcpStream::connect(recorder).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut onwards).await;
            }
        })
        .await;
    let line = |title: &str| {
        ended
            .stdout
            .lines()
            .find(|line| line.contains(title))
            .unwrap()
    };
    assert!(
        line("the verb PUT, an allowed call").starts_with("FAIL"),
        "{}",
        ended.stdout
    );
    assert!(line("the verb PATCH, an allowed call").starts_with("not tested"));
    assert_eq!(ended.code, Some(1));
}

/// One case, which this file's server falls for.
fn own_cases(executes: bool, tool: &str) -> PathBuf {
    let own = json!({
        "policies": { "ours": { "version": "1" } },
        "cases": [{
            "title": "a call", "rows": ["A1"], "era": "legacy", "executes": executes,
            "request": {
                "method": "POST", "target": "/mcp", "headers": [],
                "body": { "parts": [
                    { "text": "{\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"" },
                    { "text": tool },
                    { "base64": "In19" },
                ] },
            },
        }],
    });
    file("cases.json", &own.to_string())
}

#[tokio::test]
async fn a_gateway_that_needs_its_server_first_gets_its_time() {
    let own = own_cases(false, "danger");
    let own = ["--cases", own.to_str().unwrap(), "--policy=ours"];
    for (wait, code, said) in [
        ("--wait=20", 1, "the gateway speaks: legacy, modern"),
        ("--wait=0", 2, "the gateway does not answer"),
    ] {
        let attack = Attack::begin(&[&own[..], &[wait]].concat()).await;
        let recorder = attack.recorder;
        let asked = AtomicU32::new(0);
        let ended = attack
            .with(|mut stream| {
                let ready = asked.fetch_add(1, Ordering::SeqCst) >= 10;
                async move {
                    if ready {
                        let mut onwards = TcpStream::connect(recorder).await.unwrap();
                        let _ = copy_bidirectional(&mut stream, &mut onwards).await;
                    }
                }
            })
            .await;
        let text = ended.stdout + &ended.stderr;
        assert!(text.contains(said), "{text}");
        assert_eq!(ended.code, Some(code));
    }
}

#[tokio::test]
async fn to_leave_a_request_unanswered_is_to_refuse_it() {
    let own = own_cases(false, "danger");
    let attack = Attack::begin(&["--cases", own.to_str().unwrap(), "--policy=ours"]).await;
    let recorder = attack.recorder;
    let ended = attack
        .with(|mut stream| async move {
            let mut request = vec![0; 1 << 16];
            let length = stream.read(&mut request).await.unwrap();
            if String::from_utf8_lossy(&request[..length]).contains("danger") {
                // Open until the other side gives up.
                let _ = stream.read_to_end(&mut request).await;
            } else {
                let mut onwards = TcpStream::connect(recorder).await.unwrap();
                onwards.write_all(&request[..length]).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut onwards).await;
            }
        })
        .await;
    let line = ended.stdout.lines().nth(1).unwrap();
    assert!(
        line.starts_with("ok ") && line.ends_with("no answer"),
        "{}",
        ended.stdout
    );
    assert_eq!(ended.code, Some(0));
}

/// Sends these bytes on, and waits for the answer.
async fn send_on(request: &[u8], recorder: SocketAddr) {
    let mut onwards = TcpStream::connect(recorder).await.unwrap();
    onwards.write_all(request).await.unwrap();
    let _ = onwards.read(&mut [0; 1 << 12]).await.unwrap();
}

/// The request that comes in on a connection, and whether it is one of ours.
async fn ours(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut request = vec![0; 1 << 16];
    let length = stream.read(&mut request).await.unwrap();
    request.truncate(length);
    let plain = String::from_utf8_lossy(&request).contains("number");
    (request, plain)
}

#[tokio::test]
async fn what_runs_after_its_answer_belongs_to_its_case() {
    let own = own_cases(false, "danger");
    let attack = Attack::begin(&["--cases", own.to_str().unwrap(), "--policy=ours"]).await;
    let recorder = attack.recorder;
    let kept = Arc::<Mutex<Vec<u8>>>::default();
    let ended = attack
        .with(|mut stream| {
            let kept = Arc::clone(&kept);
            async move {
                let (request, ours) = ours(&mut stream).await;
                if ours {
                    let kept = std::mem::take(&mut *kept.lock().unwrap());
                    if !kept.is_empty() {
                        send_on(&kept, recorder).await;
                    }
                    send_on(&request, recorder).await;
                } else {
                    *kept.lock().unwrap() = request;
                }
                let accepted = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
                let _ = stream.write_all(accepted).await;
            }
        })
        .await;
    assert!(
        ended.stdout.contains("ran danger (it reached the server)"),
        "{}",
        ended.stdout
    );
    assert_eq!(ended.code, Some(1));
}

#[tokio::test]
async fn what_is_allowed_has_to_be_answered() {
    let own = own_cases(true, "safe");
    let attack = Attack::begin(&["--cases", own.to_str().unwrap(), "--policy=ours"]).await;
    let recorder = attack.recorder;
    let ended = attack
        .with(|mut stream| async move {
            let (request, ours) = ours(&mut stream).await;
            send_on(&request, recorder).await;
            let status = if ours { "200 OK" } else { "403 Forbidden" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        })
        .await;
    let said = "ran safe (it ran, and the caller was not told so)";
    assert!(ended.stdout.contains(said), "{}", ended.stdout);
    assert_eq!(ended.code, Some(1));
}

#[tokio::test]
async fn what_cannot_be_attacked_is_said() {
    let secret = format!("http://127.0.0.1:1/mcp?key={SECRET}");
    let unreadable = file(
        "cases.json",
        r#"{ "policies": {}, "cases": [{ "title": "hunter2" }] }"#,
    );
    let unreadable = unreadable.to_str().unwrap();
    for (args, said) in [
        // Nothing listens there.
        (vec![secret.as_str()], "cannot connect to the gateway"),
        (
            vec!["https://127.0.0.1/mcp?key=hunter2"],
            "https is not supported",
        ),
        (vec![&secret, "--policy=hunter"], "there is open, standard"),
        (
            vec![&secret, "--cases", unreadable],
            "cases.json: line 1, column",
        ),
        (
            vec![&secret, "--header=hunter2"],
            "`--header` has to read like",
        ),
    ] {
        let mut all = vec!["attack", "--listen=127.0.0.1:0"];
        all.extend(args);
        let ended = Ended::of(run(&all).await);
        assert_eq!(ended.code, Some(2), "{said}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
        assert!(ended.stdout.is_empty() && !ended.stderr.contains(SECRET));
    }
}

#[tokio::test]
async fn cases_of_others_are_sent_too() {
    let own = own_cases(false, "danger");
    let attack = Attack::begin(&["--cases", own.to_str().unwrap(), "--policy=ours"]).await;
    let server = attack.recorder;
    let ended = attack.at(server).await;
    let line = ended.stdout.lines().nth(1).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[..4], ["FAIL", "A1", "a", "call"], "{}", ended.stdout);
    assert!(line.contains("nothing runs") && line.contains("ran danger (it reached the server)"));
    assert_eq!(ended.code, Some(1));
}

/// Nothing reaches a server that is not behind the gateway.
#[tokio::test]
async fn where_no_allowed_call_goes_through_nothing_is_fine() {
    let own = own_cases(false, "danger");
    let args = ["--json", "--cases", own.to_str().unwrap(), "--policy=ours"];
    let attack = Attack::begin(&args).await;
    let ended = attack
        .with(|mut stream| async move {
            let _ = ours(&mut stream).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            let _ = stream.write_all(answer).await;
        })
        .await;
    let report = ended.json();
    assert_eq!(
        (&report["eras"], &report["failed"]),
        (&json!([]), &json!(0))
    );
    assert_eq!((ended.code, &report["ok"]), (Some(1), &json!(false)));
}

#[tokio::test]
async fn a_long_body_that_gets_through_is_read() {
    let own = json!({
        "policies": { "ours": { "version": "1" } },
        "cases": [{
            "title": "a long call", "rows": ["A1"], "era": "legacy", "executes": false,
            "request": {
                "method": "POST", "target": "/mcp", "headers": [],
                "body": { "parts": [
                    { "text": "{\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"danger\"}}" },
                    { "text": " ", "times": 17 << 20 },
                ] },
            },
        }],
    });
    let own = file("cases.json", &own.to_string());
    let attack = Attack::begin(&["--cases", own.to_str().unwrap(), "--policy=ours"]).await;
    let server = attack.recorder;
    let ended = attack.at(server).await;
    assert!(
        ended.stdout.contains("it reached the server"),
        "{}",
        ended.stdout
    );
    assert_eq!(ended.code, Some(1));
}
