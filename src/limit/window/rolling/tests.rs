use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::limit::testing::naive::Naive;

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    /// The clock goes back.
    Back(u64),
    Ask(u64),
    /// Charges it, too much or not.
    Force(u64),
    GiveBack(Index),
    /// Somebody edits the policy.
    Max(u64),
}

/// About how long a window is, and about its edges.
fn time(window: u64) -> impl Strategy<Value = u64> {
    let part = window / PARTS;
    prop_oneof![
        4 => 0..=part,
        2 => 0..=window / 4,
        1 => select(vec![0, 1, part - 1, part, part + 1]),
        1 => select(vec![window - 1, window, window + 1, window * 2]),
    ]
}

fn steps(window: u64, back: u32) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => time(window).prop_map(Step::Pass),
        back => time(window).prop_map(Step::Back),
        8 => (0_u64..6).prop_map(Step::Ask),
        1 => (0_u64..6).prop_map(Step::Force),
        2 => any::<Index>().prop_map(Step::GiveBack),
        1 => (0_u64..200).prop_map(Step::Max),
    ];
    prop::collection::vec(step, 0..300)
}

fn histories(back: u32) -> impl Strategy<Value = (u64, Vec<Step>)> {
    let windows = [1, 60, 3_600, 86_400, 2_678_400].map(|seconds| seconds * 1_000_000);
    select(windows.to_vec()).prop_flat_map(move |window| (Just(window), steps(window, back)))
}

/// What is counted, added up anew.
fn sum(rolling: &Rolling) -> u64 {
    rolling
        .iter()
        .fold(0, |sum, (_, amount)| sum.saturating_add(amount))
}

/// How it does compared with a log of everything.
struct Compared {
    rolling: Rolling,
    naive: Naive,
    charged: Vec<(u64, u64)>,
    max: u64,
}

impl Compared {
    fn new(window: u64) -> Self {
        Self {
            rolling: Rolling::default(),
            naive: Naive::new(window),
            charged: Vec::new(),
            max: 20,
        }
    }

    fn charge(&mut self, amount: u64, now: u64) {
        self.rolling.charge(amount, self.naive.window, now);
        self.naive.charge(now, amount);
        self.charged.push((now, amount));
        assert!(self.rolling.len() <= MOST);
        assert!(self.rolling.iter().is_sorted_by_key(|(time, _)| time));
        assert_eq!(self.rolling.used(), sum(&self.rolling));
    }

    /// Asks, and charges what is admitted.
    fn ask(&mut self, amount: u64, now: u64) {
        let (window, max) = (self.naive.window, self.max);
        let answer = self.rolling.admits(amount, max, window, now);
        if self.naive.is_exact() {
            assert_eq!(answer.is_ok(), self.naive.admits(now, amount, max));
        }
        match answer {
            Ok(()) => {
                assert!(self.naive.admits(now, amount, max), "too much");
                self.charge(amount, now);
            }
            Err(wait) => {
                assert!(self.naive.may_refuse(now, amount, max), "without cause");
                assert_eq!(wait.is_none(), amount > max);
                self.check_wait(amount, now, wait);
            }
        }
    }

    fn check_wait(&self, amount: u64, now: u64, wait: Option<u64>) {
        let Some(wait) = wait else { return };
        assert!(wait > 0);
        let asked = |now| {
            let mut copy = self.rolling.clone();
            copy.admits(amount, self.max, self.naive.window, now)
        };
        assert_eq!(asked(now + wait), Ok(()));
        let before = now + wait - 1;
        assert_eq!(asked(before), Err(Some(1)));
        assert!(self.naive.may_refuse(before, amount, self.max), "too late");
        if self.naive.is_exact() {
            assert!(!self.naive.admits(before, amount, self.max));
        }
    }

