//! What operators see and forget.

use super::*;
use crate::limit::testing::{ADMITTED, charge, of_session, quota, reset};
use crate::limit::{LimitCharge, testing};
use crate::policy::{Amount, CalendarUnit, LimitScope};

fn now() -> Moment {
    testing::ManualClock::at(START).now()
}

fn call(store: &RedisLimitStore, charge: LimitCharge) -> LimitReservation {
    let reservation = testing::reservation(now(), [charge]);
    assert_eq!(reserve(store, &reservation), ADMITTED);
    reservation
}

fn told(store: &RedisLimitStore, filter: &LimitFilter) -> Vec<String> {
    let mut told: Vec<_> = usage(store, filter, now(), 100)
        .iter()
        .map(|usage| {
            let (caller, session) = (usage.caller(), usage.session());
            let names = [usage.server(), usage.policy(), usage.place()].join(" ");
            let used = (usage.used().millionths(), usage.max().millionths());
            format!("{names} {caller:?} {session:?} {used:?}")
        })
        .collect();
    told.sort();
    told
}

#[test]
#[ignore = "needs redis-server"]
fn everything_that_is_counted_is_told() {
    let server = Server::start();
    let store = connect(&server.url()).unwrap();
    let max = Amount::MAX.millionths();
    let of_sessions = quota("/s", seconds(60), 9, LimitScope::Session);
    let of_all = quota(
        "/all",
        Period::Calendar(CalendarUnit::Day),
        max,
        LimitScope::Server,
    );
    let at_once = quota("/at once", Period::Concurrent, 3, LimitScope::Caller);
    call(&store, charge(&of_sessions, "alice", 2));
    call(&store, of_session(charge(&of_sessions, "alice", 3), "one"));
    call(&store, charge(&of_all, "alice", max - 1));
    call(&store, charge(&at_once, "bob", 1));
    let expected = [
        format!("server policy /all None None {:?}", (max - 1, max)),
        r#"server policy /at once Some("bob") None (1, 3)"#.to_owned(),
        r#"server policy /s Some("alice") None (2, 9)"#.to_owned(),
        r#"server policy /s Some("alice") Some("one") (3, 9)"#.to_owned(),
    ];
    let all = LimitFilter::default();
    assert_eq!(told(&store, &all), expected);
    assert_eq!(told(&store, &all.clone().caller("alice")), expected[2..]);
    assert_eq!(told(&store, &all.clone().place("/all")), expected[..1]);
    assert_eq!(told(&store, &all.clone().policy("else")), [""; 0]);
    assert_eq!(usage(&store, &all, now(), 2).len(), 2);
    for usage in usage(&store, &all, now(), 100) {
        let is_under_way = usage.place() == "/at once";
        assert_eq!(usage.free_in().is_none(), is_under_way);
    }
}

/// More than the server names at once.
#[test]
#[ignore = "needs redis-server"]
fn all_of_many_are_found() {
    let server = Server::start();
    let store = connect(&server.url()).unwrap();
    let quota = quota("/a", seconds(60), 9, LimitScope::Caller);
    for caller in 0..2_000 {
        call(&store, charge(&quota, &caller.to_string(), 1));
    }
    let all = LimitFilter::default();
    let mut callers: Vec<_> = usage(&store, &all, now(), 10_000)
        .iter()
        .map(|usage| usage.caller().unwrap().to_owned())
        .collect();
    callers.sort();
    callers.dedup();
    assert_eq!(callers.len(), 2_000);
    reset(&store, &all, now());
    assert_eq!(usage(&store, &all, now(), 10_000), []);
}

#[test]
#[ignore = "needs redis-server"]
fn what_was_reset_is_not_given_back() {
    let server = Server::start();
    let store = connect(&server.url()).unwrap();
    for period in [seconds(60), Period::Calendar(CalendarUnit::Day)] {
        server.run::<()>("FLUSHALL");
        let quota = quota("/a", period, 2, LimitScope::Session);
        let of = |session| of_session(charge(&quota, "alice", 1), session);
        let before = [call(&store, of("one")), call(&store, of("one"))];
        let others = call(&store, of("two"));
        reset(&store, &LimitFilter::default().caller("bob"), now());
        assert_eq!(told(&store, &LimitFilter::default()).len(), 2);
        reset(&store, &LimitFilter::default().caller("alice"), now());
        assert_eq!(told(&store, &LimitFilter::default()), [""; 0]);
        call(&store, of("one"));
        for call in before.iter().chain([&others]) {
            store.conclude(call, LimitConclusion::NotSent, now());
        }
        store.remote.wait_until_told();
        let after = call(&store, of("one"));
        let refused = testing::reservation(now(), [of("one")]);
        assert_ne!(reserve(&store, &refused), ADMITTED);
        store.conclude(&after, LimitConclusion::NotSent, now());
        store.remote.wait_until_told();
        call(&store, of("one"));
    }
}

#[test]
#[ignore = "needs redis-server"]
fn what_is_under_way_is_not_reset() {
    let server = Server::start();
    let store = connect(&server.url()).unwrap();
    let quota = quota("/a", Period::Concurrent, 2, LimitScope::Caller);
    let broken_off = call(&store, charge(&quota, "alice", 1));
    let held = call(&store, charge(&quota, "alice", 1));
    store.conclude(&broken_off, LimitConclusion::BrokenOff, now());
    store.remote.wait_until_told();
    reset(&store, &LimitFilter::default(), now());
    let is = |used| format!(r#"server policy /a Some("alice") None ({used}, 2)"#);
    assert_eq!(told(&store, &LimitFilter::default()), [is(1)]);
    store.conclude(&held, LimitConclusion::Ended, now());
    store.remote.wait_until_told();
    assert_eq!(told(&store, &LimitFilter::default()), [""; 0]);
}
