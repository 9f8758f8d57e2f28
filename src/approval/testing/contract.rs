//! What every store has to do, whatever it is made of. Each of these begins with one
//! that is empty.
//!
//! A store that goes by the clock of the world has to do this while that goes on
//! evenly.

use std::sync::Barrier;
use std::time::Duration;

use super::{Asking, EXPIRES, demand, question, word};
use crate::approval::question::Demand;
use crate::approval::{
    ApprovalAsked, ApprovalId, ApprovalQuestion, ApprovalState, ApprovalStore, ApprovalUsed,
    Decider, NotDecided, Ruling,
};
use crate::limit::testing::ManualClock;
use crate::policy::Approver;

const START: &str = "2028-02-28T23:59:30Z";
const MOMENT: Duration = Duration::from_millis(1);
fn pay(clock: &ManualClock, arguments: &str) -> ApprovalQuestion {
    question(&demand(), "alice", arguments, clock.now())
}

/// The same call finds the request that it began, and no other does.
pub(crate) fn finds_what_was_asked_before(store: &dyn ApprovalStore) {
    let store = Asking(store);
    let mut clock = ManualClock::at(START);
    let mut ids = vec![store.pending(&pay(&clock, r#"{"to":"a","n":100}"#)).id()];
    let again = store.pending(&pay(&clock, r#"{ "n": 1e2, "to": "\u0061" }"#));
    assert_eq!(again.id(), ids[0]);
    let edited = Demand {
        digest: "sha256:08".into(),
        ..demand()
    };
    for (demand, caller, arguments) in [
        (&demand(), "alice", r#"{"to":"a","n":101}"#),
        (&demand(), "alice", r#"{"to":"b","n":100}"#),
        (&demand(), "alice", "{}"),
        (&demand(), "bob", r#"{"to":"a","n":100}"#),
        (&edited, "alice", r#"{"to":"a","n":100}"#),
    ] {
        clock.pass(MOMENT);
        let other = store.pending(&question(demand, caller, arguments, clock.now()));
        assert!(!ids.contains(&other.id()), "{arguments}");
        ids.push(other.id());
    }
    let now = clock.now();
    let listed = |states| {
        let requests = store.list(states, now).into_iter();
        requests.map(|request| request.id()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&ApprovalState::ALL), ids);
    assert_eq!(listed(&[ApprovalState::Used, ApprovalState::Pending]), ids);
    assert_eq!(listed(&ApprovalState::ALL[1..]), []);
    assert_eq!(listed(&[]), []);
}

/// Everything that was asked is there to be read.
pub(crate) fn keeps_what_was_asked(store: &dyn ApprovalStore) {
    let store = Asking(store);
    let mut clock = ManualClock::at(START);
    let asked = pay(&clock, r#"{ "to" : "a" }"#);
    let request = store.pending(&asked);
    let created_at = clock.now().system;
    clock.pass(MOMENT);
    let decided_at = clock.now().system;
    let ruling = Ruling::approve("dora").with_note("fine");
    let decided = store.decide(request.id(), &ruling, clock.now()).unwrap();
    for request in [decided, store.get(request.id(), clock.now()).unwrap()] {
        assert_eq!(request.digest(), asked.digest());
        assert_eq!(request.server(), "server");
        assert_eq!(request.caller(), "alice");
        assert_eq!(request.method(), "tools/call");
        assert_eq!(request.name(), "pay");
        assert!(request.rules().eq(["/tools/pay/require_approval"]));
        assert_eq!(request.reason(), Some("it cannot be undone"));
        assert_eq!(request.approver(), Approver::Operator);
        assert_eq!(request.expires(), EXPIRES);
        assert_eq!(request.created_at(), created_at);
        assert_eq!(request.expires_at(), decided_at + EXPIRES);
        assert_eq!(request.decided_at(), Some(decided_at));
        assert_eq!(
            request.decided_by(),
            Some(&Decider::Operator("dora".into()))
        );
        assert_eq!(request.note(), Some("fine"));
        assert_eq!(request.state(), ApprovalState::Approved);
        let arguments = request.arguments().unwrap();
        assert_eq!(
            (arguments.text(), arguments.cut()),
            (r#"{ "to" : "a" }"#, 0)
        );
    }
}

/// An approval is good for one call, and only for that which was approved.
pub(crate) fn is_used_once(store: &dyn ApprovalStore) {
    let store = Asking(store);
    let clock = ManualClock::at(START);
    let (call, other) = (pay(&clock, r#"{"to":"a"}"#), pay(&clock, "{}"));
    let waiting = store.pending(&call).id();
    assert_eq!(store.use_up(&call, waiting), ApprovalUsed::NotApproved);
    let approved = store.decide(waiting, &Ruling::approve("dora"), clock.now());
    assert_eq!(approved.unwrap().state(), ApprovalState::Approved);
    assert_eq!(word(&store.ask(&call)), "approved");
    assert_eq!(word(&store.ask(&other)), "pending");
    assert_eq!(store.use_up(&other, waiting), ApprovalUsed::NotApproved);
    assert_eq!(
        store.use_up(&call, ApprovalId::new().unwrap()),
        ApprovalUsed::NotApproved
    );
    assert_eq!(store.use_up(&call, waiting), ApprovalUsed::Now);
    assert_eq!(store.use_up(&call, waiting), ApprovalUsed::Before);
    assert_eq!(store.use_up(&other, waiting), ApprovalUsed::NotApproved);
    // The next one has to be approved again.
    let next = store.pending(&call).id();
    assert_ne!(next, waiting);
    assert_eq!(store.use_up(&call, next), ApprovalUsed::NotApproved);
    assert_eq!(store.use_up(&call, waiting), ApprovalUsed::Before);
}

/// However many try at once, one of them gets it.
pub(crate) fn is_used_by_one_of_many(store: &dyn ApprovalStore, rounds: usize) {
    const THREADS: usize = 64;
    let clock = ManualClock::at(START);
    for round in 0..rounds {
        let call = pay(&clock, &format!(r#"{{"round":{round}}}"#));
        let id = Asking(store).approved(&call);
        let barrier = Barrier::new(THREADS);
        let uses: Vec<ApprovalUsed> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        Asking(store).use_up(&call, id)
                    })
                })
                .collect();
            let threads = threads.into_iter();
            threads.map(|thread| thread.join().unwrap()).collect()
        });
        let count = |wanted| uses.iter().filter(|used| **used == wanted).count();
        assert_eq!(count(ApprovalUsed::Now), 1);
        assert_eq!(count(ApprovalUsed::Before), THREADS - 1);
    }
}

/// However many decide at once, what one of them says holds.
pub(crate) fn is_decided_by_one_of_many(store: &dyn ApprovalStore, rounds: usize) {
    const THREADS: usize = 16;
    let clock = ManualClock::at(START);
    for round in 0..rounds {
        let call = pay(&clock, &format!(r#"{{"decided":{round}}}"#));
        let id = Asking(store).pending(&call).id();
        let barrier = Barrier::new(THREADS);
        let decide = &|thread: usize| {
            let ruling = match thread % 2 {
                0 => Ruling::approve(format!("operator {thread}")),
                _ => Ruling::deny(format!("operator {thread}")),
            };
            barrier.wait();
            Asking(store).decide(id, &ruling, clock.now())
        };
        let decided: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| scope.spawn(move || decide(thread)))
                .collect();
            let threads = threads.into_iter();
            threads.map(|thread| thread.join().unwrap()).collect()
        });
        let held: Vec<_> = decided.iter().flatten().collect();
        assert_eq!(held.len(), 1);
        let request = Asking(store).get(id, clock.now()).unwrap();
        assert_eq!(request.decided_by(), held[0].decided_by());
        assert_eq!(request.state(), held[0].state());
    }
}

/// However many ask for the same at once, there is one request.
pub(crate) fn begins_one_request_for_many(store: &dyn ApprovalStore) {
    const THREADS: usize = 64;
    let clock = ManualClock::at(START);
    let barrier = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let call = pay(&clock, "{}");
                barrier.wait();
                Asking(store).pending(&call);
            });
        }
    });
    assert_eq!(
        Asking(store).list(&ApprovalState::ALL, clock.now()).len(),
        1
    );
}

/// It expires so much later than it was asked for, and so much later than it was
/// approved.
pub(crate) fn expires_twice(store: &dyn ApprovalStore) {
    let store = Asking(store);
    let mut clock = ManualClock::at(START);
    let undecided = store.pending(&pay(&clock, "{}")).id();
    clock.pass(EXPIRES - MOMENT);
    assert_eq!(store.pending(&pay(&clock, "{}")).id(), undecided);
    clock.pass(MOMENT);
    assert_eq!(
        store.state(undecided, clock.now()),
        Some(ApprovalState::Expired)
    );
    let late = store.decide(undecided, &Ruling::approve("dora"), clock.now());
    assert_eq!(
        late.unwrap_err(),
        NotDecided::NotPending(ApprovalState::Expired)
    );

    let request = store.pending(&pay(&clock, "{}")).id();
    assert_ne!(request, undecided);
    clock.pass(EXPIRES - MOMENT);
    let approved = store.decide(request, &Ruling::approve("dora"), clock.now());
    assert_eq!(approved.unwrap().state(), ApprovalState::Approved);
    clock.pass(EXPIRES - MOMENT);
    assert_eq!(word(&store.ask(&pay(&clock, "{}"))), "approved");
    clock.pass(MOMENT);
    let call = pay(&clock, "{}");
    assert_eq!(store.use_up(&call, request), ApprovalUsed::NotApproved);
    assert_eq!(
        store.state(request, clock.now()),
        Some(ApprovalState::Expired)
    );
    assert_eq!(word(&store.ask(&call)), "pending");
}

/// The same call is refused, but only until it expires.
pub(crate) fn remembers_what_was_denied(store: &dyn ApprovalStore) {
    let store = Asking(store);
    let mut clock = ManualClock::at(START);
    let request = store.pending(&pay(&clock, "{}")).id();
    clock.pass(EXPIRES - MOMENT);
    let denied = store
        .decide(request, &Ruling::deny("dora"), clock.now())
        .unwrap();
    assert_eq!(denied.state(), ApprovalState::Denied);
    let change_of_mind = store.decide(request, &Ruling::approve("dora"), clock.now());
    assert_eq!(
        change_of_mind.unwrap_err(),
        NotDecided::NotPending(ApprovalState::Denied)
    );
    assert!(
        !store.cancel(request, clock.now()),
        "nobody is asked again by that"
    );
    clock.pass(EXPIRES - MOMENT);
    let call = pay(&clock, "{}");
    match store.ask(&call) {
        ApprovalAsked::Denied(denied) => assert_eq!(denied.id(), request),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.use_up(&call, request), ApprovalUsed::NotApproved);
    assert_eq!(
        word(&store.ask(&pay(&clock, "[]"))),
        "pending",
        "another call"
    );
    clock.pass(MOMENT);
    assert_ne!(store.pending(&pay(&clock, "{}")).id(), request);
    assert_eq!(
        store.state(request, clock.now()),
        Some(ApprovalState::Denied)
    );
}

/// Nobody decides about a request of their own, however they are spelt.
pub(crate) fn asks_somebody_else(store: &dyn ApprovalStore) {
    let store = Asking(store);
    let clock = ManualClock::at(START);
    let request = store.pending(&pay(&clock, "{}")).id();
    let decide = |ruling: Ruling| store.decide(request, &ruling, clock.now()).unwrap_err();
    for name in ["alice", "Alice", " alice ", "ａlice"] {
        assert_eq!(
            decide(Ruling::approve(name)),
            NotDecided::OwnRequest,
            "{name}"
        );
        assert_eq!(decide(Ruling::deny(name)), NotDecided::OwnRequest, "{name}");
    }
    assert_eq!(decide(Ruling::by_caller(true)), NotDecided::OwnRequest);
    for name in ["", " ", "\u{200b}"] {
        assert_eq!(
            decide(Ruling::approve(name)),
            NotDecided::Nameless,
            "{name:?}"
        );
    }
    let unknown = ApprovalId::new().unwrap();
    let decided = store.decide(unknown, &Ruling::approve("dora"), clock.now());
    assert_eq!(decided.unwrap_err(), NotDecided::Unknown);
    assert_eq!(
        store.state(request, clock.now()),
        Some(ApprovalState::Pending)
    );
    assert_eq!(
        store.get(unknown, clock.now()).map(|request| request.id()),
        None
    );

    let of_client = Demand {
        approver: Approver::Caller,
        ..demand()
    };
    for approves in [true, false] {
        let arguments = format!("[{approves}]");
        let call = question(&of_client, "alice", &arguments, clock.now());
        let request = store.pending(&call).id();
        let own = store.decide(request, &Ruling::approve("alice"), clock.now());
        assert_eq!(own.unwrap_err(), NotDecided::OwnRequest);
        let decided = store.decide(request, &Ruling::by_caller(approves), clock.now());
        assert_eq!(decided.unwrap().decided_by(), Some(&Decider::Caller));
        let expected = if approves { "approved" } else { "denied" };
        assert_eq!(word(&store.ask(&call)), expected);
    }
    // An operator may do so as well.
    let call = question(&of_client, "alice", "{}", clock.now());
    store.approved(&call);
}

/// What is taken back is not approved any more.
pub(crate) fn takes_back(store: &dyn ApprovalStore) {
    let store = Asking(store);
    let clock = ManualClock::at(START);
    let (waits, is_approved) = (pay(&clock, "{}"), pay(&clock, "[]"));
    let waiting = store.pending(&waits).id();
    let approved = store.approved(&is_approved);
    for (call, id) in [(&waits, waiting), (&is_approved, approved)] {
        assert!(store.cancel(id, clock.now()));
        assert!(!store.cancel(id, clock.now()));
        assert_eq!(store.state(id, clock.now()), Some(ApprovalState::Cancelled));
        assert_eq!(store.use_up(call, id), ApprovalUsed::NotApproved);
        let decided = store.decide(id, &Ruling::approve("dora"), clock.now());
        let expected = NotDecided::NotPending(ApprovalState::Cancelled);
        assert_eq!(decided.unwrap_err(), expected);
        assert_ne!(store.pending(call).id(), id);
    }
    assert!(!store.cancel(ApprovalId::new().unwrap(), clock.now()));
}

/// Values are not kept longer than they are needed.
pub(crate) fn forgets_arguments(store: &dyn ApprovalStore) {
    let store = Asking(store);
    let mut clock = ManualClock::at(START);
    let calls = ["[1]", "[2]", "[3]", "[4]", "[5]"].map(|arguments| pay(&clock, arguments));
    let ids = calls.each_ref().map(|call| store.pending(call).id());
    let [used, denied, cancelled, expired, expires_approved] = ids;
    for id in [used, expires_approved] {
        let approved = store
            .decide(id, &Ruling::approve("dora"), clock.now())
            .unwrap();
        assert!(approved.arguments().is_some());
    }
    assert_eq!(store.use_up(&calls[0], used), ApprovalUsed::Now);
    let refused = store
        .decide(denied, &Ruling::deny("dora"), clock.now())
        .unwrap();
    assert_eq!(refused.arguments(), None);
    assert!(store.cancel(cancelled, clock.now()));
    assert!(
        store
            .get(expired, clock.now())
            .unwrap()
            .arguments()
            .is_some()
    );
    clock.pass(EXPIRES);
    assert_eq!(store.list(&ApprovalState::ALL, clock.now()).len(), 5);
    for id in ids {
        assert_eq!(store.get(id, clock.now()).unwrap().arguments(), None);
    }
    for id in [expired, expires_approved] {
        assert_eq!(store.state(id, clock.now()), Some(ApprovalState::Expired));
    }
}

/// At most 20 requests of one caller are pending, and 60 begin in an hour.
pub(crate) fn bounds_each_caller(store: &dyn ApprovalStore) {
    let store = Asking(store);
    let mut clock = ManualClock::at(START);
    let ask = |clock: &ManualClock, caller: &str, number: usize| {
        let asked = store.ask(&question(
            &demand(),
            caller,
            &number.to_string(),
            clock.now(),
        ));
        word(&asked)
    };
    for number in 0..20 {
        assert_eq!(ask(&clock, "alice", number), "pending");
    }
    assert_eq!(ask(&clock, "alice", 20), "full");
    assert_eq!(ask(&clock, "alice", 7), "pending", "it is known");
    assert_eq!(ask(&clock, "bob", 20), "pending", "somebody else");
    // What is decided does not wait any more.
    let waiting = store.list(&[ApprovalState::Pending], clock.now());
    for (number, request) in (20..).zip(waiting.iter().filter(|it| it.caller() == "alice")) {
        let ruling = match number % 2 {
            0 => Ruling::approve("dora"),
            _ => Ruling::deny("dora"),
        };
        assert_eq!(ask(&clock, "alice", number), "full");
        store.decide(request.id(), &ruling, clock.now()).unwrap();
        assert_eq!(ask(&clock, "alice", number), "pending");
    }
    // Nor does what is taken back or has expired.
    for request in store.list(&[ApprovalState::Pending], clock.now()) {
        store.cancel(request.id(), clock.now());
    }
    clock.pass(Duration::from_secs(1));
    for number in 40..60 {
        assert_eq!(ask(&clock, "alice", number), "pending");
    }
    clock.pass(EXPIRES);
    assert_eq!(ask(&clock, "alice", 60), "full");
    assert_eq!(ask(&clock, "bob", 60), "pending");
    clock.pass(Duration::from_secs(3_600 - 601) - MOMENT);
    assert_eq!(ask(&clock, "alice", 60), "full");
    clock.pass(MOMENT);
    // An hour after the first forty, and a second less after the others.
    for number in 60..80 {
        assert_eq!(ask(&clock, "alice", number), "pending");
    }
}

/// At most 1 000 requests are pending in all.
pub(crate) fn bounds_all_callers(store: &dyn ApprovalStore) {
    let store = Asking(store);
    let clock = ManualClock::at(START);
    let ask = |number: usize| {
        let caller = format!("caller {}", number / 20);
        store.ask(&question(
            &demand(),
            &caller,
            &number.to_string(),
            clock.now(),
        ))
    };
    for number in 0..1_000 {
        assert_eq!(word(&ask(number)), "pending");
    }
    assert_eq!(word(&ask(1_000)), "full");
    let ApprovalAsked::Pending(one) = ask(500) else {
        panic!("it is known");
    };
    store
        .decide(one.id(), &Ruling::approve("dora"), clock.now())
        .unwrap();
    assert_eq!(word(&ask(1_000)), "pending");
    assert_eq!(word(&ask(1_001)), "full");
}
