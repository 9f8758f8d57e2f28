//! The demo: its three commands give what it says they give, and a policy of
//! one's own decides on all of its tools.

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::fake::Upstream;
use crate::support::{ALLOW_ALL, Answer, Proxy, file, run, send};

/// The tools of the server that the fixture stands for.
const TOOLS: [&str; 39] = [
    "add_execution_labels",
    "backfill_executions",
    "change_taskrun_state",
    "create_flow_from_yaml",
    "delete_execution_logs",
    "delete_flow_logs",
    "download_execution_logs",
    "execute_flow",
    "find_flow",
    "follow_execution_logs",
    "force_run_execution",
    "generate_app",
    "generate_dashboard",
    "generate_flow",
    "generate_test",
    "get_execution_logs",
    "get_instance_info",
    "invite_user",
    "list_executions",
    "list_flows_in_namespace",
    "list_flows_with_triggers",
    "list_namespace_dependencies",
    "list_namespaces",
    "manage_announcements",
    "manage_apps",
    "manage_executions",
    "manage_flow",
    "manage_group",
    "manage_invitations",
    "manage_kv_store",
    "manage_tests",
    "namespace_directory_action",
    "namespace_file_action",
    "replay_execution",
    "restart_execution",
    "resume_execution",
    "search_apps",
    "search_flows",
    "search_logs",
];

/// The text that the demo prints, and the body of each curl command in it.
async fn guide(demo: &mut Proxy) -> (String, Vec<String>) {
    let url = format!("http://{}/mcp", demo.address);
    let mut text = String::new();
    let mut bodies = Vec::new();
    loop {
        let line = demo.line().await;
        if let Some(curl) = line.trim().strip_prefix("curl -s ") {
            let (head, body) = curl.split_once(" -d ").unwrap();
            assert_eq!(head, format!("{url} -H 'content-type: application/json'"));
            bodies.push(body.trim_matches('\'').to_owned());
        }
        text += &(line.clone() + "\n");
        if line.contains("ctrl-c") {
            return (text, bodies);
        }
    }
}

/// Where the console of a demo is, and the token for it.
pub(crate) async fn console(demo: &mut Proxy) -> (String, String) {
    let (text, _) = guide(demo).await;
    let (_, said) = text.split_once("The console is at http://").unwrap();
    let (address, said) = said.split_once("/: sign in with ").unwrap();
    let token = said.split_once('\n').unwrap().0;
    (address.to_owned(), token.to_owned())
}

async fn commands(demo: &mut Proxy) -> Vec<String> {
    guide(demo).await.1
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

/// What the fixture says of its tools.
fn fixture() -> Vec<Value> {
    serde_json::from_str(include_str!("../../demo-tools.json")).unwrap()
}

/// The names in the answer to a `tools/list`.
fn names(list: &Value) -> Vec<&str> {
    let tools = list["result"]["tools"].as_array().unwrap();
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect()
}

/// What the demo makes of a policy: the names that it lists, and the answer to
/// the call of each tool. Only `executed` may have been executed.
async fn try_policy(text: &str, executed: &[&str]) -> (Vec<String>, Vec<(String, Value)>) {
    let policy = file("own.json", text);
    let args = [
        "--policy",
        policy.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ];
    let mut demo = Proxy::start(&args, "info").await;
    let commands = commands(&mut demo).await;

    let list = curl(&demo, &commands[0]).await.json();
    let listed = names(&list).into_iter().map(str::to_owned).collect();
    let mut answers = Vec::new();
    for entry in fixture() {
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": entry["tool"]["name"], "arguments": entry["arguments"] },
        });
        let answer = curl(&demo, &message.to_string()).await.json();
        answers.push((entry["tool"]["name"].as_str().unwrap().to_owned(), answer));
    }
    // A tool prints before it answers, so at the end everything is there.
    demo.signal("INT").await;
    for name in executed {
        assert_eq!(demo.line().await, format!("executed: {name}"));
    }
    assert_eq!(demo.next_line().await, None);
    (listed, answers)
}

