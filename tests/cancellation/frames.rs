//! Messages of connections that are not HTTP, dropped while they are judged.

use std::sync::{Arc, Mutex};

use mcp_policy::{
    ApprovalAsked, ApprovalChanges, ApprovalId, ApprovalQuestion, ApprovalRequest, ApprovalState,
    ApprovalStore, ApprovalUsed, Approvals, AuditRecord, AuditSink, CallDigest, Caller, Ending,
    FromClient, FromServer, LimitConclusion, LimitReservation, LimitReserved, LimitStore,
    MemoryApprovalStore, MemoryLimitStore, MessageConnection, MessageGuard, Moment, NotDecided,
    Receipt, Ruling, StoreAnswer, Verdict,
};
use tokio_test::assert_pending;
use tokio_test::task::spawn;

use super::records::SlowSink;
use super::support::{POLICY, call, list};
use super::{finish, wait};

const ANSWER: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"secret"}]}}"#;
const SHOWN: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[]}}"#;

fn connect(sink: &SlowSink) -> MessageConnection {
    MessageGuard::new(POLICY.parse().unwrap())
        .audit(sink.clone())
        .connect(Caller::local())
}

/// The connection is as good as new: a call goes on, and its answer comes back.
fn assert_works(connection: &MessageConnection, sink: &SlowSink) {
    let (verdict, _) = finish(connection.from_client(list().to_string().as_bytes()));
    assert_eq!(verdict, FromClient::Forward);
    let (answer, _) = finish(connection.from_server(ANSWER.as_bytes()));
    assert_eq!(answer, FromServer::Replace(SHOWN.into()));
    assert_eq!(sink.take(), Some(Ending::Answered));
}

#[test]
fn a_message_of_the_client_is_dropped() {
    let sink = SlowSink::default();
    for (message, goes_on) in [
        (list(), true),
        (call("read"), true),
        (call("write"), false),
        (serde_json::json!({ "jsonrpc": "2.0" }), false),
    ] {
        let frame = message.to_string();
        let connection = connect(&sink);
        let (verdict, polls) = finish(connection.from_client(frame.as_bytes()));
        assert_eq!(verdict == FromClient::Forward, goes_on);
        drop(connection);
        let whole = if goes_on {
            Ending::Cancelled
        } else {
            Ending::Refused
        };
        assert_eq!(sink.take(), Some(whole));
        assert!(polls > 2);

        let connection = connect(&sink);
        for k in 0..=polls {
            let mut future = spawn(connection.from_client(frame.as_bytes()));
            for _ in 0..k {
                assert_pending!(future.poll());
            }
            drop(future);
            // Nothing of it waits for an answer.
            let expected = (k > 0).then_some(whole);
            assert_eq!(sink.take(), expected, "after {k} polls");
            assert_works(&connection, &sink);
        }
    }
}

#[test]
fn a_message_of_the_server_is_dropped() {
    let unreadable = ANSWER.replace("[{", "[NaN,{");
    let batch = format!("[{ANSWER},{}]", ANSWER.replace('7', "8"));
    for (frame, answered) in [
        (ANSWER, Ending::Answered),
        (&*unreadable, Ending::Withheld),
        (&*batch, Ending::Answered),
    ] {
        let sink = SlowSink::default();
        let is_batch = frame.starts_with('[');
        let ask = |connection: &MessageConnection| {
            for id in [7, 8].iter().take(1 + usize::from(is_batch)) {
                let mut message = list();
                message["id"] = (*id).into();
                finish(connection.from_client(message.to_string().as_bytes()));
            }
        };
        let connection = connect(&sink);
        ask(&connection);
        let (_, polls) = finish(connection.from_server(frame.as_bytes()));
        assert!(polls > 2);
        drop(connection);
        assert!(sink.take_all().iter().all(|ending| *ending == answered));

        for k in 0..=polls {
            let connection = connect(&sink);
            ask(&connection);
            let mut future = spawn(connection.from_server(frame.as_bytes()));
            for _ in 0..k {
                assert_pending!(future.poll());
            }
            drop(future);
            drop(connection);
            // Each has ended once, however far it came.
            let endings = sink.take_all();
            assert_eq!(endings.len(), 1 + usize::from(is_batch));
            let known = |ending: &Ending| [answered, Ending::Cancelled].contains(ending);
            assert!(endings.iter().all(known), "{endings:?}");
            assert_eq!(endings.contains(&answered), k > 0, "after {k} polls");
        }
    }
}

/// Does what another store does, and takes a few polls to say so.
pub(super) struct Slow<S>(pub(super) Arc<S>);

fn slowly<T: Send + 'static>(answer: StoreAnswer<T>) -> StoreAnswer<T> {
    StoreAnswer::pending(async {
        wait(3).await;
        answer.get().await
    })
}

impl LimitStore for Slow<MemoryLimitStore> {
    fn reserve(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        slowly(self.0.reserve(reservation))
    }

    fn ask(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        slowly(self.0.ask(reservation))
    }

    fn conclude(&self, reservation: &LimitReservation, conclusion: LimitConclusion, now: Moment) {
        self.0.conclude(reservation, conclusion, now);
    }
}

impl ApprovalStore for Slow<MemoryApprovalStore> {
    fn ask(&self, question: &ApprovalQuestion) -> StoreAnswer<ApprovalAsked> {
        slowly(self.0.ask(question))
    }

    fn use_up(
        &self,
        request: ApprovalId,
        call: &CallDigest,
        now: Moment,
    ) -> StoreAnswer<ApprovalUsed> {
        slowly(self.0.use_up(request, call, now))
    }

