//! The pages of the documentation say what the code does.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "these are tests"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use http::StatusCode;
use mcp_policy::{Action, Outcome, Policy, PolicyDocument, ToolDefinition, recommend};
use serde_json::{Value, json};

/// The code of the crate, without comments and tests.
fn code() -> String {
    let mut code = String::new();
    read_code(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut code,
    );
    code
}

fn read_code(folder: &Path, code: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let is_test = name.starts_with("test") && !folder.ends_with("condition");
        if path.is_dir() && !is_test {
            read_code(&path, code);
        } else if name.ends_with(".rs") && !is_test {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let lines = text.lines().map(str::trim_start);
            for line in lines.filter(|line| !line.starts_with("//")) {
                code.push_str(line);
                code.push('\n');
            }
        }
    }
}

/// Everything between `before` and `after` that has only such characters.
fn between<'t>(
    text: &'t str,
    before: &str,
    after: &str,
    is_part: impl Fn(char) -> bool,
) -> BTreeSet<&'t str> {
    let parts = text.split(before).skip(1);
    let parts = parts.filter_map(|part| {
        let end = part.find(|c| !is_part(c))?;
        (end > 0 && part[end..].starts_with(after)).then(|| &part[..end])
    });
    parts.collect()
}

const REFUSALS: &str = include_str!("../src/docs/refusals.md");

#[test]
fn every_rule_that_is_no_place_in_the_document_is_on_the_page_about_refusals() {
    let code = code();
    let is_word = |c: char| c.is_ascii_lowercase() || c == ' ';
    let mut rules = between(&code, "\"(", ")\"", is_word);
    // Callers without a name, and who decided about an approval.
    for name in ["anonymous", "local", "caller"] {
        assert!(rules.remove(name), "{name}");
    }
    let on_page = between(REFUSALS, "\n| `(", ")` |", is_word);
    assert!(rules.len() > 9, "{rules:?}");
    assert_eq!(rules, on_page);
}

#[test]
fn every_code_is_on_the_page_about_refusals() {
    let code = code();
    let is_digit = |c: char| c.is_ascii_digit();
    let is_code = |number: &&str| number.len() == 5 && number.starts_with('3');
    let numbers = |text| -> BTreeSet<String> {
        let numbers = between(text, "-", "", is_digit);
        numbers
            .into_iter()
            .filter(is_code)
            .map(str::to_owned)
            .collect()
    };
    let codes = numbers(&code);
    assert!(codes.len() > 12, "{codes:?}");
    assert_eq!(codes, numbers(REFUSALS));
}

#[test]
fn every_status_is_on_the_page_about_refusals() {
    let code = code();
    let named = between(&code, "StatusCode::", "", |c| {
        c.is_ascii_uppercase() || c == '_'
    });
    assert!(named.len() > 8, "{named:?}");
    for name in named {
        let status = (100..600).filter_map(|number| StatusCode::from_u16(number).ok());
        let status = status.filter(|status| {
            let reason = status.canonical_reason().unwrap_or_default();
            reason.to_uppercase().replace([' ', '-'], "_") == name
        });
        let number = status.map(|status| status.as_u16().to_string()).next();
        let number = number.unwrap_or_else(|| panic!("what is {name}?"));
        assert!(REFUSALS.contains(&number), "{name} is {number}");
    }
}

/// What is written in JSON on a page, in its order.
fn json_blocks(page: &str) -> Vec<Value> {
    let blocks = page.split("\n```json\n").skip(1);
    let blocks = blocks.map(|block| block.split("\n```").next().unwrap());
    // Records and messages stand on lines of their own, and some are shortened.
    blocks
        .filter_map(|block| serde_json::from_str(block).ok())
        .collect()
}

