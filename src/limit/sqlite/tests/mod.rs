mod beside;
mod faults;
mod processes;

use std::path::Path;
use std::time::Duration;

use futures::executor::block_on;
use proptest::prelude::*;
use proptest::sample::select;
use tempfile::TempDir;

use super::*;
use crate::limit::MemoryLimitStore;
use crate::limit::testing::contract;
use crate::limit::testing::naive::Naive;
use crate::limit::testing::{
    self, ADMITTED, ManualClock, charge, of_session, quota, reservation, reserve, reset, seconds,
};
use crate::policy::{Amount, CalendarUnit, LimitScope, Period, Quota};
use crate::state::SqliteState;

const START: &str = "2026-11-25T04:59:00Z";

/// In memory where there is such a place: what is written in tests is not to be kept.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn open_in(directory: &Path) -> SqliteLimitStore {
    let state = SqliteState::open(directory.join("state.db"));
    state.unwrap().limits()
}

/// A store with a file of its own, and with room for so many budgets.
fn bounded(in_all: i64, of_one_caller: i64) -> (TempDir, SqliteLimitStore) {
    let directory = directory();
    let bounds = Bounds {
        in_all,
        of_one_caller,
    };
    let path = directory.path().join("state.db");
    let (connection, path) = crate::sqlite::open(&path).unwrap();
    let presence = Presence::announce(&connection, &path).unwrap();
    let worker = Worker::start(connection).unwrap();
    let store = SqliteLimitStore::bounded(Arc::new(worker), presence, bounds);
    (directory, store)
}

fn fresh() -> (TempDir, SqliteLimitStore) {
    bounded(1_000_000, 1_000)
}

