//! `serve --config`: many servers, and whoever has a grant for one of them.

use std::{
    fs,
    path::PathBuf,
    process::Output,
    sync::{Arc, Mutex},
};

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::{
    fake::Upstream,
    support::{ALLOW_ALL, Answer, Proxy, body, call, command, file, pause, put, send, within},
};

pub(crate) const READERS: &str = r#"{
  "version": "1",
  "default": "deny",
  "tools": { "read": {} }
}"#;

/// By the team of the caller.
const OPERATORS: &str = r#"{
  "version": "1",
  "default": "deny",
  "tools": {
    "write": { "require": [ { "conditions": [
      { "path": "caller.claims.team", "op": "eq", "value": "ops" }
    ] } ] }
  }
}"#;

/// A tool that somebody has to approve.
pub(crate) const ASKS: &str =
    r#"{ "version": "1", "default": "allow", "tools": { "pay": { "require_approval": true } } }"#;

/// The token of the operator.
pub(crate) const OPERATOR: &str = "operators-token-0123456789";

/// A request as it came to a server.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    head: String,
    pub(crate) body: String,
}

/// A server that answers every request, and remembers them.
#[derive(Clone)]
pub(crate) struct Recording {
    pub(crate) url: String,
    came: Arc<Mutex<Vec<Came>>>,
}

impl Recording {
    pub(crate) async fn start() -> Self {
        let upstream = Upstream::bind().await;
        let url = format!("http://{}/mcp?key=canary-in-url", upstream.address());
        let came = Arc::<Mutex<Vec<Came>>>::default();
        let keeps = Arc::clone(&came);
        tokio::spawn(async move {
            loop {
                let mut asked = upstream.asked().await;
                keeps.lock().unwrap().push(Came {
                    head: asked.head.clone(),
                    body: asked.body.clone(),
                });
                asked.answer("").await;
            }
        });
        Self { url, came }
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }
}

/// A configuration in a folder of its own.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(config: &str) -> Self {
        let path = file("gateway.toml", config);
        let folder = Self(path.parent().unwrap().to_owned());
        folder.put("all.json", ALLOW_ALL);
        folder.put("readers.json", READERS);
        folder.put("operators.json", OPERATORS);
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn put(&self, name: &str, text: &str) {
        put(&self.path(name), text);
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("gateway.toml")
    }

    pub(crate) fn text(&self) -> String {
        fs::read_to_string(self.config()).unwrap()
    }

    /// Runs a command that is about the configuration.
    pub(crate) async fn runs(&self, args: &[&str]) -> Output {
        let mut command = command(args);
        command.arg("--config").arg(self.config());
        within("the end of the command", command.output())
            .await
            .unwrap()
    }

    /// What it says on stdout when it is done.
    pub(crate) async fn succeeds(&self, args: &[&str]) -> String {
        let output = self.runs(args).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {stderr}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// The token of a new grant.
    pub(crate) async fn grant(&self, label: &str, server: &str, more: &[&str]) -> String {
        let args = ["grant", "add", "--label", label, "--server", server];
        self.succeeds(&[&args, more].concat()).await
    }

    pub(crate) async fn serve(&self) -> Proxy {
        self.serve_with(|_| ()).await
    }

    /// Serves it, with an operator.
    pub(crate) async fn serve_operated(&self) -> Proxy {
        self.serve_with(|command| {
            command.env("MCP_POLICY_ADMIN_TOKENS", format!("op:{OPERATOR}"));
        })
        .await
    }

    pub(crate) async fn serve_with(
        &self,
        more: impl FnOnce(&mut tokio::process::Command),
    ) -> Proxy {
        let mut command = command(&["serve", "--config"]);
        command.arg(self.config()).env("RUST_LOG", "info");
        more(&mut command);
        Proxy::spawn(&mut command).await
    }
}

pub(crate) fn request(proxy: &Proxy, server: &str, token: &str) -> http::request::Builder {
    let url = format!("http://{}/mcp/{server}", proxy.address);
    let request = Request::post(url)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    match token {
        "" => request,
        token => request.header("authorization", format!("Bearer {token}")),
    }
}

