//! Each test has a server of its own. Those that need a clock that can be turned let the
//! scripts go by that; they are the same otherwise.

mod bounds;
mod faults;

use std::thread;

use futures::StreamExt as _;
use futures::executor::block_on;
use proptest::prelude::*;

use super::scripts::BY_HAND;
use super::*;
use crate::approval::testing::{Asking, EXPIRES, contract, demand, model, question};
use crate::approval::{ApprovalEvent, ApprovalEvents};
use crate::limit::testing::ManualClock;
use crate::remote::server::Server;
use crate::state::RedisState;

const START: &str = "2028-02-28T23:59:30Z";

/// By a clock that is turned by hand.
fn by_hand(server: &Server) -> RedisApprovalStore {
    let remote = Remote::open(&server.url(), BY_HAND.all()).unwrap();
    block_on(remote.ready()).unwrap();
    RedisApprovalStore::with(Arc::new(remote), &BY_HAND, "")
}

fn by_its_own(server: &Server) -> RedisApprovalStore {
    of_server(server, "")
}

/// The same, in front of the server of this name.
fn of_server(server: &Server, name: &str) -> RedisApprovalStore {
    let state = RedisState::connect(&server.url()).unwrap();
    let store = state.approvals(name);
    wait_until_ready(&store);
    store
}

/// One that has just begun may still be at reading what it kept.
fn wait_until_ready(store: &RedisApprovalStore) {
    while block_on(store.remote.ready()).is_err() {
        thread::sleep(Duration::from_millis(10));
    }
}

fn pay(clock: &ManualClock, arguments: &str) -> ApprovalQuestion {
    question(&demand(), "alice", arguments, clock.now())
}

#[test]
#[ignore = "needs redis-server"]
fn it_does_as_a_list_of_everything() {
    let server = Server::start();
    let store = by_hand(&server);
    proptest!(ProptestConfig::with_cases(60), |(history in model::histories(200))| {
        server.run::<()>("FLUSHALL");
        model::does_as_a_list(&store, history);
    });
}

/// The nodes of a cluster refuse to do two things in one step that may have to be done
/// by different nodes.
#[test]
#[ignore = "needs redis-server"]
fn the_contract_is_kept_by_a_cluster_too() {
    let contract: [fn(&dyn ApprovalStore); 9] = [
        contract::finds_what_was_asked_before,
        contract::keeps_what_was_asked,
        contract::is_used_once,
        contract::begins_one_request_for_many,
        contract::expires_twice,
        contract::remembers_what_was_denied,
        contract::asks_somebody_else,
        contract::takes_back,
        contract::forgets_arguments,
    ];
    for arguments in [&[][..], &["--cluster-enabled", "yes"]] {
        let server = Server::with(arguments);
        if !arguments.is_empty() {
            server.run::<()>("CLUSTER ADDSLOTSRANGE 0 16383");
            while !server.run::<String>("CLUSTER INFO").contains("state:ok") {
                thread::yield_now();
            }
        }
        let store = by_hand(&server);
        for keeps in contract {
            server.run::<()>("FLUSHALL");
            keeps(&store);
        }
    }
}

/// 64 at once, of two processes, as far as the server can tell.
#[test]
#[ignore = "needs redis-server"]
fn of_many_at_once_one_uses_an_approval() {
    let server = Server::start();
    let stores = [by_its_own(&server), by_its_own(&server)];
    contract::is_used_by_one_of_many(&stores[0], 20);
    let clock = ManualClock::at(START);
    for round in 0..20 {
        let call = question(&demand(), "bob", &round.to_string(), clock.now());
        let id = Asking(&stores[0]).approved(&call);
        let uses: Vec<ApprovalUsed> = thread::scope(|scope| {
            let threads: Vec<_> = (0..64)
                .map(|thread| {
                    let (store, call) = (&stores[thread % 2], &call);
                    scope.spawn(move || Asking(store).use_up(call, id))
                })
                .collect();
            let threads = threads.into_iter();
            threads.map(|thread| thread.join().unwrap()).collect()
        });
        let count = |wanted| uses.iter().filter(|used| **used == wanted).count();
        assert_eq!(
            (count(ApprovalUsed::Now), count(ApprovalUsed::Before)),
            (1, 63)
        );
    }
}

#[test]
#[ignore = "needs redis-server"]
fn of_many_at_once_one_decides() {
    let server = Server::start();
    contract::is_decided_by_one_of_many(&by_its_own(&server), 20);
}

