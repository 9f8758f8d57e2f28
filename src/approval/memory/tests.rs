use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::StreamExt as _;
use proptest::prelude::*;

use super::*;
use crate::approval::testing::{Asking, contract, demand, model, question};
use crate::approval::{ApprovalEvent, ApprovalEvents};
use crate::limit::testing::ManualClock;

const START: &str = "2026-11-25T04:59:00Z";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn it_does_as_a_list_of_everything(history in model::histories(200)) {
        model::does_as_a_list(&MemoryApprovalStore::default(), history);
    }
}

#[test]
fn a_call_finds_what_was_asked_before() {
    contract::finds_what_was_asked_before(&MemoryApprovalStore::default());
}

#[test]
fn what_was_asked_is_kept() {
    contract::keeps_what_was_asked(&MemoryApprovalStore::default());
}

#[test]
fn an_approval_is_used_once() {
    contract::is_used_once(&MemoryApprovalStore::default());
}

#[test]
fn of_many_at_once_one_uses_an_approval() {
    contract::is_used_by_one_of_many(&MemoryApprovalStore::default(), 20);
}

#[test]
fn of_many_at_once_one_decides() {
    contract::is_decided_by_one_of_many(&MemoryApprovalStore::default(), 20);
}

#[test]
fn many_at_once_begin_one_request() {
    contract::begins_one_request_for_many(&MemoryApprovalStore::default());
}

#[test]
fn requests_and_approvals_expire() {
    contract::expires_twice(&MemoryApprovalStore::default());
}

#[test]
fn what_was_denied_stays_so_for_a_while() {
    contract::remembers_what_was_denied(&MemoryApprovalStore::default());
}

#[test]
fn nobody_decides_about_their_own() {
    contract::asks_somebody_else(&MemoryApprovalStore::default());
}

#[test]
fn requests_and_approvals_are_taken_back() {
    contract::takes_back(&MemoryApprovalStore::default());
}

#[test]
fn arguments_are_forgotten_when_a_request_ends() {
    contract::forgets_arguments(&MemoryApprovalStore::default());
}

#[test]
fn each_caller_is_bounded() {
    contract::bounds_each_caller(&MemoryApprovalStore::default());
}

#[test]
fn all_callers_are_bounded() {
    contract::bounds_all_callers(&MemoryApprovalStore::default());
}

/// However the clock of the world is turned.
#[test]
fn time_does_not_go_by_the_clock_of_the_world() {
    let memory = MemoryApprovalStore::default();
    let store = Asking(&memory);
    let mut clock = ManualClock::at(START);
    let request = store
        .pending(&question(&demand(), "alice", "{}", clock.now()))
        .id();
    for hours in [5, -10] {
        clock.step(hours * 3_600_000_000);
        let state = store.state(request, clock.now());
        assert_eq!(state, Some(ApprovalState::Pending));
    }
    clock.pass(demand().expires);
    assert_eq!(
        store.state(request, clock.now()),
        Some(ApprovalState::Expired)
    );
}

/// Requests do not come in the order in which they read the clock.
#[test]
fn time_does_not_go_back() {
    let memory = MemoryApprovalStore::default();
    let store = Asking(&memory);
    let mut clock = ManualClock::at(START);
    let early = clock.now();
    let call = question(&demand(), "alice", "{}", early);
    let request = store.approved(&call);
    clock.pass(demand().expires);
    assert_eq!(
        store.state(request, clock.now()),
        Some(ApprovalState::Expired)
    );
    assert_eq!(store.use_up(&call, request), ApprovalUsed::NotApproved);
    assert_eq!(store.state(request, early), Some(ApprovalState::Expired));
    // What began before by its own reading has all of its time.
    let request = store.pending(&call).id();
    let state = store.state(request, clock.now());
    assert_eq!(state, Some(ApprovalState::Pending));
    clock.pass(demand().expires);
    let state = store.state(request, clock.now());
    assert_eq!(state, Some(ApprovalState::Expired));
}

fn heard(events: &mut ApprovalEvents) -> Vec<(ApprovalId, ApprovalState)> {
    let mut context = Context::from_waker(Waker::noop());
    let mut heard = Vec::new();
    while let Poll::Ready(Some(event)) = events.poll_next_unpin(&mut context) {
        let ApprovalEvent::Changed(request, state) = event else {
            panic!("nothing is missed");
        };
        heard.push((request, state));
    }
    heard
}

#[test]
fn whatever_becomes_of_a_request_is_said() {
    let memory = MemoryApprovalStore::default();
    let store = Asking(&memory);
    let mut clock = ManualClock::at(START);
    let mut events = memory.changes().listen();
    let call =
        |arguments, clock: &ManualClock| question(&demand(), "alice", arguments, clock.now());
    let used = call("1", &clock);
    let id = store.approved(&used);
    assert_eq!(store.use_up(&used, id), ApprovalUsed::Now);
    let said = [
        ApprovalState::Pending,
        ApprovalState::Approved,
        ApprovalState::Used,
    ];
    assert_eq!(heard(&mut events), said.map(|state| (id, state)));
    // What changes nothing is not.
    assert_eq!(store.use_up(&used, id), ApprovalUsed::Before);
    assert_eq!(store.list(&[ApprovalState::Used], clock.now()).len(), 1);
    assert_eq!(heard(&mut events), []);
    let [denied, cancelled, expired] =
        ["2", "3", "4"].map(|arguments| store.pending(&call(arguments, &clock)).id());
    assert_eq!(heard(&mut events).len(), 3);
    store
        .decide(denied, &Ruling::deny("dora"), clock.now())
        .unwrap();
    assert!(store.cancel(cancelled, clock.now()));
    clock.pass(demand().expires);
    assert_eq!(
        store.state(expired, clock.now()),
        Some(ApprovalState::Expired)
    );
    let said = [
        (denied, ApprovalState::Denied),
        (cancelled, ApprovalState::Cancelled),
        (expired, ApprovalState::Expired),
    ];
    assert_eq!(heard(&mut events), said);
}

#[test]
fn a_store_that_broke_answers_no_more() {
    let memory = Arc::new(MemoryApprovalStore::default());
    let clock = ManualClock::at(START);
    let call = question(&demand(), "alice", "{}", clock.now());
    Asking(&memory).approved(&call);
    let broken = Arc::clone(&memory);
    let thread = std::thread::spawn(move || {
        let _held = broken.table.lock().unwrap();
        panic!("on purpose");
    });
    assert!(thread.join().is_err());
    let answer = futures::executor::block_on(memory.ask(&call).get());
    assert!(answer.is_err());
}

#[test]
fn nothing_of_a_request_is_shown() {
    let memory = MemoryApprovalStore::default();
    let clock = ManualClock::at(START);
    Asking(&memory).pending(&question(&demand(), "alice", r#"["hunter2"]"#, clock.now()));
    assert_eq!(format!("{memory:?}"), "MemoryApprovalStore { .. }");
}
