use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use allocation_counter::measure;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::limit::testing::contract;
use crate::limit::testing::{
    ADMITTED, ManualClock, charge, of_session, quota, reservation, reserve, seconds,
};
use crate::policy::{Amount, LimitScope, Quota};

const START: &str = "2026-11-25T04:59:00Z";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn it_does_as_a_log_of_everything(history in contract::histories(400)) {
        contract::does_as_a_log(&MemoryLimitStore::default(), history);
    }

    /// Some of them do not come to where anything is merged.
    #[test]
    fn a_short_history_is_exact(history in contract::histories(60)) {
        contract::does_as_a_log(&MemoryLimitStore::default(), history);
    }

    #[test]
    fn sessions_gain_nothing(
        period in select(vec![seconds(60), Period::Concurrent]),
        history in contract::farming(200),
    ) {
        contract::gains_nothing_by_sessions(&MemoryLimitStore::default(), period, history);
    }
}

#[test]
fn budgets_are_told_apart() {
    contract::tells_budgets_apart(&MemoryLimitStore::default());
}

#[test]
fn all_is_charged_or_nothing() {
    contract::charges_all_or_none(&MemoryLimitStore::default());
}

#[test]
fn calendar_windows_go_by_the_clock_of_the_world() {
    contract::keeps_the_calendar(&MemoryLimitStore::default());
}

#[test]
fn a_state_is_used_once() {
    contract::uses_each_state_once(&[&MemoryLimitStore::default()]);
}

/// However the clock of the world is turned.
#[test]
fn rolling_windows_do_not_go_by_the_clock_of_the_world() {
    let store = MemoryLimitStore::default();
    let mut clock = ManualClock::at(START);
    let minute = quota("/a", seconds(60), 1, LimitScope::Caller);
    let call = |clock: &ManualClock| {
        reserve(
            &store,
            &reservation(clock.now(), [charge(&minute, "alice", 1)]),
        )
    };
    assert_eq!(call(&clock), ADMITTED);
    for hours in [5, -10] {
        clock.step(hours * 3_600_000_000);
        let retry_after = Some(Duration::from_secs(60));
        let refused = LimitReserved::Exceeded {
            charge: 0,
            retry_after,
        };
        assert_eq!(call(&clock), refused);
    }
    clock.pass(Duration::from_secs(60));
    assert_eq!(call(&clock), ADMITTED);
}

/// A request that was held up after it had read the clock is charged when it comes.
#[test]
fn who_comes_late_turns_no_clock_back() {
    let store = MemoryLimitStore::default();
    let mut clock = ManualClock::at(START);
    let quota = quota("/a", seconds(1), 1, LimitScope::Caller);
    let call = |at| reserve(&store, &reservation(at, [charge(&quota, "alice", 1)]));
    let early = clock.now();
    // What is elapsed is counted from what comes first.
    let first = reservation(early, [charge(&quota, "bob", 1)]);
    assert_eq!(reserve(&store, &first), ADMITTED);
    clock.pass(Duration::from_millis(1_500));
    assert_eq!(call(clock.now()), ADMITTED);
    let held_up = call(early);
    assert_ne!(held_up, ADMITTED);
    clock.pass(Duration::from_millis(999));
    assert_ne!(call(clock.now()), ADMITTED);
    clock.pass(Duration::from_millis(1));
    assert_eq!(call(clock.now()), ADMITTED);
}

