use std::path::Path;

use futures::executor::block_on;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::state::SqliteState;

fn open_in(directory: &Path) -> SqliteSessionStore {
    let state = SqliteState::open(directory.join("state.db"));
    state.unwrap().sessions("server")
}

/// A store that writes down each use.
fn bounded(in_all: i64, of_one: i64) -> (TempDir, SqliteSessionStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteSessionStore {
        bounds: Bounds { in_all, of_one },
        use_every: Duration::ZERO,
        ..open_in(directory.path())
    };
    (directory, store)
}

fn begin(store: &SqliteSessionStore, task: &str, caller: &str) {
    let owner = TaskOwner::new(&Caller::new(caller), "tool");
    block_on(store.begin_task(task, owner).patiently()).unwrap();
}

fn owner(store: &SqliteSessionStore, task: &str, asking: &str) -> Option<String> {
    let owner = block_on(store.task_owner(task, &Caller::new(asking)).patiently()).unwrap();
    // What is used is written down behind the answer.
    while !store.worker.is_idle() {
        std::thread::yield_now();
    }
    owner.map(|owner| format!("{} {}", owner.caller(), owner.tool()))
}

fn known<const N: usize>(store: &SqliteSessionStore, tasks: [&str; N]) -> [bool; N] {
    tasks.map(|task| owner(store, task, "nobody").is_some())
}

#[test]
fn who_had_it_first_keeps_it() {
    let (directory, store) = bounded(10, 10);
    let owner = |caller: &str| SessionOwner::new(&Caller::new(caller));
    let ask = |store: &SqliteSessionStore| {
        block_on(store.session_owner("s", &Caller::new("bob")).patiently()).unwrap()
    };
    assert_eq!(ask(&store), None);
    let alice = owner("alice").with_client(r#"{"name":"c"}"#);
    block_on(store.begin_session("s", alice.clone()).patiently()).unwrap();
    block_on(store.begin_session("s", owner("bob")).patiently()).unwrap();
    assert_eq!(ask(&store), Some(alice.clone()));
    // A task of the same name is something else, and so is one of another server.
    assert_eq!(known(&store, ["s"]), [false]);
    let of_another = SqliteSessionStore::new(Arc::clone(&store.worker), "other".into());
    assert_eq!(ask(&of_another), None);
    // After a restart, and to another process.
    let other = open_in(directory.path());
    assert_eq!(ask(&other), Some(alice));
    block_on(store.end_session("s").patiently()).unwrap();
    assert_eq!([ask(&store), ask(&other)], [None, None]);
}

#[test]
fn an_owner_pushes_out_what_it_has_not_used_for_longest() {
    let (_directory, store) = bounded(100, 3);
    begin(&store, "hers", "alice");
    for id in ["1", "2", "3"] {
        begin(&store, id, "bob");
    }
    assert_eq!(owner(&store, "1", "bob").unwrap(), "bob tool");
    // Somebody else's question is no use of it.
    assert_eq!(owner(&store, "2", "alice").unwrap(), "bob tool");
    begin(&store, "4", "bob");
    let known = known(&store, ["hers", "1", "2", "3", "4"]);
    assert_eq!(known, [true, true, false, true, true]);
}

#[test]
fn whoever_has_the_most_makes_room_for_others() {
    let (directory, store) = bounded(6, 5);
    begin(&store, "hers", "alice");
    for id in ["1", "2", "3", "4", "5"] {
        begin(&store, id, "bob");
    }
    begin(&store, "hers too", "alice");
    let known = known(&store, ["hers", "1", "2", "hers too"]);
    assert_eq!(known, [true, false, true, true]);
    let file = Connection::open(directory.path().join("state.db")).unwrap();
    let number = |sql: &str| file.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let counts = [
        "SELECT entries FROM kept",
        "SELECT sum(entries) FROM owner",
        "SELECT count(*) FROM owned",
    ];
    assert_eq!(counts.map(number), [6, 6, 6]);
}

/// Whatever they are called.
#[test]
fn of_those_with_as_many_it_is_who_has_not_used_one_for_longest() {
    for (idle, busy) in [("alice", "bob"), ("bob", "alice")] {
        let (_directory, store) = bounded(4, 5);
        for (id, owner) in [("1", busy), ("2", idle), ("3", busy), ("4", idle)] {
            begin(&store, id, owner);
        }
        owner(&store, "1", busy);
        begin(&store, "5", "carol");
        let known = known(&store, ["1", "2", "3", "4", "5"]);
        assert_eq!(known, [true, false, true, true, true]);
    }
}

/// What is read is not locked, and what cannot be remembered is an error.
#[test]
fn while_it_is_locked_it_is_read() {
    let (directory, store) = bounded(10, 10);
    begin(&store, "t", "alice");
    let other = Connection::open(directory.path().join("state.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert_eq!(owner(&store, "t", "bob").unwrap(), "alice tool");
    let task = TaskOwner::new(&Caller::new("alice"), "tool");
    block_on(store.begin_task("u", task).patiently()).unwrap_err();
    other.execute_batch("ROLLBACK").unwrap();
    begin(&store, "v", "alice");
    assert_eq!(known(&store, ["t", "u", "v"]), [true, false, true]);
}

#[test]
fn the_file_holds_no_ids() {
    let (directory, store) = bounded(10, 10);
    let id = "0123456789-a-secret-of-a-session";
    begin(&store, id, "alice");
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(id.len()).any(|part| part == id.as_bytes()));
    }
}
