//! A request on its way through the layer, until it is judged.

use std::sync::Arc;

use http::{Method, request};

use super::config::Config;
use super::exchange::{Asked, Role, SessionStep, ToolCall, Waiting};
use super::judged::Judged;
use crate::audit::{DecisionId, MessageKind};
use crate::caller::Caller;
use crate::engine::{
    Abilities, Arrival, Brought, ClientStream, Draft, HeldCall, Judge, Judgement, Own, OwnSession,
    Seen, Sessions,
};
use crate::mcp::changed;
use crate::mcp::headers::{self, Mirror};
use crate::mcp::message::{Call, Id, Message};
use crate::mcp::recover;
use crate::mcp::reply::Refusal;
use crate::mcp::version::Era;

/// A request on its way through the layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming<'r> {
    pub(super) config: &'r Arc<Config>,
    pub(super) head: &'r request::Parts,
    /// What its headers say of its message.
    pub(super) mirror: &'r Mirror<'r>,
    pub(super) arrival: Arrival,
    /// What the request asks of who has which session and task. Where that is not
    /// known yet, what is judged does not count.
    pub(super) sessions: &'r Sessions,
    /// Where its client can be asked something while it waits, if anywhere.
    pub(super) stream: Option<&'r ClientStream>,
    /// Whether it was held, and is judged again.
    pub(super) is_again: bool,
}

