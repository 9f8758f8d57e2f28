//! `serve -- COMMAND`: a server on stdio for clients that speak HTTP.
#![cfg(unix)]

use std::{path::Path, time::Duration};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use serde_json::{Value, json};

use crate::{
    stdio_server::{ARGUMENTS, ROLE},
    support::{Answer, Proxy, body, call, file, open, send, within},
};

const POLICY: &str = r#"{
  "version": "1",
  "default": "allow",
  "hide": ["secret"],
  "tools": {
    "wipe": { "action": "deny" },
    "counted": { "limits": [ { "counter": "calls", "window": 60, "max": 2 } ] }
  }
}"#;

/// Starts the proxy with the test server behind it, run by `before`, if that is
/// not empty.
async fn serve(before: &[&str]) -> Proxy {
    serve_with(&[], before).await
}

/// The same with more options.
async fn serve_with(options: &[&str], before: &[&str]) -> Proxy {
    serve_by(POLICY, options, before).await
}

/// The same by another policy.
async fn serve_by(policy: &str, options: &[&str], before: &[&str]) -> Proxy {
    let policy = file("policy.json", policy);
    let server = std::env::current_exe().unwrap();
    let role = format!("{ROLE}=1");
    let mut args = vec!["serve", "--listen", "127.0.0.1:0"];
    args.extend(options);
    args.extend(["--policy", policy.to_str().unwrap(), "--", "env", &role]);
    args.extend(before);
    args.push(server.to_str().unwrap());
    args.extend(ARGUMENTS);
    Proxy::start(&args, "info").await
}

/// A client's session.
struct Client<'a> {
    proxy: &'a Proxy,
    session: String,
}

impl<'a> Client<'a> {
    async fn begin(proxy: &'a Proxy) -> Self {
        let answer = proxy.post(&initialize()).await;
        assert_eq!(answer.status(), 200, "{}", answer.text);
        assert_eq!(answer.json()["id"], "init", "{}", answer.text);
        let session = answer.header("mcp-session-id").unwrap().to_owned();
        let client = Self { proxy, session };
        client
            .tells(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
            .await;
        client
    }

    fn request(&self) -> http::request::Builder {
        self.proxy.request().header("mcp-session-id", &self.session)
    }

    fn post(&self, message: &Value) -> Request<Full<Bytes>> {
        self.request().body(body(message)).unwrap()
    }

    /// For an answer in JSON.
    async fn asks(&self, message: &Value) -> Answer {
        let mut request = self.post(message);
        let json = "application/json".parse().unwrap();
        request.headers_mut().insert("accept", json);
        send(request).await
    }

    /// Sends what is not to be answered.
    async fn tells(&self, message: &Value) {
        let answer = send(self.post(message)).await;
        assert_eq!((answer.status(), &*answer.text), (202, ""));
    }

    /// Opens the stream of an answer.
    async fn opens(&self, message: &Value) -> Events {
        Events::of(open(self.post(message)).await)
    }

    /// Opens the stream for what the server says unasked.
    async fn listens(&self) -> Events {
        let mut request = self.post(&json!(null));
        *request.method_mut() = http::Method::GET;
        Events::of(open(request).await)
    }

    /// Calls a tool and gives the text that it answers.
    async fn calls(&self, tool: &str, argument: Value) -> String {
        let answer = self.asks(&with(99, tool, argument)).await;
        let answer = answer.json();
        assert_eq!(answer["id"], 99, "{answer}");
        let text = answer["result"]["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// The messages that the server got before this call.
    async fn seen(&self) -> Vec<Value> {
        let lines: Vec<String> = serde_json::from_str(&self.calls("seen", json!(0)).await).unwrap();
        let mut seen: Vec<Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        seen.pop();
        seen
    }
}

fn initialize() -> Value {
    json!({ "jsonrpc": "2.0", "id": "init", "method": "initialize", "params": {} })
}

fn with(id: u32, tool: &str, argument: Value) -> Value {
    let mut message = call(id, tool);
    message["params"]["arguments"] = json!({ "a": argument });
    message
}

/// A stream of events as it comes.
struct Events {
    response: Response<Incoming>,
    text: String,
}

impl Events {
    fn of(response: Response<Incoming>) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let text = String::new();
        Self { response, text }
    }

    /// The next message; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        // As a whole, because comments keep coming.
        within("a message or the end of a stream", self.next_message()).await
    }

    async fn next_message(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let data = event.strip_prefix("event: message\ndata: ");
                let message = data.map(|data| serde_json::from_str(data).unwrap());
                assert!(message.is_some() || event == ":", "{event}");
                self.text = rest.to_owned();
                match message {
                    Some(message) => return Some(message),
                    None => continue,
                }
            }
            let frame = self.response.frame().await?;
            let data = frame.unwrap().into_data().unwrap();
            self.text += std::str::from_utf8(&data).unwrap();
        }
    }

    async fn message(&mut self) -> Value {
        self.next().await.expect("the stream ended")
    }
}

