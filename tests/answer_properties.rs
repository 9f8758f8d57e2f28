//! What holds for every answer, however it comes: what is shown keeps its bytes,
//! what was filtered once is filtered, and where a stream is cut changes
//! nothing.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "these are tests"
)]

mod support;

use std::collections::BTreeMap;
use std::convert::Infallible;

use bytes::Bytes;
use futures::executor::block_on;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt as _;
use mcp_policy::{Caller, FromServer, MessageGuard, PolicyLayer, RequestBody};
use proptest::prelude::*;
use serde_json::value::RawValue;
use tower::{Layer as _, ServiceExt as _, service_fn};

use self::support::body::{Script, Step};
use self::support::list;
use self::support::net::post_message;

/// Names beginning with `x` are hidden.
const POLICY: &str = r#"{
    "version": "1",
    "default": "deny",
    "hide": ["x*"],
    "resources": { "x:*": { "action": "hide" } },
    "prompts": { "x*": { "action": "hide" } }
}"#;

const LISTS: [(&str, &str); 4] = [
    ("tools", "name"),
    ("prompts", "name"),
    ("resources", "uri"),
    ("resourceTemplates", "uriTemplate"),
];

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\t", "  "])
}

/// Any value without a line end, written in any way.
fn value() -> impl Strategy<Value = String> {
    let scalar = prop::sample::select(vec![
        "null",
        "-0.0",
        "1e999",
        "12345678901234567890",
        r#""a\ud800\"],}""#,
        r#""\u0078é""#,
        r#"{"a":"x","a":"x"}"#,
    ]);
    let scalar = scalar.prop_map(str::to_owned);
    scalar.prop_recursive(3, 12, 4, |inner| {
        let member = (space(), inner.clone())
            .prop_map(|(space, value)| format!("{space}\"tools\"{space}:{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(" ,"))),
            member.prop_map(|member| format!("{{{member}}}")),
        ]
    })
}

/// The name of an entry as it is written, and whether the entry is hidden.
fn name() -> impl Strategy<Value = (String, bool)> {
    prop_oneof![
        3 => "[a-w]{1,3}".prop_map(|name| (format!("\"{name}:/\""), false)),
        2 => "[a-x]{0,3}".prop_map(|name| (format!("\"x:{name}\""), true)),
        1 => "[a-w]{0,3}".prop_map(|name| (format!(r#""\u0078:{name}""#), true)),
        1 => Just(("7".to_owned(), true)),
    ]
}

/// An entry of a list as it is written, and whether it is hidden.
fn entry(naming: &'static str) -> impl Strategy<Value = (String, bool)> {
    let others = prop::collection::vec((space(), value()), 0..3);
    (name(), others, any::<bool>(), space()).prop_map(
        move |((name, hidden), others, last, space)| {
            let mut members: Vec<_> = others
                .iter()
                .enumerate()
                .map(|(index, (space, value))| format!("\"other{index}\"{space}:{space}{value}"))
                .collect();
            let at = if last { members.len() } else { 0 };
            members.insert(at, format!("\"{naming}\":{space}{name}"));
            (format!("{{{space}{}}}", members.join(",")), hidden)
        },
    )
}

/// An answer with lists in it.
#[derive(Clone, Debug)]
struct Listing {
    text: String,
    is_batch: bool,
    /// The member beside the lists.
    cursor: String,
    /// The entries of each list that are shown.
    shown: BTreeMap<String, Vec<String>>,
    /// How many are hidden.
    hidden: usize,
}

/// The member that is a list, the entries that are shown, and how many are not.
type List = (String, Vec<String>, usize);

fn one_list((member, naming): (&'static str, &'static str)) -> impl Strategy<Value = List> {
    let entries = prop::collection::vec((entry(naming), space()), 0..6);
    (entries, space()).prop_map(move |(entries, space)| {
        let written: Vec<_> = entries
            .iter()
            .map(|((entry, _), space)| format!("{space}{entry}{space}"))
            .collect();
        let count = entries.len();
        let shown = entries.into_iter().filter(|((_, hidden), _)| !hidden);
        let shown: Vec<_> = shown.map(|((entry, _), _)| entry).collect();
        let hidden = count - shown.len();
        let list = format!("\"{member}\":{space}[{}]", written.join(","));
        (list, shown, hidden)
    })
}

fn listing() -> impl Strategy<Value = Listing> {
    let lists = LISTS.map(|row| prop::option::of(one_list(row)));
    (lists, value(), any::<bool>()).prop_map(|(lists, cursor, is_batch)| {
        let mut result = vec![format!("\"nextCursor\":{cursor}")];
        let (mut shown, mut all_hidden) = (BTreeMap::new(), 0);
        for ((member, _), list) in LISTS.iter().zip(lists) {
            if let Some((list, entries, hidden)) = list {
                result.push(list);
                shown.insert((*member).to_owned(), entries);
                all_hidden += hidden;
            }
        }
        let result = result.join(" , ");
        let message = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{{result}}}}}"#);
        Listing {
            text: if is_batch {
                format!("[ {message} ]")
            } else {
                message
            },
            is_batch,
            cursor,
            shown,
            hidden: all_hidden,
        }
    })
}

type Members<'t> = BTreeMap<String, &'t RawValue>;

/// The members of the result in an answer, as they are written.
fn result(text: &str, is_batch: bool) -> Members<'_> {
    let mut messages: Vec<Members<'_>> = if is_batch {
        serde_json::from_str(text).unwrap()
    } else {
        vec![serde_json::from_str(text).unwrap()]
    };
    assert_eq!(messages.len(), 1);
    let message = messages.remove(0);
    assert_eq!(message["jsonrpc"].get(), "\"2.0\"");
    assert_eq!(message["id"].get(), "7");
    assert_eq!(message.len(), 3);
    serde_json::from_str(message["result"].get()).unwrap()
}

