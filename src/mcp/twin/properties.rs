use proptest::prelude::*;

use super::{KNOWN, read as twin};
use crate::mcp::reading::{Reading, Said, read as fast};

/// A string of JSON, in which any character may stand as an escape sequence.
fn spelt(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (text, any::<[u8; 4]>()).prop_map(|(text, how)| {
        let mut spelt = "\"".to_owned();
        for (character, how) in text.chars().zip(how.iter().cycle()) {
            match (character, how % 8) {
                ('"' | '\\', _) => spelt.extend(['\\', character]),
                ('/', 0) => spelt.push_str("\\/"),
                ('\n', 0) => spelt.push_str("\\n"),
                (_, 0) => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        spelt.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                ('\0'..' ', _) => spelt.push_str(&format!("\\u{:04X}", u32::from(character))),
                (_, _) => spelt.push(character),
            }
        }
        spelt.push('"');
        spelt
    })
}

fn key() -> impl Strategy<Value = String> {
    let known = spelt(prop::sample::select(KNOWN).prop_map(str::to_owned));
    let odd = prop::sample::select(vec![
        r#""Method""#,
        r#""param\u017f""#,
        r#""na\u006de""#,
        r#""name\u0000""#,
        r#""x""#,
        r#""type""#,
        r#""Type""#,
        r#""taskIds""#,
        r#""resourceSubscriptions""#,
        r#""task_id""#,
        r#"" name""#,
        r#""__proto__""#,
        r#""""#,
        r#""a\"b""#,
        "\"\u{ff4e}ame\"",
        "\"\u{df}\"",
    ])
    .prop_map(str::to_owned);
    prop_oneof![6 => known, 1 => odd, 1 => spelt("[a-c\u{e9}\u{1f600}/\n]{0,3}")]
}

fn scalar() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "9007199254740991",
        "9007199254740992",
        "-9007199254740992",
        "18446744073709551616",
        "NaN",
        "Infinity",
        "-",
        "01",
        "+1",
        ".5",
        "1.",
        "1e",
        "2e308",
        "-1e-999",
        "null",
        "true",
        "false",
        "nul",
        r#""2.0""#,
        r#""tools/call""#,
        r#""\ud800""#,
        r#""\ud83d\ude00""#,
        r#""\udc00\ud800""#,
        r#""\uD83D\u0061""#,
        r#""\x""#,
        r#""\u00g0""#,
        r#""a\u0000b""#,
        "\"\u{1}\"",
        r#""ref/prompt""#,
        r#""ref/resource""#,
    ])
    .prop_map(str::to_owned);
    prop_oneof![
        4 => odd,
        2 => "-?(0|[1-9][0-9]{0,19})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
        2 => spelt(".{0,6}"),
        1 => Just(format!("\"{}\"", "n".repeat(1025))),
    ]
}

fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((key(), inner), 0..5).prop_map(object),
        ]
    })
}

/// A value with others around it, about as many as there may be.
fn deep() -> impl Strategy<Value = String> {
    (value(), 55..66_usize, any::<u64>()).prop_map(|(inside, depth, which)| {
        (0..depth).fold(inside, |inside, level| match which >> (level % 64) & 1 {
            0 => format!("[{inside}]"),
            _ => format!("{{\"a\":{inside}}}"),
        })
    })
}

fn object(members: Vec<(String, String)>) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|(key, value)| format!("{key}:{value}"))
        .collect();
    format!("{{{}}}", members.join(", "))
}

