//! What is kept, and for how long.

use super::*;
use crate::approval::testing::word;
use crate::approval::{HOUR, MOST_ENDED, MOST_IN_FORCE_OF_A_CALLER};

#[test]
#[ignore = "needs redis-server"]
fn callers_are_bounded() {
    let server = Server::start();
    let store = by_hand(&server);
    contract::bounds_each_caller(&store);
    server.run::<()>("FLUSHALL");
    contract::bounds_all_callers(&store);
}

/// The key whose name ends so.
fn key(server: &Server, end: &str) -> String {
    let key = server.keys().into_iter().find(|key| key.ends_with(end));
    key.unwrap_or_else(|| panic!("there is no {end}"))
}

#[test]
#[ignore = "needs redis-server"]
fn what_has_ended_is_known_for_an_hour() {
    let server = Server::start();
    let store = by_hand(&server);
    let mut clock = ManualClock::at(START);
    let [cancelled, expires] =
        ["1", "2"].map(|arguments| Asking(&store).pending(&pay(&clock, arguments)).id());
    assert!(Asking(&store).cancel(cancelled, clock.now()));
    let state = |id, clock: &ManualClock| Asking(&store).state(id, clock.now());
    clock.pass(HOUR - Duration::from_millis(1));
    assert_eq!(state(cancelled, &clock), Some(ApprovalState::Cancelled));
    clock.pass(Duration::from_millis(1));
    assert_eq!(state(cancelled, &clock), None);
    assert_eq!(state(expires, &clock), Some(ApprovalState::Expired));
    clock.pass(EXPIRES);
    assert_eq!(state(expires, &clock), None);
}

#[test]
#[ignore = "needs redis-server"]
fn of_what_has_ended_the_last_are_known() {
    let server = Server::start();
    let store = by_hand(&server);
    let mut clock = ManualClock::at(START);
    let ids: Vec<_> = (0..=MOST_ENDED)
        .map(|number| {
            let caller = format!("caller {}", number / 50);
            let call = question(&demand(), &caller, &number.to_string(), clock.now());
            let id = Asking(&store).pending(&call).id();
            clock.pass(Duration::from_millis(1));
            assert!(Asking(&store).cancel(id, clock.now()));
            id
        })
        .collect();
    assert_eq!(Asking(&store).state(ids[0], clock.now()), None);
    assert!(Asking(&store).state(ids[1], clock.now()).is_some());
    let kept = server
        .keys()
        .iter()
        .filter(|key| key.contains(":r:"))
        .count();
    assert_eq!(kept, MOST_ENDED);
    // Of changes only the last.
    let changes: usize = server.run(&format!("ZCARD {}", key(&server, ":l")));
    assert_eq!(changes, 1_024);
}

/// They refuse the same call, and cannot be forgotten for another.
#[test]
#[ignore = "needs redis-server"]
fn what_was_denied_takes_room() {
    let server = Server::start();
    let store = by_hand(&server);
    let store = Asking(&store);
    let mut clock = ManualClock::at(START);
    let mut day = demand();
    day.expires = Duration::from_secs(86_400);
    let ask = |clock: &ManualClock, caller, number: usize| {
        store.ask(&question(&day, caller, &number.to_string(), clock.now()))
    };
    let mut count = 0;
    while count < MOST_IN_FORCE_OF_A_CALLER {
        for _ in 0..40 {
            let ApprovalAsked::Pending(request) = ask(&clock, "alice", count) else {
                panic!("there is room for {count}");
            };
            let denied = store.decide(request.id(), &Ruling::deny("dora"), clock.now());
            denied.unwrap();
            count += 1;
        }
        clock.pass(HOUR);
    }
    assert_eq!(word(&ask(&clock, "alice", count)), "full");
    assert_eq!(word(&ask(&clock, "alice", 0)), "denied");
    assert_eq!(word(&ask(&clock, "bob", count)), "pending");
    clock.pass(day.expires - 5 * HOUR);
    assert_eq!(word(&ask(&clock, "alice", count)), "pending");
}

/// As if others had them.
#[test]
#[ignore = "needs redis-server"]
fn there_is_room_for_so_much_of_all_callers() {
    let server = Server::start();
    let store = by_hand(&server);
    let store = Asking(&store);
    let clock = ManualClock::at(START);
    let first = store.pending(&pay(&clock, "1")).id();
    let ask = |arguments| word(&store.ask(&pay(&clock, arguments)));
    let bytes = key(&server, ":b");
    let set = |count: i64| server.run::<()>(&format!("HSET {bytes} all {count}"));
    let most = 64 * 1024 * 1024;
    set(most - 2);
    assert_eq!(ask("[1]"), "full");
    set(most - 3);
    assert_eq!(ask("[1]"), "pending");
    assert!(store.cancel(first, clock.now()));
    // What was there of it alone.
    let all = || server.run::<i64>(&format!("HGET {bytes} all"));
    assert_eq!(all(), most - 1);
    set(3);
    for (end, most) in [("}:a:f", 10_000), ("}:a:n", 60_000)] {
        let key = key(&server, end);
        let members: Vec<_> = (1..most).map(|number| format!("9e15 {number}")).collect();
        server.run::<()>(&format!("ZADD {key} {}", members.join(" ")));
        assert_eq!(ask("2"), "full", "{end}");
        server.run::<()>(&format!("ZREMRANGEBYSCORE {key} 9e15 +inf"));
    }
    assert_eq!(ask("2"), "pending");
}

/// Everything that has to do with it, and nothing by a name that tells anything.
#[test]
#[ignore = "needs redis-server"]
fn every_key_expires_and_none_shows_a_name() {
    let server = Server::start();
    let store = of_server(&server, "a-server");
    let clock = ManualClock::at(START);
    let ids =
        ["1", "2", "3", "4"].map(|arguments| Asking(&store).pending(&pay(&clock, arguments)).id());
    for (id, ruling) in [
        (ids[0], Ruling::approve("dora")),
        (ids[1], Ruling::deny("dora")),
    ] {
        Asking(&store).decide(id, &ruling, clock.now()).unwrap();
    }
    assert!(Asking(&store).cancel(ids[2], clock.now()));
    assert!(server.keys().len() > 10);
    for key in server.keys() {
        assert!(!key.contains("alice") && !key.contains("server"), "{key}");
        let left: i64 = server.run(&format!("PTTL {key}"));
        let most = match key.rsplit(':').nth(1) {
            _ if key.ends_with(":c") => 8 * 24 * 3_600_000,
            // Arguments, and what is found by the call.
            Some("s" | "d") => 600_001,
            _ => 3_600_000 + 600_001,
        };
        assert!((1..=most).contains(&left), "{key} {left}");
    }
}