fn lives(process: &str) -> bool {
    // A process that has ended and was not waited for yet is a zombie.
    let status = std::fs::read_to_string(Path::new("/proc").join(process).join("status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

async fn dies(process: &str) {
    within("the end of a process", async {
        while lives(process) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_policy_holds() {
    let proxy = serve(&[]).await;
    let client = Client::begin(&proxy).await;
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let names = |answer: &Value| -> Vec<Value> {
        let tools = answer["result"]["tools"].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].clone()).collect()
    };
    assert_eq!(names(&client.asks(&list).await.json()), ["seen", "wipe"]);
    let mut events = client.opens(&list).await;
    assert_eq!(names(&events.message().await), ["seen", "wipe"]);
    assert!(events.next().await.is_none(), "the answer is the last");

    for tool in ["wipe", "secret"] {
        let answer = client.asks(&call(7, tool)).await;
        assert_eq!((answer.status(), &answer.json()["id"]), (200, &json!(7)));
        let text = answer.text;
        assert!(text.contains("isError") || text.contains("error"), "{text}");
    }
    let mut events = client.opens(&with(8, "echo", json!("hello"))).await;
    let answer = events.message().await;
    assert_eq!(answer["id"], 8);
    assert_eq!(answer["result"]["content"][0]["text"], "\"hello\"");

    // These very bytes arrive, on one line.
    let odd = "{ \"jsonrpc\":\"2.0\" ,\"id\":\"\\u0031\",\"method\":\"tools/call\",\r\n\
               \"params\":{\"name\":\"seen\",\"arguments\":{\"a\":1.50}}}";
    let request = client.request().body(Full::from(odd)).unwrap();
    let answer = Events::of(open(request).await).message().await;
    assert_eq!(answer["id"], "1");
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    let seen: Vec<String> = serde_json::from_str(text).unwrap();
    assert_eq!(seen.last().unwrap(), &odd.replace("\r\n", "  "));
    assert!(!text.contains("wipe") && !text.contains("secret"), "{text}");
    let methods: Vec<_> = client.seen().await;
    let methods: Vec<_> = methods.iter().map(|message| &message["method"]).collect();
    assert_eq!(methods[..2], ["initialize", "notifications/initialized"]);
}

#[tokio::test]
async fn each_session_has_a_server_of_its_own_and_takes_it_along() {
    let proxy = serve(&[]).await;
    let (one, other) = (Client::begin(&proxy).await, Client::begin(&proxy).await);
    let process = one.calls("process", json!(0)).await;
    let others = other.calls("process", json!(0)).await;
    assert_ne!(process, others);
    let helper = one.calls("linger", json!(0)).await;
    assert!(lives(&process) && lives(&helper));

    let mut waiting = one.opens(&call(5, "wait")).await;
    let mut listening = one.listens().await;
    let mut delete = one.post(&json!(null));
    *delete.method_mut() = http::Method::DELETE;
    assert_eq!(send(delete.clone()).await.status(), 200);
    let answer = waiting.message().await;
    assert_eq!(
        (&answer["id"], answer["error"].is_object()),
        (&json!(5), true)
    );
    assert!(listening.next().await.is_none());
    dies(&process).await;
    dies(&helper).await;

    let answer = send(delete).await;
    assert_eq!(
        (answer.status(), answer.json()["error"]["code"].as_i64()),
        (404, Some(-32001))
    );
    let answer = one.asks(&call(6, "process")).await;
    assert_eq!((answer.status(), &answer.json()["id"]), (404, &json!(6)));
    assert_eq!(other.calls("process", json!(0)).await, others);
}

#[tokio::test]
async fn a_session_outlives_its_server() {
    let proxy = serve(&[]).await;
    let client = Client::begin(&proxy).await;
    let process = client.calls("process", json!(0)).await;
    let mut waiting = client.opens(&call(1, "wait")).await;
    let answer = client.asks(&with(2, "exit", json!(3))).await;
    assert_eq!((answer.status(), &answer.json()["id"]), (200, &json!(2)));
    for error in [answer.json(), waiting.message().await] {
        let text = error["error"]["message"].as_str().unwrap();
        assert!(text.contains("may have run"), "{text}");
    }
    proxy.logs("exit status: 3").await;

    // The new server got the same handshake, whose answer nobody else gets.
    let mut events = client.opens(&call(1, "process")).await;
    let answer = events.message().await;
    assert_ne!(answer["result"]["content"][0]["text"], process);
    let methods: Vec<_> = client.seen().await;
    let methods: Vec<_> = methods.iter().map(|message| &message["method"]).collect();
    let expected = ["initialize", "notifications/initialized", "tools/call"];
    assert_eq!(methods, expected);
}

#[tokio::test]
async fn a_server_that_keeps_ending_is_left_alone_for_a_while() {
    let broken = file("broken", "");
    std::fs::remove_file(&broken).unwrap();
    let script = format!("test -e '{}' && exit 4; exec \"$@\"", broken.display());
    let proxy = serve(&["sh", "-c", &script, "sh"]).await;
    let client = Client::begin(&proxy).await;
    std::fs::write(&broken, "").unwrap();
    client.asks(&with(1, "exit", json!(4))).await;
    // Two more starts are waited for, and then no longer.
    for id in 2..=3 {
        let answer = client.asks(&call(id, "process")).await;
        let answer = answer.json();
        assert_eq!(answer["id"], id);
        let text = answer["error"]["message"].as_str().unwrap();
        assert!(text.contains("handshake"), "{text}");
    }
    let answer = client.asks(&call(4, "process")).await;
    assert_eq!((answer.status(), &answer.json()["id"]), (200, &json!(4)));
    assert!(answer.text.contains("try again"), "{}", answer.text);
    let ended = proxy.log().matches("exit status: 4").count();
    assert_eq!(ended, 3, "{}", proxy.log());
}

#[tokio::test]
async fn a_server_that_does_not_start_is_named_in_the_log() {
    let policy = file("policy.json", POLICY);
    let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--policy"];
    args.extend([policy.to_str().unwrap(), "--", "no-such-server", "--key=k"]);
    let proxy = Proxy::start(&args, "trace").await;
    let answer = proxy.post(&initialize()).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("mcp-session-id"), None);
    let answer = answer.json();
    assert_eq!(answer["id"], "init");
    let text = answer["error"]["message"].as_str().unwrap();
    assert!(text.contains("cannot be started"), "{text}");
    assert!(!text.contains("no-such") && !proxy.log().contains("--key"));
    proxy.logs("`no-such-server`").await;
}

#[tokio::test]
async fn an_answer_that_is_too_long_keeps_nobody_waiting() {
    let proxy = serve(&[]).await;
    let client = Client::begin(&proxy).await;
    // The answer that follows is to nobody any more.
    let answer = client.asks(&with(5, "long", json!((32 << 20) + 1))).await;
    assert_eq!((answer.status(), &answer.json()["id"]), (200, &json!(5)));
    assert!(answer.text.contains("too large"), "{}", answer.text);
    assert!(!client.calls("process", json!(0)).await.is_empty());
}

#[tokio::test]
async fn a_handshake_is_kept_and_so_it_is_short() {
    let proxy = serve(&["cat"]).await;
    let mut message = initialize();
    message["params"]["clientInfo"]["title"] = json!("x".repeat(64 << 10));
    let answer = proxy.post(&message).await;
    assert_eq!(answer.header("mcp-session-id"), None);
    assert_eq!(answer.json()["id"], "init");
    assert!(answer.text.contains("64 KiB"), "{}", answer.text);
}

#[tokio::test]
async fn a_server_that_ends_at_once_begins_no_session() {
    let server = ["sh", "-c", "echo no license >&2; exit 5"];
    let proxy = serve_with(&["--show-server-stderr"], &server).await;
    let answer = proxy.post(&initialize()).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("mcp-session-id"), None);
    assert_eq!(answer.json()["id"], "init");
    assert!(answer.json()["error"].is_object());
    // What it said on stderr says why.
    proxy.logs("no license").await;
}

#[tokio::test]
async fn progress_comes_with_the_answer_and_before_it() {
    let proxy = serve(&[]).await;
    let client = Client::begin(&proxy).await;
    let mut listening = client.listens().await;
    let mut message = call(1, "progress");
    message["params"]["_meta"] = json!({ "progressToken": "t" });
    let mut events = client.opens(&message).await;
    let progress = events.message().await;
    assert_eq!(progress["params"]["progressToken"], "t");
    assert_eq!(events.message().await["id"], 1);
    assert!(events.next().await.is_none());
    // Nothing of it was on the other stream, and in JSON there is no room for it.
    assert_eq!(client.asks(&message).await.json()["id"], 1);
    assert_eq!(
        listening.message().await["method"],
        "notifications/progress"
    );
    client.calls("print", ask("s1")).await;
    assert_eq!(listening.message().await["id"], "s1");
}

/// What has the server ask the client.
fn ask(id: &str) -> Value {
    json!(json!({ "jsonrpc": "2.0", "id": id, "method": "roots/list" }).to_string())
}

#[tokio::test]
async fn the_server_may_ask_and_the_client_answer() {
    let proxy = serve(&[]).await;
    let client = Client::begin(&proxy).await;
    let response = |id: &str| json!({ "jsonrpc": "2.0", "id": id, "result": { "roots": [] } });

    // On the stream that is open for it, else on that of the call, else as soon
    // as there is one.
    let mut listening = client.listens().await;
    client.calls("print", ask("s1")).await;
    assert_eq!(listening.message().await["id"], "s1");
    drop(listening);
    let mut newer = client.listens().await;
    client.calls("print", ask("s2")).await;
    assert_eq!(newer.message().await["id"], "s2");
    // A newer stream replaces it, so that there is none after that one's end.
    let last = client.listens().await;
    assert!(newer.next().await.is_none());
    drop(last);
    within("the end of the stream is noticed", async {
        let mut events = client.opens(&with(1, "print", ask("s3"))).await;
        let first = events.message().await;
        // Until then it went to a stream that was being closed.
        assert!(first["id"] == "s3" || first["id"] == 1, "{first}");
    })
    .await;
    client.calls("print", ask("s4")).await;
    let mut events = client.opens(&call(2, "process")).await;
    assert_eq!(events.message().await["id"], "s4");
    assert_eq!(events.message().await["id"], 2);

    client.tells(&response("s1")).await;
    // Nobody asked, or was answered before.
    client.tells(&response("s1")).await;
    client.tells(&response("s9")).await;
    client.tells(&response("s4")).await;
    let seen = client.seen().await;
    let answers: Vec<_> = seen
        .into_iter()
        .filter(|seen| seen["result"].is_object())
        .collect();
    assert_eq!(answers, [response("s1"), response("s4")]);
}

#[tokio::test]
async fn a_question_that_no_client_hears_is_answered_at_last() {
    let proxy = serve(&[]).await;
    let client = Client::begin(&proxy).await;
    for index in 0..65 {
        client.calls("print", ask(&format!("q{index}"))).await;
    }
    let seen = client.seen().await;
    let refused: Vec<_> = seen
        .iter()
        .filter(|seen| seen["error"].is_object())
        .collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0]["id"], "q0");
    proxy.logs("no stream open").await;
    assert_eq!(client.listens().await.message().await["id"], "q1");
}

