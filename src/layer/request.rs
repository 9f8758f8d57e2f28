//! What becomes of a request: whether it may go on, and with which head.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderName, IF_RANGE,
    RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, request, response};

use super::collect::CollectError;
use super::config::Config;
use super::encoding::is_encoded;
use super::exchange::{Asked, Exchange, SessionStep};
use super::permit::Permit;
use crate::audit::{DecisionRecord, MessageKind, OpenDecision, Receipt};
use crate::caller::Caller;
use crate::engine::{Arrival, Judge, Judgement, Seen};
use crate::mcp::headers;
use crate::mcp::message::{Id, Message};
use crate::mcp::recover;
use crate::mcp::reply::Refusal;
use crate::mcp::version::Era;
use crate::policy::Policy;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// How a request is treated, told by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Its path is not guarded.
    Around,
    /// Its body is a message that has to be judged.
    Judge,
    /// It opens a stream or ends a session, and has no body.
    Pass,
}

/// Decides by the head of a request alone. Nothing that the client chooses
/// here makes a message pass unread.
pub(super) fn route(config: &Config, head: &request::Parts) -> Result<Route, Refusal> {
    let path = head.uri.path();
    if config
        .unguarded_paths
        .iter()
        .any(|unguarded| unguarded == path)
    {
        return Ok(Route::Around);
    }
    if head
        .headers
        .get_all(UPGRADE)
        .iter()
        .any(|value| !is_http2(value))
    {
        return Err(Refusal::HttpMethod);
    }
    match head.method {
        Method::POST => Ok(Route::Judge),
        Method::GET | Method::DELETE => Ok(Route::Pass),
        _ => Err(Refusal::HttpMethod),
    }
}

/// Some HTTP clients offer to go on in HTTP/2 with every first request. A
/// server may ignore the offer, and this one does.
fn is_http2(upgrade: &HeaderValue) -> bool {
    upgrade.as_bytes().trim_ascii().eq_ignore_ascii_case(b"h2c")
}

/// What is known of a request before its body is read.
pub(super) fn unread(head: &request::Parts) -> Asked {
    Asked {
        era: headers::era_of(&head.headers),
        id: None,
        version: head.version,
        for_list: false,
        opens_stream: head.method == Method::GET,
        tool: None,
        session: match session_id(&head.headers) {
            Ok(Some(session)) if head.method == Method::DELETE => {
                SessionStep::End(session.to_owned())
            }
            _ => SessionStep::None,
        },
    }
}

/// Whether the body is declared to be plain JSON in UTF-8.
pub(super) fn check_media_type(headers: &HeaderMap) -> Result<(), Refusal> {
    if is_encoded(headers) {
        return Err(Refusal::MediaType {
            text: "The body is compressed. Send it without a content-encoding.",
        });
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(media_type), None) if is_json(media_type) => Ok(()),
        _ => Err(Refusal::MediaType {
            text: "Send one header content-type: application/json, in UTF-8 if it says a charset.",
        }),
    }
}

fn is_json(media_type: &HeaderValue) -> bool {
    let Ok(media_type) = media_type.to_str() else {
        return false;
    };
    let mut parts = media_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    essence.eq_ignore_ascii_case("application/json")
        && !media_type.contains(',')
        && parts.all(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let name = name.trim().to_ascii_lowercase();
            let value = value.trim().trim_matches('"');
            match name.as_str() {
                "charset" => ["utf-8", "utf8"]
                    .iter()
                    .any(|utf| value.eq_ignore_ascii_case(utf)),
                // The extended spellings `charset*` and `charset*0` among them.
                _ => !name.starts_with("charset"),
            }
        })
}

/// The refusal of a body that could not be read whole.
pub(super) fn unreadable(config: &Config, error: CollectError) -> Refusal {
    match error {
        CollectError::TooLarge => Refusal::TooLarge {
            limit: config.max_body_size,
        },
        CollectError::Busy => Refusal::Busy,
        CollectError::Incomplete => Refusal::Incomplete,
    }
}

