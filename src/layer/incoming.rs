//! A request on its way through the layer: judged and recorded.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, request};

use super::config::Config;
use super::exchange::{Asked, Exchange, Follow, Role, SessionStep, ToolCall, Waiting};
use super::request::session_id;
use crate::approval::Used;
use crate::audit::{DecisionId, Ending, MessageKind, OpenDecisions, Receipt};
use crate::caller::Caller;
use crate::engine::{
    Abilities, Approved, Approving, Arrival, Bill, Brought, Charged, Charging, ClientStream, Draft,
    HeldCall, Judge, Judgement, OwnAnswer, OwnSession, Patience, Resuming, Seen, Sessions,
    Shortage, Telling, Unapproved, Using, unused,
};
use crate::mcp::changed;
use crate::mcp::headers;
use crate::mcp::message::{Call, Id, Message};
use crate::mcp::params::Elicitation;
use crate::mcp::recover;
use crate::mcp::reply::{self, Refusal};
use crate::mcp::version::Era;
use crate::store::StoreError;

/// A request that was judged, and is still to be charged and recorded.
#[derive(Debug)]
pub(super) struct Judged {
    config: Arc<Config>,
    arrival: Arrival,
    asked: Asked,
    /// `None` if that could not be found out.
    caller: Option<Caller>,
    /// `None` if nothing could be asked.
    judge: Option<Judge>,
    first: Draft,
    /// Of the other messages of a batch.
    others: Vec<Draft>,
    /// Whether the body is, or should have been, a message.
    is_message: bool,
    /// The call that its client does not wait for any more.
    cancels: Option<HeldCall>,
    /// By what the client can say that of this one.
    call: Option<HeldCall>,
    /// What it answers to a request of ours.
    answers: Option<OwnAnswer>,
    /// Where its client can be asked something while it waits.
    stream: Option<ClientStream>,
    /// The approval that it needs, until that is used.
    approved: Option<Approved>,
    charged: Option<Charged>,
}

