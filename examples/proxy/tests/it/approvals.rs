//! Calls that wait until an operator approves them, as clients and operators of a
//! running proxy meet them.

use std::{net::SocketAddr, process::Output};

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::fake::Upstream;
use crate::support::{Answer, Proxy, command, file, put, send, within};

pub(crate) const POLICY: &str = r#"{
    "version": "1", "default": "deny",
    "tools": { "pay": { "require_approval": { "reason": "Money is gone for good." } } }
}"#;

pub(crate) const ALICE: &str = "alices-token-0123456789";
/// Of an operator that is called like the caller of these tests.
pub(crate) const PEER: &str = "the-peers-token-0123456789";

/// A proxy that asks, and where.
pub(crate) struct Asking {
    pub(crate) proxy: Proxy,
    pub(crate) admin: String,
    pub(crate) upstream: Upstream,
}

impl Asking {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(more: &[&str]) -> Self {
        let upstream = Upstream::bind().await;
        let url = format!("http://{}/mcp", upstream.address());
        let policy = file("policy.json", POLICY);
        let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--upstream", &url]);
        command
            .args(more)
            .args(["--admin", "127.0.0.1:0", "--policy"])
            .arg(policy)
            .env("RUST_LOG", "trace")
            .env(
                "MCP_POLICY_ADMIN_TOKENS",
                format!("alice:{ALICE},127.0.0.1:{PEER}"),
            );
        let proxy = Proxy::spawn(&mut command).await;
        let admin = admin(&proxy.log());
        Self {
            proxy,
            admin,
            upstream,
        }
    }

    /// Runs `approvals` as the owner of this token.
    async fn runs(&self, token: &str, args: &[&str]) -> Output {
        let mut command = command(&["approvals"]);
        command.args(args).args(["--admin", &self.admin]);
        command.env("MCP_POLICY_ADMIN_TOKEN", token);
        within("the end of `approvals`", command.output())
            .await
            .unwrap()
    }

    pub(crate) async fn succeeds(&self, args: &[&str]) -> String {
        let output = self.runs(ALICE, args).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}{:?}", output.stderr);
        text
    }

    async fn list(&self) -> Vec<Value> {
        let text = self.succeeds(&["list", "--json"]).await;
        serde_json::from_str(&text).unwrap()
    }

    /// What waits, once something does.
    pub(crate) async fn waiting(&self) -> Value {
        within("a request", async {
            loop {
                if let Some(first) = self.list().await.pop() {
                    return first;
                }
            }
        })
        .await
    }

    pub(crate) async fn waiting_id(&self) -> String {
        self.waiting().await["id"].as_str().unwrap().to_owned()
    }

    /// A request to the admin address; the token and headers of it.
    fn get(&self, path: &str) -> http::request::Builder {
        Request::get(format!("http://{}{path}", self.admin))
    }

    async fn decides(&self, token: &str, path: &str, body: &str) -> Answer {
        let request = Request::post(format!("http://{}/approvals/{path}", self.admin))
            .header("authorization", format!("Bearer {token}"));
        send(request.body(Full::from(body.to_owned())).unwrap()).await
    }
}

/// The address in `approvals wait at …`.
pub(crate) fn admin(log: &str) -> String {
    let (_, rest) = log.split_once("approvals wait at http://").unwrap();
    rest.split_once("/approvals\n").unwrap().0.to_owned()
}

pub(crate) fn paying(arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"pay","arguments":{arguments}}}}}"#
    )
}

pub(crate) async fn asks(proxy: &Proxy, message: String) -> Answer {
    send(proxy.request().body(Full::from(message)).unwrap()).await
}