/// A request that was judged, and what is still to be recorded of it.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) result: Result<Exchange, Box<Refused>>,
    pub(super) open: OpenDecision,
    /// Of the record of the decision.
    pub(super) receipt: Receipt,
    /// Whether something runs by it.
    pub(super) runs: bool,
}

/// A request that may not go on.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) config: Arc<Config>,
    pub(super) refusal: Refusal,
    pub(super) asked: Asked,
    /// `None` if that could not be found out.
    pub(super) caller: Option<Caller>,
    /// Whether its body is, or should have been, a message.
    pub(super) is_message: bool,
}

/// A request on its way through the layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming<'r> {
    pub(super) config: &'r Arc<Config>,
    pub(super) head: &'r request::Parts,
    pub(super) arrival: Arrival,
}

impl Incoming<'_> {
    /// Refuses it for what can be told without reading a message.
    pub(super) fn refuse(self, asked: Asked, refusal: Refusal) -> Judged {
        let caller = self.config.caller(self.head).ok();
        self.judged(None, asked, caller, Err((refusal.into(), None)))
    }

    /// Judges a request that has no message: one that opens a stream or ends a
    /// session.
    pub(super) fn judge_head(self, asked: Asked) -> Judged {
        let caller = self.config.caller(self.head);
        let judge = caller.as_ref().map_err(Refusal::clone).and_then(|caller| {
            check_session(self.config, self.head, asked.era, caller)?;
            self.config.engine.judge_for(caller)
        });
        let judged = match judge {
            Ok(judge) => Ok((Judgement::PASSES, judge)),
            Err(refusal) => Err((refusal.into(), None)),
        };
        self.judged(None, asked, caller.ok(), judged)
    }

    /// Judges a whole body. `unread` is what was known before it was read.
    pub(super) fn judge(self, unread: Asked, body: &[u8]) -> Judged {
        let caller = self.config.caller(self.head);
        // A copy: a slice would keep the whole body while the answer lasts.
        let copy = |id: Id<'_>| Bytes::copy_from_slice(id.raw());
        let message = match Message::parse(body) {
            Ok(message) => message,
            Err(fault) => {
                let id = recover::request_id(body).map(copy);
                let asked = Asked { id, ..unread };
                let refusal = Refusal::from(fault);
                let mut judged = self.judged(None, asked, caller.ok(), Err((refusal.into(), None)));
                if let Err(refused) = &mut judged.result {
                    refused.is_message = true;
                }
                return judged;
            }
        };
        let era = headers::era_of_message(&self.head.headers, &message);
        let asked = match &message {
            Message::Request(id, call) => Asked {
                era,
                id: Some(copy(*id)),
                for_list: call.method.ends_with("/list"),
                tool: call.tool().map(Arc::from),
                session: match &*call.method {
                    "initialize" => SessionStep::Begin,
                    _ => SessionStep::None,
                },
                ..unread
            },
            Message::Notification(_) | Message::Response => Asked { era, ..unread },
        };
        let judge = headers::check(&self.head.headers, &message)
            .map_err(Refusal::from)
            .and_then(|()| caller.clone())
            .and_then(|caller| {
                check_session(self.config, self.head, era, &caller)?;
                self.config.engine.judge_for(&caller)
            });
        let judged = match judge {
            Ok(judge) => {
                let judgement = judge.judge(&message, self.arrival.decision);
                match judgement.refusal {
                    None => Ok((judgement, judge)),
                    Some(_) => Err((judgement, judge.policy().cloned())),
                }
            }
            Err(refusal) => Err((refusal.into(), None)),
        };
        self.judged(Some(&message), asked, caller.ok(), judged)
    }

    /// Records what was decided.
    fn judged(
        self,
        message: Option<&Message<'_>>,
        asked: Asked,
        caller: Option<Caller>,
        judged: Result<(Judgement, Judge), (Judgement, Option<Policy>)>,
    ) -> Judged {
        let session = match asked.era {
            Era::Legacy => session_id(&self.head.headers).ok().flatten(),
            Era::Modern => None,
        };
        let kind = match self.head.method {
            Method::GET => MessageKind::OpenStream,
            Method::DELETE => MessageKind::EndSession,
            _ => MessageKind::Unreadable,
        };
        let mut seen = Seen {
            caller: caller.as_ref(),
            session,
            era: asked.era,
            kind,
            call: None,
        };
        if let Some(message) = message {
            seen = seen.with_message(message);
        }
        let (judgement, policy) = match &judged {
            Ok((judgement, judge)) => (judgement, judge.policy()),
            Err((judgement, policy)) => (judgement, policy.as_ref()),
        };
        let engine = &self.config.engine;
        let (open, receipt) = engine.decided(self.arrival, seen, judgement, policy);
        let runs = judgement.runs;
        let result = match judged {
            Ok((_, judge)) => Ok(Exchange {
                config: Arc::clone(self.config),
                judge,
                asked,
            }),
            Err((judgement, _)) => Err(Box::new(Refused {
                config: Arc::clone(self.config),
                // There is none only where nothing is refused.
                refusal: judgement.refusal.unwrap_or(Refusal::Failed),
                asked,
                caller,
                is_message: message.is_some(),
            })),
        };
        Judged {
            result,
            open,
            receipt,
            runs,
        }
    }
}

