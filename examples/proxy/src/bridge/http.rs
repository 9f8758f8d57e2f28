//! What a request asks for, and how it is answered.
//!
//! Requests of 2026-07-28 and later are refused in the way in which servers
//! refuse them that are older than that, so that clients of both eras go on with
//! the handshake of the older one.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
    request,
};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Body;
use mcp_policy::{Caller, MayStillRun, NotSent, Permit};
use tokio::time::timeout_at;
use tower::BoxError;

use super::{
    Bridge,
    routes::Call,
    session::{Refused, Session},
    sessions::Sessions,
    streams::EventStream,
};
use crate::{
    jwt::{EXPIRED, Expiry},
    message::{self, INTERNAL_ERROR, INVALID_REQUEST, Kind, Message},
};

/// The longest message of the client's, as long as the library's longest request.
const CLIENT_MESSAGE: usize = 4 << 20;

/// The longest message of a handshake, which is kept as long as the session.
const HANDSHAKE: usize = 64 << 10;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The first protocol version without a handshake.
const FIRST_WITHOUT_HANDSHAKE: &str = "2026-07-28";

/// How the SDKs' own servers say that a request does not fit.
const BAD_REQUEST: i32 = -32000;
/// How they say that there is no such session.
const NO_SESSION: i32 = -32001;

/// One message, or a stream of them.
pub(crate) type AnswerBody = Either<Full<Bytes>, EventStream>;
type Answer = Response<AnswerBody>;

