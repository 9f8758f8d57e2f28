use std::sync::Arc;
use std::time::Duration;

use super::testing::{
    ADMITTED, ManualClock, charge, of_session, quota, reservation, reserve, reset, seconds, usage,
};
use super::window::{Budget, Reading};
use super::{
    LimitCharge, LimitConclusion, LimitFilter, LimitReservation, LimitReserved, LimitStore,
    LimitUsage, MemoryLimitStore,
};
use crate::clock::Moment;
use crate::policy::{Amount, CalendarUnit, LimitScope, Period, Quota};
use crate::store::StoreAnswer;

/// A minute before the next hour.
const START: &str = "2026-11-25T04:59:00Z";

fn of_sessions(place: &str, sessions: u32) -> Arc<Quota> {
    let max = Amount::from_millionths(9);
    let quota = Quota::new("policy", place, seconds(60), max, LimitScope::Session);
    Arc::new(quota.with_sessions(sessions))
}

fn at(elapsed: u64) -> Reading {
    Reading {
        elapsed,
        system: elapsed,
    }
}

/// What is counted for whom.
fn counted(budget: &mut Budget, quota: &Quota, now: Reading) -> Vec<(Option<String>, u64)> {
    let counters = budget.counters();
    counters
        .map(|(session, counter)| {
            let used = counter.used(quota.period(), now).millionths();
            (session.map(str::to_owned), used)
        })
        .collect()
}

#[test]
fn only_what_was_not_sent_is_given_back() {
    for period in [seconds(60), Period::Calendar(CalendarUnit::Minute)] {
        let quota = quota("/a", period, 9, LimitScope::Caller);
        let mut budget = Budget::new(&quota);
        let one = charge(&quota, "alice", 3);
        for now in [at(1), at(2)] {
            budget.charge(&one, now, now);
        }
        for conclusion in [LimitConclusion::Ended, LimitConclusion::BrokenOff] {
            budget.conclude(&one, at(1), conclusion, at(3));
            assert_eq!(counted(&mut budget, &quota, at(3)), [(None, 6)]);
        }
        budget.conclude(&one, at(1), LimitConclusion::NotSent, at(3));
        assert_eq!(counted(&mut budget, &quota, at(3)), [(None, 3)]);
    }
}

#[test]
fn what_a_session_gives_back_is_taken_from_nobody_else() {
    let quota = of_sessions("/a", 3);
    let mut budget = Budget::new(&quota);
    let without = charge(&quota, "alice", 2);
    let within = of_session(charge(&quota, "alice", 3), "s");
    for one in [&without, &within] {
        budget.charge(one, at(1), at(1));
    }
    budget.conclude(&within, at(1), LimitConclusion::NotSent, at(2));
    let own = (Some("s".to_owned()), 0);
    assert_eq!(counted(&mut budget, &quota, at(2)), [(None, 2), own]);
}

/// After somebody has edited the policy.
#[test]
fn sessions_beyond_the_most_have_no_budget_of_their_own_any_more() {
    let (three, two) = (of_sessions("/a", 3), of_sessions("/a", 2));
    let mut budget = Budget::new(&three);
    for (quota, session) in [(&three, "s"), (&three, "t"), (&two, "s"), (&two, "t")] {
        let one = of_session(charge(quota, "alice", 1), session);
        assert_eq!(budget.growth(&one), usize::from(Arc::ptr_eq(quota, &three)));
        budget.charge(&one, at(1), at(1));
    }
    let own = [("s", 2), ("t", 1)].map(|(session, used)| (Some(session.to_owned()), used));
    let [first, second] = own;
    assert_eq!(
        counted(&mut budget, &two, at(1)),
        [(None, 1), first, second]
    );
    // What uses up nothing has none either.
    let nothing = of_session(charge(&three, "alice", 0), "u");
    assert_eq!(budget.growth(&nothing), 0);
}