/// Refuses a session that is known to be another caller's. In the modern era
/// there are none, and the header means nothing.
fn check_session(
    config: &Config,
    head: &request::Parts,
    era: Era,
    caller: &Caller,
) -> Result<(), Refusal> {
    if era == Era::Modern {
        return Ok(());
    }
    let is_own = match session_id(&head.headers)? {
        Some(session) => config.engine.sessions().may_use(session, caller)?,
        None => true,
    };
    if is_own && config.endpoints.may_post(&head.uri, caller) {
        Ok(())
    } else {
        Err(Refusal::NoSession)
    }
}

/// The session that a request names.
fn session_id(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut ids = headers.get_all(SESSION_ID).iter();
    match (ids.next().map(HeaderValue::to_str), ids.next()) {
        (None, _) => Ok(None),
        (Some(Ok(id)), None) => Ok(Some(id)),
        // Nobody knows which of several a server would take.
        _ => Err(Refusal::NoSession),
    }
}

/// Remembers what an answer did to the session.
pub(super) fn follow_session(exchange: &Exchange, answer: &response::Parts) {
    if !answer.status.is_success() {
        return;
    }
    let sessions = exchange.config.engine.sessions();
    match &exchange.asked.session {
        SessionStep::Begin => {
            if let Ok(Some(session)) = session_id(&answer.headers) {
                sessions.begin(session, exchange.judge.caller());
            }
        }
        SessionStep::End(session) => sessions.end(session),
        SessionStep::None => {}
    }
}

/// Makes the head of a request fit what goes on of it.
pub(super) fn prepare(
    head: &mut request::Parts,
    length: Option<usize>,
    asked: &Asked,
    decision: &DecisionRecord,
) {
    const OVERRIDES: [HeaderName; 4] = [
        HeaderName::from_static("x-http-method-override"),
        HeaderName::from_static("x-http-method"),
        HeaderName::from_static("x-method-override"),
        HeaderName::from_static("http2-settings"),
    ];
    let dropped = [
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
        TRAILER,
        TE,
        EXPECT,
        UPGRADE,
        // Half a list cannot be judged.
        RANGE,
        IF_RANGE,
    ];
    for header in dropped.iter().chain(&OVERRIDES) {
        head.headers.remove(header);
    }
    if let Some(length) = length {
        head.headers
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    // What is compressed cannot be judged on its way back.
    head.headers
        .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let permit = Permit::new(asked.id.clone(), decision.clone());
    head.extensions.insert(permit);
}
