//! Servers that are away, or hold what they should not.

use super::*;

/// All that the server holds, as text.
fn held(server: &Server) -> String {
    let mut held = String::new();
    for key in server.keys() {
        let command = match &*server.run::<String>(&format!("TYPE {key}")) {
            "string" => format!("GET {key}"),
            "hash" => format!("HGETALL {key}"),
            "zset" => format!("ZRANGE {key} 0 -1"),
            // It expired meanwhile.
            "none" => continue,
            other => panic!("{other}"),
        };
        let value: redis::Value = server.run(&command);
        held += &format!("{value:?}");
    }
    held
}

#[test]
#[ignore = "needs redis-server"]
fn arguments_are_gone_when_a_request_ends() {
    let server = Server::start();
    let store = by_its_own(&server);
    let store = Asking(&store);
    let clock = ManualClock::at(START);
    let calls = [0, 1, 2].map(|number| pay(&clock, &format!(r#"["a-value-{number}"]"#)));
    let ids = calls.each_ref().map(|call| store.pending(call).id());
    let approved = store.decide(ids[0], &Ruling::approve("dora"), clock.now());
    assert!(approved.unwrap().arguments().is_some());
    for number in 0..3 {
        assert!(held(&server).contains(&format!("a-value-{number}")));
    }
    assert_eq!(store.use_up(&calls[0], ids[0]), ApprovalUsed::Now);
    store
        .decide(ids[1], &Ruling::deny("dora"), clock.now())
        .unwrap();
    assert!(store.cancel(ids[2], clock.now()));
    assert!(!held(&server).contains("a-value"));
}

#[test]
#[ignore = "needs redis-server"]
fn arguments_expire_although_nobody_asks() {
    let server = Server::start();
    let store = by_its_own(&server);
    let clock = ManualClock::at(START);
    let mut soon = demand();
    soon.expires = Duration::from_secs(1);
    let call = |arguments| question(&soon, "alice", arguments, clock.now());
    let waits = Asking(&store).pending(&call(r#"["a-value-1"]"#)).id();
    let approved = Asking(&store).approved(&call(r#"["a-value-2"]"#));
    assert!(held(&server).contains("a-value"));
    while held(&server).contains("a-value") {
        thread::sleep(Duration::from_millis(10));
    }
    for id in [waits, approved] {
        let request = Asking(&store).get(id, clock.now()).unwrap();
        assert_eq!(request.state(), ApprovalState::Expired);
        assert_eq!(request.arguments(), None);
    }
}

/// Nothing passes that is not approved there.
#[test]
#[ignore = "needs redis-server"]
fn while_the_server_is_away_nothing_passes() {
    let mut server = Server::that_keeps_everything();
    let store = by_its_own(&server);
    let clock = ManualClock::at(START);
    let call = pay(&clock, "{}");
    let id = Asking(&store).approved(&call);
    server.kill();
    let now = clock.now();
    for _ in 0..3 {
        block_on(store.use_up(id, call.digest(), now).get()).unwrap_err();
        block_on(store.ask(&call).get()).unwrap_err();
        block_on(store.get(id, now).get()).unwrap_err();
    }
    server.start_again();
    wait_until_ready(&store);
    assert_eq!(Asking(&store).use_up(&call, id), ApprovalUsed::Now);
}

/// As another version may have written it, or somebody else.
#[test]
#[ignore = "needs redis-server"]
fn what_cannot_be_read_approves_nothing() {
    let server = Server::start();
    let store = by_its_own(&server);
    let clock = ManualClock::at(START);
    let refused = |store: &RedisApprovalStore, call: &ApprovalQuestion, id| {
        let now = clock.now();
        block_on(store.ask(call).patiently()).unwrap_err();
        block_on(store.use_up(id, call.digest(), now).patiently()).unwrap_err();
        block_on(store.get(id, now).patiently()).unwrap_err();
        block_on(store.list(&[ApprovalState::Approved], now).patiently()).unwrap_err();
    };
    let call = pay(&clock, "{}");
    let id = Asking(&store).approved(&call);
    let key = |end: &str| {
        let mut keys = server.keys().into_iter();
        keys.find(|key| key.contains(end)).unwrap()
    };
    let request = key(":r:");
    let text: String = server.run(&format!("HGET {request} request"));
    let newer = text.replace(r#""version":1"#, r#""version":2"#);
    assert_ne!(newer, text);
    server.run::<()>(&format!(
        "HSET {request} request {}",
        newer.replace(' ', "")
    ));
    refused(&store, &call, id);
    server.run::<()>("FLUSHALL");
    let id = Asking(&store).approved(&call);
    server.run::<()>(&format!("DEL {}", key(":s:")));
    refused(&store, &call, id);
    // That of another call.
    server.run::<()>("FLUSHALL");
    let approved = Asking(&store).approved(&call);
    let other = pay(&clock, "[]");
    let of_other = format!("{}{}", key(":d:").rsplit_once(':').unwrap().0, ":");
    server.run::<()>(&format!("SET {of_other}{} {approved}", other.digest()));
    block_on(store.ask(&other).patiently()).unwrap_err();
}

/// What is approved by a clock that was wrong is not approved for ever.
#[test]
#[ignore = "needs redis-server"]
fn what_would_end_too_late_is_over() {
    let server = Server::start();
    let store = by_hand(&server);
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

/// So many that not all of them are ended at once.
#[test]
#[ignore = "needs redis-server"]
fn however_much_is_over_the_same_calls_can_be_made_again() {
    let server = Server::start();
    let store = by_hand(&server);
    let mut clock = ManualClock::at(START);
    let call = |number: usize, clock: &ManualClock| {
        let caller = format!("caller {}", number / 20);
        question(&demand(), &caller, &number.to_string(), clock.now())
    };
    for number in 0..600 {
        Asking(&store).pending(&call(number, &clock));
    }
    clock.pass(EXPIRES);
    let open = [ApprovalState::Pending, ApprovalState::Approved];
    assert_eq!(Asking(&store).list(&open, clock.now()).len(), 0);
    for number in [599, 0] {
        Asking(&store).pending(&call(number, &clock));
    }
    assert_eq!(Asking(&store).list(&open, clock.now()).len(), 2);
}

/// Nobody looks for what others change in front of a server that is no longer there.
#[test]
#[ignore = "needs redis-server"]
fn nothing_is_left_of_a_store_that_is_dropped() {
    let server = Server::start();
    let store = by_its_own(&server);
    let another = |name| RedisApprovalStore::with(Arc::clone(&store.remote), &SCRIPTS, name);
    // What has just been answered may still be at its end.
    let before = store.remote.tasks();
    let others = ["a", "b", "c"].map(another);
    // One of them is listened to for longer than it is there.
    let _events = others[0].changes().listen();
    assert!(store.remote.tasks() > before);
    drop(others);
    for _ in 0..1_000 {
        if store.remote.tasks() <= before {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("something is left");
}
