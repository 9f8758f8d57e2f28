use std::time::Duration;

use futures::executor::block_on;

use super::*;
use crate::limit::LimitStore as _;
use crate::limit::testing::{
    ADMITTED, ManualClock, charge, contract, quota, reservation, reserve, seconds, usage,
};
use crate::limit::{LimitConclusion, LimitFilter};
use crate::policy::{LimitScope, Period};

const START: &str = "2026-11-25T04:59:00Z";

fn open_in(directory: &tempfile::TempDir) -> SqliteState {
    SqliteState::open(directory.path().join("state.db")).unwrap()
}

#[test]
fn all_who_have_the_file_have_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let keys = |state: &SqliteState| block_on(state.request_state_keys()).unwrap();
    let state = open_in(&directory);
    let first = keys(&state);
    contract::have_the_same_key(&first, &keys(&open_in(&directory)));
    drop(state);
    contract::have_the_same_key(&keys(&open_in(&directory)), &first);
}

/// Whichever of them it comes to.
#[test]
fn all_that_is_made_of_it_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let state = open_in(&directory);
    let (one, other) = (state.limits(), state.clone().limits());
    drop(state);
    let clock = ManualClock::at(START);
    let quota = quota("/a", seconds(60), 1, LimitScope::Caller);
    let call = || reservation(clock.now(), [charge(&quota, "alice", 1)]);
    let first = call();
    assert_eq!(reserve(&one, &first), ADMITTED);
    assert_ne!(reserve(&other, &call()), ADMITTED);
    // It is known here only of what it was charged.
    other.conclude(&first, LimitConclusion::NotSent, clock.now());
    assert_eq!(reserve(&one, &call()), ADMITTED);
}

/// Else it would count as under way for as long as there is the file.
#[test]
fn what_comes_after_the_end_is_not_charged() {
    let directory = tempfile::tempdir().unwrap();
    let state = open_in(&directory);
    let mut clock = ManualClock::at(START);
    let quota = quota("/a", Period::Concurrent, 1, LimitScope::Caller);
    let call = |clock: &ManualClock| reservation(clock.now(), [charge(&quota, "alice", 1)]);
    let limits = state.limits();
    let first = call(&clock);
    assert_eq!(reserve(&limits, &first), ADMITTED);
    limits.conclude(&first, LimitConclusion::Ended, clock.now());
    block_on(state.close()).unwrap();
    let is_kept =
        |name: std::fs::DirEntry| name.file_name().to_string_lossy().contains("-process-");
    let files = std::fs::read_dir(directory.path()).unwrap();
    assert!(!files.map(Result::unwrap).any(is_kept));
    block_on(limits.reserve(&call(&clock)).patiently()).unwrap_err();
    let all = LimitFilter::default();
    assert_eq!(usage(&limits, &all, clock.now(), 9), []);
    drop((state, limits));
    clock.pass(Duration::from_secs(1));
    let other = open_in(&directory).limits();
    assert_eq!(reserve(&other, &call(&clock)), ADMITTED);
}
