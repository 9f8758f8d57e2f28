mod attacked;
mod bounds;
mod faults;
mod processes;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::executor::block_on;
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::approval::testing::{Asking, EXPIRES, contract, demand, model, question};
use crate::approval::{ApprovalEvent, ApprovalEvents};
use crate::limit::testing::ManualClock;
use crate::sqlite::Chore as _;
use crate::state::SqliteState;

const START: &str = "2028-02-28T23:59:30Z";

/// In memory where there is such a place: what is written in tests is not to be kept.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn open_in(directory: &Path) -> SqliteApprovalStore {
    let state = SqliteState::open(directory.join("state.db"));
    state.unwrap().approvals("server")
}

fn fresh() -> (TempDir, SqliteApprovalStore) {
    let directory = directory();
    let store = open_in(directory.path());
    (directory, store)
}

/// What somebody else can do with the file.
fn file_in(directory: &Path) -> Connection {
    Connection::open(directory.join("state.db")).unwrap()
}

fn pay(clock: &ManualClock, arguments: &str) -> ApprovalQuestion {
    question(&demand(), "alice", arguments, clock.now())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn it_does_as_a_list_of_everything(history in model::histories(200)) {
        model::does_as_a_list(&fresh().1, history);
    }
}

#[test]
fn a_call_finds_what_was_asked_before() {
    contract::finds_what_was_asked_before(&fresh().1);
}

#[test]
fn what_was_asked_is_kept() {
    contract::keeps_what_was_asked(&fresh().1);
}

#[test]
fn an_approval_is_used_once() {
    contract::is_used_once(&fresh().1);
}

#[test]
fn of_many_at_once_one_uses_an_approval() {
    contract::is_used_by_one_of_many(&fresh().1, 20);
}

#[test]
fn of_many_at_once_one_decides() {
    contract::is_decided_by_one_of_many(&fresh().1, 20);
}

#[test]
fn many_at_once_begin_one_request() {
    contract::begins_one_request_for_many(&fresh().1);
}

#[test]
fn requests_and_approvals_expire() {
    contract::expires_twice(&fresh().1);
}

#[test]
fn what_was_denied_stays_so_for_a_while() {
    contract::remembers_what_was_denied(&fresh().1);
}

#[test]
fn nobody_decides_about_their_own() {
    contract::asks_somebody_else(&fresh().1);
}

#[test]
fn requests_and_approvals_are_taken_back() {
    contract::takes_back(&fresh().1);
}

#[test]
fn arguments_are_forgotten_when_a_request_ends() {
    contract::forgets_arguments(&fresh().1);
}

#[test]
fn each_caller_is_bounded() {
    contract::bounds_each_caller(&fresh().1);
}

#[test]
fn all_callers_are_bounded() {
    contract::bounds_all_callers(&fresh().1);
}

