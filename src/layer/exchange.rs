//! What is remembered of a request until its answer has gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{StatusCode, Version};
use smallvec::SmallVec;

use super::calls::CallUnderWay;
use super::config::Config;
use crate::audit::DecisionRecord;
use crate::engine::{Charged, Following, Judge, Pending};
use crate::mcp::changed::Lists;
use crate::mcp::list::{self, Answer, Filtered, Unreadable};
use crate::mcp::message::Id;
use crate::mcp::params::Elicitation;
use crate::mcp::reply::{self, Refusal, Reply};
use crate::mcp::rounds::{AskedByServer, asks_more};
use crate::mcp::sse;
use crate::mcp::version::Era;
use crate::session::TaskOwner;

/// What is remembered of a request while its answer is awaited.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) era: Era,
    pub(super) waiting: Waiting,
    pub(super) version: Version,
    /// Whether the answer should hold a list.
    pub(super) for_list: bool,
    /// Whether it is a GET.
    pub(super) opens_stream: bool,
    /// The calls of tools that it makes.
    pub(super) calls: SmallVec<[ToolCall; 1]>,
    pub(super) session: SessionStep,
    /// What the answer means to whoever waits for changes.
    pub(super) role: Role,
}

/// Who waits for the answer, by ids as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Nobody who can be told by an id.
    Nobody,
    /// The one message that was sent.
    One(Arc<[u8]>),
    /// Those messages of a batch that have an id.
    Batch(Vec<Arc<[u8]>>),
}

/// A call of a tool, of which the server may make a task.
#[derive(Clone, Debug)]
pub(super) struct ToolCall {
    /// The id as it was written.
    pub(super) id: Arc<[u8]>,
    pub(super) tool: Arc<str>,
    /// Whether the client asks for a task (2025-11-25).
    pub(super) wants_task: bool,
    /// Where other calls of the session are known. None share an id with those
    /// that have no session.
    pub(super) under_way: Option<Arc<CallUnderWay>>,
}

/// What a request does to its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SessionStep {
    /// It may begin one, with a client that says this of itself and how it can ask its
    /// user.
    Begin(Option<Arc<str>>, Elicitation),
    /// It asks for this one to be ended.
    End(String),
    /// Nothing.
    None,
}

/// What the answer to a request means to whoever waits for changes.
#[derive(Clone, Debug, Default)]
pub(super) enum Role {
    /// Nothing, or no policy ever changes.
    #[default]
    None,
    /// It begins a session, the one of this name once that is known, and declares
    /// what will be told in it.
    Begins(Option<String>),
    /// It declares what the server tells of (2026-07-28).
    Declares,
    /// It may carry what is told in this session.
    Carries(String),
    /// It is a stream and a session in one, as in 2024-11-05.
    IsSession,
    /// It is a subscription to changes of these lists (2026-07-28).
    Subscribes(Lists),
}

/// A request that may pass, and everything that its answer is judged by.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) config: Arc<Config>,
    pub(super) judge: Judge,
    pub(super) asked: Asked,
    /// What it was charged; `None` if it uses up nothing.
    pub(super) charged: Option<Box<Charged>>,
    /// What has to be known if the server asks for another round.
    pub(super) following: Option<Follow>,
}

/// What is known of a call that the server may ask another round for.
#[derive(Debug)]
pub(super) struct Follow {
    following: Following,
    decision: DecisionRecord,
    /// Whether the client was told to come back: it is once.
    is_told: AtomicBool,
}

impl Follow {
    pub(super) fn new(following: Following, decision: &DecisionRecord) -> Self {
        Self {
            following,
            decision: decision.clone(),
            is_told: AtomicBool::new(false),
        }
    }
}

impl Exchange {
    /// The message with which the client is to come back, if this is an answer that
    /// asks for another round.
    pub(super) fn follow(&self, answer: &[u8]) -> Option<Vec<u8>> {
        let Follow {
            following,
            decision,
            is_told,
        } = self.following.as_ref()?;
        if !asks_more(answer) {
            return None;
        }
        let more = AskedByServer::by(answer)?;
        let is_own = match &self.asked.waiting {
            Waiting::One(id) => Id::from_raw(id).is_some_and(|id| id.is_echoed_by(more.id)),
            Waiting::Nobody | Waiting::Batch(_) => false,
        };
        if !is_own || is_told.swap(true, Ordering::Relaxed) {
            return None;
        }
        let engine = &self.config.engine;
        engine.follow(following, &self.judge, decision, (&more, answer))
    }

