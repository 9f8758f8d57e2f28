//! What every store has to do, whatever it is made of.
//!
//! A store whose windows go by the clock of the world has to do this while that
//! goes on evenly.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::naive::Naive;
use super::{ADMITTED, ManualClock, ask, charge, of_session, quota, reservation, reserve, seconds};
use crate::limit::{
    LimitCharge, LimitConclusion, LimitReservation, LimitReserved, LimitStore, StateId,
};
use crate::policy::{Amount, LimitScope, Period, Quota};
#[cfg(any(feature = "redis", feature = "sqlite"))]
use crate::rounds::{self, Parties, RequestStateKeys, Round, State};

const START: &str = "2028-02-28T23:59:30Z";
const MINUTE: u64 = 60_000_000;
const CALLERS: [&str; 3] = ["alice", "bob", "alic"];

/// Something that happens to a store.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Pass(u64),
    /// A call of a caller, which counts so much of each quota, and is enforced or
    /// not.
    Call {
        caller: &'static str,
        amounts: [u64; 3],
        enforced: [bool; 3],
    },
    /// What was refused last is tried again, as soon as it was said.
    Again,
    GiveBack(Index),
    Max(usize, u64),
}

fn time() -> impl Strategy<Value = u64> {
    let part = MINUTE / 32;
    prop_oneof![
        6 => 0..=part,
        3 => 0..=MINUTE / 4,
        1 => select(vec![0, 1, part - 1, part, part + 1]),
        1 => select(vec![MINUTE - 1, MINUTE, MINUTE + 1, 60 * MINUTE]),
    ]
}

/// Things that happen one after the other.
pub(crate) fn histories(longest: usize) -> impl Strategy<Value = Vec<Step>> {
    let enforced = prop_oneof![6 => Just([true; 3]), 1 => any::<[bool; 3]>()];
    let call = (
        select(CALLERS.to_vec()),
        [0_u64..4, 0_u64..9, 0_u64..4],
        enforced,
    );
    let call = call.prop_map(|(caller, amounts, enforced)| Step::Call {
        caller,
        amounts,
        enforced,
    });
    let step = prop_oneof![
        8 => time().prop_map(Step::Pass),
        12 => call,
        1 => Just(Step::Again),
        2 => any::<Index>().prop_map(Step::GiveBack),
        1 => (0_usize..3, 0_u64..120).prop_map(|(quota, max)| Step::Max(quota, max)),
    ];
    prop::collection::vec(step, 0..longest)
}

