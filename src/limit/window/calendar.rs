//! A minute, an hour or a day of UTC.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

use crate::clock::micros;
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
    #[cfg(feature = "sqlite")]
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn time(text: &str) -> u64 {
        let time: Timestamp = text.parse().unwrap();
        u64::try_from(time.as_microsecond()).unwrap()
    }

    const UNITS: [CalendarUnit; 3] = [CalendarUnit::Minute, CalendarUnit::Hour, CalendarUnit::Day];

    #[test]
    fn each_period_begins_with_nothing() {
        for (unit, last, first) in [
            (
                CalendarUnit::Minute,
                "2026-11-25T04:59:59.999999Z",
                "2026-11-25T05:00:00Z",
            ),
            (
                CalendarUnit::Hour,
                "2026-11-25T23:59:59.999999Z",
                "2026-11-26T00:00:00Z",
            ),
            (
                CalendarUnit::Day,
                "2026-12-31T23:59:59.999999Z",
                "2027-01-01T00:00:00Z",
            ),
            (
                CalendarUnit::Day,
                "2028-02-28T23:59:59.999999Z",
                "2028-02-29T00:00:00Z",
            ),
            (
                CalendarUnit::Day,
                "2028-02-29T23:59:59.999999Z",
                "2028-03-01T00:00:00Z",
            ),
            (
                CalendarUnit::Day,
                "2027-02-28T23:59:59.999999Z",
                "2027-03-01T00:00:00Z",
            ),
            (
                CalendarUnit::Day,
                "2100-02-28T23:59:59.999999Z",
                "2100-03-01T00:00:00Z",
            ),
            // There was a leap second in between, which no clock shows.
            (
                CalendarUnit::Day,
                "2016-12-31T23:59:59.999999Z",
                "2017-01-01T00:00:00Z",
            ),
        ] {
            let mut calendar = Calendar::new(unit);
            assert_eq!(calendar.admits(2, 2, time(last)), Ok(()));
            calendar.charge(2, time(last));
            assert_eq!(calendar.admits(1, 2, time(last)), Err(Some(1)), "{last}");
            assert_eq!(calendar.expires_in(time(last)), 1);
            assert_eq!(calendar.admits(2, 2, time(first)), Ok(()), "{first}");
            assert_eq!(calendar.admits(3, 2, time(first)), Err(None));
            assert!(!calendar.is_live(time(first)));
        }
    }

    #[test]
    fn what_is_given_back_is_of_the_same_period() {
        let mut calendar = Calendar::new(CalendarUnit::Hour);
        let (before, after) = (time("2026-11-25T04:59:00Z"), time("2026-11-25T05:01:00Z"));
        calendar.charge(3, before);
        calendar.charge(4, after);
        calendar.give_back(3, before, after);
        assert_eq!(calendar.used(), 4);
        calendar.give_back(4, after, after);
        assert_eq!(calendar.used(), 0);
    }

    #[test]
    fn going_back_does_not_begin_a_period_again() {
        for unit in UNITS {
            let mut calendar = Calendar::new(unit);
            let begin = time("2026-11-25T00:00:00Z");
            let length = micros(unit.length());
            calendar.charge(1, begin - 1);
            calendar.charge(2, begin);
            for now in [begin - 1, begin - length, begin, begin + length - 1] {
                assert!(calendar.is_live(now));
                assert_eq!(calendar.used(), 2);
            }
            // It was wrong by more than a period: no need to wait until then.
            let past = begin - 1_000 * length;
            assert!(calendar.is_live(past));
            assert_eq!(calendar.used(), 2);
            assert!(!calendar.is_live(past + length));
        }
    }

    /// The calendar has an end, and clocks can be there.
    #[test]
    fn a_clock_beyond_the_calendar_begins_no_period() {
        let mut calendar = Calendar::new(CalendarUnit::Day);
        for now in [u64::MAX, u64::MAX - 1, u64::MAX / 2] {
            calendar.charge(1, now);
        }
        assert_eq!(calendar.used(), 3);
        calendar.charge(1, 0);
        assert_eq!(calendar.used(), 4);
        assert_eq!(calendar.admits(1, 4, 0), Err(Some(86_400_000_000)));
    }

    proptest! {
        /// Two moments are in one period if the clock shows the same as far as that
        /// matters; as long as it does not go back further than a period.
        #[test]
        fn a_period_holds_no_more_than_the_most(
            unit in select(UNITS.to_vec()),
            steps in prop::collection::vec((-40_i64..100, 0_u64..5), 1..200),
        ) {
            let mut calendar = Calendar::new(unit);
            let shown = |now: u64| {
                let now = Timestamp::from_microsecond(now.try_into().unwrap()).unwrap();
                let text = now.to_string();
                text[..match unit {
                    CalendarUnit::Minute => 16,
                    CalendarUnit::Hour => 13,
                    CalendarUnit::Day => 10,
                }].to_owned()
            };
            let mut sums = std::collections::BTreeMap::<String, u64>::new();
            let mut now = time("2027-12-30T23:10:00Z");
            let mut latest = 0;
            for (time, amount) in steps {
                let part = i64::try_from(micros(unit.length()) / 97).unwrap();
                now = now.checked_add_signed(time * part).unwrap();
                latest = latest.max(now);
                now = now.max(latest.saturating_sub(micros(unit.length())));
                // After going back, it counts in the latest period.
                let sum = sums.entry(shown(latest)).or_default();
                let admitted = calendar.admits(amount, 20, now).is_ok();
                prop_assert_eq!(admitted, *sum + amount <= 20);
                if admitted {
                    calendar.charge(amount, now);
                    *sum += amount;
                }
            }
        }
    }
}