fn usage(store: &SqliteLimitStore, filter: &LimitFilter, clock: &ManualClock) -> Vec<LimitUsage> {
    testing::usage(store, filter, clock.now(), 1_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn it_does_as_a_log_of_everything(history in contract::histories(300)) {
        contract::does_as_a_log(&fresh().1, history);
    }

    #[test]
    fn a_short_history_is_exact(history in contract::histories(60)) {
        contract::does_as_a_log(&fresh().1, history);
    }

    #[test]
    fn sessions_gain_nothing(
        period in select(vec![seconds(60), Period::Concurrent]),
        history in contract::farming(150),
    ) {
        contract::gains_nothing_by_sessions(&fresh().1, period, history);
    }
}

#[test]
fn budgets_are_told_apart() {
    contract::tells_budgets_apart(&fresh().1);
}

#[test]
fn all_is_charged_or_nothing() {
    contract::charges_all_or_none(&fresh().1);
}

#[test]
fn calendar_windows_go_by_the_clock_of_the_world() {
    contract::keeps_the_calendar(&fresh().1);
}

#[test]
fn a_state_is_used_once_by_all_who_have_the_file() {
    let (directory, store) = fresh();
    let path = directory.path().join("state.db");
    let other = SqliteState::open(&path).unwrap().limits();
    contract::uses_each_state_once(&[&store]);
    contract::uses_each_state_once(&[&other]);
    let now = ManualClock::at("2026-01-01T00:00:00Z").now();
    let state = StateId::from_bytes([7; 24]);
    store.keep_state(&state, &"alice".into(), now);
    block_on(store.close()).unwrap();
    let used = |store: &SqliteLimitStore| block_on(store.use_state(&state).patiently()).unwrap();
    assert!(used(&other));
    let later = SqliteState::open(&path).unwrap().limits();
    assert!(!used(&later) && !used(&other));
}

/// A clock that is wrong for a moment, and set right.
#[test]
fn a_state_is_used_once_although_the_clock_leaps_forth_and_back() {
    let (_directory, store) = fresh();
    let mut clock = ManualClock::at("2026-01-01T00:00:00Z");
    let state = |number| StateId::from_bytes([number; 24]);
    let keep = |clock: &ManualClock, number| {
        store.keep_state(&state(number), &"alice".into(), clock.now());
    };
    let used = |number| block_on(store.use_state(&state(number)).patiently()).unwrap();
    keep(&clock, 1);
    assert!(used(1));
    keep(&clock, 2);
    clock.step(3_600_000_000);
    keep(&clock, 3);
    clock.step(-3_600_000_000);
    keep(&clock, 4);
    assert!(!used(1) && !used(2) && used(3) && used(4));
}

/// As in memory: whoever is given states without end, and brings none back.
#[test]
fn one_caller_does_not_fill_the_file_with_states() {
    let (_directory, store) = fresh();
    let now = ManualClock::at("2026-01-01T00:00:00Z").now();
    let state = |number: u64| {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        StateId::from_bytes(bytes)
    };
    for number in 0..=1_000 {
        store.keep_state(&state(number), &"alice".into(), now);
    }
    let used = block_on(store.use_state(&state(1_000)).patiently()).unwrap();
    assert!(!used, "1 000 are room enough for one caller");
}

/// Something that happens to two stores.
#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Call {
        caller: &'static str,
        session: Option<u8>,
        amounts: [u64; 4],
    },
    Conclude(prop::sample::Index, LimitConclusion),
    Max(usize, u64),
    Reset(&'static str),
    /// The file is closed and opened again.
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    const CALLERS: [&str; 2] = ["alice", "bob"];
    let conclusions = vec![
        LimitConclusion::NotSent,
        LimitConclusion::Ended,
        LimitConclusion::BrokenOff,
    ];
    let call = (
        select(CALLERS.to_vec()),
        prop::option::of(0_u8..4),
        [0_u64..4, 0_u64..9, 0_u64..4, 0_u64..2],
    );
    let call = call.prop_map(|(caller, session, amounts)| Step::Call {
        caller,
        session,
        amounts,
    });
    let pass = prop_oneof![6 => 0_u64..2_000_000, 3 => 0_u64..15_000_000, 1 => 0_u64..90_000_000];
    let step = prop_oneof![
        8 => pass.prop_map(Step::Pass),
        12 => call,
        4 => (any::<prop::sample::Index>(), select(conclusions))
            .prop_map(|(which, how)| Step::Conclude(which, how)),
        1 => (0_usize..4, 0_u64..60).prop_map(|(quota, max)| Step::Max(quota, max)),
        1 => select(CALLERS.to_vec()).prop_map(Step::Reset),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Both have the same windows: what they say is the same, to the microsecond.
    #[test]
    fn it_does_as_the_memory_of_a_process(steps in steps()) {
        let directory = directory();
        let memory = MemoryLimitStore::default();
        let mut file = open_in(directory.path());
        let mut clock = ManualClock::at(START);
        let periods = [
            (seconds(60), LimitScope::Session),
            (Period::Calendar(CalendarUnit::Minute), LimitScope::Caller),
            (seconds(10), LimitScope::Server),
            (Period::Concurrent, LimitScope::Session),
        ];
        let mut max = [12, 40, 30, 3];
        let mut admitted = Vec::new();
        for step in steps {
            // No two things happen at once: then it is told apart what is concluded.
            clock.pass(Duration::from_micros(1));
            match step {
                Step::Pass(time) => clock.pass(Duration::from_micros(time)),
                Step::Call { caller, session, amounts } => {
                    let charges = [0, 1, 2, 3].map(|place| {
                        let (period, scope) = periods[place];
                        let quota = quota(&format!("/{place}"), period, max[place], scope);
                        let one = charge(&quota, caller, amounts[place]);
                        match session.filter(|_| scope == LimitScope::Session) {
                            Some(session) => of_session(one, &session.to_string()),
                            None => one,
                        }
                    });
                    let call = reservation(clock.now(), charges);
                    let answers = [reserve(&memory, &call), reserve(&file, &call)];
                    prop_assert_eq!(&answers[0], &answers[1]);
                    if answers[0] == ADMITTED {
                        admitted.push(call);
                    }
                }
                Step::Conclude(which, conclusion) if !admitted.is_empty() => {
                    let call = admitted.remove(which.index(admitted.len()));
                    memory.conclude(&call, conclusion, clock.now());
                    file.conclude(&call, conclusion, clock.now());
                }
                Step::Conclude(..) => {}
                Step::Max(place, most) => max[place] = most,
                Step::Reset(caller) => {
                    let filter = LimitFilter::default().caller(caller);
                    reset(&memory, &filter, clock.now());
                    reset(&file, &filter, clock.now());
                }
                Step::Reopen => {
                    // What was under way would break off.
                    for call in admitted.drain(..) {
                        memory.conclude(&call, LimitConclusion::Ended, clock.now());
                        file.conclude(&call, LimitConclusion::Ended, clock.now());
                    }
                    // The other thread may still be at it.
                    faults::settle(&file);
                    file = open_in(directory.path());
                }
            }
        }
        let all = LimitFilter::default();
        let order = |usage: &LimitUsage| format!("{usage:?}");
        let mut in_memory = testing::usage(&memory, &all, clock.now(), 1_000);
        in_memory.sort_by_key(order);
        let mut in_file = usage(&file, &all, &clock);
        in_file.sort_by_key(order);
        for usage in in_memory.iter_mut().chain(&mut in_file) {
            // It is that of the last charge to anybody here, and to this budget there.
            usage.max = Amount::ZERO;
        }
        prop_assert_eq!(in_memory, in_file);
    }

    /// However the clock is turned, and by how many handles it is asked: no interval
    /// of true time holds more than was admitted, and what was charged is forgotten
    /// in the end.
    #[test]
    fn a_clock_that_goes_back_keeps_things_for_longer(
        steps in prop::collection::vec((0_u64..20, 0_u64..40, 0_u64..6, any::<bool>()), 1..150),
    ) {
        let directory = directory();
        let stores = [open_in(directory.path()), open_in(directory.path())];
        let mut clock = ManualClock::at(START);
        let quota = quota("/a", seconds(60), 20, LimitScope::Caller);
        let mut naive = Naive::new(60_000_000);
        let mut elapsed = 1_000_000_000_u64;
        for (pass, back, amount, which) in steps {
            clock.pass(Duration::from_secs(pass));
            elapsed += pass * 1_000_000;
            if back < 15 {
                clock.step(-1_000_000 * i64::try_from(back * back).unwrap());
            }
            let call = reservation(clock.now(), [charge(&quota, "alice", amount)]);
            if reserve(&stores[usize::from(which)], &call) == ADMITTED {
                naive.charge(elapsed, amount);
            }
        }
        prop_assert!(naive.fullest() <= 20);
        clock.pass(Duration::from_secs(60 + 2 + 10));
        let all = reservation(clock.now(), [charge(&quota, "alice", 20)]);
        let wait = match reserve(&stores[0], &all) {
            LimitReserved::Exceeded { retry_after, .. } => retry_after.unwrap(),
            _ => Duration::ZERO,
        };
        stores[0].conclude(&all, LimitConclusion::NotSent, clock.now());
        faults::settle(&stores[0]);
        clock.pass(wait);
        let all = reservation(clock.now(), [charge(&quota, "alice", 20)]);
        prop_assert!(wait <= Duration::from_secs(72));
        prop_assert_eq!(reserve(&stores[1], &all), ADMITTED);
    }
}

/// Also if nothing but refusals comes after the clock has gone back.
#[test]
fn what_is_refused_does_not_make_what_is_counted_new() {
    let (_directory, store) = fresh();
    let mut clock = ManualClock::at(START);
    let minute = quota("/a", seconds(60), 1, LimitScope::Caller);
    let call = |clock: &ManualClock| {
        let call = reservation(clock.now(), [charge(&minute, "alice", 1)]);
        reserve(&store, &call)
    };
    assert_eq!(call(&clock), ADMITTED);
    clock.step(-3_600_000_000);
    for passed in 0..6 {
        let retry_after = Some(Duration::from_secs(60 - 10 * passed));
        let refused = LimitReserved::Exceeded {
            charge: 0,
            retry_after,
        };
        assert_eq!(call(&clock), refused);
        clock.pass(Duration::from_secs(10));
    }
    assert_eq!(call(&clock), ADMITTED);
}

/// A request that was held up after it had read the clock is charged when it comes,
/// also if the other came to another process.
#[test]
fn who_comes_late_turns_no_clock_back() {
    let directory = directory();
    let (one, other) = (open_in(directory.path()), open_in(directory.path()));
    let mut clock = ManualClock::at(START);
    for (caller, second) in [("alice", &one), ("bob", &other)] {
        let quota = quota("/a", seconds(1), 1, LimitScope::Caller);
        let call = |store: &SqliteLimitStore, at| {
            reserve(store, &reservation(at, [charge(&quota, caller, 1)]))
        };
        let early = clock.now();
        clock.pass(Duration::from_millis(1_500));
        assert_eq!(call(&one, clock.now()), ADMITTED);
        assert_ne!(call(second, early), ADMITTED);
        clock.pass(Duration::from_millis(999));
        assert_ne!(call(&one, clock.now()), ADMITTED);
        clock.pass(Duration::from_millis(1));
        assert_eq!(call(second, clock.now()), ADMITTED);
        clock.pass(Duration::from_secs(1));
    }
}

#[test]
fn what_was_concluded_before_it_is_reserved_is_not_charged() {
    let (_directory, store) = fresh();
    let clock = ManualClock::at(START);
    let quotas = [
        quota("/a", seconds(60), 1, LimitScope::Caller),
        quota("/b", Period::Concurrent, 1, LimitScope::Caller),
    ];
    for quota in &quotas {
        let late = reservation(clock.now(), [charge(quota, "alice", 1)]);
        store.conclude(&late, LimitConclusion::NotSent, clock.now());
        assert!(block_on(store.reserve(&late).patiently()).is_err());
        let next = reservation(clock.now(), [charge(quota, "alice", 1)]);
        assert_eq!(reserve(&store, &next), ADMITTED);
        // Nothing is given back for somebody else, and nothing twice.
        store.conclude(&late, LimitConclusion::NotSent, clock.now());
        let another = reservation(clock.now(), [charge(quota, "alice", 1)]);
        assert_ne!(reserve(&store, &another), ADMITTED);
        store.conclude(&another, LimitConclusion::NotSent, clock.now());
        let another = reservation(clock.now(), [charge(quota, "alice", 1)]);
        assert_ne!(reserve(&store, &another), ADMITTED);
        store.conclude(&next, LimitConclusion::NotSent, clock.now());
        assert_eq!(reserve(&store, &another), ADMITTED);
        store.conclude(&next, LimitConclusion::NotSent, clock.now());
        let one_more = reservation(clock.now(), [charge(quota, "alice", 1)]);
        assert_ne!(reserve(&store, &one_more), ADMITTED);
    }
}

/// Whether it was charged meanwhile or not.
#[test]
fn what_nobody_waits_for_is_given_back() {
    let (_directory, store) = fresh();
    let clock = ManualClock::at(START);
    let quota = quota("/a", seconds(60), 1, LimitScope::Caller);
    for _ in 0..200 {
        let call = reservation(clock.now(), [charge(&quota, "alice", 1)]);
        drop(store.reserve(&call));
        store.conclude(&call, LimitConclusion::NotSent, clock.now());
    }
    let call = reservation(clock.now(), [charge(&quota, "alice", 1)]);
    assert_eq!(reserve(&store, &call), ADMITTED);
}

#[test]
fn only_what_has_expired_makes_room() {
    let (_directory, store) = bounded(100, 1_000);
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
    assert_eq!(usage(&store, &LimitFilter::default(), &clock).len(), 100);
    clock.pass(Duration::from_secs(1));
    let admitted = (1_000..2_000).filter(|caller| call(&clock, *caller) == ADMITTED);
    assert_eq!(admitted.count(), 100);
}

/// What a wrong clock has counted does not take room for ever.
#[test]
fn what_is_counted_in_the_far_future_expires() {
    let (_directory, store) = bounded(10, 1_000);
    let mut clock = ManualClock::at(START);
    let quota = quota("/a", seconds(60), 1, LimitScope::Caller);
    let call = |clock: &ManualClock, caller: usize| {
        let charge = charge(&quota, &caller.to_string(), 1);
        reserve(&store, &reservation(clock.now(), [charge]))
    };
    clock.step(90 * 86_400_000_000);
    for caller in 0..10 {
        assert_eq!(call(&clock, caller), ADMITTED);
    }
    clock.step(-90 * 86_400_000_000);
    assert_eq!(call(&clock, 10), LimitReserved::Full);
    clock.pass(Duration::from_secs(60));
    assert_eq!(call(&clock, 10), ADMITTED);
}

#[test]
fn one_caller_does_not_fill_it() {
    let (_directory, store) = bounded(1_000, 2);
    let mut clock = ManualClock::at(START);
    let call = |clock: &ManualClock, caller: &str, place: usize| {
        let quota = quota(&format!("/{place}"), seconds(60), 1, LimitScope::Caller);
        let call = reservation(clock.now(), [charge(&quota, caller, 1)]);
        reserve(&store, &call)
    };
    assert_eq!(call(&clock, "alice", 0), ADMITTED);
    assert_eq!(call(&clock, "alice", 1), ADMITTED);
    assert_eq!(call(&clock, "alice", 2), LimitReserved::Full);
    assert_eq!(call(&clock, "bob", 2), ADMITTED);
    clock.pass(Duration::from_secs(60));
    assert_eq!(call(&clock, "alice", 2), ADMITTED);
}

#[test]
fn what_is_only_tried_takes_half_of_the_room() {
    for (in_all, of_one_caller) in [(1_000, 10), (10, 1_000)] {
        let (_directory, store) = bounded(in_all, of_one_caller);
        contract::leaves_room_for_what_is_enforced(&store, 10);
    }
}

/// Budgets of sessions are budgets, too.
#[test]
fn sessions_do_not_fill_it() {
    let (_directory, store) = bounded(1_000, 10);
    let mut clock = ManualClock::at(START);
    let quota = Quota::new("", "/a", seconds(60), Amount::ONE, LimitScope::Session);
    let quota = Arc::new(quota.with_sessions(u32::MAX));
    let call = |clock: &ManualClock, session: usize| {
        let charge = charge(&quota, "alice", 1_000_000);
        let charge = of_session(charge, &session.to_string());
        reserve(&store, &reservation(clock.now(), [charge]))
    };
    // One is that of everything that has no session.
    let admitted = (0..8).filter(|session| call(&clock, *session) == ADMITTED);
    assert_eq!(admitted.count(), 8);
    clock.pass(Duration::from_secs(30));
    assert_eq!(call(&clock, 8), ADMITTED);
    assert_eq!(call(&clock, 100), LimitReserved::Full);
    // All but one have expired.
    clock.pass(Duration::from_secs(30));
    let admitted = (10..110).filter(|session| call(&clock, *session) == ADMITTED);
    assert_eq!(admitted.count(), 8);
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let (directory, store) = fresh();
    let clock = ManualClock::at(START);
    let (none, some) = (
        quota("/none", seconds(60), 0, LimitScope::Caller),
        quota("/some", seconds(60), 9, LimitScope::Caller),
    );
    for amount in [1, 0] {
        let charges = [
            charge(&some, "alice", amount),
            charge(&none, "alice", amount),
        ];
        let call = reservation(clock.now(), charges);
        assert_eq!(reserve(&store, &call) == ADMITTED, amount == 0);
    }
    let file = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
    let count = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        file.query_row(&sql, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(["budget", "quota", "under_way"].map(count), [0, 0, 0]);
}

#[test]
fn what_is_counted_can_be_seen_and_forgotten() {
    let (_directory, store) = fresh();
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
    let seen = |filter: &LimitFilter| usage(&store, filter, &clock);
    assert_eq!(seen(&LimitFilter::default()).len(), 5);
    let alice = LimitFilter::default().caller("alice").server("server");
    let of_alice = seen(&alice.clone().place("/calls").policy("policy"));
    let [one] = of_alice.as_slice() else {
        panic!("{of_alice:?}");
    };
    assert_eq!((one.caller(), one.session()), (Some("alice"), Some("s")));
    assert_eq!(
        (one.used(), one.max().to_string()),
        (Amount::ONE, "5".to_owned())
    );
    assert_eq!(one.free_in(), Some(Duration::from_secs(20)));
    let seen_of_all = seen(&LimitFilter::default().place("/all"));
    assert_eq!(seen_of_all[0].used().to_string(), "5");
    assert_eq!(seen_of_all[0].caller(), None);
    assert_eq!(seen(&alice.clone().place("/under_way"))[0].free_in(), None);
    let two = testing::usage(&store, &LimitFilter::default(), clock.now(), 2);
    assert_eq!(two.len(), 2);
    let forget = |filter: &LimitFilter| reset(&store, filter, clock.now());
    for filter in [alice.clone().server("other"), alice.clone().policy("other")] {
        assert_eq!(seen(&filter), []);
        forget(&filter);
        assert_eq!(seen(&LimitFilter::default()).len(), 5);
    }

    forget(&alice);
    // What is under way is.
    assert_eq!(seen(&alice).len(), 1);
    assert_eq!(seen(&LimitFilter::default().caller("bob")).len(), 2);
    let again = reservation(clock.now(), [charge(&calls, "alice", 5_000_000)]);
    assert_eq!(reserve(&store, &again), ADMITTED);
    // What was forgotten is not given back once more.
    for call in &reservations {
        store.conclude(call, LimitConclusion::NotSent, clock.now());
    }
    let of_alice = seen(&alice);
    assert_eq!(of_alice.len(), 1);
    assert_eq!(of_alice[0].used().to_string(), "5");
}

/// There are more than are looked at in one transaction.
#[test]
fn all_pages_are_seen_and_forgotten() {
    let (_directory, store) = fresh();
    let clock = ManualClock::at(START);
    let quota = quota("/a", seconds(60), 1, LimitScope::Caller);
    for caller in 0..600 {
        let charge = charge(&quota, &caller.to_string(), 1);
        let call = reservation(clock.now(), [charge]);
        assert_eq!(reserve(&store, &call), ADMITTED);
    }
    let all = LimitFilter::default();
    assert_eq!(usage(&store, &all, &clock).len(), 600);
    let few = testing::usage(&store, &all, clock.now(), 300);
    assert_eq!(few.len(), 300);
    reset(&store, &all, clock.now());
    assert_eq!(usage(&store, &all, &clock), []);
}

/// Editing `max` keeps the count, and what was counted is there after a restart.
#[test]
fn what_was_counted_is_there_after_a_restart() {
    let directory = directory();
    let clock = ManualClock::at(START);
    let call = |store: &SqliteLimitStore, max| {
        let quota = quota("/a", seconds(60), max, LimitScope::Caller);
        let call = reservation(clock.now(), [charge(&quota, "alice", 2)]);
        reserve(store, &call)
    };
    let store = open_in(directory.path());
    assert!(store.outlives_process());
    assert_eq!([call(&store, 5), call(&store, 5)], [ADMITTED, ADMITTED]);
    assert_ne!(call(&store, 5), ADMITTED);
    drop(store);
    let store = open_in(directory.path());
    assert_ne!(call(&store, 5), ADMITTED);
    assert_eq!(call(&store, 6), ADMITTED);
    let seen = usage(&store, &LimitFilter::default(), &clock);
    assert_eq!((seen.len(), seen[0].max().millionths()), (1, 6));
}