/// A request that was judged, charged and recorded.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) result: Result<Exchange, Box<Refused>>,
    pub(super) open: OpenDecisions,
    /// Of the records of the decisions.
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
    pub(super) fn refuse(self, asked: Asked, refusal: Refusal) -> Judged {
        let caller = self.config.caller(self.head).ok();
        self.judged((None, None), asked, caller, refusal.into(), None)
    }

    /// Judges a request that has no message: one that opens a stream or ends a
    /// session.
    pub(super) fn judge_head(self, asked: Asked) -> Judged {
        let asked = Asked {
            role: self.role(asked.era, None),
            ..asked
        };
        let caller = self.config.caller(self.head);
        let (judgement, judge) = match self.judge_for(&caller, asked.era) {
            Ok(judge) => (Judgement::PASSES, Some(judge)),
            Err(refusal) => (refusal.into(), None),
        };
        self.judged((None, None), asked, caller.ok(), judgement, judge)
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
                return self.refuse(asked, fault.into()).of_message();
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
                    "initialize" => SessionStep::Begin(call.introduction(), call.elicitation()),
                    _ => SessionStep::None,
                },
                ..unread
            },
            Message::Notification(_) | Message::Response => Asked { era, ..unread },
        };
        let judge = headers::check(&self.head.headers, &message)
            .map_err(Refusal::from)
            .and_then(|()| self.judge_for(&caller, era));
        let engine = &self.config.engine;
        let mut answers = None;
        let brought = judge.and_then(|judge| {
            let brought = match &message {
                Message::Request(_, call) => engine.brought(call, era, (&judge, self.is_again))?,
                Message::Notification(_) => None,
                Message::Response => {
                    answers = engine.own_answer(body, &judge);
                    None
                }
            };
            Ok((judge, brought))
        });
        let (judgement, judge, brought) = match brought {
            Ok((judge, brought)) => {
                let judgement = judge.judge(&message, self.arrival.decision);
                (judgement, Some(judge), brought)
            }
            Err(refusal) => (refusal.into(), None, None),
        };
        asked.role = self.role(era, Some((&message, body)));
        // What is refused is not under way.
        if let (None, Message::Request(id, call)) = (&judgement.refusal, &message) {
            asked.calls.extend(self.call_of(*id, call));
        }
        let call = match &message {
            Message::Request(id, _) => Some(*id),
            Message::Notification(_) | Message::Response => None,
        };
        let cancels = match &message {
            Message::Notification(call) if call.method == CANCELLED => changed::cancelled(body),
            _ => None,
        };
        let message = (Some(&message), brought);
        let judged = self.judged(message, asked, caller.ok(), judgement, judge);
        Judged {
            cancels: cancels.and_then(|id| self.held_call(&id, era)),
            call: call.and_then(|id| self.held_call(id.raw(), era)),
            answers,
            ..judged
        }
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
    pub(super) fn judge_for(
        self,
        caller: &Result<Caller, Refusal>,
        era: Era,
    ) -> Result<Judge, Refusal> {
        let caller = caller.as_ref().map_err(Refusal::clone)?;
        let session = self.enter_session(caller)?;
        let (id, client, elicitation) = match session {
            Some(session) => (Some(session.id), session.client, session.elicitation),
            None => (None, None, Elicitation::default()),
        };
        let judge = self.config.engine.judge_for(caller, self.sessions)?;
        let judge = judge.of_client(client).of_elicitation(elicitation);
        // A modern request belongs to none, whatever its headers say.
        Ok(judge.in_session(id.filter(|_| era == Era::Legacy)))
    }

    /// Refuses a session that is known to be another caller's. In the modern era
    /// there are none, but a server behind this layer may be older than that, and
    /// take the header for what it was.
    ///
    /// Gives the session if it is known to be the caller's.
    fn enter_session(self, caller: &Caller) -> Result<Option<OwnSession>, Refusal> {
        let session = match session_id(&self.head.headers)? {
            Some(session) => self.sessions.entered(session, caller)?,
            None => None,
        };
        match self.config.endpoints.may_post(&self.head.uri, caller) {
            true => Ok(session),
            false => Err(Refusal::NoSession),
        }
    }

    fn judged(
        self,
        (message, brought): (Option<&Message<'_>>, Option<Box<Brought>>),
        asked: Asked,
        caller: Option<Caller>,
        judgement: Judgement,
        judge: Option<Judge>,
    ) -> Judged {
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
        Judged {
            config: Arc::clone(self.config),
            arrival: self.arrival,
            asked,
            caller,
            judge,
            first: draft,
            others: Vec::new(),
            is_message: message.is_some(),
            cancels: None,
            call: None,
            answers: None,
            stream: self.stream.cloned(),
            approved: None,
            charged: None,
        }
    }

    /// What is to be recorded of one message.
    pub(super) fn draft(
        self,
        decision: DecisionId,
        (message, brought): (Option<&Message<'_>>, Option<Box<Brought>>),
        era: Era,
        caller: Option<&Caller>,
        judgement: Judgement,
        judge: Option<&Judge>,
    ) -> Draft {
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
    fn held_call(self, id: &[u8], era: Era) -> Option<HeldCall> {
        let session = session_id(&self.head.headers).ok().flatten();
        Some(HeldCall {
            session: session.filter(|_| era == Era::Legacy)?.into(),
            id: Id::from_raw(id)?.said().into(),
        })
    }

    /// How the client can be told that a call waits: it says so with each request, or
    /// said it when it began the session.
    fn abilities(self, era: Era, message: Option<&Message<'_>>, judge: &Judge) -> Abilities {
        let elicitation = match (era, message) {
            (Era::Modern, Some(Message::Request(_, call))) => call.elicitation(),
            _ => judge.elicitation(),
        };
        let version = headers::version(&self.head.headers);
        Abilities {
            elicitation,
            knows_pages: version == Some(WITH_PAGES),
            hears: self.stream.is_some()
                && judge.session().is_some()
                && version.is_some_and(|version| WITH_FORMS.contains(&version)),
        }
    }
}

/// The notification that a client does not wait for an answer any more.
const CANCELLED: &str = "notifications/cancelled";

/// The version with an error that names a page.
const WITH_PAGES: &str = "2025-11-25";

/// The versions in which a client can be asked on the answer to its own call.
const WITH_FORMS: [&str; 2] = ["2025-06-18", "2025-11-25"];

/// Bytes of a body that may wait for an approval.
const MOST_HELD: usize = 128 * 1024;

impl Judged {
    /// The same of a body that is, or should have been, a message.
    pub(super) fn of_message(self) -> Self {
        Self {
            is_message: true,
            ..self
        }
    }

    /// Several messages of one caller, which go on together or not at all.
    pub(super) fn batch(
        incoming: Incoming<'_>,
        asked: Asked,
        judge: Judge,
        first: Draft,
        others: Vec<Draft>,
    ) -> Self {
        let mut judged = Self {
            config: Arc::clone(incoming.config),
            arrival: incoming.arrival,
            asked,
            caller: Some(judge.caller().clone()),
            judge: Some(judge),
            first,
            others,
            is_message: true,
            cancels: None,
            call: None,
            answers: None,
            stream: None,
            approved: None,
            charged: None,
        };
        judged.drafts_mut().for_each(Draft::refuse_to_wait);
        judged.refuse_together();
        judged
    }

    /// Tells what it answers to a request of ours, if it does; to be followed by
    /// [`settle_told`](Self::settle_told).
    pub(super) fn tell(&self) -> Option<Telling> {
        let judge = self.judge.as_ref().filter(|_| !self.is_refused())?;
        Some(self.config.engine.tell_own_answer(self.answers?, judge))
    }

    /// Whether that was heard. The server hears nothing of it.
    pub(super) fn settle_told(&mut self, told: Result<(), StoreError>) {
        match told {
            Ok(()) => self.first.refusal = Some(Refusal::Taken),
            Err(_) => self.first.refuse_for(Refusal::Failed),
        }
    }

    /// Asks whether it goes on, if it brings a state for that; to be followed by
    /// [`settle_resume`](Self::settle_resume).
    pub(super) fn resume(&self) -> Option<Resuming> {
        let state = self.first.continues()?;
        Some(self.config.engine.use_state(state))
    }

    /// Whether it goes on; if it is another call, it is to be charged and approved like
    /// that.
    pub(super) fn settle_resume(&mut self, goes_on: Result<bool, StoreError>) -> bool {
        let goes_on_or_not = goes_on.as_ref().is_ok_and(|goes_on| *goes_on);
        if !goes_on_or_not {
            self.charged = None;
        }
        self.first.resume(goes_on);
        self.refuse_together();
        goes_on_or_not
    }

    /// Asks whether it could be charged, if it has to be approved; to be followed by
    /// [`settle`](Self::settle).
    pub(super) fn could_charge(&self) -> Option<Charging> {
        let judge = self.judge.as_ref().filter(|_| !self.is_refused())?;
        // What is not wanted any more need not be affordable.
        self.first
            .question()
            .filter(|_| !self.first.is_taken_back())?;
        let engine = &self.config.engine;
        Some(engine.could_charge(judge, self.arrival, &self.first))
    }

    /// Asks for the approval that it needs, if it may go on otherwise; to be followed
    /// by [`settle_approval`](Self::settle_approval).
    pub(super) fn approve(&self, patience: Option<Patience>, length: usize) -> Option<Approving> {
        let question = self.first.question()?;
        let judge = self.judge.as_ref()?;
        // Somebody who is asked has to read that first.
        let time = match self.first.asks_while_it_waits() {
            true => self.config.approval_wait.saturating_mul(2),
            false => self.config.approval_wait,
        };
        // What is large is not held: all requests have one budget together.
        let patience =
            (length <= MOST_HELD).then(|| patience.unwrap_or_else(|| Patience::of(time)));
        let id = match &self.asked.waiting {
            Waiting::One(id) => Some(id),
            Waiting::Nobody | Waiting::Batch(_) => None,
        };
        let call = self.call.clone();
        let stream = self.stream.as_ref().zip(id);
        let wait = self.first.wait(judge, patience, call, stream);
        Some(self.config.engine.approve(question, wait))
    }

    /// Whether it was approved.
    pub(super) fn settle_approval(&mut self, approved: Result<Approved, Unapproved>) {
        self.approved = self.first.settle(approved);
        self.refuse_together();
    }

    /// Uses its approval up, if it may go on by that; to be followed by
    /// [`settle_use`](Self::settle_use).
    pub(super) fn use_up(&mut self) -> Option<Using> {
        let judge = self.judge.as_ref().filter(|_| !self.is_refused())?;
        let approved = self.approved.take()?;
        Some(self.config.engine.use_up(judge, approved))
    }

    /// What became of using the approval: without it, nothing is charged either.
    pub(super) fn settle_use(&mut self, used: &Result<Used, StoreError>) {
        if let Some(why) = unused(used) {
            self.charged = None;
            self.settle_approval(Err(why));
        }
    }

    /// Charges what it uses up, if it may go on; to be followed by
    /// [`settle`](Self::settle).
    pub(super) fn charge(&self) -> Option<Charging> {
        let judge = self.judge.as_ref().filter(|_| !self.is_refused())?;
        let engine = &self.config.engine;
        Some(engine.charge(judge, self.arrival, self.drafts()))
    }

    /// What it was charged, or why it cannot be.
    pub(super) fn settle(&mut self, bill: Bill) {
        let shortage = match bill {
            Ok(paid) => {
                self.charged = paid.charged;
                if let Some(quota) = paid.over {
                    let over = |draft: &&mut Draft| draft.uses_up(&quota);
                    self.drafts_mut()
                        .filter(over)
                        .for_each(|draft| draft.note_over(&quota));
                }
                return;
            }
            Err(shortage) => shortage,
        };
        let is_short = |draft: &&mut Draft| match &shortage {
            Shortage::Exceeded { quota, .. } => draft.uses_up(quota),
            Shortage::Full | Shortage::Store | Shortage::Failed => {
                draft.spending().next().is_some()
            }
        };
        self.drafts_mut()
            .filter(is_short)
            .for_each(|draft| draft.refuse(&shortage));
        self.refuse_together();
    }

    /// If one message of a batch is refused, all are.
    fn refuse_together(&mut self) {
        if !self.is_refused() {
            return;
        }
        self.asked.calls.clear();
        for draft in self.drafts_mut() {
            if draft.refusal.is_none() {
                draft.refuse_for(Refusal::malformed(
                    "Not sent, because another message of the batch is refused. \
                     Send this one again by itself.",
                ));
            }
        }
    }

    fn is_refused(&self) -> bool {
        self.drafts().any(|draft| draft.refusal.is_some())
    }

    /// The body as the server is to see it, if that is not what was sent.
    pub(super) fn rewritten(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let brought = self.first.brought().filter(|_| !self.is_refused())?;
        match brought.as_forwarded(body)? {
            Ok(body) => Some(body),
            Err(refusal) => {
                self.first.refuse_for(refusal);
                None
            }
        }
    }

    /// Nobody waits for it any more, while it waits for an approval.
    pub(super) fn give_up(mut self) {
        self.settle_approval(Err(Unapproved::TakenBack));
        let Recorded { open, receipt, .. } = self.record();
        // Nobody waits for the records either.
        drop(receipt.and(open.end(Ending::Cancelled)));
    }

    /// It is refused if it is hidden, and has cost what everything else does.
    pub(super) fn refuse_hidden(&mut self) {
        if self.first.refuse_hidden() {
            if let Some(mut charged) = self.charged.take() {
                charged.sent();
                charged.ended();
            }
            self.refuse_together();
        }
    }

    /// Takes what was for us alone: a call that is held is not known to the server.
    pub(super) fn take_ours(&mut self) {
        let judge = self.judge.as_ref().filter(|_| !self.is_refused());
        let ended = judge
            .zip(self.cancels.as_ref())
            .is_some_and(|(judge, call)| self.config.engine.end_hold(judge, call));
        if ended {
            self.first.refusal = Some(Refusal::Taken);
        }
    }

    /// Records what was decided.
    pub(super) fn record(self) -> Recorded {
        let refusal = self.refusal();
        let runs = self.drafts().any(|draft| draft.runs);
        let is_charged = self.charged.is_some();
        let following = self
            .judge
            .as_ref()
            .and_then(|judge| self.first.following(judge, is_charged));
        let engine = &self.config.engine;
        let (open, mut receipt) = engine.decided(self.first);
        let mut open = OpenDecisions::from(open);
        for draft in self.others {
            let (other, its_receipt) = engine.decided(draft);
            open.push(other);
            receipt = receipt.and(its_receipt);
        }
        let result = match (refusal, self.judge) {
            (None, Some(judge)) => Ok(Exchange {
                config: self.config,
                judge,
                asked: self.asked,
                charged: self.charged,
                following: following.map(|following| Follow::new(following, open.record())),
            }),
            // There is a judge wherever nothing is refused.
            (refusal, _) => Err(Box::new(Refused {
                refusal: refusal.unwrap_or(Refusal::Failed),
                config: self.config,
                asked: self.asked,
                caller: self.caller,
                is_message: self.is_message,
            })),
        };
        Recorded {
            result,
            open,
            receipt,
            runs,
        }
    }

    fn drafts(&self) -> impl Iterator<Item = &Draft> + Clone {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn drafts_mut(&mut self) -> impl Iterator<Item = &mut Draft> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    /// What whoever waits is told, if it may not go on.
    fn refusal(&self) -> Option<Refusal> {
        let first = self.drafts().find_map(|draft| draft.refusal.as_ref())?;
        let Waiting::Batch(ids) = &self.asked.waiting else {
            return Some(first.clone());
        };
        let requests = self.drafts().filter(|draft| draft.is_request());
        let refusals = ids
            .iter()
            .zip(requests)
            .filter_map(|(id, draft)| Some((Id::from_raw(id), draft.refusal.as_ref()?)));
        reply::batch(refusals, self.asked.era).or_else(|| Some(first.clone()))
    }
}

/// A copy: a slice would keep the whole body while the answer lasts.
pub(super) fn copy(id: Id<'_>) -> Bytes {
    Bytes::copy_from_slice(id.raw())
}