/// Everything that can be said of it.
#[test]
#[ignore = "needs redis-server"]
fn what_was_approved_before_a_restart_passes_once_after_it() {
    let mut server = Server::that_keeps_everything();
    let clock = ManualClock::at(START);
    let call = pay(&clock, r#"{ "to" : "a" }"#);
    let store = by_its_own(&server);
    let asked = Asking(&store).pending(&call);
    drop(store);
    server.kill();
    server.start_again();
    let store = by_its_own(&server);
    let [shown] = &Asking(&store).list(&[ApprovalState::Pending], clock.now())[..] else {
        panic!("it is not there");
    };
    assert_eq!(format!("{shown:?}"), format!("{asked:?}"));
    assert_eq!(shown.arguments(), asked.arguments());
    assert_eq!(shown.reason(), asked.reason());
    let ruling = Ruling::approve("dora").with_note("fine");
    let decided = Asking(&store).decide(asked.id(), &ruling, clock.now());
    assert_eq!(decided.unwrap().state(), ApprovalState::Approved);
    server.kill();
    server.start_again();
    let store = by_its_own(&server);
    let ApprovalAsked::Approved(approved) = Asking(&store).ask(&call) else {
        panic!("it is not approved");
    };
    assert_eq!(approved.note(), Some("fine"));
    assert_eq!(Asking(&store).use_up(&call, asked.id()), ApprovalUsed::Now);
    server.kill();
    server.start_again();
    let store = by_its_own(&server);
    assert_eq!(
        Asking(&store).use_up(&call, asked.id()),
        ApprovalUsed::Before
    );
}

/// Not even an operator of the other can decide about it.
#[test]
#[ignore = "needs redis-server"]
fn servers_have_nothing_in_common() {
    let server = Server::start();
    let store = of_server(&server, "server");
    let again = of_server(&server, "server");
    let other = of_server(&server, "other");
    let clock = ManualClock::at(START);
    let call = pay(&clock, "{}");
    let id = Asking(&store).approved(&call);
    assert_eq!(Asking(&other).state(id, clock.now()), None);
    assert_eq!(Asking(&other).use_up(&call, id), ApprovalUsed::NotApproved);
    assert!(!Asking(&other).cancel(id, clock.now()));
    assert_ne!(Asking(&other).pending(&call).id(), id);
    assert_eq!(Asking(&again).use_up(&call, id), ApprovalUsed::Now);
    assert_eq!(Asking(&store).use_up(&call, id), ApprovalUsed::Before);
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

/// The last thing that it hears.
fn is_missed(events: &mut ApprovalEvents) {
    while block_on(events.next()) != Some(ApprovalEvent::Missed) {}
}

#[test]
#[ignore = "needs redis-server"]
fn what_changes_elsewhere_is_heard_and_what_changes_here_at_once() {
    let server = Server::start();
    let (store, other) = (by_its_own(&server), by_its_own(&server));
    let clock = ManualClock::at(START);
    Asking(&other).pending(&pay(&clock, "[]"));
    let mut events = store.changes().listen();
    // Whoever is the first looks at everything.
    is_missed(&mut events);
    let call = pay(&clock, "{}");
    let id = Asking(&store).pending(&call).id();
    let said = ApprovalEvent::Changed(id, ApprovalState::Pending);
    assert_eq!(block_on(events.next()), Some(said));
    let approved = Asking(&other).decide(id, &Ruling::approve("dora"), clock.now());
    approved.unwrap();
    // What it said itself is not said once more.
    let said = ApprovalEvent::Changed(id, ApprovalState::Approved);
    assert_eq!(block_on(events.next()), Some(said));
    // Also after a time in which nobody listened.
    drop(events);
    let mut events = store.changes().listen();
    assert!(Asking(&other).cancel(id, clock.now()));
    hears(&mut events, (id, ApprovalState::Cancelled));
}

#[test]
#[ignore = "needs redis-server"]
fn what_expires_is_heard_although_nobody_asks() {
    let server = Server::start();
    let store = by_its_own(&server);
    let mut soon = demand();
    soon.expires = Duration::from_secs(1);
    let clock = ManualClock::at(START);
    let mut events = store.changes().listen();
    let id = Asking(&store)
        .pending(&question(&soon, "alice", "{}", clock.now()))
        .id();
    hears(&mut events, (id, ApprovalState::Expired));
}

/// Whoever listens is told to look at everything again.
#[test]
#[ignore = "needs redis-server"]
fn what_was_missed_is_said() {
    let server = Server::start();
    let (store, other) = (by_its_own(&server), by_its_own(&server));
    let clock = ManualClock::at(START);
    let mut events = store.changes().listen();
    is_missed(&mut events);
    let id = Asking(&other).pending(&pay(&clock, "{}")).id();
    is_missed(&mut events);
    assert!(Asking(&other).cancel(id, clock.now()));
    hears(&mut events, (id, ApprovalState::Cancelled));
    // The server has forgotten everything.
    server.run::<()>("FLUSHALL");
    is_missed(&mut events);
    Asking(&other).pending(&pay(&clock, "[]"));
    is_missed(&mut events);
    // So much that the first of it is forgotten already.
    let key = |end: &str| server.keys().into_iter().find(|key| key.ends_with(end));
    server.run::<()>(&format!("DEL {}", key(":l").unwrap()));
    server.run::<()>(&format!("INCRBY {} 2000", key(":c").unwrap()));
    is_missed(&mut events);
}

#[test]
#[ignore = "needs redis-server"]
fn nobody_is_asked_while_nobody_listens() {
    let server = Server::start();
    let store = by_its_own(&server);
    let calls = || -> i64 {
        let stats: String = server.run("INFO commandstats");
        let calls = stats
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
    };
    thread::sleep(LOOK_EVERY * 3);
    assert_eq!(calls(), 0);
    let events = store.changes().listen();
    while calls() < 3 {
        thread::sleep(Duration::from_millis(10));
    }
    drop(events);
    let is_left_alone = || {
        let before = calls();
        thread::sleep(LOOK_EVERY * 3);
        calls() == before
    };
    while !is_left_alone() {}
}

#[test]
#[ignore = "needs redis-server"]
fn nothing_of_a_request_is_shown() {
    let server = Server::start();
    let store = by_its_own(&server);
    let clock = ManualClock::at(START);
    Asking(&store).pending(&pay(&clock, r#"["hunter2"]"#));
    assert_eq!(format!("{store:?}"), "RedisApprovalStore { .. }");
}