pub(crate) async fn post(proxy: &Proxy, server: &str, token: &str, message: &Value) -> Answer {
    send(request(proxy, server, token).body(body(message)).unwrap()).await
}

/// What became of a call: `allowed`, the rule that refused it, or a status.
pub(crate) async fn outcome(proxy: &Proxy, server: &str, token: &str, tool: &str) -> String {
    let answer = post(proxy, server, token, &call(1, tool)).await;
    if answer.status() != 200 {
        return answer.status().to_string();
    }
    let result = &answer.json()["result"];
    match result["_meta"]["io.github.mcp-policy/rule"].as_str() {
        Some(rule) => rule.to_owned(),
        None if result["isError"].is_null() => "allowed".to_owned(),
        None => panic!("{}", answer.text),
    }
}

/// What somebody with this token is answered at the address of the operators.
pub(crate) async fn admin(proxy: &Proxy, token: &str, method: &str, path: &str) -> Answer {
    let address = crate::approvals::admin(&proxy.log());
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{address}{path}"))
        .header("authorization", format!("Bearer {token}"));
    send(request.body(Full::default()).unwrap()).await
}

/// What waits for the operator.
pub(crate) async fn waiting(proxy: &Proxy) -> Value {
    let path = "/approvals?state=pending";
    admin(proxy, OPERATOR, "GET", path).await.json()
}

/// The id of the call that waits, as soon as one does.
pub(crate) async fn one_that_waits(proxy: &Proxy) -> String {
    within("a call that waits", async {
        loop {
            if let Some(id) = waiting(proxy).await[0]["id"].as_str() {
                break id.to_owned();
            }
            pause().await;
        }
    })
    .await
}

/// Has the operator approve it.
pub(crate) async fn approve(proxy: &Proxy, id: &str) {
    let path = format!("/approvals/{id}/approve");
    let approved = admin(proxy, OPERATOR, "POST", &path).await;
    assert_eq!(approved.status(), 200, "{}", approved.text);
}

/// Two servers without grants.
pub(crate) fn two(first: &Recording, second: &Recording) -> String {
    format!(
        "# Kept.\nlisten = \"127.0.0.1:0\"\n\n[servers.one]\nurl = {:?}\n\n[servers.two]  # too\nurl = {:?}\n",
        first.url, second.url
    )
}

#[tokio::test]
async fn two_servers_three_grants_and_three_policies() {
    let (first, second) = (Recording::start().await, Recording::start().await);
    let folder = Folder::new(&two(&first, &second));
    let all = folder
        .grant("alice", "one", &["--policy", "all.json"])
        .await;
    let readers = folder
        .grant("bob", "one", &["--policy", "readers.json"])
        .await;
    let claims = ["--policy", "operators.json", "--claim", "team=ops"];
    let operators = folder.grant("carol", "two", &claims).await;
    let others = folder
        .grant(
            "dave",
            "two",
            &["--policy", "operators.json", "--claim", "team=x"],
        )
        .await;
    let nothing = folder.grant("erin", "two", &[]).await;
    let proxy = folder.serve().await;
    let log = proxy.log();
    let wanted = format!("listening on http://{}/mcp/two", proxy.address);
    proxy.logs(&wanted).await;
    assert!(log.lines().all(|line| !line.contains("mcpp_")), "{log}");
    for (server, token, tool, expected) in [
        ("one", &all, "write", "allowed"),
        ("one", &all, "read", "allowed"),
        ("one", &readers, "read", "allowed"),
        ("one", &readers, "write", "(default deny)"),
        ("two", &operators, "write", "allowed"),
        ("two", &operators, "read", "(default deny)"),
        (
            "two",
            &others,
            "write",
            "/tools/write/require/caller.claims.team-eq",
        ),
        ("two", &nothing, "read", "(no policy)"),
        ("two", &all, "write", "401"),
        ("one", &operators, "write", "401"),
    ] {
        let outcome = outcome(&proxy, server, token, tool).await;
        assert_eq!(outcome, expected, "{tool} of {server}");
    }
    assert_eq!(first.came().len(), 3);
    assert_eq!(second.came().len(), 1);
    assert!(first.came()[0].body.contains("\"write\""));
}

