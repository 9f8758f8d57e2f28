//! What stands in the arguments: numbers, types, paths, addresses and patterns
//! that one reader takes for something else than another.

use mcp_policy::{Policy, PolicyLayer};
use serde_json::json;

use crate::cases::Target;

async fn send(target: &Target, tool: &str, arguments: &str) -> (Vec<String>, String) {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    );
    let request = format!(
        "POST /mcp HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connection = target.connect().await;
    let answer = connection.exchange(request.as_bytes(), "POST").await;
    (target.executed(), answer.unwrap().text())
}

/// A policy that lets `safe` run if this rule does.
fn policy(rule: &str) -> Policy {
    format!(r#"{{"version":"1","default":"deny","tools":{{"safe":{rule}}}}}"#)
        .parse()
        .unwrap()
}

/// Sends calls of `safe` with these arguments. The server runs it whatever they
/// are, so that it is the rule that keeps it from that.
async fn hold(rule: &str, allowed: &[&str], refused: &[&str]) {
    let bare = Target::bare().await;
    let guarded = Target::guarded(&PolicyLayer::new(policy(rule))).await;
    for arguments in refused {
        assert_eq!(send(&bare, "safe", arguments).await.0, ["safe"]);
        let (executed, answer) = send(&guarded, "safe", arguments).await;
        assert_eq!(executed, [""; 0], "{arguments}");
        let refused = ["Policy violation", r#""error":"#];
        assert!(refused.iter().any(|text| answer.contains(text)), "{answer}");
    }
    for arguments in allowed {
        let (executed, answer) = send(&guarded, "safe", arguments).await;
        assert_eq!(executed, ["safe"], "{arguments}: {answer}");
    }
}

/// The same value under a key.
fn each(key: &str, values: &[&str]) -> Vec<String> {
    values
        .iter()
        .map(|value| json!({ key: value }).to_string())
        .collect()
}

/// Like [`hold`], for strings under one key.
async fn hold_strings(rule: &str, key: &str, allowed: &[&str], refused: &[&str]) {
    let (allowed, refused) = (each(key, allowed), each(key, refused));
    let allowed: Vec<_> = allowed.iter().map(String::as_str).collect();
    let refused: Vec<_> = refused.iter().map(String::as_str).collect();
    hold(rule, &allowed, &refused).await;
}

const AMOUNT: &str = r#"{"require":[{"conditions":[
    {"path":"args.amount","op":"gte","value":1},{"path":"args.amount","op":"lte","value":500}
]}]}"#;

#[tokio::test]
async fn t14_amounts_are_exact_and_never_negative() {
    hold(
        AMOUNT,
        &[
            r#"{"amount":1}"#,
            r#"{"amount":500}"#,
            r#"{"amount":499.99}"#,
        ],
        &[
            r#"{"amount":-1000000}"#,
            r#"{"amount":0.99}"#,
            r#"{"amount":1e308}"#,
            r#"{"amount":"100"}"#,
            r#"{"amount":9007199254740993}"#,
            r#"{"amount":1e400}"#,
            r#"{"amount":-0}"#,
            r#"{"amount":0.99999999999999999999}"#,
            r#"{"amount":500.00000000000000001}"#,
            r#"{"amount":2.00000000000000001}"#,
            r#"{"amount":1e-400}"#,
        ],
    )
    .await;
}

