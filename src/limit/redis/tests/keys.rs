//! What is on the server.

use super::*;
use crate::limit::testing::{ADMITTED, charge, of_session, quota};
use crate::limit::{LimitCharge, testing};
use crate::policy::{CalendarUnit, LimitScope};

/// By the real clock, which is that of the server.
fn store(server: &Server) -> RedisLimitStore {
    connect(&server.url()).unwrap()
}

fn reservation(charges: impl IntoIterator<Item = LimitCharge>) -> LimitReservation {
    testing::reservation(testing::ManualClock::at(START).now(), charges)
}

#[test]
#[ignore = "needs redis-server"]
fn every_key_expires_when_its_window_is_over() {
    let server = Server::start();
    let store = store(&server);
    let periods = [
        seconds(1_000),
        seconds(2_678_400),
        Period::Calendar(CalendarUnit::Day),
        Period::Concurrent,
    ];
    for period in periods {
        server.run::<()>("FLUSHALL");
        let quota = quota("/a", period, 5, LimitScope::Session);
        let one = of_session(charge(&quota, "alice", 1), "s");
        let two = charge(&quota, "alice", 1);
        let first = reservation([one]);
        assert_eq!(reserve(&store, &first), ADMITTED);
        assert_eq!(reserve(&store, &reservation([two])), ADMITTED);
        store.conclude(
            &first,
            LimitConclusion::BrokenOff,
            testing::ManualClock::at(START).now(),
        );
        store.remote.wait_until_told();
        for key in server.keys() {
            let left: i64 = server.run(&format!("PTTL {key}"));
            let expected = match period {
                _ if key.contains(":r:") => 300_000,
                Period::Rolling(window) => i64::try_from(window.as_millis()).unwrap(),
                Period::Calendar(_) => 86_400_000,
                Period::Concurrent => 360_000,
            };
            assert!(left > 0 && left <= expected + 2_000, "{key} {left}");
            if !matches!(period, Period::Calendar(_)) {
                assert!(left > expected - 60_000, "{key} {left}");
            }
        }
    }
}

/// By the clock of the server, whatever that of this process shows.
#[test]
#[ignore = "needs redis-server"]
fn a_window_is_over_when_the_server_says_so() {
    let server = Server::start();
    let store = store(&server);
    let quota = quota("/a", seconds(1), 1, LimitScope::Caller);
    let call = || reserve(&store, &reservation([charge(&quota, "alice", 1)]));
    assert_eq!(call(), ADMITTED);
    let LimitReserved::Exceeded {
        retry_after: Some(wait),
        ..
    } = call()
    else {
        panic!("nothing is refused");
    };
    assert!(wait <= Duration::from_secs(1));
    std::thread::sleep(wait);
    assert_eq!(call(), ADMITTED);
}

/// What has been given back leaves nothing but that it was concluded.
#[test]
#[ignore = "needs redis-server"]
fn names_are_in_no_key_and_nothing_is_left_over() {
    let server = Server::start();
    let store = store(&server);
    let quota = quota("/a", seconds(60), 5, LimitScope::Session);
    let call = reservation([of_session(charge(&quota, "alice", 1), "secret")]);
    assert_eq!(reserve(&store, &call), ADMITTED);
    let keys = server.keys();
    assert_eq!(keys.len(), 2);
    for key in &keys {
        assert!(key.starts_with("mcp-policy:1:{"));
        assert!(!key.contains("alice") && !key.contains("server") && !key.contains("secret"));
    }
    store.conclude(
        &call,
        LimitConclusion::NotSent,
        testing::ManualClock::at(START).now(),
    );
    store.remote.wait_until_told();
    assert_eq!(server.keys(), [""; 0]);
}
