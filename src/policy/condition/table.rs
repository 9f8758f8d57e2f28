//! What conditions mean as a table, and what holds for all of it.
//!
//! A row is a condition, the arguments, and what it is found to be in
//! `require`, `deny_if` and `require_approval`: `T`rue, `F`alse or
//! `U`ndecidable. The rows are written from the page.

mod rows;

use std::ops::Range;

use proptest::prelude::*;
use serde_json::Value;

use self::rows::{EQUALITY, NUMBERS, PATHS, SHAPES, STRINGS};
use super::*;
use crate::json::{Error, Profile, Reader};

const USES: [Use; 3] = [Use::Require, Use::DenyIf, Use::Approval];

struct Row {
    line: &'static str,
    condition: &'static str,
    args: &'static str,
    expected: [Truth; 3],
}

fn rows() -> impl Iterator<Item = Row> {
    let lines = [PATHS, EQUALITY, NUMBERS, STRINGS, SHAPES]
        .into_iter()
        .flat_map(str::lines);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let truth = |word: &str| match word {
                "T" => Truth::True,
                "F" => Truth::False,
                "U" => Truth::Undecidable,
                _ => panic!("{line}"),
            };
            let expected: Vec<Truth> = cells[2].split(' ').map(truth).collect();
            Row {
                line,
                condition: cells[0],
                args: cells[1],
                expected: expected.try_into().unwrap(),
            }
        })
}

fn condition(text: &str, usage: Use, regexes: &mut Regexes) -> (Path, Test, Use) {
    let (path, rest) = text.split_once(' ').unwrap();
    let (operator, value) = rest.split_once(' ').unwrap();
    let operator = Operator::from_name(operator).unwrap();
    let node = crate::json::tree::parse(value.as_bytes()).unwrap();
    let value = value_of(&node, &mut |_| panic!("{text}"));
    let test = Test::compile(operator, &value, regexes).unwrap();
    (Path::parse(path).unwrap(), test, usage)
}

fn roots(args: &str) -> Roots<'_> {
    Roots {
        args: Some(args.as_bytes()),
        long_args: &[],
        resource: Some(br#"{"uri": "a:b"}"#),
        caller: Some(br#"{"id": "ann", "claims": {"team": "ops"}}"#),
        tool: Some(br#"{"name": "run"}"#),
        client: None,
    }
}

/// Where the values of its members stand in the text of an object.
fn values_in(object: &str) -> Vec<Range<usize>> {
    let mut values = Vec::new();
    let mut reader = Reader::new(object.as_bytes(), Profile::JUDGED).unwrap();
    let read = reader.object(|reader, _| {
        values.push(reader.skip()?);
        Ok::<(), Error>(())
    });
    read.unwrap();
    values
}

fn plan<'c>(conditions: impl IntoIterator<Item = (&'c str, Use)>) -> Plan {
    let mut regexes = Regexes::default();
    let conditions = conditions.into_iter();
    Plan::new(
        conditions
            .map(|(text, usage)| condition(text, usage, &mut regexes))
            .collect(),
    )
}

fn truths(plan: &Plan, args: &str) -> Vec<Truth> {
    evaluate(&[plan], &roots(args))[0].to_vec()
}

#[test]
fn what_was_read_before_is_not_read_again() {
    let args = r#"{"a":1,"b":what was once a value,"c":2}"#;
    let value = args.find("what").unwrap()..args.find(",\"c\"").unwrap();
    let plan = plan([("args.a eq 1", Use::Require), ("args.c eq 2", Use::Require)]);
    let found = |long_args: &[Range<usize>]| {
        let roots = Roots {
            long_args,
            ..roots(args)
        };
        evaluate(&[&plan], &roots)[0].to_vec()
    };
    assert_eq!(found(&[value]), [Truth::True; 2]);
    assert_eq!(found(&[]), [Truth::Undecidable; 2]);
}

#[test]
fn every_condition_is_what_the_page_says() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in rows() {
        let plan = plan(USES.map(|usage| (row.condition, usage)));
        let found = truths(&plan, row.args);
        count += 1;
        if found != row.expected {
            wrong.push(format!("{}\n    is {found:?}", row.line));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 250, "only {count} rows");
}

