//! `stdio`: the policy between a client and a server that talk over pipes.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
};

use crate::stdio_server::{ARGUMENTS, ROLE};
use crate::support::{call, command, file, put, run, within};

const POLICY: &str = r#"{
  "version": "1",
  "default": "deny",
  "hide": ["secret"],
  "tools": { "seen": {}, "echo": {}, "print": {}, "long": {}, "exit": {}, "linger": {}, "wait": {} }
}"#;

/// A proxy with the test server behind it, and the pipes of its client.
struct Session {
    proxy: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: ChildStderr,
}

impl Session {
    fn start() -> Self {
        Self::guarded_by(&file("policy.json", POLICY))
    }

    fn guarded_by(policy: &Path) -> Self {
        let server = std::env::current_exe().unwrap();
        let mut args = vec!["stdio", "--policy", policy.to_str().unwrap(), "--"];
        args.push(server.to_str().unwrap());
        args.extend(ARGUMENTS);
        let mut proxy = command(&args)
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdin: proxy.stdin.take(),
            stdout: BufReader::new(proxy.stdout.take().unwrap()).lines(),
            stderr: proxy.stderr.take().unwrap(),
            proxy,
        }
    }

    async fn says(&mut self, line: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().unwrap();
        let line = [line.as_ref(), b"\n"].concat();
        within("a line is taken", stdin.write_all(&line))
            .await
            .unwrap();
    }

    async fn reads(&mut self) -> Value {
        let line = within("a line for the client", self.stdout.next_line()).await;
        let line = line.unwrap().expect("stdout is closed");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("not MCP: {line}"))
    }

    /// Calls a tool that is allowed, and gives the text that it answers.
    async fn calls(&mut self, tool: &str, argument: Value) -> String {
        let mut message = call(99, tool);
        message["params"]["arguments"] = json!({ "a": argument });
        self.says(message.to_string()).await;
        let answer = self.reads().await;
        assert_eq!(answer["id"], 99, "{answer}");
        let text = answer["result"]["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// The lines that the server got before this call.
    async fn seen(&mut self) -> Vec<String> {
        let mut seen: Vec<String> =
            serde_json::from_str(&self.calls("seen", json!(0)).await).unwrap();
        seen.pop();
        seen
    }

    async fn signal(&self, name: &str) {
        let id = self.proxy.id().unwrap().to_string();
        let status = tokio::process::Command::new("kill")
            .args(["-s", name, &id])
            .status();
        assert!(status.await.unwrap().success());
    }

    fn closes(&mut self) {
        self.stdin = None;
    }

    /// How the proxy ended, what the client read at last, and stderr, which is
    /// only at its end when nobody of the server's group is left to hold it.
    async fn end(mut self) -> (ExitStatus, String, String) {
        let _open = self.stdin;
        let status = within("the end of the proxy", self.proxy.wait());
        let status = status.await.unwrap();
        let mut stderr = String::new();
        within(
            "the end of the whole group",
            self.stderr.read_to_string(&mut stderr),
        )
        .await
        .unwrap();
        let mut stdout = String::new();
        let mut rest = self.stdout.into_inner();
        within("the end of stdout", rest.read_to_string(&mut stdout))
            .await
            .unwrap();
        (status, stdout, stderr)
    }
}

#[tokio::test]
async fn an_allowed_call_runs_and_a_denied_one_does_not() {
    let mut session = Session::start();
    assert_eq!(session.calls("echo", json!("hello")).await, "\"hello\"");
    for name in ["wipe", "secret"] {
        session.says(call(7, name).to_string()).await;
        let answer = session.reads().await;
        assert_eq!(answer["id"], 7);
        let denied = answer["result"]["isError"] == true;
        // A hidden tool is one that does not exist.
        assert!(denied || answer["error"].is_object(), "{answer}");
    }
    // These very bytes arrive.
    let odd = r#"{ "jsonrpc":"2.0" ,"id":3,"method":"tools/call","params":{"name":"echo","arguments":{"a":1.50}}}"#;
    session.says(odd).await;
    assert_eq!(session.reads().await["id"], 3);
    let seen = session.seen().await;
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[1], odd);

    session.closes();
    let (status, stdout, stderr) = session.end().await;
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert_eq!(stdout, "");
    assert!(stderr.contains("stdin is closed"), "{stderr}");
    assert!(stderr.contains("refused"), "{stderr}");
    assert!(!stderr.contains("argument-value"), "{stderr}");
}

