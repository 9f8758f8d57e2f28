//! `--audit sqlite:PATH`: what outlives a proxy, and the commands that read what was
//! recorded, in a file of either kind.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use mcp_policy::{AuditFilter, AuditRow, SqliteAuditLog};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::ChildStdout,
};

use crate::audit::{POLICY, SECRET, answered_until, naming_server, recording, server};
use crate::support::{call, command, file, run, within};
#[cfg(target_os = "linux")]
use {
    crate::support::{ALLOW_ALL, Proxy},
    std::{collections::HashSet, process::Stdio},
};

/// In memory where there is such a place: a disk that is busy refuses calls.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn sqlite(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

fn all(path: &Path) -> Vec<AuditRow> {
    let log = SqliteAuditLog::open(path).unwrap();
    log.after(0, &AuditFilter::default(), usize::MAX).unwrap()
}

/// The name of what was called, if anything was.
fn name(row: &AuditRow) -> Option<String> {
    let decision: Value = serde_json::from_str(row.decision()).unwrap();
    decision["name"].as_str().map(str::to_owned)
}

/// How often it was recorded what was decided about each, and what came of it.
pub(crate) fn ended(path: &Path) -> HashMap<String, usize> {
    let mut times = HashMap::new();
    let rows = all(path).into_iter().filter(|row| row.outcome().is_some());
    for name in rows.filter_map(|row| name(&row)) {
        *times.entry(name).or_default() += 1;
    }
    times
}