#[test]
fn every_operator_is_in_the_table() {
    let mut gaps = Vec::new();
    for operator in Operator::ALL {
        let needle = format!(" {operator} ");
        let of_it = || rows().filter(|row| row.condition.contains(&needle));
        for shape in [r#""a": null"#, r#""a": {"#, r#""a": ["#, r#"{"A": "#] {
            if !of_it().any(|row| row.args.contains(shape)) {
                gaps.push(format!("{operator}: {shape}"));
            }
        }
        if !of_it().any(|row| row.args == "{}") {
            gaps.push(format!("{operator}: missing"));
        }
        if !of_it().any(|row| row.condition.contains("[*]")) {
            gaps.push(format!("{operator}: [*]"));
        }
    }
    assert!(gaps.is_empty(), "{gaps:?}");
}

#[test]
fn conditions_that_share_a_walk_do_not_disturb_each_other() {
    let rows: Vec<Row> = rows().collect();
    let together = plan(
        rows.iter()
            .flat_map(|row| USES.map(|usage| (row.condition, usage))),
    );
    assert_eq!(together.len(), rows.len() * 3);
    let alone: Vec<Plan> = rows
        .iter()
        .map(|row| plan(USES.map(|usage| (row.condition, usage))))
        .collect();
    for args in rows.iter().map(|row| row.args) {
        let found = truths(&together, args);
        for ((row, alone), found) in rows.iter().zip(&alone).zip(found.chunks(3)) {
            let alone = truths(alone, args);
            assert_eq!(alone, found, "{} with {args}", row.condition);
        }
    }
}

#[test]
fn two_plans_are_evaluated_as_each_alone() {
    let rows: Vec<Row> = rows().collect();
    let half = |odd: usize| {
        let half = rows.iter().enumerate().filter(move |(at, _)| at % 2 == odd);
        plan(half.flat_map(|(_, row)| USES.map(|usage| (row.condition, usage))))
    };
    let (one, other, none) = (half(0), half(1), plan([]));
    for row in &rows {
        let both = evaluate(&[&one, &none, &other], &roots(row.args));
        assert_eq!(both[0].to_vec(), truths(&one, row.args), "{}", row.args);
        assert!(both[1].is_empty());
        assert_eq!(both[2].to_vec(), truths(&other, row.args), "{}", row.args);
    }
}

#[test]
fn a_plan_knows_where_it_looks() {
    let plan = plan([
        ("args.a eq 1", Use::Require),
        ("caller.id eq \"x\"", Use::DenyIf),
    ]);
    let looks_at = plan.looks_at();
    let used = Root::ALL.map(|root| looks_at.has(root));
    assert_eq!(used, [true, false, true, false, false]);
    assert!(looks_at.iter().eq([Root::Args, Root::Caller]));
    assert!(RootSet::of(Root::ALL).iter().eq(Root::ALL));
}

