//! A request that was judged: how it is admitted, and how that is recorded.

use std::sync::Arc;

use super::config::Config;
use super::exchange::{Asked, Exchange, Follow, Waiting};
use super::incoming::Incoming;
use crate::audit::{OpenDecisions, Receipt};
use crate::caller::Caller;
use crate::engine::{
    self, Admission, Admitted, ClientStream, Draft, Engine, Holding, Judge, Own, Patience,
};
use crate::mcp::message::Id;
use crate::mcp::reply::{self, Refusal};

/// A request that was judged, and is still to be admitted and recorded.
#[derive(Debug)]
pub(super) struct Judged {
    config: Arc<Config>,
    asked: Asked,
    /// `None` if that could not be found out.
    caller: Option<Caller>,
    /// Whether the body is, or should have been, a message.
    is_message: bool,
    admission: Admission,
}

/// A request of which it is recorded what was decided.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) result: Result<Box<Called>, (Box<Refused>, OpenDecisions)>,
    /// Of the records of the decisions.
    pub(super) receipt: Receipt,
    /// Whether something runs by it.
    pub(super) runs: bool,
}

/// What waits for the answer.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) exchange: Exchange,
    pub(super) open: OpenDecisions,
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

/// Bytes of a body that may wait for an approval.
const MOST_HELD: usize = 128 * 1024;

impl Judged {
    /// What `first` says of a request, and of those who sent it. Boxed from the beginning:
    /// it goes through many hands.
    pub(super) fn new(
        incoming: &Incoming<'_>,
        asked: Asked,
        caller: Option<Caller>,
        judge: Option<Judge>,
        first: Draft,
    ) -> Box<Self> {
        Box::new(Self {
            config: Arc::clone(incoming.config),
            asked,
            caller,
            is_message: false,
            admission: Admission::new(incoming.arrival, judge, first),
        })
    }

    /// The same of one that is this to us.
    pub(super) fn being(mut self: Box<Self>, own: Option<Box<Own>>) -> Box<Self> {
        self.admission.is_own(own);
        self
    }

    /// The same of a body that is, or should have been, a message.
    pub(super) fn of_message(mut self: Box<Self>) -> Box<Self> {
        self.is_message = true;
        self
    }

    /// Several messages of one caller, which go on together or not at all.
    pub(super) fn batch(
        incoming: &Incoming<'_>,
        asked: Asked,
        judge: Judge,
        first: Draft,
        others: Vec<Draft>,
    ) -> Box<Self> {
        let caller = Some(judge.caller().clone());
        let admission = Admission::new(incoming.arrival, Some(judge), first);
        Box::new(Self {
            config: Arc::clone(incoming.config),
            asked,
            caller,
            is_message: true,
            admission: admission.with_others(others),
        })
    }

    /// How it waits, if somebody has to approve it: so long, and its client can be asked on
    /// this stream.
    pub(super) fn hold(
        &mut self,
        patience: Option<Patience>,
        stream: Option<&ClientStream>,
        length: usize,
    ) {
        // What is large is not held: all requests have one budget together.
        if length > MOST_HELD || !self.admission.may_wait() {
            return;
        }
        let id = match &self.asked.waiting {
            Waiting::One(id) => Some(id),
            Waiting::Nobody | Waiting::Batch(_) => None,
        };
        self.admission.hold(Holding {
            time: self.config.approval_wait,
            patience,
            stream: stream.cloned().zip(id.cloned()),
        });
    }

    pub(super) fn admission(&mut self) -> (&Engine, &mut Admission) {
        (&self.config.engine, &mut self.admission)
    }

    /// The body as the server is to see it, if that is not what was sent.
    pub(super) fn rewritten(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        self.admission.rewritten(body)
    }

    /// Records what was decided.
    pub(super) fn record(mut self: Box<Self>) -> Recorded {
        let to_each = self.refusal_of_batch();
        let engine::Recorded {
            refusal,
            open,
            receipt,
            runs,
        } = self.admission.record(&self.config.engine);
        let admitted = match refusal {
            None => self.admission.admitted().ok_or(Refusal::Failed),
            Some(refusal) => Err(refusal),
        };
        let result = match admitted {
            Ok(Admitted {
                judge,
                charged,
                following,
            }) => Ok(Box::new(Called {
                exchange: Exchange {
                    following: following.map(|following| Follow::new(following, open.record())),
                    config: self.config,
                    judge,
                    asked: self.asked,
                    charged,
                },
                open,
            })),
            Err(refusal) => {
                let refused = Box::new(Refused {
                    refusal: to_each.unwrap_or(refusal),
                    config: self.config,
                    asked: self.asked,
                    caller: self.caller,
                    is_message: self.is_message,
                });
                Err((refused, open))
            }
        };
        Recorded {
            result,
            receipt,
            runs,
        }
    }

    /// What each message of a batch is told, if they may not go on.
    fn refusal_of_batch(&self) -> Option<Refusal> {
        let Waiting::Batch(ids) = &self.asked.waiting else {
            return None;
        };
        let drafts = self.admission.drafts();
        let requests = drafts.filter(|draft| draft.is_request());
        let refusals = ids
            .iter()
            .zip(requests)
            .filter_map(|(id, draft)| Some((Id::from_raw(id), draft.refusal.as_ref()?)));
        reply::batch(refusals, self.asked.era)
    }
}