/// Nothing ran so often whose decision is not recorded as often.
fn are_decided(called: &HashMap<String, usize>, path: &Path) {
    let mut decided = HashMap::<String, usize>::new();
    for name in all(path).iter().filter_map(name) {
        *decided.entry(name).or_default() += 1;
    }
    for (name, times) in called {
        assert!(
            decided.get(name).is_some_and(|recorded| recorded >= times),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_before_a_signal_is_in_the_file() {
    for signal in ["KILL", "TERM"] {
        let folder = folder();
        let path = folder.path().join("audit.db");
        let (upstream, called) = naming_server().await;
        let mut proxy = recording(upstream, POLICY, &sqlite(&path), "warn").await;
        let answered = answered_until(&mut proxy, signal).await;
        are_decided(&called.lock().unwrap(), &path);
        let recorded = ended(&path).into_keys().collect();
        let lost: Vec<_> = answered.names.difference(&recorded).collect();
        assert!(lost.len() <= answered.may_be_lost(), "{signal}: {lost:?}");
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let secret = SECRET.as_bytes();
            assert!(!bytes.windows(secret.len()).any(|part| part == secret));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_proxies_write_one_file() {
    let folder = folder();
    let path = folder.path().join("audit.db");
    let (upstream, called) = naming_server().await;
    let mut one = recording(upstream, POLICY, &sqlite(&path), "warn").await;
    let mut other = recording(upstream, POLICY, &sqlite(&path), "warn").await;
    let (one, other) = tokio::join!(
        answered_until(&mut one, "KILL"),
        answered_until(&mut other, "KILL")
    );
    are_decided(&called.lock().unwrap(), &path);
    let times = ended(&path);
    let may_be_lost = one.may_be_lost() + other.may_be_lost();
    let (one, other) = (one.names, other.names);
    let lost = one.union(&other).filter(|name| {
        let expected = usize::from(one.contains(*name)) + usize::from(other.contains(*name));
        times.get(*name).is_none_or(|times| *times < expected)
    });
    let lost: Vec<_> = lost.collect();
    assert!(lost.len() <= may_be_lost, "{lost:?}");
}

/// A disk that takes no more is played by a limit on the size of files.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_runs_while_there_is_no_room_and_then_it_goes_on() {
    let folder = folder();
    let path = folder.path().join("audit.db");
    let (upstream, asked) = server().await;
    let policy = file("policy.json", ALLOW_ALL);
    let upstream = format!("http://{upstream}/mcp");
    let audit = sqlite(&path);
    let args = ["serve", "--listen", "127.0.0.1:0", "--upstream", &upstream];
    let more = ["--audit", &audit, "--policy", policy.to_str().unwrap()];
    let bound = "trap '' XFSZ; ulimit -S -f 300; exec \"$0\" \"$@\"";
    let mut command = tokio::process::Command::new("sh");
    command
        .args(["-c", bound, env!("CARGO_BIN_EXE_mcp-policy-proxy")])
        .args([&args[..], &more[..]].concat())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let proxy = Proxy::spawn(&mut command).await;
    let mut ran = HashSet::new();
    let mut refused = 0;
    for number in 0.. {
        let name = format!("t{number}");
        let answer = proxy.post(&call(number, &name)).await.json();
        if answer["error"].is_null() {
            ran.insert(name);
        } else {
            assert_eq!(answer["error"]["data"]["rule"], "(audit)");
            refused += 1;
        }
        if refused == 3 {
            break;
        }
    }
    assert!(!ran.is_empty());
    proxy.logs("cannot write audit records").await;
    let unbound = tokio::process::Command::new("prlimit")
        .args(["--pid", &proxy.id().to_string(), "--fsize=unlimited:"])
        .status();
    assert!(unbound.await.unwrap().success());
    let answer = proxy.post(&call(1, "later")).await.json();
    assert!(answer["error"].is_null(), "{answer}");
    ran.insert("later".to_owned());
    assert_eq!(
        asked.load(std::sync::atomic::Ordering::Relaxed) as usize,
        ran.len()
    );
    proxy.logs("can be written again").await;
    // What was done is told, also if it cannot be recorded that it was.
    let decided = all(&path).iter().filter_map(name).collect();
    assert_eq!(ran.difference(&decided).count(), 0);
}

/// One file of each kind, after the same messages.
async fn both_kinds(folder: &Path) -> [String; 2] {
    let lines = folder.join("audit.jsonl").display().to_string();
    let places = [lines, sqlite(&folder.join("audit.db"))];
    let (upstream, _) = server().await;
    for place in &places {
        let mut proxy = recording(upstream, POLICY, place, "warn").await;
        for message in [
            call(1, "allowed-a"),
            call(2, "denied-a"),
            call(3, "hidden-a"),
            call(4, "odd\u{202e}\n"),
            json!({ "jsonrpc": "2.0", "id": 5, "method": "ping" }),
            call(6, "allowed-b"),
        ] {
            proxy.post(&message).await;
        }
        proxy.signal("TERM").await;
        proxy.end().await;
    }
    places
}

/// What a command prints that can be done.
async fn printed(args: &[&str]) -> String {
    let output = run(args).await;
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), &*error), (Some(0), ""), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Verdict, outcome and what comes after the caller and the server.
fn without_times(log: &str) -> Vec<String> {
    log.lines()
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let [_, verdict, outcome, _, "ms", "127.0.0.1", _, rest @ ..] = &words[..] else {
                panic!("{line}");
            };
            format!("{verdict} {outcome} {}", rest.join(" "))
        })
        .collect()
}

#[tokio::test]
async fn the_log_tells_of_both_kinds_of_file_the_same() {
    const ALL: [&str; 6] = [
        "allowed answered allowed-a /tools/allowed-*",
        "denied refused denied-a /tools/denied-*/action",
        "hidden refused hidden-a (hidden)",
        "denied refused odd\\u{202e}\\u{a} (default deny)",
        "allowed answered ping (protocol)",
        "allowed answered allowed-b /tools/allowed-*",
    ];
    let folder = folder();
    for place in both_kinds(folder.path()).await {
        let expected: [(&[&str], &[usize]); 13] = [
            (&[], &[0, 1, 2, 3, 4, 5]),
            (&["--limit", "2"], &[4, 5]),
            (&["--limit", "0"], &[]),
            (&["--name", "allowed-a"], &[0]),
            (&["--tool", "odd\\u{202e}\\u{a}"], &[3]),
            (&["--verdict", "denied"], &[1, 3]),
            (&["--rule", "/tools/allowed-*"], &[0, 5]),
            (
                &["--rule", "/tools/denied-*", "--caller", "127.0.0.1"],
                &[1],
            ),
            (&["--rule", "/tools/denied-*", "--caller", "alice"], &[]),
            (&["--server", "other"], &[]),
            (&["--since", "1h", "--limit", "1"], &[5]),
            (&["--since", "1h", "--until", "1h"], &[]),
            (&["--decision", "abc"], &[]),
        ];
        for (filter, expected) in expected {
            let log = printed(&[&["log", "--audit", &place], filter].concat()).await;
            let expected: Vec<_> = expected.iter().map(|row| ALL[*row]).collect();
            assert_eq!(without_times(&log), expected, "{place} {filter:?}");
        }
        let records = printed(&["log", "--json", "--audit", &place, "--name", "denied-a"]).await;
        let records: Vec<Value> = records
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(records.len(), 2);
        assert_eq!(records[0]["event"], "decision");
        assert_eq!(records[1]["event"], "outcome");
        let id = records[0]["decision"].as_str().unwrap();
        assert_eq!(records[1]["decision"], id);
        let one = printed(&["log", "--audit", &place, "--decision", id]).await;
        assert_eq!(without_times(&one), [ALL[1]]);
    }
}

#[tokio::test]
async fn the_log_follows_a_running_proxy() {
    let folder = folder();
    let (upstream, _) = server().await;
    let lines = folder.path().join("audit.jsonl").display().to_string();
    for place in [lines, sqlite(&folder.path().join("audit.db"))] {
        let proxy = recording(upstream, POLICY, &place, "warn").await;
        for json in [false, true] {
            proxy.post(&call(1, "allowed-before")).await;
            let mut args = vec!["log", "--audit", &place, "--follow", "--limit", "1"];
            args.extend(["--verdict", "allowed"]);
            args.extend(json.then_some("--json"));
            let mut log = command(&args).spawn().unwrap();
            let mut told = BufReader::new(log.stdout.take().unwrap()).lines();
            tells(&mut told, "allowed-before", json).await;
            proxy.post(&call(2, "denied-new")).await;
            proxy.post(&call(3, "allowed-new")).await;
            tells(&mut told, "allowed-new", json).await;
            // Nobody reads any further, which it learns when it has something to tell.
            drop(told);
            proxy.post(&call(4, "allowed-last")).await;
            let ended = within("the end of the log", log.wait()).await.unwrap();
            assert_eq!(ended.code(), Some(0));
        }
    }
}

/// The next that it tells is of this call, which has ended.
async fn tells(told: &mut Lines<BufReader<ChildStdout>>, name: &str, json: bool) {
    let mut next = async || {
        let line = within("a line of the log", told.next_line()).await;
        line.unwrap().unwrap()
    };
    let line = next().await;
    assert!(line.contains(name), "{line}");
    match json {
        true => assert!(next().await.contains(r#""ending":"answered""#)),
        false => assert!(line.contains("answered"), "{line}"),
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_made() {
    let folder = folder();
    let path = folder.path().join("audit.db");
    let policy = file("policy.json", POLICY);
    let policy = policy.to_str().unwrap();
    for place in [path.display().to_string(), sqlite(&path)] {
        for args in [
            &["log", "--audit", &place] as &[&str],
            &["replay", policy, "--audit", &place],
            &["diff", policy, policy, "--audit", &place],
        ] {
            let output = run(args).await;
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{error}");
            assert!(error.contains("cannot read"), "{error}");
        }
    }
    assert!(!path.exists());
}

#[tokio::test]
async fn what_cannot_be_kept_for_so_long_is_said() {
    let folder = folder();
    let policy = file("policy.json", POLICY);
    let lines = folder.path().join("audit.jsonl").display().to_string();
    let nowhere = sqlite(&folder.path().join("no/audit.db"));
    for (place, keep, code, expected) in [
        (&lines, "7", 2, "--audit-keep is for"),
        (&lines, "0", 2, "0 is not in"),
        (&nowhere, "7", 1, "cannot write the audit file"),
    ] {
        let policy = policy.to_str().unwrap();
        let args = [
            "serve",
            "--upstream",
            "http://127.0.0.1:9/mcp",
            "--policy",
            policy,
        ];
        let more = ["--audit", place, "--audit-keep", keep];
        let output = run(&[&args[..], &more[..]].concat()).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_replay_of_both_kinds_of_file_says_the_same() {
    const NEW: &str = r#"{ "version": "1", "default": "deny", "hide": ["denied-*"], "tools": {
        "allowed-a": { "limits": [ { "counter": "calls", "window": 60, "max": 1 } ] } } }"#;
    const EXPECTED: &str = "changed: tool `allowed-b`\n  old: allow by /tools/allowed-*\n  \
                            new: deny by (default deny)\n\
                            changed: tool `denied-a`\n  old: deny by /tools/denied-*/action\n  \
                            new: hide by (hidden)\n\
                            changed: tool `hidden-a`\n  old: hide by (hidden)\n  \
                            new: deny by (default deny)\n\
                            needs arguments: tool `odd\\u{202e}\\u{a}`\n  \
                            old: deny by (default deny)\n  new: deny by (default deny)\n\
                            5 calls: 3 changed, 1 need arguments, 1 unchanged\n\
                            not compared: 1 messages that no rule of a policy decides by name\n\
                            note: limits are not replayed: they may refuse some of these calls\n";
    let folder = folder();
    let [new, same] = [NEW, POLICY].map(|policy| file("policy.json", policy));
    for place in both_kinds(folder.path()).await {
        let output = run(&["replay", new.to_str().unwrap(), "--audit", &place]).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert_eq!(text, EXPECTED);
        // By the policy that has decided, nothing changes, whatever the arguments were.
        let same = [
            "replay",
            same.to_str().unwrap(),
            "--json",
            "--audit",
            &place,
        ];
        let said: Value = serde_json::from_str(&printed(&same).await).unwrap();
        let counts = json!({ "changed": 0, "needs_arguments": 0, "unchanged": 5 });
        assert_eq!((&said["counts"], &said["ok"]), (&counts, &json!(true)));
        let both = [same[1], new.to_str().unwrap()];
        let output = run(&["diff", both[0], both[1], "--audit", &place]).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("5 calls: 3 changed"), "{text}");
    }
}

#[tokio::test]
async fn a_replay_says_what_it_cannot_know() {
    const NEW: &str = r#"{ "version": "1", "default": "deny", "tools": {
        "refund": { "require": [ { "conditions": [
            { "path": "args.amount", "op": "lte", "value": 50 } ] } ] },
        "wipe": { "action": "require_approval" },
        "send": {}, "sent": {} } }"#;
    let row = |name: &str, verdict: &str, rule: &str, more: &str| {
        format!(
            r#"{{"event":"decision","method":"tools/call","name":"{name}","verdict":"{verdict}","rule":"{rule}"{more}}}"#
        )
    };
    let log = [
        row("refund", "allowed", "/tools/refund", ""),
        row("refund", "denied", "/tools/refund/require/0", ""),
        row(
            "wipe",
            "allowed",
            "/tools/wipe",
            r#","approval":"x","decided_by":"bob""#,
        ),
        row(
            "wipe",
            "waiting",
            "/tools/wipe/require_approval",
            r#","approval":"x""#,
        ),
        row("wipe", "allowed", "/tools/wipe", ""),
        row("send", "limited", "/tools/send/limits/rate", ""),
        row("sent", "unavailable", "(store)", ""),
    ];
    let log = file("audit.jsonl", &log.join("\n"));
    let new = file("new.json", NEW);
    let paths: [PathBuf; 2] = [new, log];
    let [new, log] = [&paths[0], &paths[1]].map(|path| path.to_str().unwrap());
    let output = run(&["replay", new, "--audit", log]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: BTreeSet<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    let expected = [
        "changed: tool `wipe`",
        "needs arguments: tool `refund`",
        "5 calls: 1 changed, 2 need arguments, 2 unchanged",
        "not compared: 1 messages that no rule of a policy decides by name",
        "not compared: 1 calls that a limit refused; limits are not replayed",
    ];
    assert_eq!(lines, BTreeSet::from(expected), "{text}");
    assert_eq!(output.status.code(), Some(1));
}

/// A policy that judges by risk has to be told what the server says of its tools.
#[tokio::test]
async fn a_replay_of_rules_by_risk_asks_for_the_tools() {
    const NEW: &str = r#"{ "version": "1", "default": "deny", "tools": { "send": {} },
        "risk": { "read": {} } }"#;
    let row = |name: &str| {
        format!(
            r#"{{"event":"decision","method":"tools/call","name":"{name}","verdict":"allowed","rule":"/tools/{name}"}}"#
        )
    };
    let log = file("audit.jsonl", &[row("list_files"), row("send")].join("\n"));
    let new = file("new.json", NEW);
    let tools = r#"[ { "name": "list_files", "description": "List the files." } ]"#;
    let tools = file("tools.json", &format!(r#"{{ "tools": {tools} }}"#));
    let [new, log, tools] = [&new, &log, &tools].map(|path| path.to_str().unwrap());
    let replayed = async |more: &[&str]| {
        let args = [&["replay", new, "--audit", log], more].concat();
        String::from_utf8(run(&args).await.stdout).unwrap()
    };
    let text = replayed(&[]).await;
    assert!(
        text.contains("needs arguments: tool `list_files`"),
        "{text}"
    );
    assert!(
        text.contains("2 calls: 0 changed, 1 need arguments, 1 unchanged"),
        "{text}"
    );
    let text = replayed(&["--tools", tools]).await;
    assert!(
        text.contains("2 calls: 0 changed, 0 need arguments, 2 unchanged"),
        "{text}"
    );
}