impl Incoming<'_> {
    /// Refuses it for what can be told without reading a message.
    pub(super) fn refuse(&self, asked: Asked, refusal: Refusal) -> Box<Judged> {
        let caller = self.config.caller(self.head).ok();
        self.judged((None, None), asked, caller, &mut refusal.into(), None)
    }

    /// Judges a request that has no message: one that opens a stream or ends a
    /// session.
    pub(super) fn judge_head(&self, mut asked: Asked) -> Box<Judged> {
        asked.role = self.role(asked.era, None);
        let caller = self.config.caller(self.head);
        let (mut judgement, judge) = match self.judge_for(&caller, asked.era) {
            Ok(judge) => (Judgement::PASSES, Some(judge)),
            Err(refusal) => (refusal.into(), None),
        };
        self.judged((None, None), asked, caller.ok(), &mut judgement, judge)
    }

    /// Judges a whole body. `unread` is what was known before it was read.
    pub(super) fn judge(&self, mut asked: Asked, body: &[u8]) -> Box<Judged> {
        if self.config.accepts_batches && Message::is_batch(body) {
            return self.judge_batch(asked, body);
        }
        let message = match Message::parse(body) {
            Ok(message) => message,
            Err(fault) => {
                if let Some(id) = recover::request_id(body) {
                    asked.waiting = Waiting::One(copy(id));
                }
                return self.refuse(asked, fault.into()).of_message();
            }
        };
        let caller = self.config.caller(self.head);
        let era = self.mirror.era_of(&message);
        let mut own = self.own(&message, body, era);
        let mut judgement;
        let (judge, brought) = match self.known_of(&message, &caller, era) {
            Ok((judge, brought)) => {
                if let Message::Response = message {
                    let answers = self.config.engine.own_answer(body, &judge);
                    if answers.is_some() {
                        own.get_or_insert_default().answers = answers;
                    }
                }
                judgement = judge.judge(&message, self.arrival.decision);
                (Some(judge), brought)
            }
            Err(refusal) => {
                judgement = refusal.into();
                (None, None)
            }
        };
        asked.learn(&message, era);
        asked.role = self.role(era, Some((&message, body)));
        // What is refused is not under way.
        if let (None, Message::Request(_, call), Waiting::One(id)) =
            (&judgement.refusal, &message, &asked.waiting)
        {
            let tool = self.tool_of(call, judgement.name.as_ref());
            let call = tool.map(|tool| self.call_of(Arc::clone(id), call, tool));
            asked.calls.extend(call);
        }
        let message = (Some(&message), brought);
        let judged = self.judged(message, asked, caller.ok(), &mut judgement, judge);
        judged.being(own)
    }

    /// Whom a message is judged for, and what it brings back of earlier rounds.
    fn known_of(
        &self,
        message: &Message<'_>,
        caller: &Result<Caller, Refusal>,
        era: Era,
    ) -> Result<(Judge, Option<Box<Brought>>), Refusal> {
        headers::check(self.mirror, message)?;
        let judge = self.judge_for(caller, era)?;
        let engine = &self.config.engine;
        let brought = match message {
            Message::Request(_, call) => engine.brought(call, era, (&judge, self.is_again))?,
            Message::Notification(_) | Message::Response => None,
        };
        Ok((judge, brought))
    }

    /// What a message is to us, beside what it answers.
    fn own(&self, message: &Message<'_>, body: &[u8], era: Era) -> Option<Box<Own>> {
        // Where nobody approves anything, no call is held.
        if !self.config.engine.has_approvals() {
            return None;
        }
        let (call, cancels) = match message {
            Message::Request(id, _) => (self.held_call(id.raw(), era), None),
            Message::Notification(call) if call.method == CANCELLED => {
                let cancelled = changed::cancelled(body);
                (None, cancelled.and_then(|id| self.held_call(&id, era)))
            }
            Message::Notification(_) | Message::Response => (None, None),
        };
        let is_ours = call.is_some() || cancels.is_some();
        is_ours.then(|| {
            Box::new(Own {
                cancels,
                call,
                answers: None,
            })
        })
    }

    /// What the answer will mean.
    pub(super) fn role(&self, era: Era, message: Option<(&Message<'_>, &[u8])>) -> Role {
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
        match self.mirror.session() {
            Ok(Some(session)) if opens_stream || era == Era::Legacy => {
                Role::Carries(session.to_owned())
            }
            Ok(None) if opens_stream => Role::IsSession,
            _ => Role::None,
        }
    }

    /// The tool that a request calls: it is mostly called as it is shown.
    pub(super) fn tool_of(&self, call: &Call<'_>, shown: Option<&Arc<str>>) -> Option<Arc<str>> {
        let tool = call.tool()?;
        let shown = shown.filter(|shown| ***shown == *tool);
        Some(shown.map_or_else(|| tool.into(), Arc::clone))
    }

    /// The call of a tool by a request with this id.
    pub(super) fn call_of(&self, id: Arc<[u8]>, call: &Call<'_>, tool: Arc<str>) -> ToolCall {
        let session = self.mirror.session().ok().flatten();
        let under_way = session.and_then(|session| {
            let call = self.config.calls.begin(session, &Id::from_raw(&id)?.said());
            Some(Arc::new(call))
        });
        ToolCall {
            tool,
            wants_task: call.wants_task(),
            under_way,
            id,
        }
    }

    /// The judge for this caller, if the session is its own.
    pub(super) fn judge_for(
        &self,
        caller: &Result<Caller, Refusal>,
        era: Era,
    ) -> Result<Judge, Refusal> {
        let caller = caller.as_ref().map_err(Refusal::clone)?;
        let session = self.enter_session(caller)?;
        let judge = self.config.engine.judge_for(caller, self.sessions)?;
        let Some(OwnSession {
            id,
            client,
            elicitation,
        }) = session
        else {
            return Ok(judge);
        };
        let judge = judge.of_client(client).of_elicitation(elicitation);
        // A modern request belongs to none, whatever its headers say.
        Ok(judge.in_session(Some(id).filter(|_| era == Era::Legacy)))
    }

    /// Refuses a session that is known to be another caller's. In the modern era
    /// there are none, but a server behind this layer may be older than that, and
    /// take the header for what it was.
    ///
    /// Gives the session if it is known to be the caller's.
    fn enter_session(&self, caller: &Caller) -> Result<Option<OwnSession>, Refusal> {
        let session = match self.mirror.session()? {
            Some(session) => self.sessions.entered(session, caller)?,
            None => None,
        };
        match self.config.endpoints.may_post(&self.head.uri, caller) {
            true => Ok(session),
            false => Err(Refusal::NoSession),
        }
    }

    fn judged(
        &self,
        (message, brought): (Option<&Message<'_>>, Option<Box<Brought>>),
        asked: Asked,
        caller: Option<Caller>,
        judgement: &mut Judgement,
        judge: Option<Judge>,
    ) -> Box<Judged> {
        let decision = self.arrival.decision;
        let era = asked.era;
        let draft = self.draft(
            decision,
            (message, brought),
            era,
            caller.as_ref(),
            judgement,
            judge.as_ref(),
        );
        let judged = Judged::new(self, asked, caller, judge, draft);
        match message {
            Some(_) => judged.of_message(),
            None => judged,
        }
    }

    /// What is to be recorded of one message.
    pub(super) fn draft(
        &self,
        decision: DecisionId,
        (message, brought): (Option<&Message<'_>>, Option<Box<Brought>>),
        era: Era,
        caller: Option<&Caller>,
        judgement: &mut Judgement,
        judge: Option<&Judge>,
    ) -> Draft {
        let kind = match self.head.method {
            Method::GET => MessageKind::OpenStream,
            Method::DELETE => MessageKind::EndSession,
            _ => MessageKind::Unreadable,
        };
        let seen = Seen {
            caller,
            session: self.mirror.session().ok().flatten(),
            era,
            kind,
            call: None,
            abilities: judge.map(|judge| self.abilities(era, message, judge)),
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
        engine.draft(arrival, seen, judgement, judge, brought)
    }

    /// A call by its id and session. Without a session nobody knows whose id it is, and in
    /// the modern era it is enough to go away.
    fn held_call(&self, id: &[u8], era: Era) -> Option<HeldCall> {
        let session = self.mirror.session().ok().flatten();
        Some(HeldCall {
            session: session.filter(|_| era == Era::Legacy)?.into(),
            id: Id::from_raw(id)?.said().into(),
        })
    }

    /// How the client can be told that a call waits: it says so with each request, or
    /// said it when it began the session.
    fn abilities(&self, era: Era, message: Option<&Message<'_>>, judge: &Judge) -> Abilities {
        let elicitation = match (era, message) {
            (Era::Modern, Some(Message::Request(_, call))) => call.elicitation(),
            _ => judge.elicitation(),
        };
        let version = self.mirror.version();
        Abilities {
            elicitation,
            knows_pages: version == Some(WITH_PAGES),
            hears: self.stream.is_some()
                && judge.session().is_some()
                && version.is_some_and(|version| WITH_FORMS.contains(&version)),
        }
    }
}

impl Asked {
    /// Adds what is asked with a message.
    fn learn(&mut self, message: &Message<'_>, era: Era) {
        self.era = era;
        let Message::Request(id, call) = message else {
            return;
        };
        self.waiting = Waiting::One(copy(*id));
        self.for_list = call.method.ends_with("/list");
        self.session = match &*call.method {
            "initialize" => SessionStep::Begin(call.introduction(), call.elicitation()),
            _ => SessionStep::None,
        };
    }
}

/// The notification that a client does not wait for an answer any more.
const CANCELLED: &str = "notifications/cancelled";

/// The version with an error that names a page.
const WITH_PAGES: &str = "2025-11-25";

/// The versions in which a client can be asked on the answer to its own call.
const WITH_FORMS: [&str; 2] = ["2025-06-18", "2025-11-25"];

/// A copy: a slice would keep the whole body while the answer lasts.
pub(super) fn copy(id: Id<'_>) -> Arc<[u8]> {
    id.raw().into()
}
