use std::time::Duration;

use super::window::TooMuch;
use super::{LimitCharge, LimitReserved};

/// What the budgets say to a reservation.
#[derive(Default)]
pub(super) struct Asked {
    /// The first that is enforced and too much.
    pub(super) exceeded: Option<usize>,
    /// The first that is not enforced and too much.
    pub(super) over: Option<usize>,
    /// How long until none of those that are enforced is too much.
    pub(super) wait: Option<Duration>,
    /// Whether budgets have to be made.
    pub(super) grows: bool,
}

impl Asked {
    /// What is said to a reservation for which there is room.
    pub(super) fn answer(&self) -> LimitReserved {
        match self.exceeded {
            Some(charge) => LimitReserved::Exceeded {
                charge,
                retry_after: self.wait,
            },
            None => LimitReserved::Admitted { over: self.over },
        }
    }

    /// Asks for each charge whether it would be admitted, and whether a budget would
    /// have to be made.
    pub(super) fn all(
        charges: &[LimitCharge],
        mut ask: impl FnMut(usize, &LimitCharge) -> Option<(Result<(), TooMuch>, bool)>,
    ) -> Self {
        let mut asked = Self::default();
        for (place, charge) in charges.iter().enumerate() {
            let Some((answer, grows)) = ask(place, charge) else {
                continue;
            };
            asked.grows |= grows;
            let Err(TooMuch { wait }) = answer else {
                continue;
            };
            if !charge.is_enforced() {
                asked.over.get_or_insert(place);
            } else if asked.exceeded.is_none() {
                (asked.exceeded, asked.wait) = (Some(place), wait);
            } else {
                asked.wait = asked.wait.zip(wait).map(|(one, other)| one.max(other));
            }
        }
        asked
    }
}
