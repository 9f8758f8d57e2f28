//! What goes wrong outside, and what must not be left behind.

use super::*;
use crate::store::StoreError;

/// Arguments that are nowhere else.
fn secret(number: usize) -> String {
    format!(r#"["a-value-{number}-{}"]"#, "x".repeat(number * 9_000))
}

/// Whether it is in the file, or beside it.
fn is_found(directory: &Path, text: &str) -> bool {
    let mut files = std::fs::read_dir(directory).unwrap();
    files.any(|file| {
        // One that SQLite has just deleted holds nothing.
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    })
}

fn wait_until_gone(directory: &Path, text: &str) {
    while is_found(directory, text) {
        thread::sleep(Duration::from_millis(10));
    }
}

/// Small and large, however they end.
#[test]
fn arguments_are_overwritten_when_a_request_ends() {
    let (directory, store) = fresh();
    let path = directory.path();
    let mut clock = ManualClock::at(START);
    let store = Asking(&store);
    let mark = |number: usize| format!("a-value-{number}-");
    let calls = [0, 1, 2, 3, 4].map(|number| pay(&clock, &secret(number)));
    let ids = calls.each_ref().map(|call| store.pending(call).id());
    assert!((0..5).all(|number| is_found(path, &mark(number))));
    assert_eq!(
        store
            .decide(ids[0], &Ruling::approve("dora"), clock.now())
            .unwrap()
            .id(),
        ids[0]
    );
    assert!(is_found(path, &mark(0)), "it can still be used");
    assert_eq!(store.use_up(&calls[0], ids[0]), ApprovalUsed::Now);
    store
        .decide(ids[1], &Ruling::deny("dora"), clock.now())
        .unwrap();
    assert!(store.cancel(ids[2], clock.now()));
    for number in 0..3 {
        wait_until_gone(path, &mark(number));
    }
    assert!(is_found(path, &mark(3)) && is_found(path, &mark(4)));
    clock.pass(EXPIRES);
    // Any question will do.
    assert!(!store.cancel(ApprovalId::new().unwrap(), clock.now()));
    for number in 3..5 {
        wait_until_gone(path, &mark(number));
    }
    assert_eq!(
        store.state(ids[3], clock.now()),
        Some(ApprovalState::Expired)
    );
}

#[test]
fn arguments_are_overwritten_although_nobody_asks_for_anything() {
    let (directory, store) = fresh();
    let clock = ManualClock::at(START);
    let mut soon = demand();
    soon.expires = Duration::from_secs(1);
    let call = question(&soon, "alice", &secret(1), clock.now());
    Asking(&store).pending(&call);
    assert!(is_found(directory.path(), "a-value-1-"));
    wait_until_gone(directory.path(), "a-value-1-");
}

/// It knows of none but what is in the file.
#[test]
fn arguments_are_overwritten_after_a_restart() {
    let (directory, store) = fresh();
    let clock = ManualClock::at("2026-11-25T04:59:00Z");
    Asking(&store).pending(&pay(&clock, &secret(1)));
    drop(store);
    assert!(is_found(directory.path(), "a-value-1-"));
    let _store = open_in(directory.path());
    wait_until_gone(directory.path(), "a-value-1-");
}

/// Nothing is approved, and nothing used up, that is not written down.
#[test]
fn while_it_is_locked_nothing_passes_but_it_can_be_read() {
    let (directory, store) = fresh();
    let clock = ManualClock::at(START);
    let (call, waits) = (pay(&clock, "1"), pay(&clock, "2"));
    let id = Asking(&store).approved(&call);
    let waiting = Asking(&store).pending(&waits).id();
    let other = file_in(directory.path());
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let locked =
        StoreError::of("the state file is locked by somebody else; close what has it open");
    let now = clock.now();
    let use_up = || block_on(store.use_up(id, call.digest(), now).patiently());
    assert_eq!(use_up(), Err(locked.clone()));
    assert_eq!(block_on(store.ask(&call).patiently()).unwrap_err(), locked);
    let ruling = Ruling::approve("dora");
    let decided = block_on(store.decide(waiting, &ruling, now).patiently());
    assert_eq!(decided.unwrap_err(), locked);
    let state = |id| Asking(&store).state(id, now);
    assert_eq!(state(waiting), Some(ApprovalState::Pending));
    assert_eq!(
        Asking(&store).list(&[ApprovalState::Approved], now).len(),
        1
    );
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(use_up(), Ok(ApprovalUsed::Now));
}

/// Who does not wait any more has not used anything up.
#[test]
fn what_nobody_waits_for_is_not_used_up() {
    let (_directory, store) = fresh();
    let clock = ManualClock::at(START);
    let call = pay(&clock, "{}");
    let id = Asking(&store).approved(&call);
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let busy = store.act(clock.now(), move |_| {
        let _ = held.recv();
        Ok(())
    });
    // Behind what the thread is at.
    drop(store.use_up(id, call.digest(), clock.now()));
    drop(hold);
    block_on(busy.patiently()).unwrap();
    assert_eq!(Asking(&store).use_up(&call, id), ApprovalUsed::Now);
}

#[test]
fn what_cannot_be_read_approves_nothing() {
    let (directory, store) = fresh();
    let mut clock = ManualClock::at(START);
    let call = pay(&clock, "{}");
    let id = Asking(&store).approved(&call);
    let file = file_in(directory.path());
    let spoil = |sql: &str| assert_eq!(file.execute(sql, []).unwrap(), 1);
    spoil(r#"UPDATE approval SET request = replace(request, '"version":1', '"version":2')"#);
    let now = clock.now();
    block_on(store.ask(&call).patiently()).unwrap_err();
    block_on(store.use_up(id, call.digest(), now).patiently()).unwrap_err();
    block_on(store.get(id, now).patiently()).unwrap_err();
    block_on(store.list(&[ApprovalState::Approved], now).patiently()).unwrap_err();
    // Others can ask meanwhile, and when its time is over it is forgotten.
    Asking(&store).pending(&pay(&clock, "[]"));
    clock.pass(EXPIRES);
    Asking(&store).pending(&pay(&clock, "{}"));
    assert_eq!(Asking(&store).state(id, clock.now()), None);
}

/// What is approved by a clock that was wrong is not approved for ever.
#[test]
fn what_would_end_too_late_is_over() {
    let (_directory, store) = fresh();
    let mut clock = ManualClock::at(START);
    let [looked_at, asked] = ["1", "2"].map(|arguments| {
        let call = pay(&clock, arguments);
        Asking(&store).approved(&call)
    });
    clock.step(-11_000_000);
    let state = Asking(&store).state(looked_at, clock.now());
    assert_eq!(state, Some(ApprovalState::Expired));
    let [call, other] = ["1", "2"].map(|arguments| pay(&clock, arguments));
    assert_eq!(
        Asking(&store).use_up(&call, looked_at),
        ApprovalUsed::NotApproved
    );
    assert_ne!(Asking(&store).pending(&call).id(), looked_at);
    assert_ne!(Asking(&store).pending(&other).id(), asked);
}

/// Who read the clock earlier and comes later.
#[test]
fn time_does_not_go_back() {
    let (_directory, store) = fresh();
    let mut clock = ManualClock::at(START);
    let early = clock.now();
    let call = pay(&clock, "{}");
    let id = Asking(&store).approved(&call);
    clock.pass(EXPIRES);
    let expired = Some(ApprovalState::Expired);
    assert_eq!(Asking(&store).state(id, clock.now()), expired);
    assert_eq!(Asking(&store).use_up(&call, id), ApprovalUsed::NotApproved);
    assert_eq!(Asking(&store).state(id, early), expired);
}

#[test]
fn a_panic_on_the_thread_is_an_error() {
    let (_directory, store) = fresh();
    let clock = ManualClock::at(START);
    let spoiled = store.act(clock.now(), |_| -> Result<(), Failure> {
        panic!("on purpose");
    });
    assert_eq!(block_on(spoiled.patiently()), Err(StoreError::PANICKED));
    Asking(&store).approved(&pay(&clock, "{}"));
}

#[test]
fn nothing_is_left_of_a_store_that_is_dropped() {
    let (directory, store) = fresh();
    let clock = ManualClock::at(START);
    Asking(&store).approved(&pay(&clock, "{}"));
    // Whoever still listens does not keep the file open.
    let _events = store.changes().listen();
    drop(store);
    let files = || std::fs::read_dir(directory.path()).unwrap().count();
    while files() > 1 {
        thread::sleep(Duration::from_millis(1));
    }
}
