//! With so much in a window that some of it counts as one.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::limit::testing::{ManualClock, charge, quota, reservation, reserve};
use crate::limit::{LimitCharge, MemoryLimitStore};
use crate::policy::{CalendarUnit, LimitScope};

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Charge(u64, bool),
    Conclude(Index, LimitConclusion),
    Max(u64),
}

fn steps(window: u64) -> impl Strategy<Value = Vec<Step>> {
    let part = window / 32;
    let time = prop_oneof![
        8 => 0..=part / 2,
        4 => 0..=window / 8,
        1 => select(vec![0, 1, part - 1, part, part + 1, window - 1, window, window + 1]),
    ];
    let conclusions = vec![
        LimitConclusion::NotSent,
        LimitConclusion::Ended,
        LimitConclusion::BrokenOff,
    ];
    let step = prop_oneof![
        8 => time.prop_map(Step::Pass),
        10 => (0_u64..6, prop::bool::weighted(0.9)).prop_map(|(much, is)| Step::Charge(much, is)),
        2 => (any::<Index>(), select(conclusions)).prop_map(|(which, how)| Step::Conclude(which, how)),
        1 => (0_u64..400).prop_map(Step::Max),
    ];
    prop::collection::vec(step, 0..400)
}

/// The memory is compared with a log of everything by tests of its own.
#[test]
#[ignore = "needs redis-server"]
fn it_does_as_the_memory_does() {
    let server = Server::start();
    let store = ByHand::of(&server);
    let periods = select(vec![
        seconds(60),
        seconds(2_678_400),
        Period::Calendar(CalendarUnit::Minute),
        Period::Concurrent,
    ]);
    let histories = periods.prop_flat_map(|period| {
        let window = period.window().unwrap_or(Duration::from_secs(60));
        (
            Just(period),
            steps(u64::try_from(window.as_micros()).unwrap()),
        )
    });
    proptest!(ProptestConfig::with_cases(60), |((period, steps) in histories)| {
        server.run::<()>("FLUSHALL");
        let memory = MemoryLimitStore::default();
        let mut clock = ManualClock::at(START);
        let mut max = 200;
        let mut admitted = Vec::new();
        for step in steps {
            match step {
                Step::Pass(time) => clock.pass(Duration::from_micros(time)),
                Step::Charge(amount, enforced) => {
                    let quota = quota("/a", period, max, LimitScope::Caller);
                    let charge = LimitCharge { enforced, ..charge(&quota, "alice", amount) };
                    let call = reservation(clock.now(), [charge]);
                    let answer = reserve(&store, &call);
                    prop_assert_eq!(&answer, &reserve(&memory, &call));
                    if matches!(answer, LimitReserved::Admitted { .. }) {
                        admitted.push(call);
                    }
                }
                Step::Conclude(which, how) if !admitted.is_empty() => {
                    let call = admitted.remove(which.index(admitted.len()));
                    store.conclude(&call, how, clock.now());
                    memory.conclude(&call, how, clock.now());
                }
                Step::Conclude(..) => {}
                Step::Max(new) => max = new,
            }
        }
    });
}
