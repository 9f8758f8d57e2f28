//! What a person reads about a document, word for word, through the public API.
//!
//! Each file in `diagnostics` has documents, and below each what is said of it:
//! why it is not loaded, or its warnings. To write down what is said now, and then
//! to read it: `MCP_POLICY_WRITE_DIAGNOSTICS=1 cargo test -p mcp-policy --test policy_diagnostics`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashSet;

use mcp_policy::{Diagnostic, Policy, Severity};

const NEXT: &str = "\n=====\n";
const SAID: &str = "\n-----\n";

/// Holds a file against what is said of its documents.
#[track_caller]
fn hold(file: &str) {
    let path = format!("{}/tests/diagnostics/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let cases = text.strip_suffix('\n').unwrap_or(&text).split(NEXT);
    let said: Vec<String> = cases
        .map(|case| {
            let document = case.split(SAID).next().unwrap();
            format!("{document}{SAID}{}", said_of(document))
        })
        .collect();
    let said = said.join(NEXT) + "\n";
    if std::env::var_os("MCP_POLICY_WRITE_DIAGNOSTICS").is_some() {
        std::fs::write(&path, said).unwrap();
        return;
    }
    for (said, written) in said.split(NEXT).zip(text.split(NEXT)) {
        assert_eq!(said, written, "{file}");
    }
    assert_eq!(said, text, "{file}");
}

fn said_of(document: &str) -> String {
    match document.parse::<Policy>() {
        Err(error) => {
            assert!(!error.diagnostics().is_empty(), "{document}");
            assert_helpful(document, error.diagnostics(), Severity::Error);
            error.to_string()
        }
        Ok(policy) => {
            assert_helpful(document, policy.warnings(), Severity::Warning);
            let warnings = policy.warnings().iter().map(Diagnostic::to_string);
            let mut said = vec!["loaded".to_owned()];
            said.extend(warnings);
            said.join("\n\n")
        }
    }
}

/// Nothing is said twice, and all of it says how to mend it.
#[track_caller]
fn assert_helpful(document: &str, diagnostics: &[Diagnostic], severity: Severity) {
    let mut places = HashSet::new();
    for diagnostic in diagnostics {
        assert_eq!(diagnostic.severity(), severity);
        let says_what = diagnostic.message().contains(", expected ");
        assert!(
            says_what || diagnostic.help().is_some(),
            "nothing helps with {diagnostic}\n{document}"
        );
        assert!(
            places.insert((diagnostic.span(), diagnostic.message())),
            "said twice: {diagnostic}\n{document}"
        );
    }
}

#[test]
fn syntax() {
    hold("syntax.txt");
}

#[test]
fn pins() {
    hold("pins.txt");
}

#[test]
fn risk() {
    hold("risk.txt");
}

#[test]
fn documents() {
    hold("documents.txt");
}

#[test]
fn rules() {
    hold("rules.txt");
}

#[test]
fn checks() {
    hold("checks.txt");
}

#[test]
fn paths() {
    hold("paths.txt");
}

#[test]
fn values() {
    hold("values.txt");
}

#[test]
fn dispatchers() {
    hold("dispatchers.txt");
}

#[test]
fn limits() {
    hold("limits.txt");
}

#[test]
fn approvals() {
    hold("approvals.txt");
}

#[test]
fn shadow() {
    hold("shadow.txt");
}

#[test]
fn warnings() {
    hold("warnings.txt");
}

/// A document that would be too long for a file.
#[test]
fn regular_expressions_that_are_too_much_together() {
    let long = "a".repeat(3_000);
    let checks: Vec<String> = (0..200)
        .map(|i| {
            format!(
                r#"{{ "conditions": [ {{ "path": "args.a", "op": "regex", "value": "^{i}{long}$" }} ] }}"#
            )
        })
        .collect();
    let document = format!(
        "{{\n  \"version\": \"1\",\n  \"default\": \"deny\",\n  \"tools\": {{ \"x\": {{ \"require\": [\n{}\n] }} }} }}",
        checks.join(",\n")
    );
    let error = document.parse::<Policy>().unwrap_err();
    let [diagnostic] = error.diagnostics() else {
        panic!("{error}");
    };
    assert_helpful(&document, error.diagnostics(), Severity::Error);
    let message = "the regular expressions of this document take more than 64 MiB together, from \
                   here on";
    assert_eq!(diagnostic.message(), message);
    assert!(diagnostic.line() > 50, "only once it is too much");
}
