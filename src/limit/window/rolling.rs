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
    Various {
        /// All of them together, which is asked for more often than it changes in another way
        /// than by one more.
        used: u64,
        /// By time, and how much.
        entries: Vec<(u64, u64)>,
    },
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
        (sorted && entries.len() <= MOST).then(|| Self::various(entries))
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
            Self::Various { used, .. } => *used,
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
    #[inline]
    fn settle(&mut self, window: u64, now: u64) -> u64 {
        let (first, last) = match self {
            Self::Alike { times, .. } => (times.first().copied(), times.last().copied()),
            Self::Various { entries, .. } => {
                let time = |entry: &(u64, u64)| entry.0;
                (entries.first().map(time), entries.last().map(time))
            }
        };
        match (first, last) {
            // Mostly there is nothing to forget.
            (Some(first), Some(last)) if last <= now && now - first < window => now,
            (None, _) => now,
            _ => self.forget_expired(window, now),
        }
    }

    /// The same, whatever there is to forget.
    fn forget_expired(&mut self, window: u64, now: u64) -> u64 {
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
                Self::Various { .. } => self.change(|entries| drop(entries.drain(..gone))),
            }
        }
        now
    }

    /// The clock went back: what is in the future was charged now at the latest.
    fn set_back(&mut self, now: u64) {
        match self {
            Self::Alike { times, .. } => times.iter_mut().for_each(|time| *time = now.min(*time)),
            Self::Various { entries, .. } => entries
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
            Self::Various { used, entries } => {
                make_room(entries);
                entries.push((now, amount));
                *used = used.saturating_add(amount);
            }
            Self::Alike { .. } => self.change(|entries| {
                make_room(entries);
                entries.push((now, amount));
            }),
        }
    }

    fn add_to_last(&mut self, amount: u64, now: u64) {
        let add = |last: &mut (u64, u64)| *last = (now, last.1.saturating_add(amount));
        match self {
            Self::Various { used, entries } => {
                if let Some(last) = entries.last_mut() {
                    add(last);
                    *used = used.saturating_add(amount);
                }
            }
            Self::Alike { .. } => self.change(|entries| {
                if let Some(last) = entries.last_mut() {
                    add(last);
                }
            }),
        }
    }

    fn remove(&mut self, place: usize) {
        match self {
            Self::Alike { times, .. } => drop(times.remove(place)),
            Self::Various { .. } => self.change(|entries| {
                entries.remove(place);
            }),
        }
    }

    /// Makes something of them that need not be alike.
    fn change(&mut self, change: impl FnOnce(&mut Vec<(u64, u64)>)) {
        let mut entries = match std::mem::take(self) {
            Self::Various { entries, .. } => entries,
            alike @ Self::Alike { .. } => alike.iter().collect(),
        };
        change(&mut entries);
        *self = Self::various(entries);
    }

    fn various(entries: Vec<(u64, u64)>) -> Self {
        let amounts = entries.iter().map(|(_, amount)| *amount);
        Self::Various {
            used: amounts.fold(0, u64::saturating_add),
            entries,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Alike { times, .. } => times.len(),
            Self::Various { entries, .. } => entries.len(),
        }
    }

    fn entry(&self, place: usize) -> Option<(u64, u64)> {
        match self {
            Self::Alike { each, times } => times.get(place).map(|time| (*time, *each)),
            Self::Various { entries, .. } => entries.get(place).copied(),
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
mod tests;