#[tokio::test]
async fn nothing_else_is_there() {
    let (first, second) = (Recording::start().await, Recording::start().await);
    let folder = Folder::new(&two(&first, &second));
    let token = folder
        .grant("alice", "one", &["--policy", "all.json"])
        .await;
    let proxy = folder.serve().await;
    for path in [
        "/",
        "/mcp",
        "/mcp/",
        "/mcp/three",
        "/mcp/one/",
        "/mcp/one/x",
        "/MCP/one",
        "/mcp/ONE",
        "//mcp/one",
        "/mcp/%6fne",
        "/mcp/../mcp/one",
    ] {
        let request = Request::post(format!("http://{}{path}", proxy.address))
            .header("authorization", format!("Bearer {token}"));
        let answer = send(request.body(body(&call(1, "a"))).unwrap()).await;
        assert_eq!(answer.status(), 404, "{path}");
    }
    let foreign = request(&proxy, "one", &token).header("host", "evil.example");
    let answer = send(foreign.body(body(&call(1, "a"))).unwrap()).await;
    assert_eq!(answer.status(), 403);
    assert!(first.came().is_empty());
}

#[tokio::test]
async fn who_shows_no_right_token_is_told_how_and_nobody_is_asked() {
    let (first, second) = (Recording::start().await, Recording::start().await);
    let folder = Folder::new(&two(&first, &second));
    let foreign = folder
        .grant("alice", "two", &["--policy", "all.json"])
        .await;
    let revoked = folder.grant("bob", "one", &["--policy", "all.json"]).await;
    folder.succeeds(&["grant", "revoke", "bob"]).await;
    let proxy = folder.serve().await;
    let unknown = format!("mcpp_{}", "0".repeat(64));
    for (header, status, error) in [
        (None, 401, None),
        (Some("Basic YTpi".to_owned()), 401, None),
        (Some("Bearer".to_owned()), 401, None),
        (Some("Bearer ".to_owned()), 401, None),
        (
            Some(format!("Bearer {unknown}")),
            401,
            Some("invalid_token"),
        ),
        (
            Some(format!("Bearer {revoked}")),
            401,
            Some("invalid_token"),
        ),
        (
            Some(format!("bearer {foreign}")),
            401,
            Some("invalid_token"),
        ),
        (
            Some(format!("Bearer {foreign} {foreign}")),
            401,
            Some("invalid_token"),
        ),
    ] {
        let mut request = request(&proxy, "one", "");
        if let Some(header) = &header {
            request = request.header("authorization", header);
        }
        let answer = send(request.body(body(&call(1, "a"))).unwrap()).await;
        assert_eq!(answer.status(), status, "{header:?}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer realm="), "{challenge}");
        let told = challenge.split("error=\"").nth(1);
        let told = told.and_then(|told| told.split('"').next());
        assert_eq!(told, error, "{header:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.json()["error"]["code"].is_i64());
        for token in [&foreign, &revoked, &unknown] {
            assert!(!answer.text.contains(&**token) && !challenge.contains(&**token));
        }
    }
    let twice = request(&proxy, "two", &foreign).header("authorization", "Bearer x");
    let answer = send(twice.body(body(&call(1, "a"))).unwrap()).await;
    assert_eq!(answer.status(), 400);
    assert!(
        answer
            .header("www-authenticate")
            .unwrap()
            .contains("invalid_request")
    );
    assert!(first.came().is_empty() && second.came().is_empty());
    // The last grant of a server is gone, and it is still closed.
    assert_eq!(outcome(&proxy, "one", "", "a").await, "401");
    let get = Request::get(format!("http://{}/mcp/one", proxy.address));
    assert_eq!(send(get.body(Full::default()).unwrap()).await.status(), 401);
}