    /// No byte of the request was handed to the server.
    pub(super) fn was_not_sent(&mut self) {
        if let Some(charged) = self.charged.take() {
            charged.not_sent();
        }
        if let Some(follow) = &mut self.following {
            follow.following.was_not_charged();
        }
    }

    /// The answer has come to its end, unless it comes by another way: on a stream
    /// that is open already.
    pub(super) fn has_ended(&mut self, status: StatusCode, has_body: bool) {
        let is_elsewhere = self.asked.is_awaited()
            && (status == StatusCode::ACCEPTED || status.is_success() && !has_body);
        match self.charged.take() {
            Some(charged) if !is_elsewhere => charged.ended(),
            // It is still under way, for all that is known.
            charged => drop(charged),
        }
    }

    /// No more of the answer is seen, though it has not come to its end.
    pub(super) fn has_broken_off(&mut self) {
        self.charged = None;
    }

    /// Asks what has to be known to judge a message of the server's; `None` if
    /// everything is.
    pub(super) fn ask_about(&self, message: &[u8]) -> Option<Pending> {
        let sessions = self.judge.sessions();
        if sessions.answer_at_once() {
            return None;
        }
        if let Ok(filtered) = list::filter(message, &self.judge) {
            self.remember_tasks(&filtered.answers);
        }
        sessions.pending()
    }

    /// What the client is shown of a message that is not on a stream of its own. If nothing
    /// goes on any more since it asked, it is answered, and hears nothing else.
    pub(super) fn filter<'t>(&self, text: &'t [u8]) -> Result<Filtered<'t>, Unreadable> {
        let filtered = list::filter(text, &self.judge)?;
        if filtered.tells_unasked && !filtered.is_foreign && self.is_shut_now() {
            return list::filter(text, &self.judge.clone().with_only_answers());
        }
        Ok(filtered)
    }

    fn is_shut_now(&self) -> bool {
        let engine = &self.config.engine;
        let judge = engine.judge_for(self.judge.caller(), self.judge.sessions());
        // If nobody knows, it may be.
        judge.map_or(true, |judge| judge.is_shut())
    }

    /// Remembers the tasks that the server made of the calls, before the client
    /// hears of them.
    pub(super) fn remember_tasks(&self, answers: &[Answer<'_>]) {
        for call in &self.asked.calls {
            for task in answers.iter().filter_map(|answer| call.task_in(answer)) {
                let owner = TaskOwner::new(self.judge.caller(), Arc::clone(&call.tool));
                self.judge.sessions().begin_task(task, owner);
            }
        }
    }
}

impl ToolCall {
    /// The task that the server made of the call, if this answer tells of one.
    fn task_in<'t>(&self, answer: &'t Answer<'_>) -> Option<&'t str> {
        let task = answer.task.as_ref()?;
        let is_own = Id::from_raw(&self.id)?.is_echoed_by(answer.id);
        let is_unique = self
            .under_way
            .as_ref()
            .is_none_or(|under_way| under_way.is_unique());
        (is_own && is_unique && task.fits(self.wants_task)).then_some(&*task.id)
    }
}

impl Asked {
    /// Whether somebody waits who can be told by an id.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting != Waiting::Nobody
    }

    /// The answer from which everybody who waits hears of a refusal.
    pub(super) fn reply(&self, refusal: &Refusal) -> Reply {
        match &self.waiting {
            Waiting::Nobody => self.reply_to(None, refusal),
            Waiting::One(id) => self.reply_to(Id::from_raw(id), refusal),
            Waiting::Batch(ids) => reply::in_array(&self.replies_to(ids, refusal)),
        }
    }

    /// The same on a stream: there each message stands by itself.
    pub(super) fn events(&self, refusal: &Refusal) -> Bytes {
        let replies = match &self.waiting {
            Waiting::Nobody | Waiting::One(_) => vec![self.reply(refusal)],
            Waiting::Batch(ids) => self.replies_to(ids, refusal),
        };
        let events = replies.iter().map(|reply| sse::event(&reply.body));
        events.flatten().collect()
    }

    pub(super) fn reply_to(&self, id: Option<Id<'_>>, refusal: &Refusal) -> Reply {
        let era = self.era;
        reply::reply(refusal, reply::Asked { era, id })
    }

    fn replies_to(&self, ids: &[Arc<[u8]>], refusal: &Refusal) -> Vec<Reply> {
        let ids = ids.iter().filter_map(|id| Id::from_raw(id));
        reply::to_each(refusal, self.era, ids)
    }
}
