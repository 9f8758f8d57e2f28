//! What is under way at once.

use std::time::Duration;

use super::LimitConclusion;
use super::rolling::Rolling;
use crate::clock::micros;

/// How long something counts as under way that did not come to its end.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// Calls that are under way, and those of which nobody knows whether they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Concurrent {
    under_way: u64,
    /// Those that did not come to their end. If there are many, some count as
    /// under way for up to the 32nd part longer.
    broken_off: Rolling,
}

impl Concurrent {
    #[cfg(feature = "sqlite")]
    pub(super) fn of(under_way: u64, broken_off: Rolling) -> Self {
        Self {
            under_way,
            broken_off,
        }
    }

    #[cfg(feature = "sqlite")]
    pub(super) fn parts(&self) -> (u64, &Rolling) {
        (self.under_way, &self.broken_off)
    }

    /// Whether it would be admitted; else, how long until it is, if that does not
    /// depend on what is under way.
    pub(super) fn admits(&mut self, amount: u64, max: u64, now: u64) -> Result<(), Option<u64>> {
        let others = max.checked_sub(self.under_way).ok_or(None)?;
        self.broken_off.admits(amount, others, micros(LEASE), now)
    }

    pub(super) fn charge(&mut self, amount: u64) {
        self.under_way = self.under_way.saturating_add(amount);
    }

    /// Something is not under way any more. Gives back how much of it was not.
    pub(super) fn conclude(&mut self, amount: u64, conclusion: LimitConclusion, now: u64) -> u64 {
        let ended = amount.min(self.under_way);
        self.under_way -= ended;
        if conclusion == LimitConclusion::BrokenOff {
            self.broken_off.charge(ended, micros(LEASE), now);
        }
        amount - ended
    }

    /// How much is counted, as of the last question.
    pub(super) fn used(&self) -> u64 {
        self.under_way.saturating_add(self.broken_off.used())
    }

    /// Forgets what did not come to its end. What is under way is: that is no count
    /// that could be forgotten.
    pub(super) fn clear(&mut self) {
        self.broken_off.clear();
    }

    /// How long until nothing is counted any more; `None` if that depends on what
    /// is under way.
    pub(super) fn expires_in(&mut self, now: u64) -> Option<u64> {
        (self.under_way == 0).then(|| self.broken_off.expires_in(micros(LEASE), now))
    }

    pub(super) fn is_live(&mut self, now: u64) -> bool {
        // Asked in any case, so that what has expired is forgotten.
        let is_broken_off = self.broken_off.is_live(micros(LEASE), now);
        self.under_way > 0 || is_broken_off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_expired_is_not_used_while_something_is_under_way() {
        let mut concurrent = Concurrent::default();
        concurrent.charge(1);
        concurrent.charge(1);
        concurrent.conclude(1, LimitConclusion::BrokenOff, 0);
        for (now, used) in [(59_999_999, 2), (60_000_000, 1)] {
            assert!(concurrent.is_live(now));
            assert_eq!(concurrent.used(), used);
        }
    }
}
