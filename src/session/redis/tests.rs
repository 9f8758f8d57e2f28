use futures::executor::block_on;

use super::*;
use crate::remote::server::Server;
use crate::state::RedisState;

fn store(server: &Server) -> RedisSessionStore {
    RedisState::connect(&server.url()).unwrap().sessions("")
}

/// What it says in the end, however slow the machine is.
fn answer<T>(ask: impl Fn() -> StoreAnswer<T>) -> T {
    loop {
        if let Ok(answer) = block_on(ask().get()) {
            return answer;
        }
    }
}

fn begin(store: &RedisSessionStore, session: &str, caller: &str) {
    let owner = SessionOwner::new(&Caller::new(caller));
    answer(|| store.begin_session(session, owner.clone()));
}

fn owner(store: &RedisSessionStore, session: &str, asking: &str) -> Option<SessionOwner> {
    answer(|| store.session_owner(session, &Caller::new(asking)))
}

#[test]
#[ignore = "needs redis-server"]
fn who_had_it_first_keeps_it() {
    let server = Server::start();
    let stores = [store(&server), store(&server)];
    assert_eq!(owner(&stores[0], "s", "alice"), None);
    let alice = SessionOwner::new(&Caller::new("alice")).with_client(r#"{"name":"c"}"#);
    answer(|| stores[0].begin_session("s", alice.clone()));
    begin(&stores[1], "s", "bob");
    for store in &stores {
        assert_eq!(owner(store, "s", "bob"), Some(alice.clone()));
    }
    let elsewhere = RedisState::connect(&server.url()).unwrap().sessions("else");
    assert_eq!(owner(&elsewhere, "s", "alice"), None);
    answer(|| stores[1].end_session("s"));
    assert_eq!(owner(&stores[0], "s", "alice"), None);
    begin(&stores[0], "s", "");
    let nobody = SessionOwner::new(&Caller::new(""));
    assert_eq!(owner(&stores[1], "s", "alice"), Some(nobody));
    begin(&stores[0], &"x".repeat(LONGEST_ID + 1), "alice");
    assert_eq!(
        owner(&stores[0], &"x".repeat(LONGEST_ID + 1), "alice"),
        None
    );
}

#[test]
#[ignore = "needs redis-server"]
fn tasks_are_no_sessions() {
    let server = Server::start();
    let store = store(&server);
    let alice = Caller::new("alice");
    for tool in ["run", "stop"] {
        let owner = TaskOwner::new(&alice, tool);
        answer(|| store.begin_task("t", owner.clone()));
    }
    let found = answer(|| store.task_owner("t", &Caller::new("bob")));
    assert_eq!(found, Some(TaskOwner::new(&alice, "run")));
    assert_eq!(owner(&store, "t", "alice"), None);
    answer(|| store.end_session("t"));
    assert!(
        block_on(store.task_owner("t", &alice).get())
            .unwrap()
            .is_some()
    );
}

#[test]
#[ignore = "needs redis-server"]
fn a_caller_pushes_out_what_it_has_not_used_for_longest() {
    let server = Server::start();
    let store = store(&server);
    begin(&store, "hers", "alice");
    for number in 0..1_000 {
        begin(&store, &number.to_string(), "bob");
        if number == 2 {
            // What has ended takes no place.
            begin(&store, "ended", "bob");
            answer(|| store.end_session("ended"));
        }
    }
    // Somebody else's question is no use of it.
    assert!(owner(&store, "0", "bob").is_some());
    assert!(owner(&store, "1", "alice").is_some());
    begin(&store, "one more", "bob");
    let known = ["hers", "0", "1", "2", "999", "one more"]
        .map(|session| owner(&store, session, "nobody").is_some());
    assert_eq!(known, [true, true, false, true, true, true]);
    assert_eq!(server.keys().len(), 1_001 + 2);
}

#[test]
#[ignore = "needs redis-server"]
fn every_key_expires_and_none_shows_an_id() {
    let server = Server::start();
    let store = store(&server);
    begin(&store, "secret", "alice");
    let week = 604_800_000;
    for key in server.keys() {
        assert!(!key.contains("secret") && !key.contains("alice"));
        let left: i64 = server.run(&format!("PTTL {key}"));
        assert!(left > week - 60_000 && left <= week, "{key} {left}");
        server.run::<()>(&format!("PEXPIRE {key} 100000"));
    }
    // A use is what makes it last.
    for (asking, lasts) in [("bob", false), ("alice", true)] {
        assert!(owner(&store, "secret", asking).is_some());
        for key in server.keys() {
            let left: i64 = server.run(&format!("PTTL {key}"));
            assert_eq!(left > week / 2, lasts, "{key} {left}");
        }
    }
}
