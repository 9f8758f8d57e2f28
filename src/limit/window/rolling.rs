//! A window that ends now, always.

/// So many charges are told apart; when there are more, so many parts of the
/// window are.
const PARTS: u64 = 32;

/// A window can touch one part more than it has.
const MOST: usize = 33;

/// So many places are made at a time: rows that double would waste half.
const GROWTH: usize = 5;

/// What was charged in a window, and when.
///
/// No interval of the length of the window ever holds more than was admitted by
/// this. That is exact for up to 33 charges in a window. When there are more, those
/// of the same 32nd part of the window count as charged together, when the last of
/// them was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rolling {
    /// Each is as much, which takes half of the space.
    Alike { each: u64, times: Vec<u64> },
    /// By time, and how much.
    Various(Vec<(u64, u64)>),
}

impl Default for Rolling {
    fn default() -> Self {
        Self::Alike {
            each: 0,
            times: Vec::new(),
        }
    }
}

impl Rolling {
    /// Of charges in the order of their times; `None` if that is not what they are.
    #[cfg(feature = "sqlite")]
    pub(super) fn of(entries: Vec<(u64, u64)>) -> Option<Self> {
        let sorted = entries.is_sorted_by_key(|(time, _)| *time);
        (sorted && entries.len() <= MOST).then_some(Self::Various(entries))
    }

    /// As [`of`](Self::of), for charges that are all as much.
    #[cfg(feature = "sqlite")]
    pub(super) fn of_alike(each: u64, times: Vec<u64>) -> Option<Self> {
        (times.is_sorted() && times.len() <= MOST).then_some(Self::Alike { each, times })
    }

    /// Whether it would be admitted; else, how long until it is, if ever.
    pub(super) fn admits(
        &mut self,
        amount: u64,
        max: u64,
        window: u64,
        now: u64,
    ) -> Result<(), Option<u64>> {
        self.settle(window, now);
        let Some(others) = max.checked_sub(amount) else {
            return Err(None);
        };
        if self.used() <= others {
            return Ok(());
        }
        // The latest charges that fit beside it may stay. What is before them has
        // to expire, and its last is the last to do so.
        let mut kept = 0_u64;
        let last_to_go = self.iter().rev().find(|(_, amount)| {
            kept = kept.saturating_add(*amount);
            kept > others
        });
        Err(last_to_go.map(|(time, _)| time.saturating_add(window).saturating_sub(now)))
    }

    pub(super) fn charge(&mut self, amount: u64, window: u64, now: u64) {
        let now = self.settle(window, now);
        if amount == 0 {
            return;
        }
        let part = part(window);
        if self.len() >= MOST && self.last().is_some_and(|last| last / part != now / part) {
            self.merge(part);
        }
        match self.last() {
            Some(last) if last == now || self.len() >= MOST => self.add_to_last(amount, now),
            _ => self.push(amount, now),
        }
    }

