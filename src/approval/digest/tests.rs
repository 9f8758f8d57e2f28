use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::value::RawValue;

use super::*;

const CALL: Digested<'static> = Digested {
    server: "s",
    caller: "alice",
    method: "tools/call",
    params: None,
    asked_by: &[7; 32],
};

fn digest(params: &str) -> CallDigest {
    let params = Some(params.as_bytes());
    CallDigest::of(Digested { params, ..CALL }).unwrap()
}

fn same(one: &str, other: &str) -> bool {
    digest(one) == digest(other)
}

/// Worked out by another program: what is kept in a file has to be found again.
#[test]
fn it_is_the_same_in_every_version() {
    let params = r#"{"name":"pay","arguments":{"to":"b\u00e4r","amount":100.50},"_meta":{"progressToken":1}}"#;
    assert_eq!(
        digest(params).to_string(),
        "75ab2e1db579037c58333dc9ead02df2f7e4bc2d6814a3592141abe329f9b609"
    );
    assert_eq!(
        format!("{:?}", digest("{}")),
        format!("CallDigest({})", digest("{}"))
    );
    let bytes = digest("{}").as_bytes().map(|byte| format!("{byte:02x}"));
    assert_eq!(bytes.concat(), digest("{}").to_string());
}

#[test]
fn how_parameters_are_written_makes_no_difference() {
    let plain = r#"{"name":"pay","arguments":{"to":"a","amount":100}}"#;
    for other in [
        r#" { "arguments" : { "amount" : 1e2 , "to" : "a" } , "name" : "pay" } "#,
        r#"{"n\u0061me":"p\u0061y","arguments":{"amount":100.0,"to":"\u0061"}}"#,
    ] {
        assert!(same(plain, other), "{other}");
    }
}

#[test]
fn whatever_parameters_say_makes_a_difference() {
    let plain = r#"{"name":"pay","arguments":{"to":"a","n":9007199254740992}}"#;
    let mut seen = vec![digest(plain)];
    for other in [
        r#"{"name":"pay"}"#,
        r#"{"name":"pay","arguments":{}}"#,
        r#"{"name":"pay","arguments":null}"#,
        r#"{"name":"pay","arguments":{"all":true}}"#,
        r#"{"name":"pay","arguments":{"to":"b","n":9007199254740992}}"#,
        r#"{"name":"pay","arguments":{"to":"a","n":9007199254740993}}"#,
        r#"{"name":"pay","arguments":{"to":"a","n":"9007199254740992"}}"#,
        r#"{"name":"pay","arguments":{"to":["a"],"n":9007199254740992}}"#,
        r#"{"name":"pay","arguments":{"to":"a","n":9007199254740992},"task":{}}"#,
        r#"{"name":"pay","arguments":{"to":"a","n":9007199254740992},"task":{"ttl":1}}"#,
        r#"{"name":"pay","arguments":{"to":"a","n":9007199254740992},"_meta":{"tenant":1}}"#,
        r#"{"name":"pay","arguments":{"to":"a","n":9007199254740992},"_meta":{"tenant":2}}"#,
        r#"{"name":"pay","arguments":{"to":"a","n":9007199254740992},"_meta":[]}"#,
        r#"{"name":"pay","arguments":{"to":"a","n":9007199254740992},"extra":1}"#,
        r#"{"name":"Pay","arguments":{"to":"a","n":9007199254740992}}"#,
        // Left out in one place only.
        r#"{"name":"pay","arguments":{"to":"a","n":9007199254740992,"requestState":"x"}}"#,
        r#"{"name":"pay","arguments":{"to":"a","n":9007199254740992,"_meta":{"baggage":1}}}"#,
        r#"{"name":"pay","arguments":{"to":"a","n":9007199254740992},"baggage":1}"#,
        r#"{"name":"pay","arguments":{"to":"a","n":9007199254740992},"_meta":{"requestState":1}}"#,
        r#"{"name":"pay","arguments":{"to":"a","n":9007199254740992},"_meta":{"io.modelcontextprotocol":1}}"#,
        r#"{"name":"pay","arguments":{"to":"a","n":9007199254740992},"_meta":{"a":{"baggage":1}}}"#,
    ] {
        assert!(!seen.contains(&digest(other)), "{other}");
        seen.push(digest(other));
    }
}

