//! A receiver that a running proxy tells of what waits.

use http_body_util::Full;
use serde_json::Value;

use crate::approvals::{POLICY, admin, paying};
use crate::fake::{Asked, Upstream};
use crate::support::{Proxy, command, file, send, within};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ALICE: &str = "alices-token-0123456789";

fn told(asked: &Asked) -> Value {
    assert!(
        asked
            .head
            .starts_with("POST /hook?key=hunter2 HTTP/1.1\r\n")
    );
    let signature = asked.header("webhook-signature").unwrap();
    assert!(signature.starts_with("v1,"), "{signature}");
    assert!(!asked.body.contains("hunter3"), "{}", asked.body);
    serde_json::from_str(&asked.body).unwrap()
}

#[tokio::test]
async fn a_receiver_is_told_and_no_call_waits_for_it() {
    let (upstream, receiver) = (Upstream::bind().await, Upstream::bind().await);
    let url = format!("http://{}/mcp", upstream.address());
    let hook = format!("http://{}/hook?key=hunter2", receiver.address());
    let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--upstream", &url]);
    command
        .args(["--admin", "127.0.0.1:0", "--webhook", &hook, "--policy"])
        .arg(file("policy.json", POLICY))
        .env("RUST_LOG", "trace")
        .env("MCP_POLICY_WEBHOOK_SECRET", SECRET)
        .env("MCP_POLICY_ADMIN_TOKENS", format!("alice:{ALICE}"));
    let mut proxy = Proxy::spawn(&mut command).await;
    let message = paying(r#"{"to":"hunter3"}"#);
    let call = send(proxy.request().body(Full::from(message)).unwrap());
    let operator = async {
        let asked = receiver.asked().await;
        let told = told(&asked);
        assert_eq!(told["type"], "approval.pending");
        assert_eq!(told["data"]["name"], "pay");
        let id = told["data"]["id"].as_str().unwrap();
        let approve = format!("http://{}/approvals/{id}/approve", admin(&proxy.log()));
        let approve =
            http::Request::post(approve).header("authorization", format!("Bearer {ALICE}"));
        let approved = send(approve.body(Full::default()).unwrap()).await;
        assert_eq!(approved.status(), 200, "{}", approved.text);
        asked
    };
    // It hangs from here on.
    let (answer, mut hangs, _) = tokio::join!(call, operator, upstream.answers());
    assert!(answer.json()["error"].is_null(), "{}", answer.text);
    // What became of it is told even if it ends now.
    proxy.signal("TERM").await;
    hangs.write("HTTP/1.1 204 No Content\r\n\r\n").await;
    for state in ["approval.approved", "approval.used"] {
        let mut asked = receiver.asked().await;
        assert_eq!(told(&asked)["type"], state);
        asked.write("HTTP/1.1 204 No Content\r\n\r\n").await;
    }
    assert_eq!(proxy.end().await.code(), Some(0));
    let log = proxy.whole_log().await;
    for secret in ["hunter2", "hunter3", SECRET] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
}

/// What `serve` says that does not start.
async fn refused(url: &str, secret: Option<&str>) -> String {
    let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--webhook", url]);
    command.args(["--upstream", "http://127.0.0.1:9/mcp", "--policy"]);
    command.arg(file("policy.json", POLICY));
    if let Some(secret) = secret {
        command.env("MCP_POLICY_WEBHOOK_SECRET", secret);
    }
    let output = within("its end", command.output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    said
}

#[tokio::test]
async fn a_webhook_without_a_secret_is_refused() {
    let url = "https://hooks.example.com/hunter2";
    for secret in [None, Some(""), Some("hunter2"), Some("whsec_hunter2")] {
        let said = refused(url, secret).await;
        assert!(said.contains("MCP_POLICY_WEBHOOK_SECRET"), "{said}");
    }
    for url in [
        "hunter2",
        "ftp://hunter2/",
        "https://user:hunter2@example.com/",
    ] {
        let said = refused(url, Some(SECRET)).await;
        assert!(said.contains("webhook has to begin with"), "{said}");
    }
}
