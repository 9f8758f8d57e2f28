//! The calls that were recorded with `--audit`.

use std::{collections::BTreeMap, convert::Infallible};

use super::{
    Difference,
    compare::{Certainty, Compared, Pair},
    label,
};
use crate::{
    audit::Place,
    failure::Failure,
    recorded::{
        self,
        call::{Call, Decided, Row},
    },
};

/// The most names that are told apart. Whoever calls can make them up.
const MOST_NAMES: usize = 100_000;

/// Calls that were recorded, and how often each was there.
pub(crate) struct Calls<K> {
    pub(crate) times: BTreeMap<K, usize>,
    /// What is not among them, and how many of these there were.
    pub(crate) skipped: Vec<(&'static str, usize)>,
}

impl<K: Ord> Calls<K> {
    /// Reads all of it. Calls of the same key are counted together; those without one
    /// are not looked at.
    pub(crate) fn read(
        place: &Place,
        key: impl FnMut(Call, Decided) -> Result<K, &'static str>,
    ) -> Result<Self, Failure> {
        Self::visited(|visit| recorded::each(place, visit), key)
    }

    /// The same of whatever is visited.
    fn visited<E>(
        each: impl FnOnce(&mut dyn FnMut(Option<&[u8]>)) -> Result<(), E>,
        mut key: impl FnMut(Call, Decided) -> Result<K, &'static str>,
    ) -> Result<Self, E> {
        let mut times = BTreeMap::<K, usize>::new();
        let mut skipped = vec![
            ("lines that are torn or no records", 0),
            ("messages that no rule of a policy decides by name", 0),
            ("calls of names beyond the first 100000", 0),
        ];
        let mut skip = |why| {
            let known = skipped.iter_mut().find(|(reason, _)| *reason == why);
            match known {
                Some((_, times)) => *times = usize::saturating_add(*times, 1),
                None => skipped.push((why, 1)),
            }
        };
        each(&mut |line| {
            let why = match line.and_then(recorded::call::read) {
                None => "lines that are torn or no records",
                Some(Row::Outcome) => return,
                Some(Row::Other) => "messages that no rule of a policy decides by name",
                Some(Row::Call(call, decided)) => match key(call, decided) {
                    Err(why) => why,
                    Ok(key) if times.len() < MOST_NAMES || times.contains_key(&key) => {
                        let times = times.entry(key).or_default();
                        *times = times.saturating_add(1);
                        return;
                    }
                    Ok(_) => "calls of names beyond the first 100000",
                },
            };
            skip(why);
        })?;
        Ok(Self { times, skipped })
    }
}

/// Which of them two policies decide otherwise.
pub(crate) fn compare(place: &Place, pair: Pair<'_>) -> Result<Difference, Failure> {
    Ok(compared(Calls::read(place, |call, _| Ok(call))?, pair))
}

/// The same of these lines.
pub(crate) fn compare_lines(lines: &[Vec<u8>], pair: Pair<'_>) -> Difference {
    let each = |visit: &mut dyn FnMut(Option<&[u8]>)| -> Result<(), Infallible> {
        lines.iter().for_each(|line| visit(Some(line)));
        Ok(())
    };
    let Ok(calls) = Calls::visited(each, |call, _| Ok(call));
    compared(calls, pair)
}

fn compared(calls: Calls<Call>, pair: Pair<'_>) -> Difference {
    let compared = calls
        .times
        .into_iter()
        .map(|(call, times)| one(pair, &call, times))
        .collect();
    Difference {
        noun: "call",
        compared,
        skipped: calls.skipped,
        note: None,
    }
}

fn one(pair: Pair<'_>, call: &Call, times: usize) -> Compared {
    let label = label_of(call);
    let pair = pair.about(call.target);
    let mut compared = match call.is_by_name() {
        true => pair.decide(&call.action(), label),
        false => pair.decide_name(&call.action(), label),
    };
    if call.is_altered() {
        compared.known = Certainty::NeedsArguments;
    }
    compared.times = times;
    compared
}

pub(crate) fn label_of(call: &Call) -> String {
    let label = label(call.target, &call.name);
    match call.is_by_name() {
        true => format!("completion of {label}"),
        false => label,
    }
}