/// What a client is shown of a frame.
fn shown(text: &str) -> String {
    let guard = MessageGuard::new(POLICY.parse().unwrap());
    let connection = guard.connect(Caller::local());
    match block_on(connection.from_server(text.as_bytes())) {
        FromServer::Forward => text.to_owned(),
        FromServer::Replace(shown) => String::from_utf8(shown).unwrap(),
        other => panic!("{other:?}: {text}"),
    }
}

/// What a client is sent of a body that comes in these pieces, by a POST or on a
/// stream that it opened.
fn sent(media_type: &'static str, get: bool, pieces: Vec<Step>) -> Vec<u8> {
    let answer = std::sync::Mutex::new(Some(Script::new(pieces)));
    let answer = std::sync::Arc::new(answer);
    let service = PolicyLayer::new(POLICY.parse().unwrap()).layer(service_fn(
        move |_: Request<RequestBody<Script>>| {
            let body = answer.lock().unwrap().take().unwrap();
            let response = Response::builder().header(header::CONTENT_TYPE, media_type);
            async move { Ok::<_, Infallible>(response.body(body).unwrap()) }
        },
    ));
    let text = list().to_string();
    let mut request =
        post_message("http://localhost/", &list()).map(|_| Script::new([Step::Data(text.into())]));
    if get {
        *request.method_mut() = Method::GET;
    }
    let collected = async {
        let response = service.oneshot(request).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    };
    block_on(collected).to_vec()
}

/// The text in pieces, with waits between some of them.
fn pieces(text: &[u8], cuts: &[(usize, bool)]) -> Vec<Step> {
    let (mut steps, mut rest) = (Vec::new(), text);
    for (length, waits) in cuts {
        let (piece, after) = rest.split_at((*length).min(rest.len()));
        steps.push(Step::Data(Bytes::copy_from_slice(piece)));
        steps.extend(waits.then_some(Step::Wait));
        rest = after;
    }
    steps.push(Step::Data(Bytes::copy_from_slice(rest)));
    steps
}

fn cuts() -> impl Strategy<Value = Vec<(usize, bool)>> {
    let tiny = prop::collection::vec((0..3_usize, any::<bool>()), 0..200);
    let mixed = prop::collection::vec((0..60_usize, any::<bool>()), 0..20);
    prop_oneof![tiny, mixed]
}

/// Events of every kind, with whatever line ends.
fn stream() -> impl Strategy<Value = String> {
    let line_end = || prop::sample::select(vec!["\n", "\r\n", "\r"]);
    let line = prop_oneof![
        4 => listing().prop_map(|listing| format!("data: {}", listing.text)),
        1 => Just("data".to_owned()),
        1 => Just("data: {\"result\":{\"tools\":".to_owned()),
        1 => Just("data:[{\"name\":\"x:\"}]}}".to_owned()),
        1 => prop::sample::select(vec!["event: message", "id: 1", "retry:5", ": note", ":"])
            .prop_map(str::to_owned),
        1 => prop::sample::select(vec!["Data: {}", "odd", "id: {", ": \u{2028}x", "event: endpoint"])
            .prop_map(str::to_owned),
    ];
    let line = (line, line_end()).prop_map(|(line, end)| line + end);
    let event = (prop::collection::vec(line, 0..4), line_end())
        .prop_map(|(lines, end)| lines.concat() + end);
    (any::<bool>(), prop::collection::vec(event, 0..5)).prop_map(|(mark, events)| {
        let mark = if mark { "\u{feff}" } else { "" };
        format!("{mark}{}", events.concat())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_shown_keeps_its_bytes(listing in listing()) {
        let text = shown(&listing.text);
        if listing.hidden == 0 {
            prop_assert_eq!(&text, &listing.text);
        }
        let result = result(&text, listing.is_batch);
        prop_assert_eq!(result["nextCursor"].get(), listing.cursor);
        prop_assert_eq!(result.len(), 1 + listing.shown.len());
        for (member, expected) in &listing.shown {
            let entries: Vec<&RawValue> = serde_json::from_str(result[member].get()).unwrap();
            let entries: Vec<&str> = entries.into_iter().map(RawValue::get).collect();
            prop_assert_eq!(&entries, expected);
        }
    }

    #[test]
    fn what_was_filtered_is_filtered(listing in listing()) {
        let once = shown(&listing.text);
        prop_assert_eq!(shown(&once), once);
    }

    #[test]
    fn where_an_answer_is_cut_changes_nothing(listing in listing(), cuts in cuts()) {
        let text = listing.text.as_bytes();
        let answer = sent("application/json", false, pieces(text, &cuts));
        prop_assert_eq!(String::from_utf8(answer).unwrap(), shown(&listing.text));
    }

    #[test]
    fn where_a_stream_is_cut_changes_nothing(stream in stream(), cuts in cuts(), get: bool) {
        let whole = sent("text/event-stream", get, pieces(stream.as_bytes(), &[]));
        let cut = sent("text/event-stream", get, pieces(stream.as_bytes(), &cuts));
        let (whole, cut) = (String::from_utf8(whole).unwrap(), String::from_utf8(cut).unwrap());
        let dense = whole.replace([' ', '\t'], "");
        for hidden in [r#""name":"x:"#, r#""name":"\u0078"#, r#""uri":"x:"#, r#""name":7"#] {
            prop_assert!(!dense.contains(hidden), "{}", whole);
        }
        prop_assert_eq!(cut, whole);
    }
}
