use std::sync::Arc;
use std::time::SystemTime;

use futures::FutureExt as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::approval::request::{ApprovalId, ApprovalState};
use crate::approval::testing::{Asking, demand, question};
use crate::approval::{Approvals, MemoryApprovalStore, Ruling};
use crate::clock::{Clock as _, SystemClock};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BUSY: Duration = Duration::from_secs(20);

/// Tries again at once, and waits for an answer for as long as it takes.
const AT_ONCE: Pace = Pace {
    patience: Duration::from_secs(600),
    pauses: [Duration::ZERO; 4],
};

/// A request at the receiver.
struct Arrived {
    stream: TcpStream,
    head: String,
    body: Vec<u8>,
}

impl Arrived {
    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let line = lines.find(|(header, _)| header.eq_ignore_ascii_case(name));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.head))
            .1
    }

    async fn answer(mut self, answer: &str) {
        let text = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// What it says, if it is signed.
    fn read(&self) -> Value {
        let timestamp: u64 = self.header("webhook-timestamp").parse().unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        assert!(now.unwrap().as_secs().abs_diff(timestamp) < 300);
        let secret = Secret::read(SECRET).unwrap();
        let signature = secret.sign(self.header("webhook-id"), timestamp, &self.body);
        assert_eq!(self.header("webhook-signature"), signature);
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }
}

struct Scene {
    listener: TcpListener,
    store: Arc<MemoryApprovalStore>,
}

impl Scene {
    async fn new() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            store: Arc::default(),
        }
    }

    fn webhook(&self, pace: Pace) -> Webhook {
        let url = format!(
            "http://{}/hook?key=hunter2",
            self.listener.local_addr().unwrap()
        );
        Webhook::with(&url, SECRET, pace).unwrap()
    }

    /// Tells a webhook of this pace.
    fn tells(&self, pace: Pace) {
        let approvals = Approvals::new(Arc::clone(&self.store));
        tokio::spawn(approvals.notify(self.webhook(pace)));
    }

    fn pending(&self, arguments: &str) -> ApprovalId {
        let question = question(&demand(), "alice", arguments, SystemClock.now());
        Asking(&self.store).pending(&question).id()
    }

    fn notice(&self, arguments: &str) -> ApprovalNotice {
        let question = question(&demand(), "alice", arguments, SystemClock.now());
        let request = Asking(&self.store).pending(&question);
        ApprovalNotice::new(&request, ApprovalState::Pending)
    }

    async fn arrives(&self) -> Arrived {
        let arrives = async {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            let head = loop {
                assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
                if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                    break String::from_utf8(bytes.drain(..end + 4).collect()).unwrap();
                }
            };
            let mut arrived = Arrived {
                stream,
                head,
                body: bytes,
            };
            let length = arrived.header("content-length").parse().unwrap();
            while arrived.body.len() < length {
                let read = arrived.stream.read_buf(&mut arrived.body).await;
                assert_ne!(read.unwrap(), 0);
            }
            arrived
        };
        timeout(BUSY, arrives).await.expect("nothing arrives")
    }
}

