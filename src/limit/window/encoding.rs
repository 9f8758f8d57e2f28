//! Budgets as bytes, for stores outside of this process.
//!
//! A version, and what it is; then numbers of eight bytes, the most significant
//! first. Rows have their length before them, in one byte.

use super::Budget;
use super::calendar::Calendar;
use super::concurrent::Concurrent;
use super::counter::Counter;
use super::rolling::Rolling;
use super::sessions::{Own, Sessions};
use crate::policy::{LimitScope, Period, Quota};
use crate::store::StoreError;

const VERSION: u8 = 1;

/// What is stored is no budget of this quota, or of another version.
pub(crate) const UNREADABLE: StoreError =
    StoreError::of("what is stored of a limit cannot be read; reset the limit");

const ALIKE: u8 = b'a';
const VARIOUS: u8 = b'v';

impl Budget {
    /// As bytes, behind those that are there.
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        into.push(VERSION);
        match self {
            Self::One(counter) => encode_counter(counter, into),
            Self::Sessions(sessions) => {
                encode_counter(&sessions.rest, into);
                for own in &sessions.own {
                    encode_number(own.session.len() as u64, into);
                    into.extend_from_slice(own.session.as_bytes());
                    encode_number(own.since, into);
                    encode_counter(&own.counter, into);
                }
            }
        }
    }

    /// Of bytes that may be anything: what is not exactly a budget of this quota is
    /// an error.
    pub(crate) fn decode(quota: &Quota, bytes: &[u8]) -> Result<Self, StoreError> {
        let mut rest = bytes;
        read_budget(quota, &mut rest)
            .filter(|_| rest.is_empty())
            .ok_or(UNREADABLE)
    }
}

fn encode_counter(counter: &Counter, into: &mut Vec<u8>) {
    match counter {
        Counter::Rolling(rolling) => encode_rolling(rolling, into),
        Counter::Calendar(calendar) => {
            let (start, used) = calendar.parts();
            encode_number(start, into);
            encode_number(used, into);
        }
        Counter::Concurrent(concurrent) => {
            let (under_way, broken_off) = concurrent.parts();
            encode_number(under_way, into);
            encode_rolling(broken_off, into);
        }
    }
}

fn encode_rolling(rolling: &Rolling, into: &mut Vec<u8>) {
    match rolling {
        Rolling::Alike { each, times } => {
            into.push(ALIKE);
            encode_number(*each, into);
            encode_length(times.len(), into);
            times.iter().for_each(|time| encode_number(*time, into));
        }
        Rolling::Various { entries, .. } => {
            into.push(VARIOUS);
            encode_length(entries.len(), into);
            for (time, amount) in entries {
                encode_number(*time, into);
                encode_number(*amount, into);
            }
        }
    }
}

fn encode_number(number: u64, into: &mut Vec<u8>) {
    into.extend_from_slice(&number.to_be_bytes());
}

/// There are few of them.
fn encode_length(length: usize, into: &mut Vec<u8>) {
    into.push(u8::try_from(length).unwrap_or(u8::MAX));
}

fn read_budget(quota: &Quota, from: &mut &[u8]) -> Option<Budget> {
    if read_byte(from)? != VERSION {
        return None;
    }
    let period = quota.period();
    let rest = read_counter(period, from)?;
    match quota.scope() {
        LimitScope::Caller | LimitScope::Server => Some(Budget::One(rest)),
        LimitScope::Session => {
            let mut sessions = Sessions::new(rest);
            while !from.is_empty() {
                let length = usize::try_from(read_number(from)?).ok()?;
                let (session, behind) = from.split_at_checked(length)?;
                *from = behind;
                sessions.own.push(Own {
                    session: std::str::from_utf8(session).ok()?.into(),
                    since: read_number(from)?,
                    counter: read_counter(period, from)?,
                });
            }
            Some(Budget::Sessions(Box::new(sessions)))
        }
    }
}

fn read_counter(period: Period, from: &mut &[u8]) -> Option<Counter> {
    Some(match period {
        Period::Rolling(_) => Counter::Rolling(read_rolling(from)?),
        Period::Calendar(unit) => {
            let (start, used) = (read_number(from)?, read_number(from)?);
            Counter::Calendar(Calendar::of(unit, start, used))
        }
        Period::Concurrent => {
            let (under_way, broken_off) = (read_number(from)?, read_rolling(from)?);
            Counter::Concurrent(Box::new(Concurrent::of(under_way, broken_off)))
        }
    })
}

fn read_rolling(from: &mut &[u8]) -> Option<Rolling> {
    match read_byte(from)? {
        ALIKE => {
            let each = read_number(from)?;
            let times = (0..read_byte(from)?).map(|_| read_number(from));
            Rolling::of_alike(each, times.collect::<Option<_>>()?)
        }
        VARIOUS => {
            let entries =
                (0..read_byte(from)?).map(|_| Some((read_number(from)?, read_number(from)?)));
            Rolling::of(entries.collect::<Option<_>>()?)
        }
        _ => None,
    }
}

fn read_byte(from: &mut &[u8]) -> Option<u8> {
    let (byte, behind) = from.split_first()?;
    *from = behind;
    Some(*byte)
}

fn read_number(from: &mut &[u8]) -> Option<u64> {
    let (number, behind) = from.split_first_chunk()?;
    *from = behind;
    Some(u64::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::limit::testing::{charge, of_session, quota, seconds};
    use crate::limit::window::Reading;
    use crate::policy::CalendarUnit;

    fn quotas() -> Vec<std::sync::Arc<Quota>> {
        let periods = [
            seconds(60),
            Period::Calendar(CalendarUnit::Day),
            Period::Concurrent,
        ];
        let scopes = [LimitScope::Caller, LimitScope::Session];
        let of_all = periods.into_iter().flat_map(|period| {
            scopes
                .into_iter()
                .map(move |scope| quota("/a", period, 9, scope))
        });
        of_all.collect()
    }

    proptest! {
        #[test]
        fn a_budget_is_the_same_when_it_is_read_again(
            quota in select(quotas()),
            charges in prop::collection::vec((0_u64..5_000_000, 0_u64..3, 0_u8..4), 0..80),
        ) {
            let mut budget = Budget::new(&quota);
            let mut now = 1_000_000_000;
            for (pass, amount, session) in charges {
                now += pass;
                let charge = of_session(charge(&quota, "alice", amount), &session.to_string());
                budget.charge(&charge, Reading::of_system(now), Reading::of_system(now));
            }
            let mut bytes = Vec::new();
            budget.encode(&mut bytes);
            prop_assert_eq!(Budget::decode(&quota, &bytes), Ok(budget));
            // Not one more or less.
            bytes.push(0);
            prop_assert!(Budget::decode(&quota, &bytes).is_err());
            bytes.truncate(bytes.len() - 2);
            prop_assert!(Budget::decode(&quota, &bytes).is_err());
        }

        #[test]
        fn whatever_is_read_does_no_harm(
            quota in select(quotas()),
            bytes in prop::collection::vec(prop_oneof![0_u8..4, select(b"av\xff".to_vec())], 0..120),
            now in any::<u64>(),
        ) {
            let bytes = [&[VERSION], bytes.as_slice()].concat();
            if let Ok(mut budget) = Budget::decode(&quota, &bytes) {
                let now = Reading::of_system(now);
                let charge = charge(&quota, "alice", u64::MAX);
                let _ = budget.admits(&charge, now);
                budget.charge(&charge, now, now);
                let _ = budget.expires_in(&quota, now);
            }
        }
    }
}
