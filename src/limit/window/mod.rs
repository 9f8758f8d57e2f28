//! What budgets have used up, and when there is room again: arithmetic in
//! integers, without storage and without a clock of its own.
//!
//! Every store keeps a [`Budget`] for each quota and caller: in memory as it is,
//! elsewhere as bytes. Whatever is not exact errs towards refusing.

mod calendar;
mod concurrent;
mod counter;
#[cfg(feature = "sqlite")]
mod encoding;
mod rolling;
mod sessions;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::{LimitCharge, LimitConclusion};
use crate::policy::{Amount, LimitScope, Quota};
#[cfg(feature = "redis")]
pub(crate) use concurrent::LEASE;
pub(crate) use counter::Counter;
#[cfg(feature = "sqlite")]
pub(crate) use encoding::UNREADABLE;
use sessions::Sessions;

/// A reading of the clocks that budgets are counted by, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// For all but the calendar: since whatever, but always since the same.
    ///
    /// It may go back. What was charged until then counts as charged now, which
    /// keeps it for longer than it has to be. As processes do not come in the
    /// order in which they read the clock, steps of up to the 32nd part of a
    /// window are not believed: time stands still until they are made up for.
    pub(crate) elapsed: u64,
    /// For the calendar: since 1970, in UTC.
    pub(crate) system: u64,
}

#[cfg(feature = "sqlite")]
impl Reading {
    /// Of one clock for everything, which can be read after a restart.
    pub(crate) fn of_system(micros: u64) -> Self {
        Self {
            elapsed: micros,
            system: micros,
        }
    }
}

/// Why something is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMuch {
    /// How long until it can be admitted, if nothing else is charged until then:
    /// never too short, and at most the 32nd part of the window too long. `None`
    /// if that cannot be told.
    pub(crate) wait: Option<Duration>,
}

/// What was charged for one quota and one caller, or of all callers together.
///
/// The charges it is asked about have to be for the quota that it was made for,
/// or for one with the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Budget {
    /// All of it counts together.
    One(Counter),
    /// Sessions have budgets of their own.
    Sessions(Box<Sessions>),
}

impl Budget {
    /// Nothing was charged.
    pub(crate) fn new(quota: &Quota) -> Self {
        let counter = Counter::new(quota.period());
        match quota.scope() {
            LimitScope::Session => Self::Sessions(Box::new(Sessions::new(counter))),
            LimitScope::Caller | LimitScope::Server => Self::One(counter),
        }
    }

    /// Whether a budget of which nothing was charged would admit it.
    pub(crate) fn new_admits(charge: &LimitCharge) -> Result<(), TooMuch> {
        if charge.amount() <= charge.quota().max() {
            Ok(())
        } else {
            Err(TooMuch { wait: None })
        }
    }

    /// Whether it would be admitted. What has expired is forgotten.
    #[inline]
    pub(crate) fn admits(&mut self, charge: &LimitCharge, now: Reading) -> Result<(), TooMuch> {
        let quota = charge.quota();
        match self {
            Self::One(counter) => counter.admits(charge.amount(), quota, now),
            Self::Sessions(sessions) => sessions.admits(charge, now),
        }
    }

    /// How many budgets have to be made for it: one if it is for a session that has
    /// none of its own yet.
    pub(crate) fn growth(&self, charge: &LimitCharge) -> usize {
        match self {
            Self::One(_) => 0,
            Self::Sessions(sessions) => sessions.growth(charge),
        }
    }

    /// The same, if there is no budget yet at all.
    pub(crate) fn growth_of_new(charge: &LimitCharge) -> usize {
        let quota = charge.quota();
        let has_own = quota.scope() == LimitScope::Session
            && quota.sessions() > 1
            && charge.session().is_some();
        if charge.amount() == Amount::ZERO {
            0
        } else {
            usize::from(has_own).saturating_add(1)
        }
    }

    /// Charges it, also if it is too much: whoever does not want that has to
    /// [ask](Self::admits) first. `at` is the reading that it will be
    /// [concluded](Self::conclude) with; time may have gone on since.
    #[inline]
    pub(crate) fn charge(&mut self, charge: &LimitCharge, at: Reading, now: Reading) {
        let quota = charge.quota();
        match self {
            Self::One(counter) => counter.charge(charge.amount(), quota.period(), now),
            Self::Sessions(sessions) => sessions.charge(charge, at, now),
        }
    }

    /// What became of something that was charged at this reading: once for each
    /// charge. What was never charged must not get here.
    ///
    /// If the clock went back since then, nothing is given back.
    pub(crate) fn conclude(
        &mut self,
        charge: &LimitCharge,
        at: Reading,
        conclusion: LimitConclusion,
        now: Reading,
    ) {
        match self {
            Self::One(counter) => {
                let period = charge.quota().period();
                counter.conclude(charge.amount().millionths(), period, at, conclusion, now);
            }
            Self::Sessions(sessions) => sessions.conclude(charge, at, conclusion, now),
        }
    }

    /// Whether anything is counted. If not, it can be forgotten.
    pub(crate) fn is_live(&mut self, quota: &Quota, now: Reading) -> bool {
        match self {
            Self::One(counter) => counter.is_live(quota.period(), now),
            Self::Sessions(sessions) => sessions.is_live(quota.period(), now),
        }
    }

    /// How many budgets it holds: its own, and those of sessions.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Sessions(sessions) => sessions.size(),
        }
    }

    /// What is counted for whom: `None` is whatever has no session, and everything
    /// where sessions count together.
    pub(crate) fn counters(&mut self) -> impl Iterator<Item = (Option<&str>, &mut Counter)> {
        let (rest, own) = match self {
            Self::One(counter) => (counter, [].as_mut_slice()),
            Self::Sessions(sessions) => sessions.counters(),
        };
        let own = own
            .iter_mut()
            .map(|own| (Some(&*own.session), &mut own.counter));
        std::iter::once((None, rest)).chain(own)
    }

    /// Forgets what is counted, except what is under way.
    pub(crate) fn reset(&mut self) {
        self.counters().for_each(|(_, counter)| counter.clear());
    }

    /// How long until nothing is counted any more, if nothing else is charged;
    /// `None` if that depends on what is under way.
    #[cfg(feature = "sqlite")]
    pub(crate) fn expires_in(&mut self, quota: &Quota, now: Reading) -> Option<Duration> {
        let period = quota.period();
        self.counters()
            .map(|(_, counter)| counter.expires_in(period, now))
            .try_fold(Duration::ZERO, |longest, one| Some(longest.max(one?)))
    }
}