#[test]
fn a_session_takes_room_if_it_has_a_budget_of_its_own() {
    let clock = ManualClock::at(START);
    let call = |store: &MemoryLimitStore, quota: &Arc<Quota>, session: Option<&str>| {
        let one = charge(quota, "alice", 1);
        let one = match session {
            Some(session) => of_session(one, session),
            None => one,
        };
        reserve(store, &reservation(clock.now(), [one]))
    };
    let with_room_for = |budgets| MemoryLimitStore::default().max_budgets(budgets);
    let four = of_sessions("/a", 4);
    assert_eq!(call(&with_room_for(1), &four, None), ADMITTED);
    assert_eq!(
        call(&with_room_for(1), &of_sessions("/a", 1), Some("s")),
        ADMITTED
    );
    assert_eq!(
        call(&with_room_for(1), &four, Some("s")),
        LimitReserved::Full
    );
    let store = with_room_for(2);
    assert_eq!(call(&store, &four, Some("s")), ADMITTED);
    assert_eq!(call(&store, &four, Some("s")), ADMITTED);
    assert_eq!(call(&store, &four, None), ADMITTED);
    assert_eq!(call(&store, &four, Some("t")), LimitReserved::Full);
    // Of all callers together there is one budget, whoever calls.
    let of_all = quota("/a", seconds(60), 9, LimitScope::Server);
    assert_eq!(call(&with_room_for(1), &of_all, None), ADMITTED);
}

/// Also if several are made at once.
#[test]
fn all_budgets_of_a_call_need_room() {
    let clock = ManualClock::at(START);
    let quotas = ["/a", "/b", "/c"].map(|place| quota(place, seconds(60), 9, LimitScope::Caller));
    let call = |store: &MemoryLimitStore| {
        let charges = quotas.each_ref().map(|quota| charge(quota, "alice", 1));
        reserve(store, &reservation(clock.now(), charges))
    };
    assert_eq!(
        call(&MemoryLimitStore::default().max_budgets(2)),
        LimitReserved::Full
    );
    assert_eq!(call(&MemoryLimitStore::default().max_budgets(3)), ADMITTED);
    let of_one = |most| MemoryLimitStore::default().max_budgets_per_caller(most);
    assert_eq!(call(&of_one(2)), LimitReserved::Full);
    assert_eq!(call(&of_one(3)), ADMITTED);
}

#[test]
fn budgets_of_all_callers_together_are_no_callers() {
    let clock = ManualClock::at(START);
    let store = MemoryLimitStore::default().max_budgets_per_caller(1);
    for place in ["/a", "/b", "/c"] {
        let of_all = quota(place, seconds(60), 9, LimitScope::Server);
        let call = reservation(clock.now(), [charge(&of_all, "alice", 1)]);
        assert_eq!(reserve(&store, &call), ADMITTED);
    }
}

/// However many others there are, in all of which nothing has expired.
#[test]
fn what_has_expired_of_a_caller_makes_room_for_that_caller() {
    let store = MemoryLimitStore::default().max_budgets_per_caller(1);
    let mut clock = ManualClock::at(START);
    let call = |clock: &ManualClock, place: &str, window: u64, caller: &str| {
        let quota = quota(place, seconds(window), 1, LimitScope::Caller);
        reserve(
            &store,
            &reservation(clock.now(), [charge(&quota, caller, 1)]),
        )
    };
    let callers = |kind: &'static str, count: usize| (0..count).map(move |n| format!("{kind}{n}"));
    for caller in callers("patient", 30_000) {
        assert_eq!(call(&clock, "/day", 86_400, &caller), ADMITTED);
    }
    for caller in callers("hasty", 30) {
        assert_eq!(call(&clock, "/a", 60, &caller), ADMITTED);
        assert_eq!(call(&clock, "/b", 60, &caller), LimitReserved::Full);
    }
    clock.pass(Duration::from_secs(60));
    for caller in callers("hasty", 30) {
        assert_eq!(call(&clock, "/b", 60, &caller), ADMITTED, "{caller}");
    }
}

