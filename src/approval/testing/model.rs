//! A store that keeps a list of everything and looks through all of it, against which
//! others are held.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{Asking, EXPIRES, demand, question, word};
use crate::approval::{
    ApprovalAsked, ApprovalId, ApprovalState, ApprovalStore, ApprovalUsed, NotDecided, Ruling,
};
use crate::limit::testing::ManualClock;

const START: &str = "2028-02-28T23:59:30Z";
const HOUR: Duration = Duration::from_secs(3_600);
const CALLERS: [&str; 2] = ["alice", "bob"];

/// Something that happens to a store.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Pass(Duration),
    /// A caller makes one of the calls that it makes.
    Ask(usize, u8),
    Decide(Index, bool),
    Use(Index),
    Cancel(Index),
}

/// Things that happen one after the other.
pub(crate) fn histories(longest: usize) -> impl Strategy<Value = Vec<Step>> {
    let short = select(vec![0, 1, 30, 299, 300, 599, 600, 601]).prop_map(Duration::from_secs);
    let step = prop_oneof![
        2 => short.prop_map(Step::Pass),
        12 => (0..CALLERS.len(), 0_u8..40).prop_map(|(caller, call)| Step::Ask(caller, call)),
        4 => (any::<Index>(), any::<bool>()).prop_map(|(which, how)| Step::Decide(which, how)),
        3 => any::<Index>().prop_map(Step::Use),
        1 => any::<Index>().prop_map(Step::Cancel),
    ];
    prop::collection::vec(step, 0..longest)
}

struct Kept {
    id: ApprovalId,
    caller: usize,
    call: u8,
    began: Duration,
    /// When what it was last began.
    since: Duration,
    state: ApprovalState,
}

/// Lets a store do what it is asked to, and compares what it says with a list of
/// everything. It is only asked for what cannot have been forgotten.
pub(crate) fn does_as_a_list(store: &dyn ApprovalStore, history: Vec<Step>) {
    let store = Asking(store);
    let mut clock = ManualClock::at(START);
    let mut now = Duration::ZERO;
    let mut list: Vec<Kept> = Vec::new();
    for (number, step) in history.into_iter().enumerate() {
        for kept in list.iter_mut().filter(|kept| kept.state.is_open()) {
            if now >= kept.since + EXPIRES {
                (kept.state, kept.since) = (ApprovalState::Expired, kept.since + EXPIRES);
            }
        }
        let recent: Vec<usize> = (0..list.len())
            .filter(|place| list[*place].since + HOUR > now)
            .collect();
        let pick = |which: Index| (!recent.is_empty()).then(|| recent[which.index(recent.len())]);
        let ask = |caller: usize, call: u8| {
            let arguments = call.to_string();
            question(&demand(), CALLERS[caller], &arguments, clock.now())
        };
        match step {
            Step::Pass(time) => {
                clock.pass(time);
                now += time;
            }
            Step::Ask(caller, call) => {
                let asked = ask(caller, call);
                let answer = store.ask(&asked);
                let said = word(&answer);
                let known = list.iter().find(|kept| {
                    let is_denied = kept.state == ApprovalState::Denied;
                    let refuses = is_denied && now < kept.since + EXPIRES;
                    (kept.caller, kept.call) == (caller, call) && (kept.state.is_open() || refuses)
                });
                if let Some(known) = known {
                    assert_eq!(said, known.state.as_str());
                    continue;
                }
                let own = || list.iter().filter(|kept| kept.caller == caller);
                let pending = own().filter(|kept| kept.state == ApprovalState::Pending);
                let new = own().filter(|kept| kept.began + HOUR > now).count();
                if pending.count() >= 20 || new >= 60 {
                    assert_eq!(said, "full");
                    continue;
                }
                let ApprovalAsked::Pending(new) = answer else {
                    panic!("{said}");
                };
                list.push(Kept {
                    id: new.id(),
                    caller,
                    call,
                    began: now,
                    since: now,
                    state: ApprovalState::Pending,
                });
            }
            Step::Decide(which, approves) => {
                let Some(place) = pick(which) else { continue };
                let kept = &mut list[place];
                let ruling = match approves {
                    true => Ruling::approve("dora"),
                    false => Ruling::deny("dora"),
                };
                let decided = store.decide(kept.id, &ruling, clock.now());
                let decided = decided.map(|request| request.state());
                if kept.state != ApprovalState::Pending {
                    assert_eq!(decided, Err(NotDecided::NotPending(kept.state)));
                    continue;
                }
                kept.state = match approves {
                    true => ApprovalState::Approved,
                    false => ApprovalState::Denied,
                };
                kept.since = now;
                assert_eq!(decided, Ok(kept.state));
            }
            Step::Use(which) => {
                let Some(place) = pick(which) else { continue };
                let call = ask(list[place].caller, list[place].call);
                let kept = &mut list[place];
                let used = store.use_up(&call, kept.id);
                match kept.state {
                    ApprovalState::Approved => {
                        assert_eq!(used, ApprovalUsed::Now);
                        (kept.state, kept.since) = (ApprovalState::Used, now);
                    }
                    ApprovalState::Used => assert_eq!(used, ApprovalUsed::Before),
                    _ => assert_eq!(used, ApprovalUsed::NotApproved),
                }
            }
            Step::Cancel(which) => {
                let Some(place) = pick(which) else { continue };
                let kept = &mut list[place];
                let is_open = kept.state.is_open();
                assert_eq!(store.cancel(kept.id, clock.now()), is_open);
                if is_open {
                    (kept.state, kept.since) = (ApprovalState::Cancelled, now);
                }
            }
        }
        let still = |kept: &&Kept| kept.since + EXPIRES > now;
        for kept in list.iter().skip(number % 9).step_by(9).filter(still) {
            assert_eq!(store.state(kept.id, clock.now()), Some(kept.state));
        }
    }
}