fn racing(threads: usize, calls: usize, weights: &[u64]) {
    let store = MemoryLimitStore::default();
    let clock = ManualClock::at(START);
    let max = 5_000;
    let short = quota("/short", seconds(60), max, LimitScope::Caller);
    let of_all = quota("/all", seconds(3_600), 6 * max, LimitScope::Server);
    let under_way = quota("/under_way", Period::Concurrent, 3, LimitScope::Caller);
    let callers = ["a", "b", "c", "d"];
    let admitted: [AtomicU64; 4] = Default::default();
    let at_once: [AtomicU64; 4] = Default::default();
    let origin = clock.now().instant;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (store, clock, quotas) = (&store, clock, [&of_all, &short, &under_way]);
            let (admitted, at_once) = (&admitted, &at_once);
            scope.spawn(move || {
                for call in 0..calls {
                    let who = (thread + call) % callers.len();
                    let amount = weights[(thread * 7 + call) % weights.len()];
                    let mut charges = quotas.map(|quota| charge(quota, callers[who], amount));
                    charges[2].amount = Amount::from_millionths(1);
                    // Nobody agrees about the order of things.
                    if thread % 2 == 0 {
                        charges.reverse();
                    }
                    let mut now = clock.now();
                    now.instant = origin + Duration::from_micros((call % 1_000) as u64);
                    let reservation = reservation(now, charges);
                    if let LimitReserved::Admitted { .. } = reserve(store, &reservation) {
                        assert!(at_once[who].fetch_add(1, Ordering::SeqCst) < 3);
                        admitted[who].fetch_add(amount, Ordering::SeqCst);
                        at_once[who].fetch_sub(1, Ordering::SeqCst);
                        let given_back = call % 3 == 0;
                        if given_back {
                            admitted[who].fetch_sub(amount, Ordering::SeqCst);
                        }
                        let conclusion = if given_back {
                            LimitConclusion::NotSent
                        } else {
                            LimitConclusion::Ended
                        };
                        store.conclude(&reservation, conclusion, now);
                    }
                    let counted = admitted[who].load(Ordering::SeqCst);
                    assert!(counted <= max, "{counted}");
                }
            });
        }
    });
    // What nobody used is still there, and not one more.
    let mut now = clock.now();
    now.instant = origin + Duration::from_millis(1);
    for (who, caller) in callers.iter().enumerate() {
        let left = max - admitted[who].load(Ordering::SeqCst);
        let call = |amount| reserve(&store, &reservation(now, [charge(&short, caller, amount)]));
        assert_ne!(call(left + 1), ADMITTED);
        assert_eq!(call(left), ADMITTED);
    }
    assert!(
        store
            .usage_now(&LimitFilter::default().place("/under_way"), now, 9)
            .is_empty()
    );
}

#[test]
fn nothing_is_admitted_twice_under_load() {
    racing(64, 500, &[1]);
    racing(64, 500, &[1, 2, 3, 5, 100]);
}

#[test]
#[ignore = "long; .ci/run full"]
fn nothing_is_admitted_twice_under_load_for_long() {
    racing(64, 10_000, &[1]);
    racing(64, 10_000, &[1, 2, 3, 5, 100]);
}

/// On one key, and without anything being given back.
#[test]
fn what_is_admitted_is_the_most_and_not_one_more() {
    let store = MemoryLimitStore::default();
    let clock = ManualClock::at(START);
    let quota = quota("/a", seconds(60), 1_000, LimitScope::Caller);
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    let call = reservation(clock.now(), [charge(&quota, "alice", 1)]);
                    if reserve(&store, &call) == ADMITTED {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 1_000);
}

#[test]
fn only_what_has_expired_makes_room() {
    let store = MemoryLimitStore::default().max_budgets(100);
    let mut clock = ManualClock::at(START);
    let quota = quota("/a", seconds(60), 1, LimitScope::Caller);
    let call = |clock: &ManualClock, caller: usize| {
        let charge = charge(&quota, &caller.to_string(), 1);
        reserve(&store, &reservation(clock.now(), [charge]))
    };
    for caller in 0..100 {
        assert_eq!(call(&clock, caller), ADMITTED);
    }
    assert_eq!(call(&clock, 100), LimitReserved::Full);
    // Those that have one are not affected.
    assert!(matches!(call(&clock, 7), LimitReserved::Exceeded { .. }));
    clock.pass(Duration::from_secs(59));
    assert_eq!(call(&clock, 100), LimitReserved::Full);
    assert_eq!(
        store
            .usage_now(&LimitFilter::default(), clock.now(), 1_000)
            .len(),
        100
    );
    clock.pass(Duration::from_secs(1));
    // Each finds room where it looks, sooner or later.
    let admitted = (1_000..2_000).filter(|caller| call(&clock, *caller) == ADMITTED);
    assert_eq!(admitted.count(), 100);
    assert_eq!(store.budgets.load(Ordering::Relaxed), 100);
}

#[test]
fn one_caller_does_not_fill_it() {
    let store = MemoryLimitStore::default().max_budgets_per_caller(5);
    let mut clock = ManualClock::at(START);
    let call = |clock: &ManualClock, caller: &str, place: usize| {
        let quota = quota(&format!("/{place}"), seconds(60), 1, LimitScope::Caller);
        reserve(
            &store,
            &reservation(clock.now(), [charge(&quota, caller, 1)]),
        )
    };
    for place in 0..5 {
        assert_eq!(call(&clock, "alice", place), ADMITTED);
        assert_eq!(
            call(&clock, "alice", place + 10),
            if place < 4 {
                ADMITTED
            } else {
                LimitReserved::Full
            }
        );
        if place == 1 {
            break;
        }
    }
    assert_eq!(call(&clock, "alice", 20), ADMITTED);
    assert_eq!(call(&clock, "alice", 21), LimitReserved::Full);
    assert_eq!(call(&clock, "bob", 21), ADMITTED);
    clock.pass(Duration::from_secs(60));
    assert_eq!(call(&clock, "alice", 21), ADMITTED);
}

