use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::message::Message;
use super::*;

fn with_params<T>(call: &str, look: impl FnOnce(&Params<'_>) -> T) -> T {
    let Message::Request(_, call) = Message::parse(call.as_bytes()).unwrap() else {
        panic!("it is no request");
    };
    look(&call.params.unwrap())
}

fn call(members: &str) -> String {
    let head = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x""#;
    format!("{head}{members}}}}}")
}

fn forwarded(members: &str, state: Option<Inner<'_>>) -> String {
    let text = as_forwarded(call(members).as_bytes(), state, Ours::TakenOut).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn what_a_client_says_is_understood_only_as_it_is_meant() {
    let said = |response: Value| {
        let responses = json!({ "other": {"action": "decline"}, INPUT: response });
        let call = call(&format!(",\"inputResponses\":{responses}"));
        with_params(&call, Said::in_call)
    };
    let accepted = |content| said(json!({"action": "accept", "content": content}));
    let allows = |allows| Said::Accepted { allows };
    assert_eq!(accepted(json!({"decision": "allow_once"})), allows(true));
    assert_eq!(accepted(json!({"decision": "deny"})), Said::Refused);
    for less in [
        json!({}),
        json!(null),
        json!({"decision": "Allow_once"}),
        json!({"decision": ""}),
        json!({"decision": 1}),
        json!({"decision": ["allow_once"]}),
        json!(1),
        json!(["allow_once"]),
        json!("allow_once"),
    ] {
        assert_eq!(accepted(less.clone()), allows(false), "{less}");
    }
    assert_eq!(said(json!({"action": "decline"})), Said::Refused);
    let content = json!({"decision": "allow_once"});
    let cancelled = said(json!({"action": "cancel", "content": content}));
    assert_eq!(cancelled, Said::Refused);
    for odd in [
        json!({}),
        json!(null),
        json!("accept"),
        json!({"action": "Accept"}),
        json!({"action": 1}),
    ] {
        assert_eq!(said(odd.clone()), Said::Nothing, "{odd}");
    }
    for other in [
        "",
        r#","inputResponses":[1]"#,
        r#","inputResponses":{"x":{"action":"accept"}}"#,
    ] {
        assert_eq!(
            with_params(&call(other), Said::in_call),
            Said::Nothing,
            "{other}"
        );
        assert!(!with_params(&call(other), brings_ours), "{other}");
    }
}

#[test]
fn a_state_is_a_text_however_it_is_written() {
    let state = |text: &str| {
        let call = call(&format!(r#","requestState":{text}"#));
        with_params(&call, |params| state_in_call(params).map(Cow::into_owned))
    };
    assert_eq!(state(r#""a\u0062""#).as_deref(), Some("ab"));
    assert_eq!(state("1"), None);
    assert_eq!(state(r#"{"a":"b"}"#), None);
}

#[test]
fn the_server_sees_what_is_not_ours_as_it_is_written() {
    for (members, state, expected) in [
        (
            r#","requestState":"s", "a":1e2"#,
            Some(Inner::Nothing),
            r#","a":1e2"#,
        ),
        (
            r#","requestState":"s","a":[ 1 ]"#,
            Some(Inner::Text("{\"x\": 1}")),
            r#","requestState":{"x": 1},"a":[ 1 ]"#,
        ),
        (r#","requestState":"s""#, None, r#","requestState":"s""#),
        (r#","request\u0053tate":"s""#, Some(Inner::Nothing), ""),
        (
            r#","inputResponses":{"io.github.mcp-policy/approval":1}"#,
            None,
            "",
        ),
        (
            r#","inputResponses":{"a":1,"io.github.mcp-policy/approval":{},"b":{ }}"#,
            None,
            r#","inputResponses":{"a":1,"b":{ }}"#,
        ),
        (
            r#","inputResponses":{"io.github.mcp-p\u006flicy/approval":{}}"#,
            None,
            "",
        ),
        (r#","inputResponses":{ }"#, None, r#","inputResponses":{ }"#),
        (r#","inputResponses":7"#, None, r#","inputResponses":7"#),
    ] {
        assert_eq!(forwarded(members, state), call(expected), "{members}");
    }
}

#[test]
fn what_is_somebody_elses_is_left() {
    let members = r#","inputResponses":{"io.github.mcp-policy/approval":1},"requestState":"s""#;
    let text = as_forwarded(call(members).as_bytes(), Some(Inner::Text("7")), Ours::Left);
    let expected = call(&members.replace("\"s\"", "7"));
    assert_eq!(String::from_utf8(text.unwrap()).unwrap(), expected);
}

#[test]
fn an_answer_gets_another_state_and_stays_as_it_is_otherwise() {
    for (before, after) in [
        (
            r#"{"id":1,"result":{"resultType":"input_required","requestState":{"a":[1]},"n":1.0}}"#,
            r#"{"id":1,"result":{"resultType":"input_required","requestState":"S","n":1.0}}"#,
        ),
        (
            r#"{"result":{"resultType":"input_required","inputRequests":{}},"id":1}"#,
            r#"{"result":{"resultType":"input_required","inputRequests":{},"requestState":"S"},"id":1}"#,
        ),
        (
            r#"{"result":{ "resultType" : "input_required" },"id":"a"}"#,
            r#"{"result":{"resultType":"input_required","requestState":"S"},"id":"a"}"#,
        ),
    ] {
        assert!(asks_more(before.as_bytes()));
        assert!(AskedByServer::by(before.as_bytes()).is_some(), "{before}");
        let text = with_state(before.as_bytes(), "S").unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), after);
    }
}

#[test]
fn other_answers_ask_for_nothing() {
    for answer in [
        r#"{"result":{"content":[],"text":"input_required"}}"#,
        r#"{"result":{"resultType":"complete","x":"input_required"}}"#,
        r#"{"error":{"resultType":"input_required"}}"#,
        r#"{"result":[{"resultType":"input_required"}]}"#,
        r#"[{"result":{"resultType":"input_required"}}]"#,
        r#"input_required"#,
        r#"{"result":{"resultType":"input_required"}"#,
        r#"{"result":{"resultType":"input_required"}}"#,
    ] {
        assert_eq!(AskedByServer::by(answer.as_bytes()), None, "{answer}");
    }
    assert!(!asks_more(br#"{"result":{}}"#));
    let state = |text: &str| {
        let answer = format!(
            r#"{{"id":1,"result":{{"resultType":"input_required","requestState":{text}}}}}"#
        );
        let more = AskedByServer::by(answer.as_bytes()).unwrap();
        more.state_text().map(Cow::into_owned)
    };
    assert_eq!(state(r#""\u0061""#).as_deref(), Some("a"));
    assert_eq!(state("7"), None);
}

/// Any JSON, with names that are of interest here.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-c\u{e9}\"\\\\]{0,4}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("requestState".to_owned()),
        Just("inputResponses".to_owned()),
        Just(INPUT.to_owned()),
        Just("arguments".to_owned()),
        "[a-d]{1,3}",
    ];
    leaf.prop_recursive(3, 24, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(name.clone(), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Nothing else is changed, whatever stands there, and nothing of ours is left.
    #[test]
    fn what_is_forwarded_says_the_same_but_for_what_is_ours(
        members in proptest::collection::hash_map("[a-d]{1,3}", value(), 0..4),
        state in proptest::option::of(value()),
        responses in proptest::option::of(value()),
        inner in proptest::option::of("[a-z]{1,8}"),
    ) {
        let mut call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "x"}});
        let params = call["params"].as_object_mut().unwrap();
        params.extend(members);
        params.extend(state.map(|state| ("requestState".to_owned(), state)));
        params.extend(responses.map(|responses| ("inputResponses".to_owned(), responses)));
        let quoted = inner.as_ref().map(|text| json!(text).to_string());
        let text = call.to_string();
        let put = quoted.as_deref().map_or(Inner::Nothing, Inner::Text);
        let forwarded = as_forwarded(text.as_bytes(), Some(put), Ours::TakenOut).unwrap();
        let forwarded: Value = serde_json::from_slice(&forwarded).unwrap();

        let params = call["params"].as_object_mut().unwrap();
        let had_state = params.remove("requestState").is_some();
        if let Some(inner) = inner.filter(|_| had_state) {
            params.insert("requestState".to_owned(), json!(inner));
        }
        if let Some(Value::Object(responses)) = params.get_mut("inputResponses") {
            let was_ours = responses.remove(INPUT).is_some();
            if was_ours && responses.is_empty() {
                params.remove("inputResponses");
            }
        }
        prop_assert_eq!(forwarded, call);
    }
}
