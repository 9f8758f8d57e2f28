//! What becomes of a document that is not right, through the public API: the
//! language page, section 8.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use mcp_policy::{Diagnostic, LoadError, Policy, PolicyDocument, Rule, Severity};

fn error(text: &str) -> LoadError {
    match text.parse::<Policy>() {
        Ok(_) => panic!("this loads: {text}"),
        Err(error) => error,
    }
}

/// (pointer, message) of every problem.
fn problems(text: &str) -> Vec<(String, String)> {
    let pair = |d: &Diagnostic| (d.pointer().to_owned(), d.message().to_owned());
    error(text).diagnostics().iter().map(pair).collect()
}

#[track_caller]
fn one(text: &str, pointer: &str, message: &str) {
    assert_eq!(
        problems(text),
        [(pointer.to_owned(), message.to_owned())],
        "{text}"
    );
}

/// A document that is right but for these members.
fn with(members: &str) -> String {
    format!(r#"{{"version":"1","default":"deny",{members}}}"#)
}

fn warnings(text: &str) -> Vec<(String, String)> {
    let policy: Policy = text.parse().unwrap();
    let pair = |d: &Diagnostic| {
        assert_eq!(d.severity(), Severity::Warning);
        (d.pointer().to_owned(), d.message().to_owned())
    };
    policy.warnings().iter().map(pair).collect()
}

#[test]
fn every_problem_at_once_with_its_place() {
    let text = r#"{
  "version": 1,
  "defualt": "deny",
  "hide": ["a", 7, ""],
  "tools": {
    "x": { "action": "dney", "reasn": "no" },
    "x": {},
    "a\\b": {},
    "p*": {},
    "*p": {}
  },
  "risk": { "wirte": {} },
  "methods": { "tools/call": "allow", "é": 1 }
}"#;
    let error = error(text);
    let found: Vec<_> = error
        .diagnostics()
        .iter()
        .map(|d| (d.pointer(), d.line(), d.column(), &text[d.span()]))
        .collect();
    assert_eq!(
        found,
        [
            ("/version", 2, 14, "1"),
            ("/defualt", 3, 3, r#""defualt""#),
            ("/hide/1", 4, 17, "7"),
            ("/hide/2", 4, 20, r#""""#),
            ("/tools/x/action", 6, 22, r#""dney""#),
            ("/tools/x/reasn", 6, 30, r#""reasn""#),
            ("/tools/x", 7, 5, r#""x""#),
            (r"/tools/a\b", 8, 5, r#""a\\b""#),
            ("/tools/p*", 9, 5, r#""p*""#),
            ("/risk/wirte", 12, 13, r#""wirte""#),
            ("/methods/tools~1call", 13, 16, r#""tools/call""#),
            ("/methods/é", 13, 44, "1"),
        ]
    );
    assert_eq!(error.source_text(), Some(text));
    let shown = error.to_string();
    assert!(
        shown.starts_with("the policy is not loaded: 12 problems\n\nerror: "),
        "{shown}"
    );
    assert_eq!(shown.matches("\n\nerror: ").count(), 12);
}

#[test]
fn what_is_missing_or_of_another_version() {
    assert_eq!(
        problems("{}"),
        [
            (String::new(), "the field `version` is missing".to_owned()),
            (String::new(), "the field `default` is missing".to_owned()),
        ]
    );
    let text = r#" {"version":"1"}"#;
    assert_eq!(error(text).diagnostics()[0].span(), 1..2, "its brace");
    one(
        r#"{"version":"2","default":"deny"}"#,
        "/version",
        r#"unknown version "2", expected "1""#,
    );
    one(
        r#"{"version":1,"default":"deny"}"#,
        "/version",
        r#"found the number 1, expected the string "1""#,
    );
    one(
        r#"{"version":"1","default":"permit"}"#,
        "/default",
        r#"found "permit", expected "allow", "deny" or "hide""#,
    );
    one(
        r#"{"version":"1","default":null}"#,
        "/default",
        r#"found null, expected "allow", "deny" or "hide""#,
    );
    for text in ["[]", "\"x\"", "null", "7", "true"] {
        assert_eq!(error(text).diagnostics().len(), 1, "{text}");
    }
}

/// Among very many other fields nobody looks for it.
#[test]
fn what_is_there_by_another_name_is_not_missing() {
    let missing = |others: usize| {
        let others: String = (0..others).map(|i| format!(r#""x{i}":1,"#)).collect();
        let found = problems(&format!(r#"{{"default":"deny",{others}"verison":"1"}}"#));
        found
            .iter()
            .any(|(_, message)| message.ends_with("missing"))
    };
    assert!(!missing(0));
    assert!(!missing(31));
    assert!(missing(32));
}

#[test]
fn wrong_types() {
    for (members, pointer, message) in [
        (
            r#""hide":"a""#,
            "/hide",
            r#"found the string "a", expected a list of names and patterns"#,
        ),
        (
            r#""hide":[["a"]]"#,
            "/hide/0",
            "found a list, expected a string",
        ),
        (
            r#""tools":[]"#,
            "/tools",
            "found a list, expected an object",
        ),
        (
            r#""tools":null"#,
            "/tools",
            "found null, expected an object",
        ),
        (
            r#""tools":{"a":true}"#,
            "/tools/a",
            "found true, expected an object",
        ),
        (
            r#""tools":{"a":{"reason":1.50}}"#,
            "/tools/a/reason",
            "found the number 1.50, expected a string",
        ),
        (
            r#""name":{}"#,
            "/name",
            "found an object, expected a string",
        ),
        (
            r#""$schema":0"#,
            "/$schema",
            "found the number 0, expected a string",
        ),
        (
            r#""description":null"#,
            "/description",
            "found null, expected a string",
        ),
        (
            r#""methods":{"a":"hide"}"#,
            "/methods/a",
            r#"found "hide", expected "allow" or "deny""#,
        ),
        (
            r#""methods":{"a":true}"#,
            "/methods/a",
            r#"found true, expected "allow" or "deny""#,
        ),
        (
            r#""tools":{"a":{"action":[]}}"#,
            "/tools/a/action",
            r#"found a list, expected "allow", "deny", "hide" or "require_approval""#,
        ),
    ] {
        one(&with(members), pointer, message);
    }
}

#[test]
fn every_rule_can_ask_for_an_approval() {
    for rule in [
        r#"{"require_approval":true}"#,
        r#"{"require_approval":{}}"#,
        r#"{"require_approval":{"conditions":[],"reason":"x","expires":1,"approver":"caller"}}"#,
        r#"{"require_approval":{"expires":604800,"approver":"operator"}}"#,
        r#"{"action":"require_approval"}"#,
        r#"{"action":"require_approval","reason":"x","limits":[],"require":[],"mode":"shadow"}"#,
        r#"{"action":"allow","require_approval":true}"#,
    ] {
        for section in ["tools", "resources", "prompts"] {
            let text = with(&format!(r#""{section}":{{"x":{rule}}}"#));
            let policy: Policy = text.parse().unwrap();
            let again: Policy = policy.document().to_json_string().parse().unwrap();
            assert_eq!(again.document(), policy.document());
        }
    }
    for section in ["tools", "resources", "prompts"] {
        let text = with(&format!(r#""{section}":{{"x":{{"require_approval":[]}}}}"#));
        let message = "found a list, expected `true` or an object";
        one(&text, &format!("/{section}/x/require_approval"), message);
    }
    let text = with(r#""all_tools":{"require_approval":{"expires":604801}}"#);
    let message = "found the number 604801, expected a whole number of seconds from 1 to 604800";
    one(&text, "/all_tools/require_approval/expires", message);
}

#[test]
fn every_section_is_read_alike() {
    for section in ["tools", "resources", "prompts"] {
        let at = |pointer: &str| format!("/{section}{pointer}");
        for (value, pointer, message) in [
            ("[]", "", "found a list, expected an object"),
            (r#"{"x":7}"#, "/x", "found the number 7, expected an object"),
            (
                r#"{"x":{"reason":7}}"#,
                "/x/reason",
                "found the number 7, expected a string",
            ),
            (
                r#"{"x":{"action":"dney"}}"#,
                "/x/action",
                r#"found "dney", expected "allow", "deny", "hide" or "require_approval""#,
            ),
            (
                r#"{"a/~b":{"reasn":""}}"#,
                "/a~1~0b/reasn",
                "unknown field `reasn`",
            ),
            (r#"{"x":{},"x":{}}"#, "/x", "`x` is here twice"),
            (r#"{"":{}}"#, "/", "a name or pattern cannot be empty"),
            (
                r#"{"x\\":{}}"#,
                r"/x\",
                "a backslash at the end escapes nothing",
            ),
            (
                r#"{"a*":{},"*b":{}}"#,
                "/a*",
                "this pattern and the one at `AT/*b` can match the same name, and neither has \
                 more literal characters",
            ),
        ] {
            let text = with(&format!(r#""{section}":{value}"#));
            one(&text, &at(pointer), &message.replace("AT", &at("")));
        }
    }
    // `hide` is for tools only, and stands beside every section.
    let text = with(r#""hide":["x"],"resources":{"x:y":{}},"prompts":{"x":{}}"#);
    assert!(text.parse::<Policy>().is_ok());
    for section in ["resources", "prompts"] {
        let text = with(&format!(r#""{section}":{{"hide":["x"]}}"#));
        one(
            &text,
            &format!("/{section}/hide"),
            "found a list, expected an object",
        );
    }
}

#[test]
fn uris_that_are_the_same() {
    for (resources, same) in [
        (
            r#"{"FILE:///a":{},"file:///a":{}}"#,
            Some(("FILE:///a", "file:///a")),
        ),
        (
            r#"{"File:///a":{},"FILE:///a":{"action":"deny"}}"#,
            Some(("File:///a", "FILE:///a")),
        ),
        (
            r#"{"x://A*":{},"x://a*":{"action":"deny"}}"#,
            Some(("x://A*", "x://a*")),
        ),
        (
            r#"{"x://u@A/b":{},"x://u@a/b":{}}"#,
            Some(("x://u@A/b", "x://u@a/b")),
        ),
        (r#"{"x://U@a/b":{},"x://u@a/b":{}}"#, None),
        (r#"{"x://a/B":{},"x://a/b":{}}"#, None),
        (r#"{"x:B":{},"x:b":{}}"#, None),
    ] {
        let text = with(&format!(r#""resources":{resources}"#));
        let Some((later, earlier)) = same else {
            assert!(text.parse::<Policy>().is_ok(), "{text}");
            continue;
        };
        let escaped = |key: &str| format!("/resources/{}", key.replace('/', "~1"));
        let message = format!("this is the same as `{}`", escaped(earlier));
        one(&text, &escaped(later), &message);
    }
    // Prompts are no URIs.
    assert!(
        with(r#""prompts":{"X:a":{},"x:a":{}}"#)
            .parse::<Policy>()
            .is_ok()
    );
}

#[test]
fn misspelt_words_get_the_nearest_known_one() {
    for (members, help) in [
        (r#""tool":{}"#, Some("did you mean `tools`?")),
        (r#""Tools":{}"#, Some("did you mean `tools`?")),
        (r#""resource":{}"#, Some("did you mean `resources`?")),
        (r#""alltools":{}"#, Some("did you mean `all_tools`?")),
        (
            r#""tools":{"x":{"acton":"deny"}}"#,
            Some("did you mean `action`?"),
        ),
        (
            r#""tools":{"x":{"requires":[]}}"#,
            Some("did you mean `require`?"),
        ),
        (
            r#""tools":{"x":{"zzzzz":[]}}"#,
            Some(
                "the fields here are `action`, `reason`, `require`, `deny_if`, `limits`, \
                 `rate_limit`, `max_concurrent`, `require_approval`, `unwrap`, `mode`, \
                 `description`",
            ),
        ),
        (
            r#""tools":{"x":{"action":"Deny"}}"#,
            Some(r#"did you mean "deny"?"#),
        ),
        (r#""tools":{"x":{"action":"block"}}"#, None),
        (
            r#""methods":{"x":"alow"}"#,
            Some(r#"did you mean "allow"?"#),
        ),
    ] {
        let error = error(&with(members));
        assert_eq!(error.diagnostics().len(), 1);
        assert_eq!(error.diagnostics()[0].help(), help, "{members}");
    }
}

#[test]
fn duplicates_at_any_depth() {
    one(
        &with(r#""tools":{"a":{},"b":{},"a":{}}"#),
        "/tools/a",
        "`a` is here twice",
    );
    one(
        &with(r#""tools":{"a":{},"\u0061":{}}"#),
        "/tools/a",
        "`a` is here twice",
    );
    one(
        &with(r#""tools":{"a":{"reason":"x","reason":"x"}}"#),
        "/tools/a/reason",
        "`reason` is here twice",
    );
    one(
        r#"{"version":"1","default":"deny","default":"deny"}"#,
        "/default",
        "`default` is here twice",
    );
    let deep = problems(&with(r#""risk":{"a":[0,{"b":{"c":1,"c":1}}]}"#));
    assert_eq!(
        deep[1],
        ("/risk/a/1/b/c".to_owned(), "`c` is here twice".to_owned())
    );
}

#[test]
fn names_and_patterns_that_cannot_be() {
    for (key, message) in [
        ("", "a name or pattern cannot be empty"),
        (
            r"a\\b*",
            "a backslash can only stand before `*` or another backslash, not before `b`",
        ),
        (r"a\\", "a backslash at the end escapes nothing"),
    ] {
        let pointer = format!("/tools/{}", key.replace(r"\\", r"\"));
        one(
            &with(&format!(r#""tools":{{"{key}":{{}}}}"#)),
            &pointer,
            message,
        );
        one(
            &with(&format!(r#""hide":["x","{key}"]"#)),
            "/hide/1",
            message,
        );
    }
}

#[test]
fn patterns_that_tie() {
    for (tools, tie) in [
        (r#"{"a*":{},"*b":{}}"#, true),
        (r#"{"a*":{},"b*":{}}"#, false),
        (r#"{"a*":{},"*bb":{}}"#, false),
        (r#"{"a*":{},"a**":{}}"#, true),
        (r#"{"a*":{},"*b":{"action":"deny"}}"#, false),
        (r#"{"a*":{"action":"deny"},"*b":{"action":"deny"}}"#, false),
        (r#"{"a*":{"action":"hide"},"*b":{"action":"hide"}}"#, false),
        // A rule that is not understood ties with nothing yet.
        (r#"{"a*":{},"*b":{"acton":"deny"}}"#, false),
    ] {
        let text = with(&format!(r#""tools":{tools}"#));
        let tied = match text.parse::<Policy>() {
            Ok(_) => false,
            Err(error) => error.to_string().contains("can match the same name"),
        };
        assert_eq!(tied, tie, "{tools}");
    }
}

#[test]
fn methods_that_cannot_be_named() {
    for method in [
        "tools/call",
        "ping",
        "tasks/get",
        "notifications/initialized",
        "Tools/Call",
        "ping/",
        "ｐing",
    ] {
        let found = problems(&with(&format!(r#""methods":{{"{method}":"deny"}}"#)));
        assert_eq!(found.len(), 1, "{method}");
        assert!(
            found[0].1.contains("passes") || found[0].1.contains("judged"),
            "{found:?}"
        );
    }
    one(
        &with(r#""methods":{"skills/*":"allow"}"#),
        "/methods/skills~1*",
        "methods have no patterns, found `skills/*`",
    );
    one(
        &with(r#""methods":{"":"allow"}"#),
        "/methods/",
        "the name of a method cannot be empty",
    );
}

#[test]
fn what_is_not_json() {
    for (text, line, column) in [
        ("", 1, 1),
        ("{\n  \"version\": \"1\",\n  }", 3, 3),
        ("{\"é\": nul}", 1, 10),
        ("{} {}", 1, 4),
        ("\u{feff}{}", 1, 1),
    ] {
        let error = error(text);
        let [diagnostic] = error.diagnostics() else {
            panic!("{error}");
        };
        assert!(
            diagnostic.message().starts_with("this is not JSON: "),
            "{error}"
        );
        assert_eq!(
            (diagnostic.line(), diagnostic.column()),
            (line, column),
            "{error}"
        );
    }
}

#[test]
fn files() {
    let folder = std::env::temp_dir().join(format!("mcp-policy-load-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("policy.json");

    std::fs::write(&path, r#"{"version":"1","default":"deny"}"#).unwrap();
    assert!(Policy::from_path(&path).is_ok());

    std::fs::write(&path, "{\n}").unwrap();
    let missing = Policy::from_path(&path).unwrap_err();
    assert!(
        missing
            .to_string()
            .contains("policy.json is not loaded: 2 problems"),
        "{missing}"
    );

    std::fs::write(&path, b"{\"a\": \"\xff\"}").unwrap();
    let not_text = Policy::from_path(&path).unwrap_err();
    assert_eq!(not_text.diagnostics()[0].column(), 8, "{not_text}");

    std::fs::write(&path, vec![b' '; (10 << 20) + 1]).unwrap();
    let large = Policy::from_path(&path).unwrap_err();
    assert!(
        large.to_string().contains("larger than 10485760 bytes"),
        "{large}"
    );
    assert_eq!(large.source_text(), None);
    let mut largest = br#"{"version":"1","default":"deny"}"#.to_vec();
    largest.resize(10 << 20, b' ');
    std::fs::write(&path, largest).unwrap();
    assert!(Policy::from_path(&path).is_ok());

    let absent = Policy::from_path(folder.join("absent.json")).unwrap_err();
    assert!(
        absent.to_string().starts_with("cannot read the policy "),
        "{absent}"
    );
    assert!(std::error::Error::source(&absent).is_some());
    assert!(absent.diagnostics().is_empty());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_document_built_in_rust_is_held_to_the_same_rules() {
    let mut document = PolicyDocument::new(mcp_policy::DefaultAction::Hide);
    document.tools.insert(String::new(), Rule::allow());
    document.hide.push("\\".to_owned());
    let error = Policy::try_from(document.clone()).unwrap_err();
    let pointers: Vec<_> = error
        .diagnostics()
        .iter()
        .map(Diagnostic::pointer)
        .collect();
    assert_eq!(pointers, ["/hide/0", "/tools/"]);
    assert_eq!(
        error.source_text(),
        Some(document.to_json_string().as_str())
    );
}

#[test]
fn rules_that_are_built_in_rust_are_written_as_short_as_can_be() {
    let mut document = PolicyDocument::new(mcp_policy::DefaultAction::Deny);
    document.tools.insert("a".to_owned(), Rule::allow());
    document.tools.insert("b".to_owned(), Rule::deny("No."));
    document.tools.insert("c".to_owned(), Rule::hide());
    let written: serde_json::Value = serde_json::from_str(&document.to_json_string()).unwrap();
    assert_eq!(
        written,
        serde_json::json!({
            "version": "1",
            "default": "deny",
            "tools": {
                "a": {},
                "b": { "action": "deny", "reason": "No." },
                "c": { "action": "hide" },
            },
        })
    );
}

#[test]
fn what_is_probably_not_meant_is_told() {
    for (text, pointer, start) in [
        (
            with(r#""hide":["delete_*"],"tools":{"delete_one":{}}"#),
            "/tools/delete_one",
            "this entry never applies: `hide`",
        ),
        (
            with(r#""hide":["delete_*"],"tools":{"delete_f*_x":{"action":"deny"}}"#),
            "/tools/delete_f*_x",
            "this entry never applies: `hide`",
        ),
        (
            with(r#""hide":["delete_*"],"tools":{"Delete_*":{}}"#),
            "/tools/Delete_*",
            "this entry never applies: `hide`",
        ),
        (
            with(r#""tools":{"read_*":{},"r*":{"action":"deny"}}"#),
            "/tools/read_*",
            "this pattern never allows anything: `/tools/r*` denies",
        ),
        (
            with(r#""tools":{"a":{"reason":"x"}}"#),
            "/tools/a/reason",
            "this reason is never given",
        ),
        (
            with(r#""hide":["\u200b*"]"#),
            "/hide/0",
            "every name looks like this pattern",
        ),
        (
            with(r#""tools":{"* *":{"action":"deny"}}"#),
            "/tools/* *",
            "every name looks like this pattern",
        ),
        (
            with(r#""tools":{"l\u00f6_*":{}}"#),
            "/tools/lö_*",
            "this pattern can never allow",
        ),
        (
            r#"{"version":"1","default":"allow","hide":["x"]}"#.to_owned(),
            "/default",
            "a caller can tell hidden tools",
        ),
        (
            r#"{"version":"1","default":"allow","resources":{"x:y":{"action":"hide"}}}"#.to_owned(),
            "/default",
            "a caller can tell hidden resources",
        ),
        (
            r#"{"version":"1","default":"allow","prompts":{"x":{"action":"hide"}}}"#.to_owned(),
            "/default",
            "a caller can tell hidden prompts",
        ),
        (
            with(r#""prompts":{"d*":{"action":"hide"},"delete_*":{}}"#),
            "/prompts/delete_*",
            "this entry never applies: a pattern that hides",
        ),
        (
            with(r#""resources":{"X://a/*":{"action":"hide"},"x://A/B/*":{"action":"deny"}}"#),
            "/resources/x:~1~1A~1B~1*",
            "this entry never applies: a pattern that hides",
        ),
        (
            with(r#""resources":{"x:/a/*":{},"x:/*":{"action":"deny"}}"#),
            "/resources/x:~1a~1*",
            "this pattern never allows anything: `/resources/x:~1*` denies",
        ),
        (
            with(r#""resources":{"*%20*":{"action":"deny"}}"#),
            "/resources/*%20*",
            "every name looks like this pattern, so it refuses every resource",
        ),
        (
            with(r#""prompts":{"x":{"action":"hide","reason":"x"}}"#),
            "/prompts/x/reason",
            "this reason is never given",
        ),
        (
            with(r#""prompts":{"l\u00f6_*":{}}"#),
            "/prompts/lö_*",
            "this pattern can never allow a prompt",
        ),
        (
            r#"{"version":"1","default":"allow","resources":{"x:#*":{}}}"#.to_owned(),
            "/resources/x:#*",
            "this pattern can never match",
        ),
    ] {
        let found = warnings(&text);
        assert_eq!(found.len(), 1, "{text} {found:?}");
        assert_eq!(found[0].0, pointer);
        assert!(found[0].1.starts_with(start), "{found:?}");
    }
    for text in [
        with(r#""hide":["delete_*"],"tools":{"d*":{},"delet":{},"delete_x":{"action":"hide"}}"#),
        with(
            r#""tools":{"read_*":{},"read_mail":{"action":"deny"},"*":{},"*_x":{"action":"hide"}}"#,
        ),
        with(r#""tools":{"lö":{},"a":{"action":"deny","reason":"x"}}"#),
        with(r#""tools":{"*":{"action":"deny"}}"#),
        r#"{"version":"1","default":"allow","tools":{"ö*":{}}}"#.to_owned(),
        with(r#""resources":{"x:/ö*":{},"file:/x":{},"x:/a#b":{"action":"deny"},"x:/*%2":{}}"#),
        with(r#""hide":["p*"],"prompts":{"p*":{},"ö":{}},"resources":{"p:*":{}}"#),
    ] {
        assert_eq!(warnings(&text), [], "{text}");
    }
}

#[test]
fn patterns_that_match_no_uri_are_told() {
    for (pattern, hopeless) in [
        ("x:/*#", true),
        ("*#*", true),
        (r"*\\\\*", true),
        (r"*\u0007*", true),
        ("x:/*%41", true),
        ("x:/*%zz", true),
        ("x:/../*", true),
        ("x:/a/./b*", true),
        ("x:/a//*", true),
        ("x:/..?*", true),
        ("file://h*", true),
        ("file:/a*", true),
        ("/etc/*", true),
        ("1*", true),
        ("../*", true),
        ("*", false),
        ("f*", false),
        ("file*", false),
        ("file:*", false),
        ("file:/*", false),
        ("file://*", false),
        ("FILE:///*", false),
        ("x:/..*", false),
        ("x:/*/../b", false),
        ("x:/a/*", false),
        ("x:/%*", false),
        ("x:/%C3*", false),
        ("*://h/x", false),
    ] {
        let found = warnings(&with(&format!(r#""resources":{{"{pattern}":{{}}}}"#)));
        let starts =
            |(_, message): &(String, String)| message.starts_with("this pattern can never match");
        assert_eq!(found.iter().any(starts), hopeless, "{pattern} {found:?}");
        assert!(found.len() <= 1);
    }
    // What matches nothing does not tie with anything.
    let text = with(r#""resources":{"x:/a*b#":{},"x:/a*#b*":{}}"#);
    assert_eq!(warnings(&text).len(), 2);
}

#[test]
fn diagnostics_serialise() {
    let error = error(&with(r#""tool":{}"#));
    assert_eq!(
        serde_json::to_value(error.diagnostics()).unwrap(),
        serde_json::json!([{
            "severity": "error",
            "message": "unknown field `tool`",
            "help": "did you mean `tools`?",
            "pointer": "/tool",
            "line": 1,
            "column": 33,
            "span": { "start": 32, "end": 38 },
        }])
    );
}