#[tokio::test]
async fn a_call_can_be_cancelled() {
    let proxy = serve(&[]).await;
    let client = Client::begin(&proxy).await;
    let mut events = client.opens(&call(1, "wait")).await;
    let cancelled = json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 },
    });
    client.tells(&cancelled).await;
    assert!(events.next().await.is_none(), "it ends without an answer");
    assert_eq!(client.seen().await.last(), Some(&cancelled));
    // The answer may still come, so the id is not free yet.
    let again = client.asks(&call(1, "process")).await;
    assert!(again.text.contains("id of its own"), "{}", again.text);
    // What is answered in JSON needs an answer.
    let mut in_json = cancelled.clone();
    in_json["params"]["requestId"] = json!(2);
    let message = call(2, "wait");
    let (answer, ()) = tokio::join!(client.asks(&message), async {
        // By then it is there.
        while !client.seen().await.contains(&message) {}
        client.tells(&in_json).await;
    });
    assert_eq!(answer.json()["id"], 2);
    assert!(answer.text.contains("cancelled"), "{}", answer.text);
    client.calls("release", json!(0)).await;
    assert_eq!(client.asks(&call(1, "process")).await.json()["id"], 1);
    assert!(
        !proxy.log().contains("answers no request"),
        "{}",
        proxy.log()
    );
}

