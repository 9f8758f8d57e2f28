//! What goes wrong outside, and what is not ours.

use std::thread;

use rusqlite::Connection;

use super::*;
use crate::sqlite::{Reply, Task};
use crate::store::Settled;

/// Does something to the file on the thread of the store.
struct Do<F> {
    what: F,
    reply: Reply<()>,
}

impl<F: FnMut(&Connection) + Send + 'static> Task for Do<F> {
    /// So that it needs no lock.
    fn only_reads(&self) -> bool {
        true
    }

    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        (self.what)(connection);
        Ok(())
    }

    fn done(self: Box<Self>) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Ok(()));
        None
    }

    fn failed(self: Box<Self>, error: &StoreError) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Err(error.clone()));
        None
    }
}

fn on_thread(
    store: &SqliteLimitStore,
    what: impl FnMut(&Connection) + Send + 'static,
) -> Result<(), StoreError> {
    block_on(
        store
            .counting
            .worker
            .ask_patiently(|reply| Do { what, reply }),
    )
}

fn pragma(store: &SqliteLimitStore, sql: &'static str) {
    let set = move |connection: &Connection| {
        let mut statement = connection.prepare(sql).unwrap();
        let _ = statement.query([]).unwrap().next().unwrap();
    };
    on_thread(store, set).unwrap();
}

/// Until everything that was told is done.
pub(super) fn settle(store: &SqliteLimitStore) {
    while !store.counting.worker.is_idle() {
        thread::sleep(Duration::from_millis(1));
    }
}

fn call(store: &SqliteLimitStore, clock: &ManualClock, amount: u64) -> Option<LimitReservation> {
    let minute = quota("/a", seconds(60), 10, LimitScope::Caller);
    let under_way = quota("/b", Period::Concurrent, 10, LimitScope::Caller);
    let charges = [
        charge(&minute, "alice", amount),
        charge(&under_way, "alice", amount),
    ];
    let call = reservation(clock.now(), charges);
    match block_on(store.reserve(&call).patiently()) {
        Ok(ADMITTED) => Some(call),
        Ok(_) => None,
        Err(_) => {
            store.conclude(&call, LimitConclusion::NotSent, clock.now());
            None
        }
    }
}

fn used(store: &SqliteLimitStore, clock: &ManualClock) -> Vec<u64> {
    let seen = usage(store, &LimitFilter::default(), clock);
    let mut used: Vec<_> = seen.iter().map(|one| one.used().millionths()).collect();
    used.sort_unstable();
    used
}