#[test]
fn what_changes_from_one_try_to_the_next_makes_no_difference() {
    let plain = r#"{"name":"pay","arguments":{"to":"a"}}"#;
    for other in [
        r#"{"name":"pay","arguments":{"to":"a"},"requestState":"x","inputResponses":{"y":{}}}"#,
        r#"{"name":"pay","arguments":{"to":"a"},"_meta":{}}"#,
        r#"{"name":"pay","arguments":{"to":"a"},"_meta":{"progressToken":1,"traceparent":"t","tracestate":"s","baggage":"b"}}"#,
        r#"{"name":"pay","arguments":{"to":"a"},"_meta":{"io.modelcontextprotocol/clientInfo":{"name":"x"},"io.modelcontextprotocol/":1}}"#,
    ] {
        assert!(same(plain, other), "{other}");
    }
    let kept = r#"{"name":"pay","_meta":{"tenant":1}}"#;
    let more = r#"{"_meta":{"progressToken":2,"tenant":1.0},"name":"pay"}"#;
    assert!(same(kept, more));
    assert_eq!(CallDigest::of(CALL), Ok(digest("{}")));
}

/// With the same letters in other fields.
#[test]
fn whoever_calls_whom_for_what_makes_a_difference() {
    let mut seen = Vec::new();
    for (server, caller, method) in [
        ("s", "alice", "tools/call"),
        ("t", "alice", "tools/call"),
        ("s", "bob", "tools/call"),
        ("s", "alice", "prompts/get"),
        ("sa", "lice", "tools/call"),
        ("", "salice", "tools/call"),
        ("s", "alicet", "ools/call"),
        ("s", "alice", "tools/cal"),
        ("alice", "s", "tools/call"),
        ("s", "alice\0", "tools/call"),
    ] {
        for asked_by in [[7; 32], [8; 32]] {
            let call = Digested {
                server,
                caller,
                method,
                asked_by: &asked_by,
                ..CALL
            };
            let digest = CallDigest::of(call).unwrap();
            assert!(!seen.contains(&digest), "{server} {caller} {method}");
            seen.push(digest);
        }
    }
}

#[test]
fn what_is_not_read_strictly_has_no_digest() {
    for params in [
        "",
        "[]",
        "{} {}",
        r#"{"a":1,"a":2}"#,
        r#"{"_meta":{"baggage":1,"baggage":1}}"#,
        r#"{"requestState":{"a":1,"a":1}}"#,
        r#"{"a":1e-9223372036854775809}"#,
    ] {
        let params = Some(params.as_bytes());
        let digest = CallDigest::of(Digested { params, ..CALL });
        assert!(digest.is_err(), "{params:?}");
    }
}

/// What a text says, by a slow and obvious reading.
#[derive(Debug, PartialEq)]
enum Said {
    Null,
    Bool(bool),
    /// Its sign, and so many digits before and behind the point.
    Number(bool, String),
    String(String),
    Array(Vec<Said>),
    Object(BTreeMap<String, Said>),
}

impl Said {
    fn of(text: &RawValue) -> Self {
        let text = text.get();
        if let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text) {
            let members = members.into_iter();
            return Self::Object(
                members
                    .map(|(name, value)| (name, Self::of(value)))
                    .collect(),
            );
        }
        if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(text) {
            return Self::Array(items.into_iter().map(Self::of).collect());
        }
        if let Ok(text) = serde_json::from_str(text) {
            return Self::String(text);
        }
        match text {
            "null" => Self::Null,
            "true" | "false" => Self::Bool(text == "true"),
            number => {
                let (magnitude, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
                let exponent: i64 = exponent.parse().unwrap();
                let magnitude = magnitude.trim_start_matches('-');
                let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
                let point = usize::try_from(500 - exponent).unwrap();
                let before = "0".repeat(point - whole.len());
                let after = "0".repeat(1_000 - point - fraction.len());
                let digits = [&before, whole, fraction, &after].concat();
                let is_zero = digits.bytes().all(|digit| digit == b'0');
                Self::Number(!is_zero && number.starts_with('-'), digits)
            }
        }
    }