#[tokio::test]
async fn a_server_with_a_policy_of_its_own_is_for_everybody() {
    let upstream = Recording::start().await;
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\n[servers.one]\nurl = {:?}\npolicy = \"readers.json\"\n",
        upstream.url
    ));
    let proxy = folder.serve().await;
    assert_eq!(outcome(&proxy, "one", "", "read").await, "allowed");
    assert_eq!(outcome(&proxy, "one", "whatever", "read").await, "allowed");
    assert_eq!(outcome(&proxy, "one", "", "write").await, "(default deny)");
    for came in upstream.came() {
        assert!(!came.head.contains("whatever"), "{}", came.head);
    }
    // A grant would say that it is not.
    let output = folder
        .runs(&["grant", "add", "--label", "a", "--server", "one"])
        .await;
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("a policy for everybody"), "{stderr}");
    assert!(!folder.text().contains("grants"));
}

#[tokio::test]
async fn nothing_secret_goes_anywhere_but_where_it_belongs() {
    let upstream = Recording::start().await;
    let folder = Folder::new(&format!(
        r#"listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
[servers.one]
url = {:?}
headers.authorization = {{ env = "CANARY" }}
headers.x-api-key = {{ file = "key" }}
headers.x-plain = "canary-plain"
"#,
        upstream.url
    ));
    folder.put("key", "canary-file\n");
    folder.put("asks.json", r#"{ "version": "1", "default": "allow", "tools": { "pay": { "require_approval": true } } }"#);
    let token = folder
        .grant(
            "alice",
            "one",
            &["--policy", "asks.json", "--claim", "k=canary-claim"],
        )
        .await;
    let admin_token = "canary-operator-0123456789";
    let proxy = folder
        .serve_with(|command| {
            command.env("RUST_LOG", "trace");
            command.env("CANARY", "Bearer canary-env");
            command.env("MCP_POLICY_ADMIN_TOKENS", format!("op:{admin_token}"));
        })
        .await;
    let asked = request(&proxy, "one", &token)
        .header("cookie", "sid=canary-cookie")
        .header("x-forwarded-for", "canary-forwarded")
        .header("x-mcp-authorized", "canary-reserved")
        .header("x-api-key", "canary-callers-key");
    let answer = send(asked.body(body(&call(1, "a"))).unwrap()).await;
    assert_eq!(answer.status(), 200);
    let head = upstream.came()[0].head.to_lowercase();
    for line in [
        "authorization: bearer canary-env\r\n",
        "x-api-key: canary-file\r\n",
        "x-plain: canary-plain\r\n",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    for secret in [
        &*token,
        "canary-cookie",
        "canary-forwarded",
        "canary-reserved",
        "canary-callers-key",
    ] {
        assert!(!head.contains(secret), "{secret} in {head}");
    }
    // What waits, what is refused, and what does not load.
    let waiting = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "pay", "arguments": {} },
    });
    let held = request(&proxy, "one", &token).body(body(&waiting)).unwrap();
    let held = tokio::spawn(send(held));
    outcome(&proxy, "one", "mcpp_canary-unknown", "a").await;
    let wrong = format!("canary-key = 1\n{}", folder.text());
    folder.put("gateway.toml", &wrong.replace("canary-key", "unknown"));
    proxy.logs("not loaded again").await;
    let admin = crate::approvals::admin(&proxy.log());
    let mut shown = String::new();
    within("a call that waits", async {
        while !shown.contains("\"pay\"") {
            let listed = Request::get(format!("http://{admin}/approvals"))
                .header("authorization", format!("Bearer {admin_token}"));
            shown = send(listed.body(Full::default()).unwrap()).await.text;
        }
    })
    .await;
    let seen = proxy.log() + &shown + &answer.text;
    for secret in [
        &*token,
        "canary-env",
        "canary-file",
        "canary-plain",
        "canary-claim",
        "canary-cookie",
        "canary-forwarded",
        "canary-callers-key",
        "canary-in-url",
        "canary-unknown",
        "argument-value",
        admin_token,
    ] {
        assert!(!seen.contains(secret), "{secret} in\n{seen}");
    }
    held.abort();
}
