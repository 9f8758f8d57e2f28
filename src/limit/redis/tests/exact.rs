//! Amounts that no single number of a script can hold.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::limit::testing::{ADMITTED, ManualClock, charge, quota, reservation, reserve};
use crate::policy::{Amount, CalendarUnit, LimitScope, Quota};

const MAX: u64 = Amount::MAX.millionths();

#[derive(Clone, Debug)]
enum Step {
    Charge(u64),
    GiveBack(Index),
    Max(u64),
}

/// About where something could be rounded or carried.
fn amounts() -> impl Strategy<Value = u64> {
    let edges = vec![
        0,
        1_000_000_000,
        1 << 31,
        1 << 32,
        1 << 53,
        1 << 54,
        MAX / 2,
        MAX,
    ];
    let near = (select(edges), 0_u64..3, any::<bool>());
    prop_oneof![
        3 => near.prop_map(|(edge, by, more)| match more {
            true => (edge + by).min(MAX),
            false => edge.saturating_sub(by),
        }),
        1 => 0..=MAX,
    ]
}

fn does_as_integers_do(store: &ByHand, period: Period, steps: Vec<Step>) {
    let mut clock = ManualClock::at(START);
    let mut max = MAX;
    let quota = |max| -> Arc<Quota> { quota("/a", period, max, LimitScope::Caller) };
    let mut charged: Vec<(u64, LimitReservation)> = Vec::new();
    for step in steps {
        clock.pass(Duration::from_micros(1));
        match step {
            Step::Charge(amount) => {
                let charge = charge(&quota(max), "alice", amount);
                let reservation = reservation(clock.now(), [charge]);
                let sum: u64 = charged.iter().map(|(amount, _)| amount).sum();
                let admitted = reserve(store, &reservation) == ADMITTED;
                assert_eq!(admitted, sum + amount <= max, "{sum} {amount} {max}");
                if admitted {
                    charged.push((amount, reservation));
                }
            }
            Step::GiveBack(which) if !charged.is_empty() => {
                let (_, reservation) = charged.remove(which.index(charged.len()));
                store.conclude(&reservation, LimitConclusion::NotSent, clock.now());
            }
            Step::GiveBack(_) => {}
            Step::Max(new) => max = new,
        }
    }
}

#[test]
#[ignore = "needs redis-server"]
fn amounts_are_exact_to_the_last_millionth() {
    let server = Server::start();
    let store = ByHand::of(&server);
    let step = prop_oneof![
        4 => amounts().prop_map(Step::Charge),
        1 => any::<Index>().prop_map(Step::GiveBack),
        1 => amounts().prop_map(Step::Max),
    ];
    let periods = select(vec![
        seconds(2_678_400),
        Period::Calendar(CalendarUnit::Day),
        Period::Concurrent,
    ]);
    let steps = prop::collection::vec(step, 0..60);
    let config = ProptestConfig::with_cases(300);
    proptest!(config, |(period in periods, steps in steps)| {
        server.run::<()>("FLUSHALL");
        does_as_integers_do(&store, period, steps);
    });
}

/// What is charged beyond the maximum has no end, and is given back all the same.
#[test]
#[ignore = "needs redis-server"]
fn what_is_beyond_the_maximum_is_counted() {
    let server = Server::start();
    let store = ByHand::of(&server);
    let clock = ManualClock::at(START);
    let quota = quota("/a", seconds(60), 5, LimitScope::Caller);
    let call = |amount, enforced| {
        let charge = crate::limit::LimitCharge {
            enforced,
            ..charge(&quota, "alice", amount)
        };
        let reservation = reservation(clock.now(), [charge]);
        (reserve(&store, &reservation), reservation)
    };
    assert_eq!(call(5, true).0, ADMITTED);
    let over: Vec<_> = (0..50).map(|_| call(MAX, false)).collect();
    assert!(
        over.iter()
            .all(|(answer, _)| *answer == LimitReserved::Admitted { over: Some(0) })
    );
    for (number, (_, reservation)) in over.iter().enumerate() {
        assert_ne!(call(0, true).0, ADMITTED, "{number}");
        store.conclude(reservation, LimitConclusion::NotSent, clock.now());
    }
    assert_eq!(call(0, true).0, ADMITTED);
    assert_ne!(call(1, true).0, ADMITTED);
}