#[test]
fn what_is_no_object_or_no_json_is_undecidable() {
    let plan = plan([
        ("args.a exists false", Use::DenyIf),
        ("args exists true", Use::Require),
    ]);
    let undecidable = [Truth::Undecidable; 2];
    for args in [
        "",
        "[]",
        "1",
        "\"x\"",
        "{",
        r#"{"a": 1"#,
        r#"{"b": 1} 2"#,
        r#"{"b": tru}"#,
    ] {
        assert_eq!(truths(&plan, args), undecidable, "{args}");
    }
    // Nobody hands over two members of the same name; if they did, nothing
    // would be decided by either.
    assert_eq!(
        truths(&plan, r#"{"a": null, "a": null}"#)[0],
        Truth::Undecidable
    );
    assert_eq!(
        evaluate(&[&plan], &Roots::default())[0].to_vec(),
        [Truth::True; 2]
    );
}

#[test]
fn a_deep_text_is_walked_without_harm() {
    let path = format!("args.a{}", "[0]".repeat(63));
    let plan = plan([(format!("{path} eq 1").as_str(), Use::Require)]);
    let nested = |depth: usize| format!(r#"{{"a": {}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(truths(&plan, &nested(63)), [Truth::True]);
    assert_eq!(truths(&plan, &nested(64)), [Truth::Undecidable]);
    assert_eq!(truths(&plan, &nested(50_000)), [Truth::Undecidable]);
}

#[test]
fn values_that_do_not_go_with_their_operator_are_refused() {
    let mut regexes = Regexes::default();
    for text in [
        r#"lt "5""#,
        "lte null",
        "gt [1]",
        "gte true",
        "in 1",
        r#"in "x""#,
        "in []",
        "not_in []",
        "not_in {}",
        "regex 1",
        r#"regex "(""#,
        r#"regex "(?=x)""#,
        r#"regex "(a)\\1""#,
        r#"regex "\\w{5000}""#,
        "exists 1",
        r#"exists "true""#,
        "exists null",
        "starts_with 1",
        "ends_with []",
        r#"keys_in "x""#,
        "keys_in [1]",
        "keys_in {}",
        "length_lte -1",
        "length_lte 1.5",
        r#"length_lte "3""#,
        "length_lte 1e17",
        "path_within 1",
        "path_within []",
        "path_within [1]",
        r#"path_within """#,
        r#"path_within "~/x""#,
        r#"path_within ["/a", ".."]"#,
        r#"host_in "a.dev""#,
        "host_in []",
        "host_in [1]",
        r#"host_in ["A.dev"]"#,
        r#"host_in ["https://a.dev"]"#,
        r#"host_in ["a.dev/x"]"#,
        "eq 9007199254740993",
        "in [1, [9007199254740993]]",
        r#"contains {"a": 9007199254740993}"#,
    ] {
        let (operator, value) = text.split_once(' ').unwrap();
        let operator = Operator::from_name(operator).unwrap();
        let value: Value = serde_json::from_str(value).unwrap();
        let errors = Test::compile(operator, &value, &mut regexes).unwrap_err();
        let [error] = errors.as_slice() else {
            panic!("{text}: {errors:?}");
        };
        assert!(
            !error.message.is_empty() && !error.help.is_empty(),
            "{text}"
        );
        assert!(
            error.message.chars().count() < 250,
            "{text}: {}",
            error.message
        );
        assert!(!error.message.contains('\n'), "{text}: {}", error.message);
    }
}

/// The same value with its members in the opposite order, and white space.
fn rewritten(value: &crate::json::tree::Node, text: &str, out: &mut String) {
    use crate::json::tree::Value;
    match &value.value {
        Value::Array(items) => {
            out.push_str("[ ");
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { "\r\n," } else { "" });
                rewritten(item, text, out);
            }
            out.push_str("\t]");
        }
        Value::Object(members) => {
            out.push_str("{ ");
            for (at, member) in members.iter().rev().enumerate() {
                out.push_str(if at > 0 { " , " } else { "" });
                out.push_str(&text[member.key_span.clone()]);
                out.push_str("\n: ");
                rewritten(&member.value, text, out);
            }
            out.push_str(" }");
        }
        _ => out.push_str(&text[value.span.clone()]),
    }
}

fn rewrite(text: &str) -> String {
    let mut out = String::new();
    rewritten(
        &crate::json::tree::parse(text.as_bytes()).unwrap(),
        text,
        &mut out,
    );
    out
}

#[test]
fn the_order_of_keys_and_white_space_change_nothing() {
    for row in rows().filter(|row| row.args != "null") {
        let plan = plan(USES.map(|usage| (row.condition, usage)));
        assert_eq!(
            truths(&plan, &rewrite(row.args)),
            row.expected,
            "{}",
            row.line
        );
    }
}

fn some_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("\"x\"".to_owned()),
        Just("\"\"".to_owned()),
        Just("1".to_owned()),
        Just("1e0".to_owned()),
        Just("9007199254740993".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = prop_oneof![
            Just("a"),
            Just("b"),
            Just("A"),
            Just("a_"),
            Just("c"),
            Just("\u{ff41}")
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::btree_map(key, inner, 0..4).prop_map(object),
        ]
    })
}

