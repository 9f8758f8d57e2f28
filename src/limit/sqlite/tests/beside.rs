//! Budgets that are charged together.

use super::*;
use crate::caller::Caller;
use crate::frames::{FromClient, MessageGuard};
use crate::policy::Policy;

/// What is counted of one is no reason to take another for later than it is.
#[test]
fn a_clock_that_steps_back_ends_no_window_early() {
    let directory = directory();
    let file = open_in(directory.path());
    let all = quota("/all", seconds(3_600), 1_000, LimitScope::Server);
    let own = quota("/own", seconds(5), 3, LimitScope::Caller);
    let mut clock = ManualClock::at(START);
    let first = reservation(clock.now(), [charge(&all, "alice", 1)]);
    assert_eq!(reserve(&file, &first), ADMITTED);
    clock.step(-9_000_000);
    for _ in 0..3 {
        clock.pass(Duration::from_millis(10));
        let call = reservation(clock.now(), [charge(&own, "alice", 1)]);
        assert_eq!(reserve(&file, &call), ADMITTED);
    }
    clock.pass(Duration::from_millis(10));
    let together = [charge(&all, "alice", 1), charge(&own, "alice", 1)];
    let call = reservation(clock.now(), together);
    let LimitReserved::Exceeded {
        charge: 1,
        retry_after: Some(wait),
    } = reserve(&file, &call)
    else {
        panic!("it admits too much");
    };
    assert!((4_900..=5_000).contains(&wait.as_millis()), "{wait:?}");
}

/// A dispatcher in shadow counts what it calls beside what is enforced.
#[test]
fn what_is_only_tried_can_be_listed_and_forgotten() {
    let directory = directory();
    let file = Arc::new(open_in(directory.path()));
    let policy: Policy = r#"{"version":"1","default":"deny","tools":{
        "all":{"mode":"shadow","unwrap":{"name":"args.n","arguments":"args.a"}},
        "run":{"limits":[{"counter":"c","window":60,"max":9}]}}}"#
        .parse()
        .unwrap();
    let connection = MessageGuard::new(policy)
        .limit_store(Arc::clone(&file))
        .connect(Caller::local());
    for params in [
        r#"{"name":"all","arguments":{"n":"run"}}"#,
        r#"{"name":"run"}"#,
    ] {
        let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        let answer = block_on(connection.from_client(call.as_bytes()));
        assert_eq!(answer, FromClient::Forward);
    }
    let now = || crate::clock::Clock::now(&crate::clock::SystemClock);
    let list = || testing::usage(&file, &LimitFilter::default(), now(), 10);
    let places: Vec<String> = list()
        .iter()
        .map(|usage| usage.place().to_owned())
        .collect();
    assert_eq!(places, ["/tools/run/limits/c"; 2]);
    let other = LimitFilter::default().place("/tools/other/limits/c");
    reset(&file, &other, now());
    assert_eq!(list().len(), 2);
    let this = LimitFilter::default().place("/tools/run/limits/c");
    reset(&file, &this, now());
    assert_eq!(list().len(), 0);
}