/// Else a client could have any number of calls run at once.
#[tokio::test]
async fn what_is_called_off_counts_as_under_way_for_a_while() {
    let policy = r#"{ "version": "1", "default": "allow",
        "tools": { "wait": { "max_concurrent": { "max": 1 } } } }"#;
    let proxy = serve_by(policy, &[], &[]).await;
    let client = Client::begin(&proxy).await;
    let cancelled = json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 2 },
    });
    let message = call(2, "wait");
    let (answer, ()) = tokio::join!(client.asks(&message), async {
        while !client.seen().await.contains(&message) {}
        client.tells(&cancelled).await;
    });
    assert!(answer.text.contains("was cancelled"), "{}", answer.text);
    let refused = client.calls("wait", json!(0)).await;
    assert!(
        refused.contains("[rule /tools/wait/max_concurrent]"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_client_that_leaves_cancels_nothing() {
    let proxy = serve(&[]).await;
    let client = Client::begin(&proxy).await;
    drop(client.opens(&call(1, "wait")).await);
    client.calls("release", json!(0)).await;
    let seen = client.seen().await;
    assert!(
        !seen
            .iter()
            .any(|seen| seen["method"] == "notifications/cancelled")
    );
}

#[tokio::test]
async fn an_id_is_used_once_at_a_time() {
    let proxy = serve(&[]).await;
    let client = Client::begin(&proxy).await;
    let mut events = client.opens(&call(1, "wait")).await;
    let again = client.asks(&call(1, "process")).await;
    assert_eq!((again.status(), &again.json()["id"]), (200, &json!(1)));
    assert!(again.json()["error"].is_object(), "{}", again.text);
    // The text is not the number.
    let mut text = call(1, "process");
    text["id"] = json!("1");
    assert!(client.asks(&text).await.json()["result"].is_object());
    client.calls("release", json!(0)).await;
    assert!(events.message().await["result"].is_object());
}

#[tokio::test]
async fn calls_in_flight_are_bounded() {
    let proxy = serve(&[]).await;
    let client = Client::begin(&proxy).await;
    let mut waiting = Vec::new();
    for id in 1000..1256 {
        waiting.push(client.opens(&call(id, "wait")).await);
    }
    let answer = client.asks(&call(1, "process")).await;
    assert_eq!((answer.status(), &answer.json()["id"]), (200, &json!(1)));
    assert!(answer.text.contains("Too many"), "{}", answer.text);
    drop(waiting);
}

#[tokio::test]
async fn a_flood_waits_for_its_reader_but_not_the_others_for_it() {
    let proxy = serve_with(&["--show-server-stderr"], &[]).await;
    let client = Client::begin(&proxy).await;
    let slow = client.listens().await;
    let mut events = client.opens(&with(1, "flood", json!(200_000))).await;
    // 200 MB, of which pipes and buffers take little.
    proxy.logs("flood 0").await;
    within("the flood stands still", async {
        let (mut before, mut still) = (String::new(), 0);
        // A busy machine stands still for a moment, too.
        while still < 3 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let log = proxy.log();
            let last = log.lines().last().unwrap_or_default().to_owned();
            still = if last == before { still + 1 } else { 0 };
            before = last;
        }
    })
    .await;
    let count = proxy.log().matches("flood").count();
    assert!((1..20_000).contains(&count), "{count} KiB were taken");
    // The one who does not read loses the stream; the call's own goes on.
    assert!(events.next().await.is_some());
    drop(slow);
}

#[tokio::test]
async fn what_is_not_mcp_is_dropped_and_what_cannot_be_read_is_an_error() {
    let proxy = serve(&[]).await;
    let client = Client::begin(&proxy).await;
    let mut listening = client.listens().await;
    for noise in [
        "ready",
        "42",
        r#"{"level":"info"}"#,
        r#"[{"jsonrpc":"2.0","method":"notifications/message"}]"#,
        r#"{"jsonrpc":"2.0","id":99,"id":99,"result":{}}"#.replace("99", "77").as_str(),
        r#"{"jsonrpc":"2.0","id":12345,"result":{}}"#,
    ] {
        assert_eq!(client.calls("print", json!(noise)).await, "printed");
    }
    client
        .calls("print", json!("{\"jsonrpc\":\"2.0\",\r\"method\":\"x/y\"}"))
        .await;
    assert_eq!(listening.message().await["method"], "x/y");
    proxy.logs("answers no request").await;
    assert!(!proxy.log().contains("12345"), "{}", proxy.log());

    // As Python writes it.
    let mut events = client.opens(&call(5, "wait")).await;
    let nan = r#"{"jsonrpc":"2.0","id":5,"result":{"a":NaN}}"#;
    client.calls("print", json!(nan)).await;
    let answer = events.message().await;
    assert_eq!(
        (&answer["id"], answer["error"].is_object()),
        (&json!(5), true)
    );
}

#[tokio::test]
async fn what_belongs_to_no_session_is_refused() {
    let proxy = serve(&[]).await;
    let client = Client::begin(&proxy).await;
    // Clients of both eras take this for an old server, and begin a session.
    let modern = json!({
        "jsonrpc": "2.0", "id": 1, "method": "server/discover",
        "params": { "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        } },
    });
    let request = |session: Option<&str>| {
        let mut request = proxy
            .request()
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "server/discover")
            .body(body(&modern))
            .unwrap();
        if let Some(session) = session {
            let session = session.parse().unwrap();
            request.headers_mut().insert("mcp-session-id", session);
        }
        request
    };
    for session in [None, Some(client.session.as_str())] {
        let answer = send(request(session)).await;
        assert_eq!(answer.status(), 400, "{}", answer.text);
        assert_eq!(answer.json()["id"], 1);
        assert_eq!(answer.json()["error"]["code"], -32000);
    }
    let answer = proxy.post(&call(3, "process")).await;
    assert_eq!((answer.status(), &answer.json()["id"]), (400, &json!(3)));
    assert_eq!(answer.json()["error"]["code"], -32000);
    let stranger = Client {
        proxy: &proxy,
        session: "0191e5a0-0000-4000-8000-000000000000".to_owned(),
    };
    let answer = stranger.asks(&call(4, "process")).await;
    assert_eq!((answer.status(), &answer.json()["id"]), (404, &json!(4)));
    assert_eq!(answer.json()["error"]["code"], -32001);
    assert_eq!(answer.json()["error"]["message"], "Session not found");

    for (method, session, accept, status) in [
        ("GET", None, "text/event-stream", 400),
        ("DELETE", None, "*/*", 400),
        ("GET", Some(&stranger.session), "text/event-stream", 404),
        ("DELETE", Some(&stranger.session), "*/*", 404),
        ("GET", Some(&client.session), "application/json", 406),
        ("PUT", Some(&client.session), "*/*", 405),
    ] {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}/mcp", proxy.address))
            .header("accept", accept);
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        let answer = send(request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.status(), status, "{method} {session:?}");
    }
    let answer = client.asks(&initialize()).await;
    assert_eq!(
        (answer.status(), &answer.json()["id"]),
        (200, &json!("init"))
    );
    assert!(answer.json()["error"].is_object());
    assert_eq!(client.seen().await.len(), 2, "none of it got to the server");
}

