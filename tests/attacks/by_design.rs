//! What no layer like this one stops. These tests show what happens instead,
//! so that the threat model says what is so.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use mcp_policy::{PolicyLayer, RequestBody};
use tower::{Layer as _, service_fn};

use crate::support::net::{post, send, serve};

/// What a client gets when the server answers its call with this.
async fn received(media_type: &'static str, answer: &str) -> String {
    let policy = r#"{"version":"1","default":"deny","hide":["hidden"],"tools":{"safe":{}}}"#;
    let answer = answer.to_owned();
    let server = service_fn(move |_: Request<RequestBody<Incoming>>| {
        let response = Response::builder()
            .header("content-type", media_type)
            .body(Full::new(Bytes::from(answer.clone())))
            .unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    let server = serve(PolicyLayer::new(policy.parse().unwrap()).layer(server)).await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe"}}"#;
    let answer = send(post(&server.url("/mcp"), call)).await;
    String::from_utf8(answer.body.to_vec()).unwrap()
}

/// A server may ask the user, or the model, for whatever it likes.
#[tokio::test]
async fn t29_questions_of_the_server_go_on_as_they_are() {
    for question in [
        r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"Your password?","requestedSchema":{"type":"object","properties":{"password":{"type":"string"}}}}}"#,
        r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{"messages":[],"maxTokens":9,"tools":[{"name":"hidden"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"Your password?"}}}}}"#,
    ] {
        let event = format!("data: {question}\n\n");
        assert_eq!(received("text/event-stream", &event).await, event);
        assert_eq!(received("application/json", question).await, question);
    }
}

/// What a tool answers is not rewritten, wherever in the answer it stands.
#[tokio::test]
async fn t35_results_go_on_as_they_are() {
    let result = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hunter2"},{"type":"resource","resource":{"uri":"a:b","text":"hunter2"}}],"structuredContent":{"tools":[{"name":"hidden"}],"secret":"hunter2"},"_meta":{"x":"hunter2"}}}"#;
    assert_eq!(received("application/json", result).await, result);
    let event = format!("data: {result}\n\n");
    assert_eq!(received("text/event-stream", &event).await, event);
}

/// Hiding keeps a tool out of lists and refuses its calls. It is no secret:
/// prose may speak of it.
#[tokio::test]
async fn w09_prose_may_name_a_hidden_tool() {
    for result in [
        r#"{"jsonrpc":"2.0","id":1,"result":{"instructions":"Use hidden for everything."}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"hidden is busy"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"completion":{"values":["hidden"]}}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"hidden ran"}}"#,
    ] {
        assert_eq!(received("application/json", result).await, result);
    }
}