/// Everything that can be said of it, and not only what the file has columns for.
#[test]
fn what_was_approved_before_a_restart_passes_once_after_it() {
    let (directory, store) = fresh();
    let clock = ManualClock::at(START);
    let call = pay(&clock, r#"{ "to" : "a" }"#);
    let asked = Asking(&store).pending(&call);
    drop(store);
    let store = open_in(directory.path());
    let [shown] = &Asking(&store).list(&[ApprovalState::Pending], clock.now())[..] else {
        panic!("it is not there");
    };
    assert_eq!(format!("{shown:?}"), format!("{asked:?}"));
    assert_eq!(shown.arguments(), asked.arguments());
    assert_eq!(shown.reason(), asked.reason());
    let ruling = Ruling::approve("dora").with_note("fine");
    let decided = Asking(&store).decide(asked.id(), &ruling, clock.now());
    assert_eq!(decided.unwrap().state(), ApprovalState::Approved);
    drop(store);
    let store = open_in(directory.path());
    let ApprovalAsked::Approved(approved) = Asking(&store).ask(&call) else {
        panic!("it is not approved");
    };
    assert_eq!(approved.note(), Some("fine"));
    assert_eq!(Asking(&store).use_up(&call, asked.id()), ApprovalUsed::Now);
    drop(store);
    let store = open_in(directory.path());
    assert_eq!(
        Asking(&store).use_up(&call, asked.id()),
        ApprovalUsed::Before
    );
}

/// Which of the stores it is makes no difference.
#[test]
fn two_on_one_file_know_the_same() {
    let (directory, store) = fresh();
    let other = open_in(directory.path());
    let clock = ManualClock::at(START);
    let call = pay(&clock, "{}");
    let id = Asking(&store).pending(&call).id();
    assert_eq!(Asking(&other).pending(&call).id(), id);
    let approved = Asking(&other).decide(id, &Ruling::approve("dora"), clock.now());
    assert_eq!(approved.unwrap().state(), ApprovalState::Approved);
    assert_eq!(Asking(&store).use_up(&call, id), ApprovalUsed::Now);
    assert_eq!(Asking(&other).use_up(&call, id), ApprovalUsed::Before);
}

/// Not even an operator of the other can decide about it.
#[test]
fn servers_have_nothing_in_common() {
    let directory = directory();
    let state = SqliteState::open(directory.path().join("state.db")).unwrap();
    let (store, other) = (state.approvals("server"), state.approvals("other"));
    let clock = ManualClock::at(START);
    let call = pay(&clock, "{}");
    let id = Asking(&store).approved(&call);
    let other = Asking(&other);
    assert_eq!(other.state(id, clock.now()), None);
    assert_eq!(other.use_up(&call, id), ApprovalUsed::NotApproved);
    assert!(!other.cancel(id, clock.now()));
    assert_ne!(other.pending(&call).id(), id);
    assert_eq!(Asking(&store).use_up(&call, id), ApprovalUsed::Now);
}

/// Waits for as long as it takes.
fn hears(events: &mut ApprovalEvents, wanted: (ApprovalId, ApprovalState)) {
    let heard = async {
        while let Some(event) = events.next().await {
            match event {
                ApprovalEvent::Changed(id, state) if (id, state) == wanted => return,
                ApprovalEvent::Changed(..) | ApprovalEvent::Missed => {}
            }
        }
    };
    block_on(heard);
}

#[test]
fn what_changes_elsewhere_is_heard_and_what_changes_here_at_once() {
    let (directory, store) = fresh();
    let other = open_in(directory.path());
    let clock = ManualClock::at(START);
    // By then it has begun to hear.
    Asking(&store).pending(&pay(&clock, "1"));
    let mut events = store.changes().listen();
    let call = pay(&clock, "{}");
    let id = Asking(&store).pending(&call).id();
    let said = [ApprovalState::Pending];
    assert_eq!(heard_at_once(&mut events), said.map(|state| (id, state)));
    let approved = Asking(&other).decide(id, &Ruling::approve("dora"), clock.now());
    approved.unwrap();
    hears(&mut events, (id, ApprovalState::Approved));
    assert_eq!(Asking(&store).use_up(&call, id), ApprovalUsed::Now);
    assert_eq!(heard_at_once(&mut events), [(id, ApprovalState::Used)]);
    // What it said itself is not said once more.
    let next = Asking(&other).pending(&pay(&clock, "[]")).id();
    let said = ApprovalEvent::Changed(next, ApprovalState::Pending);
    assert_eq!(block_on(events.next()), Some(said));
    // Also after a time in which nobody listened.
    drop(events);
    let mut events = store.changes().listen();
    assert!(Asking(&other).cancel(next, clock.now()));
    hears(&mut events, (next, ApprovalState::Cancelled));
}

fn heard_at_once(events: &mut ApprovalEvents) -> Vec<(ApprovalId, ApprovalState)> {
    let mut heard = Vec::new();
    while let Some(Some(event)) = futures::FutureExt::now_or_never(events.next()) {
        if let ApprovalEvent::Changed(id, state) = event {
            heard.push((id, state));
        }
    }
    heard
}

/// Whoever listens is told to look at everything again.
#[test]
fn what_was_missed_is_said() {
    let (directory, store) = fresh();
    let clock = ManualClock::at(START);
    Asking(&store).pending(&pay(&clock, "{}"));
    let mut events = store.changes().listen();
    assert_eq!(heard_at_once(&mut events), []);
    let file = file_in(directory.path());
    let missed = async |events: &mut ApprovalEvents| {
        assert_eq!(events.next().await, Some(ApprovalEvent::Missed));
    };
    for sql in [
        // So much that the first of it is forgotten already.
        "DELETE FROM approval_change;
         UPDATE sqlite_sequence SET seq = seq + 2000 WHERE name = 'approval_change';
         INSERT INTO approval_change (server, writer, id, state) VALUES ('', '', '', '')",
        // As in another file.
        "DELETE FROM approval_change;
         UPDATE sqlite_sequence SET seq = 0 WHERE name = 'approval_change'",
    ] {
        file.execute_batch(sql).unwrap();
        block_on(missed(&mut events));
    }
}

#[test]
fn the_thread_sleeps_for_long_while_nobody_listens() {
    let directory = tempfile::tempdir().unwrap();
    // A store has a thread of its own, whose connection would be in the way.
    let (file, _) = crate::sqlite::open(&directory.path().join("state.db")).unwrap();
    let shared = Arc::new(Shared {
        server: "".into(),
        writer: String::new(),
        changes: ApprovalChanges::default(),
        upkeep: Mutex::default(),
    });
    let mut chores = Chores::of(&shared);
    chores.run(&file);
    let sleeps_for = |chores: &Chores| chores.due().unwrap().duration_since(Instant::now());
    assert!(sleeps_for(&chores) > Duration::from_secs(1));
    let events = shared.changes.listen();
    assert!(sleeps_for(&chores) <= Duration::from_millis(250));
    drop(events);
    assert!(sleeps_for(&chores) > Duration::from_secs(1));
    drop(shared);
    assert_eq!(chores.due(), None);
}

#[test]
fn nothing_of_a_request_is_shown() {
    let (_directory, store) = fresh();
    let clock = ManualClock::at(START);
    Asking(&store).pending(&pay(&clock, r#"["hunter2"]"#));
    assert_eq!(format!("{store:?}"), "SqliteApprovalStore { .. }");
}
