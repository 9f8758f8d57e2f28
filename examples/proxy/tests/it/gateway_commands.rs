//! Commands that are about a configuration.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    gateway::{Folder, Recording, two},
    support::command,
};

#[tokio::test]
async fn a_grant_is_added_listed_rotated_and_revoked_without_losing_comments() {
    let (first, second) = (Recording::start().await, Recording::start().await);
    let folder = Folder::new(&two(&first, &second));
    let policy = ["--policy", "all.json", "--claim", "team=ops"];
    let token = folder.grant("alice", "one", &policy).await;
    assert!(token.starts_with("mcpp_") && token.len() == 69, "{token}");
    let text = folder.text();
    assert!(
        text.starts_with("# Kept.\n") && text.contains("[servers.two]  # too\n"),
        "{text}"
    );
    assert!(
        text.contains("sha256:") && !text.contains(&token[5..]),
        "{text}"
    );
    for (args, expected) in [
        (
            ["--label", "alice", "--server", "two"],
            "a grant with the label `alice` already",
        ),
        (
            ["--label", "b", "--server", "three"],
            "there is no server `three`",
        ),
        (
            ["--label", "a b", "--server", "two"],
            "`a b` cannot be the label of a grant",
        ),
    ] {
        let output = folder.runs(&[&["grant", "add"], &args[..]].concat()).await;
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(expected), "{stderr}");
        assert_eq!(folder.text(), text);
    }
    let none = folder.runs(&["grant", "revoke", "zoe"]).await;
    assert_eq!(none.status.code(), Some(2));
    let listed = folder.succeeds(&["grant", "list", "--json"]).await;
    let expected = json!([{ "label": "alice", "server": "one", "policy": "all.json", "claims": ["team"],
        "revoked": false, "locked": false }]);
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap(), expected);
    for more in [&["--server", "one"][..], &["--grant", "alice"], &[]] {
        folder.succeeds(&[&["lockdown", "on"], more].concat()).await;
        let listed = folder.succeeds(&["grant", "list"]).await;
        let expected = "alice  one     all.json  team    locked";
        assert!(listed.contains(expected), "{more:?}: {listed}");
        folder.succeeds(&["lockdown", "off"]).await;
    }
    // It reads no lock, so nobody knows what it locks.
    folder.put("gateway.lockdown", "every_thing = true");
    let listed = folder.succeeds(&["grant", "list", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["locked"], true);
    folder.succeeds(&["lockdown", "off"]).await;
    let other = folder.succeeds(&["grant", "rotate", "alice"]).await;
    assert_ne!(other, token);
    folder.succeeds(&["grant", "revoke", "alice"]).await;
    let listed = folder.succeeds(&["grant", "list"]).await;
    assert!(
        listed.contains("alice  one     all.json  team    revoked"),
        "{listed}"
    );
    assert_eq!(
        folder
            .runs(&["grant", "rotate", "alice"])
            .await
            .status
            .code(),
        Some(2)
    );
}

#[tokio::test]
async fn check_says_whether_a_configuration_loads() {
    let folder = Folder::new("[servers.one]\nurl = \"http://a/mcp\"\npolicy = \"readers.json\"\n");
    let config = folder.config();
    let check = async |path: &Path, more: &[&str]| {
        let output = command(&["check"])
            .arg(path)
            .args(more)
            .output()
            .await
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, text) = check(&config, &[]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("1 server and 0 grants, nothing found"),
        "{text}"
    );
    folder.put("gateway.toml", "[servers.one]\nulr = \"http://a/mcp\"\n");
    let (code, text) = check(&config, &[]).await;
    assert_eq!(code, Some(1));
    assert!(
        text.contains("did you mean `url`?") && text.contains("gateway.toml:2:1"),
        "{text}"
    );
    let (code, text) = check(&config, &["--json"]).await;
    assert_eq!(code, Some(1));
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!(json["diagnostics"][0]["line"], 1);
    // `serve` says the same, and ends with 2.
    let output = command(&["serve", "--config"])
        .arg(&config)
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean `url`?"));
}