#[tokio::test]
async fn what_never_reached_the_server_is_not_counted() {
    let proxy = serve(&[]).await;
    let client = Client::begin(&proxy).await;
    let stranger = Client {
        proxy: &proxy,
        session: "0191e5a0-0000-4000-8000-000000000000".to_owned(),
    };
    client.opens(&with(1, "wait", json!(0))).await;
    for _ in 0..3 {
        let answer = stranger.asks(&with(2, "counted", json!(0))).await;
        assert_eq!(answer.status(), 404);
        // Somebody waits for an answer with this id.
        let answer = client.asks(&with(1, "counted", json!(0))).await;
        assert!(answer.json()["error"].is_object(), "{}", answer.text);
    }
    for _ in 0..2 {
        assert_eq!(client.calls("counted", json!("ran")).await, "\"ran\"");
    }
    let refused = client.calls("counted", json!("ran")).await;
    assert!(refused.starts_with("Policy violation:"), "{refused}");
}

#[tokio::test]
async fn a_callers_many_sessions_push_each_other_out() {
    let proxy = serve(&[]).await;
    let first = Client::begin(&proxy).await;
    let process = first.calls("process", json!(0)).await;
    let mut others = Vec::new();
    for _ in 0..32 {
        others.push(Client::begin(&proxy).await);
    }
    dies(&process).await;
    let answer = first.asks(&call(1, "process")).await;
    assert_eq!(answer.status(), 404);
    // In use, they stay.
    let mut listening = Vec::new();
    for other in &others {
        listening.push(other.listens().await);
    }
    let answer = proxy.post(&initialize()).await;
    assert_eq!(
        (answer.status(), &answer.json()["id"]),
        (503, &json!("init"))
    );
    assert!(answer.header("retry-after").is_some());
}

