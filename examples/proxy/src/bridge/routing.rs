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
        None => match in_its_place(session, &line) {
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
fn in_its_place(session: &Session, line: &[u8]) -> Option<Bytes> {
    match session.shared.guard.from_server(&session.caller, line) {
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
