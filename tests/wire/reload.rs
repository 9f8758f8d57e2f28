//! A policy that changes while requests are under way.

use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use mcp_policy::{LivePolicy, Policy, PolicyLayer, RequestBody};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::server::{Answer, Body, call, pieces, post};

const HIDES_A: &str = r#"{"version":"1","default":"allow","hide":["a"]}"#;
const HIDES_B: &str = r#"{"version":"1","default":"allow","hide":["b"]}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"},{"name":"b"}]}}"#;

fn policy(text: &str) -> Policy {
    text.parse().unwrap()
}

/// A server that answers with a list of `a` and `b`, and during each of whose
/// answers the policy is replaced by one that hides `b`.
async fn asked(live: &LivePolicy, events: bool, message: &str) -> Answer {
    let server = service_fn(|_: Request<RequestBody<Body>>| async {
        live.replace(policy(HIDES_B));
        let (media_type, text) = match events {
            true => ("text/event-stream", format!("data: {LIST}\n\n")),
            false => ("application/json", LIST.to_owned()),
        };
        let answer = Response::builder().header("content-type", media_type);
        Ok::<_, Infallible>(answer.body(pieces([text])).unwrap())
    });
    let layer = PolicyLayer::from_source(live.clone());
    let response = layer.layer(server).oneshot(post(message)).await.unwrap();
    let (head, body) = response.into_parts();
    Answer {
        status: head.status,
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

#[tokio::test]
async fn one_request_sees_one_policy() {
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    for events in [false, true] {
        let live = LivePolicy::new(policy(HIDES_A));
        let shown = asked(&live, events, list).await;
        assert!(shown.text().contains(r#"[{"name":"b"}]"#), "{shown:?}");
        // The next request is another matter.
        let shown = asked(&live, events, list).await;
        assert!(shown.text().contains(r#"[{"name":"a"}]"#), "{shown:?}");
        let refused = asked(&live, false, &call("b")).await;
        assert!(refused.text().contains("Unknown tool"), "{refused:?}");
    }
}
