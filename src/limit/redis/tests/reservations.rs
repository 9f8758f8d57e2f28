//! What is remembered of reservations.

use super::*;
use crate::limit::testing::{ADMITTED, ManualClock, charge, quota, reservation, reserve};
use crate::policy::{CalendarUnit, LimitScope};

/// Of every kind, and of a caller and of all together.
fn call(clock: &ManualClock) -> LimitReservation {
    let charges = [
        (seconds(60), LimitScope::Caller),
        (Period::Calendar(CalendarUnit::Day), LimitScope::Server),
        (Period::Concurrent, LimitScope::Caller),
        (Period::Concurrent, LimitScope::Server),
    ];
    let charges = charges
        .into_iter()
        .enumerate()
        .map(|(place, (period, scope))| {
            charge(&quota(&format!("/{place}"), period, 2, scope), "alice", 1)
        });
    reservation(clock.now(), charges.collect::<Vec<_>>())
}

/// How many calls more are admitted.
fn room(store: &ByHand, clock: &ManualClock) -> usize {
    let calls: Vec<_> = std::iter::repeat_with(|| call(clock))
        .take_while(|call| reserve(store, call) == ADMITTED)
        .collect();
    for call in &calls {
        store.conclude(call, LimitConclusion::NotSent, clock.now());
    }
    calls.len()
}

#[test]
#[ignore = "needs redis-server"]
fn what_is_concluded_twice_is_given_back_once() {
    let server = Server::start();
    let store = ByHand::of(&server);
    let clock = ManualClock::at(START);
    let calls = [call(&clock), call(&clock)];
    assert!(calls.iter().all(|call| reserve(&store, call) == ADMITTED));
    assert_eq!(room(&store, &clock), 0);
    for _ in 0..3 {
        store.conclude(&calls[0], LimitConclusion::NotSent, clock.now());
        assert_eq!(room(&store, &clock), 1);
    }
    store.conclude(&calls[1], LimitConclusion::Ended, clock.now());
    store.conclude(&calls[1], LimitConclusion::NotSent, clock.now());
    assert_eq!(room(&store, &clock), 1);
}

#[test]
#[ignore = "needs redis-server"]
fn what_is_concluded_first_is_never_charged() {
    let server = Server::start();
    let store = ByHand::of(&server);
    let clock = ManualClock::at(START);
    let late = call(&clock);
    store.conclude(&late, LimitConclusion::NotSent, clock.now());
    let answer = block_on(store.0.begin(&late).answer());
    assert!(answer.is_err());
    assert_eq!(room(&store, &clock), 2);
}

/// Nor can it be charged twice by the same name.
#[test]
#[ignore = "needs redis-server"]
fn what_is_reserved_again_is_an_error() {
    let server = Server::start();
    let store = ByHand::of(&server);
    let clock = ManualClock::at(START);
    let call = call(&clock);
    assert_eq!(reserve(&store, &call), ADMITTED);
    assert!(block_on(store.0.begin(&call).answer()).is_err());
    assert_eq!(room(&store, &clock), 1);
}

/// What is refused in one part was charged in none, and the first is told of all.
#[test]
#[ignore = "needs redis-server"]
fn parts_are_charged_together_or_not() {
    let server = Server::start();
    let store = ByHand::of(&server);
    let clock = ManualClock::at(START);
    let of_all = quota("/all", seconds(60), 1, LimitScope::Server);
    let of_each = quota("/each", seconds(600), 1, LimitScope::Caller);
    let both = |caller, amount| {
        let charges = [charge(&of_all, caller, amount), charge(&of_each, caller, 1)];
        let answer = reserve(&store, &reservation(clock.now(), charges));
        store.0.remote.wait_until_told();
        answer
    };
    let refused = |charge, wait| LimitReserved::Exceeded {
        charge,
        retry_after: wait,
    };
    assert_eq!(both("alice", 1), ADMITTED);
    // It is that of all callers for bob, whose own is left alone; both for alice, of
    // which the first is told and the longer one has to be waited for.
    let minute = Some(Duration::from_secs(60));
    assert_eq!(both("bob", 1), refused(0, minute));
    assert_eq!(both("alice", 1), refused(0, Some(Duration::from_secs(600))));
    assert_eq!(both("alice", 2), refused(0, None));
    assert_eq!(both("bob", 0), ADMITTED);
    assert_eq!(both("bob", 0), refused(1, Some(Duration::from_secs(600))));
}
