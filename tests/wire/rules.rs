//! Rules with checks, dispatchers and shadow, as they look from outside.

use http::{Request, Response};
use mcp_policy::{Caller, DecisionRecord, PolicyLayer, Truth, Verdict};

use crate::server::{Answer, Body, Exchange, META, Received, pieces, post};

const RULES: &str = r#"{
    "version": "1",
    "default": "deny",
    "hide": ["secret"],
    "tools": {
        "refund": {
            "deny_if": [ { "conditions": [ { "path": "args.to", "op": "eq", "value": "eve" } ] } ],
            "require": [ { "conditions": [ { "path": "args.amount", "op": "lte", "value": 500 } ],
                           "on_deny": "At most 500." } ]
        },
        "tried": { "require": [ { "conditions": [ { "path": "args.amount", "op": "lte", "value": 500 } ] } ],
                   "mode": "shadow" },
        "invoke": { "unwrap": { "name": "args.tool", "arguments": "args.input" } },
        "named": { "deny_if": [ { "conditions": [ { "path": "client.name", "op": "eq", "value": "evil" } ] } ] }
    },
    "prompts": {
        "letter": { "require": [ { "conditions": [ { "path": "args.lang", "op": "eq", "value": "en" } ] } ] }
    },
    "resources": {
        "db:*": { "require": [ { "conditions": [ { "path": "caller.claims.team", "op": "eq", "value": "ops" } ] } ] }
    }
}"#;

fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

fn call(tool: &str, arguments: &str) -> String {
    request(
        "tools/call",
        &format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#),
    )
}

async fn send(request: Request<Body>) -> (Option<Received>, Answer) {
    Exchange::new(RULES).send(request).await
}

async fn passes(body: String) -> bool {
    send(post(body)).await.0.is_some()
}

