use super::*;
use crate::json::Reader;
use crate::mcp::fault::Fault;
use crate::mcp::headers::HeaderFault;

const NOBODY: Asked<'_> = Asked {
    era: Era::Modern,
    id: None,
};

fn place() -> Box<Place> {
    Box::new(Place {
        rule: "/tools/x/action".to_owned(),
        reason: "No.".to_owned(),
        decision: Some("d".into()),
        retry_after: None,
        approval: None,
    })
}

fn malformed(code: i32) -> Refusal {
    Refusal::Malformed {
        code,
        text: String::new(),
    }
}

fn unknown_thing(what: Thing) -> Refusal {
    Refusal::Unknown {
        what,
        name: "x".to_owned(),
    }
}

/// Every row of the table in the documentation, and what it speaks of.
fn rows() -> Vec<(&'static str, Refusal)> {
    let text = String::new;
    let not_json = Fault::from(Reader::new(b"", crate::json::Profile::MESSAGE).unwrap_err());
    vec![
        ("body is not JSON in UTF-8", malformed(not_json.code())),
        (
            "body that JSON readers understand differently, batch, not a message, method in the wrong kind",
            malformed(Fault::Batch.code()),
        ),
        (
            "`params`, or `_meta` in it, that is no object",
            malformed(Fault::ParamsNotAnObject.code()),
        ),
        (
            "`params`, or `_meta` in it, that is no object",
            malformed(Fault::MetaNotAnObject.code()),
        ),
        (
            "response of a modern client, whose version has none",
            HeaderFault::Response.into(),
        ),
        (
            "header missing, repeated, or at odds with the body",
            HeaderFault::Missing("x").into(),
        ),
        (
            "header missing, repeated, or at odds with the body",
            HeaderFault::Unreadable("x").into(),
        ),
        (
            "header missing, repeated, or at odds with the body",
            HeaderFault::Mismatch("x").into(),
        ),
        (
            "request without the `_meta` of its version",
            HeaderFault::MissingMeta.into(),
        ),
        (
            "parameters of the wrong type",
            Refusal::Params { text: text() },
        ),
        (
            "method not known and not allowed by `methods`",
            Refusal::UnknownMethod { method: text() },
        ),
        (
            "tool, prompt or task hidden or unknown",
            unknown_thing(Thing::Tool),
        ),
        (
            "tool, prompt or task hidden or unknown",
            unknown_thing(Thing::Prompt),
        ),
        (
            "tool, prompt or task hidden or unknown",
            unknown_thing(Thing::Task),
        ),
        ("resource hidden or unknown", unknown_thing(Thing::Resource)),
        (
            "task hidden or unknown, and the client does not declare the extension for tasks",
            Refusal::TasksUndeclared,
        ),
        (
            "tool denied, or waiting for an approval",
            Refusal::Tool {
                text: text(),
                place: place(),
            },
        ),
        (
            "prompt, resource or own task denied, by a rule or by whoever was asked",
            Refusal::Denied {
                text: text(),
                place: place(),
            },
        ),
        (
            "prompt or resource waiting for an approval",
            Refusal::Waits {
                text: text(),
                place: place(),
            },
        ),
        (
            "tool, prompt or resource waiting for an approval, and the client can come back (2026-07-28)",
            Refusal::MoreAsked(Box::new(MoreAsked {
                asks: None,
                state: text(),
                place: *place(),
            })),
        ),
        (
            "tool, prompt or resource waiting for an approval, and the client can open pages (2025-11-25)",
            Refusal::OpenPage {
                url: text(),
                place: place(),
            },
        ),
        (
            "tool used up by a limit",
            Refusal::Tool {
                text: text(),
                place: place(),
            },
        ),
        (
            "prompt or resource used up by a limit, or too many sessions begun",
            Refusal::Limited {
                text: text(),
                place: place(),
            },
        ),
        ("session of another caller", Refusal::NoSession),
        ("other HTTP method, or upgrade", Refusal::HttpMethod),
        (
            "body compressed, or not declared as JSON in UTF-8",
            Refusal::MediaType { text: "" },
        ),
        ("body too large", Refusal::TooLarge { limit: 1 }),
        ("body broken off", Refusal::Incomplete),
        ("too much held at once", Refusal::Busy),
        (
            "answer of the server that cannot be checked",
            Refusal::BadAnswer { text: text() },
        ),
        (
            "policy could not be asked, or something that the embedder brought has panicked",
            Refusal::Failed,
        ),
        (
            "decision could not be counted or recorded",
            Refusal::Unavailable { place: place() },
        ),
    ]
}