#[tokio::test]
async fn a_receiver_is_told_what_waits_and_what_becomes_of_it() {
    let scene = Scene::new().await;
    scene.tells(AT_ONCE);
    let id = scene.pending(r#"{"to":"hunter2"}"#);
    let arrived = scene.arrives().await;
    assert!(
        arrived
            .head
            .starts_with("POST /hook?key=hunter2 HTTP/1.1\r\n")
    );
    assert_eq!(
        arrived.header("webhook-id"),
        format!("approval_{id}_pending")
    );
    let body = arrived.read();
    assert_eq!(body["type"], "approval.pending");
    let created = body["data"]["createdAt"].as_str().unwrap();
    let expires = body["data"]["expiresAt"].as_str().unwrap();
    assert!(created < expires && body["timestamp"].as_str().unwrap() >= created);
    let expected = serde_json::json!({
        "id": id.to_string(), "state": "pending", "server": "server", "caller": "alice",
        "method": "tools/call", "name": "pay", "rules": ["/tools/pay/require_approval"],
        "reason": "it cannot be undone", "approver": "operator",
        "createdAt": created, "expiresAt": expires,
    });
    assert_eq!(body["data"], expected);
    arrived.answer("204 No Content").await;

    let ruling = Ruling::deny("dora").with_note("hunter2");
    let denied = Asking(&scene.store).decide(id, &ruling, SystemClock.now());
    denied.unwrap();
    let arrived = scene.arrives().await;
    assert_eq!(
        arrived.header("webhook-id"),
        format!("approval_{id}_denied")
    );
    let body = arrived.read();
    assert_eq!(body["type"], "approval.denied");
    assert_eq!(body["data"]["decidedBy"], "dora");
    assert!(body["data"]["decidedAt"].is_string());
    assert!(!body.to_string().contains("hunter2"), "{body}");
}

#[tokio::test]
async fn what_is_not_taken_is_sent_again_as_the_same() {
    let scene = Scene::new().await;
    scene.tells(AT_ONCE);
    let [one, other] = ["1", "2"].map(|arguments| scene.pending(arguments));
    let mut bodies = Vec::new();
    for answer in [
        Some("500 Internal Server Error"),
        // The connection is dropped.
        None,
        // And nobody is followed elsewhere.
        Some("307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/"),
        Some("200 OK"),
    ] {
        let arrived = scene.arrives().await;
        arrived.read();
        assert_eq!(
            arrived.header("webhook-id"),
            format!("approval_{one}_pending")
        );
        bodies.push(arrived.body.clone());
        match answer {
            Some(answer) => arrived.answer(answer).await,
            None => drop(arrived),
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    // A notice is not sent for ever, and the next one is.
    for _ in 0..5 {
        let arrived = scene.arrives().await;
        assert_eq!(
            arrived.header("webhook-id"),
            format!("approval_{other}_pending")
        );
        arrived.answer("410 Gone").await;
    }
    let third = scene.pending("3");
    let arrived = scene.arrives().await;
    assert_eq!(
        arrived.header("webhook-id"),
        format!("approval_{third}_pending")
    );
}

#[tokio::test]
async fn who_does_not_answer_is_given_up() {
    let scene = Scene::new().await;
    scene.tells(Pace {
        patience: Duration::from_millis(50),
        ..AT_ONCE
    });
    let id = scene.pending("1");
    let mut kept = Vec::new();
    for _ in 0..2 {
        let arrived = scene.arrives().await;
        assert_eq!(
            arrived.header("webhook-id"),
            format!("approval_{id}_pending")
        );
        kept.push(arrived);
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_nothing_up_and_little_waits_for_it() {
    let scene = Scene::new().await;
    let webhook = scene.webhook(AT_ONCE);
    let notice = scene.notice("1");
    webhook.notify(&notice);
    // It hangs with the first one, which does not wait any more.
    let _hangs = scene.arrives().await;
    for _ in 0..QUEUE {
        webhook.notify(&notice);
    }
    assert_eq!(webhook.dropped(), 0);
    for _ in 0..3 {
        webhook.notify(&notice);
    }
    assert_eq!(webhook.dropped(), 3);
    drop(webhook);
}

#[tokio::test]
async fn whoever_ends_can_wait_for_what_was_told() {
    let scene = Scene::new().await;
    let webhook = scene.webhook(AT_ONCE);
    webhook.notify(&scene.notice("1"));
    webhook.notify(&scene.notice("2"));
    let mut flushed = std::pin::pin!(webhook.flush());
    let mut is_flushed = || flushed.as_mut().now_or_never().is_some();
    for _ in 0..2 {
        let arrived = scene.arrives().await;
        assert!(!is_flushed());
        arrived.answer("204 No Content").await;
    }
    assert!(timeout(BUSY, flushed).await.is_ok());
}

#[tokio::test]
async fn the_thread_ends_with_the_webhook() {
    let scene = Scene::new().await;
    let webhook = scene.webhook(AT_ONCE);
    webhook.notify(&scene.notice("1"));
    let mut hangs = scene.arrives().await;
    drop(webhook);
    let mut rest = Vec::new();
    let closed = timeout(BUSY, hangs.stream.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "the connection stays open");
}

#[test]
fn urls_and_secrets_are_not_shown() {
    let webhook = Webhook::new("https://hooks.example.com:8443/hunter2?hunter2", SECRET).unwrap();
    let shown = format!("{webhook:?}");
    assert!(
        shown.contains("hooks.example.com:8443") && !shown.contains("hunter2"),
        "{shown}"
    );
    for (url, secret, expected) in [
        (
            "https://user:hunter2@example.com/",
            SECRET,
            WebhookError::Url,
        ),
        ("ftp://example.com/", SECRET, WebhookError::Url),
        ("/hook", SECRET, WebhookError::Url),
        ("https://example.com/", "hunter2", WebhookError::Secret),
        (
            "https://example.com/",
            "whsec_hunter2",
            WebhookError::Secret,
        ),
    ] {
        let error = Webhook::new(url, secret).unwrap_err();
        assert_eq!(error, expected, "{url}");
        assert!(!error.to_string().contains("hunter2"));
    }
}