#[tokio::test]
async fn a_call_is_refused_for_its_arguments_and_the_model_is_told_why() {
    assert!(passes(call("refund", r#"{"amount":5e2}"#)).await);
    let (received, answer) = send(post(call("refund", r#"{"amount":500.01}"#))).await;
    assert!(received.is_none());
    let text = answer.tool_error();
    assert!(
        text.contains("At most 500. Trying the same again will not help"),
        "{text}"
    );
    let meta = &answer.json()["result"]["_meta"];
    assert_eq!(
        meta["io.github.mcp-policy/rule"],
        "/tools/refund/require/args.amount-lte"
    );
    assert!(!answer.text().contains("500.01"));
    for arguments in [
        "{}",
        r#"{"amount":"5"}"#,
        r#"{"amount":[5]}"#,
        r#"{"Amount":5}"#,
        r#"{"amount":5,"AMOUNT":900}"#,
        r#"{"amount":5,"to":"eve"}"#,
        r#"{"amount":5,"to":["eve"]}"#,
        r#"{"amount":9007199254740993}"#,
    ] {
        assert!(!passes(call("refund", arguments)).await, "{arguments}");
    }
}

#[tokio::test]
async fn in_2026_07_28_as_well() {
    let body = request(
        "tools/call",
        &format!(r#"{{"name":"refund","arguments":{{"amount":501}},{META}}}"#),
    );
    let mut request = post(body);
    for (header, value) in [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "refund"),
    ] {
        request.headers_mut().insert(header, value.parse().unwrap());
    }
    let (received, answer) = send(request).await;
    assert!(received.is_none());
    assert_eq!(answer.json()["result"]["resultType"], "complete");
    assert!(answer.tool_error().contains("At most 500."));
}

#[tokio::test]
async fn a_prompt_is_judged_by_its_arguments_and_cannot_be_completed() {
    let prompt = |arguments: &str| {
        request(
            "prompts/get",
            &format!(r#"{{"name":"letter","arguments":{arguments}}}"#),
        )
    };
    assert!(passes(prompt(r#"{"lang":"en"}"#)).await);
    assert!(!passes(prompt(r#"{"lang":"de"}"#)).await);
    let complete = r#"{"ref":{"type":"ref/prompt","name":"letter"},"argument":{"name":"lang","value":"en"},"context":{"arguments":{"lang":"en"}}}"#;
    let (received, answer) = send(post(request("completion/complete", complete))).await;
    assert!(received.is_none());
    assert_eq!(answer.code(), -31403);
}

#[tokio::test]
async fn a_resource_is_judged_by_who_reads_it() {
    for (team, expected) in [(Some("ops"), true), (Some("dev"), false), (None, false)] {
        for (method, params) in [
            ("resources/read", r#"{"uri":"db:x"}"#),
            ("resources/subscribe", r#"{"uri":"db:x"}"#),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/resource","uri":"db:x"},"argument":{"name":"a","value":"b"}}"#,
            ),
        ] {
            let claims = team.map(|team| ("team".to_owned(), team.into()));
            let caller = Caller::new("alice").with_claims(claims.into_iter().collect());
            let mut request = post(request(method, params));
            request.extensions_mut().insert(caller);
            let (received, _) = send(request).await;
            assert_eq!(received.is_some(), expected, "{method} by {team:?}");
        }
    }
}

#[tokio::test]
async fn a_client_is_known_by_what_it_says_in_the_message() {
    let call = |name: &str| {
        let info =
            format!(r#""io.modelcontextprotocol/clientInfo":{{"name":"{name}","version":"1"}}"#);
        let meta = META.replace("}}", &format!("}},{info}}}"));
        let mut request = post(request(
            "tools/call",
            &format!(r#"{{"name":"named",{meta}}}"#),
        ));
        for (header, value) in [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "named"),
        ] {
            request.headers_mut().insert(header, value.parse().unwrap());
        }
        send(request)
    };
    assert!(call("good").await.0.is_some());
    assert!(call("evil").await.0.is_none());
    // Nothing is known of one that does not say.
    assert!(!passes(request("tools/call", r#"{"name":"named"}"#)).await);
}

#[tokio::test]
async fn a_client_of_a_session_is_known_by_what_it_said_when_it_began() {
    let layer = PolicyLayer::new(RULES.parse().unwrap());
    let through = |body: String, session: Option<&str>, answer: Response<Body>| {
        let mut request = post(body);
        if let Some(session) = session {
            let session = session.parse().unwrap();
            request.headers_mut().insert("mcp-session-id", session);
        }
        let layer = layer.clone();
        Exchange { layer, answer }.send(request)
    };
    let answer = |session: &str| {
        Response::builder()
            .header("content-type", "application/json")
            .header("mcp-session-id", session)
            .body(pieces([crate::server::OK]))
            .unwrap()
    };
    for client in ["good", "evil"] {
        let info = format!(
            r#"{{"protocolVersion":"2025-06-18","capabilities":{{}},"clientInfo":{{"name":"{client}","version":"1"}}}}"#
        );
        through(request("initialize", &info), None, answer(client)).await;
    }
    let long = format!(r#"{{"clientInfo":{{"name":"{}"}}}}"#, "x".repeat(2000));
    through(request("initialize", &long), None, answer("long")).await;
    for (session, passes) in [
        ("good", true),
        ("evil", false),
        ("long", false),
        ("none", false),
    ] {
        let call = request("tools/call", r#"{"name":"named"}"#);
        let (received, _) = through(call, Some(session), answer("x")).await;
        assert_eq!(received.is_some(), passes, "{session}");
    }

    let connection = mcp_policy::MessageGuard::new(RULES.parse().unwrap()).connect(Caller::local());
    let call = request("tools/call", r#"{"name":"named"}"#);
    let passes =
        async || connection.from_client(call.as_bytes()).await == mcp_policy::FromClient::Forward;
    assert!(!passes().await);
    for (client, expected) in [("good", true), ("evil", false)] {
        let initialize = request(
            "initialize",
            &format!(r#"{{"clientInfo":{{"name":"{client}"}}}}"#),
        );
        connection.from_client(initialize.as_bytes()).await;
        assert_eq!(passes().await, expected, "{client}");
    }
}

#[tokio::test]
async fn a_dispatcher_is_refused_in_the_name_of_what_it_should_call() {
    let invoke = |tool: &str, input: &str| {
        call("invoke", &format!(r#"{{"tool":"{tool}","input":{input}}}"#))
    };
    assert!(passes(invoke("refund", r#"{"amount":1}"#)).await);
    assert!(passes(invoke("refund", r#""{\"amount\":1}""#)).await);
    let (_, hidden) = send(post(invoke("secret", "{}"))).await;
    let (_, unknown) = send(post(invoke("unknown", "{}"))).await;
    assert!(
        hidden
            .tool_error()
            .contains("the tool \"secret\" was not used")
    );
    assert_eq!(hidden.text().replace("secret", "unknown"), unknown.text());
    for (tool, input) in [
        ("refund", r#"{"amount":501}"#),
        ("refund", r#""{\"amount\":501}""#),
        ("refund", r#""{\"amount\":1,\"amount\":501}""#),
        ("Refund", r#"{"amount":1}"#),
    ] {
        assert!(!passes(invoke(tool, input)).await, "{tool} {input}");
    }
}

#[tokio::test]
async fn a_task_is_not_judged_by_arguments_that_it_no_longer_has() {
    let layer = PolicyLayer::new(RULES.parse().unwrap());
    let through = |layer: PolicyLayer, body: String, answer: &'static str| {
        let answer = Response::builder()
            .header("content-type", "application/json")
            .body(pieces([answer]))
            .unwrap();
        Exchange { layer, answer }.send(post(body))
    };
    let made =
        call("refund", r#"{"amount":5}"#).replace("\"arguments\"", "\"task\":{},\"arguments\"");
    let task = r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"t","status":"working"}}}"#;
    assert!(through(layer.clone(), made, task).await.0.is_some());
    let get = request("tasks/get", r#"{"taskId":"t"}"#);
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    assert!(through(layer, get, answer).await.0.is_some());
}

async fn decided(body: String) -> DecisionRecord {
    use tower::{Layer as _, ServiceExt as _, service_fn};
    let server = service_fn(async |_: Request<mcp_policy::RequestBody<Body>>| {
        Ok::<_, std::convert::Infallible>(
            Response::builder()
                .header("content-type", "application/json")
                .body(pieces([crate::server::OK]))
                .unwrap(),
        )
    });
    let layer = PolicyLayer::new(RULES.parse().unwrap());
    let response = layer.layer(server).oneshot(post(body)).await.unwrap();
    response.extensions().get().cloned().unwrap()
}

#[tokio::test]
async fn what_was_looked_at_is_recorded_without_what_was_found() {
    let record = decided(call("refund", r#"{"amount":"987654"}"#)).await;
    assert_eq!(
        record.conditions().collect::<Vec<_>>(),
        [
            ("/tools/refund/deny_if/0/conditions/0", Truth::False),
            ("/tools/refund/require/0/conditions/0", Truth::Undecidable),
        ]
    );
    let json = serde_json::to_string(&record).unwrap();
    assert!(!json.contains("987654"), "{json}");
    assert!(json.contains(r#""truth":"undecidable""#), "{json}");

    let inner = decided(call("invoke", r#"{"tool":"secret"}"#)).await;
    assert_eq!(
        (inner.name(), inner.inner()),
        (Some("invoke"), Some("secret"))
    );
    assert_eq!(inner.verdict(), Verdict::Hidden);
}

#[tokio::test]
async fn what_is_in_shadow_passes_and_is_recorded() {
    let record = decided(call("tried", r#"{"amount":501}"#)).await;
    assert_eq!(record.verdict(), Verdict::Allowed);
    let place = "/tools/tried/require/args.amount-lte";
    assert_eq!(record.shadow(), Some((Verdict::Denied, place)));
    let json = serde_json::to_value(&record).unwrap();
    assert_eq!(json["shadow"], true);
    assert_eq!(json["shadow_verdict"], "denied");
    assert_eq!(json["shadow_rule"], place);
    assert_eq!(
        record.conditions().collect::<Vec<_>>(),
        [("/tools/tried/require/0/conditions/0", Truth::False)]
    );

    let same = decided(call("tried", r#"{"amount":1}"#)).await;
    assert_eq!(same.shadow(), None);
    assert_eq!(same.conditions().count(), 1);
    assert!(serde_json::to_value(&same).unwrap().get("shadow").is_none());
}

#[tokio::test]
async fn instructions_are_taken_out_wherever_they_stand() {
    const STRIP: &str = r#"{ "version": "1", "default": "allow", "instructions": "strip" }"#;
    let initialize = request("initialize", "{}");
    for (result, left) in [
        (
            r#"{"a":1,"instructions":"Do it","b":2}"#,
            r#"{"a":1,"b":2}"#,
        ),
        (r#"{"instructions":"Do it","b":2}"#, r#"{"b":2}"#),
        (r#"{"a":1, "instructions" : null }"#, r#"{"a":1 }"#),
        (r#"{ "instructions":{"x":[1]} }"#, r#"{  }"#),
        (
            r#"{"a":{"instructions":"x"}}"#,
            r#"{"a":{"instructions":"x"}}"#,
        ),
    ] {
        let json = |result| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let events = format!("data: {}\n\n", json(result));
        for (content_type, answer, expected) in [
            ("application/json", json(result), json(left)),
            (
                "text/event-stream",
                events,
                format!("data: {}\n\n", json(left)),
            ),
        ] {
            let answer = |policy| {
                let answer = Response::builder()
                    .header("content-type", content_type)
                    .body(pieces([answer.as_bytes()]))
                    .unwrap();
                Exchange::answering(policy, answer).send(post(&initialize))
            };
            assert_eq!(answer(STRIP).await.1.text(), expected);
            let pass = STRIP.replace("strip", "pass");
            let kept = answer(&pass).await.1;
            assert!(kept.text().contains(result));
            let shadow = STRIP.replace("\"default\"", "\"mode\":\"shadow\",\"default\"");
            assert!(answer(&shadow).await.1.text().contains(result));
        }
    }
    // Twice, or in another spelling: some reader would still find it.
    for result in [
        r#"{"instructions":"a","instructions":"b"}"#,
        r#"{"Instructions":"a"}"#,
    ] {
        let answer = Response::builder()
            .header("content-type", "application/json")
            .body(pieces([format!(
                r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#
            )]))
            .unwrap();
        let (_, answer) = Exchange::answering(STRIP, answer)
            .send(post(&initialize))
            .await;
        assert_eq!(answer.code(), -32603, "{result}");
    }
}