    fn of_params(params: &str) -> Self {
        let mut said = Self::of(serde_json::from_str(params).unwrap());
        let Self::Object(members) = &mut said else {
            panic!("an object");
        };
        members.remove("inputResponses");
        members.remove("requestState");
        if let Some(Self::Object(meta)) = members.get_mut("_meta") {
            for name in ["progressToken", "traceparent", "tracestate", "baggage"] {
                meta.remove(name);
            }
            meta.retain(|name, _| !name.starts_with("io.modelcontextprotocol/"));
            if meta.is_empty() {
                members.remove("_meta");
            }
        }
        said
    }
}

/// Names among which are all that are left out somewhere, and some that are sorted
/// differently as UTF-8 and as UTF-16.
fn name() -> impl Strategy<Value = String> {
    select(vec![
        r#""a""#,
        r#""\u0061""#,
        r#""b""#,
        r#""\ufb33""#,
        r#""\ud83d\ude00""#,
        r#""_meta""#,
        r#""requestState""#,
        r#""inputResponses""#,
        r#""baggage""#,
        r#""progressToken""#,
        r#""io.modelcontextprotocol/x""#,
    ])
    .prop_map(str::to_owned)
}

/// Texts that often say the same.
fn text() -> impl Strategy<Value = String> {
    let scalar = select(vec![
        "null",
        "true",
        "1",
        "1.0",
        "1e0",
        "10e-1",
        "100",
        "1e2",
        "-0",
        "0",
        "-1",
        r#""1""#,
        r#""a""#,
        r#""\u0061""#,
        r#""\n""#,
        r#""\u000a""#,
        r#""\/""#,
        r#""/""#,
    ]);
    let scalar = scalar.prop_map(str::to_owned);
    scalar.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3)
                .prop_map(|items| format!("[{}]", items.join(" ,"))),
            object(inner),
        ]
    })
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec((name(), value), 0..4).prop_map(|members| {
        let mut names = Vec::new();
        let mut texts = Vec::new();
        for (name, value) in members {
            let plain: String = serde_json::from_str(&name).unwrap();
            if !names.contains(&plain) {
                names.push(plain);
                texts.push(format!("{name}: {value}"));
            }
        }
        format!("{{ {} }}", texts.join(", "))
    })
}

fn params() -> impl Strategy<Value = String> {
    object(prop_oneof![text(), object(text())])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Of what says little, so that much is the same.
    #[test]
    fn it_is_the_same_for_what_says_the_same(
        one in object(text()),
        other in object(text()),
    ) {
        prop_assert_eq!(same(&one, &other), Said::of_params(&one) == Said::of_params(&other));
    }

    #[test]
    fn the_order_of_members_makes_no_difference(params in params(), by in any::<u64>()) {
        let rewritten = rewritten(serde_json::from_str(&params).unwrap(), by);
        prop_assert!(same(&params, &rewritten), "{}", rewritten);
    }

    #[test]
    fn what_says_something_else_is_something_else(one in params(), other in params()) {
        let is_same = Said::of_params(&one) == Said::of_params(&other);
        prop_assert_eq!(same(&one, &other), is_same);
    }
}

/// The same with its members in another order, and numbers and strings spelt in
/// another way.
fn rewritten(text: &RawValue, by: u64) -> String {
    let text = text.get();
    let by = by.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    if let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text) {
        let mut texts = Vec::new();
        for (number, (name, value)) in (0_u64..).zip(members) {
            let name = serde_json::to_string(&name).unwrap();
            texts.push(format!("{name}:{}", rewritten(value, by ^ number)));
        }
        if by & 1 == 1 {
            texts.reverse();
        }
        let middle = usize::try_from(by >> 32).unwrap() % texts.len().max(1);
        texts.rotate_left(middle);
        return format!("{{{}}}", texts.join(","));
    }
    if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(text) {
        let items: Vec<_> = items.into_iter().map(|item| rewritten(item, by)).collect();
        return format!("[\n{}\t]", items.join(","));
    }
    if let Ok(text) = serde_json::from_str::<String>(text) {
        let units = text.encode_utf16().map(|unit| format!("\\u{unit:04X}"));
        return format!("\"{}\"", units.collect::<String>());
    }
    match text {
        "null" | "true" | "false" => text.to_owned(),
        "0" | "-0" => "0.0".to_owned(),
        number if number.contains(['e', 'E']) => number.replace('e', "E"),
        number if number.contains('.') => format!("{number}0e-0"),
        number => format!("{number}0E-1"),
    }
}
