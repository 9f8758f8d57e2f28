//! `check`, `explain`, `test` and `diff`: what they print, and how they end.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{self, Ended, file};

/// May be in nothing that a command prints.
const SECRET: &str = "hunter2";

const POLICY: &str = r#"{
  "version": "1",
  "default": "deny",
  "hide": ["wipe"],
  "tools": {
    "read_*": {},
    "delete": { "action": "deny", "reason": "No." },
    "refund": {
      "require": [ { "conditions": [ { "path": "args.amount", "op": "lte", "value": 500 } ] } ]
    }
  },
  "prompts": { "greet": {} },
  "resources": { "file:///notes/*": {} }
}"#;

/// One tool that always has to be approved, and one that sometimes has to.
const ASKING: &str = r#"{
  "version": "1",
  "default": "deny",
  "tools": {
    "refund": { "require_approval": {
      "conditions": [ { "path": "args.amount", "op": "gt", "value": 500 } ], "reason": "Large."
    } },
    "wipe": { "action": "require_approval" }
  }
}"#;

async fn run(args: &[&str]) -> Ended {
    Ended::of(support::run(args).await).without(SECRET)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn policy() -> PathBuf {
    file("policy.json", POLICY)
}

mod check {
    use super::*;

    fn tools() -> Value {
        json!({ "tools": [
            { "name": "read_mail", "inputSchema": { "type": "object" } },
            { "name": "refund", "inputSchema": { "type": "object", "properties": {
                "amount": { "type": "number" } } } },
            { "name": "delete" },
            { "name": "wipe" },
            { "name": "other\u{202e}" },
            { "title": "without a name" },
        ] })
    }

    #[tokio::test]
    async fn a_policy_that_is_fine() {
        let policy = policy();
        let ended = run(&["check", text(&policy)]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(
            ended.stdout,
            format!("{}: nothing found\n", policy.display())
        );
        assert_eq!(ended.stderr, "");
        let ended = run(&["check", text(&policy), "--json", "--strict"]).await;
        assert_eq!(ended.code, Some(0));
        assert_eq!(ended.json(), json!({ "ok": true, "diagnostics": [] }));
    }

    #[tokio::test]
    async fn what_the_policy_says_of_every_tool() {
        let policy = policy();
        let answers = [
            tools(),
            json!({ "jsonrpc": "2.0", "id": 1, "result": tools() }),
        ];
        for answer in answers {
            let tools = file("tools.json", &answer.to_string());
            let ended = run(&["check", text(&policy), "--tools", text(&tools), "--strict"]).await;
            assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
            let expected = format!(
                "TOOL           VERDICT     RULE\n\
                 read_mail      allow       /tools/read_*\n\
                 refund         conditions  /tools/refund\n\
                 delete         deny        /tools/delete/action\n\
                 wipe           hide        (hidden)\n\
                 other\\u{{202e}}  deny        (default deny)\n\
                 and 1 entry without a name, which no client gets to see\n\n\
                 {}: nothing found\n",
                policy.display()
            );
            assert_eq!(ended.stdout, expected);
        }
    }

    #[tokio::test]
    async fn tools_that_somebody_has_to_approve() {
        let policy = file("policy.json", ASKING);
        let tools = json!({ "tools": [{ "name": "refund" }, { "name": "wipe" }] });
        let tools = file("tools.json", &tools.to_string());
        let ended = run(&["check", text(&policy), "--tools", text(&tools)]).await;
        let expected = "TOOL    VERDICT     RULE\n\
                        refund  conditions  /tools/refund\n\
                        wipe    ask         /tools/wipe/require_approval\n";
        assert!(ended.stdout.starts_with(expected), "{}", ended.stdout);
    }

    #[tokio::test]
    async fn the_same_in_json() {
        let tools = file("tools.json", &tools().to_string());
        let ended = run(&["check", text(&policy()), "--tools", text(&tools), "--json"]).await;
        let expected = json!({
            "ok": true,
            "diagnostics": [],
            "nameless": 1,
            "tools": [
                { "name": "read_mail", "outcome": "allow", "rule": "/tools/read_*" },
                { "name": "refund", "outcome": "conditions", "rule": "/tools/refund" },
                { "name": "delete", "outcome": "deny", "rule": "/tools/delete/action" },
                { "name": "wipe", "outcome": "hide", "rule": "(hidden)" },
                { "name": "other\u{202e}", "outcome": "deny", "rule": "(default deny)" },
            ],
        });
        assert_eq!(ended.json(), expected);
    }

    #[tokio::test]
    async fn what_does_not_fit_the_tools_is_a_warning() {
        let policy = policy();
        let tools = json!({ "tools": [
            { "name": "read_mail" },
            { "name": "refnud" },
            { "name": "refund", "inputSchema": { "properties": { "amuont": { "type": "string" } } } },
        ] });
        let tools = file("tools.json", &tools.to_string());
        let args = ["check", text(&policy), "--tools", text(&tools)];
        let ended = run(&args).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        for expected in [
            "warning: the server offers no tool `wipe`",
            &format!("{}:4:12", policy.display()),
            "warning: the server offers no tool `delete`",
            "warning: there is no `args.amount` in the `inputSchema` of `refund`",
            "help: did you mean `amuont`?",
            "3 warnings\n",
        ] {
            assert!(
                ended.stdout.contains(expected),
                "no {expected:?} in\n{}",
                ended.stdout
            );
        }
        let ended = run(&[&args[..], &["--strict", "--json"]].concat()).await;
        assert_eq!(ended.code, Some(2));
        let found = ended.json();
        assert_eq!(found["ok"], false);
        assert_eq!(found["diagnostics"][0]["pointer"], "/hide/0");
        assert_eq!(found["diagnostics"][0]["severity"], "warning");
        assert_eq!(found["diagnostics"].as_array().unwrap().len(), 3);
        // What is wrong with the command line ends with 2 as well, and is told apart by stdout.
        let wrong = run(&[&args[..], &["--strict", "--jsno"]].concat()).await;
        assert_eq!((wrong.code, &*wrong.stdout), (Some(2), ""));
    }

    #[tokio::test]
    async fn a_policy_that_is_not_there_can_be_written() {
        let nowhere = policy().with_file_name("nowhere.json");
        for more in [&[][..], &["--json"]] {
            let ended = run(&[&["check", text(&nowhere)], more].concat()).await;
            assert_eq!(ended.code, Some(1));
            assert!(ended.stdout.contains("`scan --write`"), "{}", ended.stdout);
        }
    }

    #[tokio::test]
    async fn errors_end_with_1_and_are_all_there() {
        let broken = file(
            "broken.json",
            "{ \"version\": \"2\",\n \"defualt\": \"deny\" }",
        );
        let ended = run(&["check", text(&broken)]).await;
        assert_eq!(ended.code, Some(1));
        for expected in ["unknown version", "`defualt`", ":2:2", "2 errors"] {
            assert!(
                ended.stdout.contains(expected),
                "no {expected:?} in\n{}",
                ended.stdout
            );
        }
        let ended = run(&["check", text(&broken), "--json"]).await;
        assert_eq!(ended.code, Some(1));
        assert_eq!(ended.json()["ok"], false);
        assert_eq!(ended.json()["diagnostics"].as_array().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_file_that_is_no_policy() {
        let folder = policy();
        let folder = folder.parent().unwrap();
        let junk = folder.join("junk.json");
        std::fs::write(&junk, [0xff, 0x00, 0x9f]).unwrap();
        let large = folder.join("large.json");
        std::fs::write(&large, " ".repeat((10 << 20) + 1)).unwrap();
        let nowhere = folder.join("nowhere.json");
        for path in [folder, &junk, &large, &nowhere] {
            let ended = run(&["check", text(path)]).await;
            assert_eq!(ended.code, Some(1), "{}", path.display());
            assert!(ended.stdout.starts_with("error"), "{}", ended.stdout);
            let ended = run(&["check", text(path), "--json"]).await;
            assert_eq!(ended.code, Some(1));
            assert_eq!(ended.json()["diagnostics"][0]["severity"], "error");
        }
    }

    #[tokio::test]
    async fn a_file_without_tools() {
        let policy = policy();
        let folder = policy.parent().unwrap();
        let large = folder.join("large.json");
        std::fs::write(&large, " ".repeat((32 << 20) + 1)).unwrap();
        let junk = folder.join("junk.json");
        std::fs::write(&junk, [b'"', 0xff]).unwrap();
        for (path, expected) in [
            (folder.to_owned(), "cannot read"),
            (folder.join("nowhere.json"), "cannot read"),
            (large, "is larger than 32 MiB"),
            (junk, "byte 1 is not UTF-8"),
            (file("t.json", "{"), "is not JSON"),
            (file("t.json", "[]"), "there are no tools in"),
            (file("t.json", r#"{"tools":{}}"#), "there are no tools in"),
        ] {
            let ended = run(&["check", text(&policy), "--tools", text(&path)]).await;
            assert_eq!(ended.code, Some(1), "{expected}");
            assert!(ended.stderr.contains(expected), "{}", ended.stderr);
        }
    }

    #[tokio::test]
    async fn one_source_of_tools_at_most() {
        let policy = policy();
        let tools = file("tools.json", &tools().to_string());
        let ended = run(&[
            "check",
            text(&policy),
            "--tools",
            text(&tools),
            "--upstream",
            "http://127.0.0.1:9/",
        ])
        .await;
        assert_eq!(ended.code, Some(2));
        let ended = run(&["check", text(&policy), "--header", "a: hunter2"]).await;
        assert_eq!(ended.code, Some(2));
    }
}

mod explain {
    use super::*;

    #[tokio::test]
    async fn every_rule_that_was_looked_at() {
        let call = r#"{"name":"refund","arguments":{"amount":501,"note":"hunter2"}}"#;
        let policy = policy();
        let ended = run(&[
            "explain",
            text(&policy),
            "--call",
            call,
            "--caller",
            "alice",
        ])
        .await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let expected = "tool `refund`\n  /tools/refund: names it exactly\n  \
                        /tools/refund/require/args.amount-lte: does not hold, so it refuses\n    \
                        args.amount lte 500: false\n\
                        denied by /tools/refund/require/args.amount-lte: \
                        The policy does not allow it like this.\n";
        assert_eq!(ended.stdout, expected);
        let ended = run(&["explain", text(&policy), "--json", "--call", call]).await;
        assert_eq!(ended.code, Some(0));
        let explained = ended.json();
        assert_eq!(explained["decision"]["outcome"], "deny");
        assert_eq!(explained["steps"][1]["conditions"][0]["truth"], "false");
    }

    #[tokio::test]
    async fn prompts_and_resources_and_methods() {
        let policy = policy();
        for (call, expected) in [
            (
                r#"{"prompt":"greet","arguments":null}"#,
                "allowed by /prompts/greet",
            ),
            (
                r#"{"uri":"file:///notes/a"}"#,
                "allowed by /resources/file:~1~1~1notes~1*",
            ),
            (
                r#"{"uri":"file:///etc/passwd"}"#,
                "denied by (default deny)",
            ),
            (r#"{"method":"skills/list"}"#, "denied by (default deny)"),
        ] {
            let ended = run(&["explain", text(&policy), "--call", call]).await;
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            assert!(ended.stdout.contains(expected), "{}", ended.stdout);
        }
    }

    #[tokio::test]
    async fn a_call_that_cannot_be_read_is_not_repeated() {
        let policy = policy();
        for (call, expected) in [
            ("hunter2", "not JSON"),
            (r#""hunter2""#, "found a string, expected an object"),
            (r#"{"arguments":{"a":"hunter2"}}"#, "there is no `name`"),
            (r#"{"name":7}"#, "`name`: found a number, expected a string"),
            (
                r#"{"name":"a","uri":"b"}"#,
                "`name` and `uri` cannot both be there",
            ),
            (r#"{"name":"a","name":"b"}"#, "`name` is here twice"),
            (
                r#"{"name":"a","args":{"b":"hunter2"}}"#,
                "unknown member `args`",
            ),
            (
                r#"{"name":"a","arguments":["hunter2"]}"#,
                "`arguments`: found a list",
            ),
            (
                r#"{"name":"a","arguments":{"b":"hunter2","b":1}}"#,
                "`arguments`:",
            ),
            (
                r#"{"uri":"a:b","arguments":{}}"#,
                "cannot stand beside `uri`",
            ),
        ] {
            let ended = run(&["explain", text(&policy), "--call", call]).await;
            assert_eq!(ended.code, Some(2), "{call}");
            assert!(
                ended.stderr.contains(expected),
                "no {expected:?} in {}",
                ended.stderr
            );
        }
    }

    #[tokio::test]
    async fn a_policy_that_does_not_load_ends_with_2() {
        let broken = file("broken.json", "{}");
        let ended = run(&["explain", text(&broken), "--call", r#"{"name":"a"}"#]).await;
        assert_eq!(ended.code, Some(2));
        assert!(
            ended.stderr.contains("`version` is missing"),
            "{}",
            ended.stderr
        );
    }
}

mod test {
    use super::*;

    fn cases(list: &Value) -> PathBuf {
        file("cases.json", &list.to_string())
    }

    #[tokio::test]
    async fn cases_that_pass() {
        let policy = policy();
        let cases = cases(&json!([
            { "name": "small", "call": { "name": "refund", "arguments": { "amount": 5 } },
              "expect": "allow", "rule": "/tools/refund" },
            { "call": { "name": "refund" }, "expect": "deny" },
            { "call": { "name": "wipe" }, "expect": "hide", "caller": "alice",
              "claims": { "team": "a" }, "client": { "name": "c" } },
            { "call": { "uri": "file:///notes/a" }, "expect": "allow" },
        ]));
        let ended = run(&["test", text(&policy), text(&cases)]).await;
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.stdout, "4 cases passed\n");
    }

    #[tokio::test]
    async fn cases_that_wait_for_an_approval() {
        let policy = file("policy.json", ASKING);
        let large = json!({ "name": "refund", "arguments": { "amount": 501 } });
        let cases = cases(&json!([
            { "call": large, "expect": "ask", "rule": "/tools/refund/require_approval" },
            { "call": { "name": "refund", "arguments": { "amount": 5 } }, "expect": "allow" },
            { "call": { "name": "wipe" }, "expect": "ask" },
            { "name": "wrong", "call": { "name": "wipe" }, "expect": "deny" },
        ]));
        let ended = run(&["test", text(&policy), text(&cases)]).await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let expected = "FAILED wrong (tool `wipe`): expected deny, got ask by \
                        /tools/wipe/require_approval\n1 of 4 cases failed\n";
        assert_eq!(ended.stdout, expected);
        let ended = run(&["test", "--json", text(&policy), text(&cases)]).await;
        let expected = json!({
            "outcome": "ask", "rule": "/tools/refund/require_approval",
            "approval": { "approver": "operator", "expires": 600, "reason": "Large.",
                          "rules": ["/tools/refund/require_approval"] },
        });
        assert_eq!(ended.json()["cases"][0]["got"], expected);
    }

    #[tokio::test]
    async fn cases_that_fail_are_shown() {
        let policy = policy();
        let cases = cases(&json!([
            { "name": "large", "expect": "allow",
              "call": { "name": "refund", "arguments": { "amount": 501, "note": SECRET } } },
            { "call": { "name": "delete" }, "expect": "deny", "rule": "/tools/wrong" },
            { "call": { "name": "read_mail" }, "expect": "allow" },
        ]));
        let ended = run(&["test", text(&policy), text(&cases)]).await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let expected = "FAILED large (tool `refund`): expected allow, got deny by \
                        /tools/refund/require/args.amount-lte\n\
                        FAILED case 2 (tool `delete`): expected deny by /tools/wrong, got deny by \
                        /tools/delete/action\n\
                        2 of 3 cases failed\n";
        assert_eq!(ended.stdout, expected);

        let ended = run(&["test", "--json", text(&policy), text(&cases)]).await;
        assert_eq!(ended.code, Some(1));
        let shown = ended.json();
        assert_eq!((&shown["passed"], &shown["failed"]), (&json!(1), &json!(2)));
        let expected = json!({
            "name": "case 2", "passed": false,
            "expected": { "outcome": "deny", "rule": "/tools/wrong" },
            "got": { "outcome": "deny", "rule": "/tools/delete/action", "reason": "No." },
        });
        assert_eq!(shown["cases"][1], expected);
    }

    #[tokio::test]
    async fn who_calls_decides_where_the_policy_asks() {
        let policy = file(
            "policy.json",
            r#"{ "version": "1", "default": "deny", "tools": { "a": {
                "require": [ { "conditions": [
                    { "path": "caller.claims.team", "op": "eq", "value": "ops" } ] } ],
                "deny_if": [ { "conditions": [
                    { "path": "client.name", "op": "eq", "value": "bad" } ] } ] } } }"#,
        );
        let cases = cases(&json!([
            { "call": { "name": "a" }, "claims": { "team": "ops" }, "client": { "name": "good" },
              "expect": "allow" },
            { "call": { "name": "a" }, "claims": { "team": "dev" }, "client": { "name": "good" },
              "expect": "deny" },
            { "call": { "name": "a" }, "claims": { "team": "ops" }, "client": { "name": "bad" },
              "expect": "deny" },
        ]));
        let ended = run(&["test", text(&policy), text(&cases)]).await;
        assert_eq!(ended.stdout, "3 cases passed\n", "{}", ended.stderr);
    }

    #[tokio::test]
    async fn mistakes_in_cases_are_told_all_at_once() {
        let policy = policy();
        let cases = file(
            "cases.json",
            r#"[
  { "call": { "name": "a" }, "expects": "deny" },
  { "call": { "name": "a", "arguments": { "b": "hunter2", "b": 1 } }, "expect": "deny" },
  { "call": { "name": "a" }, "expect": "refuse" },
  { "expect": "deny" },
  { "call": { "name": "a" }, "expect": "deny", "claims": "hunter2" },
  7
]"#,
        );
        let ended = run(&["test", text(&policy), text(&cases)]).await;
        assert_eq!(ended.code, Some(2));
        for expected in [
            "cases.json:2: case 1: unknown member `expects`",
            "cases.json:3: case 2: `call`: `arguments`:",
            "cases.json:4: case 3: `expect`: found \"refuse\"",
            "cases.json:5: case 4: the member `call` is missing",
            "cases.json:6: case 5: `claims`: found a string, expected an object",
            "cases.json:7: case 6: found a number, expected an object",
        ] {
            assert!(
                ended.stderr.contains(expected),
                "no {expected:?} in\n{}",
                ended.stderr
            );
        }
    }

    #[tokio::test]
    async fn what_cannot_be_run_ends_with_2() {
        let policy = policy();
        let folder = policy.parent().unwrap();
        let junk = folder.join("junk.json");
        std::fs::write(&junk, [0xff, 0x00]).unwrap();
        let large = folder.join("large.json");
        std::fs::write(&large, " ".repeat((64 << 20) + 1)).unwrap();
        for (path, expected) in [
            (folder.to_owned(), "cannot read"),
            (folder.join("nowhere.json"), "cannot read"),
            (junk, "byte 0 is not UTF-8"),
            (large, "is larger than 64 MiB"),
            (cases(&json!({})), "expected a list of cases"),
            (cases(&json!([])), "there are no cases"),
            (
                cases(&json!([{ "call": { "name": "a" } }])),
                "`expect` is missing",
            ),
            (file("cases.json", "[{]"), "not JSON"),
        ] {
            let ended = run(&["test", text(&policy), text(&path)]).await;
            assert_eq!(ended.code, Some(2), "{expected}");
            assert!(ended.stderr.contains(expected), "{}", ended.stderr);
        }
        let list = cases(&json!([{ "call": { "name": "a" }, "expect": "deny" }]));
        let ended = run(&["test", text(&folder.join("nowhere.json")), text(&list)]).await;
        assert_eq!(ended.code, Some(2));
    }
}

mod diff {
    use super::*;

    #[tokio::test]
    async fn who_is_asked_is_a_change() {
        let policy = |rule: &str| {
            format!(r#"{{ "version": "1", "default": "deny", "tools": {{ "a": {rule} }} }}"#)
        };
        let old = file("old.json", &policy(r#"{ "action": "require_approval" }"#));
        for (rule, new) in [
            ("{}", Some("allow by /tools/a")),
            (
                r#"{ "require_approval": { "approver": "caller" } }"#,
                Some("ask the caller by /tools/a/require_approval"),
            ),
            (r#"{ "require_approval": true }"#, None),
        ] {
            let other = file("new.json", &policy(rule));
            let ended = run(&["diff", text(&old), text(&other)]).await;
            assert_eq!(ended.code, Some(i32::from(new.is_some())), "{rule}");
            let Some(new) = new else {
                continue;
            };
            let expected = format!(
                "changed: tool `a`\n  old: ask by /tools/a/require_approval\n  new: {new}\n"
            );
            assert!(ended.stdout.starts_with(&expected), "{}", ended.stdout);
        }
    }

    const NEW: &str = r#"{
      "version": "1",
      "default": "deny",
      "hide": ["wipe"],
      "tools": {
        "read_file": {},
        "delete": {},
        "refund": {
          "require": [ { "conditions": [ { "path": "args.amount", "op": "lte", "value": 50 } ] } ]
        }
      },
      "prompts": { "greet": {} },
      "resources": { "file:///notes/*": {} }
    }"#;

    #[tokio::test]
    async fn names_that_are_mentioned() {
        let (old, new) = (policy(), file("new.json", NEW));
        let ended = run(&["diff", text(&old), text(&new)]).await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let expected = "changed: tool `delete`\n  old: deny by /tools/delete/action\n  \
                        new: allow by /tools/delete\n\
                        changed: tool `read_any` for example\n  old: allow by /tools/read_*\n  \
                        new: deny by (default deny)\n\
                        needs arguments: tool `refund`\n  old: conditions by /tools/refund\n  \
                        new: conditions by /tools/refund\n\
                        11 names: 2 changed, 1 need arguments, 8 unchanged\n";
        assert_eq!(ended.stdout, expected);
        for same in [&old, &new] {
            let ended = run(&["diff", text(same), text(same)]).await;
            assert_eq!(ended.code, Some(0));
            assert!(
                ended.stdout.contains("0 changed, 0 need arguments"),
                "{}",
                ended.stdout
            );
        }
    }

    #[tokio::test]
    async fn a_default_is_a_change_though_no_name_is() {
        let old = file("old.json", r#"{ "version": "1", "default": "deny" }"#);
        let new = file("new.json", r#"{ "version": "1", "default": "hide" }"#);
        let ended = run(&["diff", "--json", text(&old), text(&new)]).await;
        assert_eq!(ended.code, Some(1));
        let changed = json!({
            "what": "any other tool", "times": 1,
            "old": { "outcome": "deny", "rule": "(default deny)" },
            "new": { "outcome": "hide", "rule": "(hidden)" },
        });
        assert_eq!(ended.json()["changed"][0], changed);
    }

    #[tokio::test]
    async fn cases_are_decided_with_their_arguments() {
        let (old, new) = (policy(), file("new.json", NEW));
        let call = |amount: u32| json!({ "call": { "name": "refund", "arguments": { "amount": amount, "n": SECRET } } });
        let cases = file(
            "cases.json",
            &json!([call(5), call(100), call(501)]).to_string(),
        );
        let ended = run(&["diff", text(&old), text(&new), "--cases", text(&cases)]).await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let expected = "changed: case 2 (tool `refund`)\n  old: allow by /tools/refund\n  \
                        new: deny by /tools/refund/require/args.amount-lte\n\
                        3 cases: 1 changed, 0 need arguments, 2 unchanged\n";
        assert_eq!(ended.stdout, expected);
    }

    fn row(method: &str, name: &str, verdict: &str, rule: &str) -> String {
        let row = json!({
            "event": "decision", "method": method, "name": name, "verdict": verdict, "rule": rule,
        });
        row.to_string()
    }

    #[tokio::test]
    async fn an_audit_file_is_compared_by_name() {
        let (old, new) = (policy(), file("new.json", NEW));
        let deny = row("tools/call", "delete", "denied", "/tools/delete/action");
        let log = [
            deny.clone(),
            r#"{"event":"outcome","ending":"refused"}"#.to_owned(),
            deny,
            row("tools/call", "refund", "allowed", "/tools/refund"),
            row("tools/call", "cut…", "denied", "(default deny)"),
            row("prompts/get", "greet", "allowed", "/prompts/greet"),
            row("resources/read", "file:///notes/a", "allowed", "/resources/file:~1~1~1notes~1*"),
            r#"{"event":"decision","method":"skills/list","verdict":"denied","rule":"(default deny)"}"#.to_owned(),
            r#"{"event":"decision","method":"ping","verdict":"allowed","rule":"(protocol)"}"#.to_owned(),
            r#"{"event":"decision","method":"tools/call","name":"delete","verdi"#.to_owned(),
            "\u{0}\u{1}".to_owned(),
        ]
        .join("\n");
        let log = file("audit.jsonl", &log);
        let ended = run(&["diff", text(&old), text(&new), "--audit", text(&log)]).await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let expected = "changed: tool `delete` (2 calls)\n  old: deny by /tools/delete/action\n  \
                        new: allow by /tools/delete\n\
                        needs arguments: tool `cut…`\n  old: deny by (default deny)\n  \
                        new: deny by (default deny)\n\
                        needs arguments: tool `refund`\n  old: conditions by /tools/refund\n  \
                        new: conditions by /tools/refund\n\
                        7 calls: 2 changed, 2 need arguments, 3 unchanged\n\
                        not compared: 2 lines that are torn or no records\n\
                        not compared: 1 messages that no rule of a policy decides by name\n";
        assert_eq!(ended.stdout, expected);

        // Rules that are the same say the same, whatever the arguments were.
        let ended = run(&[
            "diff",
            "--json",
            text(&old),
            text(&old),
            "--audit",
            text(&log),
        ])
        .await;
        assert_eq!(ended.code, Some(0));
        let counts = json!({ "changed": 0, "needs_arguments": 1, "unchanged": 6 });
        assert_eq!(ended.json()["counts"], counts);
    }

    #[tokio::test]
    async fn what_cannot_be_compared_ends_with_2() {
        let (old, new) = (policy(), file("new.json", NEW));
        let folder = old.parent().unwrap();
        let nowhere = folder.join("nowhere.json");
        for more in [
            ["--audit", text(&nowhere)],
            ["--audit", text(folder)],
            ["--cases", text(&nowhere)],
            ["--cases", text(folder)],
        ] {
            let ended = run(&[&["diff", text(&old), text(&new)], &more[..]].concat()).await;
            assert_eq!(ended.code, Some(2), "{}", ended.stderr);
            assert!(ended.stderr.contains("cannot read"), "{}", ended.stderr);
        }
        for pair in [[&nowhere, &new], [&old, &nowhere]] {
            let ended = run(&["diff", text(pair[0]), text(pair[1])]).await;
            assert_eq!(ended.code, Some(2));
        }
        // Nothing in it is a record: that is said, and is no change.
        let junk = folder.join("junk.jsonl");
        std::fs::write(&junk, [0xff, b'\n', 0x00, b'\n']).unwrap();
        let ended = run(&["diff", text(&old), text(&new), "--audit", text(&junk)]).await;
        assert_eq!(ended.code, Some(0));
        assert!(
            ended.stdout.contains("2 lines that are torn"),
            "{}",
            ended.stdout
        );
    }
}

/// What is said of tools by what they do depends on what a server says of them.
mod risk {
    use super::*;

    const BY_RISK: &str = r#"{
      "version": "1",
      "default": "deny",
      "risk": { "read": {}, "destructive": { "action": "hide" } },
      "pins": { "on_drift": "hide" }
    }"#;

    fn tools() -> PathBuf {
        let tools = json!({ "tools": [
            { "name": "get_page", "description": "Reads a page." },
            { "name": "get_other", "description": "Deletes everything for good." },
            { "name": "update_page" },
        ] });
        file("tools.json", &tools.to_string())
    }

    #[tokio::test]
    async fn check_says_of_every_tool_what_its_definition_comes_to() {
        let (policy, tools) = (file("policy.json", BY_RISK), tools());
        let ended = run(&["check", "--json", text(&policy), "--tools", text(&tools)]).await;
        let said: Vec<Value> = ended.json()["tools"].as_array().unwrap().clone();
        let rules: Vec<&str> = said
            .iter()
            .map(|said| said["rule"].as_str().unwrap())
            .collect();
        assert_eq!(rules, ["/risk/read", "(hidden)", "(default deny)"]);
    }

    #[tokio::test]
    async fn explain_and_test_are_told_what_a_server_says() {
        let (policy, tools) = (file("policy.json", BY_RISK), tools());
        let call = r#"{"name":"get_page"}"#;
        let ended = run(&["explain", text(&policy), "--call", call]).await;
        assert!(
            ended.stdout.contains("it counts as `unknown`"),
            "{}",
            ended.stdout
        );
        let with_tools = [
            "explain",
            text(&policy),
            "--call",
            call,
            "--tools",
            text(&tools),
        ];
        let ended = run(&with_tools).await;
        assert!(
            ended.stdout.contains("it counts as `read`"),
            "{}",
            ended.stdout
        );
        let cases = json!([{ "call": { "name": "get_page" }, "expect": "allow" }]);
        let cases = file("cases.json", &cases.to_string());
        let ended = run(&["test", text(&policy), text(&cases)]).await;
        assert_eq!(ended.code, Some(1));
        let ended = run(&["test", text(&policy), text(&cases), "--tools", text(&tools)]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stdout);
        let ended = run(&["test", text(&policy), text(&cases), "--tools", "none.json"]).await;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    }

    #[tokio::test]
    async fn diff_does_not_take_for_the_same_what_it_cannot_know() {
        let old = file("policy.json", BY_RISK);
        let new = BY_RISK.replace(r#""read": {}"#, r#""read": { "action": "deny" }"#);
        let (new, tools) = (file("new.json", &new), tools());
        let ended = run(&["diff", text(&old), text(&new)]).await;
        assert_eq!(ended.code, Some(1));
        let expected = "changed: tool `get_some_other_thing` for example, which is read\n  \
                        old: allow by /risk/read\n  new: deny by /risk/read/action\n\
                        9 names: 1 changed, 0 need arguments, 8 unchanged\n";
        assert_eq!(ended.stdout, expected);
        let cases =
            json!(["get_page", "update_page"].map(|name| json!({ "call": { "name": name } })));
        let cases = file("cases.json", &cases.to_string());
        let compare = ["diff", text(&old), text(&new), "--cases", text(&cases)];
        let ended = run(&compare).await;
        assert_eq!(ended.code, Some(0));
        assert!(
            ended.stdout.contains("2 need arguments, 0 unchanged"),
            "{}",
            ended.stdout
        );
        let with_tools: Vec<&str> = compare
            .into_iter()
            .chain(["--tools", text(&tools)])
            .collect();
        let ended = run(&with_tools).await;
        assert_eq!(ended.code, Some(1));
        assert!(
            ended
                .stdout
                .contains("1 changed, 0 need arguments, 1 unchanged"),
            "{}",
            ended.stdout
        );
    }
    /// A pinned tool may have drifted, and one that only reads is `unknown` until it is
    /// listed: what both refuse now they may not both refuse then.
    #[tokio::test]
    async fn diff_does_not_take_for_the_same_what_only_a_list_would_tell() {
        let pin = |byte: &str| format!("sha256:{}", byte.repeat(32));
        let (a, b) = (pin("aa"), pin("bb"));
        let policy = |more: Value| {
            let mut policy = json!({
                "version": "1", "default": "deny", "risk": { "read": {} },
                "tools": { "pay": {}, "invoke": { "unwrap": { "name": "args.name", "arguments": "args.with" } } },
            });
            policy
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            policy.to_string()
        };
        let refuses = json!({ "all_tools": { "deny_if": [ { "conditions": [] } ] } });
        let pins = |tools: Value| json!({ "pins": { "tools": tools } });
        for (old, new, name) in [
            (json!({}), refuses, "get_page"),
            (pins(json!({ "pay": a })), pins(json!({ "pay": b })), "pay"),
            (
                pins(json!({ "pay": a, "get_page": a })),
                pins(json!({ "pay": a })),
                "get_page",
            ),
            (
                pins(json!({ "invoke": a, "get_page": a })),
                pins(json!({ "invoke": a })),
                "invoke",
            ),
        ] {
            let (old, new) = (
                file("old.json", &policy(old)),
                file("new.json", &policy(new)),
            );
            let cases = json!([{ "call": { "name": name, "arguments": { "name": "get_page" } } }]);
            let cases = file("cases.json", &cases.to_string());
            let compare = ["diff", text(&old), text(&new), "--cases", text(&cases)];
            let ended = run(&compare).await;
            assert!(
                ended.stdout.ends_with("0 unchanged\n"),
                "{name}: {}",
                ended.stdout
            );
            let ended = run(&compare[..3]).await;
            let is_named = ended.stdout.contains(&format!("tool `{name}`\n"));
            let by_category = ended.stdout.contains("for example, which is read");
            assert!(is_named || by_category, "{name}: {}", ended.stdout);
        }
    }
}