#[tokio::test]
async fn a_client_is_told_when_another_policy_shows_other_tools() {
    let policy = file("policy.json", POLICY);
    let mut session = Session::guarded_by(&policy);
    session
        .says(r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#)
        .await;
    assert_eq!(session.reads().await["id"], 1);
    assert_eq!(session.calls("echo", json!(1)).await, "1");
    put(
        &policy,
        &POLICY.replace(r#""secret""#, r#""secret", "echo""#),
    );
    // The client has said nothing, and the server neither.
    let told = session.reads().await;
    assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
    session.says(call(2, "echo").to_string()).await;
    let answer = session.reads().await;
    assert_ne!(answer["result"]["content"][0]["text"], "1", "{answer}");
    put(&policy, "{");
    put(&policy, POLICY);
    assert_eq!(session.reads().await["method"], told["method"]);
    assert_eq!(session.calls("echo", json!(2)).await, "2");
    session.closes();
    let (_, _, stderr) = session.end().await;
    // It holds, and then it is said so, which the end can be faster than.
    let said = stderr.matches(" loaded again policy=").count();
    assert!((1..=2).contains(&said), "{stderr}");
}

#[tokio::test]
async fn a_denied_tool_is_listed_and_a_hidden_one_is_not() {
    let mut session = Session::start();
    session
        .says(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
        .await;
    let answer = session.reads().await;
    let tools = answer["result"]["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, ["seen", "wipe"]);
}

#[tokio::test]
async fn what_is_not_json_is_refused_with_its_id() {
    let mut session = Session::start();
    let broken: [&[u8]; 4] = [
        b"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"ping\",\"params\":NaN}",
        b"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"pi\0ng\"}",
        b"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"pi\rng\"}",
        b"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"pi\xffng\"}",
    ];
    for line in broken {
        session.says(line).await;
        let answer = session.reads().await;
        assert_eq!(answer["id"], 5);
        assert!(answer["error"]["code"].is_i64(), "{answer}");
    }
    // Nobody could be answered.
    for line in [
        "",
        "plain text",
        "[]",
        r#"{"jsonrpc":"2.0","method":"x/y"}"#,
    ] {
        session.says(line).await;
    }
    assert_eq!(session.seen().await, [""; 0]);
}

#[tokio::test]
async fn a_carriage_return_does_not_hide_a_call() {
    let mut session = Session::start();
    // One ping to JSON; to Python's universal newlines three lines, the second
    // one being a call that is denied.
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"#;
    let hidden = call(2, "wipe").to_string();
    session.says(format!("{ping}\r{hidden}\r}}}}\r")).await;
    let answer = session.reads().await;
    assert_eq!(answer["id"], 1);
    assert!(answer["error"]["code"].is_i64(), "{answer}");
    // At the end of a line it is part of the line end.
    let plain = r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;
    session.says(format!("{plain}\r")).await;
    assert_eq!(session.seen().await, [format!("{plain} ")]);
}

#[tokio::test]
async fn the_server_may_ask_and_the_client_answer() {
    let mut session = Session::start();
    let ask = r#"{"jsonrpc":"2.0","id":"s1","method":"roots/list"}"#;
    let mut message = call(1, "print");
    message["params"]["arguments"] = json!({ "a": ask });
    session.says(message.to_string()).await;
    assert_eq!(session.reads().await["method"], "roots/list");
    assert_eq!(session.reads().await["id"], 1);
    let response = r#"{"jsonrpc":"2.0","id":"s1","result":{"roots":[]}}"#;
    session.says(response).await;
    assert_eq!(session.seen().await[1..], [response]);
}

#[tokio::test]
async fn what_the_server_prints_beside_mcp_is_dropped() {
    let mut session = Session::start();
    for noise in [
        "Server started",
        "",
        "   at main (/srv/index.js:1:2)",
        "{not json}",
        "\u{1b}[32mready\u{1b}[0m",
        r#"{"level":"info","msg":"ready"}"#,
        "{\"level\":\"info\",\r\"msg\":\"ready\"}",
        "42",
        "null",
        "[]",
    ] {
        // The next line that the client reads is the answer.
        assert_eq!(session.calls("print", json!(noise)).await, "printed");
    }
    session.closes();
    let (status, _, stderr) = session.end().await;
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(!stderr.contains("ready"), "{stderr}");
}

#[tokio::test]
async fn whoever_waits_for_an_over_long_line_hears_of_it_and_the_session_goes_on() {
    let mut session = Session::start();
    let mut long = call(1, "echo");
    long["params"]["arguments"] = json!({ "a": "x".repeat(4 << 20) });
    session.says(long.to_string()).await;
    assert_eq!(session.seen().await, [""; 0]);
    session.says(call(5, "wait").to_string()).await;
    let mut long = call(6, "long");
    long["params"]["arguments"] = json!({ "a": (32 << 20) + 1 });
    session.says(long.to_string()).await;
    for id in [5, 6] {
        let answer = session.reads().await;
        assert_eq!(answer["id"], id);
        let text = answer["error"]["message"].as_str().unwrap();
        assert!(text.contains("may have run"), "{text}");
    }
    // The true one comes too late.
    assert_eq!(session.reads().await["id"], 6);
    assert_eq!(session.calls("echo", json!(1)).await, "1");
    session.closes();
    let (status, _, stderr) = session.end().await;
    assert_eq!(status.code(), Some(0), "{stderr}");
    for side in ["client", "server"] {
        let expected = format!("a line of the {side}'s is too long and was dropped");
        assert!(stderr.contains(&expected), "{stderr}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_outlives_a_client_that_leaves() {
    let mut session = Session::start();
    session.calls("linger", json!(0)).await;
    session.closes();
    let (status, _, stderr) = session.end().await;
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("stdin is closed"), "{stderr}");
    assert!(stderr.contains("is killed"), "{stderr}");
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_outlives_a_signal() {
    for signal in ["TERM", "INT"] {
        let mut session = Session::start();
        session.calls("linger", json!(0)).await;
        session.signal(signal).await;
        let (status, _, stderr) = session.end().await;
        assert_eq!(status.code(), Some(0), "{stderr}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_outlives_a_server_that_ends() {
    for code in [3, 0] {
        let mut session = Session::start();
        session.calls("linger", json!(0)).await;
        let mut message = call(1, "exit");
        message["params"]["arguments"] = json!({ "a": code });
        session.says(message.to_string()).await;
        let (status, stdout, stderr) = session.end().await;
        assert_eq!(status.code(), Some(1), "{stderr}");
        assert_eq!(stdout, "");
        let expected = format!("ended: exit status: {code}; what it wrote to stderr is above");
        assert!(stderr.contains(&expected), "{stderr}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_client_that_does_not_read_holds_the_server_back() {
    let mut session = Session::start();
    // More than all pipes and buffers on the way hold.
    let big = "x".repeat(1 << 20);
    let line = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "echo", "arguments": { "a": big } } });
    let line = line.to_string() + "\n";
    let mut stdin = session.stdin.take().unwrap();
    let (mut taken, mut still) = (0, 0);
    // Ends when nobody takes any more: the paused clock does not run here, so
    // this is the one place where time has to pass. A busy machine takes nothing for a
    // moment, too.
    while still < 3 {
        let rest = &line.as_bytes()[taken % line.len()..];
        let second = std::time::Duration::from_secs(1);
        match tokio::time::timeout(second, stdin.write(rest)).await {
            Ok(written) => {
                taken += written.unwrap();
                still = 0;
            }
            Err(_) => still += 1,
        }
        assert!(taken < 64 << 20, "somebody holds {taken} bytes");
    }
    assert!(taken > 0, "nobody has taken anything");
    session.stdin = Some(stdin);
    session.signal("TERM").await;
    let (status, _, stderr) = session.end().await;
    assert_eq!(status.code(), Some(0), "{stderr}");
}

#[tokio::test]
async fn a_command_that_is_not_there_is_named() {
    let policy = file("policy.json", POLICY);
    let policy = policy.to_str().unwrap();
    let output = run(&[
        "stdio",
        "--policy",
        policy,
        "--",
        "no-such-server",
        "--key=k",
    ])
    .await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("`no-such-server`"), "{stderr}");
    assert!(!stderr.contains("--key"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");

    let output = run(&["stdio", "--policy", policy]).await;
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn a_policy_that_does_not_load_ends_with_2_and_starts_nothing() {
    let policy = file("broken.json", r#"{ "version": "1", "defualt": "deny" }"#);
    let policy = policy.to_str().unwrap();
    let output = run(&["stdio", "--policy", policy, "--", "no-such-server"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("`default`"), "{stderr}");
    assert!(!stderr.contains("no-such-server"), "{stderr}");
}
