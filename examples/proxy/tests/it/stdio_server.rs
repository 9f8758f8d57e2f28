//! An MCP server on stdio that does what it is called for.
//!
//! It is this very test binary, started once more, so that the tests need no
//! program but the proxy. What the test harness prints before is not MCP, as
//! with many a real server.

use std::{
    io::{self, BufRead, Write},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

/// Set for a process that has to be the server.
pub(crate) const ROLE: &str = "MCP_POLICY_TEST_STDIO_SERVER";

/// The arguments with which this binary runs nothing but the server.
pub(crate) const ARGUMENTS: [&str; 3] = ["--exact", "stdio_server::serve", "--nocapture"];

#[test]
fn serve() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let mut seen = Vec::new();
    let mut unanswered = Vec::new();
    let mut lingers = false;
    for line in io::stdin().lock().split(b'\n') {
        let line = String::from_utf8(line.unwrap()).unwrap();
        seen.push(line.clone());
        let message: Value = serde_json::from_str(&line).unwrap();
        let argument = &message["params"]["arguments"]["a"];
        let text = match message["params"]["name"].as_str() {
            _ if message["method"] == "tools/list" => {
                let tools = ["seen", "wipe", "secret"].map(tool);
                answer(&message, json!({ "tools": tools }));
                continue;
            }
            _ if message["method"] == "initialize" => {
                eprintln!("greeted");
                answer(
                    &message,
                    json!({ "capabilities": { "tools": { "listChanged": true } } }),
                );
                continue;
            }
            None => continue,
            // Until `release` is called.
            Some("wait") => {
                unanswered.push(message);
                continue;
            }
            Some("release") => {
                for message in unanswered.drain(..) {
                    answer(&message, json!({ "content": [] }));
                }
                "released".to_owned()
            }
            Some("process") => std::process::id().to_string(),
            Some("after") => {
                while !std::path::Path::new(argument.as_str().unwrap()).exists() {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                "gone on".to_owned()
            }
            Some("progress") => {
                let token = &message["params"]["_meta"]["progressToken"];
                let params = json!({ "progressToken": token, "progress": 1 });
                notify("notifications/progress", params);
                "done".to_owned()
            }
            Some("flood") => {
                let text = "x".repeat(1 << 10);
                for index in 0..argument.as_u64().unwrap() {
                    eprintln!("flood {index}");
                    notify(
                        "notifications/message",
                        json!({ "data": text, "index": index }),
                    );
                }
                "flooded".to_owned()
            }
            Some("seen") => json!(seen).to_string(),
            Some("print") => {
                say(argument.as_str().unwrap());
                "printed".to_owned()
            }
            Some("long") => {
                say(&"x".repeat(argument.as_u64().unwrap() as usize));
                "printed".to_owned()
            }
            Some("exit") => std::process::exit(argument.as_i64().unwrap() as i32),
            Some("linger") => {
                lingers = true;
                // A helper that outlives everybody who does not kill it.
                let helper = Command::new("sleep")
                    .arg("1000")
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .spawn();
                helper.unwrap().id().to_string()
            }
            Some(_) => argument.to_string(),
        };
        answer(
            &message,
            json!({ "content": [{ "type": "text", "text": text }] }),
        );
    }
    eprintln!("stdin is closed");
    if lingers {
        loop {
            std::thread::park();
        }
    }
    // Before the harness has a say.
    std::process::exit(0);
}

fn tool(name: &str) -> Value {
    json!({ "name": name, "inputSchema": { "type": "object" } })
}

fn answer(message: &Value, result: Value) {
    say(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string());
}

fn notify(method: &str, params: Value) {
    say(&json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string());
}

/// Not `println`, which the harness takes for its own.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").unwrap();
    stdout.flush().unwrap();
}
