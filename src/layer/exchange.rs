//! What is remembered of a request until its answer has gone.

use std::sync::Arc;

use bytes::Bytes;
use http::Version;
use smallvec::SmallVec;

use super::config::Config;
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
    /// The tools that it calls, each with the id of the call.
    pub(super) calls: SmallVec<[(Bytes, Arc<str>); 1]>,
    pub(super) session: SessionStep,
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
        for (id, tool) in &self.asked.calls {
            let Some(asked) = Id::from_raw(id) else {
                continue;
            };
            let own = answers
                .iter()
                .filter(|answer| asked.is_echoed_by(answer.id));
            for task in own.filter_map(|answer| answer.task.as_deref()) {
                let owner = TaskOwner::new(self.judge.caller(), Arc::clone(tool));
                self.config.engine.sessions().begin_task(task, owner);
            }
        }
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
