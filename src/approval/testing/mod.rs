//! What tests of stores need: questions, and what every store has to do.

pub(super) mod contract;
pub(super) mod model;

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;

use super::question::{Call, Demand};
use super::{
    ApprovalAsked, ApprovalId, ApprovalQuestion, ApprovalRequest, ApprovalState, ApprovalStore,
    ApprovalUsed, NotDecided, Ruling,
};
use crate::clock::Moment;
use crate::policy::Approver;
use crate::store::StoreAnswer;

pub(crate) const EXPIRES: Duration = Duration::from_secs(600);

pub(crate) fn demand() -> Demand {
    Demand {
        approver: Approver::Operator,
        expires: EXPIRES,
        reason: Some("it cannot be undone".into()),
        rules: ["/tools/pay/require_approval".into()].into_iter().collect(),
        digest: "sha256:07".into(),
    }
}

/// A call of `pay`, with these arguments.
pub(crate) fn question(
    demand: &Demand,
    caller: &str,
    arguments: &str,
    at: Moment,
) -> ApprovalQuestion {
    let params = format!(r#"{{"name":"pay","arguments":{arguments}}}"#);
    let (server, caller): (Arc<str>, Arc<str>) = ("server".into(), caller.into());
    let call = Call {
        server: &server,
        caller: &caller,
        method: "tools/call",
        name: "pay",
        params: Some(params.as_bytes()),
        arguments: Some(arguments.as_bytes()),
    };
    ApprovalQuestion::new(demand, call, at).unwrap()
}

/// A store, of which it is easy to ask something, however slow the machine is.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a>(pub(crate) &'a dyn ApprovalStore);

impl Asking<'_> {
    pub(crate) fn ask(self, question: &ApprovalQuestion) -> ApprovalAsked {
        answer(|| self.0.ask(question))
    }

    pub(crate) fn use_up(self, question: &ApprovalQuestion, id: ApprovalId) -> ApprovalUsed {
        answer(|| self.0.use_up(id, question.digest(), question.at()))
    }

    pub(crate) fn decide(
        self,
        id: ApprovalId,
        ruling: &Ruling,
        now: Moment,
    ) -> Result<ApprovalRequest, NotDecided> {
        answer(|| self.0.decide(id, ruling, now))
    }

    pub(crate) fn cancel(self, id: ApprovalId, now: Moment) -> bool {
        answer(|| self.0.cancel(id, now))
    }

    pub(crate) fn get(self, id: ApprovalId, now: Moment) -> Option<ApprovalRequest> {
        answer(|| self.0.get(id, now))
    }

    pub(crate) fn state(self, id: ApprovalId, now: Moment) -> Option<ApprovalState> {
        self.get(id, now).map(|request| request.state())
    }

    pub(crate) fn list(self, states: &[ApprovalState], now: Moment) -> Vec<ApprovalRequest> {
        answer(|| self.0.list(states, now))
    }

    /// What is pending, which has to be so.
    pub(crate) fn pending(self, question: &ApprovalQuestion) -> ApprovalRequest {
        match self.ask(question) {
            ApprovalAsked::Pending(request) => request,
            other => panic!("{other:?}"),
        }
    }

    /// What is approved, and pending before.
    pub(crate) fn approved(self, question: &ApprovalQuestion) -> ApprovalId {
        let id = self.pending(question).id();
        let approved = self.decide(id, &Ruling::approve("dora"), question.at());
        assert_eq!(approved.unwrap().state(), ApprovalState::Approved);
        id
    }
}

/// What a store says, although others are in its way for a while.
fn answer<T>(ask: impl Fn() -> StoreAnswer<T>) -> T {
    for _ in 0..20 {
        if let Ok(answer) = block_on(ask().patiently()) {
            return answer;
        }
    }
    block_on(ask().patiently()).unwrap()
}

/// The word for what was said, without the request.
pub(crate) fn word(asked: &ApprovalAsked) -> &'static str {
    match asked {
        ApprovalAsked::Pending(_) => "pending",
        ApprovalAsked::Approved(_) => "approved",
        ApprovalAsked::Denied(_) => "denied",
        ApprovalAsked::Full => "full",
    }
}
