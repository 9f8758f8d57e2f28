//! What is kept, and for how long.

use super::*;
use crate::approval::{HOUR, MOST_ENDED, MOST_IN_FORCE_OF_A_CALLER, MOST_NEW_OF_ALL};

fn number(file: &Connection, sql: &str) -> i64 {
    file.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn word(asked: &ApprovalAsked) -> &'static str {
    crate::approval::testing::word(asked)
}

#[test]
fn when_all_is_over_nothing_is_kept() {
    let (directory, store) = fresh();
    let mut clock = ManualClock::at(START);
    let calls = ["1", "2", "3", "4"].map(|arguments| pay(&clock, arguments));
    let ids = calls
        .each_ref()
        .map(|call| Asking(&store).pending(call).id());
    for (id, ruling) in [
        (ids[0], Ruling::approve("dora")),
        (ids[1], Ruling::deny("dora")),
    ] {
        Asking(&store).decide(id, &ruling, clock.now()).unwrap();
    }
    assert!(Asking(&store).cancel(ids[2], clock.now()));
    clock.pass(HOUR + EXPIRES);
    // What is asked of it next finds nothing.
    assert!(!Asking(&store).cancel(ids[3], clock.now()));
    let file = file_in(directory.path());
    for table in ["approval", "approval_asked"] {
        let count = number(&file, &format!("SELECT count(*) FROM {table}"));
        assert_eq!(count, 0, "{table}");
    }
}

#[test]
fn what_has_ended_is_known_for_an_hour() {
    let (_directory, store) = fresh();
    let mut clock = ManualClock::at(START);
    let [cancelled, expires] = ["1", "2"].map(|arguments| {
        let call = pay(&clock, arguments);
        Asking(&store).pending(&call).id()
    });
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
fn of_what_has_ended_the_last_are_known() {
    let (directory, store) = fresh();
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
    let file = file_in(directory.path());
    let kept = number(&file, "SELECT count(*) FROM approval");
    assert_eq!(usize::try_from(kept), Ok(MOST_ENDED));
    // Of changes only the last.
    assert_eq!(number(&file, "SELECT count(*) FROM approval_change"), 1_024);
}

/// They refuse the same call, and cannot be forgotten for another.
#[test]
fn what_was_denied_takes_room() {
    let (_directory, store) = fresh();
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
fn there_is_room_for_so_much_of_all_callers() {
    let (directory, store) = fresh();
    let store = Asking(&store);
    let clock = ManualClock::at(START);
    let file = file_in(directory.path());
    let first = store.pending(&pay(&clock, "1")).id();
    let ask = |arguments| word(&store.ask(&pay(&clock, arguments)));
    let most = 64 * 1024 * 1024;
    let set = |bytes: i64| {
        file.execute("UPDATE approval SET bytes = ?", [bytes])
            .unwrap();
    };
    set(most - 2);
    assert_eq!(ask("[1]"), "full");
    set(most - 3);
    assert_eq!(ask("[1]"), "pending");
    assert!(store.cancel(first, clock.now()));
    let fill = |table: &str, columns: &str, count: usize| {
        let sql = format!(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})
             INSERT INTO {table} SELECT {columns} FROM n"
        );
        file.execute_batch(&sql).unwrap();
    };
    let later = i64::MAX;
    let columns =
        format!("NULL, 'server', n, CAST(n AS BLOB), '', 'denied', 1, {later}, '', NULL, 0");
    fill("approval", &columns, 9_999);
    assert_eq!(ask("2"), "full");
    file.execute_batch("DELETE FROM approval WHERE state = 'denied'")
        .unwrap();
    assert_eq!(ask("2"), "pending");
    fill(
        "approval_asked",
        &format!("'server', '', {later}"),
        MOST_NEW_OF_ALL,
    );
    assert_eq!(ask("3"), "full");
}
