//! Where the server's messages go.
//!
//! An answer goes to the request that waits for it, progress to the request that
//! asked to hear of it. Everything else goes to the stream that the client opened
//! for it (GET); if there is none, to the latest request that is answered with a
//! stream; and if there is none either, it is held until a stream opens.

use bytes::Bytes;
use mcp_policy::FromServer;

use super::{
    routes::{Addressee, Asked},
    session::{Session, error},
    streams::Unsent,
};
use crate::message::{self, Id, Kind, Message};

/// Passes on one line of the server's.
pub(super) async fn route(session: &Session, number: u64, mut line: Vec<u8>) {
    // To JSON a space like any other, but to an event stream the end of a line.
    for byte in &mut line {
        if *byte == b'\r' {
            *byte = b' ';
        }
    }
    let line = match Message::read(&line) {
        Some(_) => Bytes::from(line),
        None => match in_its_place(session, &line).await {
            Some(error) => error,
            None => {
                tracing::warn!(
                    method = message::method(&line),
                    "a line of the server's is not MCP and was dropped"
                );
                return;
            }
        },
    };
    let Some(message) = Message::read(&line) else {
        return;
    };
    match &message.kind {
        Kind::Answer { id, .. } => answer(session, id.as_ref(), &line).await,
        Kind::Request { id, raw_id, .. } => {
            let request = Asked {
                id: id.clone(),
                raw_id: (*raw_id).into(),
            };
            ask(session, number, request, &line).await;
        }
        Kind::Notification { method } => {
            let progress = match &**method {
                "notifications/progress" => message.progress(),
                _ => None,
            };
            if let Some(token) = progress {
                report(session, &token, &line).await;
                return;
            }
            if method == "notifications/cancelled"
                && let Some(id) = message.cancelled()
            {
                session.state().routes.no_longer_asked(&id);
            }
            deliver(session, number, None, &line).await;
        }
    }
}

/// What the client is told in the place of an answer that cannot be read, if it
/// can be told whom the answer was for. Python servers write NaN, for one.
async fn in_its_place(session: &Session, line: &[u8]) -> Option<Bytes> {
    let connection = session.shared.guard.connect(session.caller.clone());
    match connection.from_server(line).await {
        FromServer::Replace(error) => {
            Message::read(&error)?;
            Some(error.into())
        }
        _ => None,
    }
}

async fn answer(session: &Session, id: Option<&Id>, line: &Bytes) {
    let addressee = match id {
        Some(id) => session.state().routes.answer(id),
        None => Addressee::Nobody,
    };
    match addressee {
        Addressee::Waiter(outlet, raw_id) => {
            if outlet.send(line).await == Err(Unsent::NoRoom) {
                outlet.end_with(unread(&raw_id));
            }
        }
        Addressee::Abandoned => {
            tracing::debug!("an answer of the server's came when nobody waited for it any more");
        }
        Addressee::Nobody => {
            tracing::warn!("an answer of the server's answers no request and was dropped");
        }
    }
}

/// Progress is only worth something while somebody waits for it.
async fn report(session: &Session, token: &Id, line: &Bytes) {
    let outlet = session.state().routes.of_progress(token);
    if let Some(outlet) = outlet
        && outlet.send(line).await.is_err()
    {
        session.state().routes.drop_stream(&outlet, unread);
    }
}

async fn ask(session: &Session, number: u64, request: Asked, line: &Bytes) {
    let is_noted = session.state().routes.ask(&request.id, number);
    if is_noted {
        deliver(session, number, Some(request), line).await;
    } else {
        refuse(session, number, &request);
    }
}

