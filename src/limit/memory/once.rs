//! The states with which clients can come back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::limit::{STATE_KEPT, StateId};

/// States that are remembered in all.
const MOST: usize = 100_000;
/// States of one caller.
const MOST_OF_A_CALLER: usize = 1_000;

/// Remembers what may be used once.
#[derive(Debug, Default)]
pub(super) struct Once {
    kept: HashMap<StateId, Arc<str>>,
    /// How many each caller has.
    callers: HashMap<Arc<str>, usize>,
    /// In the order in which they are forgotten; what was used is still among them.
    order: VecDeque<(Instant, StateId)>,
}

impl Once {
    /// Remembers one, if there is room.
    pub(super) fn keep(&mut self, state: &StateId, caller: &Arc<str>, now: Instant) {
        while let Some((at, oldest)) = self.order.front().copied() {
            if now.saturating_duration_since(at) <= STATE_KEPT {
                break;
            }
            self.order.pop_front();
            self.take(&oldest);
        }
        let own = self.callers.get(caller).copied().unwrap_or_default();
        if self.order.len() >= MOST || own >= MOST_OF_A_CALLER {
            return;
        }
        self.callers
            .insert(Arc::clone(caller), own.saturating_add(1));
        self.kept.insert(*state, Arc::clone(caller));
        self.order.push_back((now, *state));
    }

    /// Whether it was remembered; it is not any more.
    pub(super) fn take(&mut self, state: &StateId) -> bool {
        let Some(caller) = self.kept.remove(state) else {
            return false;
        };
        if let Some(own) = self.callers.get_mut(&caller) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.callers.remove(&caller);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn state(number: usize) -> StateId {
        let mut bytes = [0; 24];
        bytes[..size_of_val(&number)].copy_from_slice(&number.to_be_bytes());
        StateId::from_bytes(bytes)
    }

    fn later() -> Duration {
        STATE_KEPT + Duration::from_nanos(1)
    }

    #[test]
    fn each_is_used_once_until_it_is_forgotten() {
        let (mut once, now, alice) = (Once::default(), Instant::now(), "alice".into());
        assert!(!once.take(&state(1)));
        for number in [1, 2] {
            once.keep(&state(number), &alice, now);
        }
        assert!(once.take(&state(1)) && !once.take(&state(1)));
        once.keep(&state(3), &alice, now + later());
        assert!(!once.take(&state(2)) && once.take(&state(3)));
        assert!(once.kept.is_empty() && once.callers.is_empty());
        assert_eq!(once.order.len(), 1);
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let (mut once, now, alice) = (Once::default(), Instant::now(), "alice".into());
        for number in 0..=MOST_OF_A_CALLER {
            once.keep(&state(number), &alice, now);
        }
        assert!(!once.take(&state(MOST_OF_A_CALLER)));
        // One leaves the others room, and those do not come without end either.
        for number in MOST_OF_A_CALLER..=MOST {
            let caller = (number % 1_000).to_string().into();
            once.keep(&state(number), &caller, now);
        }
        assert!(once.take(&state(MOST - 1)) && !once.take(&state(MOST)));
        once.keep(&state(MOST), &alice, now + later());
        assert!(once.take(&state(MOST)));
        assert_eq!(once.order.len(), 1);
    }
}