impl Bridge {
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let (head, body) = request.into_parts();
        let Some(permit) = head.extensions.get::<Permit>().cloned() else {
            // Nothing comes past the policy layer; if it did, it would not be judged.
            return status(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let asked = Asked {
            caller: permit.caller().clone(),
            raw_id: permit.request_id(),
            head: &head,
        };
        match head.method {
            Method::POST => match Limited::new(body, CLIENT_MESSAGE).collect().await {
                Ok(body) => self.post(&asked, body.to_bytes()).await,
                Err(_) => status(StatusCode::PAYLOAD_TOO_LARGE),
            },
            Method::GET => self.get(&asked),
            Method::DELETE => match self.session(&asked) {
                Ok((id, _)) => {
                    self.sessions.end(&id);
                    status(StatusCode::OK)
                }
                Err(answer) => *answer,
            },
            _ => {
                let mut answer = status(StatusCode::METHOD_NOT_ALLOWED);
                let allowed = HeaderValue::from_static("GET, POST, DELETE");
                answer.headers_mut().insert(ALLOW, allowed);
                answer
            }
        }
    }

    async fn post(&self, asked: &Asked<'_>, body: Bytes) -> Answer {
        let Some(message) = Message::read(&body) else {
            let text = "The message is not JSON-RPC 2.0.";
            return asked.refuse(StatusCode::BAD_REQUEST, INVALID_REQUEST, text);
        };
        let begins =
            matches!(&message.kind, Kind::Request { method, .. } if method == "initialize");
        if begins && !asked.head.headers.contains_key(SESSION_ID) {
            if body.len() > HANDSHAKE {
                let text = "The handshake is longer than 64 KiB. Declare less in `initialize`.";
                return asked.refuse(StatusCode::OK, INVALID_REQUEST, text);
            }
            return self.begin(asked, copy(&body)).await;
        }
        let session = match self.session(asked) {
            Ok((_, session)) => session,
            Err(answer) => return not_sent(*answer),
        };
        match &message.kind {
            Kind::Request { .. } if begins => {
                let text = "This session has begun already. Begin another one without the header \
                            Mcp-Session-Id.";
                asked.refuse(StatusCode::OK, INVALID_REQUEST, text)
            }
            Kind::Request { id, raw_id, .. } => {
                let call = Call {
                    id: id.clone(),
                    raw_id,
                    progress: message.wanted_progress(),
                    streams: asked.accepts_events(),
                };
                asked.ask(&session, call, body.clone()).await
            }
            Kind::Notification { method } => {
                if method == "notifications/initialized" && body.len() <= HANDSHAKE {
                    session.is_initialized(copy(&body));
                }
                session.tell(body.clone()).await;
                if method == "notifications/cancelled"
                    && let Some(id) = message.cancelled()
                {
                    session.cancel(&id);
                }
                status(StatusCode::ACCEPTED)
            }
            Kind::Answer { id, .. } => {
                if id.as_ref().is_some_and(|id| session.is_asked(id)) {
                    session.tell(body.clone()).await;
                } else {
                    tracing::warn!("an answer of the client's answers no request and was dropped");
                }
                status(StatusCode::ACCEPTED)
            }
        }
    }

    /// Begins a session, unless its server does not start or refuses it.
    async fn begin(&self, asked: &Asked<'_>, initialize: Bytes) -> Answer {
        let begun = self.sessions.begin(&self.shared, &asked.caller, initialize);
        let Ok((id, session)) = begun else {
            let text = "Too many sessions are open. End one, or try again later.";
            let mut answer = asked.refuse(StatusCode::SERVICE_UNAVAILABLE, INTERNAL_ERROR, text);
            let later = HeaderValue::from_static("30");
            answer.headers_mut().insert(RETRY_AFTER, later);
            return answer;
        };
        let mut unused = Unused {
            sessions: Arc::clone(&self.sessions),
            id: Some(id),
        };
        match session.begin().await {
            Ok(greeting) => {
                let mut answer = json(StatusCode::OK, greeting.answer);
                if greeting.is_taken
                    && let Some(id) = unused.id.take()
                    && let Ok(value) = HeaderValue::from_str(&id)
                {
                    answer.headers_mut().insert(SESSION_ID, value);
                }
                answer
            }
            Err(refused) => asked.refuse(StatusCode::OK, refused.code, &refused.text),
        }
    }

    /// Opens the stream for what the server says unasked.
    fn get(&self, asked: &Asked<'_>) -> Answer {
        let session = match self.session(asked) {
            Ok((_, session)) => session,
            Err(answer) => return *answer,
        };
        if !asked.accepts_events() {
            let text = "Accept text/event-stream: there is nothing else here.";
            return asked.refuse(StatusCode::NOT_ACCEPTABLE, BAD_REQUEST, text);
        }
        let (seat, inlet) = session.listen();
        events(EventStream::new(inlet, seat))
    }

    /// The session that a request names.
    fn session(&self, asked: &Asked<'_>) -> Result<(String, Arc<Session>), Box<Answer>> {
        let refuse = |status, code, text| Err(Box::new(asked.refuse(status, code, text)));
        let headers = &asked.head.headers;
        let mut ids = headers.get_all(SESSION_ID).iter();
        let (Some(id), None) = (ids.next(), ids.next()) else {
            let text = "Bad Request: Mcp-Session-Id header is required. Begin with `initialize`.";
            return refuse(StatusCode::BAD_REQUEST, BAD_REQUEST, text);
        };
        if !headers.get_all(VERSION).iter().all(has_handshake) {
            let text = "Bad Request: Unsupported protocol version. The MCP server behind this \
                        proxy speaks versions up to 2025-11-25.";
            return refuse(StatusCode::BAD_REQUEST, BAD_REQUEST, text);
        }
        let id = id.to_str().unwrap_or_default();
        match self.sessions.get(id, &asked.caller) {
            Some(session) => Ok((id.to_owned(), session)),
            None => refuse(StatusCode::NOT_FOUND, NO_SESSION, "Session not found"),
        }
    }
}

/// A request, apart from its body.
struct Asked<'a> {
    caller: Caller,
    raw_id: Option<&'a str>,
    head: &'a request::Parts,
}

impl Asked<'_> {
    /// Asks the server, and answers with a stream if the client takes one.
    async fn ask(&self, session: &Arc<Session>, call: Call<'_>, request: Bytes) -> Answer {
        let streams = call.streams;
        let asking = session.ask(call, request);
        // A server that has to be started first may take long.
        let asked = match self.head.extensions.get::<Expiry>() {
            None => asking.await,
            Some(Expiry(then)) => match timeout_at(*then, asking).await {
                Ok(asked) => asked,
                Err(_) => Err(Refused::new(EXPIRED)),
            },
        };
        match asked {
            Ok((seat, inlet)) if streams => events(EventStream::new(inlet, seat)),
            Ok((_seat, mut inlet)) => match inlet.next().await {
                Some(answer) => json(StatusCode::OK, answer),
                None => {
                    let text = "The call was cancelled.";
                    let mut answer = self.refuse(StatusCode::OK, INTERNAL_ERROR, text);
                    // That the server stops is not known.
                    answer.extensions_mut().insert(MayStillRun);
                    answer
                }
            },
            // A request that has not got a place has not been handed to the server.
            Err(Refused { code, text }) => not_sent(self.refuse(StatusCode::OK, code, &text)),
        }
    }

    fn refuse(&self, status: StatusCode, code: i32, text: &str) -> Answer {
        json(status, message::error(self.raw_id, code, text).into())
    }

    /// Whether the client says that it reads streams. `*/*` does not: that is
    /// what a person with curl sends.
    fn accepts_events(&self) -> bool {
        accepts_events(&self.head.headers)
    }
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// Whether this is a protocol version, and one with sessions.
fn has_handshake(version: &HeaderValue) -> bool {
    version.to_str().is_ok_and(|version| {
        let shape = FIRST_WITHOUT_HANDSHAKE;
        let has_shape = |(byte, model): (u8, u8)| match model {
            b'-' => byte == b'-',
            _ => byte.is_ascii_digit(),
        };
        version.len() == shape.len()
            && version.bytes().zip(shape.bytes()).all(has_shape)
            && version < shape
    })
}

