//! What a policy decides, through the public API: the language page, sections
//! 1 and 6, row by row.
#![allow(clippy::unwrap_used, clippy::panic)]

use mcp_policy::{Action, Decision, Outcome, Policy};

fn policy(text: &str) -> Policy {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// A document with this default, `hide` and `tools`.
fn tools(default: &str, hide: &str, tools: &str) -> Policy {
    policy(&format!(
        r#"{{"version":"1","default":"{default}","hide":{hide},"tools":{tools}}}"#
    ))
}

fn call<'p>(policy: &'p Policy, name: &str) -> Decision<'p> {
    policy.decide(&Action::call_tool(name))
}

#[track_caller]
fn check(policy: &Policy, rows: &[(&str, Outcome, &str)]) {
    for (name, outcome, rule) in rows {
        let decision = call(policy, name);
        assert_eq!(
            (decision.outcome(), decision.rule()),
            (*outcome, *rule),
            "{name:?} under\n{}",
            policy.document().to_json_string()
        );
    }
}

use Outcome::{Allow, Deny, Hide};

const DEFAULT: (Outcome, &str) = (Deny, "(default deny)");
const HIDDEN: (Outcome, &str) = (Hide, "(hidden)");

#[test]
fn the_first_document_means_what_it_says() {
    let policy = policy(
        r#"{ "version": "1", "default": "deny", "tools": { "download_execution_logs": {} } }"#,
    );
    check(
        &policy,
        &[
            (
                "download_execution_logs",
                Allow,
                "/tools/download_execution_logs",
            ),
            ("Download_execution_logs", DEFAULT.0, DEFAULT.1),
            ("download_execution_logs ", DEFAULT.0, DEFAULT.1),
            ("download_execution_log", DEFAULT.0, DEFAULT.1),
            ("download_execution_logs\0", DEFAULT.0, DEFAULT.1),
            ("", DEFAULT.0, DEFAULT.1),
        ],
    );
    for action in [Action::get_prompt("x"), Action::read_resource("file:///x")] {
        let decision = policy.decide(&action);
        assert_eq!((decision.outcome(), decision.rule()), DEFAULT);
    }
    assert_eq!(
        policy.decide(&Action::other_method("skills/list")).rule(),
        "(default deny)"
    );
}

