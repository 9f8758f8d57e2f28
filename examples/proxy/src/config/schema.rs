//! The JSON Schema for editors is written by hand: it has to say what is read.

use serde_json::Value;

use super::{FIELDS, LIMITS, grants, issued, servers, value};

const SCHEMA: &str = include_str!("schema.json");

fn properties(schema: &Value) -> Vec<&str> {
    let mut names: Vec<_> = schema["properties"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn the_schema_has_the_fields_that_are_read() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let defs = &schema["$defs"];
    assert_eq!(properties(&schema), FIELDS);
    assert_eq!(properties(&schema["properties"]["limits"]), LIMITS);
    assert_eq!(properties(&defs["server"]), servers::FIELDS);
    assert_eq!(properties(&defs["grant"]), grants::FIELDS);
    assert_eq!(properties(&defs["issued"]), issued::FIELDS);
    let elsewhere = defs["value"]["oneOf"].as_array().unwrap();
    let elsewhere: Vec<_> = elsewhere[1..].iter().flat_map(properties).collect();
    assert_eq!(elsewhere, value::ELSEWHERE);
    for object in [
        &schema,
        &schema["properties"]["limits"],
        &defs["server"],
        &defs["grant"],
        &defs["issued"],
    ] {
        assert_eq!(object["additionalProperties"], false);
    }
}

/// The other half, that a validator of schemas says the same of them, is seen by
/// `.ci/check-schema`.
#[test]
fn documents_load_of_which_the_schema_says_so_and_no_others() {
    let cases: Value = serde_json::from_str(include_str!("cases.json")).unwrap();
    for (kind, loads) in [("load", true), ("fail", false)] {
        for (name, document) in cases[kind].as_object().unwrap() {
            let folder = tempfile::tempdir().unwrap();
            let put = |file: &str, text: &str| {
                let path = folder.path().join(file);
                std::fs::write(&path, text).unwrap();
                path
            };
            put("policy.json", r#"{ "version": "1", "default": "deny" }"#);
            put("url", "http://a/mcp");
            let path = put("gateway.toml", document.as_str().unwrap());
            let read = super::Config::load(&path);
            assert_eq!(read.is_ok(), loads, "{name}: {:?}", read.err());
        }
    }
}

/// Nothing takes a time of day.
#[test]
fn every_field_is_read() {
    let said = |document: String| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        std::fs::write(&path, &document).unwrap();
        let error = super::Config::load(&path).unwrap_err().report.json();
        let found = error.as_array().unwrap().iter();
        let mut said = found.map(|found| found["message"].as_str().unwrap().to_owned());
        said.any(|said| said.contains("has to be"))
    };
    let beside = |field: &str| match field {
        "command" | "url" => "",
        "env" | "show_stderr" => "command = [\"a\"]\n",
        _ => "url = \"http://a\"\n",
    };
    for field in FIELDS.iter().filter(|field| **field != "$schema") {
        assert!(said(format!("{field} = 07:32:00\n")), "{field}");
    }
    for field in LIMITS {
        assert!(said(format!("limits.{field} = 07:32:00\n")), "{field}");
    }
    for field in servers::FIELDS {
        let beside = beside(field);
        let text = format!("[servers.a]\n{beside}{field} = 07:32:00\n");
        assert!(said(text), "{field}");
    }
    for field in issued::FIELDS {
        let text = format!("[servers.a]\nurl = \"http://a\"\njwt.{field} = 07:32:00\n");
        assert!(said(text), "{field}");
    }
    for field in grants::FIELDS {
        assert!(said(format!("[[grants]]\n{field} = 07:32:00\n")), "{field}");
    }
}
