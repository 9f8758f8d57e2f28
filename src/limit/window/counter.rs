//! What is counted together, in whichever way its period says.

use std::time::Duration;

use super::calendar::Calendar;
use super::concurrent::Concurrent;
use super::rolling::Rolling;
use super::{Reading, TooMuch};
use crate::clock::micros;
use crate::limit::LimitConclusion;
use crate::policy::{Amount, Period, Quota};

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    Rolling(Rolling),
    Calendar(Calendar),
    Concurrent(Box<Concurrent>),
}

impl Counter {
    pub(super) fn new(period: Period) -> Self {
        match period {
            Period::Rolling(_) => Self::Rolling(Rolling::default()),
            Period::Calendar(unit) => Self::Calendar(Calendar::new(unit)),
            Period::Concurrent => Self::Concurrent(Box::default()),
        }
    }

    #[inline]
    pub(super) fn admits(
        &mut self,
        amount: Amount,
        quota: &Quota,
        now: Reading,
    ) -> Result<(), TooMuch> {
        let (amount, max) = (amount.millionths(), quota.max().millionths());
        let answer = match self {
            Self::Rolling(rolling) => {
                rolling.admits(amount, max, window(quota.period()), now.elapsed)
            }
            Self::Calendar(calendar) => calendar.admits(amount, max, now.system),
            Self::Concurrent(concurrent) => concurrent.admits(amount, max, now.elapsed),
        };
        answer.map_err(|wait| TooMuch {
            wait: wait.map(Duration::from_micros),
        })
    }

    #[inline]
    pub(super) fn charge(&mut self, amount: Amount, period: Period, now: Reading) {
        let amount = amount.millionths();
        match self {
            Self::Rolling(rolling) => rolling.charge(amount, window(period), now.elapsed),
            Self::Calendar(calendar) => calendar.charge(amount, now.system),
            Self::Concurrent(concurrent) => concurrent.charge(amount),
        }
    }

    /// Gives back how much was concluded that was not under way here. It is
    /// nothing if it does not matter what is under way.
    pub(super) fn conclude(
        &mut self,
        amount: u64,
        period: Period,
        at: Reading,
        conclusion: LimitConclusion,
        now: Reading,
    ) -> u64 {
        let is_given_back = conclusion == LimitConclusion::NotSent;
        match self {
            Self::Rolling(rolling) if is_given_back => {
                rolling.give_back(amount, at.elapsed, window(period), now.elapsed);
            }
            Self::Calendar(calendar) if is_given_back => {
                calendar.give_back(amount, at.system, now.system);
            }
            Self::Rolling(_) | Self::Calendar(_) => {}
            Self::Concurrent(concurrent) => {
                return concurrent.conclude(amount, conclusion, now.elapsed);
            }
        }
        0
    }

    pub(super) fn is_live(&mut self, period: Period, now: Reading) -> bool {
        match self {
            Self::Rolling(rolling) => rolling.is_live(window(period), now.elapsed),
            Self::Calendar(calendar) => calendar.is_live(now.system),
            Self::Concurrent(concurrent) => concurrent.is_live(now.elapsed),
        }
    }

    /// How much is counted.
    pub(crate) fn used(&mut self, period: Period, now: Reading) -> Amount {
        // Forgets what has expired.
        self.is_live(period, now);
        Amount::from_millionths(match self {
            Self::Rolling(rolling) => rolling.used(),
            Self::Calendar(calendar) => calendar.used(),
            Self::Concurrent(concurrent) => concurrent.used(),
        })
    }

    /// How long until nothing is counted any more, if nothing else is charged;
    /// `None` if that depends on what is under way.
    pub(crate) fn expires_in(&mut self, period: Period, now: Reading) -> Option<Duration> {
        let wait = match self {
            Self::Rolling(rolling) => rolling.expires_in(window(period), now.elapsed),
            Self::Calendar(calendar) => calendar.expires_in(now.system),
            Self::Concurrent(concurrent) => concurrent.expires_in(now.elapsed)?,
        };
        Some(Duration::from_micros(wait))
    }

    /// Forgets what is counted, except what is under way.
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Rolling(rolling) => rolling.clear(),
            Self::Calendar(calendar) => calendar.clear(),
            Self::Concurrent(concurrent) => concurrent.clear(),
        }
    }
}

/// Of those that have one.
fn window(period: Period) -> u64 {
    micros(period.window().unwrap_or_default())
}