fn object(members: std::collections::BTreeMap<&str, String>) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(k, v)| format!("\"{k}\":{v}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// What one condition is, worked out over a tree and with lists of values.
fn slowly(
    steps: &[path::Step],
    node: &crate::json::tree::Node,
    text: &str,
    test: &Test,
    usage: Use,
) -> Truth {
    use crate::json::tree::Value;
    let Some((step, rest)) = steps.split_first() else {
        let alone = &text[node.span.clone()];
        let mut reader =
            crate::json::Reader::new(alone.as_bytes(), crate::json::Profile::JUDGED).unwrap();
        return match reader.kind().unwrap() {
            kind @ (crate::json::Kind::Array | crate::json::Kind::Object) => {
                test.of_container(reader, kind).unwrap()
            }
            kind => wanted::Scalar::read(&mut reader, kind, |found| test.of_scalar(found)).unwrap(),
        };
    };
    let next = |node| slowly(rest, node, text, test, usage);
    match (step, &node.value) {
        (path::Step::Field(name), Value::Object(members)) => {
            let plain = |key: &str| {
                let key = key.replace('\u{ff41}', "a").replace('_', "");
                key.to_lowercase()
            };
            let alike: Vec<_> = members
                .iter()
                .filter(|m| plain(&m.key) == plain(name))
                .collect();
            match alike.as_slice() {
                [] => test.of_nothing(usage),
                [one] if *one.key == **name => next(&one.value),
                _ => Truth::Undecidable,
            }
        }
        (path::Step::Index(index), Value::Array(items)) => items
            .get(*index)
            .map_or_else(|| test.of_nothing(usage), next),
        (path::Step::Each, Value::Array(items)) => {
            let truths: Vec<Truth> = items.iter().map(next).collect();
            match usage {
                Use::Require => truths.into_iter().fold(Truth::True, Truth::and),
                _ => truths.into_iter().fold(Truth::False, Truth::or),
            }
        }
        _ => Truth::Undecidable,
    }
}

fn some_condition() -> impl Strategy<Value = String> {
    let steps = prop::collection::vec(
        prop_oneof![
            Just(".a"),
            Just(".b"),
            Just(".A"),
            Just("[0]"),
            Just("[1]"),
            Just("[*]")
        ],
        0..4,
    );
    let test = prop_oneof![
        Just("eq 1"),
        Just("neq 1"),
        Just("exists true"),
        Just("exists false"),
        Just(r#"eq {"a":1}"#),
        Just(r#"in ["x",[1],{"b":1}]"#),
        Just(r#"contains "x""#),
        Just(r#"keys_in ["a","b"]"#),
        Just("length_lte 1"),
        Just("lte 1"),
    ];
    (steps, test).prop_map(|(steps, test)| format!("args{} {test}", steps.concat()))
}

proptest! {
    #[test]
    fn the_walk_is_the_same_as_working_it_out_slowly(
        members in prop::collection::btree_map(
            prop_oneof![Just("a"), Just("A"), Just("b"), Just("a_"), Just("c")], some_json(), 0..4),
        conditions in prop::collection::vec(some_condition(), 1..8),
        other in prop::collection::vec(some_condition(), 0..4),
    ) {
        let args = object(members);
        let node = crate::json::tree::parse(args.as_bytes()).unwrap();
        let all = |texts: &[String]| plan(texts.iter().flat_map(|text| USES.map(|usage| (text.as_str(), usage))));
        let (one, two) = (all(&conditions), all(&other));
        let both = evaluate(&[&one, &two], &roots(&args));
        let turned = rewrite(&args);
        prop_assert_eq!(&evaluate(&[&one, &two], &roots(&turned)), &both);
        let long_args = &*values_in(&args);
        let past_values = Roots { long_args, ..roots(&args) };
        prop_assert_eq!(&evaluate(&[&one, &two], &past_values), &both);
        for (texts, found) in [(&conditions, &both[0]), (&other, &both[1])] {
            for (text, found) in texts.iter().zip(found.chunks(3)) {
                let slow = USES.map(|usage| {
                    let (path, test, usage) = condition(text, usage, &mut Regexes::default());
                    slowly(path.steps(), &node, &args, &test, usage)
                });
                prop_assert_eq!(slow.as_slice(), found, "{} with {}", text, args);
            }
        }
    }

    #[test]
    fn no_text_does_harm(text in "[\\[\\]{}\",:a-c0-9eE.+\\-\\\\u ]{0,40}") {
        let conditions = ["args.a[*].b eq 1", "args eq {}", "args.a exists true"];
        let plan = plan(conditions.map(|text| (text, Use::Require)));
        truths(&plan, &text);
        find(&Path::parse("args.a[*].b").unwrap(), text.as_bytes());
    }
}