pub(crate) fn text(answer: &Answer) -> String {
    let result = &answer.json()["result"];
    assert_eq!(result["isError"], true, "{}", answer.text);
    result["content"][0]["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_call_waits_until_it_is_approved_and_runs_once() {
    let asking = Asking::start().await;
    let message = paying(r#"{ "to": "hunter2", "sum": 9007199254740993.10 }"#);
    let operator = async {
        let waiting = asking.waiting().await;
        let id = waiting["id"].as_str().unwrap();
        for (member, expected) in [
            ("state", json!("pending")),
            ("server", json!(asking.upstream.address().to_string())),
            ("caller", json!("127.0.0.1")),
            ("tool", json!("pay")),
            ("reason", json!("Money is gone for good.")),
        ] {
            assert_eq!(waiting[member], expected, "{member}");
        }
        assert_eq!(waiting["arguments"]["to"], "hunter2");
        for time in ["createdAt", "expiresAt"] {
            let time = waiting[time].as_str().unwrap();
            assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
        }
        // Numbers are shown as they were sent.
        let shown = asking.succeeds(&["show", id]).await;
        assert!(shown.contains("\"sum\": 9007199254740993.10"), "{shown}");
        let said = asking.succeeds(&["approve", id]).await;
        assert!(said.starts_with(&format!("approved {id}")), "{said}");
    };
    let (answer, (), ran) = tokio::join!(
        asks(&asking.proxy, message.clone()),
        operator,
        asking.upstream.answers()
    );
    assert_eq!(answer.json()["id"], 7);
    assert!(answer.json()["error"].is_null(), "{}", answer.text);
    assert_eq!(ran.body, message);
    let used = asking
        .succeeds(&["list", "--state", "used", "--json"])
        .await;
    let used: Vec<Value> = serde_json::from_str(&used).unwrap();
    assert_eq!(used.len(), 1);
    assert!(used[0]["arguments"].is_null());
    assert_eq!(used[0]["decidedBy"], "alice");
    // The next one waits again: it is another request.
    let operator = async {
        let id = asking.waiting_id().await;
        assert_ne!(id, used[0]["id"].as_str().unwrap());
        asking.succeeds(&["deny", &id]).await;
    };
    let (answer, ()) = tokio::join!(asks(&asking.proxy, message.clone()), operator);
    text(&answer);
    let log = asking.proxy.log();
    assert!(log.contains("decided"), "{log}");
    for secret in ["hunter2", "9007199254740993", ALICE, PEER] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
}

#[tokio::test]
async fn what_is_denied_is_refused_with_the_note_of_the_operator() {
    let asking = Asking::start().await;
    let operator = async {
        let id = asking.waiting_id().await;
        asking
            .succeeds(&["deny", &id, "--note", "Ask the bank."])
            .await;
        id
    };
    let (answer, id) = tokio::join!(asks(&asking.proxy, paying("{}")), operator);
    assert!(text(&answer).contains("Ask the bank."), "{}", answer.text);
    // Decided is decided.
    let again = asking.decides(ALICE, &format!("{id}/approve"), "").await;
    assert_eq!(again.status(), 409, "{}", again.text);
    assert_eq!(again.json()["state"], "denied");
    let output = asking.runs(ALICE, &["approve", &id]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the request is denied"), "{said}");
    let table = asking.succeeds(&["list"]).await;
    assert_eq!(table, "nothing waits\n");
}

#[tokio::test]
async fn nobody_else_sees_or_decides_anything() {
    let asking = Asking::start().await;
    let right = format!("Bearer {ALICE}");
    let get = || asking.get("/approvals").header("authorization", &right);
    let status =
        async |request: http::request::Builder| send(request.body(Full::default()).unwrap()).await;
    assert_eq!(status(get()).await.json(), json!([]));
    for wrong in [None, Some("Bearer wrong-token-0123456789"), Some(ALICE)] {
        let request = match wrong {
            Some(wrong) => asking.get("/approvals").header("authorization", wrong),
            None => asking.get("/approvals"),
        };
        let answer = status(request).await;
        assert_eq!(answer.status(), 401, "{wrong:?}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer"), "{challenge}");
    }
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:1"),
        ("host", "evil.example"),
    ] {
        let answer = status(get().header(name, value)).await;
        assert_eq!(answer.status(), 403, "{name}: {value}");
        assert!(!answer.text.contains("evil"), "{}", answer.text);
    }
    let own = format!("http://{}", asking.admin);
    assert_eq!(status(get().header("origin", own)).await.status(), 200);
    assert_eq!(
        status(get()).await.header("cache-control"),
        Some("no-store")
    );
    let output = asking.runs("wrong-token-0123456789", &["list"]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "does not know the token in MCP_POLICY_ADMIN_TOKEN";
    assert!(
        said.contains(expected) && !said.contains("Bearer"),
        "{said}"
    );
    let mut without = command(&["approvals", "list", "--admin", &asking.admin]);
    let output = within("its end", without.output()).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("MCP_POLICY_ADMIN_TOKEN"), "{said}");
    // Nothing of this is at the address of the callers.
    let public = format!("http://{}/approvals", asking.proxy.address);
    let request = Request::get(public).header("authorization", &right);
    assert_eq!(status(request).await.status(), 404);
}

#[tokio::test]
async fn nobody_approves_a_call_of_their_own() {
    let asking = Asking::start().await;
    let operator = async {
        let id = asking.waiting_id().await;
        for verb in ["approve", "deny"] {
            let answer = asking.decides(PEER, &format!("{id}/{verb}"), "").await;
            assert_eq!(answer.status(), 403, "{}", answer.text);
            assert!(answer.text.contains("of their own"), "{}", answer.text);
        }
        assert_eq!(asking.waiting().await["state"], "pending");
        asking.succeeds(&["deny", &id]).await;
    };
    tokio::join!(asks(&asking.proxy, paying("{}")), operator);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_words() {
    let asking = Asking::start().await;
    let right = format!("Bearer {ALICE}");
    let unknown = "00112233445566778899aabbccddeeff";
    for (path, expected) in [
        ("/", 404),
        ("/mcp", 404),
        ("/approvalsx", 404),
        ("/approvals/", 404),
        ("/approvals/x", 404),
        (&format!("/approvals/{unknown}") as &str, 404),
        (&format!("/approvals/{unknown}/use"), 404),
        (&format!("/approvals/{unknown}/approve"), 405),
        ("/approvals?state=open", 400),
        ("/approvals?state=used", 200),
    ] {
        let request = asking.get(path).header("authorization", &right);
        let answer = send(request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.status(), expected, "{path}");
        let is_said = answer.json()["error"].is_string();
        assert_eq!(is_said, expected != 200, "{path}");
    }
    let long = json!({ "note": "x".repeat(20_000) }).to_string();
    for (body, expected) in [
        ("", 404),
        (r#"{"note":"x"}"#, 404),
        ("{", 400),
        ("[]", 400),
        (r#"{"note":1}"#, 400),
        (r#"{"nota":"x"}"#, 400),
        (&long as &str, 413),
    ] {
        let answer = asking
            .decides(ALICE, &format!("{unknown}/deny"), body)
            .await;
        assert_eq!(answer.status(), expected, "{body}");
    }
}

#[tokio::test]
async fn arguments_cannot_fool_whoever_looks_at_them() {
    let asking = Asking::start().await;
    let hostile = "{\n\"a\": \"\\u001b[2J\u{202e}evil\u{9b}31m\u{200b}<script>\", \r\"b\": \"é\"}";
    let operator = async {
        let id = asking.waiting_id().await;
        for args in [
            &["list"] as &[&str],
            &["list", "--json"],
            &["show", &id],
            &["show", &id, "--json"],
        ] {
            let shown = asking.succeeds(args).await;
            let is_harmless = |c: char| c == '\n' || c == 'é' || (' '..='~').contains(&c);
            assert!(shown.chars().all(is_harmless), "{args:?}: {shown:?}");
            let expected = "\\u001b[2J\\u202eevil\\u009b31m\\u200b<script>";
            assert!(shown.contains(expected), "{args:?}: {shown}");
        }
        let request = asking
            .get(&format!("/approvals/{id}"))
            .header("authorization", format!("Bearer {ALICE}"));
        let answer = send(request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(
            answer.json()["arguments"]["a"],
            "\u{1b}[2J\u{202e}evil\u{9b}31m\u{200b}<script>"
        );
        asking.succeeds(&["deny", &id]).await;
    };
    tokio::join!(asks(&asking.proxy, paying(hostile)), operator);
}

/// All that is approved is shown, or nobody is asked.
#[tokio::test]
async fn what_is_besides_the_arguments_is_shown_and_what_is_too_long_is_refused() {
    let asking = Asking::start().await;
    let besides = paying(r#"{"a":1},"_meta":{"dryRun":false}"#);
    let operator = async {
        let waiting = asking.waiting().await;
        assert_eq!(waiting["others"], json!({ "_meta": { "dryRun": false } }));
        let id = waiting["id"].as_str().unwrap();
        let text = asking.succeeds(&["show", id]).await;
        assert!(
            text.contains("and besides") && text.contains("dryRun"),
            "{text}"
        );
        asking.succeeds(&["deny", id]).await;
    };
    tokio::join!(asks(&asking.proxy, besides), operator);
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(70_000));
    let answer = asks(&asking.proxy, paying(&long)).await;
    assert!(
        answer.text.contains("nobody can give one here"),
        "{}",
        answer.text
    );
}

/// What `serve` says that does not start, with these tokens.
async fn refused(tokens: Option<&str>, admin: &str) -> String {
    let policy = file("policy.json", POLICY);
    let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--admin", admin]);
    command.args(["--upstream", "http://127.0.0.1:9/mcp", "--policy"]);
    command.arg(policy);
    if let Some(tokens) = tokens {
        command.env("MCP_POLICY_ADMIN_TOKENS", tokens);
    }
    let output = within("its end", command.output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    said
}

#[tokio::test]
async fn wrong_tokens_are_refused_and_not_repeated() {
    for tokens in ["", "hunter2-hunter2-1", "a:hunter2", "a:hunter2-hunter2-1,"] {
        let said = refused(Some(tokens), "127.0.0.1:0").await;
        assert!(said.contains("alice:TOKEN,bob:TOKEN"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    let said = refused(None, "0.0.0.0:0").await;
    assert!(said.contains("MCP_POLICY_ADMIN_TOKENS"), "{said}");
}

#[tokio::test]
async fn without_operators_one_is_made_and_its_token_said_once() {
    let upstream = Upstream::bind().await;
    let policy = file("policy.json", POLICY);
    let more = [
        "--admin",
        "127.0.0.1:0",
        "--policy",
        policy.to_str().unwrap(),
    ];
    let url = format!("http://{}/mcp", upstream.address());
    let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--upstream", &url];
    args.extend(more);
    let proxy = Proxy::start(&args, "trace").await;
    let log = proxy.log();
    let (_, rest) = log
        .split_once("the token of the operator `admin` is ")
        .unwrap();
    let token = rest.lines().next().unwrap();
    let request = Request::get(format!("http://{}/approvals", admin(&log)))
        .header("authorization", format!("Bearer {token}"));
    let answer = send(request.body(Full::default()).unwrap()).await;
    assert_eq!(answer.json(), json!([]));
    assert_eq!(proxy.log().matches(token).count(), 1);
}

/// Also the only test that may take the usual address.
#[tokio::test]
async fn it_opens_once_a_policy_asks() {
    let upstream: SocketAddr = Upstream::bind().await.address();
    let asks_nobody = r#"{ "version": "1", "default": "deny", "tools": { "free": {} } }"#;
    let policy = file("policy.json", asks_nobody);
    let url = format!("http://{upstream}/mcp");
    let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--upstream", &url];
    args.extend(["--policy", policy.to_str().unwrap()]);
    let proxy = Proxy::start(&args, "info").await;
    assert!(!proxy.log().contains("approvals wait at"));
    // Somebody may have that address; then it is said that nobody can approve anything.
    let taken = tokio::net::TcpListener::bind("127.0.0.1:8788").await;
    put(&policy, POLICY);
    proxy
        .logs("nobody can approve what the policy asks for")
        .await;
    proxy.logs("with --admin").await;
    let output = within("its end", command(&args).output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("127.0.0.1:8788 is taken") && said.contains("--admin"),
        "{said}"
    );
    if taken.is_ok() {
        drop(taken);
        put(&policy, &POLICY.replace("gone", "lost"));
        proxy
            .logs("approvals wait at http://127.0.0.1:8788/approvals")
            .await;
    }
}

#[tokio::test]
async fn where_nobody_can_be_asked_that_is_said() {
    let policy = file("policy.json", POLICY);
    let mut command = command(&["stdio", "--policy", policy.to_str().unwrap()]);
    command.args(["--", "sh", "-c", "exit 0"]);
    let output = within("its end", command.output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("nobody can give one here"), "{said}");
}
