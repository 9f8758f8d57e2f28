//! What a decision costs, and loading what decides: against the number of tools,
//! rules and conditions, and for each kind of condition. See `README.md`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use mcp_policy::{Action, Policy};

const TOOLS: [usize; 3] = [10, 100, 10_000];
const CONDITIONS: [usize; 3] = [1, 8, 64];

/// Entries of a section, each made of its number.
fn entries(count: usize, entry: impl Fn(usize) -> String) -> String {
    let entries: Vec<String> = (0..count).map(entry).collect();
    entries.join(",")
}

fn document(tools: &str) -> String {
    format!(r#"{{"version":"1","default":"deny","tools":{{{tools}}}}}"#)
}

/// A rule that requires these conditions.
fn requiring(conditions: &str) -> String {
    format!(r#"{{"require":[{{"conditions":[{conditions}]}}]}}"#)
}

/// A policy that says this of the tool `x`.
fn of_one_tool(rule: &str) -> Policy {
    document(&format!(r#""x":{rule}"#)).parse().unwrap()
}

fn rule_of_a_number(number: usize) -> String {
    requiring(&format!(
        r#"{{"path":"args.amount","op":"lte","value":{number}}}"#
    ))
}

/// Measures a decision, which has to be this one.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    policy: &Policy,
    (name, arguments): (&str, &str),
    allowed: bool,
) {
    let action = Action::call_tool(name).with_arguments(arguments).unwrap();
    let decision = policy.decide(&action);
    assert_eq!(decision.is_allowed(), allowed, "{decision:?}");
    group.bench_function(id, |bench| {
        bench.iter(|| black_box(policy.decide(black_box(&action))));
    });
}

fn tools(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide/tools");
    for count in TOOLS {
        let id = |what| BenchmarkId::new(what, count);
        let last = count - 1;

        let names = document(&entries(count, |i| format!(r#""tool_{i}":{{}}"#)));
        let policy = names.parse().unwrap();
        let name = format!("tool_{last}");
        measure(&mut group, id("name"), &policy, (&name, "{}"), true);
        measure(&mut group, id("unlisted"), &policy, ("other", "{}"), false);

        let patterns = document(&entries(count, |i| format!(r#""tool_{i}_*":{{}}"#)));
        let policy = patterns.parse().unwrap();
        let name = format!("tool_{last}_x");
        measure(&mut group, id("pattern"), &policy, (&name, "{}"), true);

        let hide = entries(count, |i| format!(r#""secret_{i}_*""#));
        let text =
            format!(r#"{{"version":"1","default":"deny","hide":[{hide}],"tools":{{"x":{{}}}}}}"#);
        let policy = text.parse().unwrap();
        let name = format!("secret_{last}_x");
        measure(&mut group, id("visible"), &policy, ("x", "{}"), true);
        measure(&mut group, id("hidden"), &policy, (&name, "{}"), false);

        let rules = document(&entries(count, |i| {
            format!(r#""tool_{i}":{}"#, rule_of_a_number(i + 100))
        }));
        let policy = rules.parse().unwrap();
        let call = (&*format!("tool_{last}"), r#"{"amount":50}"#);
        measure(&mut group, id("rule"), &policy, call, true);
    }
    group.finish();
}

/// Arguments of a kilobyte, with as many members as conditions look at.
fn arguments(count: usize) -> String {
    let members = entries(count, |i| format!(r#""field_{i}":{i}"#));
    let filling = "x".repeat(1024_usize.saturating_sub(members.len()));
    format!(r#"{{{members},"text":"{filling}"}}"#)
}

fn conditions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide/conditions");
    for count in CONDITIONS {
        let id = |what| BenchmarkId::new(what, count);
        let arguments = arguments(64);
        let members = requiring(&entries(count, |i| {
            format!(r#"{{"path":"args.field_{i}","op":"lte","value":100}}"#)
        }));
        let policy = of_one_tool(&members);
        measure(&mut group, id("members"), &policy, ("x", &arguments), true);

        let one = requiring(&entries(count, |i| {
            format!(
                r#"{{"path":"args.field_7","op":"lte","value":{}}}"#,
                i + 100
            )
        }));
        let policy = of_one_tool(&one);
        measure(
            &mut group,
            id("one_member"),
            &policy,
            ("x", &arguments),
            true,
        );
    }
    group.finish();
}

fn operators(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide/operators");
    let many = entries(1_000, |i| format!(r#""value-{i}""#));
    let hosts = entries(16, |i| format!(r#""h{i}.example""#));
    for (name, operator, value, found) in [
        ("eq", "eq", r#""value-999""#, "value-999"),
        ("in_1000", "in", &*format!("[{many}]"), "value-999"),
        ("regex", "regex", r#""^value-[0-9]{1,9}$""#, "value-999"),
        (
            "regex_unicode",
            "regex",
            r#""^\\w{1,6}-\\w{1,6}$""#,
            "value-999",
        ),
        (
            "path_within",
            "path_within",
            r#"["/srv/data","/tmp"]"#,
            "/srv/data/a/b.txt",
        ),
        (
            "host_in_16",
            "host_in",
            &*format!("[{hosts}]"),
            "https://h15.example/a/b?c=d",
        ),
        ("keys_in", "keys_in", "", ""),
    ] {
        let (path, value) = match operator {
            "keys_in" => ("args", r#"["to","subject","a"]"#),
            _ => ("args.a", value),
        };
        let condition = format!(r#"{{"path":"{path}","op":"{operator}","value":{value}}}"#);
        let policy = of_one_tool(&requiring(&condition));
        let arguments = format!(r#"{{"to":"someone","subject":"something","a":"{found}"}}"#);
        let id = BenchmarkId::from_parameter(name);
        measure(&mut group, id, &policy, ("x", &arguments), true);
    }
    group.finish();
}

fn dispatchers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide/dispatcher");
    let unwrap = r#"{"unwrap":{"name":"args.tool","arguments":"args.input"}}"#;
    let rule = rule_of_a_number(100);
    let text = document(&format!(r#""invoke":{unwrap},"x":{rule}"#));
    let policy = text.parse().unwrap();
    for (name, input) in [
        ("object", r#"{"amount":50}"#),
        ("string", r#""{\"amount\":50}""#),
    ] {
        let arguments = format!(r#"{{"tool":"x","input":{input}}}"#);
        let id = BenchmarkId::from_parameter(name);
        measure(&mut group, id, &policy, ("invoke", &arguments), true);
    }
    group.finish();
}

fn load(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load");
    group.sample_size(10);
    for count in TOOLS {
        let mut rules = String::new();
        for number in 0..count {
            let rule = requiring(&format!(
                r#"{{"path":"args.amount","op":"lte","value":{number}}},{{"path":"args.id","op":"regex","value":"^t{}-[a-z0-9]{{1,40}}$"}}"#,
                number % 100
            ));
            write!(
                rules,
                r#"{}"tool_{number}":{rule}"#,
                if number > 0 { "," } else { "" }
            )
            .unwrap();
        }
        let text = document(&rules);
        group.throughput(Throughput::Bytes(text.len().try_into().unwrap()));
        group.bench_with_input(BenchmarkId::new("rules", count), &text, |bench, text| {
            bench.iter(|| black_box(text.parse::<Policy>().unwrap()));
        });
    }
    group.finish();
}

criterion_group!(benches, tools, conditions, operators, dispatchers, load);
criterion_main!(benches);