/// A store, and everything that was charged.
struct Compared<'a> {
    store: &'a dyn LimitStore,
    clock: ManualClock,
    /// Microseconds since it began, which is when nothing can be too early.
    now: u64,
    periods: [(Period, LimitScope); 3],
    max: [u64; 3],
    logs: BTreeMap<(usize, &'static str), Naive>,
    admitted: Vec<(u64, &'static str, LimitReservation)>,
    refused: Option<(Duration, &'static str, [u64; 3])>,
}

/// Lets a store do what it is asked to, and compares what it says with a log of
/// everything.
pub(crate) fn does_as_a_log(store: &dyn LimitStore, history: Vec<Step>) {
    let mut compared = Compared {
        store,
        clock: ManualClock::at(START),
        now: 1_000 * MINUTE,
        periods: [
            (seconds(60), LimitScope::Caller),
            (seconds(3_600), LimitScope::Caller),
            (seconds(60), LimitScope::Server),
        ],
        max: [12, 40, 30],
        logs: BTreeMap::new(),
        admitted: Vec::new(),
        refused: None,
    };
    for step in history {
        match step {
            Step::Pass(time) => compared.pass(time),
            Step::Call {
                caller,
                amounts,
                enforced,
            } => compared.call(caller, amounts, enforced),
            Step::Again => {
                if let Some((wait, caller, amounts)) = compared.refused.take() {
                    compared.pass(wait.as_micros().try_into().unwrap());
                    compared.call(caller, amounts, [true; 3]);
                    assert!(compared.refused.is_none(), "again too early");
                }
            }
            Step::GiveBack(which) => compared.give_back(which),
            Step::Max(quota, max) => {
                compared.max[quota] = max;
                compared.refused = None;
            }
        }
    }
}

impl Compared<'_> {
    fn pass(&mut self, time: u64) {
        self.clock.pass(Duration::from_micros(time));
        self.now += time;
    }

    fn log(&mut self, place: usize, caller: &'static str) -> &mut Naive {
        let (period, scope) = self.periods[place];
        let window = u64::try_from(period.window().unwrap().as_micros()).unwrap();
        let caller = if scope == LimitScope::Server {
            ""
        } else {
            caller
        };
        let key = (place, caller);
        self.logs.entry(key).or_insert_with(|| Naive::new(window))
    }

    fn call(&mut self, caller: &'static str, amounts: [u64; 3], enforced: [bool; 3]) {
        self.refused = None;
        let charges = [0, 1, 2].map(|place| {
            let (period, scope) = self.periods[place];
            let quota = quota(&format!("/{place}"), period, self.max[place], scope);
            LimitCharge {
                enforced: enforced[place],
                ..charge(&quota, caller, amounts[place])
            }
        });
        let reservation = reservation(self.clock.now(), charges);
        // However often.
        let asked = [(); 2].map(|()| ask(self.store, &reservation));
        let answer = reserve(self.store, &reservation);
        assert_eq!(asked, [answer.clone(), answer.clone()]);
        let (now, max) = (self.now, self.max);
        let logs = [0, 1, 2].map(|place| self.log(place, caller).clone());
        let admits = |place: usize| logs[place].admits(now, amounts[place], max[place]);
        let may_refuse =
            |place: usize, now| logs[place].may_refuse(now, amounts[place], max[place]);
        let of = |is: bool| (0..3).filter(move |place| enforced[*place] == is);
        if logs.iter().all(Naive::is_exact) {
            assert_eq!(
                matches!(answer, LimitReserved::Admitted { .. }),
                of(true).all(admits)
            );
        }
        match answer {
            LimitReserved::Admitted { over } => {
                assert!(of(true).all(admits), "too much");
                if let Some(over) = over {
                    assert!(!enforced[over] && may_refuse(over, now), "without cause");
                }
                let before_over = of(false).take_while(|place| Some(*place) != over);
                assert!(before_over.clone().all(admits));
                for (place, amount) in amounts.into_iter().enumerate() {
                    self.log(place, caller).charge(now, amount);
                }
                self.admitted.push((now, caller, reservation));
            }
            LimitReserved::Exceeded {
                charge,
                retry_after,
            } => {
                assert!(enforced[charge] && may_refuse(charge, now), "without cause");
                let mut before = of(true).take_while(|place| *place != charge);
                assert!(before.all(admits));
                let never = of(true).any(|place| amounts[place] > max[place]);
                assert_eq!(retry_after.is_none(), never);
                if let Some(wait) = retry_after {
                    let wait_micros = u64::try_from(wait.as_micros()).unwrap();
                    let before = now + wait_micros - 1;
                    assert!(of(true).any(|place| may_refuse(place, before)), "too late");
                    if enforced == [true; 3] {
                        self.refused = Some((wait, caller, amounts));
                    }
                }
            }
            LimitReserved::Full => panic!("there is room for three budgets"),
        }
    }

    fn give_back(&mut self, which: Index) {
        if self.admitted.is_empty() {
            return;
        }
        let which = which.index(self.admitted.len());
        let (at, caller, reservation) = self.admitted.remove(which);
        self.store
            .conclude(&reservation, LimitConclusion::NotSent, self.clock.now());
        for place in 0..3 {
            let amount = reservation.charges()[place].amount().millionths();
            self.log(place, caller).give_back(at, amount);
        }
    }
}

/// What a caller with many sessions does.
#[derive(Clone, Debug)]
pub(crate) enum Farming {
    Pass(u64),
    Call(Option<u8>),
    /// One of those that are under way ends like this.
    Conclude(Index, LimitConclusion),
}

/// Things that happen one after the other.
pub(crate) fn farming(longest: usize) -> impl Strategy<Value = Vec<Farming>> {
    let conclusions = vec![
        LimitConclusion::NotSent,
        LimitConclusion::Ended,
        LimitConclusion::BrokenOff,
    ];
    let step = prop_oneof![
        3 => time().prop_map(Farming::Pass),
        6 => prop::option::weighted(0.9, 0_u8..8).prop_map(Farming::Call),
        2 => (any::<Index>(), select(conclusions))
            .prop_map(|(which, how)| Farming::Conclude(which, how)),
    ];
    prop::collection::vec(step, 0..longest)
}

/// What is counted in one budget, exactly. It holds so little that nothing of it is
/// ever merged.
#[derive(Clone, Debug, Default)]
struct Counted {
    session: Option<u8>,
    /// When it was charged, or when it broke off; `None` while it is under way and
    /// counts for that.
    since: Vec<(u64, Option<u64>)>,
}

/// However many sessions a caller opens, and whatever becomes of its calls: in no
/// window are there more than so many budgets, and each session does as it would
/// by a log of everything.
pub(crate) fn gains_nothing_by_sessions(
    store: &dyn LimitStore,
    period: Period,
    history: Vec<Farming>,
) {
    const SESSIONS: u32 = 3;
    const MAX: usize = 4;
    let is_concurrent = period == Period::Concurrent;
    let max = u64::try_from(MAX).unwrap();
    let quota = Quota::new(
        "",
        "/s",
        period,
        Amount::from_millionths(max),
        LimitScope::Session,
    );
    let quota = Arc::new(quota.with_sessions(SESSIONS));
    let mut clock = ManualClock::at(START);
    let mut now = 0;
    let mut budgets = vec![Counted::default()];
    let mut all = Naive::new(MINUTE);
    let mut under_way = Vec::new();
    for (number, step) in (0_u64..).zip(history) {
        match step {
            Farming::Pass(time) => {
                clock.pass(Duration::from_micros(time));
                now += time;
            }
            Farming::Call(session) => {
                // Of calls at one time it is not told apart which is concluded.
                clock.pass(Duration::from_micros(1));
                now += 1;
                for budget in &mut budgets {
                    let is_live = |since: &Option<u64>| since.is_none_or(|at| at + MINUTE > now);
                    budget.since.retain(|(_, since)| is_live(since));
                }
                budgets.retain(|budget| budget.session.is_none() || !budget.since.is_empty());
                let own = budgets.iter().position(|budget| budget.session == session);
                let place = own.unwrap_or_else(|| {
                    if budgets.len() < SESSIONS.try_into().unwrap() {
                        budgets.push(Counted {
                            session,
                            since: Vec::new(),
                        });
                        budgets.len() - 1
                    } else {
                        0
                    }
                });
                let one = charge(&quota, "alice", 1);
                let one = match session {
                    Some(session) => of_session(one, &session.to_string()),
                    None => one,
                };
                let reservation = reservation(clock.now(), [one]);
                let is_admitted = reserve(store, &reservation) == ADMITTED;
                assert_eq!(is_admitted, budgets[place].since.len() < MAX, "{budgets:?}");
                if is_admitted {
                    let since = (!is_concurrent).then_some(now);
                    budgets[place].since.push((number, since));
                    under_way.push((number, now, reservation));
                    if !is_concurrent {
                        all.charge(now, 1);
                    }
                }
            }
            Farming::Conclude(which, conclusion) if !under_way.is_empty() => {
                let which = which.index(under_way.len());
                let (number, at, reservation) = under_way.remove(which);
                store.conclude(&reservation, conclusion, clock.now());
                for budget in &mut budgets {
                    match conclusion {
                        LimitConclusion::Ended if !is_concurrent => {}
                        LimitConclusion::BrokenOff if !is_concurrent => {}
                        LimitConclusion::BrokenOff => {
                            let mut entries = budget.since.iter_mut();
                            if let Some(entry) = entries.find(|entry| entry.0 == number) {
                                entry.1 = Some(now);
                            }
                        }
                        _ => budget.since.retain(|entry| entry.0 != number),
                    }
                }
                if !is_concurrent && conclusion == LimitConclusion::NotSent {
                    all.give_back(at, 1);
                }
            }
            Farming::Conclude(..) => {}
        }
    }
    assert!(all.fullest() <= u64::from(SESSIONS) * max);
}

/// What one caller, server or limit uses up does not count for another; however
/// much alike they are called.
pub(crate) fn tells_budgets_apart(store: &dyn LimitStore) {
    let clock = ManualClock::at(START);
    let at = clock.now();
    let quotas = [
        quota("/a", seconds(60), 1, LimitScope::Caller),
        quota("/a", seconds(61), 1, LimitScope::Caller),
        quota("/b", seconds(60), 1, LimitScope::Caller),
        quota("/a", seconds(60), 1, LimitScope::Session),
        quota("/a", Period::Concurrent, 1, LimitScope::Caller),
    ];
    for server in ["", "s", "se"] {
        for caller in ["", "e", "alice", "alice "] {
            for quota in &quotas {
                let reservation = LimitReservation::new(server, [charge(quota, caller, 1)], at);
                assert_eq!(reserve(store, &reservation), ADMITTED);
                assert_ne!(reserve(store, &reservation), ADMITTED);
            }
        }
    }
    let of_all = quota("/a", seconds(60), 1, LimitScope::Server);
    let call = |caller| reserve(store, &reservation(at, [charge(&of_all, caller, 1)]));
    assert_eq!(call("alice"), ADMITTED);
    assert_ne!(call("bob"), ADMITTED);
}

/// The first that is too much is told, the longest time to wait, and nothing is
/// charged.
pub(crate) fn charges_all_or_none(store: &dyn LimitStore) {
    let mut clock = ManualClock::at(START);
    let short = quota("/short", seconds(10), 2, LimitScope::Caller);
    let long = quota("/long", seconds(100), 1, LimitScope::Server);
    let both = |clock: &ManualClock| {
        let charges = [charge(&short, "alice", 1), charge(&long, "alice", 1)];
        reserve(store, &reservation(clock.now(), charges))
    };
    assert_eq!(both(&clock), ADMITTED);
    for _ in 0..5 {
        let retry_after = Some(Duration::from_secs(100));
        assert_eq!(
            both(&clock),
            LimitReserved::Exceeded {
                charge: 1,
                retry_after
            }
        );
    }
    let one = |clock: &ManualClock, amount| {
        reserve(
            store,
            &reservation(clock.now(), [charge(&short, "alice", amount)]),
        )
    };
    assert_eq!(one(&clock, 1), ADMITTED);
    clock.pass(Duration::from_secs(4));
    let retry_after = Some(Duration::from_secs(96));
    assert_eq!(
        both(&clock),
        LimitReserved::Exceeded {
            charge: 0,
            retry_after
        }
    );
    let retry_after = Some(Duration::from_secs(6));
    assert_eq!(
        one(&clock, 1),
        LimitReserved::Exceeded {
            charge: 0,
            retry_after
        }
    );
    assert_eq!(
        one(&clock, 3),
        LimitReserved::Exceeded {
            charge: 0,
            retry_after: None
        }
    );
}

/// Calendar windows go by the clock of the world, and leap days are days.
pub(crate) fn keeps_the_calendar(store: &dyn LimitStore) {
    let mut clock = ManualClock::at(START);
    let daily = quota(
        "/daily",
        Period::Calendar(crate::policy::CalendarUnit::Day),
        2,
        LimitScope::Caller,
    );
    let call = |clock: &ManualClock| {
        let reservation = reservation(clock.now(), [charge(&daily, "alice", 1)]);
        (reserve(store, &reservation), reservation)
    };
    for (wait, used_before) in [(30, 0), (86_400, 0), (86_400, 0)] {
        // Half a minute before midnight; then at midnight, twice.
        let calls: Vec<_> = (used_before..3).map(|_| call(&clock).0).collect();
        let retry_after = Some(Duration::from_secs(wait));
        let refused = LimitReserved::Exceeded {
            charge: 0,
            retry_after,
        };
        assert_eq!(calls, [ADMITTED, ADMITTED, refused]);
        clock.pass(Duration::from_secs(wait));
    }
    // It is the first of March. What is given back in another period is not.
    let (_, before) = call(&clock);
    clock.pass(Duration::from_secs(86_400));
    assert_eq!([call(&clock).0, call(&clock).0], [ADMITTED, ADMITTED]);
    store.conclude(&before, LimitConclusion::NotSent, clock.now());
    assert_ne!(call(&clock).0, ADMITTED);
    // The clock goes back into the day before.
    clock.step(-1_000_000);
    assert_ne!(call(&clock).0, ADMITTED);
}

/// However many handles there are on what is counted.
pub(crate) fn uses_each_state_once(stores: &[&dyn LimitStore]) {
    let (now, alice) = (
        ManualClock::at("2026-01-01T00:00:00Z").now(),
        "alice".into(),
    );
    let uses = |number| {
        let used = move |store: &&dyn LimitStore| {
            block_on(
                store
                    .use_state(&StateId::from_bytes([number; 24]))
                    .patiently(),
            )
            .unwrap()
        };
        stores.iter().map(used).filter(|first| *first).count()
    };
    assert_eq!(uses(1), 0);
    for number in [1, 2] {
        for store in stores {
            store.keep_state(&StateId::from_bytes([number; 24]), &alice, now);
        }
        assert_eq!(uses(number), 1);
        assert_eq!(uses(number), 0);
    }
}

/// What one seals, the other opens.
#[cfg(any(feature = "redis", feature = "sqlite"))]
pub(crate) fn have_the_same_key(one: &RequestStateKeys, other: &RequestStateKeys) {
    let now = ManualClock::at("2026-01-01T00:00:00Z").now();
    let parties = Parties {
        server: "",
        caller: "alice",
        method: "tools/call",
    };
    let state = State {
        step: rounds::Step::Goes {
            approved: true,
            charged: false,
        },
        round: Round::first(now),
        digest: String::new(),
        rule: String::new(),
        inner: None,
    };
    let sealed = state.seal(one, parties).unwrap().text;
    let opened = State::open(&sealed, other, parties).unwrap();
    assert!(opened.state == state);
    let random = RequestStateKeys::random().unwrap();
    assert!(State::open(&sealed, &random, parties).is_none());
}

/// Of a store that has room for so many budgets of one caller, or in all.
pub(crate) fn leaves_room_for_what_is_enforced(store: &dyn LimitStore, room: usize) {
    let mut clock = ManualClock::at(START);
    let one = |place: String, enforced: bool| {
        let quota = quota(&place, seconds(60), 9, LimitScope::Caller);
        LimitCharge {
            enforced,
            ..charge(&quota, "alice", 1)
        }
    };
    let tried = |number: usize| one(format!("/tried/{number}"), false);
    let enforced = |number: usize| one(format!("/enforced/{number}"), true);
    for _ in 0..2 {
        let asked = |charges: Vec<LimitCharge>| reserve(store, &reservation(clock.now(), charges));
        for number in 0..room / 2 {
            assert_eq!(asked(vec![tried(number)]), ADMITTED, "{number}");
        }
        assert_eq!(asked(vec![tried(room)]), LimitReserved::Full);
        assert_eq!(asked(vec![tried(room), enforced(0)]), LimitReserved::Full);
        // What is there already needs no room.
        for number in 0..room / 2 {
            let charges = vec![tried(0), enforced(number)];
            assert_eq!(asked(charges), ADMITTED, "{number}");
        }
        assert_eq!(asked(vec![enforced(room)]), LimitReserved::Full);
        clock.pass(Duration::from_secs(60));
    }
}