/// What is kept does not keep its share of the policy layer's memory.
fn copy(message: &Bytes) -> Bytes {
    Bytes::copy_from_slice(message)
}

/// A session that ends here, unless its id is taken out.
struct Unused {
    sessions: Arc<Sessions>,
    id: Option<String>,
}

impl Drop for Unused {
    fn drop(&mut self) {
        if let Some(id) = &self.id {
            self.sessions.end(id);
        }
    }
}

fn status(status: StatusCode) -> Answer {
    let mut answer = Response::new(Either::Left(Full::default()));
    *answer.status_mut() = status;
    answer
}

fn json(status: StatusCode, message: Bytes) -> Answer {
    let mut answer = Response::new(Either::Left(Full::from(message)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// The server never saw the request, so that it costs nothing.
fn not_sent(mut answer: Answer) -> Answer {
    answer.extensions_mut().insert(NotSent);
    answer
}

fn events(stream: EventStream) -> Answer {
    let mut answer = Response::new(Either::Right(stream));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Or some servers in front of this one keep events back.
    let buffering = HeaderName::from_static("x-accel-buffering");
    headers.insert(buffering, HeaderValue::from_static("no"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(unix)]
    use {
        super::super::session::Shared,
        mcp_policy::{MessageGuard, Policy},
        std::time::Duration,
        tokio::time::Instant,
    };

    /// It takes longer to start than the token of the call lasts.
    #[cfg(unix)]
    #[tokio::test(start_paused = true)]
    async fn a_call_does_not_wait_for_a_server_longer_than_its_token_lasts() {
        let policy: Policy = r#"{"version":"1","default":"allow"}"#.parse().unwrap();
        let never_greets = vec!["sleep".into(), "5".into()];
        let shared = Arc::new(Shared::new(never_greets, MessageGuard::new(policy)));
        let alice = Caller::new("alice");
        let sessions = Sessions::default();
        let initialize = r#"{"jsonrpc":"2.0","id":0,"method":"initialize"}"#;
        let (_, session) = sessions.begin(&shared, &alice, initialize.into()).unwrap();
        let lasts = Duration::from_secs(10);
        let (mut head, ()) = Request::new(()).into_parts();
        let before = Instant::now();
        head.extensions.insert(Expiry(before + lasts));
        let asked = Asked {
            caller: alice,
            raw_id: Some("1"),
            head: &head,
        };
        let call = Call {
            id: message::Id::Number(1),
            raw_id: "1",
            progress: None,
            streams: true,
        };
        let answer = asked.ask(&session, call, Bytes::from_static(b"{}")).await;
        let waited = before.elapsed();
        assert!(answer.extensions().get::<NotSent>().is_some());
        let answer = answer.into_body().collect().await.unwrap().to_bytes();
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["error"]["message"], EXPIRED);
        assert_eq!(waited, lasts);
        session.close();
    }

    #[test]
    fn only_versions_with_a_handshake_have_sessions() {
        let has = |version: &'static str| has_handshake(&HeaderValue::from_static(version));
        for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
            assert!(has(version), "{version}");
        }
        for other in [
            "2026-07-28",
            "2027-01-01",
            "",
            "1",
            "DRAFT-2026",
            "2025-11-25 ",
        ] {
            assert!(!has(other), "{other}");
        }
    }

    #[test]
    fn a_stream_is_for_those_who_name_it() {
        let accepts = |value: &'static str| {
            accepts_events(&HeaderMap::from_iter([(
                ACCEPT,
                HeaderValue::from_static(value),
            )]))
        };
        assert!(accepts("application/json, text/event-stream"));
        assert!(accepts("Text/Event-Stream;q=0.9"));
        assert!(!accepts("*/*"));
        assert!(!accepts("application/json"));
        assert!(!accepts_events(&HeaderMap::new()));
    }
}