/// The members that a message of some method has, as they should be or not.
fn params() -> impl Strategy<Value = String> {
    let name = || {
        prop_oneof![
            8 => spelt("[a-z:/]{0,6}"),
            1 => (1022..1026_usize).prop_map(|length| format!("\"{}\"", "n".repeat(length))),
            1 => scalar(),
        ]
    };
    let names = || prop::collection::vec(name(), 0..3);
    let naming = prop::sample::select(vec![r#""name""#, r#""uri""#]).prop_map(str::to_owned);
    let more = prop_oneof![(key(), value()), (naming, name())];
    let more = prop::option::weighted(0.4, more);
    let reference = (prop::bool::ANY, name(), more).prop_map(|(prompt, name, more)| {
        let kind = if prompt { "prompt" } else { "resource" };
        let naming = if prompt { "name" } else { "uri" };
        let mut members = vec![
            ("\"type\"".to_owned(), format!("\"ref/{kind}\"")),
            (format!("\"{naming}\""), name),
        ];
        members.extend(more);
        ("\"ref\"".to_owned(), object(members))
    });
    let subscriptions = (names(), names()).prop_map(|(resources, tasks)| {
        let lists = format!(
            r#"{{"resourceSubscriptions":[{}],"taskIds":[{}]}}"#,
            resources.join(","),
            tasks.join(",")
        );
        ("\"notifications\"".to_owned(), lists)
    });
    let arguments = prop::collection::vec((key(), value()), 0..4)
        .prop_map(|members| ("\"arguments\"".to_owned(), object(members)));
    let meta = (
        name(),
        prop::option::of(prop_oneof![Just("{}".to_owned()), value()]),
    )
        .prop_map(|(version, capabilities)| {
            let mut members = vec![(
                "\"io.modelcontextprotocol/protocolVersion\"".to_owned(),
                version,
            )];
            let capabilities = capabilities.map(|value| {
                let key = "\"io.modelcontextprotocol/clientCapabilities\"";
                (key.to_owned(), value)
            });
            members.extend(capabilities);
            ("\"_meta\"".to_owned(), object(members))
        });
    let any = (key(), prop_oneof![9 => value(), 1 => deep()]);
    let named = (
        prop::sample::select(vec!["name", "uri", "taskId"]).prop_map(str::to_owned),
        name(),
    )
        .prop_map(|(key, name)| (format!("\"{key}\""), name));
    let member = prop_oneof![
        2 => any,
        2 => named,
        1 => reference,
        1 => subscriptions,
        1 => arguments,
        1 => meta,
    ];
    prop::collection::vec(member, 0..5).prop_map(object)
}

/// Bodies that are nearly messages.
fn message() -> impl Strategy<Value = String> {
    let member = |key: &str| spelt(Just(key.to_owned()));
    let id = prop_oneof![4 => "[1-9][0-9]{0,4}", 1 => scalar()];
    let method = prop_oneof![9 => spelt(Just("tools/call".to_owned())), 1 => value()];
    let version = spelt(Just("2.0".to_owned()));
    (
        prop::option::weighted(0.98, (member("jsonrpc"), version)),
        prop::option::weighted(0.8, (member("id"), id)),
        prop::option::weighted(0.9, (member("method"), method)),
        prop::option::weighted(0.8, (member("params"), params())),
        prop::option::weighted(0.1, (key(), value())),
    )
        .prop_map(|(version, id, method, params, more)| {
            object(
                [version, id, method, params, more]
                    .into_iter()
                    .flatten()
                    .collect(),
            )
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn fast_and_slow_reading_agree(body in message()) {
        prop_assert_eq!(fast(body.as_bytes()), twin(body.as_bytes()), "{}", body);
    }

    #[test]
    fn they_agree_on_damaged_bodies(body in message(), at in any::<prop::sample::Index>(), byte: u8, insert: bool) {
        let mut bytes = body.into_bytes();
        let at = at.index(bytes.len());
        if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
        prop_assert_eq!(fast(&bytes), twin(&bytes), "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(fast(&bytes), twin(&bytes));
        let _ = crate::mcp::recover::request_id(&bytes);
    }
}

#[test]
fn the_bounds_are_where_they_should_be() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"a":{open}{close}}}}}"#)
    };
    assert!(fast(nested(62).as_bytes()).is_some() && twin(nested(62).as_bytes()).is_some());
    assert!(fast(nested(63).as_bytes()).is_none() && twin(nested(63).as_bytes()).is_none());

    let wide = |keys: usize, last: &str| {
        let members: Vec<_> = (0..keys).map(|key| format!("\"k{key}\":0")).collect();
        let members = members.join(",");
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{{members}{last}}}}}"#)
    };
    assert!(fast(wide(10_000, "").as_bytes()).is_some());
    assert!(fast(wide(10_001, "").as_bytes()).is_none());
    let arguments = wide(65, "").replace("{\"k0\"", "{\"arguments\":{\"k0\"") + "}";
    assert_eq!(fast(arguments.as_bytes()).unwrap().argument_keys.len(), 64);
    for keys in [2, 12, 13, 5_000] {
        assert!(fast(wide(keys, "").as_bytes()).is_some(), "{keys}");
        assert!(fast(wide(keys, ",\"k1\":0").as_bytes()).is_none(), "{keys}");
        assert!(
            fast(wide(keys, ",\"\\u006b1\":0").as_bytes()).is_none(),
            "{keys}"
        );
    }
}

#[test]
fn names_that_begin_alike_are_different_names() {
    let more: Vec<_> = (0..20).map(|key| format!("\"more{key}\":0,")).collect();
    for names in [
        ["argument-1", "argument-2"],
        ["argument", "argument-1"],
        ["argument-1", "argument-10"],
    ] {
        for more in ["", &more.concat()] {
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{{more}"{}":0,"{}":0}}}}"#,
                names[0], names[1]
            );
            assert!(fast(body.as_bytes()).is_some(), "{body}");
        }
    }
}

#[test]
fn a_number_without_exponent_is_bounded_too() {
    let readable = |digits: usize| {
        let number = "9".repeat(digits);
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"a":{number}}}}}"#);
        assert_eq!(fast(body.as_bytes()), twin(body.as_bytes()), "{digits}");
        fast(body.as_bytes()).is_some()
    };
    assert!(readable(308) && !readable(309) && !readable(400));
}

/// The generators reach what they are for.
#[test]
fn many_of_the_bodies_are_messages_and_many_are_not() {
    use proptest::strategy::ValueTree as _;

    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut read = |strategy: &dyn Fn(&Reading) -> bool| {
        let bodies = (0..2000).map(|_| message().new_tree(&mut runner).unwrap().current());
        let readings = bodies.filter_map(|body| fast(body.as_bytes()));
        readings.filter(strategy).count()
    };
    let messages = read(&|_| true);
    assert!((300..1900).contains(&messages), "{messages}");
    for (what, found) in [
        (
            "keys of arguments",
            read(&|body| !body.argument_keys.is_empty()),
        ),
        (
            "references",
            read(&|body| matches!(body.reference, Some(Some(_)))),
        ),
        (
            "subscriptions",
            read(&|body| matches!(body.subscriptions, Some(Some(_)))),
        ),
        ("capabilities", read(&|body| body.has_capabilities)),
        ("names", read(&|body| matches!(body.name, Said::Text(_)))),
        (
            "unreadable names",
            read(&|body| body.name == Said::Unreadable),
        ),
    ] {
        assert!(found > 5, "{found} {what}");
    }
}
