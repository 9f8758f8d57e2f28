//! The requests of one connection that the server has not answered yet.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use super::tell::Question;
use crate::audit::OpenDecisions;
use crate::engine::{Charged, Following, Judge};
use crate::mcp::message::{Call, Id, said};

/// What comes beyond pushes out the oldest, and those last that hold a place.
pub(super) const MOST_AWAITED: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Awaited {
    requests: VecDeque<Request>,
    /// Whether one was pushed out: from then on an answer may be one to a
    /// request that is not known any more, tells of no task, begins no round that goes on,
    /// and is judged by the policy that holds.
    has_forgotten: bool,
}

#[derive(Debug)]
pub(super) struct Request {
    /// As it was written.
    pub(super) id: Box<[u8]>,
    /// What that says.
    said: Box<[u8]>,
    /// The call that it makes, if the answer can be told from others.
    pub(super) call: Option<ToolCall>,
    pub(super) open: OpenDecisions,
    /// What it holds until it is answered, and what others held that had its id:
    /// nobody can tell which of them an answer is for.
    pub(super) held: SmallVec<[Box<Charged>; 1]>,
    /// What judged it, and judges its answer.
    pub(super) judge: Judge,
    pub(super) question: Question,
    /// What has to be known if the server asks for another round, if the answer can be told
    /// from others.
    pub(super) following: Option<Following>,
}

/// What is known of a request that goes on to the server.
#[derive(Debug)]
pub(super) struct Going {
    pub(super) open: OpenDecisions,
    pub(super) judge: Judge,
    /// What it was charged; `None` if it uses up nothing.
    pub(super) charged: Option<Box<Charged>>,
    pub(super) following: Option<Following>,
}

#[derive(Debug)]
pub(super) struct ToolCall {
    pub(super) tool: Arc<str>,
    /// Whether the client asks for a task (2025-11-25).
    pub(super) wants_task: bool,
}

impl Awaited {
    pub(super) fn add(&mut self, id: Id<'_>, call: &Call<'_>, going: Going) {
        let Going {
            open,
            judge,
            charged,
            following,
        } = going;
        let question = Question::of(call);
        if self.requests.len() >= MOST_AWAITED {
            self.push_out();
        }
        let tool = call.tool().filter(|_| !self.has_forgotten);
        let mut call = tool.map(|tool| ToolCall {
            tool: tool.into(),
            wants_task: call.wants_task(),
        });
        let mut following = following.filter(|_| !self.has_forgotten);
        // Nobody can tell which of two with one id a task was made of, or goes on.
        let said = id.said();
        let same_id = |other: &&mut Request| *other.said == *said;
        for other in self.requests.iter_mut().filter(same_id) {
            (other.call, other.following) = (None, None);
            (call, following) = (None, None);
        }
        self.requests.push_back(Request {
            id: id.raw().into(),
            said: said.into(),
            call,
            open,
            held: charged
                .filter(|charged| charged.is_under_way())
                .into_iter()
                .collect(),
            judge,
            question,
            following,
        });
    }

    /// What judged the request that an answer with this id answers; `None` if that
    /// could be one of several, or one that is not known any more.
    pub(super) fn judge_of(&self, id: &[u8]) -> Option<&Judge> {
        if self.has_forgotten {
            return None;
        }
        let said = said(id);
        let mut requests = self.requests.iter().filter(|it| *it.said == *said);
        let request = requests.next()?;
        requests.next().is_none().then_some(&request.judge)
    }

    /// The request that an answer with this id answers.
    pub(super) fn take(&mut self, id: &[u8]) -> Option<Request> {
        let said = said(id);
        let has_id = |request: &Request| *request.said == *said;
        let index = self.requests.iter().position(has_id)?;
        let mut taken = self.requests.remove(index)?;
        // Those in front of it have another.
        let mut others = self.requests.iter_mut().skip(index);
        if let Some(other) = others.find(|it| has_id(it)) {
            other.held.append(&mut taken.held);
        }
        Some(taken)
    }

    /// Nobody waits any more for a request with this id: what it holds, it holds
    /// for a while. Of several all are meant.
    pub(super) fn give_up(&mut self, id: &[u8]) {
        let said = said(id);
        let same_id = |request: &&mut Request| *request.said == *said;
        for request in self.requests.iter_mut().filter(same_id) {
            request.held.clear();
        }
    }

    fn push_out(&mut self) {
        let holds_nothing = |request: &Request| request.held.is_empty();
        let index = self.requests.iter().position(holds_nothing);
        self.requests.remove(index.unwrap_or_default());
        self.has_forgotten = true;
    }

    /// All of them, of which none is answered any more.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Request> + use<> {
        // One of them may be all the same.
        self.has_forgotten = true;
        std::mem::take(&mut self.requests).into_iter()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }
}
