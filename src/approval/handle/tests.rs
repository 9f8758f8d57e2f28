use futures::executor::block_on;
use futures::{FutureExt as _, StreamExt as _};

use super::*;
use crate::approval::testing::{Asking, demand, question};
use crate::approval::{
    ApprovalAsked, ApprovalEvent, ApprovalQuestion, ApprovalUsed, CallDigest, Decider,
    MemoryApprovalStore,
};
use crate::limit::testing::ManualClock;

const START: &str = "2026-11-25T04:59:00Z";

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        self.now()
    }
}

#[test]
fn applications_see_what_waits_and_decide() {
    let store = Arc::new(MemoryApprovalStore::default());
    let clock = ManualClock::at(START);
    let approvals = Approvals::new(Arc::clone(&store)).clock(clock);
    let mut changes = approvals.changes();
    let calls = ["1", "2"].map(|arguments| question(&demand(), "alice", arguments, clock.now()));
    let [one, other] = calls
        .each_ref()
        .map(|call| Asking(&store).pending(call).id());
    block_on(async {
        let waiting = approvals.list(&[ApprovalState::Pending]).await.unwrap();
        let waiting: Vec<_> = waiting.iter().map(ApprovalRequest::id).collect();
        assert_eq!(waiting, [one, other]);
        let approved = approvals.approve(one, "dora").await.unwrap();
        assert_eq!(approved.state(), ApprovalState::Approved);
        assert_eq!(
            approved.decided_by(),
            Some(&Decider::Operator("dora".into()))
        );
        assert_eq!(approved.decided_at(), Some(clock.now().system));
        let denied = approvals.deny(other, "dora").await.unwrap();
        assert_eq!(denied.state(), ApprovalState::Denied);
        let own = approvals.approve(other, "alice").await;
        let why = NotDecided::NotPending(ApprovalState::Denied);
        assert_eq!(own.unwrap_err(), ApprovalError::NotDecided(why));
        let found = approvals.get(one).await.unwrap().unwrap();
        assert_eq!(found.state(), ApprovalState::Approved);
        let unknown = ApprovalId::new().unwrap();
        assert!(approvals.get(unknown).await.unwrap().is_none());
        for expected in [
            (one, ApprovalState::Pending),
            (other, ApprovalState::Pending),
            (one, ApprovalState::Approved),
            (other, ApprovalState::Denied),
        ] {
            let (request, state) = expected;
            let event = changes.next().now_or_never().flatten();
            assert_eq!(event, Some(ApprovalEvent::Changed(request, state)));
        }
    });
    assert_eq!(Asking(&store).use_up(&calls[0], one), ApprovalUsed::Now);
    assert_eq!(format!("{approvals:?}"), "Approvals { .. }");
}

/// Panics, or has no answer.
struct Broken;

impl ApprovalStore for Broken {
    fn ask(&self, _: &ApprovalQuestion) -> StoreAnswer<ApprovalAsked> {
        StoreAnswer::known(ApprovalAsked::Full)
    }

    fn use_up(&self, _: ApprovalId, _: &CallDigest, _: Moment) -> StoreAnswer<ApprovalUsed> {
        StoreAnswer::known(ApprovalUsed::NotApproved)
    }

    fn decide(
        &self,
        _: ApprovalId,
        _: &Ruling,
        _: Moment,
    ) -> StoreAnswer<Result<ApprovalRequest, NotDecided>> {
        panic!("on purpose");
    }

    fn cancel(&self, _: ApprovalId, _: Moment) -> StoreAnswer<bool> {
        StoreAnswer::known(false)
    }

    fn get(&self, _: ApprovalId, _: Moment) -> StoreAnswer<Option<ApprovalRequest>> {
        StoreAnswer::failed(StoreError::new("there is no power"))
    }

    fn list(&self, _: &[ApprovalState], _: Moment) -> StoreAnswer<Vec<ApprovalRequest>> {
        StoreAnswer::pending(std::future::pending())
    }

    fn changes(&self) -> ApprovalChanges {
        panic!("on purpose");
    }
}

#[test]
fn a_store_that_fails_is_an_error() {
    let approvals = Approvals::new(Broken);
    let request = ApprovalId::new().unwrap();
    block_on(async {
        let text = |error: ApprovalError| {
            assert!(std::error::Error::source(&error).is_some());
            error.to_string()
        };
        let panicked = approvals.approve(request, "dora").await;
        let before = "the store of approvals did not answer: ";
        assert_eq!(text(panicked.unwrap_err()), format!("{before}it panicked"));
        let failed = approvals.get(request).await;
        assert_eq!(
            text(failed.unwrap_err()),
            format!("{before}there is no power")
        );
        let late = approvals.list(&[]).await;
        let late = text(late.unwrap_err());
        assert_eq!(late, format!("{before}there was no answer in time"));
    });
    assert_eq!(approvals.changes().next().now_or_never(), None);
}
