//! A minute, an hour or a day of UTC.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

use super::micros;
use crate::policy::CalendarUnit;

/// What was charged in one minute, hour or day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Calendar {
    unit: CalendarUnit,
    /// When it began, in microseconds since 1970.
    start: u64,
    used: u64,
}

impl Calendar {
    pub(super) fn new(unit: CalendarUnit) -> Self {
        Self::of(unit, 0, 0)
    }

    pub(super) fn of(unit: CalendarUnit, start: u64, used: u64) -> Self {
        Self { unit, start, used }
    }

    /// When it began, and what was charged since.
    pub(super) fn parts(&self) -> (u64, u64) {
        (self.start, self.used)
    }

    /// Whether it would be admitted; else, how long until it is, if ever.
    pub(super) fn admits(&mut self, amount: u64, max: u64, now: u64) -> Result<(), Option<u64>> {
        self.settle(now);
        match max.checked_sub(amount) {
            None => Err(None),
            Some(others) if self.used <= others => Ok(()),
            Some(_) => Err(Some(self.end().saturating_sub(now))),
        }
    }

    pub(super) fn charge(&mut self, amount: u64, now: u64) {
        self.settle(now);
        self.used = self.used.saturating_add(amount);
    }

    /// Takes away what was charged then, unless that was in another period.
    pub(super) fn give_back(&mut self, amount: u64, at: u64, now: u64) {
        self.settle(now);
        if (self.start..self.end()).contains(&at) {
            self.used = self.used.saturating_sub(amount);
        }
    }

    /// How much is counted, as of the last question.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// How long until nothing is counted any more.
    pub(super) fn expires_in(&mut self, now: u64) -> u64 {
        if self.is_live(now) {
            self.end().saturating_sub(now)
        } else {
            0
        }
    }

    pub(super) fn is_live(&mut self, now: u64) -> bool {
        self.settle(now);
        self.used > 0
    }

    /// Begins with nothing when a period begins.
    ///
    /// If the clock goes back into the period before, that period is over all the
    /// same: else each could be used up twice. If it goes back further it was wrong
    /// before, and what is counted is counted in the period that it shows now,
    /// rather than until the wrong one is over.
    fn settle(&mut self, now: u64) {
        if (self.start..self.end()).contains(&now) {
            return;
        }
        let current = start_of(self.unit, now);
        if current > self.start {
            self.start = current;
            self.used = 0;
        } else if self.start - current > self.length() {
            self.start = current;
        }
    }

    fn end(&self) -> u64 {
        self.start.saturating_add(self.length())
    }

    fn length(&self) -> u64 {
        micros(self.unit.length())
    }
}

/// When the period began that this is in. The calendar ends in the year 9999:
/// what comes then is no new period.
fn start_of(unit: CalendarUnit, now: u64) -> u64 {
    let round = TimestampRound::new().mode(RoundMode::Floor);
    let round = match unit {
        CalendarUnit::Minute => round.smallest(Unit::Minute),
        CalendarUnit::Hour => round.smallest(Unit::Hour),
        // Of UTC, in which all days are as long.
        CalendarUnit::Day => round.smallest(Unit::Hour).increment(24),
    };
    let start = i64::try_from(now)
        .ok()
        .and_then(|now| Timestamp::from_microsecond(now).ok())
        .and_then(|now| now.round(round).ok());
    start.map_or(0, |start| {
        u64::try_from(start.as_microsecond()).unwrap_or_default()
    })
}