#[test]
fn what_is_under_way_takes_room_until_it_has_ended() {
    let mut clock = ManualClock::at(START);
    let one = quota("/one", Period::Concurrent, 1, LimitScope::Caller);
    let other = quota("/other", seconds(60), 1, LimitScope::Caller);
    for (conclusion, lease) in [
        (LimitConclusion::Ended, 0),
        (LimitConclusion::BrokenOff, 60),
    ] {
        let store = MemoryLimitStore::default().max_budgets(1);
        let call = |clock: &ManualClock, quota| {
            let call = reservation(clock.now(), [charge(quota, "alice", 1)]);
            (reserve(&store, &call), call)
        };
        let (answer, under_way) = call(&clock, &one);
        assert_eq!(answer, ADMITTED);
        clock.pass(Duration::from_secs(1_000));
        assert_eq!(call(&clock, &other).0, LimitReserved::Full);
        store.conclude(&under_way, conclusion, clock.now());
        if lease > 0 {
            clock.pass(Duration::from_secs(lease - 1));
            assert_eq!(call(&clock, &other).0, LimitReserved::Full);
            clock.pass(Duration::from_secs(1));
        }
        assert_eq!(call(&clock, &other).0, ADMITTED, "{conclusion:?}");
    }
}

/// Of everything that is counted: the place, how much, and when it is free.
fn seen(store: &MemoryLimitStore, now: Moment) -> Vec<(String, u64, Option<u64>)> {
    let mut seen: Vec<_> = usage(store, &LimitFilter::default(), now, 100)
        .iter()
        .map(|usage| {
            let free_in = usage.free_in().map(|wait| wait.as_secs());
            (usage.place().to_owned(), usage.used().millionths(), free_in)
        })
        .collect();
    seen.sort();
    seen
}

#[test]
fn every_kind_of_limit_can_be_seen_and_forgotten() {
    let store = MemoryLimitStore::default();
    let mut clock = ManualClock::at(START);
    let hourly = quota(
        "/hourly",
        Period::Calendar(CalendarUnit::Hour),
        9,
        LimitScope::Caller,
    );
    let under_way = quota("/under_way", Period::Concurrent, 9, LimitScope::Caller);
    let call = |clock: &ManualClock, amount| {
        let charges = [&hourly, &under_way].map(|quota| charge(quota, "alice", amount));
        let call = reservation(clock.now(), charges);
        assert_eq!(reserve(&store, &call), ADMITTED);
        call
    };
    let of = |place: &str, used, free_in| (place.to_owned(), used, free_in);
    let (first, second) = (call(&clock, 2), call(&clock, 3));
    store.conclude(&first, LimitConclusion::BrokenOff, clock.now());
    clock.pass(Duration::from_secs(10));
    assert_eq!(
        seen(&store, clock.now()),
        [of("/hourly", 5, Some(50)), of("/under_way", 5, None)]
    );
    store.conclude(&second, LimitConclusion::Ended, clock.now());
    assert_eq!(
        seen(&store, clock.now()),
        [of("/hourly", 5, Some(50)), of("/under_way", 2, Some(50))]
    );
    reset(&store, &LimitFilter::default(), clock.now());
    assert_eq!(seen(&store, clock.now()), []);
    clock.pass(Duration::from_secs(60));
    call(&clock, 4);
    assert_eq!(
        seen(&store, clock.now()),
        [of("/hourly", 4, Some(3_590)), of("/under_way", 4, None)]
    );
}