/// Somebody else writes, for as long as it takes.
#[test]
fn while_it_is_locked_nothing_is_charged_and_what_ends_is_not_lost() {
    let (directory, store) = fresh();
    let clock = ManualClock::at(START);
    let first = call(&store, &clock, 3).unwrap();
    let other = Connection::open(directory.path().join("state.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for _ in 0..3 {
        assert!(call(&store, &clock, 1).is_none());
    }
    // What is read is not locked.
    assert_eq!(used(&store, &clock), [3, 3]);
    store.conclude(&first, LimitConclusion::NotSent, clock.now());
    assert!(call(&store, &clock, 1).is_none());
    other.execute_batch("ROLLBACK").unwrap();
    settle(&store);
    assert_eq!(used(&store, &clock), [0; 0]);
    assert!(call(&store, &clock, 10).is_some());
}

#[test]
fn while_it_cannot_be_written_nothing_is_charged() {
    let (_directory, store) = fresh();
    let clock = ManualClock::at(START);
    call(&store, &clock, 3).unwrap();
    for (broken, repaired) in [
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
        (
            "PRAGMA max_page_count = 1",
            "PRAGMA max_page_count = 100000",
        ),
    ] {
        pragma(&store, broken);
        let many = (0..400).filter(|number| {
            let quota = quota("/many", seconds(60), 1, LimitScope::Caller);
            let caller = format!("{number:0>200}");
            let call = reservation(clock.now(), [charge(&quota, &caller, 1)]);
            let answer = block_on(store.reserve(&call).patiently());
            if answer.is_err() {
                store.conclude(&call, LimitConclusion::NotSent, clock.now());
            }
            answer == Ok(ADMITTED)
        });
        // As many as there is room for in the last page.
        let admitted = many.count();
        assert!(admitted < 100, "{broken}: {admitted}");
        pragma(&store, repaired);
        settle(&store);
        let all = LimitFilter::default();
        assert_eq!(
            usage(&store, &all.clone().place("/many"), &clock).len(),
            admitted
        );
        reset(&store, &all.place("/many"), clock.now());
        assert_eq!(used(&store, &clock), [3, 3]);
    }
    assert!(call(&store, &clock, 7).is_some());
}

/// A disk that is full, as the system says it.
#[test]
#[ignore = "needs the right to mount"]
fn a_full_disk_refuses_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let mount = |arguments: &[&str]| {
        let mut command = std::process::Command::new(arguments[0]);
        let command = command.args(&arguments[1..]).arg(directory.path());
        assert!(command.status().unwrap().success());
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
    let clock = ManualClock::at(START);
    let store = open_in(directory.path());
    assert!(call(&store, &clock, 3).is_some());
    let filling = directory.path().join("filling");
    let _ = std::fs::write(&filling, vec![0; 2 << 20]);
    let mut failed = 0;
    for number in 0..1_000 {
        let quota = quota("/many", seconds(60), 1, LimitScope::Caller);
        let call = reservation(clock.now(), [charge(&quota, &number.to_string(), 1)]);
        if block_on(store.reserve(&call).patiently()).is_err() {
            store.conclude(&call, LimitConclusion::NotSent, clock.now());
            failed += 1;
        }
    }
    std::fs::remove_file(&filling).unwrap();
    settle(&store);
    assert!(failed > 0);
    let many = LimitFilter::default().place("/many");
    assert_eq!(usage(&store, &many, &clock).len(), 1_000 - failed);
    assert!(call(&store, &clock, 7).is_some());
    assert!(call(&store, &clock, 1).is_none());
    drop(store);
    mount(&["umount", "-l"]);
}

/// The next is answered again, and nothing of the same transaction was charged.
#[test]
fn a_panic_on_the_thread_is_an_error() {
    let (_directory, store) = fresh();
    let clock = ManualClock::at(START);
    let spoiled = on_thread(&store, |connection| {
        connection
            .execute("UPDATE total SET budgets = 1000000", [])
            .unwrap();
        panic!("it is broken");
    });
    assert_eq!(spoiled, Err(StoreError::PANICKED));
    assert!(call(&store, &clock, 10).is_some());
}

#[test]
fn what_is_too_much_to_do_is_refused_at_once() {
    let (directory, store) = fresh();
    let clock = ManualClock::at(START);
    let other = Connection::open(directory.path().join("state.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let quota = quota("/flood", seconds(60), 10_000, LimitScope::Caller);
    let mut waiting = Vec::new();
    let mut refused = 0;
    for _ in 0..5_000 {
        let call = reservation(clock.now(), [charge(&quota, "alice", 1)]);
        match store.reserve(&call).settle() {
            Settled::Known(answer) => {
                answer.unwrap_err();
                refused += 1;
            }
            Settled::Awaited(answer) => waiting.push(answer),
        }
    }
    assert!(refused > 1_000, "{refused}");
    drop(waiting);
    other.execute_batch("ROLLBACK").unwrap();
    settle(&store);
    assert!(call(&store, &clock, 1).is_some());
}

#[test]
fn what_it_was_told_is_done_when_it_is_dropped() {
    let (directory, store) = fresh();
    let clock = ManualClock::at(START);
    let calls: Vec<_> = (0..10).map(|_| call(&store, &clock, 1).unwrap()).collect();
    for call in &calls {
        store.conclude(call, LimitConclusion::NotSent, clock.now());
    }
    drop(store);
    let files = || std::fs::read_dir(directory.path()).unwrap().count();
    // Then only the file is left: those of SQLite and of the process are gone.
    while files() > 1 {
        thread::sleep(Duration::from_millis(1));
    }
    let store = open_in(directory.path());
    assert_eq!(used(&store, &clock), [0; 0]);
}

fn refused(path: &Path) -> String {
    SqliteState::open(path).unwrap_err().to_string()
}

#[test]
fn the_file_of_somebody_else_is_refused_and_not_changed() {
    let directory = directory();
    let path = directory.path().join("other.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE theirs (a)").unwrap();
    drop(other);
    let before = std::fs::read(&path).unwrap();
    assert!(
        refused(&path).contains("another program"),
        "{}",
        refused(&path)
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let text = directory.path().join("text");
    std::fs::write(&text, "a".repeat(5_000)).unwrap();
    assert!(
        refused(&text).contains("no SQLite file"),
        "{}",
        refused(&text)
    );
    assert!(refused(&directory.path().join("no/such")).contains("cannot be opened"));
    assert!(refused(directory.path()).contains("state file"));
}

#[test]
fn the_file_of_a_newer_version_is_refused() {
    let (directory, store) = fresh();
    drop(store);
    let path = directory.path().join("state.db");
    let other = Connection::open(&path).unwrap();
    other.pragma_update(None, "user_version", 3).unwrap();
    assert!(refused(&path).contains("version 3"), "{}", refused(&path));
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;

    let (directory, store) = fresh();
    call(&store, &ManualClock::at(START), 1).unwrap();
    let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(files.len(), 4);
    for file in files {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn what_cannot_be_read_refuses_until_it_is_reset() {
    let (directory, store) = fresh();
    let clock = ManualClock::at(START);
    call(&store, &clock, 3).unwrap();
    let other = Connection::open(directory.path().join("state.db")).unwrap();
    other
        .execute("UPDATE budget SET counted = x'0203'", [])
        .unwrap();
    assert!(call(&store, &clock, 1).is_none());
    let all = LimitFilter::default();
    assert!(block_on(store.usage(&all, clock.now(), 9).patiently()).is_err());
    let bob = quota("/a", seconds(60), 1, LimitScope::Caller);
    let of_bob = reservation(clock.now(), [charge(&bob, "bob", 1)]);
    assert_eq!(reserve(&store, &of_bob), ADMITTED);
    reset(&store, &all, clock.now());
    assert!(call(&store, &clock, 10).is_some());
}