    fn decide(
        &self,
        request: ApprovalId,
        ruling: &Ruling,
        now: Moment,
    ) -> StoreAnswer<Result<ApprovalRequest, NotDecided>> {
        slowly(self.0.decide(request, ruling, now))
    }

    fn cancel(&self, request: ApprovalId, now: Moment) -> StoreAnswer<bool> {
        slowly(self.0.cancel(request, now))
    }

    fn get(&self, request: ApprovalId, now: Moment) -> StoreAnswer<Option<ApprovalRequest>> {
        slowly(self.0.get(request, now))
    }

    fn list(&self, states: &[ApprovalState], now: Moment) -> StoreAnswer<Vec<ApprovalRequest>> {
        self.0.list(states, now)
    }

    fn changes(&self) -> ApprovalChanges {
        self.0.changes()
    }
}

/// What was recorded of messages that have ended.
#[derive(Clone, Default)]
pub(super) struct Recorded(Arc<Mutex<Vec<(Verdict, Ending)>>>);

impl AuditSink for Recorded {
    fn record(&self, record: &AuditRecord) -> Receipt {
        if let AuditRecord::Outcome(outcome) = record {
            let ended = (outcome.decision().verdict(), outcome.ending());
            self.0.lock().unwrap().push(ended);
        }
        Receipt::recorded()
    }
}

impl Recorded {
    pub(super) fn take(&self) -> Vec<(Verdict, Ending)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub(super) const PAYING: &str = r#"{ "version": "1", "default": "deny",
    "all_tools": { "limits": [ { "counter": "all", "window": 3600, "max": 1 } ] },
    "tools": { "pay": { "require_approval": true }, "look": {} } }"#;

/// A connection whose stores are slow, before a tool that has to be approved and another,
/// of which together one call may go on.
fn charging() -> (MessageConnection, Approvals, Recorded) {
    let approvals = Arc::new(MemoryApprovalStore::default());
    let sink = Recorded::default();
    let connection = MessageGuard::new(PAYING.parse().unwrap())
        .limit_store(Slow(Arc::new(MemoryLimitStore::default())))
        .approval_store(Slow(Arc::clone(&approvals)))
        .audit(sink.clone())
        .connect(Caller::new("alice"));
    (connection, Approvals::new(approvals), sink)
}

fn asks(connection: &MessageConnection, tool: &str) -> (FromClient, usize) {
    finish(connection.from_client(call(tool).to_string().as_bytes()))
}

pub(super) fn pending(approvals: &Approvals) -> Vec<ApprovalRequest> {
    let (pending, _) = finish(approvals.list(&[ApprovalState::Pending]));
    pending.unwrap()
}

/// As with HTTP: somebody may have seen the request.
#[test]
fn that_somebody_was_asked_about_a_message_is_recorded_although_it_is_dropped() {
    let mut was_asked = 0;
    let (_, polls) = asks(&charging().0, "pay");
    for k in 0..=polls {
        let (connection, approvals, sink) = charging();
        let frame = call("pay").to_string();
        let mut future = spawn(connection.from_client(frame.as_bytes()));
        for _ in 0..k {
            assert_pending!(future.poll());
        }
        drop(future);
        let is_asked = !pending(&approvals).is_empty();
        let expected = is_asked.then_some((Verdict::Waiting, Ending::Cancelled));
        assert_eq!(sink.take(), Vec::from_iter(expected), "after {k} polls");
        was_asked += usize::from(is_asked);
        // The request stays, and nothing was charged.
        let (told, _) = asks(&connection, "pay");
        assert!(matches!(told, FromClient::Refuse(_)));
        assert_eq!(pending(&approvals).len(), 1);
        assert_eq!(asks(&connection, "look").0, FromClient::Forward);
    }
    assert!(was_asked > 2, "{was_asked}");
}

#[test]
fn a_message_that_was_approved_is_dropped_and_costs_nothing() {
    let approved = || {
        let (connection, approvals, sink) = charging();
        asks(&connection, "pay");
        let (decided, _) = finish(approvals.approve(pending(&approvals)[0].id(), "dora"));
        decided.unwrap();
        sink.take();
        (connection, approvals, sink)
    };
    let (connection, ..) = approved();
    let (verdict, polls) = asks(&connection, "pay");
    assert_eq!(verdict, FromClient::Forward);
    assert!(matches!(asks(&connection, "look").0, FromClient::Refuse(_)));
    // Whether it could be charged, that it is approved, the charge, and its use.
    assert!(polls >= 12, "{polls}");
    let mut was_used = 0;
    for k in 0..=polls {
        let (connection, approvals, sink) = approved();
        let frame = call("pay").to_string();
        let mut future = spawn(connection.from_client(frame.as_bytes()));
        for _ in 0..k {
            assert_pending!(future.poll());
        }
        drop(future);
        // Somebody who finds that it is used finds by what.
        let (used, _) = finish(approvals.list(&[ApprovalState::Used]));
        let is_used = !used.unwrap().is_empty();
        let ended = sink.take();
        let gave_up = ended == [(Verdict::Waiting, Ending::Cancelled)];
        assert!(gave_up || !is_used && ended.is_empty(), "after {k} polls");
        was_used += usize::from(is_used);
        let (verdict, _) = asks(&connection, "look");
        assert_eq!(verdict, FromClient::Forward, "after {k} polls");
    }
    assert!(was_used > 2, "{was_used}");
}