fn policy(document: &Value) -> Policy {
    document
        .to_string()
        .parse()
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_policy_in_the_documentation_loads() {
    let mut policies = 0;
    let pages = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/docs")).unwrap();
    let pages = pages.map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let pages = pages.map(|path| fs::read_to_string(path).unwrap());
    for page in pages.chain([include_str!("../README.md").to_owned()]) {
        // A policy has a version, and neither a message nor a record has one.
        for block in page.split("\n```json\n").skip(1) {
            let block = block.split("\n```").next().unwrap();
            if block.contains("\"version\": \"1\"") {
                policies += 1;
                block
                    .parse::<Policy>()
                    .unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }
    assert_eq!(policies, 9);
}

#[test]
fn the_page_about_writing_a_policy_shows_what_is_recommended_and_what_its_cases_expect() {
    let blocks = json_blocks(include_str!("../src/docs/writing.md"));
    let [listed, first, tight, cases, _shadow] = &blocks[..] else {
        panic!("{} blocks", blocks.len());
    };
    let listed = listed["tools"].as_array().unwrap();
    let tools: Vec<_> = listed
        .iter()
        .filter_map(ToolDefinition::from_value)
        .collect();
    let mut document = recommend(&tools);
    document.description = None;
    for rule in document.tools.values_mut() {
        rule.description = None;
    }
    let shown: PolicyDocument = policy(first).document().clone();
    assert_eq!(document, shown);

    let policy = policy(tight);
    assert_eq!(policy.warnings(), []);
    assert_eq!(policy.check_tools(listed), []);
    for case in cases.as_array().unwrap() {
        let call = &case["call"];
        let arguments = call.get("arguments").unwrap_or(&json!({})).to_string();
        let action = Action::call_tool(call["name"].as_str().unwrap());
        let action = action.with_arguments(&arguments).unwrap();
        let decision = policy.decide(&action);
        let outcome = match case["expect"].as_str().unwrap() {
            "allow" => Outcome::Allow,
            "ask" => Outcome::Ask,
            "deny" => Outcome::Deny,
            "hide" => Outcome::Hide,
            other => panic!("{other}"),
        };
        assert_eq!(decision.outcome(), outcome, "{case}");
        let rule = case.get("rule").and_then(Value::as_str);
        assert!(rule.is_none_or(|rule| rule == decision.rule()), "{case}");
    }

    let page = include_str!("../src/docs/writing.md");
    let refund = r#"{"payment_id":"p1","amount":"20","currency":"EUR"}"#;
    let refund = Action::call_tool("refund_payment")
        .with_arguments(refund)
        .unwrap();
    assert!(page.contains(&policy.explain(&refund).to_string()));
}

/// The rows that a page names, such as `R5 to R7, T37`.
fn named_rows(page: &str) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    let words: Vec<_> = page.split(|c: char| !c.is_alphanumeric()).collect();
    let row = |word: &str| {
        let letter = word.chars().next().filter(|c| "RTW".contains(*c))?;
        Some((letter, word[1..].parse::<u8>().ok()?))
    };
    let mut before = None;
    for word in words.into_iter().filter(|word| !word.is_empty()) {
        match (row(word), before) {
            (Some((letter, last)), Some((true, (_, first)))) => {
                rows.extend((first..=last).map(|number| format!("{letter}{number}")));
                before = Some((false, (letter, last)));
            }
            (Some((letter, number)), _) => {
                rows.insert(format!("{letter}{number}"));
                before = Some((false, (letter, number)));
            }
            (None, Some((false, first))) if word == "to" => before = Some((true, first)),
            (None, _) => before = None,
        }
    }
    rows
}

#[test]
fn every_row_of_the_table_of_attacks_is_on_the_page_about_threats() {
    let named = named_rows(include_str!("../src/docs/threats.md"));
    for (letter, last) in [('R', 32), ('W', 14), ('T', 44)] {
        for number in 1..=last {
            assert!(
                named.contains(&format!("{letter}{number}")),
                "{letter}{number}"
            );
        }
    }
}