#[tokio::test]
async fn stderr_is_logged_and_harmless_where_that_is_asked_for() {
    let server = ["sh", "-c", "printf 'a\\033[2Jb\\n' >&2; exec \"$@\"", "sh"];
    let proxy = serve_with(&["--show-server-stderr"], &server).await;
    Client::begin(&proxy).await;
    proxy.logs("greeted").await;
    proxy.logs(r"a\u{1b}[2Jb").await;
    assert!(proxy.log().contains("mcp_policy_proxy::server"));
}

/// Servers write there what they were called with.
#[tokio::test]
async fn nothing_of_stderr_is_logged_else() {
    let mut proxy = serve(&[]).await;
    let client = Client::begin(&proxy).await;
    // Says something on stderr before it ends.
    client.calls("flood", json!(1)).await;
    client
        .opens(&with(2, "exit", json!(3)))
        .await
        .message()
        .await;
    proxy.logs("--show-server-stderr").await;
    proxy.signal("TERM").await;
    proxy.end().await;
    let log = proxy.log();
    assert!(!log.contains("flood") && !log.contains("greeted"), "{log}");
}

#[tokio::test]
async fn nobody_outlives_the_proxy() {
    for signal in ["TERM", "INT"] {
        let mut proxy = serve(&[]).await;
        let client = Client::begin(&proxy).await;
        let process = client.calls("process", json!(0)).await;
        let helper = client.calls("linger", json!(0)).await;
        let mut listening = client.listens().await;
        proxy.signal(signal).await;
        // A stream on which nothing is due is not waited for.
        assert!(listening.next().await.is_none());
        drop(listening);
        assert_eq!(proxy.end().await.code(), Some(0));
        assert!(!lives(&process) && !lives(&helper));
    }
}

