//! A request on its way through the layer: judged and recorded.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, request};

use super::config::Config;
use super::exchange::{Asked, Exchange, Role, SessionStep, ToolCall, Waiting};
use super::request::session_id;
use crate::audit::{DecisionId, MessageKind, OpenDecision, OpenDecisions, Receipt};
use crate::caller::Caller;
use crate::engine::{Arrival, Judge, Judgement, Seen};
use crate::mcp::changed;
use crate::mcp::headers;
use crate::mcp::message::{Call, Id, Message};
use crate::mcp::recover;
use crate::mcp::reply::Refusal;
use crate::mcp::version::Era;
use crate::policy::Policy;

/// A request that was judged, and what is still to be recorded of it.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) result: Result<Exchange, Box<Refused>>,
    pub(super) open: OpenDecisions,
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
        let asked = Asked {
            role: self.role(asked.era, None),
            ..asked
        };
        let caller = self.config.caller(self.head);
        let judged = match self.judge_for(&caller) {
            Ok(judge) => Ok((Judgement::PASSES, judge)),
            Err(refusal) => Err((refusal.into(), None)),
        };
        self.judged(None, asked, caller.ok(), judged)
    }

    /// Judges a whole body. `unread` is what was known before it was read.
    pub(super) fn judge(self, unread: Asked, body: &[u8]) -> Judged {
        if self.config.accepts_batches && Message::is_batch(body) {
            return self.judge_batch(unread, body);
        }
        let message = match Message::parse(body) {
            Ok(message) => message,
            Err(fault) => {
                let waiting = match recover::request_id(body) {
                    Some(id) => Waiting::One(copy(id)),
                    None => Waiting::Nobody,
                };
                let asked = Asked { waiting, ..unread };
                let mut judged = self.refuse(asked, fault.into());
                if let Err(refused) = &mut judged.result {
                    refused.is_message = true;
                }
                return judged;
            }
        };
        let caller = self.config.caller(self.head);
        let era = headers::era_of_message(&self.head.headers, &message);
        let mut asked = match &message {
            Message::Request(id, call) => Asked {
                era,
                waiting: Waiting::One(copy(*id)),
                for_list: call.method.ends_with("/list"),
                session: match &*call.method {
                    "initialize" => SessionStep::Begin(call.introduction()),
                    _ => SessionStep::None,
                },
                ..unread
            },
            Message::Notification(_) | Message::Response => Asked { era, ..unread },
        };
        let judge = headers::check(&self.head.headers, &message)
            .map_err(Refusal::from)
            .and_then(|()| self.judge_for(&caller));
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
        asked.role = self.role(era, Some((&message, body)));
        // What is refused is not under way.
        if let (Ok(_), Message::Request(id, call)) = (&judged, &message) {
            asked.calls.extend(self.call_of(*id, call));
        }
        self.judged(Some(&message), asked, caller.ok(), judged)
    }

    /// What the answer will mean.
    pub(super) fn role(self, era: Era, message: Option<(&Message<'_>, &[u8])>) -> Role {
        if self.config.engine.changes().is_none() {
            return Role::None;
        }
        match message {
            Some((Message::Request(_, call), body)) => match &*call.method {
                "initialize" => return Role::Begins(None),
                "server/discover" => return Role::Declares,
                "subscriptions/listen" => return Role::Subscribes(changed::requested(body)),
                _ => {}
            },
            None if self.head.method == Method::GET => {}
            _ => return Role::None,
        }
        let opens_stream = self.head.method == Method::GET;
        match session_id(&self.head.headers) {
            Ok(Some(session)) if opens_stream || era == Era::Legacy => {
                Role::Carries(session.to_owned())
            }
            Ok(None) if opens_stream => Role::IsSession,
            _ => Role::None,
        }
    }

    /// The tool that a request calls.
    pub(super) fn call_of(self, id: Id<'_>, call: &Call<'_>) -> Option<ToolCall> {
        let tool = call.tool()?.into();
        let session = session_id(&self.head.headers).ok().flatten();
        Some(ToolCall {
            id: copy(id),
            tool,
            wants_task: call.wants_task(),
            under_way: session
                .map(|session| Arc::new(self.config.calls.begin(session, &id.said()))),
        })
    }

    /// The judge for this caller, if the session is its own.
    pub(super) fn judge_for(self, caller: &Result<Caller, Refusal>) -> Result<Judge, Refusal> {
        let caller = caller.as_ref().map_err(Refusal::clone)?;
        let client = enter_session(self.config, self.head, caller)?;
        Ok(self.config.engine.judge_for(caller)?.of_client(client))
    }

    /// Records what was decided.
    pub(super) fn judged(
        self,
        message: Option<&Message<'_>>,
        asked: Asked,
        caller: Option<Caller>,
        judged: Result<(Judgement, Judge), (Judgement, Option<Policy>)>,
    ) -> Judged {
        let (judgement, policy) = match &judged {
            Ok((judgement, judge)) => (judgement, judge.policy()),
            Err((judgement, policy)) => (judgement, policy.as_ref()),
        };
        let decision = self.arrival.decision;
        let (open, receipt) = self.record(
            decision,
            message,
            asked.era,
            caller.as_ref(),
            judgement,
            policy,
        );
        let runs = judgement.runs;
        let judge = match judged {
            Ok((_, judge)) => Ok(judge),
            // There is none only where nothing is refused.
            Err((judgement, _)) => Err(judgement.refusal.unwrap_or(Refusal::Failed)),
        };
        Judged {
            result: self.outcome(judge, asked, caller, message.is_some()),
            open: open.into(),
            receipt,
            runs,
        }
    }

    /// What is left of the request once it is judged.
    pub(super) fn outcome(
        self,
        judge: Result<Judge, Refusal>,
        asked: Asked,
        caller: Option<Caller>,
        is_message: bool,
    ) -> Result<Exchange, Box<Refused>> {
        let config = Arc::clone(self.config);
        match judge {
            Ok(judge) => Ok(Exchange {
                config,
                judge,
                asked,
            }),
            Err(refusal) => Err(Box::new(Refused {
                config,
                refusal,
                asked,
                caller,
                is_message,
            })),
        }
    }

    /// Records what was decided of one message.
    pub(super) fn record(
        self,
        decision: DecisionId,
        message: Option<&Message<'_>>,
        era: Era,
        caller: Option<&Caller>,
        judgement: &Judgement,
        policy: Option<&Policy>,
    ) -> (OpenDecision, Receipt) {
        let kind = match self.head.method {
            Method::GET => MessageKind::OpenStream,
            Method::DELETE => MessageKind::EndSession,
            _ => MessageKind::Unreadable,
        };
        let seen = Seen {
            caller,
            session: session_id(&self.head.headers).ok().flatten(),
            era,
            kind,
            call: None,
        };
        let seen = match message {
            Some(message) => seen.with_message(message),
            None => seen,
        };
        let arrival = Arrival {
            decision,
            ..self.arrival
        };
        let engine = &self.config.engine;
        engine.decided(arrival, seen, judgement, policy)
    }
}

/// A copy: a slice would keep the whole body while the answer lasts.
pub(super) fn copy(id: Id<'_>) -> Bytes {
    Bytes::copy_from_slice(id.raw())
}

/// Refuses a session that is known to be another caller's. In the modern era
/// there are none, but a server behind this layer may be older than that, and
/// take the header for what it was.
///
/// Gives what the client said of itself when it began it, if that is known.
fn enter_session(
    config: &Config,
    head: &request::Parts,
    caller: &Caller,
) -> Result<Option<Arc<str>>, Refusal> {
    let client = match session_id(&head.headers)? {
        Some(session) => config.engine.sessions().entered(session, caller)?,
        None => None,
    };
    if config.endpoints.may_post(&head.uri, caller) {
        Ok(client)
    } else {
        Err(Refusal::NoSession)
    }
}