async fn deliver(session: &Session, number: u64, request: Option<Asked>, line: &Bytes) {
    loop {
        let outlet = {
            let mut state = session.state();
            let Some(outlet) = state.routes.any_stream() else {
                let dropped = state.routes.hold(line.clone(), request);
                drop(state);
                if dropped.is_news {
                    tracing::warn!(
                        "the client has no stream open, so the server's oldest messages are dropped"
                    );
                }
                for request in &dropped.requests {
                    refuse(session, number, request);
                }
                return;
            };
            outlet
        };
        if outlet.send(line).await.is_ok() {
            return;
        }
        session.state().routes.drop_stream(&outlet, unread);
    }
}

/// Keeps the server from waiting for an answer that will not come.
fn refuse(session: &Session, number: u64, request: &Asked) {
    let text = "The client could not be asked.";
    session.tell_now(number, error(&request.raw_id, text));
}

fn unread(raw_id: &str) -> Bytes {
    error(
        raw_id,
        "The answer was not read in time and is lost. If this was a call, it may have run: check \
         that before you repeat it.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::{
        routes::Call,
        session::Shared,
        streams::{Inlet, PATIENCE},
    };
    use mcp_policy::{Caller, MessageGuard, Policy};
    use std::sync::Arc;
    use tokio::time::Instant;

    /// A session that has not got any server, which these tests play.
    fn session() -> Arc<Session> {
        let policy: Policy = r#"{"version":"1","default":"deny"}"#.parse().unwrap();
        let shared = Shared::new(Vec::new(), MessageGuard::new(policy));
        let session = Session::new(Arc::new(shared), Caller::anonymous(), Bytes::new());
        Arc::new(session)
    }

    fn wait(session: &Session, id: i64) -> Inlet {
        let call = Call {
            id: Id::Number(id),
            raw_id: "1",
            progress: Some(Id::Number(id)),
            streams: true,
        };
        session.state().routes.wait(call).unwrap().1
    }

    /// Half of what a stream holds.
    fn large(method: &str) -> Vec<u8> {
        let text = "x".repeat(600 << 10);
        let params = format!(r#"{{"progressToken":1,"text":"{text}"}}"#);
        format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#).into()
    }

    const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_not_read_does_not_hold_the_others_up() {
        let session = session();
        let (_seat, mut listening) = session.listen();
        let mut waiting = wait(&session, 1);
        let before = Instant::now();
        for _ in 0..2 {
            route(&session, 1, large("notifications/message")).await;
        }
        assert_eq!(before.elapsed(), PATIENCE);
        route(&session, 1, ANSWER.into()).await;
        assert_eq!(before.elapsed(), PATIENCE);
        // The second one went to the other stream instead.
        assert!(listening.next().await.is_some());
        assert!(listening.next().await.is_none());
        assert!(waiting.next().await.unwrap().len() > ANSWER.len());
        assert_eq!(waiting.next().await.unwrap(), ANSWER);
        assert!(waiting.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_stream_is_not_read_ends_with_an_error() {
        for last in [large("notifications/progress"), large_answer()] {
            let session = session();
            let mut waiting = wait(&session, 1);
            route(&session, 1, large("notifications/progress")).await;
            route(&session, 1, last).await;
            assert!(session.state().routes.are_idle());
            waiting.next().await.unwrap();
            let error = waiting.next().await.unwrap();
            assert!(error.starts_with(br#"{"jsonrpc":"2.0","id":1,"error""#));
            assert!(waiting.next().await.is_none());
        }
    }

    fn large_answer() -> Vec<u8> {
        let text = "x".repeat(600 << 10);
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"text":"{text}"}}}}"#).into()
    }

    #[tokio::test]
    async fn a_question_that_was_taken_back_is_not_answered() {
        let session = session();
        let (_seat, _listening) = session.listen();
        let ask = r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#;
        let take_back =
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q"}}"#;
        route(&session, 1, ask.into()).await;
        route(&session, 1, take_back.into()).await;
        let id = Id::Text("q".into());
        assert!(!session.state().routes.is_answer_for(&id, 1));
        route(&session, 1, ask.into()).await;
        assert!(session.state().routes.is_answer_for(&id, 1));
    }
}
