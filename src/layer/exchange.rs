//! What is remembered of a request until its answer has gone.

use std::sync::Arc;

use bytes::Bytes;
use http::Version;
use smallvec::SmallVec;

use super::calls::CallUnderWay;
use super::config::Config;
use super::tell::Role;
use crate::engine::Judge;
use crate::mcp::list::Answer;
use crate::mcp::message::Id;
use crate::mcp::reply;
use crate::mcp::version::Era;
use crate::session::TaskOwner;

/// What is remembered of a request while its answer is awaited.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) era: Era,
    /// The id as it was written.
    pub(super) id: Option<Bytes>,
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

/// A call of a tool, of which the server may make a task.
#[derive(Clone, Debug)]
pub(super) struct ToolCall {
    /// The id as it was written.
    pub(super) id: Bytes,
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
    /// It may begin one.
    Begin,
    /// It asks for this one to be ended.
    End(String),
    /// Nothing.
    None,
}

/// A request that may pass, and everything that its answer is judged by.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) config: Arc<Config>,
    pub(super) judge: Judge,
    pub(super) asked: Asked,
}

impl Exchange {
    /// Remembers the tasks that the server made of the calls, before the client
    /// hears of them.
    pub(super) fn remember_tasks(&self, answers: &[Answer<'_>]) {
        for call in &self.asked.calls {
            for task in answers.iter().filter_map(|answer| call.task_in(answer)) {
                let owner = TaskOwner::new(self.judge.caller(), Arc::clone(&call.tool));
                self.config.engine.sessions().begin_task(task, owner);
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
    pub(super) fn id(&self) -> Option<Id<'_>> {
        Id::from_raw(self.id.as_deref()?)
    }

    pub(super) fn in_words(&self) -> reply::Asked<'_> {
        reply::Asked {
            era: self.era,
            id: self.id(),
        }
    }
}