#[tokio::test]
async fn r32_numbers_of_every_spelling_are_one_value() {
    hold(
        AMOUNT,
        &[
            r#"{"amount":5e2}"#,
            r#"{"amount":5E+2}"#,
            r#"{"amount":500.0}"#,
            r#"{"amount":0.5e3}"#,
            r#"{"amount":5000e-1}"#,
        ],
        &[
            r#"{"amount":1e3}"#,
            r#"{"amount":0.501e3}"#,
            r#"{"amount":[1]}"#,
            r#"{"amount":null}"#,
            r#"{"amount":true}"#,
            "{}",
        ],
    )
    .await;
    let only = r#"{"require":[{"conditions":[{"path":"args.n","op":"eq","value":100}]}]}"#;
    hold(
        only,
        &[r#"{"n":100}"#, r#"{"n":1e2}"#, r#"{"n":100.0}"#],
        &[r#"{"n":"100"}"#, r#"{"n":100.00000000000000001}"#],
    )
    .await;
}

#[tokio::test]
async fn t15_another_type_never_helps() {
    let kept = r#"{"require":[{"conditions":[{"path":"args.path","op":"path_within","value":"/ok"}]}],
        "deny_if":[{"conditions":[{"path":"args.amount","op":"gt","value":500}]}]}"#;
    hold(
        kept,
        &[r#"{"path":"/ok/a"}"#, r#"{"path":"/ok/a","amount":500}"#],
        &[
            r#"{"path":["/etc/passwd"]}"#,
            r#"{"path":["/ok/a"]}"#,
            r#"{"path":{"$":"/etc/passwd"}}"#,
            r#"{"path":"/ok/a","amount":"999999"}"#,
            r#"{"path":"/ok/a","amount":"1"}"#,
            r#"{"path":"/ok/a","amount":[999999]}"#,
            r#"{"path":"/ok/a","amount":{"value":999999}}"#,
            r#"{"path":"/ok/a","amount":null}"#,
            r#"{"path":"/ok/a","Amount":999999}"#,
            r#"{"path":"/ok/a","amount":1,"a_mount":999999}"#,
            r#"{"path":"/ok/a","Path":"/etc/passwd"}"#,
        ],
    )
    .await;
}

#[tokio::test]
async fn t16_paths_do_not_climb() {
    hold_strings(
        r#"{"require":[{"conditions":[{"path":"args.path","op":"path_within","value":"/srv"}]}]}"#,
        "path",
        &["/srv/x", "/srv/./x", "/srv/a/../x", "//srv//x"],
        &[
            "/srv/../etc/passwd",
            "/srv/a/../../etc/passwd",
            "/srv/%2e%2e%2fetc/passwd",
            "/srv/%2e%2e/etc/passwd",
            "/srv/%252e%252e%252fetc/passwd",
            "/srv\u{0}/etc",
            "/srv/x\u{0}.txt",
            "C:\\..",
            "C:\\srv\\x",
            "/srv\\..\\..\\etc",
            "/srvx/a",
            "~/x",
            "srv/x",
        ],
    )
    .await;
}

#[tokio::test]
async fn t17_addresses_lead_where_they_seem_to() {
    hold_strings(
        r#"{"require":[{"conditions":[{"path":"args.url","op":"host_in","value":["good.com",".good.org"]}]}]}"#,
        "url",
        &[
            "https://good.com/a",
            "HTTPS://GOOD.COM/",
            "https://a.good.org:443/",
        ],
        &[
            "https://good.com@evil.com",
            "https://good.com.evil.com",
            "https://good.com%00.evil",
            "http://169.254.169.254/",
            "http://[::1]",
            "http://2130706433",
            "https://good.com./",
            "https://good.com%40evil.com/",
            "https://evil.com\\.good.org/",
            "https://good.com\t.evil.com/",
            "https://evil.com#@good.com/",
            "ftp://good.com/",
            "good.com",
        ],
    )
    .await;
    // What is named may be reached, and only in the one spelling that all know.
    hold_strings(
        r#"{"require":[{"conditions":[{"path":"args.url","op":"host_in","value":["127.0.0.1","[::1]"]}]}]}"#,
        "url",
        &["http://127.0.0.1/", "http://[::1]/"],
        &[
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://[0:0:0:0:0:0:0:1]/",
        ],
    )
    .await;
}

#[tokio::test]
async fn t18_a_pattern_without_anchors_is_warned_about() {
    let loose =
        r#"{"require":[{"conditions":[{"path":"args.branch","op":"regex","value":"main"}]}]}"#;
    let (warning, anchored) = ("inside something else", loose.replace("main", "^main$"));
    let warnings = |rule: &str| {
        let policy = policy(rule);
        let messages = policy.warnings().iter();
        messages
            .map(|one| one.message().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(warnings(loose).iter().any(|one| one.contains(warning)));
    assert_eq!(warnings(&anchored), [""; 0]);
    hold_strings(loose, "branch", &["main", "not-main"], &["master"]).await;
    let others = ["not-main", "main2", "main\n", "\nmain", "MAIN"];
    hold_strings(&anchored, "branch", &["main"], &others).await;
}

/// One that goes back would take longer than anybody waits for these.
#[tokio::test]
async fn t18_no_pattern_is_slow() {
    let slow =
        r#"{"require":[{"conditions":[{"path":"args.text","op":"regex","value":"^(a+)+$"}]}]}"#;
    let long = "a".repeat(50_000);
    let nearly = format!("{long}!");
    hold_strings(slow, "text", &[&long], &[&nearly]).await;
    let large = r#"{"version":"1","default":"deny","tools":{"safe":{"require":[{"conditions":[{"path":"args.text","op":"regex","value":"((a{100}){100}){100}"}]}]}}}"#;
    assert!(large.parse::<Policy>().is_err());
}

#[tokio::test]
async fn t30_nothing_is_carried_out_beside_the_named_arguments() {
    let mail =
        r#"{"require":[{"conditions":[{"path":"args","op":"keys_in","value":["to","body"]}]}]}"#;
    hold(
        mail,
        &[r#"{"to":"a","body":"b"}"#, r#"{"to":"a"}"#],
        &[
            r#"{"to":"a","body":"b","bcc":"phan@giftshop.club"}"#,
            r#"{"to":"a","body":"b","BCC":"phan@giftshop.club"}"#,
            r#"{"to":"a","body":"b","b_cc":"phan@giftshop.club"}"#,
            r#"{"to":"a","body":"b","To":"phan@giftshop.club"}"#,
            r#"{"to":"a","body":"b","bcc":null}"#,
            r#"{"to":"a","body":"b","\u0062cc":"phan@giftshop.club"}"#,
        ],
    )
    .await;
    let fetch =
        r#"{"require":[{"conditions":[{"path":"args.url","op":"host_in","value":["good.com"]}]}]}"#;
    let refused = ["https://evil/?d=c2VjcmV0", "https://evil/good.com"];
    hold_strings(fetch, "url", &["https://good.com/?d=1"], &refused).await;
}

#[tokio::test]
async fn t31_a_named_dispatcher_is_judged_as_what_is_inside() {
    let named = r#"{"version":"1","default":"deny","hide":["hidden"],"tools":{
        "call_tool":{"unwrap":{"name":"args.tool_name","arguments":"args.parameters"}},
        "safe":{"require":[{"conditions":[{"path":"args.n","op":"eq","value":1}]}]},
        "danger":{"action":"deny"}}}"#;
    let bare = Target::bare().await;
    let guarded = Target::guarded(&PolicyLayer::new(named.parse().unwrap())).await;
    for arguments in [
        r#"{"tool_name":"danger"}"#,
        r#"{"tool_name":"hidden"}"#,
        r#"{"tool_name":"admin"}"#,
        r#"{"tool_name":"Danger"}"#,
        r#"{"tool_name":["danger"]}"#,
        r#"{"tool_name":"safe","toolName":"danger","parameters":{"n":1}}"#,
        r#"{"tool_name":"safe","parameters":{"n":2}}"#,
        r#"{"tool_name":"safe","parameters":"{\"n\":2}"}"#,
        r#"{"tool_name":"safe","parameters":"{\"n\":1,\"n\":2}"}"#,
        r#"{"tool_name":"safe","parameters":[{"n":1}]}"#,
        r#"{"tool_name":"call_tool","parameters":{"tool_name":"danger"}}"#,
        r#"{"tool_name":"call_tool","parameters":"{\"tool_name\":\"danger\"}"}"#,
    ] {
        assert_ne!(send(&bare, "call_tool", arguments).await.0, [""; 0]);
        let (executed, answer) = send(&guarded, "call_tool", arguments).await;
        assert_eq!(executed, [""; 0], "{arguments}: {answer}");
    }
    for parameters in [r#"{"n":1}"#, r#""{\"n\":1}""#] {
        let arguments = format!(r#"{{"tool_name":"safe","parameters":{parameters}}}"#);
        let (executed, answer) = send(&guarded, "call_tool", &arguments).await;
        assert_eq!(executed, ["call_tool", "safe"], "{answer}");
    }
}