fn is_executed(answer: &Value) -> bool {
    answer["result"]["isError"] == false
}

#[test]
fn the_fixture_is_whole() {
    let fixture = fixture();
    let listed: Vec<_> = fixture
        .iter()
        .map(|entry| entry["tool"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(listed, TOOLS);
    for entry in &fixture {
        let (tool, arguments) = (&entry["tool"], entry["arguments"].as_object().unwrap());
        let properties = tool["inputSchema"]["properties"].as_object().unwrap();
        for key in arguments.keys() {
            assert!(properties.contains_key(key), "{key} in {tool}");
        }
        for key in tool["inputSchema"]["required"].as_array().unwrap() {
            assert!(arguments.contains_key(key.as_str().unwrap()), "{tool}");
        }
        // They stand between such quotes in the guide.
        assert!(!entry["arguments"].to_string().contains('\''), "{tool}");
    }
}

#[tokio::test]
async fn the_three_commands_do_what_they_say() {
    let mut demo = Proxy::start(&["--listen", "127.0.0.1:0"], "info").await;
    let (guide, commands) = guide(&mut demo).await;
    assert_eq!(commands.len(), 3);
    assert!(guide.contains("A workflow server with 39 tools"), "{guide}");
    assert!(guide.contains("36 of the 39 tools"), "{guide}");
    assert!(!demo.log().contains("warning"), "{}", demo.log());

    let list = curl(&demo, &commands[0]).await;
    assert_eq!(list.status(), 200);
    assert_eq!(list.header("content-type"), Some("application/json"));
    let list = list.json();
    let names = names(&list);
    assert_eq!(names.len(), 36, "{names:?}");
    assert!(names.contains(&"change_taskrun_state"));
    for hidden in ["invite_user", "manage_group", "manage_invitations"] {
        assert!(!names.contains(&hidden));
    }

    let allowed = curl(&demo, &commands[1]).await.json();
    assert_eq!(allowed["id"], 2);
    assert_eq!(allowed["result"]["isError"], false);
    assert_eq!(demo.line().await, "executed: download_execution_logs");

    let denied = curl(&demo, &commands[2]).await;
    assert_eq!(denied.status(), 200);
    let denied = denied.json();
    assert_eq!(denied["id"], 3);
    assert_eq!(denied["result"]["isError"], true);
    let text = denied["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("States are evidence"), "{text}");

    // The next line is of the next call that is allowed, so the denied one
    // was not executed.
    let _ = curl(
        &demo,
        &commands[1].replace("download_execution_logs", "get_execution_logs"),
    )
    .await;
    assert_eq!(demo.line().await, "executed: get_execution_logs");
}

#[tokio::test]
async fn every_dangerous_tool_is_stopped() {
    let mut demo = Proxy::start(&["--listen", "127.0.0.1:0"], "info").await;
    let commands = commands(&mut demo).await;
    for tool in [
        "change_taskrun_state",
        "create_flow_from_yaml",
        "delete_execution_logs",
        "delete_flow_logs",
        "force_run_execution",
        "invite_user",
        "Invite_User",
        "manage_executions",
        "manage_flow",
        "manage_group ",
        "manage_kv_store",
        "namespace_file_action",
        "unknown",
    ] {
        let body = commands[1].replace("download_execution_logs", tool);
        let answer: Value = curl(&demo, &body).await.json();
        let refused = answer["result"]["isError"] == true || answer["error"].is_object();
        assert!(refused, "{tool}: {answer}");
    }
    let _ = curl(&demo, &commands[1]).await;
    assert_eq!(demo.line().await, "executed: download_execution_logs");
    demo.logs(
        r#"refused caller="127.0.0.1" method="tools/call" name="invite_user" rule="(hidden)""#,
    )
    .await;
}

#[tokio::test]
async fn of_all_tools_only_the_one_that_the_policy_names_is_executed() {
    let policy =
        r#"{ "version": "1", "default": "deny", "tools": { "download_execution_logs": {} } }"#;
    let (listed, answers) = try_policy(policy, &["download_execution_logs"]).await;
    assert_eq!(listed, TOOLS);
    assert_eq!(answers.len(), TOOLS.len());
    for (name, answer) in answers {
        assert_eq!(
            is_executed(&answer),
            name == "download_execution_logs",
            "{answer}"
        );
        if !is_executed(&answer) {
            assert_eq!(answer["result"]["isError"], true, "{answer}");
            let text = answer["result"]["content"][0]["text"].as_str().unwrap();
            assert!(text.contains(&format!("{name:?}")), "{text}");
            assert!(text.contains("(default deny)"), "{text}");
        }
    }
}

#[tokio::test]
async fn of_all_tools_only_the_one_that_the_policy_names_is_listed() {
    let policy =
        r#"{ "version": "1", "default": "hide", "tools": { "download_execution_logs": {} } }"#;
    let (listed, answers) = try_policy(policy, &["download_execution_logs"]).await;
    assert_eq!(listed, ["download_execution_logs"]);
    let executed = answers.iter().filter(|(_, answer)| is_executed(answer));
    assert_eq!(executed.count(), 1);
}

#[tokio::test]
async fn every_tool_can_be_executed() {
    let (listed, answers) = try_policy(ALLOW_ALL, &TOOLS).await;
    assert_eq!(listed, TOOLS);
    assert!(answers.iter().all(|(_, answer)| is_executed(answer)));
}

#[tokio::test]
async fn the_guide_is_about_the_policy_at_hand() {
    for (policy, seen, calls) in [
        (ALLOW_ALL, "all 39 tools.", 1),
        (
            r#"{ "version": "1", "default": "deny" }"#,
            "all 39 tools.",
            1,
        ),
        (
            r#"{ "version": "1", "default": "hide", "tools": { "*_logs": {} } }"#,
            "6 of the 39 tools; 33 are hidden.",
            2,
        ),
    ] {
        let path = file("own.json", policy);
        let path = path.to_str().unwrap();
        let args = ["--policy", path, "--listen", "127.0.0.1:0"];
        let mut demo = Proxy::start(&args, "info").await;
        let (guide, commands) = guide(&mut demo).await;
        assert!(guide.contains(path), "{guide}");
        assert!(guide.contains(seen), "{guide}");
        assert_eq!(commands.len(), 1 + calls, "{guide}");
    }
}

#[tokio::test]
async fn what_is_doubtful_in_a_policy_is_shown() {
    let doubtful = r#"{ "version": "1", "default": "allow", "hide": ["invite_user"] }"#;
    let path = file("doubtful.json", doubtful);
    let args = [
        "--policy",
        path.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ];
    let demo = Proxy::start(&args, "info").await;
    assert!(demo.log().contains("warning"), "{}", demo.log());
}

#[tokio::test]
async fn a_policy_that_does_not_load_is_shown() {
    let path = file("broken.json", r#"{ "version": "1", "defualt": "deny" }"#);
    let output = run(&["--policy", path.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("broken.json:1:"), "{text}");
    assert!(text.contains("`default`"), "{text}");
}

#[tokio::test]
async fn options_of_the_demo_are_not_taken_for_those_of_a_subcommand() {
    for args in [
        &[
            "--policy",
            "p.json",
            "serve",
            "--upstream",
            "http://127.0.0.1:9/mcp",
        ] as &[_],
        &["--policy", "p.json", "stdio", "--", "server"],
        &[
            "--listen",
            "127.0.0.1:0",
            "serve",
            "--policy",
            "p.json",
            "--upstream",
            "http://127.0.0.1:9/mcp",
        ],
    ] {
        let output = run(args).await;
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        let expected = format!("`{}` before `{}` is for the demo", args[0], args[2]);
        assert!(text.contains(&expected), "{text}");
    }
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