#[tokio::test]
async fn a_session_that_has_just_ended_leaves_nobody_behind_either() {
    let mut proxy = serve(&[]).await;
    let client = Client::begin(&proxy).await;
    let process = client.calls("process", json!(0)).await;
    let helper = client.calls("linger", json!(0)).await;
    let mut delete = client.post(&json!(null));
    *delete.method_mut() = http::Method::DELETE;
    assert_eq!(send(delete).await.status(), 200);
    proxy.signal("TERM").await;
    assert_eq!(proxy.end().await.code(), Some(0));
    assert!(!lives(&process) && !lives(&helper));
}

#[tokio::test]
async fn a_server_ends_when_the_proxy_is_killed() {
    let mut proxy = serve(&[]).await;
    let client = Client::begin(&proxy).await;
    let process = client.calls("process", json!(0)).await;
    proxy.signal("KILL").await;
    proxy.end().await;
    dies(&process).await;
}

#[tokio::test]
async fn an_open_call_is_finished_before_the_proxy_ends() {
    let mut proxy = serve(&[]).await;
    let client = Client::begin(&proxy).await;
    let go_on = file("go-on", "");
    std::fs::remove_file(&go_on).unwrap();
    let mut events = client.opens(&with(1, "after", json!(go_on))).await;
    proxy.signal("TERM").await;
    proxy.logs("stopping").await;
    std::fs::write(&go_on, "").unwrap();
    assert!(events.message().await["result"].is_object());
    drop(events);
    assert_eq!(proxy.end().await.code(), Some(0));
}