    /// Takes away what was charged with this reading of the clock, unless it has
    /// expired.
    ///
    /// It was counted then or later, so it is gone when as much has been taken of
    /// what was counted from then on, the earliest first. If others are among that,
    /// they were charged before, and what is left of theirs stays for longer.
    pub(super) fn give_back(&mut self, amount: u64, at: u64, window: u64, now: u64) {
        let now = self.settle(window, now);
        if now.checked_sub(at).is_none_or(|age| age >= window) {
            return;
        }
        let mut left = amount;
        let place = self.iter().take_while(|(time, _)| *time < at).count();
        while let Some((_, counted)) = self.entry(place).filter(|_| left > 0) {
            if counted <= left {
                left -= counted;
                self.remove(place);
            } else {
                self.change(|entries| {
                    if let Some(entry) = entries.get_mut(place) {
                        entry.1 = counted - left;
                    }
                });
                left = 0;
            }
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How much is counted, as of the last question.
    pub(super) fn used(&self) -> u64 {
        match self {
            Self::Alike { each, times } => {
                let count = u64::try_from(times.len()).unwrap_or(u64::MAX);
                each.saturating_mul(count)
            }
            Self::Various(entries) => entries
                .iter()
                .fold(0, |sum, (_, amount)| sum.saturating_add(*amount)),
        }
    }

    /// How long until nothing is counted any more.
    pub(super) fn expires_in(&mut self, window: u64, now: u64) -> u64 {
        self.settle(window, now);
        let end = self.last().map_or(0, |last| last.saturating_add(window));
        end.saturating_sub(now)
    }

    pub(super) fn is_live(&mut self, window: u64, now: u64) -> bool {
        self.settle(window, now);
        self.len() > 0
    }

    /// Forgets what has expired, and tells the time that counts as now.
    fn settle(&mut self, window: u64, now: u64) -> u64 {
        let now = match self.last() {
            Some(last) if last > now && last - now <= part(window) => last,
            Some(last) if last > now => {
                self.set_back(now);
                now
            }
            _ => now,
        };
        // Nothing is later than now.
        let expired = |time: u64| now.saturating_sub(time) >= window;
        let gone = self.iter().take_while(|(time, _)| expired(*time)).count();
        if gone > 0 {
            match self {
                Self::Alike { times, .. } => drop(times.drain(..gone)),
                Self::Various(entries) => drop(entries.drain(..gone)),
            }
        }
        now
    }

    /// The clock went back: what is in the future was charged now at the latest.
    fn set_back(&mut self, now: u64) {
        match self {
            Self::Alike { times, .. } => times.iter_mut().for_each(|time| *time = now.min(*time)),
            Self::Various(entries) => entries
                .iter_mut()
                .for_each(|(time, _)| *time = now.min(*time)),
        }
    }

    /// What is in the same part of the window counts as one.
    fn merge(&mut self, part: u64) {
        self.change(|entries| {
            entries.dedup_by(|next, kept| {
                let same = next.0 / part == kept.0 / part;
                if same {
                    *kept = (next.0, kept.1.saturating_add(next.1));
                }
                same
            });
        });
    }

    fn push(&mut self, amount: u64, now: u64) {
        match self {
            Self::Alike { each, times } if *each == amount || times.is_empty() => {
                *each = amount;
                make_room(times);
                times.push(now);
            }
            _ => self.change(|entries| {
                make_room(entries);
                entries.push((now, amount));
            }),
        }
    }

    fn add_to_last(&mut self, amount: u64, now: u64) {
        self.change(|entries| {
            if let Some(last) = entries.last_mut() {
                *last = (now, last.1.saturating_add(amount));
            }
        });
    }

    fn remove(&mut self, place: usize) {
        match self {
            Self::Alike { times, .. } => drop(times.remove(place)),
            Self::Various(entries) => drop(entries.remove(place)),
        }
    }

    /// Makes something of them that need not be alike.
    fn change(&mut self, change: impl FnOnce(&mut Vec<(u64, u64)>)) {
        let mut entries = match std::mem::take(self) {
            Self::Various(entries) => entries,
            alike @ Self::Alike { .. } => alike.iter().collect(),
        };
        change(&mut entries);
        *self = Self::Various(entries);
    }

    fn len(&self) -> usize {
        match self {
            Self::Alike { times, .. } => times.len(),
            Self::Various(entries) => entries.len(),
        }
    }

    fn entry(&self, place: usize) -> Option<(u64, u64)> {
        match self {
            Self::Alike { each, times } => times.get(place).map(|time| (*time, *each)),
            Self::Various(entries) => entries.get(place).copied(),
        }
    }

    fn last(&self) -> Option<u64> {
        let last = self.entry(self.len().checked_sub(1)?)?;
        Some(last.0)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        (0..self.len()).filter_map(|place| self.entry(place))
    }
}

fn part(window: u64) -> u64 {
    (window / PARTS).max(1)
}

fn make_room<T>(row: &mut Vec<T>) {
    if row.len() == row.capacity() {
        row.reserve_exact(GROWTH);
    }
}

#[cfg(test)]
mod tests {
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
}