#[test]
fn usage_tells_what_it_is_of() {
    let store = MemoryLimitStore::default();
    let mut clock = ManualClock::at(START);
    let call = |clock: &ManualClock, max| {
        let quota = quota("/a", seconds(60), max, LimitScope::Caller);
        reserve(
            &store,
            &reservation(clock.now(), [charge(&quota, "alice", 1)]),
        )
    };
    assert_eq!(call(&clock, 5), ADMITTED);
    clock.pass(Duration::from_secs(20));
    // The policy says something else by now.
    assert_eq!(call(&clock, 7), ADMITTED);
    let all_used = usage(&store, &LimitFilter::default(), clock.now(), 9);
    let [used] = all_used.as_slice() else {
        panic!("{all_used:?}");
    };
    let told = LimitUsage::new(
        "server",
        &quota("/a", seconds(60), 7, LimitScope::Caller),
        used.used(),
    );
    let told = told.of_caller("alice").until_free(Duration::from_secs(60));
    assert_eq!(*used, told);
    assert_eq!((used.server(), used.policy()), ("server", "policy"));
    assert_eq!((used.place(), used.caller()), ("/a", Some("alice")));
    assert_eq!(used.session(), None);
    let amounts = (used.used().millionths(), used.max().millionths());
    assert_eq!(amounts, (2, 7));
    assert_eq!(used.free_in(), Some(Duration::from_secs(60)));

    let meant = |filter: LimitFilter| {
        let found = usage(&store, &filter, clock.now(), 9).len();
        assert_eq!(filter.includes(used), found == 1, "{filter:?}");
        found
    };
    let all = LimitFilter::default;
    for (this, other) in [
        (all().server("server"), all().server("serve")),
        (all().policy("policy"), all().policy("")),
        (all().place("/a"), all().place("/b")),
        (all().caller("alice"), all().caller("bob")),
    ] {
        assert_eq!((meant(this), meant(other.clone())), (1, 0), "{other:?}");
    }
    clock.pass(Duration::from_secs(60));
    assert_eq!(usage(&store, &all(), clock.now(), 9), []);
}

#[test]
fn a_call_by_one_budget_twice_makes_one() {
    let store = MemoryLimitStore::default().max_budgets(2);
    let clock = ManualClock::at(START);
    let quota = quota("/a", seconds(60), 100, LimitScope::Caller);
    let call = |caller| {
        reserve(
            &store,
            &reservation(clock.now(), [charge(&quota, caller, 1)]),
        )
    };
    for _ in 0..5 {
        assert_eq!(call("alice"), ADMITTED);
    }
    assert_eq!(call("bob"), ADMITTED);
    assert_eq!(call("carol"), LimitReserved::Full);
}

/// Remembers nothing but what it is asked.
#[derive(Default)]
struct Durable(std::sync::Mutex<Vec<&'static str>>);

impl LimitStore for Durable {
    fn reserve(&self, _: &LimitReservation) -> StoreAnswer<LimitReserved> {
        self.0.lock().unwrap().push("reserve");
        StoreAnswer::known(LimitReserved::Full)
    }

    fn conclude(&self, _: &LimitReservation, _: LimitConclusion, _: Moment) {
        self.0.lock().unwrap().push("conclude");
    }

    fn outlives_process(&self) -> bool {
        true
    }
}

#[test]
fn a_store_that_is_shared_is_the_store() {
    let clock = ManualClock::at(START);
    let durable = Arc::new(Durable::default());
    let shared: &dyn LimitStore = &Arc::clone(&durable);
    let call = reservation(clock.now(), []);
    assert_eq!(reserve(shared, &call), LimitReserved::Full);
    shared.conclude(&call, LimitConclusion::Ended, clock.now());
    assert_eq!(*durable.0.lock().unwrap(), ["reserve", "conclude"]);
    assert!(shared.outlives_process());
    let forgets: &dyn LimitStore = &Arc::new(MemoryLimitStore::default());
    assert!(!forgets.outlives_process());
}

#[test]
fn a_reservation_tells_a_store_everything() {
    let clock = ManualClock::at(START);
    let own = of_sessions("/a", 2);
    let tried = LimitCharge {
        enforced: false,
        ..of_session(charge(&own, "alice", 3), "s")
    };
    let of_all = charge(&quota("/b", seconds(1), 4, LimitScope::Server), "alice", 5);
    let one = reservation(clock.now(), [tried, of_all]);
    let two = reservation(clock.now(), []);
    assert_ne!(one.id(), two.id());
    assert_eq!(&**one.server(), "server");
    assert_eq!(one.at(), clock.now());
    let told: Vec<_> = one
        .charges()
        .iter()
        .map(|charge| {
            let caller = charge.caller().map(|caller| &**caller);
            let whose = (caller, charge.session());
            let amount = charge.amount().millionths();
            (charge.quota().place(), whose, amount, charge.is_enforced())
        })
        .collect();
    let expected = [
        ("/a", (Some("alice"), Some("s")), 3, false),
        ("/b", (None, None), 5, true),
    ];
    assert_eq!(told, expected);
}
