//! What a document says of definitions that somebody has approved.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "these are tests"
)]

use mcp_policy::{Action, OnDrift, Outcome, Pins, Policy};
use serde_json::{Value, json};

fn with_pins(pins: &str) -> String {
    format!(r#"{{"version":"1","default":"deny","tools":{{"read":{{}}}},"pins":{pins}}}"#)
}

fn digest() -> String {
    Pins::digest_of(r#"{"name":"read"}"#).unwrap()
}

#[test]
fn a_digest_is_of_what_a_text_says() {
    let same = [
        r#"{"name":"read","n":100}"#,
        r#"{ "n" : 1e2, "n\u0061me": "re\u0061d" }"#,
    ];
    let digests = same.map(|text| Pins::digest_of(text).unwrap());
    assert_eq!(digests[0], digests[1]);
    // By any other program: printf '{"n":1e2,"name":"read"}' | sha256sum
    let known = "sha256:";
    assert!(digests[0].starts_with(known) && digests[0].len() == known.len() + 64);
    for other in [
        r#"{"name":"read","n":101}"#,
        r#"{"name":"read"}"#,
        r#"["name","read"]"#,
    ] {
        assert_ne!(Pins::digest_of(other).unwrap(), digests[0]);
    }
    for wrong in ["", "{", r#"{"a":1,"a":1}"#, "{} {}", "\u{feff}{}"] {
        assert!(Pins::digest_of(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn pins_are_read_and_written() {
    let digest = digest();
    let text = with_pins(&format!(
        r#"{{"on_drift":"hide","tools":{{"read":"{digest}"}},"instructions":"{digest}"}}"#
    ));
    let policy: Policy = text.parse().unwrap();
    let pins = policy.document().pins.as_ref().unwrap();
    assert_eq!(pins.on_drift, OnDrift::Hide);
    assert_eq!(pins.tools.as_ref().unwrap()["read"], digest);
    assert_eq!(pins.instructions.as_deref(), Some(&*digest));
    let again: Policy = policy.document().to_json_string().parse().unwrap();
    assert_eq!(again.document(), policy.document());
    assert!(policy.warnings().is_empty(), "{:?}", policy.warnings());
    for pins in ["{}", r#"{"tools":{}}"#] {
        assert!(with_pins(pins).parse::<Policy>().is_ok(), "{pins}");
    }
}

#[test]
fn what_is_no_digest_is_no_pin() {
    let digest = digest();
    for (pins, place) in [
        (
            json!({"tools": {"read": digest.to_uppercase()}}),
            "/pins/tools/read",
        ),
        (
            json!({"tools": {"read": &digest[..70]}}),
            "/pins/tools/read",
        ),
        (
            json!({"tools": {"read": digest.trim_start_matches("sha256:")}}),
            "/pins/tools/read",
        ),
        (json!({"tools": {"read": 7}}), "/pins/tools/read"),
        (json!({"tools": []}), "/pins/tools"),
        (json!({"instructions": ""}), "/pins/instructions"),
        (json!({"on_drift": "refuse"}), "/pins/on_drift"),
        (json!({"tool": {}}), "/pins/tool"),
        (json!([]), "/pins"),
    ] {
        let error = with_pins(&pins.to_string()).parse::<Policy>().unwrap_err();
        let places: Vec<_> = error
            .diagnostics()
            .iter()
            .map(|found| found.pointer())
            .collect();
        assert_eq!(places, [place], "{pins}");
    }
}

#[test]
fn a_tool_that_is_not_pinned_is_refused_and_one_that_is_can_be_called() {
    let text = with_pins(&json!({"tools": {"read": digest()}}).to_string());
    let policy: Policy = text
        .replace("\"read\":{}", "\"read\":{},\"write\":{}")
        .parse()
        .unwrap();
    assert!(policy.decide(&Action::call_tool("read")).is_allowed());
    let refused = policy.decide(&Action::call_tool("write"));
    assert_eq!(
        (refused.outcome(), refused.rule()),
        (Outcome::Deny, "(not pinned)")
    );
    assert!(refused.reason().unwrap().contains("Nobody has approved"));
    // Others are no tools.
    assert_eq!(
        policy.decide(&Action::get_prompt("write")).rule(),
        "(default deny)"
    );
    let policy: Policy = with_pins(&json!({"instructions": digest()}).to_string())
        .parse()
        .unwrap();
    assert!(policy.decide(&Action::call_tool("read")).is_allowed());
}

#[test]
fn a_dispatcher_cannot_call_what_is_not_pinned() {
    let text = json!({
        "version": "1", "default": "allow",
        "tools": {"do": {"unwrap": {"name": "args.name", "arguments": "args.with"}}},
        "pins": {"tools": {"do": digest(), "read": digest()}},
    });
    let policy: Policy = text.to_string().parse().unwrap();
    let call = |name: &str| json!({"name": name, "with": {}}).to_string();
    let (read, write) = (call("read"), call("write"));
    let allowed = Action::call_tool("do").with_arguments(&read).unwrap();
    assert!(policy.decide(&allowed).is_allowed());
    let refused = Action::call_tool("do").with_arguments(&write).unwrap();
    let refused = policy.decide(&refused);
    assert_eq!(
        (refused.rule(), refused.inner()),
        ("(not pinned)", Some("write"))
    );
}

#[test]
fn it_is_said_that_models_still_read_what_has_changed() {
    let warns = |pins: Value| {
        let policy: Policy = with_pins(&pins.to_string()).parse().unwrap();
        let mut warnings = policy.warnings().iter();
        warnings.any(|warning| warning.pointer() == "/pins")
    };
    assert!(warns(json!({"tools": {"read": digest()}})));
    assert!(!warns(
        json!({"tools": {"read": digest()}, "on_drift": "hide"})
    ));
    assert!(!warns(json!({"instructions": digest()})));
}

#[test]
fn pins_are_compared_with_what_a_server_offers() {
    let pinned = json!({"name": "read", "description": "Reads."});
    let pin = Pins::digest_of(&pinned.to_string()).unwrap();
    let pins = json!({"on_drift": "hide", "tools": {"read": pin, "gone": digest()}});
    let policy: Policy = with_pins(&pins.to_string()).parse().unwrap();
    let found = |tools: &[Value]| -> Vec<(String, String)> {
        let found = policy.check_tools(tools).into_iter();
        let found = found.filter(|found| found.pointer().starts_with("/pins"));
        found
            .map(|found| (found.pointer().to_owned(), found.message().to_owned()))
            .collect()
    };
    let gone = (
        "/pins/tools/gone".to_owned(),
        "the server offers no tool `gone` any more".to_owned(),
    );
    assert_eq!(found(&[pinned]), std::slice::from_ref(&gone));
    let changed = json!({"name": "read", "description": "Reads!"});
    let fresh = json!({"name": "fresh"});
    let others = [
        gone,
        (
            "/pins/tools/read".to_owned(),
            "the definition of `read` is another one now".to_owned(),
        ),
        (
            "/pins/tools".to_owned(),
            "the tool `fresh` is not pinned, so it is refused".to_owned(),
        ),
    ];
    let mut found = found(&[changed.clone(), fresh]);
    let mut others = others.to_vec();
    found.sort();
    others.sort();
    assert_eq!(found, others);
    // What is advised is what fits.
    let advice = policy.check_tools(std::slice::from_ref(&changed));
    let advice = advice
        .iter()
        .find(|found| found.pointer() == "/pins/tools/read")
        .unwrap();
    let digest = Pins::digest_of(&changed.to_string()).unwrap();
    assert!(advice.help().unwrap().contains(&digest));
}
