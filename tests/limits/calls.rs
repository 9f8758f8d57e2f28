//! How often, and how much.

use http::{Response, StatusCode};
use mcp_policy::{DecisionRecord, NotSent, PolicyLayer, Verdict};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

use crate::server::{Body, Exchange, META, OK, call, modern_call, pieces, post};
use crate::support::clock::ManualClock;
use crate::{Never, ToServer, admitted, by, json, layer, meta, passes, policy, run, send};

fn ten_a_minute() -> (PolicyLayer, ManualClock) {
    layer(&policy(r#"{ "rate_limit": { "max": 10, "window": 60 } }"#))
}

#[tokio::test]
async fn the_eleventh_of_ten_is_refused_and_told_how_long_to_wait() {
    let (layer, clock) = layer(&policy(
        r#"{ "limits": [ { "counter": "runs", "window": 60, "max": 10 } ] }"#,
    ));
    for _ in 0..10 {
        assert!(passes(&layer, by(run("{}"), "alice")).await);
        clock.advance_secs(1);
    }
    let (received, answer) = send(&layer, by(run("{}"), "alice")).await;
    assert!(received.is_none());
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["retry-after"], "50");
    assert_eq!(
        meta(&answer),
        ("/tools/run/limits/runs".to_owned(), Some(50_000))
    );
    let text = answer.tool_error();
    for part in [
        "\"run\" was not used",
        "No more than 10 a minute is allowed.",
        "Try again in 50 s.",
        "[rule /tools/run/limits/runs]",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // Others have budgets of their own, and other tools none.
    assert!(passes(&layer, by(run("{}"), "bob")).await);
    assert!(passes(&layer, by(post(call("safe")), "alice")).await);
    clock.advance_secs(49);
    assert!(!passes(&layer, by(run("{}"), "alice")).await);
    clock.advance_secs(1);
    assert_eq!(admitted(&layer, || by(run("{}"), "alice")).await, 1);
}

#[tokio::test]
async fn what_is_refused_costs_nothing() {
    let (layer, _) = layer(&policy(
        r#"{ "require": [ { "conditions": [ { "path": "args.ok", "op": "eq", "value": true } ] } ],
             "rate_limit": "3/minute" }"#,
    ));
    for arguments in ["{}", r#"{"ok":false}"#, r#"{"ok":true,"ok":true}"#, "7"] {
        for _ in 0..4 {
            assert!(!passes(&layer, run(arguments)).await);
        }
    }
    assert_eq!(admitted(&layer, || run(r#"{"ok":true}"#)).await, 3);
}

#[tokio::test]
async fn all_limits_are_charged_or_none() {
    let (layer, clock) = layer(
        r#"{ "version": "1", "default": "allow",
             "all_tools": { "limits": [ { "counter": "all", "window": "hour", "max": 6 } ] },
             "tools": { "run": { "limits": [
                 { "counter": "a", "window": "minute", "max": 5, "increment_from": "args.n" },
                 { "counter": "b", "window": "minute", "max": 2, "on_deny": "Two at most." }
             ] } } }"#,
    );
    let refused_by = async |arguments: &str| {
        let (received, answer) = send(&layer, run(arguments)).await;
        match received {
            Some(_) => None,
            None => Some(meta(&answer).0),
        }
    };
    assert_eq!(refused_by(r#"{"n":2}"#).await, None);
    for _ in 0..9 {
        let refused = refused_by(r#"{"n":3.000001}"#).await;
        assert_eq!(refused.as_deref(), Some("/tools/run/limits/a"));
    }
    assert_eq!(refused_by(r#"{"n":3}"#).await, None);
    // Both are used up: the first is named.
    let refused = refused_by(r#"{"n":1}"#).await;
    assert_eq!(refused.as_deref(), Some("/tools/run/limits/a"));
    let (_, answer) = send(&layer, run(r#"{"n":0}"#)).await;
    assert!(answer.tool_error().contains("Two at most."));
    assert_eq!(meta(&answer).0, "/tools/run/limits/b");
    clock.advance_secs(60);
    for n in [0, 0] {
        assert_eq!(refused_by(&format!(r#"{{"n":{n}}}"#)).await, None);
    }
    // Of six in all there are two left, for whichever tool.
    for _ in 0..2 {
        assert!(passes(&layer, post(call("other"))).await);
    }
    let (_, answer) = send(&layer, post(call("other"))).await;
    let (rule, wait) = meta(&answer);
    assert_eq!((&*rule, wait), ("/all_tools/limits/all", Some(3_540_000)));
}

#[tokio::test]
async fn what_cannot_be_counted_is_refused_without_a_value() {
    let (layer, _) = layer(&policy(
        r#"{ "limits": [ { "counter": "spend", "window": "day", "max": 100, "increment_from": "args.amount" } ] }"#,
    ));
    for amount in [
        "-1000000",
        "\"100\"",
        "1e308",
        "9007199254740993",
        "null",
        "[1]",
        "-0.5",
    ] {
        let arguments = format!(r#"{{"amount":{amount}}}"#);
        let (received, answer) = send(&layer, run(&arguments)).await;
        assert!(received.is_none(), "{amount}");
        assert_eq!(meta(&answer), ("/tools/run/limits/spend".to_owned(), None));
        assert!(!answer.text().contains(amount.trim_matches('"')) || amount == "null");
    }
    assert!(!passes(&layer, run("{}")).await);
    assert!(!passes(&layer, run(r#"{"amount":100.5}"#)).await);
    // Nothing of that was charged, and nothing gives anything back.
    assert!(passes(&layer, run(r#"{"amount":100}"#)).await);
    assert!(!passes(&layer, run(r#"{"amount":0.000001}"#)).await);
    assert!(passes(&layer, run(r#"{"amount":-0}"#)).await);
}

#[tokio::test]
async fn more_than_the_limit_at_once_is_never_admitted() {
    let (layer, _) = layer(&policy(
        r#"{ "limits": [ { "counter": "spend", "window": 7, "max": 2.5, "increment_from": "args.n" } ] }"#,
    ));
    let (_, answer) = send(&layer, run(r#"{"n":2.6}"#)).await;
    let text = answer.tool_error();
    assert!(
        text.contains("No more than 2.5 in 7 s is allowed. Trying the same again will not help"),
        "{text}"
    );
    assert!(!answer.headers.contains_key("retry-after"));
    assert_eq!(meta(&answer).1, None);
}

#[tokio::test]
async fn prompts_and_resources_are_limited_with_an_error() {
    let (layer, clock) = layer(
        r#"{ "version": "1", "default": "deny",
             "prompts": { "p": { "rate_limit": "1/minute" } },
             "resources": { "db:*": { "rate_limit": "1/minute" } } }"#,
    );
    for (method, params, rule) in [
        ("prompts/get", r#"{"name":"p"}"#, "/prompts/p/limits/rate"),
        (
            "resources/read",
            r#"{"uri":"db:a"}"#,
            "/resources/db:*/limits/rate",
        ),
    ] {
        let request = || {
            post(format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#
            ))
        };
        assert!(passes(&layer, request()).await);
        let (received, answer) = send(&layer, request()).await;
        assert!(received.is_none());
        let error = &answer.json()["error"];
        assert_eq!(error["code"], -31429);
        assert_eq!(error["data"]["rule"], rule);
        assert_eq!(error["data"]["retryAfterMs"], 60_000);
        assert_eq!(answer.headers["retry-after"], "60");
    }
    // One pattern is one budget, whatever it matches and by whichever method.
    let subscribe =
        r#"{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"db:b"}}"#;
    assert!(!passes(&layer, post(subscribe)).await);
    clock.advance_secs(60);
    assert!(passes(&layer, post(subscribe)).await);
}

#[tokio::test]
async fn both_eras_use_up_one_budget() {
    let (layer, _) = layer(&policy(r#"{ "rate_limit": "4/minute" }"#));
    assert!(passes(&layer, modern_call("run")).await);
    assert!(passes(&layer, run("{}")).await);
    let mut in_session = modern_call("run");
    let session = "made-up".parse().unwrap();
    in_session.headers_mut().insert("mcp-session-id", session);
    assert!(passes(&layer, in_session).await);
    assert_eq!(admitted(&layer, || run("{}")).await, 1);
    let (received, answer) = send(&layer, modern_call("run")).await;
    assert!(received.is_none());
    assert_eq!(answer.json()["result"]["resultType"], "complete");
    assert!(META.contains("2026"));
}

/// Whatever the server answers, and if it answers nothing at all.
#[tokio::test]
async fn a_call_that_may_have_run_stays_charged() {
    type Answers = fn() -> Result<Response<Body>, &'static str>;
    let answers: [Answers; 5] = [
        || Ok(json(OK)),
        || {
            Ok(json(
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"x"}}"#,
            ))
        },
        || Ok(json("{")),
        || {
            let mut answer = json("");
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            Ok(answer)
        },
        || Err("it broke"),
    ];
    for answer in answers {
        let (layer, _) = ten_a_minute();
        let server = service_fn(move |_: ToServer| std::future::ready(answer()));
        for _ in 0..10 {
            let _ = layer.layer(server).oneshot(run("{}")).await;
        }
        assert!(!passes(&layer, run("{}")).await);
    }
    // Nor does going away give anything back, once the server was called.
    let (layer, _) = ten_a_minute();
    let server = service_fn(|_: ToServer| std::future::pending::<Result<Response<Body>, Never>>());
    for _ in 0..10 {
        let call = layer.layer(server).oneshot(run("{}"));
        assert!(futures::poll!(std::pin::pin!(call)).is_pending());
    }
    assert!(!passes(&layer, run("{}")).await);
}

#[tokio::test]
async fn a_call_of_which_nothing_was_sent_is_given_back() {
    let (layer, _) = ten_a_minute();
    let server = service_fn(|_: ToServer| {
        let mut answer = json("");
        *answer.status_mut() = StatusCode::BAD_GATEWAY;
        answer.extensions_mut().insert(NotSent);
        std::future::ready(Ok::<_, Never>(answer))
    });
    for _ in 0..30 {
        let answer = layer.layer(server).oneshot(run("{}")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    }
    // Nor is one charged that was dropped before the server was called.
    let server = service_fn(|_: ToServer| std::future::ready(Ok::<_, Never>(json(OK))));
    for _ in 0..30 {
        let mut service = layer.layer(server);
        drop(service.call(run("{}")));
    }
    assert_eq!(admitted(&layer, || run("{}")).await, 10);
}

#[tokio::test]
async fn what_is_only_tried_adds_up_and_refuses_nothing() {
    for policy in [
        r#"{ "version": "1", "default": "allow", "mode": "shadow", "tools": { "run": { "rate_limit": "2/minute" } } }"#,
        r#"{ "version": "1", "default": "allow", "tools": { "run": { "rate_limit": "2/minute", "mode": "shadow" } } }"#,
    ] {
        let (layer, _) = layer(policy);
        let server = service_fn(|_: ToServer| std::future::ready(Ok::<_, Never>(json(OK))));
        for number in 0..5 {
            let answer = layer.layer(server).oneshot(run("{}")).await.unwrap();
            let record = answer.extensions().get::<DecisionRecord>().unwrap();
            assert_eq!(record.verdict(), Verdict::Allowed);
            let would_be = (number >= 2).then_some((Verdict::Limited, "/tools/run/limits/rate"));
            assert_eq!(record.shadow(), would_be, "{policy}");
        }
    }
}

/// What a dispatcher in shadow calls is worked out, and uses up nothing of what is
/// enforced.
#[tokio::test]
async fn what_is_only_tried_uses_up_nothing_that_is_enforced() {
    let (layer, _) = layer(
        r#"{ "version": "1", "default": "allow", "tools": {
            "all": { "mode": "shadow", "unwrap": { "name": "args.tool", "arguments": "args.with" } },
            "run": { "rate_limit": "2/minute" } } }"#,
    );
    let through = || {
        post(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"all","arguments":{"tool":"run"}}}"#,
        )
    };
    let server = service_fn(|_: ToServer| std::future::ready(Ok::<_, Never>(json(OK))));
    for number in 0..4 {
        let answer = layer.layer(server).oneshot(through()).await.unwrap();
        let record = answer.extensions().get::<DecisionRecord>().unwrap();
        assert_eq!(record.verdict(), Verdict::Allowed);
        let would_be = (number >= 2).then_some((Verdict::Limited, "/tools/run/limits/rate"));
        assert_eq!(record.shadow(), would_be);
    }
    assert_eq!(admitted(&layer, || run("{}")).await, 2);
}

#[tokio::test]
async fn a_refusal_is_recorded_as_one() {
    let (layer, _) = layer(&policy(r#"{ "rate_limit": "0/minute" }"#));
    let server = service_fn(|_: ToServer| std::future::ready(Ok::<_, Never>(json(OK))));
    let answer = layer.layer(server).oneshot(run("{}")).await.unwrap();
    let record = answer.extensions().get::<DecisionRecord>().unwrap();
    assert_eq!(record.verdict(), Verdict::Limited);
    assert_eq!(record.rule(), "/tools/run/limits/rate");
}

#[tokio::test]
async fn a_batch_is_charged_together() {
    let (layer, _) = ten_a_minute();
    let layer = layer.accept_batches();
    let batch = |size: usize| {
        let calls: Vec<_> = (0..size)
            .map(|id| {
                format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"run"}}}}"#
                )
            })
            .chain([r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#.to_owned()])
            .collect();
        post(format!("[{}]", calls.join(",")))
    };
    for _ in 0..3 {
        let (layer, answer) = (layer.clone(), json("[]"));
        let (received, answer) = Exchange { layer, answer }.send(batch(11)).await;
        assert!(received.is_none());
        let told = answer.json();
        assert_eq!(told.as_array().unwrap().len(), 12);
        assert_eq!(told[0]["result"]["isError"], true);
        assert_eq!(told[11]["id"], "p");
        assert_eq!(told[11]["error"]["code"], -32600);
    }
    let answering = |body: &str| {
        Response::builder()
            .header("content-type", "application/json")
            .body(pieces([body]))
            .unwrap()
    };
    let exchange = Exchange {
        layer: layer.clone(),
        answer: answering("[]"),
    };
    assert!(exchange.send(batch(7)).await.0.is_some());
    assert_eq!(admitted(&layer, || run("{}")).await, 3);
}

#[tokio::test]
async fn what_a_dispatcher_calls_is_counted_as_often_as_it_is_called() {
    let (layer, _) = layer(
        r#"{ "version": "1", "default": "deny", "tools": {
               "do": { "unwrap": { "name": "args.calls[*].tool", "arguments": "args.calls[*].with" },
                       "rate_limit": "9/minute" },
               "run": { "rate_limit": "4/minute" } } }"#,
    );
    let dispatch = |times: usize| {
        let calls = vec![r#"{"tool":"run"}"#; times].join(",");
        post(call("do").replace(
            "\"arguments\":{}",
            &format!("\"arguments\":{{\"calls\":[{calls}]}}"),
        ))
    };
    assert!(!passes(&layer, dispatch(5)).await);
    assert!(passes(&layer, dispatch(3)).await);
    assert!(!passes(&layer, dispatch(2)).await);
    assert!(passes(&layer, run("{}")).await);
    assert!(!passes(&layer, run("{}")).await);
}

#[tokio::test]
async fn two_layers_count_each_for_itself() {
    let (outer, clock) = ten_a_minute();
    let (inner, _) = layer(&policy(r#"{ "rate_limit": "3/minute" }"#));
    let server = service_fn(|_: ToServer2| std::future::ready(Ok::<_, Never>(json(OK))));
    let mut ran = 0;
    for _ in 0..12 {
        let stack = outer.layer(inner.clone().clock(clock.clone()).layer(server));
        let answer = stack.oneshot(run("{}")).await.unwrap();
        let record = answer.extensions().get::<DecisionRecord>().unwrap();
        ran += usize::from(record.verdict() == Verdict::Allowed);
    }
    assert_eq!(ran, 3);
    // What the inner one refused never got to the server, and costs nothing outside.
    assert_eq!(admitted(&outer, || run("{}")).await, 7);
}

type ToServer2 = http::Request<mcp_policy::RequestBody<mcp_policy::RequestBody<Body>>>;