    fn give_back(&mut self, which: Index, now: u64) {
        if self.charged.is_empty() {
            return;
        }
        let (at, amount) = self.charged.remove(which.index(self.charged.len()));
        let before = self.rolling.used();
        self.rolling.give_back(amount, at, self.naive.window, now);
        self.naive.give_back(at, amount);
        let settled = self.naive.used(now, 0);
        assert!(self.rolling.used() >= settled, "somebody else's");
        assert!(self.rolling.used() <= before);
        assert_eq!(self.rolling.used(), sum(&self.rolling));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// It admits what a log admits; except that, when there are many charges,
    /// some stay for up to a 32nd part of the window longer.
    #[test]
    fn a_window_does_as_a_log_of_everything((window, steps) in histories(0)) {
        let mut compared = Compared::new(window);
        let mut now = 5 * window;
        for step in steps {
            match step {
                Step::Pass(time) => now += time,
                Step::Back(_) => {}
                Step::Ask(amount) => compared.ask(amount, now),
                Step::Force(amount) => compared.charge(amount, now),
                Step::GiveBack(which) => compared.give_back(which, now),
                Step::Max(max) => compared.max = max,
            }
        }
    }

    /// However often the clock goes back, no interval of true time holds more
    /// than was admitted, and what was charged is forgotten in the end.
    #[test]
    fn a_clock_that_goes_back_keeps_things_for_longer((window, steps) in histories(4)) {
        let (mut rolling, mut naive) = (Rolling::default(), Naive::new(window));
        let (mut shown, mut elapsed) = (1_000 * window, 1_000 * window);
        for step in steps {
            match step {
                Step::Pass(time) => {
                    shown += time;
                    elapsed += time;
                }
                Step::Back(time) => shown -= time,
                Step::Ask(amount) | Step::Force(amount) => {
                    if rolling.admits(amount, 20, window, shown).is_ok() {
                        rolling.charge(amount, window, shown);
                        naive.charge(elapsed, amount);
                    }
                }
                Step::GiveBack(_) | Step::Max(_) => {}
            }
            let mut settled = rolling.clone();
            prop_assert_eq!(settled.forget_expired(window, shown), rolling.settle(window, shown));
            prop_assert_eq!(&settled, &rolling);
            prop_assert_eq!(rolling.used(), sum(&rolling));
            let future = rolling.last().unwrap_or(0).saturating_sub(shown);
            prop_assert!(rolling.expires_in(window, shown) <= window + window / PARTS, "{future}");
        }
        prop_assert!(naive.fullest() <= 20);
    }
}

#[test]
fn what_is_given_back_is_what_was_charged() {
    let mut rolling = Rolling::default();
    for (now, amount) in [(100, 3), (110, 4), (120, 5)] {
        rolling.charge(amount, 3_200, now);
    }
    rolling.give_back(4, 110, 3_200, 130);
    assert_eq!(rolling.iter().collect::<Vec<_>>(), [(100, 3), (120, 5)]);
    // It has expired: what is there is somebody else's.
    rolling.give_back(3, 100, 3_200, 3_300);
    assert_eq!(rolling.iter().collect::<Vec<_>>(), [(120, 5)]);
    // The clock went back by too much to tell.
    rolling.give_back(5, 120, 3_200, 10);
    assert_eq!(rolling.used(), 5);
}

/// Also if it counts as charged together with others.
#[test]
fn what_was_merged_can_be_given_back() {
    let window = 3_200;
    let mut rolling = Rolling::default();
    for now in 0..200 {
        rolling.charge(1, window, now);
    }
    assert_eq!((rolling.used(), rolling.len() <= MOST), (200, true));
    for now in (0..200).rev() {
        rolling.give_back(1, now, window, 200);
    }
    assert_eq!(rolling.used(), 0);
}

#[test]
fn the_most_that_can_be_counted_does_not_wrap() {
    let mut rolling = Rolling::default();
    for now in 0..100 {
        rolling.charge(u64::MAX, 3_200, now * 50);
    }
    assert_eq!(rolling.used(), u64::MAX);
    assert_eq!(
        rolling.admits(0, u64::MAX - 1, 3_200, 5_000),
        Err(Some(3_150))
    );
}