#[test]
fn the_default_decides_what_nothing_names() {
    for (default, outcome, rule) in [
        ("allow", Allow, "/default"),
        ("deny", Deny, "(default deny)"),
        ("hide", Hide, "(hidden)"),
    ] {
        let policy = policy(&format!(r#"{{"version":"1","default":"{default}"}}"#));
        for action in [
            Action::call_tool("x"),
            Action::get_prompt("x"),
            Action::read_resource("x://y"),
        ] {
            let decision = policy.decide(&action);
            assert_eq!(
                (decision.outcome(), decision.rule()),
                (outcome, rule),
                "{action:?}"
            );
            assert_eq!(decision.reason(), None);
            assert_eq!(decision.is_allowed(), outcome == Allow);
        }
        let other = policy.decide(&Action::other_method("x/y"));
        assert_eq!((other.outcome(), other.rule()), DEFAULT);
    }
}

#[test]
fn entries_allow_deny_and_hide() {
    let rules = r#"{
        "a": {}, "b": { "action": "allow", "description": "x" },
        "c": { "action": "deny", "reason": "State is evidence." },
        "d": { "action": "deny" }, "e": { "action": "hide" },
        "f/g~h": { "action": "deny" }, "lö": {}
    }"#;
    for (default, unlisted) in [
        ("allow", (Allow, "/default")),
        ("deny", DEFAULT),
        ("hide", HIDDEN),
    ] {
        let policy = tools(default, "[]", rules);
        check(
            &policy,
            &[
                ("a", Allow, "/tools/a"),
                ("b", Allow, "/tools/b"),
                ("c", Deny, "/tools/c/action"),
                ("d", Deny, "/tools/d/action"),
                ("e", Hide, "(hidden)"),
                ("f/g~h", Deny, "/tools/f~1g~0h/action"),
                ("lö", Allow, "/tools/lö"),
                ("z", unlisted.0, unlisted.1),
            ],
        );
        assert_eq!(call(&policy, "c").reason(), Some("State is evidence."));
        assert_eq!(call(&policy, "d").reason(), None);
        assert_eq!(call(&policy, "e").reason(), None);
    }
}

#[test]
fn hide_beats_everything() {
    let policy = tools(
        "allow",
        r#"["delete_*", "drop", "\\*"]"#,
        r#"{ "delete_one": {}, "drop": {}, "drop_it": {}, "delete_two": {"action":"deny"} }"#,
    );
    check(
        &policy,
        &[
            ("delete_one", Hide, "(hidden)"),
            ("delete_two", Hide, "(hidden)"),
            ("delete_", Hide, "(hidden)"),
            ("drop", Hide, "(hidden)"),
            ("*", Hide, "(hidden)"),
            ("drop_it", Allow, "/tools/drop_it"),
            ("other", Allow, "/default"),
        ],
    );
    let everything = tools("allow", r#"["*"]"#, r#"{"a":{}}"#);
    check(
        &everything,
        &[
            ("a", Hide, "(hidden)"),
            ("", Hide, "(hidden)"),
            ("é\n", Hide, "(hidden)"),
        ],
    );
}

#[test]
fn an_exact_name_beats_every_pattern() {
    let policy = tools(
        "deny",
        "[]",
        r#"{ "x*": {"action":"hide"}, "*": {"action":"deny"}, "xa": {}, "xb": {"action":"deny"} }"#,
    );
    check(
        &policy,
        &[
            ("xa", Allow, "/tools/xa"),
            ("xb", Deny, "/tools/xb/action"),
            ("xc", Hide, "(hidden)"),
            ("y", Deny, "/tools/*/action"),
        ],
    );
}

#[test]
fn among_patterns_the_strictest_then_the_longest() {
    let policy = tools(
        "deny",
        "[]",
        r#"{ "*": {}, "a_*": {}, "a_b_*": {}, "*_no": {"action":"deny","reason":"short"},
             "a_*_no": {"action":"deny","reason":"long"}, "*never": {"action":"hide"} }"#,
    );
    check(
        &policy,
        &[
            ("z", Allow, "/tools/*"),
            ("a_z", Allow, "/tools/a_*"),
            ("a_b_z", Allow, "/tools/a_b_*"),
            ("a_b_no", Deny, "/tools/a_*_no/action"),
            ("b_no", Deny, "/tools/*_no/action"),
            ("a_b_c_d_never", Hide, "(hidden)"),
        ],
    );
    assert_eq!(call(&policy, "a_b_no").reason(), Some("long"));
}

#[test]
fn patterns_that_deny_alike_do_not_depend_on_key_order() {
    let (a, b) = (r#""a*": {"action":"deny"}"#, r#""*b": {"action":"deny"}"#);
    for rules in [format!("{{{a},{b}}}"), format!("{{{b},{a}}}")] {
        check(
            &tools("deny", "[]", &rules),
            &[("ab", Deny, "/tools/*b/action")],
        );
    }
}

#[test]
fn escapes_are_literal() {
    let policy = tools("deny", "[]", r#"{ "a\\*": {}, "b\\\\*": {} }"#);
    check(
        &policy,
        &[
            ("a*", Allow, r"/tools/a\*"),
            ("ab", DEFAULT.0, DEFAULT.1),
            // Not made of what tool names are made of, and matched by a pattern.
            (r"b\x", DEFAULT.0, DEFAULT.1),
        ],
    );
}

#[test]
fn what_looks_hidden_is_hidden() {
    for rules in [
        (
            r#"["delete_*", "Secret"]"#,
            r#"{ "*": {}, "DELETE_me": {} }"#,
        ),
        (
            r"[]",
            r#"{ "*": {}, "DELETE_me": {}, "delete_*": {"action":"hide"}, "Secret": {"action":"hide"} }"#,
        ),
    ] {
        for default in ["allow", "deny", "hide"] {
            let policy = tools(default, rules.0, rules.1);
            check(
                &policy,
                &[
                    ("delete_x", Hide, "(hidden)"),
                    ("Delete_x", Hide, "(hidden)"),
                    ("DELETE_", Hide, "(hidden)"),
                    ("de lete_x", Hide, "(hidden)"),
                    ("ｄｅｌｅｔｅ_x", Hide, "(hidden)"),
                    ("delete_x\u{200b}", Hide, "(hidden)"),
                    ("de\u{ad}lete_x", Hide, "(hidden)"),
                    ("secret", Hide, "(hidden)"),
                    ("\u{17f}ecret", Hide, "(hidden)"),
                    ("DELETE_me", Allow, "/tools/DELETE_me"),
                    ("deletex", Allow, "/tools/*"),
                ],
            );
            assert_eq!(call(&policy, "Delete_x"), call(&policy, "delete_x"));
        }
    }
}

#[test]
fn what_looks_denied_is_denied() {
    let rules = r#"{ "read_*": {}, "read_mail": {"action":"deny","reason":"Private."},
                     "write_*": {"action":"deny"}, "Read_Mail": {} }"#;
    for default in ["allow", "deny"] {
        let policy = tools(default, "[]", rules);
        check(
            &policy,
            &[
                ("read_mail", Deny, "/tools/read_mail/action"),
                ("read_MAIL", Deny, "/tools/read_mail"),
                ("read_mail ", Deny, "/tools/read_mail"),
                ("Read_Mail", Allow, "/tools/Read_Mail"),
                ("READ_mail", Deny, "/tools/read_mail"),
                ("write_x", Deny, "/tools/write_*/action"),
                ("WRITE_x", Deny, "/tools/write_*"),
                ("read_mails", Allow, "/tools/read_*"),
            ],
        );
        let reason = call(&policy, "read_MAIL").reason().unwrap();
        assert!(reason.contains("mistaken"), "{reason}");
    }
}

#[test]
fn a_look_alike_that_nothing_names_stays_out_of_lists() {
    let policy = tools(
        "hide",
        "[]",
        r#"{ "x": {"action":"deny"}, "a*": {}, "ab": {"action":"deny"} }"#,
    );
    check(
        &policy,
        &[
            ("x", Deny, "/tools/x/action"),
            ("X", Hide, "(hidden)"),
            ("aB", Deny, "/tools/ab"),
        ],
    );
}

#[test]
fn only_rules_that_restrict_have_look_alikes() {
    let policy = tools(
        "allow",
        "[]",
        r#"{ "a": {}, "b": {"action":"allow"}, "c": {"description":"x"} }"#,
    );
    check(
        &policy,
        &[
            ("A", Allow, "/default"),
            ("B", Allow, "/default"),
            ("C", Allow, "/default"),
        ],
    );
}

#[test]
fn odd_names_need_an_exact_entry_or_a_policy_that_refuses_nothing() {
    let long = "x".repeat(257);
    let odd = [
        "ä",
        "a\n",
        "a\0",
        "a\u{301}",
        "a\\b",
        "a*",
        "",
        long.as_str(),
        "r\u{435}ad",
        "a\u{a0}",
    ];
    for (default, rules, outcome, rule) in [
        ("deny", r#"{"*":{}}"#, DEFAULT.0, DEFAULT.1),
        ("hide", r#"{"*":{}}"#, HIDDEN.0, HIDDEN.1),
        (
            "deny",
            r#"{"*":{"action":"deny","reason":"r"}}"#,
            DEFAULT.0,
            DEFAULT.1,
        ),
        (
            "hide",
            r#"{"*":{"action":"deny","reason":"r"}}"#,
            HIDDEN.0,
            HIDDEN.1,
        ),
        (
            "allow",
            r#"{"*":{},"q":{"action":"deny"}}"#,
            Deny,
            "(protocol)",
        ),
        ("allow", r#"{"q":{"action":"hide"}}"#, Deny, "(protocol)"),
        ("allow", r#"{"*":{}}"#, Allow, "/tools/*"),
        ("allow", r#"{"q":{}}"#, Allow, "/default"),
    ] {
        let policy = tools(default, "[]", rules);
        for name in odd {
            check(&policy, &[(name, outcome, rule)]);
        }
        assert_eq!(
            call(&policy, "ä").reason().is_some(),
            rule == "(protocol)",
            "{default} {rules}"
        );
    }
    let hides = tools("allow", r#"["q"]"#, "{}");
    check(
        &hides,
        &[("ä", Deny, "(protocol)"), ("Q", Hide, "(hidden)")],
    );
    let exact = tools("deny", "[]", r#"{"ä":{},"a\\*":{}}"#);
    check(
        &exact,
        &[
            ("ä", Allow, "/tools/ä"),
            ("a*", Allow, r"/tools/a\*"),
            ("Ä", DEFAULT.0, DEFAULT.1),
        ],
    );
    let ordinary = "x".repeat(256);
    let all = tools("deny", "[]", r#"{"*":{}}"#);
    check(
        &all,
        &[
            (&ordinary, Allow, "/tools/*"),
            ("A z_0.-/:", Allow, "/tools/*"),
        ],
    );
}

/// What a longer name looks like is not worth the work.
#[test]
fn a_very_long_name_looks_like_none() {
    let hides = tools("allow", r#"["q*"]"#, "{}");
    let name = |length: usize| "Q".repeat(length);
    check(
        &hides,
        &[
            (&name(1024), Hide, "(hidden)"),
            (&name(1025), Deny, "(protocol)"),
            (&name(2000), Deny, "(protocol)"),
        ],
    );
}

/// Down to the words for the caller, which do not tell that it is hidden.
#[test]
fn where_only_the_name_counts_it_tells_all() {
    let policy = tools(
        "deny",
        r#"["a_secret"]"#,
        r#"{ "a_*": {"action":"deny","reason":"Not a."}, "b": {"action":"hide"}, "c": {} }"#,
    );
    for name in ["a_secret", "A_secret", "a_1", "b", "B", "c", "C", "d"] {
        let action = Action::call_tool(name);
        assert_eq!(
            policy.decide_name(&action),
            policy.decide(&action),
            "{name}"
        );
    }
}

#[test]
fn hidden_is_like_never_existing() {
    let hide = r#"["secret_*", "root"]"#;
    let rules = r#"{ "a*": {}, "aa": {"action":"deny"}, "gone": {"action":"hide"}, "g_*": {"action":"hide"} }"#;
    let names = [
        "secret_x",
        "Secret_x",
        "root",
        "ROOT",
        "ro\u{200b}ot",
        "gone",
        "GONE",
        "g_1",
        "G_1",
    ];
    let unknown = ["nothing", "Nothing", "no\u{200b}thing", "n\u{e9}ant"];
    for default in ["deny", "hide"] {
        let policy = tools(default, hide, rules);
        for name in names {
            assert_eq!(call(&policy, name), call(&policy, "root"), "{name}");
            assert_eq!(call(&policy, name).reason(), None);
        }
        for name in unknown {
            let decision = call(&policy, name);
            let expected = if default == "deny" { DEFAULT } else { HIDDEN };
            assert_eq!((decision.outcome(), decision.rule()), expected, "{name}");
            assert_eq!(decision.reason(), None);
        }
    }
}

#[test]
fn other_methods_pass_by_name_or_star() {
    let named = policy(
        r#"{"version":"1","default":"allow","methods":{"skills/list":"allow","a/b":"deny"}}"#,
    );
    let all = policy(r#"{"version":"1","default":"deny","methods":{"*":"allow","a/b":"deny"}}"#);
    let none = policy(r#"{"version":"1","default":"allow","methods":{"*":"deny","c/d":"allow"}}"#);
    for (policy, method, outcome, rule) in [
        (&named, "skills/list", Allow, "/methods/skills~1list"),
        (&named, "Skills/list", Deny, "(default deny)"),
        (&named, "a/b", Deny, "/methods/a~1b"),
        (&named, "x", Deny, "(default deny)"),
        (&named, "*", Deny, "(default deny)"),
        (&all, "skills/list", Allow, "/methods/*"),
        (&all, "a/b", Deny, "/methods/a~1b"),
        (&all, "A/b ", Deny, "/methods/a~1b"),
        (&all, "a/b/", Deny, "/methods/a~1b"),
        (&all, "a/\u{200b}b\0", Deny, "/methods/a~1b"),
        (&all, "tools/call", Deny, "(default deny)"),
        (&all, "Tools/Call", Deny, "(default deny)"),
        (&all, "tools/call/", Deny, "(default deny)"),
        (&all, "tools/ call\0", Deny, "(default deny)"),
        (&all, "tools/c\u{200b}all", Deny, "(default deny)"),
        (&all, "ｔools/call", Deny, "(default deny)"),
        (&all, "PING", Deny, "(default deny)"),
        (&all, "tasks/list", Deny, "(default deny)"),
        (&none, "x", Deny, "/methods/*"),
        (&none, "c/d", Allow, "/methods/c~1d"),
    ] {
        let decision = policy.decide(&Action::other_method(method));
        assert_eq!(
            (decision.outcome(), decision.rule()),
            (outcome, rule),
            "{method:?}"
        );
    }
}

#[test]
fn allow_all_allows_all() {
    let policy = policy(r#"{ "version": "1", "default": "allow", "methods": { "*": "allow" } }"#);
    assert!(policy.warnings().is_empty());
    for action in [
        Action::call_tool("ä\n"),
        Action::call_tool(""),
        Action::get_prompt("x"),
        Action::read_resource("file:///../x"),
        Action::other_method("skills/list"),
    ] {
        assert!(policy.decide(&action).is_allowed(), "{action:?}");
    }
}

#[test]
fn a_hidden_tool_that_a_pattern_would_allow_is_warned_of() {
    for document in [
        r#"{"version":"1","default":"deny","hide":["secret_admin"],"tools":{"secret_*":{}}}"#,
        r#"{"version":"1","default":"deny","tools":{"secret_*":{},"secret_admin":{"action":"hide"}}}"#,
    ] {
        let policy: Policy = document.parse().unwrap();
        let warnings: Vec<_> = policy.warnings().iter().map(|w| w.message()).collect();
        assert!(
            warnings
                .iter()
                .any(|w| w.contains("can tell this hidden tool")),
            "{document}: {warnings:?}"
        );
    }
    let quiet = r#"{"version":"1","default":"deny","hide":["x"],"tools":{"secret_*":{}}}"#;
    assert!(quiet.parse::<Policy>().unwrap().warnings().is_empty());
}

/// A program prints whatever holds one.
#[test]
fn what_is_printed_of_a_policy_is_which_one_it_is() {
    let text = r#"{"version":"1","name":"team","default":"deny","hide":["wipe"]}"#;
    let policy: Policy = text.parse().unwrap();
    let printed = format!("{:?}", policy.clone().shut());
    for part in ["\"team\"", policy.digest(), "is_shut: true"] {
        assert!(printed.contains(part), "{printed}");
    }
    assert!(!printed.contains("wipe"), "{printed}");
}
