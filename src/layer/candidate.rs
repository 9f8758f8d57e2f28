//! A request on its way through the layer, until it goes on or is refused.

use std::sync::Arc;

use http::request::Parts as RequestHead;

use super::collect::Collected;
use super::config::Config;
use super::incoming::Incoming;
use super::judged::Judged;
use crate::engine::{Admission, Arrival, ClientStream, Engine, Entrant, Patience, Sessions};
use crate::mcp::headers::Mirror;

/// A request that is still to be judged.
pub(super) struct Candidate<S> {
    pub(super) head: RequestHead,
    pub(super) inner: S,
    pub(super) config: Arc<Config>,
    pub(super) arrival: Arrival,
    pub(super) sessions: Sessions,
    /// Where the client can be asked something while the request waits, if anywhere.
    pub(super) stream: Option<ClientStream>,
    /// How much longer it is waited for an approval; `None` until that is asked for.
    pub(super) patience: Option<Patience>,
}

impl<S> Candidate<S> {
    /// With what the headers of this say of its message.
    pub(super) fn incoming<'r>(&'r self, mirror: &'r Mirror<'r>) -> Incoming<'r> {
        Incoming {
            config: &self.config,
            head: &self.head,
            mirror,
            arrival: self.arrival,
            sessions: &self.sessions,
            stream: self.stream.as_ref(),
            is_again: self.patience.is_some(),
        }
    }
}

/// A request that was judged, and may still have to wait.
pub(super) struct Undecided<S> {
    pub(super) judged: Box<Judged>,
    pub(super) candidate: Box<Candidate<S>>,
    pub(super) body: Option<Collected>,
}

impl<S> Undecided<S> {
    pub(super) fn new(
        mut judged: Box<Judged>,
        mut candidate: Box<Candidate<S>>,
        body: Option<Collected>,
    ) -> Self {
        let length = body.as_ref().map_or(0, |body| body.bytes.len());
        judged.hold(candidate.patience.take(), candidate.stream.as_ref(), length);
        Self {
            judged,
            candidate,
            body,
        }
    }

    /// What is left to be judged again: what was decided by the policy of that moment
    /// may be decided otherwise by now.
    pub(super) fn again(self, patience: Patience) -> (Box<Candidate<S>>, Option<Collected>) {
        let Self {
            judged,
            mut candidate,
            body,
        } = self;
        // It is not under way twice.
        drop(judged);
        candidate.sessions.forget();
        candidate.patience = Some(patience);
        (candidate, body)
    }
}

impl<S> Entrant for Undecided<S> {
    fn admission(&mut self) -> (&Engine, &mut Admission) {
        self.judged.admission()
    }
}
