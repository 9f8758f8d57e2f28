//! How large a document may be, and that loading it is no more work than that,
//! through the public API.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use mcp_policy::{Action, LoadError, Policy};

/// A document that is right but for these members.
fn with(members: &str) -> String {
    format!(r#"{{"version":"1","default":"deny",{members}}}"#)
}

#[test]
fn only_the_first_problems_are_listed() {
    let wrong: Vec<String> = (0..1_000).map(|i| format!(r#""t{i}":7"#)).collect();
    let text = with(&format!(r#""tools":{{{}}}"#, wrong.join(",")));
    let error = text.parse::<Policy>().unwrap_err();
    assert_eq!(error.diagnostics().len(), 200);
    assert!(
        error
            .to_string()
            .starts_with("the policy is not loaded: 1000 problems")
    );
    assert!(
        error
            .to_string()
            .ends_with("\n\nand 800 more that are not shown")
    );
}

/// Of one list: more than anybody reads is not counted either.
#[test]
fn only_the_first_mistakes_in_a_value_are_kept() {
    let hosts = list(1_000, |i| format!(r#""HOST{i}""#));
    let condition = format!(r#"{{"path":"args.a","op":"host_in","value":{hosts}}}"#);
    let text = of_one_tool(&format!(r#""require":[{{"conditions":[{condition}]}}]"#));
    let error = text.parse::<Policy>().unwrap_err().to_string();
    assert!(
        error.starts_with("the policy is not loaded: 200 problems"),
        "{error}"
    );
}

/// A policy with so many tools, or why there is none.
fn load(count: usize, entry: impl Fn(usize) -> String) -> Result<Policy, LoadError> {
    let entries: Vec<String> = (0..count).map(entry).collect();
    with(&format!(r#""tools":{{{}}}"#, entries.join(","))).parse()
}

#[test]
fn a_document_may_have_a_hundred_thousand_entries() {
    let named = load(100_000, |i| format!(r#""tool_{i}":{{}}"#)).unwrap();
    let patterns = load(100_000, |i| format!(r#""tool_{i:06}_*":{{}}"#)).unwrap();
    // And none of them is left out.
    for (policy, tool) in [(named, "tool_99999"), (patterns, "tool_099999_a")] {
        assert!(policy.decide(&Action::call_tool(tool)).is_allowed());
    }
}

/// Not timed: each of these would take minutes if the work were quadratic.
#[test]
fn loading_is_no_more_work_than_reading() {
    const MANY: usize = 30_000;
    assert!(load(MANY, |i| format!(r#""*_{i:06}":{{}}"#)).is_ok());
    assert!(load(MANY, |i| format!(r#""a{i}*":{{"action":"deny"}}"#)).is_ok());
    assert!(load(MANY, |i| format!(r#""*{i:06}*":{{"action":"deny"}}"#)).is_ok());
    let mixed = load(MANY, |i| match i % 2 {
        0 => format!(r#""*{i:06}*":{{"action":"deny"}}"#),
        _ => format!(r#""p{i:06}*":{{}}"#),
    });
    assert!(mixed.is_ok());
    for entry in [
        |i| format!(r#""*{i:06}*":{{}}"#),
        |i| format!(r#""{i:06}":{{"x{i}":1}}"#),
        |_| r#""x":{}"#.to_owned(),
    ] {
        let error = load(MANY, entry).unwrap_err().to_string();
        assert!(error.ends_with("more that are not shown"), "{error}");
    }
}

#[test]
fn resources_are_no_more_work_than_tools() {
    const MANY: usize = 30_000;
    for entry in [
        |i| format!(r#""X://H{i}/*":{{}}"#),
        |i| format!(r#""*://h/{i:06}":{{"action":"deny"}}"#),
        |i| format!(r#""x://h/%C3{i:06}*/":{{"action":"hide"}}"#),
        |i| format!(r#""x://H{i}/a":{{"action":"hide"}}"#),
    ] {
        let entries: Vec<String> = (0..MANY).map(entry).collect();
        let policy: Policy = with(&format!(r#""resources":{{{}}}"#, entries.join(",")))
            .parse()
            .unwrap();
        for i in 0..200 {
            let uri = format!("x://u@h:{i}/%C3%A9/?{i}");
            assert!(!policy.decide(&Action::read_resource(&uri)).is_allowed());
        }
    }
    // Longer than what patterns are tried on.
    let stars = "*a".repeat(2_000);
    let policy: Policy = with(&format!(
        r#""resources":{{"x:{stars}*b":{{"action":"deny"}}}}"#
    ))
    .parse()
    .unwrap();
    let uri = format!("x:{}", "a".repeat(1_000_000));
    let decision = policy.decide(&Action::read_resource(&uri));
    assert_eq!(decision.rule(), "(default deny)");
}

#[test]
fn too_many_entries_are_refused_at_once() {
    let entries: Vec<String> = (0..100_001).map(|i| format!(r#""{i}":7"#)).collect();
    let tools = format!(r#""tools":{{{}}}"#, entries.join(","));
    let hide = format!(r#""hide":[{}1]"#, "1,".repeat(100_000));
    let resources: Vec<String> = (0..50_001).map(|i| format!(r#""x:{i}":7"#)).collect();
    let resources = resources.join(",");
    let both = format!(r#""resources":{{{resources}}},"prompts":{{{resources}}}"#);
    for text in [
        with(&tools),
        with(&hide),
        with(&entries.join(",")),
        with(&both),
    ] {
        let error = text.parse::<Policy>().unwrap_err();
        assert_eq!(error.diagnostics().len(), 1);
        let message = error.diagnostics()[0].message();
        assert!(
            message.ends_with("entries, at most 100000 are read"),
            "{message}"
        );
        assert_eq!(error.diagnostics()[0].span(), 0..1);
    }
}

#[test]
fn pathological_patterns_answer() {
    let stars = "*a".repeat(2_000);
    let policy: Policy = with(&format!(
        r#""tools":{{"{stars}*b":{{"action":"deny"}},"{stars}*c*":{{}}}}"#
    ))
    .parse()
    .unwrap();
    let name = "a".repeat(10_000);
    let decision = policy.decide(&Action::call_tool(&name));
    assert_eq!(decision.rule(), "(default deny)");
}

/// A document whose tool `x` has this rule.
fn of_one_tool(rule: &str) -> String {
    with(&format!(r#""tools":{{"x":{{{rule}}}}}"#))
}

fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    let items: Vec<String> = (0..count).map(item).collect();
    format!("[{}]", items.join(","))
}

/// Not timed: each of these would take minutes if the work were quadratic.
#[test]
fn checks_and_conditions_are_no_more_work_than_names() {
    const MANY: usize = 30_000;
    let condition = |path: &str, op: &str, value: &str| {
        format!(r#"{{"path":"{path}","op":"{op}","value":{value}}}"#)
    };
    let equal = |path: String| condition(&path, "eq", "1");
    let deep = ".a".repeat(60);
    let conditions = |item: &dyn Fn(usize) -> String| {
        of_one_tool(&format!(
            r#""require":[{{"conditions":{}}}]"#,
            list(MANY, item)
        ))
    };
    let checks =
        |item: &dyn Fn(usize) -> String| of_one_tool(&format!(r#""deny_if":{}"#, list(MANY, item)));
    let of_value = |op: &str, value: String| {
        of_one_tool(&format!(
            r#""require":[{{"conditions":[{}]}}]"#,
            condition("args.a", op, &value)
        ))
    };
    for text in [
        conditions(&|_| equal("args.a".to_owned())),
        conditions(&|i| equal(format!("args.a{i}"))),
        conditions(&|i| equal(format!("args.a[{i}]"))),
        conditions(&|i| equal(format!("args{deep}.b{i}"))),
        conditions(&|_| condition("args.a", "regex", r#""(?i)[\\w\\pL]{1,9}""#)),
        checks(&|i| format!(r#"{{"conditions":[{}]}}"#, equal(format!("args.a{i}")))),
        checks(&|_| format!(r#"{{"conditions":[{}]}}"#, equal("args.a".to_owned()))),
        checks(&|_| r#"{"conditions":[],"name":"n"}"#.to_owned()),
        of_value("in", list(MANY, |i| i.to_string())),
        of_value("in", list(MANY, |i| format!("[{i}]"))),
        of_value("not_in", list(MANY, |i| format!(r#""{i}""#))),
        of_value("keys_in", list(MANY, |i| format!(r#""k{i}""#))),
        of_value("host_in", list(MANY, |i| format!(r#""h{i}.dev""#))),
        of_value("path_within", list(MANY, |i| format!(r#""/a/{i}""#))),
        of_value("contains", format!("{}1{}", "[".repeat(50), "]".repeat(50))),
    ] {
        let policy: Policy = text.parse().unwrap();
        let arguments = r#"{"a":1,"A":"x","_a":[1,2]}"#;
        let call = Action::call_tool("x").with_arguments(arguments).unwrap();
        assert_eq!(policy.decide(&call), policy.decide(&call));
    }
    let unwrap = r#"{"unwrap":{"name":"args.a","arguments":"args.b"}}"#;
    assert!(load(MANY, |i| format!(r#""t{i}":{unwrap}"#)).is_ok());
}

#[test]
fn every_entry_may_have_limits() {
    let limits = r#"{"rate_limit":"9/minute","max_concurrent":{"max":3}}"#;
    let entries = |i| match i % 2 {
        0 => format!(r#""tool_{i}":{limits}"#),
        _ => format!(r#""tool_{i:06}_*":{limits}"#),
    };
    assert!(load(100_000, entries).is_ok());
    let by = r#"{"limits":[{"counter":"c","window":1,"max":1,"increment_from":"args.a"}]}"#;
    assert!(load(50_000, |i| format!(r#""t{i}":{by}"#)).is_ok());
    // More of them than one rule may have.
    let limits = list(100_000, |i| {
        format!(r#"{{"counter":"c{i}","window":1,"max":1}}"#)
    });
    let error = of_one_tool(&format!(r#""limits":{limits}"#))
        .parse::<Policy>()
        .unwrap_err();
    assert_eq!(error.diagnostics().len(), 1);
    let message = error.diagnostics()[0].message();
    assert_eq!(message, "this rule has 100000 limits, at most 32 are read");
}

#[test]
fn every_entry_may_ask_for_an_approval() {
    let approval = r#"{"require_approval":{"reason":"r","conditions":[{"path":"args.a","op":"eq","value":1}]}}"#;
    assert!(load(20_000, |i| format!(r#""t{i}":{approval}"#)).is_ok());
    // Its place, and that of each condition, has the name of its rule in it.
    let name = "n".repeat(4 << 20);
    let condition = r#"{"path":"args","op":"exists","value":true}"#;
    let conditions = list(100, |_| condition.to_owned());
    let text = with(&format!(
        r#""tools":{{"{name}":{{"require_approval":{{"conditions":{conditions}}}}}}}"#
    ));
    let error = text.parse::<Policy>().unwrap_err();
    assert_eq!(error.diagnostics().len(), 1);
    let message = "this name is too long for a rule with so many checks";
    assert_eq!(error.diagnostics()[0].message(), message);
}

/// The name of the policy is in what tells each of its limits from all others.
#[test]
fn a_long_name_is_not_repeated_without_end() {
    // Four limits each: with this name they take 64 MiB, and that is the most.
    let limits = list(3, |i| format!(r#"{{"counter":"{i}","window":1,"max":1}}"#));
    let rules: Vec<_> = (0..1 << 14)
        .map(|i| format!(r#""t{i}":{{"limits":{limits},"rate_limit":"1/day"}}"#))
        .collect();
    let text = |length: usize| {
        let name = "n".repeat(length);
        with(&format!(
            r#""name":"{name}","tools":{{{}}}"#,
            rules.join(",")
        ))
    };
    assert!(text(1 << 10).parse::<Policy>().is_ok());
    let error = text((1 << 10) + 1).parse::<Policy>().unwrap_err();
    assert_eq!(error.diagnostics().len(), 1);
    assert_eq!(error.diagnostics()[0].pointer(), "/name");
}

/// The place of every check has the name of its rule in it.
#[test]
fn long_names_are_not_repeated_without_end() {
    let name = "n".repeat(4 << 20);
    let long = |item: &str| {
        let items = vec![item; 100_000].join(",");
        let text = with(&format!(r#""tools":{{"{name}":{{"require":[{items}]}}}}"#));
        text.parse::<Policy>().unwrap_err()
    };
    let error = long(r#"{"conditions":[]}"#);
    assert_eq!(error.diagnostics().len(), 1);
    assert_eq!(
        error.diagnostics()[0].message(),
        "this name is too long for a rule with so many checks"
    );
    let error = long("7");
    assert_eq!(error.diagnostics().len(), 1);
    assert!(error.to_string().len() < 2_000, "{error}");
    assert!(error.to_string().ends_with("more that are not shown"));
}

#[test]
fn too_many_regular_expressions_are_refused_once() {
    let of = |count, pattern: &dyn Fn(usize) -> String| {
        let conditions = list(count, |i| {
            format!(
                r#"{{"path":"args.a","op":"regex","value":"{}"}}"#,
                pattern(i)
            )
        });
        let text = of_one_tool(&format!(r#""require":[{{"conditions":{conditions}}}]"#));
        text.parse::<Policy>().unwrap_err()
    };
    let long = "a".repeat(20_000);
    let together = of(400, &|i| format!("{long}{i}"));
    let messages: Vec<_> = together
        .diagnostics()
        .iter()
        .map(mcp_policy::Diagnostic::message)
        .collect();
    assert_eq!(messages.len(), 1, "{messages:?}");
    for pathological in ["((((a{100}){100}){100}){100}){100}", r"(?i)[\\w\\pL]{1000}"] {
        let error = of(1, &|_| pathological.to_owned());
        let message = error.diagnostics()[0].message();
        assert!(message.ends_with("more than 1 MiB"), "{message}");
    }
}

/// One character is eighteen once names are compared.
#[test]
fn characters_that_stand_for_many_are_bounded() {
    let of = |count: usize| {
        let name = "\u{fdfa}".repeat(count);
        with(&format!(r#""methods":{{"{name}":"deny"}}"#)).parse::<Policy>()
    };
    assert!(of(20_000).is_ok());
    let error = of(100_000).unwrap_err();
    assert_eq!(error.diagnostics().len(), 1);
    let message = error.diagnostics()[0].message();
    assert!(
        message.ends_with("stand for several others each"),
        "{message}"
    );
}