fn replied(refusal: &Refusal, era: Era) -> (u16, String) {
    let id = Id::from_raw(b"1");
    let reply = reply(refusal, Asked { era, id });
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["id"], 1);
    let code = match &body["error"]["code"] {
        serde_json::Value::Null if body["result"]["isError"] == true => {
            "none: a result with `isError`".to_owned()
        }
        serde_json::Value::Null => "none: a result that asks for more".to_owned(),
        code => code.to_string(),
    };
    (reply.status.as_u16(), code)
}

#[test]
fn the_table_in_the_documentation_says_what_the_code_does() {
    let page = include_str!("../../docs/refusals.md");
    for (title, refusal) in rows() {
        let (legacy_status, legacy_code) = replied(&refusal, Era::Legacy);
        let (modern_status, modern_code) = replied(&refusal, Era::Modern);
        let code = if legacy_code == modern_code {
            legacy_code
        } else {
            format!("{legacy_code} legacy, {modern_code} modern")
        };
        let without_id = reply(&refusal, NOBODY).status.as_u16();
        let row =
            format!("| {title} | {legacy_status} | {modern_status} | {code} | {without_id} |\n");
        assert!(page.contains(&row), "the table lacks {row}");
    }
    let redirect = "| redirect or protocol switch by the server | 502 | 502 | -32603 | 502 |";
    let tested_elsewhere = usize::from(page.contains(redirect));
    let rest = page.find("| refusal |").unwrap();
    let table = page[rest..].split("\n\n").next().unwrap();
    let titles = table.lines().filter(|line| line.starts_with("| ")).count() - 1;
    let mut known: Vec<_> = rows().into_iter().map(|row| row.0).collect();
    known.dedup();
    assert_eq!(titles, known.len() + tested_elsewhere);
}

#[test]
fn every_kind_of_refusal_is_in_the_table_or_told_of_below_it() {
    let code = include_str!("refusal.rs");
    let begins = code.find("enum Refusal {").unwrap();
    let kinds = code[begins..].split("\n}\n").next().unwrap().lines();
    let kinds = kinds.filter_map(|line| line.strip_prefix("    "));
    let name = |text: &str| {
        text.split(|c: char| !c.is_alphanumeric())
            .next()
            .unwrap()
            .to_owned()
    };
    let kinds: Vec<_> = kinds
        .filter(|line| line.starts_with(|c: char| c.is_uppercase()))
        .map(name)
        .collect();
    let known: Vec<_> = rows()
        .iter()
        .map(|row| name(&format!("{:?}", row.1)))
        .collect();
    // Those have no body, or one that is made of others.
    let told_below = ["Taken", "Unheard", "Batch"];
    assert!(kinds.len() > 20, "{kinds:?}");
    for kind in kinds {
        assert!(
            known.contains(&kind) || told_below.contains(&&*kind),
            "{kind}"
        );
    }
}

#[test]
fn without_an_id_the_answer_has_none_and_is_no_success() {
    for (title, refusal) in rows() {
        for era in [Era::Legacy, Era::Modern] {
            let reply = reply(&refusal, Asked { era, id: None });
            assert!(!reply.status.is_success(), "{title}");
            let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            assert!(
                body.get("id").is_none() && body["error"].is_object(),
                "{title}"
            );
        }
    }
}
