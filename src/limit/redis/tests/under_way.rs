//! What counts for as long as it is under way.

use super::*;
use crate::limit::testing::{
    ADMITTED, ManualClock, charge, of_session, quota, reservation, reserve,
};
use crate::policy::LimitScope;
use crate::store::Settled;

const MINUTE: Duration = Duration::from_secs(60);

fn call(clock: &ManualClock, scope: LimitScope) -> LimitReservation {
    let quota = quota("/a", Period::Concurrent, 1, scope);
    let charge = charge(&quota, "alice", 1);
    let charge = match scope {
        LimitScope::Session => of_session(charge, "s"),
        _ => charge,
    };
    reservation(clock.now(), [charge])
}

fn is_free(store: &ByHand, clock: &ManualClock, scope: LimitScope) -> bool {
    let call = call(clock, scope);
    let is_free = reserve(store, &call) == ADMITTED;
    if is_free {
        store.conclude(&call, LimitConclusion::Ended, clock.now());
    }
    is_free
}

fn renew(store: &ByHand, clock: &ManualClock, call: &LimitReservation) {
    let parts = Part::all(call);
    let mut call = parts[0].call(&BY_HAND.renew);
    store.0.turn_clock(&mut call, clock.now());
    let renewing = async move |link: Link| link.invoke::<()>(&call).await;
    block_on(store.0.remote.begin(renewing).answer()).unwrap();
}

/// As long as it is said to be under way, and a lease longer if nobody says anything.
#[test]
#[ignore = "needs redis-server"]
fn it_counts_while_it_is_said_to_be_under_way() {
    for scope in [LimitScope::Session, LimitScope::Caller, LimitScope::Server] {
        let server = Server::start();
        let store = ByHand::with_lease(&server, MINUTE);
        let mut clock = ManualClock::at(START);
        let held = call(&clock, scope);
        assert_eq!(reserve(&store, &held), ADMITTED);
        for _ in 0..10 {
            clock.pass(MINUTE - Duration::from_micros(1));
            assert!(!is_free(&store, &clock, scope));
            renew(&store, &clock, &held);
        }
        clock.pass(MINUTE - Duration::from_micros(1));
        assert!(!is_free(&store, &clock, scope));
        // Somebody who could not say it for too long says it now.
        clock.pass(MINUTE);
        renew(&store, &clock, &held);
        if scope != LimitScope::Session {
            assert!(!is_free(&store, &clock, scope));
        }
        clock.pass(MINUTE);
        assert!(is_free(&store, &clock, scope));
        // It has been concluded since it was last said.
        store.conclude(&held, LimitConclusion::Ended, clock.now());
        renew(&store, &clock, &held);
        assert!(is_free(&store, &clock, scope));
    }
}

#[test]
#[ignore = "needs redis-server"]
fn what_broke_off_counts_for_another_minute() {
    for scope in [LimitScope::Session, LimitScope::Caller, LimitScope::Server] {
        let server = Server::start();
        let store = ByHand::of(&server);
        let mut clock = ManualClock::at(START);
        let held = call(&clock, scope);
        assert_eq!(reserve(&store, &held), ADMITTED);
        clock.pass(10 * MINUTE);
        store.conclude(&held, LimitConclusion::BrokenOff, clock.now());
        store.conclude(&held, LimitConclusion::Ended, clock.now());
        let asked = reserve(&store, &call(&clock, scope));
        let refused = LimitReserved::Exceeded {
            charge: 0,
            retry_after: Some(MINUTE),
        };
        assert_eq!(asked, refused);
        clock.pass(MINUTE - Duration::from_micros(1));
        assert!(!is_free(&store, &clock, scope));
        clock.pass(Duration::from_micros(1));
        assert!(is_free(&store, &clock, scope));
    }
}

/// The process says so of itself, until it ends.
#[test]
#[ignore = "needs redis-server"]
fn a_process_keeps_what_it_has_under_way_until_it_dies() {
    let server = Server::start();
    let lease = Duration::from_secs(2);
    let another = || open(&server.url(), &SCRIPTS, lease);
    let clock = ManualClock::at(START);
    let (dying, other) = (another(), another());
    let held = call(&clock, LimitScope::Caller);
    let asked = super::reserve;
    assert_eq!(asked(&dying, &held), ADMITTED);
    for _ in 0..30 {
        assert_ne!(asked(&other, &call(&clock, LimitScope::Caller)), ADMITTED);
        std::thread::sleep(lease / 10);
    }
    drop(dying);
    while asked(&other, &call(&clock, LimitScope::Caller)) != ADMITTED {
        std::thread::sleep(lease / 10);
    }
}

/// The server may have spoilt some of it: that keeps nothing else from being renewed.
#[test]
#[ignore = "needs redis-server"]
fn what_can_be_renewed_is_although_others_cannot() {
    let server = Server::start();
    let store = open(&server.url(), &SCRIPTS, LONG);
    let clock = ManualClock::at(START);
    let quota = quota("/a", Period::Concurrent, 1, LimitScope::Caller);
    for number in 0..20 {
        let call = reservation(clock.now(), [charge(&quota, &number.to_string(), 1)]);
        assert_eq!(super::reserve(&store, &call), ADMITTED);
    }
    let is_record = |key: &String| key.contains(":r:");
    let (records, budgets): (Vec<_>, Vec<_>) = server.keys().into_iter().partition(is_record);
    assert_eq!((records.len(), budgets.len()), (20, 20));
    for budget in &budgets[..10] {
        server.run::<()>(&format!("DEL {budget}"));
        server.run::<()>(&format!("LPUSH {budget} nonsense"));
    }
    // They are kept for longer again when they are renewed.
    for record in &records {
        server.run::<()>(&format!("PEXPIRE {record} 100000"));
    }
    let under_way = store.under_way.clone();
    let renewing = async move |link: Link| {
        under_way.renew(&SCRIPTS, link).await;
        Ok(())
    };
    block_on(store.remote.begin(renewing).answer()).unwrap();
    let is_renewed = |record: &&String| server.run::<u64>(&format!("PTTL {record}")) > 200_000;
    assert_eq!(records.iter().filter(is_renewed).count(), 10);
}

/// Such a call is not concluded, so nobody would say that it is over.
#[test]
fn what_could_not_be_asked_is_not_under_way() {
    let store = connect("redis://127.0.0.1:1").unwrap();
    let clock = ManualClock::at(START);
    // From then on it is known that there is no server.
    block_on(store.remote.ready()).unwrap_err();
    for _ in 0..100 {
        let reserved = store.reserve(&call(&clock, LimitScope::Caller)).settle();
        assert!(matches!(reserved, Settled::Known(Err(_))));
    }
    assert_eq!(store.under_way.len(), 0);
}
