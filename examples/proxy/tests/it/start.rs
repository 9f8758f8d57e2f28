//! What the program says when it cannot start, and with which exit code.

use serde_json::Value;

use crate::fake::Upstream;
use crate::support::{ALLOW_ALL, file, run};

const BROKEN: &str = r#"{
  "version": "1",
  "defualt": "deny",
  "default": "deny",
  "tolls": { "a": {} }
}
"#;

async fn serve(more: &[&str]) -> (Option<i32>, String, String) {
    let mut args = vec!["serve"];
    args.extend(more);
    let output = run(&args).await;
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[tokio::test]
async fn a_broken_policy_is_shown_like_a_compiler_error() {
    let path = file("broken.json", BROKEN);
    let path = path.to_str().unwrap();
    let (code, stdout, stderr) =
        serve(&["--policy", path, "--upstream", "http://127.0.0.1:9/mcp"]).await;
    assert_eq!(code, Some(2), "{stderr}");
    assert_eq!(stdout, "");
    for expected in [
        &format!("{path}:3:") as &str,
        "3 |   \"defualt\": \"deny\",",
        &format!("{path}:5:"),
        "5 |   \"tolls\": { \"a\": {} }",
        "^^^",
        "help:",
        "`default`",
        "`tools`",
        "2 errors",
    ] {
        assert!(stderr.contains(expected), "no {expected:?} in\n{stderr}");
    }
    assert!(!stderr.contains("listening"), "{stderr}");
}

#[tokio::test]
async fn a_broken_policy_is_a_json_array_when_asked_for() {
    let path = file("broken.json", BROKEN);
    let path = path.to_str().unwrap();
    let upstream = "http://127.0.0.1:9/mcp";
    let (code, stdout, stderr) = serve(&["--json", "--policy", path, "--upstream", upstream]).await;
    assert_eq!(code, Some(2));
    assert_eq!(stderr, "");
    let found: Value = serde_json::from_str(&stdout).unwrap();
    let lines: Vec<_> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|diagnostic| diagnostic["line"].as_u64().unwrap())
        .collect();
    assert!(lines.contains(&3) && lines.contains(&5), "{found}");
    assert_eq!(found[0]["severity"], "error");
    assert!(found[0]["message"].is_string());
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_ends_with_2() {
    let args = [
        "--policy",
        "/nowhere/p.json",
        "--upstream",
        "http://127.0.0.1:9/mcp",
    ];
    let (code, _, stderr) = serve(&args).await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains("/nowhere/p.json"), "{stderr}");

    let (code, stdout, _) = serve(&[&args[..], &["--json"]].concat()).await;
    assert_eq!(code, Some(2));
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(found[0]["severity"], "error");
}

#[tokio::test]
async fn an_address_that_others_reach_is_refused() {
    let path = file("allow-all.json", ALLOW_ALL);
    let path = path.to_str().unwrap();
    let args = [
        "--policy",
        path,
        "--upstream",
        "http://127.0.0.1:9/mcp",
        "--listen",
        "0.0.0.0:0",
    ];
    let (code, _, stderr) = serve(&args).await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--allow-unauthenticated"), "{stderr}");
    assert!(!stderr.contains("listening"), "{stderr}");
}

#[tokio::test]
async fn credentials_are_refused_where_they_would_leak_and_not_repeated() {
    let path = file("allow-all.json", ALLOW_ALL);
    let path = path.to_str().unwrap();
    let good = "http://127.0.0.1:9/mcp";
    for (upstream, header, expected) in [
        ("http://me:hunter2@127.0.0.1:9/mcp", "x-a: b", "--upstream"),
        ("ftp://hunter2/mcp", "x-a: b", "http://"),
        ("hunter2", "x-a: b", "http://"),
        (good, "hunter2", "--header"),
        (good, "x-a: hunter2\nx-b: c", "x-a"),
        (good, "host: hunter2", "host"),
        (good, "connection: hunter2", "connection"),
    ] {
        let args = ["--policy", path, "--upstream", upstream, "--header", header];
        let (code, _, stderr) = serve(&args).await;
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(expected), "no {expected:?} in {stderr}");
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
}

#[tokio::test]
async fn a_taken_port_is_said() {
    let other = Upstream::bind().await;
    let listen = other.address().to_string();
    let path = file("allow-all.json", ALLOW_ALL);
    let path = path.to_str().unwrap();
    let args = [
        "--policy",
        path,
        "--upstream",
        "http://127.0.0.1:9/mcp",
        "--listen",
        &listen,
    ];
    let (code, _, stderr) = serve(&args).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains(&format!("{listen} is taken")), "{stderr}");
}

#[tokio::test]
async fn options_that_there_are_not_are_unknown() {
    let (code, _, stderr) = serve(&["--confg", "gateway.toml"]).await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains("unexpected argument '--confg'"), "{stderr}");
}