/// What is only tried leaves room for what is enforced: of one caller's, and of all.
#[test]
fn what_is_only_tried_takes_half_of_the_room() {
    for store in [
        MemoryLimitStore::default().max_budgets_per_caller(10),
        MemoryLimitStore::default().max_budgets(10),
    ] {
        contract::leaves_room_for_what_is_enforced(&store, 10);
    }
}

/// Budgets of sessions are budgets, too.
#[test]
fn sessions_do_not_fill_it() {
    let store = MemoryLimitStore::default().max_budgets_per_caller(10);
    let clock = ManualClock::at(START);
    let quota = Quota::new("", "/a", seconds(60), Amount::ONE, LimitScope::Session);
    let quota = Arc::new(quota.with_sessions(u32::MAX));
    let call = |session: usize| {
        let charge = charge(&quota, "alice", 1_000_000);
        let charge = of_session(charge, &session.to_string());
        reserve(&store, &reservation(clock.now(), [charge]))
    };
    // One is that of everything that has no session.
    let admitted = (0..100).filter(|session| call(*session) == ADMITTED);
    assert_eq!(admitted.count(), 9);
    assert_eq!(call(100), LimitReserved::Full);
}

/// Also once the policy was read again, so that no quota is the very one that was charged.
#[test]
fn each_budget_is_found_however_many_there_are() {
    let store = MemoryLimitStore::default();
    let clock = ManualClock::at(START);
    for count in [1, 3, 8, 9, 30] {
        let caller = format!("caller of {count}");
        let quota_of = |number: u64| {
            let scope = [LimitScope::Server, LimitScope::Caller, LimitScope::Caller];
            let scope = scope[usize::try_from(number % 3).unwrap()];
            quota(
                &format!("/{count}/{number}"),
                seconds(60),
                number + 2,
                scope,
            )
        };
        let call = |quotas: &[Arc<Quota>]| {
            let charges = quotas.iter().map(|quota| charge(quota, &caller, 1));
            reserve(&store, &reservation(clock.now(), charges))
        };
        let all: Vec<_> = (0..count).map(quota_of).collect();
        for _ in 0..2 {
            assert_eq!(call(&all), ADMITTED);
        }
        for number in 0..count {
            for _ in 0..number {
                assert_eq!(call(&[quota_of(number)]), ADMITTED, "{number} of {count}");
            }
            assert_ne!(call(&[quota_of(number)]), ADMITTED, "{number} of {count}");
        }
        let exceeded = call(&all);
        assert!(matches!(
            exceeded,
            LimitReserved::Exceeded { charge: 0, .. }
        ));
    }
    let usage = store.usage_now(&LimitFilter::default(), clock.now(), 1_000);
    assert_eq!(usage.len(), 1 + 3 + 8 + 9 + 30);
    assert!(usage.iter().all(|budget| budget.used() == budget.max()));
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let store = MemoryLimitStore::default();
    let clock = ManualClock::at(START);
    let (none, some) = (
        quota("/none", seconds(60), 0, LimitScope::Caller),
        quota("/some", seconds(60), 9, LimitScope::Caller),
    );
    let refused = reservation(
        clock.now(),
        [charge(&some, "alice", 1), charge(&none, "alice", 1)],
    );
    assert_ne!(reserve(&store, &refused), ADMITTED);
    let nothing = reservation(
        clock.now(),
        [charge(&some, "alice", 0), charge(&none, "alice", 0)],
    );
    assert_eq!(reserve(&store, &nothing), ADMITTED);
    assert_eq!(store.budgets.load(Ordering::Relaxed), 0);
}

