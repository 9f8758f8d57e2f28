//! What a policy decides about resources and prompts, through the public API:
//! the language page, section 1, sentence by sentence.
#![allow(clippy::unwrap_used, clippy::panic)]

use mcp_policy::{Action, Decision, Outcome, Policy};
use proptest::prelude::*;
use url::Url;

use Outcome::{Allow, Deny, Hide};

const DEFAULT: (Outcome, &str) = (Deny, "(default deny)");
const HIDDEN: (Outcome, &str) = (Hide, "(hidden)");
const PROTOCOL: (Outcome, &str) = (Deny, "(protocol)");
const BY_DEFAULT: (Outcome, &str) = (Allow, "/default");

fn policy(default: &str, members: &str) -> Policy {
    let text = format!(r#"{{"version":"1","default":"{default}",{members}}}"#);
    text.parse()
        .unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn resources(default: &str, entries: &str) -> Policy {
    policy(default, &format!(r#""resources":{entries}"#))
}

fn prompts(default: &str, entries: &str) -> Policy {
    policy(default, &format!(r#""prompts":{entries}"#))
}

fn said<'p>(decision: &Decision<'p>) -> (Outcome, &'p str) {
    (decision.outcome(), decision.rule())
}

fn read<'p>(policy: &'p Policy, uri: &str) -> (Outcome, &'p str) {
    said(&policy.decide(&Action::read_resource(uri)))
}

fn get<'p>(policy: &'p Policy, name: &str) -> (Outcome, &'p str) {
    said(&policy.decide(&Action::get_prompt(name)))
}

#[track_caller]
fn reads(policy: &Policy, rows: &[(&str, (Outcome, &str))]) {
    for (uri, expected) in rows {
        assert_eq!(read(policy, uri), *expected, "{uri:?} under {policy:?}");
    }
}

#[track_caller]
fn gets(policy: &Policy, rows: &[(&str, (Outcome, &str))]) {
    for (name, expected) in rows {
        assert_eq!(get(policy, name), *expected, "{name:?} under {policy:?}");
    }
}

const NOT_CANONICAL: &[&str] = &[
    // A server could take the query for more of the path, or the host for its
    // first segment.
    "file:///pub/?/../../etc/passwd",
    "file:///pub/x?/../../etc/passwd",
    "file:///pub/x?/./y",
    "file:///pub/..%3Fx",
    "file:///pub/..%23x",
    "notes://./secret/x",
    "notes://../x",
    "notes://u@../x",
    "notes://?/../secret/x",
    "notes://secret?/x",
    // A fragment.
    "file:///srv/a#b",
    "file:///srv/a#",
    "file:///srv/#/../a",
    // A backslash or a control character.
    r"file:///srv/a\b",
    r"file:///srv/..\etc",
    r"file:\\\srv\a",
    "file:///srv/a\0",
    "file:///srv/a\nb",
    "file:///srv/.\t./etc",
    "file:///srv/a\u{7f}",
    "file:///srv/a\u{85}",
    // An escape of an ASCII letter or digit, upper and lower case.
    "file:///srv/%61",
    "file:///srv/%41",
    "file:///srv/%7A",
    "file:///srv/%7a",
    "file:///srv/%30",
    "file:///srv/%39",
    // Of each character that is listed.
    "file:///srv/%2D",
    "file:///srv/%2d",
    "file:///srv/%2E",
    "file:///srv/%2e%2e/etc",
    "file:///srv/.%2e/etc",
    "file:///srv/%5F",
    "file:///srv/%5f",
    "file:///srv/%7E",
    "file:///srv/%2F",
    "file:///srv/..%2fetc",
    "file:///srv/%5C",
    "file:///srv/..%5cetc",
    "file:///srv/%25",
    "file:///srv/%252e%252e",
    // Also in the query, and in the host.
    "file:///srv/a?%61",
    "kestra://fl%6Fws/a",
    // `.`, `..` and empty inner segments.
    "file:///srv/.",
    "file:///srv/./a",
    "file:///srv/..",
    "file:///srv/../etc/passwd",
    "file:///srv/a/..?x",
    "file:///srv//a",
    "file:///srv/a//",
    "file:////srv/a",
    "file:///srv/a/../../../etc/passwd",
    "kestra://flows/../x",
    "kestra://flows//a",
    "kestra:a/../b",
    "kestra:../b",
    "kestra:/../b",
    "git://../x/../y",
    // `file` without `file:///`.
    "file:/srv/a",
    "file:srv/a",
    "file://srv/a",
    "file://localhost/srv/a",
    "FILE:/srv/a",
    "file://",
    "file:",
    // Where the language is silent: escapes that are none, or of no text.
    "file:///srv/%",
    "file:///srv/%2",
    "file:///srv/%zz",
    "file:///srv/%%32e",
    "file:///srv/%u002e",
    "file:///srv/%00",
    "file:///srv/%0a",
    "file:///srv/%c0%ae%c0%ae/etc",
    "file:///srv/%ff",
    // No scheme.
    "",
    "srv/a",
    "/srv/a",
    "//srv/a",
    "../a",
    "1x:/a",
    " file:///srv/a",
    "fi le:///srv/a",
    // Segments that some servers take for others.
    "file:///srv/..;/etc",
    "file:///srv/..;x=y/etc",
    "file:///srv/..%20/etc",
    "file:///srv/.\u{200b}./etc",
    "file:///srv/\u{ff0e}\u{ff0e}/etc",
    "file:///srv/\u{2025}/etc",
    "file:///srv/..\u{ff0f}etc",
    "file:///srv/..\u{ff3c}etc",
    "file:///srv/\u{ff05}2e/etc",
    "file:///srv/%20/a",
];

const CANONICAL: &[&str] = &[
    "file:///srv/a",
    "file:///srv/",
    "file:///srv/a/",
    "file:///",
    "FILE:///srv/a",
    "File:///srv/a",
    "file:///srv/...",
    "file:///srv/.a/..b/c..",
    "file:///srv/a%20b",
    "file:///srv/a b",
    "file:///srv/%C3%A9",
    "file:///srv/\u{e9}",
    "file:///srv/C%23",
    "file:///srv/a%3Fb",
    "file:///srv/a;b",
    "file:///srv/a?b=../c//e",
    "file:///srv/a?",
    "kestra://flows",
    "kestra://flows/",
    "kestra://flows/a.b-c_d~e!$&'()*+,;=:@",
    "KESTRA://FLOWS/a",
    "https://user:pass@host:8443/a?b",
    "https://[::1]:8443/a",
    "https://host/?a=../b",
    "urn:isbn:0451450523",
    "mailto:a@b",
    "x:",
    "x:/",
    "x:/a",
    "x:///a",
    "x+y-z.1:a",
];

#[test]
fn a_pattern_matches_only_canonical_uris() {
    let by_name = |default| resources(default, r#"{"*":{}}"#);
    for (policy, refused) in [
        (by_name("deny"), DEFAULT),
        (by_name("hide"), HIDDEN),
        // Here nothing is denied or hidden, so nothing is refused.
        (by_name("allow"), BY_DEFAULT),
        (resources("deny", r#"{"*":{"action":"deny"}}"#), DEFAULT),
        (
            resources("allow", r#"{"*":{},"q:q":{"action":"deny"}}"#),
            PROTOCOL,
        ),
        (resources("allow", r#"{"q:*":{"action":"deny"}}"#), PROTOCOL),
        // It could be another way to write what is hidden.
        (resources("allow", r#"{"q:q":{"action":"hide"}}"#), HIDDEN),
        (
            resources("deny", r#"{"*":{},"q:*":{"action":"hide"}}"#),
            HIDDEN,
        ),
    ] {
        for uri in NOT_CANONICAL {
            reads(&policy, &[(uri, refused)]);
        }
    }
    for (policy, expected) in [
        (by_name("deny"), (Allow, "/resources/*")),
        (by_name("allow"), (Allow, "/resources/*")),
        (
            resources("deny", r#"{"*":{"action":"deny"}}"#),
            (Deny, "/resources/*/action"),
        ),
        (resources("allow", r#"{"*":{"action":"hide"}}"#), HIDDEN),
        (
            resources("allow", r#"{"q:q":{"action":"deny"}}"#),
            BY_DEFAULT,
        ),
    ] {
        for uri in CANONICAL {
            reads(&policy, &[(uri, expected)]);
        }
    }
    let refusing = resources("allow", r#"{"q:q":{"action":"deny"}}"#);
    let refused = refusing.decide(&Action::read_resource("file:/x"));
    assert!(refused.reason().unwrap().contains("more than one way"));
}

#[test]
fn other_uris_match_exact_entries() {
    for uri in NOT_CANONICAL.iter().filter(|uri| !uri.is_empty()) {
        let key = uri.replace('\\', r"\\").replace('*', r"\*");
        for (default, action, outcome) in [
            ("deny", "allow", Allow),
            ("hide", "allow", Allow),
            ("allow", "deny", Deny),
            ("allow", "hide", Hide),
            ("deny", "hide", Hide),
        ] {
            let entries = serde_json::json!({ key.as_str(): { "action": action } });
            let policy = resources(default, &entries.to_string());
            assert_eq!(read(&policy, uri).0, outcome, "{uri:?}");
        }
    }
}

#[test]
fn a_very_long_uri_needs_an_exact_entry() {
    let policy = resources("deny", r#"{"x:*":{}}"#);
    let uri = |length: usize| format!("x:{}", "a".repeat(length - 2));
    assert_eq!(read(&policy, &uri(8192)).0, Allow);
    assert_eq!(read(&policy, &uri(8193)), DEFAULT);
    let named = resources("deny", &format!(r#"{{"{}":{{}}}}"#, uri(9000)));
    assert_eq!(read(&named, &uri(9000)).0, Allow);
}

#[test]
fn scheme_and_host_compare_in_lower_case() {
    let policy = resources(
        "deny",
        r#"{ "KESTRA://Flows/Secret": {}, "HTTPS://User@Example.COM:8443/A*": {}, "FILE:///Srv/*": {},
             "URN:Isbn:*": {}, "Http*": {}, "https://*.Sub.example/*": {}, "*://Any/x": {},
             "git://*README": {}, "s3://Bucket*/Key": {} }"#,
    );
    reads(
        &policy,
        &[
            (
                "kestra://flows/Secret",
                (Allow, "/resources/KESTRA:~1~1Flows~1Secret"),
            ),
            (
                "Kestra://FLOWS/Secret",
                (Allow, "/resources/KESTRA:~1~1Flows~1Secret"),
            ),
            ("kestra://flows/secret", DEFAULT),
            (
                "https://User@example.com:8443/A",
                (Allow, "/resources/HTTPS:~1~1User@Example.COM:8443~1A*"),
            ),
            (
                "HTTPS://User@EXAMPLE.com:8443/Ab",
                (Allow, "/resources/HTTPS:~1~1User@Example.COM:8443~1A*"),
            ),
            // User information and path are compared as they are.
            (
                "https://user@example.com:8443/A",
                (Allow, "/resources/Http*"),
            ),
            ("FiLe:///Srv/a", (Allow, "/resources/FILE:~1~1~1Srv~1*")),
            ("file:///srv/a", DEFAULT),
            ("urn:Isbn:1", (Allow, "/resources/URN:Isbn:*")),
            ("urn:isbn:1", DEFAULT),
            ("HTTP://x/", (Allow, "/resources/Http*")),
            (
                "https://A.SUB.example/x",
                (Allow, "/resources/https:~1~1*.Sub.example~1*"),
            ),
            ("y://ANY/x", (Allow, "/resources/*:~1~1Any~1x")),
            // Behind a star it can be the path, too.
            ("git://h/README", (Allow, "/resources/git:~1~1*README")),
            ("git://x.readme", (Allow, "/resources/git:~1~1*README")),
            (
                "s3://bucket-1/Key",
                (Allow, "/resources/s3:~1~1Bucket*~1Key"),
            ),
            ("s3://bucket-1/key", DEFAULT),
        ],
    );
}

#[test]
fn rules_are_named_with_escaped_pointers() {
    let policy = policy(
        "deny",
        r#""resources": { "x://a/~b": {"action":"deny","reason":"No."}, "x://c/*": {"action":"deny"} },
           "prompts": { "a/~b": {"action":"deny","reason":"No."}, "c*": {} }"#,
    );
    reads(
        &policy,
        &[
            ("x://a/~b", (Deny, "/resources/x:~1~1a~1~0b/action")),
            ("x://c/d", (Deny, "/resources/x:~1~1c~1*/action")),
        ],
    );
    gets(
        &policy,
        &[
            ("a/~b", (Deny, "/prompts/a~1~0b/action")),
            ("c", (Allow, "/prompts/c*")),
        ],
    );
    for action in [
        Action::read_resource("x://a/~b"),
        Action::get_prompt("a/~b"),
    ] {
        assert_eq!(policy.decide(&action).reason(), Some("No."));
    }
}

#[test]
fn sections_do_not_speak_of_each_other() {
    let policy = policy(
        "deny",
        r#""hide": ["h*"], "tools": { "t": {} }, "resources": { "r:x": {}, "h:*": {} }, "prompts": { "p": {}, "h*": {} }"#,
    );
    for (name, tool, resource, prompt) in [
        ("t", true, false, false),
        ("r:x", false, true, false),
        ("p", false, false, true),
        // `hide` is for tools only.
        ("h:x", false, true, true),
    ] {
        let allows = |action: &Action<'_>| policy.decide(action).is_allowed();
        assert_eq!(allows(&Action::call_tool(name)), tool, "{name}");
        assert_eq!(allows(&Action::read_resource(name)), resource, "{name}");
        assert_eq!(allows(&Action::get_prompt(name)), prompt, "{name}");
    }
    // A tool that is denied makes no prompt or resource suspicious.
    let tools = crate::policy("allow", r#""hide":["a"],"tools":{"b":{"action":"deny"}}"#);
    assert_eq!(get(&tools, "\u{e9}"), BY_DEFAULT);
    assert_eq!(get(&tools, "A"), BY_DEFAULT);
    assert_eq!(read(&tools, "file:/x"), BY_DEFAULT);
}

#[test]
fn an_absent_section_follows_the_default() {
    for (default, expected) in [("allow", BY_DEFAULT), ("deny", DEFAULT), ("hide", HIDDEN)] {
        for members in [r#""name":"x""#, r#""resources":{},"prompts":{}"#] {
            let policy = policy(default, members);
            assert_eq!(read(&policy, "x:y"), expected);
            assert_eq!(read(&policy, "file:/../x"), expected);
            assert_eq!(get(&policy, "p"), expected);
            assert_eq!(get(&policy, "\u{e9}"), expected);
        }
    }
}

#[test]
fn prompts_are_named_like_tools() {
    let entries = r#"{ "*": {}, "a_*": {}, "a_b": {"action":"deny"}, "c_*": {"action":"hide"},
                       "d_*": {"action":"deny"}, "d_e": {}, "\u00e9": {}, "s\\*": {"action":"hide"} }"#;
    for default in ["deny", "hide", "allow"] {
        let odd = match default {
            "deny" => DEFAULT,
            "hide" => HIDDEN,
            _ => PROTOCOL,
        };
        gets(
            &prompts(default, entries),
            &[
                ("x", (Allow, "/prompts/*")),
                ("a_x", (Allow, "/prompts/a_*")),
                ("a_b", (Deny, "/prompts/a_b/action")),
                ("A_b", (Deny, "/prompts/a_b")),
                ("a_b\u{200b}", odd),
                ("a _b", (Deny, "/prompts/a_b")),
                ("c_x", HIDDEN),
                ("C_x", HIDDEN),
                ("c\u{ad}_x", HIDDEN),
                ("s*", HIDDEN),
                ("d_x", (Deny, "/prompts/d_*/action")),
                ("D_x", (Deny, "/prompts/d_*")),
                ("d_e", (Allow, "/prompts/d_e")),
                ("\u{e9}", (Allow, "/prompts/\u{e9}")),
                ("\u{e8}", odd),
                ("p\u{440}ompt", odd),
                ("", odd),
                ("x\n", odd),
                (&"x".repeat(256), (Allow, "/prompts/*")),
                (&"x".repeat(257), odd),
            ],
        );
    }
}

#[test]
fn a_uri_that_looks_restricted_is_refused() {
    let entries = r#"{ "file:///*": {}, "file:///secret/*": {"action":"ACTION"}, "file:///etc/passwd": {"action":"ACTION"},
        "file:///*.key": {"action":"ACTION"}, "file:///geh\u00e4lter/*": {"action":"ACTION"}, "file:///dir/": {"action":"ACTION"},
        "file:///SECRET/named": {}, "http://inside/*": {"action":"ACTION"}, "http://*": {}, "http://port:80/x": {"action":"ACTION"} }"#;
    let alike = [
        "file:///Secret/a",
        "file:///secret%20/a",
        "file:///se\u{200b}cret/a",
        "file:///\u{ff53}ecret/a",
        "file:///etc/passwd?x",
        "file:///etc/passwd?",
        "file:///etc/passwd/",
        "file:///etc/passwd/?x",
        "file:///ETC/Passwd",
        "file:///a/b.key?x=y",
        "file:///a/b.KEY/",
        "file:///geh%C3%A4lter/a",
        "file:///geha%CC%88lter/a",
        "file:///GEH%C3%84LTER/a",
        "file:///dir",
        "file:///dir?",
        "http://u@inside/a",
        "http://u:p@inside:80/a",
        "http://inside:/a",
        "http://inside:0080/a",
        "http://inside./a",
        "http://port/x",
        "http://u@port/x?y",
    ];
    let free = [
        "file:///secrets/a",
        "file:///secret",
        "file:///etc/passwd2",
        "file:///a/b.keys",
        "file:///dir/a",
        "http://inside:81/a",
        "http://inside.example/a",
        "https://port/x",
        "http://port:8080/x",
    ];
    for default in ["allow", "deny", "hide"] {
        let denies = resources(default, &entries.replace("ACTION", "deny"));
        let hides = resources(default, &entries.replace("ACTION", "hide"));
        for uri in alike {
            let decision = denies.decide(&Action::read_resource(uri));
            assert_eq!(decision.outcome(), Deny, "{uri} {decision:?}");
            assert!(!decision.rule().ends_with("/action"), "{uri} {decision:?}");
            assert!(decision.reason().unwrap().contains("mistaken"), "{uri}");
            assert_eq!(read(&hides, uri), HIDDEN, "{uri}");
        }
        for uri in free.iter().filter(|uri| !uri.starts_with("https")) {
            assert_eq!(read(&denies, uri).0, Allow, "{uri}");
            assert_eq!(read(&hides, uri).0, Allow, "{uri}");
        }
        let named = (Allow, "/resources/file:~1~1~1SECRET~1named");
        assert_eq!(read(&denies, "file:///SECRET/named"), named);
        assert_eq!(read(&hides, "file:///SECRET/named"), named);
    }
    let https = resources("allow", &entries.replace("ACTION", "deny"));
    assert_eq!(read(&https, "https://port/x"), BY_DEFAULT);
}

#[test]
fn an_escape_that_a_star_cuts_stands_for_anything() {
    let policy = resources("allow", r#"{"x:/%C3*/a":{"action":"deny"}}"#);
    reads(
        &policy,
        &[
            ("x:/%C3%A9/a", (Deny, "/resources/x:~1%C3*~1a/action")),
            ("x:/\u{e9}/a", (Deny, "/resources/x:~1%C3*~1a")),
            ("x:/\u{e9}/b", BY_DEFAULT),
        ],
    );
}

/// Row 36 of the threats: the engine asks this one question for every method
/// that names a resource.
#[test]
fn threat_36() {
    let narrow = resources("deny", r#"{"file:///srv/*":{},"git://repo/*":{}}"#);
    let wide = resources(
        "allow",
        r#"{"file:///etc/*":{"action":"deny"},"git://secret/*":{"action":"deny"}}"#,
    );
    let hiding = resources(
        "allow",
        r#"{"file:///etc/*":{"action":"hide"},"git://secret/*":{"action":"hide"}}"#,
    );
    for uri in [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "File:///etc/passwd",
        "file:///ETC/passwd",
        "file:/etc/passwd",
        "file:etc/passwd",
        "file://etc/passwd",
        "file://localhost/etc/passwd",
        "file:////etc/passwd",
        "file:///srv/../etc/passwd",
        "file:///srv/%2e%2e/etc/passwd",
        "file:///srv/..%2fetc/passwd",
        "file:///srv/%252e%252e/etc/passwd",
        r"file:///srv\..\etc\passwd",
        "file:///srv/..;/etc/passwd",
        "file:///%65tc/passwd",
        "file:///etc/passwd#",
        "file:///etc/passwd?",
        "file:///etc/passwd\0",
        " file:///etc/passwd",
        "fi\tle:///etc/passwd",
        "git://repo/../secret/a",
        "git://secret/a",
        "GIT://SECRET/a",
        "git://user@secret/a",
        "git://repo/..",
    ] {
        assert_ne!(read(&narrow, uri).0, Allow, "{uri:?}");
        assert_ne!(read(&wide, uri).0, Allow, "{uri:?}");
        assert_eq!(read(&hiding, uri), HIDDEN, "{uri:?}");
    }
    // A host that is called `..` is none, and no way up either.
    assert_eq!(read(&narrow, "git://../"), DEFAULT);
    assert!(read(&narrow, "file:///srv/a").0 == Allow);
    assert!(read(&wide, "file:///srv/a").0 == Allow);
}

/// Pieces of which a URI can be made that is read in more than one way.
fn odd_path() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "/", "/", ".", "..", "./", "../", "%2e", "%2E%2e", "%2f", "%5c", "%25", "\\", "a",
        "s", "S", "se", "secret", "Secret", "%73", "%C3%A9", "\u{e9}", "?", "#", "@", ":", ";",
        " ", "\t", "%20", "%", "*", "|", "C:", "\u{200b}", "\u{ff0e}", "\u{ff0f}", "&", "=",
    ]);
    prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

fn parsed(uri: &str) -> Option<String> {
    Url::parse(uri).ok().map(|url| url.as_str().to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_a_pattern_allows_stays_below_its_prefix(
        prefix in prop::sample::select(vec![
            "file:///srv/", "https://host/a/", "https://host/", "kestra://flows/", "x:/a/", "x:/",
        ]),
        start in prop::sample::select(vec!["file:///srv/", "FILE:///srv/", "file:/", "file://", "https://host/a/",
            "https:", "HTTPS://HOST/", "https:/\\host/", "kestra://flows/", "kestra:", "x:/a/", "x:/", "X:/", "x:", ""]),
        path in odd_path(),
    ) {
        let policy = resources("deny", &format!(r#"{{"{prefix}*":{{}}}}"#));
        let uri = format!("{start}{path}");
        if read(&policy, &uri).0 == Allow {
            prop_assert!(uri.to_lowercase().starts_with(prefix));
            if let Some(normal) = parsed(&uri) {
                prop_assert!(normal.to_lowercase().starts_with(&parsed(prefix).unwrap()), "{} {}", uri, normal);
            }
        }
    }

    #[test]
    fn what_is_denied_has_no_other_spelling(
        default in prop::sample::select(vec!["allow", "deny", "hide"]),
        action in prop::sample::select(vec!["deny", "hide"]),
        start in prop::sample::select(vec!["file:///", "FILE:///", "file:/", "file:", "file://", "file:///secret/",
            "file:///secret", "file:///a/", "file://localhost/"]),
        path in odd_path(),
    ) {
        let allow = if default == "allow" { "" } else { r#""file:*":{},"# };
        let policy = resources(default, &format!(
            r#"{{{allow}"file:///secret/*":{{"action":"{action}"}},"file:///a/s":{{"action":"{action}"}}}}"#,
        ));
        let uri = format!("{start}{path}");
        if read(&policy, &uri).0 == Allow {
            if let Ok(url) = Url::parse(&uri) {
                let path = url.path().to_lowercase();
                prop_assert!(!path.starts_with("/secret/"), "{}", uri);
                prop_assert!(path != "/a/s", "{}", uri);
                if let Ok(file) = url.to_file_path() {
                    prop_assert!(!file.starts_with("/secret") || file.as_os_str() == "/secret", "{}", uri);
                    prop_assert!(file != std::path::Path::new("/a/s"), "{}", uri);
                }
            }
        }
    }

    #[test]
    fn prompts_are_judged_like_tools(
        default in prop::sample::select(vec!["allow", "deny", "hide"]),
        entries in prop::collection::btree_map("[abAB*\u{e9}]{1,3}", prop::sample::select(vec!["allow", "deny", "hide"]), 0..4),
        names in prop::collection::vec("[abAB \u{e9}\u{200b}]{0,4}", 10),
    ) {
        let rules: Vec<String> = entries.iter().map(|(key, action)| format!(r#""{key}":{{"action":"{action}"}}"#)).collect();
        let rules = rules.join(",");
        let load = |section: &str| format!(r#"{{"version":"1","default":"{default}","{section}":{{{rules}}}}}"#).parse::<Policy>();
        let (tools, prompts) = (load("tools"), load("prompts"));
        prop_assert_eq!(tools.is_ok(), prompts.is_ok());
        if let (Ok(tools), Ok(prompts)) = (tools, prompts) {
            for name in &names {
                let tool = tools.decide(&Action::call_tool(name));
                let prompt = prompts.decide(&Action::get_prompt(name));
                prop_assert_eq!(tool.outcome(), prompt.outcome());
                prop_assert_eq!(tool.rule().replace("/tools", "/prompts"), prompt.rule());
                prop_assert_eq!(tool.reason(), prompt.reason());
            }
        }
    }
}

#[test]
fn other_ways_to_a_restricted_uri_are_refused() {
    for (default, action) in [
        ("deny", "deny"),
        ("deny", "hide"),
        ("allow", "deny"),
        ("allow", "hide"),
    ] {
        let text = format!(
            r#"{{"version":"1","default":"{default}","resources":{{
                "notes://*":{{}}, "https://h/*":{{}},
                "notes://secret/*":{{"action":"{action}"}},
                "notes://a/private":{{"action":"{action}"}},
                "https://h/secret":{{"action":"{action}"}}
            }}}}"#
        );
        let policy: Policy = text.parse().unwrap();
        let allowed = |uri: &str| policy.decide(&Action::read_resource(uri)).is_allowed();
        for uri in [
            "notes://secret/x",
            "notes:///secret/x",
            "notes:/secret/x",
            "notes:secret/x",
            "notes://secret:5/x",
            "notes://x@secret/x",
            "notes://a/private?x",
            "notes://a/private;x",
            "notes://a/private%3Fx",
            "notes://a/private%23x",
            "notes://a/private%3B",
            "https://h/secret;x",
            "https://h/secret%3Fx",
            "https://h:443/secret",
            "https://h/secret/",
        ] {
            assert!(!allowed(uri), "{uri} under {text}");
        }
        for uri in [
            "notes://b/private",
            "notes://a/private2",
            "https://h/open;x?y=z",
        ] {
            assert!(allowed(uri), "{uri} under {text}");
        }
    }
}
