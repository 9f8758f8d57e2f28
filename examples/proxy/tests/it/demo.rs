//! The demo: its three commands give what it says they give.

use http::Request;
use http_body_util::Full;
use serde_json::Value;

use crate::fake::Upstream;
use crate::support::{Answer, Proxy, run, send};

/// The body of each curl command in the text that the demo prints.
async fn commands(demo: &mut Proxy) -> Vec<String> {
    let url = format!("http://{}/mcp", demo.address);
    let mut bodies = Vec::new();
    loop {
        let line = demo.line().await;
        if let Some(curl) = line.trim().strip_prefix("curl -s ") {
            let (head, body) = curl.split_once(" -d ").unwrap();
            assert_eq!(head, format!("{url} -H 'content-type: application/json'"));
            bodies.push(body.trim_matches('\'').to_owned());
        }
        if line.contains("ctrl-c") {
            return bodies;
        }
    }
}

/// Sends what curl sends: no session, no protocol version, any type accepted.
async fn curl(demo: &Proxy, body: &str) -> Answer {
    let request = Request::post(format!("http://{}/mcp", demo.address))
        .header("user-agent", "curl/8.5.0")
        .header("accept", "*/*")
        .header("content-type", "application/json")
        .body(Full::from(body.to_owned()))
        .unwrap();
    send(request).await
}

#[tokio::test]
async fn the_three_commands_do_what_they_say() {
    let mut demo = Proxy::start(&["--listen", "127.0.0.1:0"], "info").await;
    let commands = commands(&mut demo).await;
    assert_eq!(commands.len(), 3);

    let list = curl(&demo, &commands[0]).await;
    assert_eq!(list.status(), 200);
    assert_eq!(list.header("content-type"), Some("application/json"));
    let list = list.json();
    let names: Vec<_> = list["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 11, "{names:?}");
    assert!(names.contains(&"refund_payment"));
    assert!(!names.contains(&"run_shell"));
    assert!(!names.contains(&"delete_execution_logs"));

    let allowed = curl(&demo, &commands[1]).await.json();
    assert_eq!(allowed["id"], 2);
    assert_eq!(allowed["result"]["isError"], false);
    assert_eq!(demo.line().await, "executed: list_executions");

    let denied = curl(&demo, &commands[2]).await;
    assert_eq!(denied.status(), 200);
    let denied = denied.json();
    assert_eq!(denied["id"], 3);
    assert_eq!(denied["result"]["isError"], true);
    let text = denied["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("Refunds are made by a person"), "{text}");

    // The next line is of the next call that is allowed, so the denied one
    // was not executed.
    let _ = curl(
        &demo,
        &commands[1].replace("list_executions", "get_execution"),
    )
    .await;
    assert_eq!(demo.line().await, "executed: get_execution");
}

#[tokio::test]
async fn every_dangerous_tool_is_stopped() {
    let mut demo = Proxy::start(&["--listen", "127.0.0.1:0"], "info").await;
    let commands = commands(&mut demo).await;
    for tool in [
        "manage_flow",
        "delete_flow",
        "delete_execution_logs",
        "send_email",
        "run_shell",
        "Run_Shell",
        "refund_payment ",
        "unknown",
    ] {
        let body = commands[1].replace("list_executions", tool);
        let answer: Value = curl(&demo, &body).await.json();
        let refused = answer["result"]["isError"] == true || answer["error"].is_object();
        assert!(refused, "{tool}: {answer}");
    }
    let _ = curl(&demo, &commands[1]).await;
    assert_eq!(demo.line().await, "executed: list_executions");
    demo.logs(r#"refused caller="127.0.0.1" method="tools/call" name="run_shell" rule="(hidden)""#)
        .await;
}

#[tokio::test]
async fn the_demo_says_that_its_port_is_taken() {
    let other = Upstream::bind().await;
    let listen = other.address().to_string();
    let output = run(&["--listen", &listen]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&format!("{listen} is taken")), "{text}");
    assert!(text.contains("--listen 127.0.0.1:0"), "{text}");
}

#[tokio::test]
async fn the_demo_is_for_this_machine_only() {
    let output = run(&["--listen", "0.0.0.0:0"]).await;
    assert_eq!(output.status.code(), Some(2));
}