#[test]
fn what_is_counted_can_be_seen_and_forgotten() {
    let store = MemoryLimitStore::default();
    let mut clock = ManualClock::at(START);
    let calls = quota("/calls", seconds(60), 5_000_000, LimitScope::Session);
    let of_all = quota("/all", seconds(60), 9_000_000, LimitScope::Server);
    let under_way = quota(
        "/under_way",
        Period::Concurrent,
        3_000_000,
        LimitScope::Caller,
    );
    let mut reservations = Vec::new();
    for caller in ["alice", "bob"] {
        let charges = [
            of_session(charge(&calls, caller, 1_000_000), "s"),
            charge(&of_all, caller, 2_500_000),
            charge(&under_way, caller, 1_000_000),
        ];
        let call = reservation(clock.now(), charges);
        assert_eq!(reserve(&store, &call), ADMITTED);
        reservations.push(call);
        clock.pass(Duration::from_secs(20));
    }
    let usage = |filter: &LimitFilter| store.usage_now(filter, clock.now(), 100);
    let all = usage(&LimitFilter::default());
    assert_eq!(all.len(), 5);
    let alice = LimitFilter::default().caller("alice").server("server");
    let of_alice = usage(&alice.clone().place("/calls").policy("policy"));
    let [one] = of_alice.as_slice() else {
        panic!("{of_alice:?}");
    };
    assert_eq!((one.caller(), one.session()), (Some("alice"), Some("s")));
    assert_eq!(
        (one.used(), one.max().to_string()),
        (Amount::ONE, "5".to_owned())
    );
    assert_eq!(one.free_in(), Some(Duration::from_secs(20)));
    let of_all = usage(&LimitFilter::default().place("/all"));
    assert_eq!(of_all[0].used().to_string(), "5");
    assert_eq!(of_all[0].caller(), None);
    assert_eq!(usage(&alice.clone().place("/under_way"))[0].free_in(), None);
    assert_eq!(
        store
            .usage_now(&LimitFilter::default(), clock.now(), 2)
            .len(),
        2
    );
    for filter in [alice.clone().server("other"), alice.clone().policy("other")] {
        assert_eq!(usage(&filter), []);
        store.reset_now(&filter, clock.now());
        assert_eq!(usage(&LimitFilter::default()).len(), 5);
    }

    store.reset_now(&alice, clock.now());
    // What is under way is.
    assert_eq!(usage(&alice).len(), 1);
    assert_eq!(usage(&LimitFilter::default().caller("bob")).len(), 2);
    let again = reservation(clock.now(), [charge(&calls, "alice", 5_000_000)]);
    assert_eq!(reserve(&store, &again), ADMITTED);
    // What was forgotten is not given back once more.
    for call in &reservations {
        store.conclude(call, LimitConclusion::NotSent, clock.now());
    }
    let of_alice = usage(&alice);
    assert_eq!(of_alice.len(), 1);
    assert_eq!(of_alice[0].used().to_string(), "5");
}

/// What a budget takes, of each kind and size.
fn bytes_of_a_budget(quota: &Arc<Quota>, charges: u64) -> u64 {
    let callers = 10_000_u64;
    let mut store = None;
    let clock = ManualClock::at(START);
    let allocated = measure(|| {
        let filled = MemoryLimitStore::default();
        for number in 0..callers * charges {
            // Thirteen letters, as a name would have.
            let caller = format!("caller-{:06}", number % callers);
            let mut at = clock.now();
            at.instant += Duration::from_millis(number / callers * 1_750);
            let call = reservation(at, [charge(quota, &caller, 1)]);
            assert_eq!(reserve(&filled, &call), ADMITTED);
        }
        store = Some(filled);
    });
    drop(store);
    u64::try_from(allocated.bytes_current).unwrap() / callers
}

#[test]
fn a_budget_takes_few_bytes() {
    let quota = quota("/a", seconds(60), 1_000, LimitScope::Caller);
    let bytes = [1, 10, 33, 40].map(|charges| bytes_of_a_budget(&quota, charges));
    println!("bytes of a budget with 1, 10, 33 and more charges: {bytes:?}");
    assert!(bytes[1] <= 200, "{bytes:?}");
    assert!(bytes[3] <= 1_200, "{bytes:?}");
}

#[test]
fn nothing_is_allocated_once_a_budget_is_there() {
    let store = MemoryLimitStore::default();
    let mut clock = ManualClock::at(START);
    let quotas = [
        quota("/minute", seconds(60), 1_000, LimitScope::Caller),
        quota("/hour", seconds(3_600), 1_000_000, LimitScope::Caller),
        quota("/all", seconds(3_600), 1_000_000, LimitScope::Server),
        quota("/under_way", Period::Concurrent, 2, LimitScope::Caller),
    ];
    let mut call = |time| {
        clock.pass(Duration::from_millis(time));
        let charges = quotas.each_ref().map(|quota| charge(quota, "alice", 1));
        let call = reservation(clock.now(), charges);
        let now = clock.now();
        measure(|| {
            assert!(matches!(
                reserve(&store, &call),
                LimitReserved::Admitted { .. }
            ));
            store.conclude(&call, LimitConclusion::Ended, now);
        })
        .count_total
    };
    // Until all parts of all windows were there once.
    for _ in 0..200 {
        call(1_000);
    }
    let allocations: u64 = (0..1_000).map(|_| call(700)).sum();
    assert_eq!(allocations, 0);
}
