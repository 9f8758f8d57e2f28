//! What servers that are started find in their environment.
#![cfg(unix)]

use std::{fs, path::Path};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    gateway,
    support::{ALLOW_ALL, Proxy, command, file, within},
};

#[path = "../../src/environment.rs"]
mod environment;

/// Keeps the environment in a file, and ends.
const SERVER: [&str; 3] = ["sh", "-c", r#"env > "$0.part" && mv "$0.part" "$0""#];

fn initialize() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} })
}

/// A command with every secret, and something else, in its environment.
fn knowing(args: &[&str], folder: &Path) -> Command {
    let mut command = command(args);
    for name in environment::SECRETS {
        let value = match name {
            environment::TOKENS => "alice:0123456789abcdef-secret".to_owned(),
            environment::STATE => format!("sqlite:{}", folder.join("state.db").display()),
            environment::KEY => "ab".repeat(32),
            _ => "a=secret".to_owned(),
        };
        command.env(name, value);
    }
    command.env("OTHER", "is-passed-on");
    command
}

#[tokio::test]
async fn a_server_that_is_started_finds_no_secret_of_the_proxy_in_its_environment() {
    let policy = file("policy.json", ALLOW_ALL);
    let folder = policy.parent().unwrap();
    let policy = policy.to_str().unwrap();
    let starts: [(&str, &[&str]); 5] = [
        ("serve", &["--listen", "127.0.0.1:0", "--policy", policy]),
        ("serve --config", &[]),
        ("stdio", &["--policy", policy]),
        ("scan", &[]),
        ("check", &[policy]),
    ];
    for (start, options) in starts {
        let found = folder.join(start.replace(' ', "_"));
        let server = [&SERVER[..], &[found.to_str().unwrap()]].concat();
        let started = [&[start], options, &["--"], &server].concat();
        match start {
            "serve" => {
                let proxy = Proxy::spawn(&mut knowing(&started, folder)).await;
                proxy.post(&initialize()).await;
            }
            "serve --config" => {
                let config = format!(
                    "listen = \"127.0.0.1:0\"\n[servers.one]\ncommand = {server:?}\npolicy = {policy:?}\n"
                );
                let config = file("gateway.toml", &config);
                let args = ["serve", "--config", config.to_str().unwrap()];
                let proxy = Proxy::spawn(&mut knowing(&args, folder)).await;
                gateway::post(&proxy, "one", "", &initialize()).await;
            }
            _ => {
                let output = knowing(&started, folder).output();
                within("the end of the program", output).await.unwrap();
            }
        }
        let found = fs::read_to_string(&found).unwrap_or_else(|_| panic!("not by {start}"));
        assert!(found.contains("OTHER=is-passed-on\n"), "{start}");
        for name in environment::SECRETS {
            let is_there = found
                .lines()
                .any(|line| line.starts_with(&format!("{name}=")));
            assert!(!is_there, "{name} by {start}");
        }
    }
}
